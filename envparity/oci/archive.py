"""
Images in one tar: what `docker save` writes, what `oci-archive` is, and the two in one.

Ours is the hybrid: an OCI layout that also has the `manifest.json` of Docker, which names the same blobs. Docker loads
it since long before it knew OCI layouts, and every other engine reads it as a layout.
"""

from __future__ import annotations

__all__ = ["Archive", "open_archive", "stream_archive", "write_archive"]

import hashlib
import io
import os
import re
import stat
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, BinaryIO, cast

from envparity import files
from envparity.codec import canonical, load_json
from envparity.errors import IntegrityError, MalformedError, UnreachableError, UnsupportedError, UsageError
from envparity.oci.entries import Entry, normal, shown
from envparity.oci.extent import Extent
from envparity.oci.image import BuiltImage, Image, load_image, read_blob
from envparity.oci.layout import choose, descriptor_of, manifests, require_blob, require_platform
from envparity.oci.pack import Remade, Where, place_of
from envparity.oci.spec import (
    CONFIG_LIMIT,
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    MANIFEST_LIMIT,
    NOTHING,
    OCI_INDEX,
    REF_NAME,
    Descriptor,
    Index,
    blob_path,
    digest_of,
    parse_config,
    parse_index,
    parse_layout,
    parse_manifest,
)
from envparity.oci.tar import Limits, read_layer, write_layer
from envparity.oci.unpack import codec_of

_LIMITS = Limits(entries=200_000)
_LINK_LIMIT = 8
_CHUNK = 1 << 20
# `manifestItem` in image/tarexport of https://github.com/moby/moby.
_LINE_FIELDS = ("Config", "RepoTags", "Layers", "Parent", "LayerSources")
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
# https://github.com/distribution/reference: host, path, tag.
_NAME = re.compile(
    r"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
    r"(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
)


