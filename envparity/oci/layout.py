"""
OCI image layouts: a folder with `oci-layout`, `index.json` and blobs named by their digest
(https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md).
"""

from __future__ import annotations

__all__ = ["Layout", "choose", "manifests", "open_layout", "write_layout"]

import contextlib
import errno
import hashlib
import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from envparity import files
from envparity.codec import canonical
from envparity.errors import IntegrityError, MalformedError, UnreachableError, UnsupportedError, UsageError
from envparity.oci.entries import shown
from envparity.oci.extent import Extent
from envparity.oci.image import BuiltImage, Image, Place, load_image, read_blob
from envparity.oci.spec import (
    INDEX_TYPES,
    MANIFEST_LIMIT,
    MANIFEST_TYPES,
    NOTHING,
    OCI_INDEX,
    OCI_MANIFEST,
    REF_NAME,
    Descriptor,
    Index,
    blob_path,
    digest_of,
    parse_index,
    parse_layout,
    parse_platform,
)

NEST_LIMIT = 8
COPY_CHUNK = 1 << 20
_OWN_LOCK = ".envparity.lock"

# image-layout.md and annotations.md: the grammar of `org.opencontainers.image.ref.name`.
_REF_NAME = re.compile(
    r"[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*(?:/[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*)*"
)


