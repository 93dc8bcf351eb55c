"""
OCI image layouts: a folder with `oci-layout`, `index.json` and blobs named by their digest
(https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md).
"""

from __future__ import annotations

__all__ = ["Layout", "add_documents", "choose", "manifests", "open_layout", "write_index", "write_layout"]

import contextlib
import errno
import hashlib
import io
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from envparity import files
from envparity.codec import canonical
from envparity.errors import (
    EnvparityError,
    IntegrityError,
    MalformedError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from envparity.oci.entries import shown
from envparity.oci.extent import Extent
from envparity.oci.image import BuiltImage, BuiltIndex, Image, Place, load_image, read_blob
from envparity.oci.pack import Remade, Where, opened
from envparity.oci.spec import (
    CONFIG_TYPES,
    INDEX_TYPES,
    MANIFEST_LIMIT,
    MANIFEST_TYPES,
    NOTHING,
    OCI_INDEX,
    REF_NAME,
    Descriptor,
    Index,
    blob_path,
    digest_of,
    parse_index,
    parse_layout,
    parse_manifest,
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

    Entries of unknown platform, and of the type of an artifact, are about another entry, not images, and are passed
    over, as is what is neither manifest nor index. Nested indexes are followed `NEST_LIMIT` deep; a cycle cannot be
    made of digests.

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
        elif descriptor.media_type in MANIFEST_TYPES and not is_attestation(descriptor) and not is_artifact(descriptor):
            yield tag, descriptor


def is_attestation(descriptor: Descriptor) -> bool:
    """Whether this entry is what BuildKit stores about another one."""
    platform = descriptor.platform
    return platform is not None and platform.os == "unknown" and platform.architecture == "unknown"


def is_artifact(descriptor: Descriptor) -> bool:
    """Whether this entry says that it is something else than an image: an SBOM, a signature, a chart."""
    return descriptor.artifact_type is not None and descriptor.artifact_type not in CONFIG_TYPES


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
    named = f"its platforms: {shown(', '.join(platforms))}"
    if platform and not choices:
        raise UsageError(f"`{shown_reference}` has no image for {platform}", hint=named)
    raise UsageError(f"`{shown_reference}` holds several images", hint=f"{named}; name one: `--platform`")


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
    Documents about the image that had the tag leave the index with it, unless something else there names it.

    Raises:
        UsageError: the folder holds something else, or the tag cannot be one.
        IntegrityError: a blob is not what its descriptor says.
        DiskFullError, UnreachableError: it cannot be written.
    """
    _write(Path(path), (image,), (), image.line, tag)
    return image.digest


def write_index(path: str | Path, index: BuiltIndex, tag: str = "") -> str:
    """The same of images for several platforms, under one tag. Returns the digest of their index."""
    line: dict[str, object] = {"mediaType": OCI_INDEX, "digest": index.digest, "size": len(index.index_bytes)}
    _write(Path(path), index.images, (index.index_bytes,), line, tag)
    return index.digest


def _write(
    folder: Path, images: Sequence[BuiltImage], documents: Sequence[bytes], line: dict[str, object], tag: str
) -> None:
    if tag and not _REF_NAME.fullmatch(tag):
        raise UsageError(
            f"`{shown(tag)}` cannot be a tag", hint="letters and digits, with single . _ - : / @ + between"
        )
    _require_layout_or_nothing(folder)
    for part in ("blobs", "blobs/sha256", "index.json", "oci-layout"):
        _require_no_link(folder / part)
    made = files.make_folder(folder / "blobs" / "sha256")
    files.remove_abandoned(folder)
    try:
        for descriptor, blob in (layer for image in images for layer in image.layers):
            _store_file(folder, descriptor, blob)
        for data in (*(data for image in images for data in (image.config_bytes, image.manifest_bytes)), *documents):
            _store(folder, data)
        with files.locked(_lock_of(folder)):
            if not (folder / "oci-layout").exists():
                files.write_bytes(folder / "oci-layout", canonical({"imageLayoutVersion": "1.0.0"}))
            files.write_bytes(folder / "index.json", _next_index(folder, line, tag))
    except BaseException:
        # Of a layout that was not begun nothing stays; blobs of one that others write to are not ours to remove.
        for place in (made, made.parent, folder):
            with contextlib.suppress(OSError):
                place.rmdir()
        raise


def add_documents(path: str | Path, about: str, blobs: Iterable[bytes], lines: Iterable[dict[str, object]]) -> None:
    """
    Put small blobs into a layout that is there, then lines that name some of them into its index. A line whose digest
    is named already is not written twice; and none is where nothing names the manifest that they are about any more,
    because another writer has moved its tag.

    Raises:
        IntegrityError: a link is in the way. DiskFullError, UnreachableError: it cannot be written.
    """
    folder = Path(path)
    for part in ("blobs", "blobs/sha256", "index.json"):
        _require_no_link(folder / part)
    for data in blobs:
        _store(folder, data)
    with files.locked(_lock_of(folder)):
        document = _index_document(folder)
        named = _named_in(folder, document)
        added = [line for line in lines if line["digest"] not in named] if about in named else []
        if added:
            document["manifests"] = [*_lines(document), *added]
            files.write_bytes(folder / "index.json", canonical(document))


def _lock_of(folder: Path) -> Path:
    """Beside the layout, so that what is published holds nothing of ours."""
    place = Path(os.path.realpath(folder))
    # The parent of a volume of a container is often not ours to write.
    return place.parent / f".{place.name[:100]}.lock" if os.access(place.parent, os.W_OK) else place / _OWN_LOCK


def descriptor_of(image: BuiltImage, tag: str = "") -> dict[str, object]:
    """The line of a layout's index that names this image."""
    return _named(image.line, tag)


def _named(line: dict[str, object], tag: str) -> dict[str, object]:
    return line | ({"annotations": {REF_NAME: tag}} if tag else {})


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


def _next_index(folder: Path, line: dict[str, object], tag: str) -> bytes:
    """The layout's index with this line in it. What others wrote into it stays as it is, field by field."""
    document: dict[str, object] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    if (folder / "index.json").exists():
        document = _index_document(folder)
    before = _lines(document)
    kept = [each for each in before if not _replaced(each, line, tag)]
    document["manifests"] = [*kept, _named(line, tag)]
    if any(each["digest"] != line["digest"] for each in before if each not in kept):
        gone = _named_in(folder, {**document, "manifests": before}) - _named_in(folder, document)
        document["manifests"] = [*_not_about(folder, kept, gone), _named(line, tag)]
    return canonical(document)


def _named_in(folder: Path, document: dict[str, object]) -> set[str]:
    """The digest of every manifest that an index leads to. A nested index that cannot be read leads to nothing."""
    place, found = Layout(folder), set[str]()
    waiting = [(parse_index(canonical(document), what="index"), 0)]
    while waiting:
        index, depth = waiting.pop()
        found.update(line.digest for line in index.manifests)
        for line in index.manifests if depth < NEST_LIMIT else ():
            if line.media_type in INDEX_TYPES:
                with contextlib.suppress(EnvparityError):
                    data = read_blob(place, line, limit=MANIFEST_LIMIT, what="a nested index")
                    waiting.append((parse_index(data, what="nested index"), depth + 1))
    return found


def _not_about(folder: Path, lines: Sequence[dict[str, object]], gone: set[str]) -> list[dict[str, object]]:
    """These lines, less the artifacts without a tag that are about a manifest which nothing names any more."""
    place, kept = Layout(folder), list(lines)
    while True:
        about = {str(line["digest"]) for line in kept if _subject(place, line) in gone}
        if not about:
            return kept
        gone = about  # and what is about those: a signature of an SBOM
        kept = [line for line in kept if line["digest"] not in about]


def _subject(place: Layout, line: dict[str, object]) -> str:
    """The digest of what an artifact without a tag is about; "" of any other line."""
    (described,) = parse_index(canonical({"schemaVersion": 2, "manifests": [line]}), what="line").manifests
    tagged = (described.annotations or NOTHING).get(REF_NAME)
    if tagged or described.media_type not in MANIFEST_TYPES or not is_artifact(described):
        return ""
    try:
        data = read_blob(place, described, limit=MANIFEST_LIMIT, what=f"the manifest {described.digest[:19]}")
        subject = parse_manifest(data, what=f"manifest {described.digest[:19]}").subject
    except EnvparityError:
        return ""  # damaged: left for `check` to tell
    return subject.digest if subject is not None else ""


def _index_document(folder: Path) -> dict[str, object]:
    import json

    layout = Layout(folder)
    layout.index()
    document: dict[str, object] = json.loads(layout.document("index.json"))
    return document


def _lines(document: dict[str, object]) -> list[dict[str, object]]:
    lines = document["manifests"]
    return list(lines) if isinstance(lines, list) else []


def _replaced(there: dict[str, object], line: dict[str, object], tag: str) -> bool:
    annotations = there.get("annotations")
    name = annotations.get(REF_NAME, "") if isinstance(annotations, dict) else ""
    return name == tag and (bool(tag) or there.get("digest") == line["digest"])


def _store(folder: Path, data: bytes) -> None:
    path = folder / blob_path(digest_of(data))
    _require_no_link(path)
    if not (path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data):
        files.write_bytes(path, data, inside=folder)


def _store_file(folder: Path, descriptor: Descriptor, source: Where) -> None:
    path = folder / blob_path(descriptor.digest)
    _require_no_link(path)
    if path.is_file() and path.stat().st_size == descriptor.size_bytes and _sha256(path) == descriptor.digest:
        return
    # Of what is not finished nothing lies among the blobs, where others (`umoci gc`) take each name for a digest.
    with opened(source) as stream, files.replacing(path, inside=folder) as sink:
        if isinstance(source, Remade):  # which checks itself while it is read
            shutil.copyfileobj(stream, sink, COPY_CHUNK)
        else:
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