class Archive:
    """
    The members of an archive by name. Links between them are followed inside the archive only; nothing is unpacked.

    Args:
        path: a plain tar; a compressed one would have to be unpacked to be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._members: dict[str, Entry] = {}
        self._offsets: dict[str, int] = {}
        self._aliases: dict[str, str] = {}
        with self._open() as stream:
            codec = codec_of(stream.read(8))
            if codec != "none":
                raise UnsupportedError(
                    f"`{self.path}` is compressed with {codec}; only plain archives are read",
                    hint="unpack it first: `gunzip` or `zstd -d`",
                )
            for raw in read_layer(cast(BinaryIO, Extent(stream)), layer=f"`{self.path}`", limits=_LIMITS):
                name = raw.path
                if name in self._members and raw.kind != "folder":
                    raise MalformedError(f"`{self.path}` has `{shown(name)}` twice")
                if name in self._members and self._members[name].kind != "folder":
                    raise MalformedError(f"`{self.path}` has `{shown(name)}` as a folder and as something else")
                self._members[name] = raw.entry
                self._offsets[name] = raw.offset
        # Docker unpacks the archive: through a link in the place of a folder, one member could replace another.
        for name in self._members:
            parts = name.split("/")[:-1]
            for depth in range(len(parts)):
                above = self._members.get("/".join(parts[: depth + 1]))
                if above is not None and above.kind != "folder":
                    raise MalformedError(f"`{self.path}` has `{shown(name)}` below `{shown(above.path)}`, no folder")

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def _open(self) -> BinaryIO:
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise UsageError(f"`{self.path}` does not exist", hint="name a file: `docker-archive:FILE`") from error
        except OSError as error:
            raise UnreachableError(f"cannot read `{self.path}`: {error.strerror}") from error
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            os.close(handle)
            hint = "a folder is read as `oci:DIR`" if stat.S_ISDIR(mode) else "save it to a file first"
            raise UsageError(f"`{self.path}` is not a regular file", hint=hint)
        return os.fdopen(handle, "rb")

    def open_member(self, name: str) -> tuple[BinaryIO, int]:
        """
        A member's content and size.

        Raises:
            MalformedError: it is not in the archive, is no file, or a link that leads outside or in a circle.
        """
        at = normal(name)
        for _ in range(_LINK_LIMIT):
            entry = self._members.get(at)
            if entry is None:
                raise MalformedError(f"`{self.path}` names `{shown(name)}`, which is not in it")
            if entry.kind == "file":
                stream = self._open()
                extent = Extent(stream, self._offsets[at], entry.size_bytes)
                return io.BufferedReader(extent, _CHUNK), entry.size_bytes
            if entry.kind == "hardlink":
                at = entry.target
            elif entry.kind == "link":
                # `docker save` before 25 writes a layer that was there already as a link to it.
                at = normal("/".join((*at.split("/")[:-1], entry.target)))
            else:
                break
        raise MalformedError(f"`{shown(name)}` in `{self.path}` is no file")

    def document(self, name: str, limit: int = MANIFEST_LIMIT) -> bytes:
        """A small member, whole."""
        stream, size = self.open_member(name)
        with stream:
            if size > limit:
                raise MalformedError(f"`{shown(name)}` in `{self.path}` has {size} bytes; the limit is {limit}")
            return stream.read()

    def name_blob(self, digest: str, member: str) -> None:
        """Remember that a blob lies under another name than a layout gives it."""
        self._aliases[digest] = member

    def open_blob(self, digest: str) -> BinaryIO:
        """The stored bytes, not checked. Raises IntegrityError where the blob is missing."""
        name = self._aliases.get(digest, blob_path(digest))
        if name not in self._members:
            raise IntegrityError(f"the blob {digest} is missing in `{self.path}`")
        return self.open_member(name)[0]


def open_archive(
    path: str | Path, *, tag: str = "", digest: str = "", platform: str = "", reference: str = ""
) -> Image:
    """
    Find one image in an archive. An OCI layout in it goes first; where Docker's `manifest.json` is there too, each of
    its lines must be an image of the layout, and a name the same image in both, or engines would run different ones
    out of one file.

    Args:
        tag: `NAME:TAG` as Docker lists it, or the layout's tag; without one there may be only one image.

    Raises:
        UsageError: no such file, tag or platform, or several that fit.
        UnsupportedError: compressed, or saved by a Docker older than 1.10.
        MalformedError, IntegrityError: the archive is damaged.
    """
    archive = Archive(path)
    reference = reference or f"docker-archive:{path}" + (f":{tag}" if tag else "")
    if "index.json" in archive and "oci-layout" in archive:
        image = _open_layout(archive, reference, tag, digest, platform)
    elif "manifest.json" in archive:
        image = _open_docker(archive, reference, tag, digest)
    elif "repositories" in archive:
        raise UnsupportedError(f"`{archive.path}` was saved by a Docker older than 1.10", hint="save it again")
    else:
        raise MalformedError(f"`{archive.path}` is a tar, but no image: it has neither index.json nor manifest.json")
    if platform:
        require_platform(image, platform)
    return image


def _open_layout(archive: Archive, reference: str, tag: str, digest: str, platform: str) -> Image:
    parse_layout(archive.document("oci-layout"))
    index = parse_index(archive.document("index.json"), what=f"index.json of `{archive.path}`")
    lines = _docker_lines(archive) if "manifest.json" in archive else []
    contents = _contents(archive, index) if lines else {}
    loaded = [(_loaded(archive, line), line["RepoTags"]) for line in lines]
    if any(content not in contents.values() for content, _ in loaded):
        raise _two_in_one(archive)
    wanted = {content for content, names in loaded if tag and not digest and _familiar(tag) in map(_familiar, names)}
    if wanted and all((line.annotations or NOTHING).get(REF_NAME) != tag for line in index.manifests):
        # Docker's own name for it.
        tag, digest = "", next(key for key, content in contents.items() if content in wanted)
    descriptor = choose(archive, index, reference=reference, tag=tag, digest=digest, platform=platform)
    image = load_image(archive, reference, descriptor)
    if lines and contents[descriptor.digest] not in (wanted or {content for content, _ in loaded}):
        raise _two_in_one(archive)
    return image


def _contents(archive: Archive, index: Index) -> dict[str, tuple[str, ...]]:
    """Config and layers of every image of the index that is there, by the digest of its manifest."""
    found = {}
    for _, descriptor in manifests(archive, index, what=f"`{archive.path}`"):
        # Docker saves an index whole, and of its platforms only those that it has.
        if blob_path(descriptor.digest) in archive:
            what = f"manifest {descriptor.digest[:19]}"
            manifest = parse_manifest(read_blob(archive, descriptor, limit=MANIFEST_LIMIT, what=what), what=what)
            layers = (blob_path(layer.digest) for layer in manifest.layers)
            found[descriptor.digest] = (manifest.config.digest, *layers)
    return found


def _loaded(archive: Archive, line: dict[str, Any]) -> tuple[str, ...]:
    """The same of what Docker loads for one line of its list."""
    return (digest_of(archive.document(line["Config"], CONFIG_LIMIT)), *(normal(name) for name in line["Layers"]))


def _familiar(name: str) -> str:
    """A name as Docker writes it: `docker.io/library/x:1` and `x:1` are one (https://github.com/distribution/reference)."""
    return re.sub(r"\A(?:(?:index\.)?docker\.io/)?(?:library/)?", "", name)


def _two_in_one(archive: Archive) -> MalformedError:
    return MalformedError(
        f"`{archive.path}` is two images in one: manifest.json and index.json do not name the same config and layers"
    )


def _docker_lines(archive: Archive) -> list[dict[str, Any]]:
    """
    `manifest.json`: a list of images, each with config, layers and names.

    Raises:
        MalformedError: it is another thing, or Docker could read it otherwise: a name that two images have, an unknown
            field, which may be a known one in another case.
    """
    what = f"manifest.json of `{archive.path}`"
    lines = load_json(archive.document("manifest.json"), what, limit=MANIFEST_LIMIT)
    if not isinstance(lines, list) or not lines:
        raise MalformedError(f"{what} lists no image")
    taken: dict[str, int] = {}
    for number, line in enumerate(lines):
        if not isinstance(line, dict) or not isinstance(line.get("Config"), str) or not _strings(line.get("Layers")):
            raise MalformedError(f"{what} is not valid: expected Config and Layers", where=f"[{number}]")
        for key in line:
            if key not in _LINE_FIELDS:
                raise MalformedError(f"{what} has the unknown field `{shown(key)}`", where=f"[{number}]")
        line["RepoTags"] = line.get("RepoTags") or []
        if not _strings(line["RepoTags"]):
            raise MalformedError(f"{what} is not valid: expected names", where=f"[{number}].RepoTags")
        for name in line["RepoTags"]:
            # Docker loads one line after the other, and the last one keeps the name.
            if taken.setdefault(_familiar(name), number) != number:
                raise MalformedError(f"{what} gives two images the name `{shown(name)}`", where=f"[{number}].RepoTags")
    return lines


def _strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _open_docker(archive: Archive, reference: str, tag: str, digest: str) -> Image:
    lines = _docker_lines(archive)
    fitting = [line for line in lines if not tag or _familiar(tag) in map(_familiar, line["RepoTags"])]
    if len(fitting) != 1:
        names = sorted({shown(name) for line in lines for name in line["RepoTags"]})
        problem = "holds several images" if fitting else "has no image of that name"
        known = ", ".join(names) or "one without a name"
        raise UsageError(f"`{shown(reference)}` {problem}", hint=f"there is: {known}")
    image = _as_manifest(archive, reference, fitting[0])
    if digest and digest != image.digest:
        raise UsageError(f"`{shown(reference)}` does not exist: the image there is {image.digest}")
    return image


def _as_manifest(archive: Archive, reference: str, line: dict[str, Any]) -> Image:
    """
    The manifest that such an image would have. The archive promises no digests of its layers, only their diffIDs, which
    are checked when the layers are read. A plain layer is its own blob; of a compressed one the digest is computed.
    """
    config_bytes = archive.document(line["Config"], CONFIG_LIMIT)
    config = parse_config(config_bytes, what=f"config of `{archive.path}`", strict=False)
    named = re.fullmatch(r"(?:.*/)?([0-9a-f]{64})(?:\.json)?", line["Config"])
    if named and digest_of(config_bytes) != f"sha256:{named[1]}":
        raise IntegrityError(f"the config `{shown(line['Config'])}` in `{archive.path}` is not what its name says")
    if len(config.rootfs.diff_ids) != len(line["Layers"]):
        raise IntegrityError(
            f"`{archive.path}` has {len(line['Layers'])} layers, and its config {len(config.rootfs.diff_ids)} diffIDs"
        )
    layers = []
    for name, diff_id in zip(line["Layers"], config.rootfs.diff_ids, strict=True):
        stream, size = archive.open_member(name)
        with stream:
            found, suffix = _digest_and_suffix(stream, diff_id)
        archive.name_blob(found, normal(name))
        layers.append({"mediaType": f"{DOCKER_LAYER}{suffix}", "digest": found, "size": size})
    manifest_bytes = canonical(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"mediaType": DOCKER_CONFIG, "digest": digest_of(config_bytes), "size": len(config_bytes)},
            "layers": layers,
        }
    )
    archive.name_blob(digest_of(config_bytes), normal(line["Config"]))
    manifest = parse_manifest(manifest_bytes)
    return Image(reference, digest_of(manifest_bytes), manifest, config, manifest_bytes, config_bytes, archive)