class Layout:
    """
    A layout on disk, read only.

    No symbolic link below the folder is followed: a layout that someone else made could point at any file of this host.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def open_blob(self, digest: str) -> BinaryIO:
        """The stored bytes, not checked. Raises IntegrityError for a blob that is missing, a link or no file."""
        relative = blob_path(digest)
        for part in ("blobs", relative.rpartition("/")[0]):
            if (self.folder / part).is_symlink():
                raise IntegrityError(
                    f"`{part}` of the layout `{self.folder}` is a symbolic link, which is not followed"
                )
        try:
            return cast(BinaryIO, io.BufferedReader(Extent(_open_file(self.folder / relative)), COPY_CHUNK))
        except FileNotFoundError as error:
            raise IntegrityError(f"the blob {digest} is missing in `{self.folder}`") from error
        except _NotAFile as error:
            raise IntegrityError(f"the blob {digest} in `{self.folder}` is {error}") from error
        except OSError as error:
            raise UnreachableError(f"cannot read the blob {digest} in `{self.folder}`: {error.strerror}") from error

    def index(self) -> Index:
        """
        The index, after the layout's version has been checked.

        Raises:
            UsageError: there is no such folder, or it is no layout.
        """
        if not self.folder.exists():
            raise UsageError(
                f"`{self.folder}` does not exist", hint="name the folder of an OCI layout: `oci:DIR[:TAG]`"
            )
        parse_layout(self.document("oci-layout"), what=f"`{self.folder / 'oci-layout'}`")
        return parse_index(self.document("index.json"), what=f"`{self.folder / 'index.json'}`")

    def document(self, name: str) -> bytes:
        """One of the layout's own two files."""
        path = self.folder / name
        try:
            with _open_file(path) as stream:
                data = stream.read(MANIFEST_LIMIT + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UsageError(
                f"`{self.folder}` is not an OCI layout: it has no `{name}`",
                hint="an archive from `docker save` is read as `docker-archive:FILE`",
            ) from error
        except _NotAFile as error:
            raise MalformedError(f"`{path}` is {error}") from error
        except OSError as error:
            raise UnreachableError(f"cannot read `{path}`: {error.strerror}") from error
        return data


class _NotAFile(Exception):
    """A link, a folder, a FIFO where a file is due."""


def _open_file(path: Path) -> BinaryIO:
    """Open a regular file without following a link or waiting for the other end of a FIFO."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _NotAFile("a symbolic link, which is not followed") from error
        if error.errno == errno.ENXIO:
            raise _NotAFile("no regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _NotAFile("no regular file")
    return os.fdopen(handle, "rb")


def manifests(place: Place, index: Index, *, what: str, depth: int = 0) -> Iterator[tuple[str, Descriptor]]:
    """
    Every image manifest below an index, with the tag that it or an index above it carries.

    Entries of unknown platform are attestations about another entry, not images, and are passed over, as is what is
    neither manifest nor index. Nested indexes are followed `NEST_LIMIT` deep; a cycle cannot be made of digests.

    Raises:
        MalformedError: nested too deep, or an index is no index. IntegrityError: a nested index is damaged.
    """
    if depth > NEST_LIMIT:
        raise MalformedError(f"{what} has indexes nested more than {NEST_LIMIT} deep")
    for descriptor in index.manifests:
        tag = (descriptor.annotations or NOTHING).get(REF_NAME, "")
        if descriptor.media_type in INDEX_TYPES:
            data = read_blob(place, descriptor, limit=MANIFEST_LIMIT, what=f"an index of {what}")
            nested = parse_index(data, what=f"index {descriptor.digest[:19]}")
            for inner, found in manifests(place, nested, what=what, depth=depth + 1):
                yield tag or inner, found
        elif descriptor.media_type in MANIFEST_TYPES and not is_attestation(descriptor):
            yield tag, descriptor


def is_attestation(descriptor: Descriptor) -> bool:
    """Whether this entry is what BuildKit stores about another one."""
    platform = descriptor.platform
    return platform is not None and platform.os == "unknown" and platform.architecture == "unknown"


def choose(
    place: Place, index: Index, *, reference: str, tag: str = "", digest: str = "", platform: str = ""
) -> Descriptor:
    """
    The one manifest that a reference means. Never "the first".

    Args:
        tag: of those that carry it; without one, there may be only one image.
        digest: of the manifest itself.
        platform: `linux/amd64`; needed where an index has several.

    Raises:
        UsageError: none or several fit; it lists what there is.
        UnsupportedError: what is there is no image at all.
    """
    shown_reference = shown(reference)
    found = list(manifests(place, index, what=f"`{shown_reference}`"))
    if not found:
        kinds = ", ".join(sorted({descriptor.media_type for descriptor in index.manifests})) or "nothing"
        raise UnsupportedError(f"`{shown_reference}` holds no image: {shown(kinds)}")
    if digest:
        fitting = [item for item in found if item[1].digest == digest]
    elif tag:
        fitting = [item for item in found if item[0] == tag]
    else:
        fitting = found
    if not fitting:
        tags = sorted({shown(name) for name, _ in found if name})
        raise UsageError(
            f"`{shown_reference}` does not exist: nothing there has that {'digest' if digest else 'tag'}",
            hint=f"there is: {', '.join(tags) or 'one image without a tag'}",
        )
    names = sorted({name for name, _ in fitting})
    if not tag and not digest and len(names) > 1:
        raise UsageError(
            f"`{shown_reference}` holds several images",
            hint=f"name one: {', '.join(shown(f'{reference}:{name}') for name in names if name)}",
        )
    choices = {descriptor.digest: descriptor for _, descriptor in fitting}
    if platform:
        wanted = parse_platform(platform)
        choices = {
            key: descriptor
            for key, descriptor in choices.items()
            if descriptor.platform is None
            or (
                (descriptor.platform.os, descriptor.platform.architecture) == (wanted.os, wanted.architecture)
                and wanted.variant in ("", descriptor.platform.variant)
            )
        }
    if len(choices) == 1:
        return next(iter(choices.values()))
    platforms = sorted({str(descriptor.platform or "unnamed") for _, descriptor in fitting})
    problem = f"has no image for {platform}" if platform and not choices else "holds several images"
    raise UsageError(f"`{shown_reference}` {problem}", hint=f"its platforms: {shown(', '.join(platforms))}")


def open_layout(
    folder: str | Path, *, tag: str = "", digest: str = "", platform: str = "", reference: str = ""
) -> Image:
    """
    Find one image in a layout.

    Raises:
        UsageError: no such layout, tag or platform, or several that fit.
        MalformedError, IntegrityError: the layout is damaged.
    """
    place = Layout(folder)
    reference = reference or f"oci:{folder}" + (f":{tag}" if tag else "")
    descriptor = choose(place, place.index(), reference=reference, tag=tag, digest=digest, platform=platform)
    image = load_image(place, reference, descriptor)
    if platform:
        require_platform(image, platform)
    return image


def require_platform(image: Image, platform: str) -> None:
    """Raise UsageError unless the image's own config names this platform too."""
    wanted = parse_platform(platform)
    if (image.config.os, image.config.architecture) != (wanted.os, wanted.architecture):
        raise UsageError(f"`{shown(image.reference)}` has no image for {platform}", hint=f"it is for {image.platform}")


def write_layout(path: str | Path, image: BuiltImage, tag: str = "") -> str:
    """
    Write an image into a layout, a new one or one that is there. Returns the digest of its manifest.

    Blobs come first and are checked while they are copied; `index.json` comes last, by rename, under a lock among
    processes. So other tags stay, the tag moves at once, and a run that dies leaves at most blobs that nobody names.

    Raises:
        UsageError: the folder holds something else, or the tag cannot be one.
        IntegrityError: a blob is not what its descriptor says.
        DiskFullError, UnreachableError: it cannot be written.
    """
    if tag and not _REF_NAME.fullmatch(tag):
        raise UsageError(
            f"`{shown(tag)}` cannot be a tag", hint="letters and digits, with single . _ - : / @ + between"
        )
    folder = Path(path)
    _require_layout_or_nothing(folder)
    for part in ("blobs", "blobs/sha256", "index.json", "oci-layout"):
        _require_no_link(folder / part)
    made = files.make_folder(folder / "blobs" / "sha256")
    try:
        for descriptor, blob in image.layers:
            _store_file(folder, descriptor, blob)
        _store(folder, image.config_bytes)
        _store(folder, image.manifest_bytes)
        with files.locked(_lock_of(folder)):
            if not (folder / "oci-layout").exists():
                files.write_bytes(folder / "oci-layout", canonical({"imageLayoutVersion": "1.0.0"}))
            files.write_bytes(folder / "index.json", _next_index(folder, image, tag))
    except BaseException:
        # Of a layout that was not begun nothing stays; blobs of one that others write to are not ours to remove.
        for place in (made, made.parent, folder):
            with contextlib.suppress(OSError):
                place.rmdir()
        raise
    return image.digest


def _lock_of(folder: Path) -> Path:
    """Beside the layout, so that what is published holds nothing of ours."""
    place = Path(os.path.realpath(folder))
    # The parent of a volume of a container is often not ours to write.
    return place.parent / f".{place.name[:100]}.lock" if os.access(place.parent, os.W_OK) else place / _OWN_LOCK


def descriptor_of(image: BuiltImage, tag: str = "") -> dict[str, object]:
    """The line of an index that names this image."""
    platform = parse_platform(image.platform)
    named = {"architecture": platform.architecture, "os": platform.os}
    if platform.variant:
        named["variant"] = platform.variant
    line: dict[str, object] = {
        "mediaType": OCI_MANIFEST,
        "digest": image.digest,
        "size": len(image.manifest_bytes),
        "platform": named,
    }
    if tag:
        line["annotations"] = {REF_NAME: tag}
    return line


def _require_layout_or_nothing(folder: Path) -> None:
    try:
        names = {entry.name for entry in os.scandir(folder)}
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise UsageError(f"`{folder}` is a file; an OCI layout is a folder", hint="name a new folder") from error
    except OSError as error:
        raise UnreachableError(f"cannot read `{folder}`: {error.strerror}") from error
    if "index.json" in names:
        Layout(folder).index()  # a damaged or newer layout is left alone
    elif any(not re.fullmatch(r"oci-layout|blobs|\..+\.part", name) and name != _OWN_LOCK for name in names):
        raise UsageError(f"`{folder}` holds something else than an OCI layout", hint="name an empty or a new folder")


def _next_index(folder: Path, image: BuiltImage, tag: str) -> bytes:
    """The index with this image in it. What others wrote into it stays as it is, field by field."""
    import json

    document: dict[str, object] = {"schemaVersion": 2, "mediaType": OCI_INDEX}
    lines: list[object] = []
    if (folder / "index.json").exists():
        layout = Layout(folder)
        layout.index()
        document = json.loads(layout.document("index.json"))
        lines = [line for line in _lines(document) if not _replaced(line, image, tag)]
    document["manifests"] = [*lines, descriptor_of(image, tag)]
    return canonical(document)


def _lines(document: dict[str, object]) -> list[dict[str, object]]:
    lines = document["manifests"]
    return list(lines) if isinstance(lines, list) else []


def _replaced(line: dict[str, object], image: BuiltImage, tag: str) -> bool:
    annotations = line.get("annotations")
    name = annotations.get(REF_NAME, "") if isinstance(annotations, dict) else ""
    return name == tag and (bool(tag) or line.get("digest") == image.digest)


def _store(folder: Path, data: bytes) -> None:
    path = folder / blob_path(digest_of(data))
    _require_no_link(path)
    if not (path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data):
        files.write_bytes(path, data)


def _store_file(folder: Path, descriptor: Descriptor, source: Path) -> None:
    path = folder / blob_path(descriptor.digest)
    _require_no_link(path)
    if path.is_file() and path.stat().st_size == descriptor.size_bytes and _sha256(path) == descriptor.digest:
        return
    with source.open("rb") as stream, files.replacing(path) as sink:
        copy_blob(stream, sink, descriptor)


def _require_no_link(path: Path) -> None:
    # What is written would land where the link points.
    if path.is_symlink():
        raise IntegrityError(f"`{path}` is a symbolic link; nothing is written through it", hint="remove it")


def copy_blob(stream: BinaryIO, sink: BinaryIO, descriptor: Descriptor) -> None:
    """Copy a blob, and raise IntegrityError at its end when it is not what the descriptor says."""
    require_blob(stream, descriptor, sink.write)


def require_blob(stream: BinaryIO, descriptor: Descriptor, use: Callable[[bytes], object] = lambda chunk: None) -> None:
    """Read a blob to its end, and raise IntegrityError when it is not what the descriptor says."""
    found, size = hashlib.sha256(), 0
    while chunk := stream.read(COPY_CHUNK):
        found.update(chunk)
        size += len(chunk)
        use(chunk)
    if f"sha256:{found.hexdigest()}" != descriptor.digest or size != descriptor.size_bytes:
        raise IntegrityError(
            f"a layer to be written is not what was promised: expected {descriptor.digest} with "
            f"{descriptor.size_bytes} bytes, got sha256:{found.hexdigest()} with {size}"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