def _digest_and_suffix(stream: BinaryIO, diff_id: str) -> tuple[str, str]:
    chunk = stream.read(_CHUNK)
    codec = codec_of(chunk)
    if codec == "none":
        return diff_id, ""
    found = hashlib.sha256()
    while chunk:
        found.update(chunk)
        chunk = stream.read(_CHUNK)
    return f"sha256:{found.hexdigest()}", f".{codec}"


def is_name(name: str) -> bool:
    """Whether an engine takes this as `NAME` or `NAME:TAG`."""
    return _NAME.fullmatch(name) is not None


def write_archive(path: str | Path, image: BuiltImage, name: str = "") -> str:
    """
    Write an image as the hybrid tar. Equal images and names give equal bytes. Returns the digest of its manifest.

    Args:
        name: `NAME:TAG`, which `docker load` gives it; without one it has only its digest.

    Raises:
        UsageError: not a name that an engine would take.
        IntegrityError: a blob is not what its descriptor says; nothing is left at `path` then.
    """
    entries = _members(image, name)
    with files.replacing(path) as sink:
        write_layer(sink, entries)
    return image.digest


def stream_archive(sink: BinaryIO, image: BuiltImage, name: str = "") -> None:
    """The same bytes, to whoever reads them meanwhile."""
    write_layer(sink, _members(image, name))


def _members(image: BuiltImage, name: str) -> Collection[Entry]:
    if name and not is_name(name):
        raise UsageError(f"`{shown(name)}` is not a name for an image", hint="write NAME:TAG, the name in lower case")
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor_of(image, name)]}
    # Docker writes and reads this list (image/tarexport in its source); `Layers` may name any member.
    docker = [
        {
            "Config": blob_path(image.config_digest),
            "RepoTags": [name] if name else None,
            "Layers": [blob_path(descriptor.digest) for descriptor, _ in image.layers],
        }
    ]
    entries = {
        member: Entry(member, "file", 0o644, content=content)
        for member, content in {
            blob_path(image.config_digest): image.config_bytes,
            blob_path(image.digest): image.manifest_bytes,
            "index.json": canonical(index),
            "manifest.json": canonical(docker),
            "oci-layout": canonical({"imageLayoutVersion": "1.0.0"}),
        }.items()
    }
    for descriptor, blob in image.layers:
        member = blob_path(descriptor.digest)
        entries[member] = Entry(
            member, "file", 0o644, size_bytes=descriptor.size_bytes, content=_checked(descriptor, blob)
        )
    return entries.values()


def _checked(descriptor: Descriptor, blob: Where) -> Callable[[], BinaryIO]:
    """Open a blob that raises IntegrityError at its end when it is not what was promised."""

    def checked() -> BinaryIO:
        if isinstance(blob, Remade):  # which checks itself while it is read
            return blob.open()
        place = place_of(blob)
        with place.open("rb") as stream:
            require_blob(stream, descriptor)
        return place.open("rb")

    return checked
