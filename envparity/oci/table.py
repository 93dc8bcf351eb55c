"""What one layer holds: its members in its own order, each hashed, and the content of the few that readers want."""

from __future__ import annotations

__all__ = [
    "CHUNK",
    "Found",
    "LayerTable",
    "Memory",
    "Node",
    "layer_name",
    "one_of",
    "placed_table",
    "read_table",
    "wanted",
]

import fnmatch
import hashlib
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, Protocol

import msgspec

from envparity.errors import MalformedError
from envparity.oci.entries import Kind, shown
from envparity.oci.extent import Extent, Placed
from envparity.oci.image import Image, Layer
from envparity.oci.tar import LIMITS, Limits, RawEntry, read_layer
from envparity.oci.unpack import LayerStream

CHUNK = 1 << 18
_NONE: Mapping[tuple[int, int], str] = {}
KEEP_FILE_BYTES = 16 << 20

WANTED = (
    "*.dist-info/*",
    "*.egg-info",
    "*.egg-info/*",
    "*.pth",
    "*/pyvenv.cfg",
    "/etc/os-release",
    "/usr/lib/os-release",
    "/etc/debian_version",
    "/etc/passwd",
    "/etc/group",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d/*",
    "/var/lib/dpkg/status",
    "/var/lib/dpkg/status.d/*",
    "/var/lib/dpkg/info/*.list",
    "/var/lib/dpkg/info/*.md5sums",
    "/lib/apk/db/installed",
    "/usr/lib/apk/db/installed",
    "/var/lib/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "*/conda-meta/*.json",
    "/usr/share/envparity/*",
)


def one_of(patterns: Iterable[str]) -> Callable[[str], bool]:
    """
    Whether a path fits one of the shell's patterns, decided as fast as it can be: images have 100,000 of them. A name,
    an end and a part of a path are looked for as they are; only what is left takes a regular expression.
    """
    whole: set[str] = set()
    ends: list[str] = []
    parts: list[str] = []
    others: list[str] = []
    for pattern in patterns:
        stars = pattern.strip("*")
        if set(stars) & set("*?["):
            others.append(pattern)
        elif pattern == stars:
            whole.add(pattern)
        elif pattern == f"*{stars}":
            ends.append(stars)
        elif pattern == f"*{stars}*":
            parts.append(stars)
        else:
            others.append(pattern)
    end = tuple(ends)
    fits = re.compile("|".join(fnmatch.translate(pattern) for pattern in others) or r"(?!)").match

    def one(path: str) -> bool:
        if path.endswith(end) or path in whole:
            return True
        for part in parts:
            if part in path:
                return True
        return fits(path) is not None

    return one


def wanted(path: str) -> bool:
    """Whether readers usually want the content of this file: metadata of packages and of the system, all small."""
    return _usual()(path)


@cache
def _usual() -> Callable[[str], bool]:
    return one_of(WANTED)


class Node(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """
    One file, folder or link.

    Args:
        path: absolute. Bytes that are not UTF-8 are kept by `surrogateescape`.
        kind: as of an Entry; in the merged view a hard link is a `file` like the one that it repeats.
        size_bytes, sha256: of files only (`sha256` is 64 hexadecimal digits; `""` where nobody asked for it).
        target: of links, as written; of hard links in a layer's own table, the path that they repeat, without a slash.
        layer: the number of the layer that it comes from, from 0.
        member: its number within that layer, from 0; -1 for a folder that no layer mentions.
        mtime, xattrs: as of a RawEntry.
    """

    path: str
    kind: Kind
    mode: int
    uid: int = 0
    gid: int = 0
    size_bytes: int = 0
    sha256: str = ""
    target: str = ""
    layer: int = -1
    member: int = -1
    mtime: int = 0
    xattrs: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class LayerTable:
    """
    What one layer holds, in its own order, whiteouts as the files that they are.

    `twice` are the paths that appear more than once, which the specification forbids.
    """

    nodes: tuple[Node, ...]
    twice: tuple[str, ...]
    codec: str
    size_bytes: int


Found = tuple[LayerTable, dict[int, bytes]]
"""What was read of one layer: its table, and the content of the members that were kept."""


class Memory(Protocol):
    """What was learned of layers before, by their digests."""

    def recall(self, layer: Layer) -> Found | None:
        """What is known of a layer that was read, and checked, before."""
        ...

    def learn(self, layer: Layer, found: Found) -> None:
        """Remember a layer, which has been read to its end and checked."""
        ...


def read_table(
    stream: LayerStream,
    index: int,
    *,
    name: str,
    keep: Callable[[str], bool] = lambda path: False,
    take: Callable[[int], bool] = lambda size: False,
    hashed: Callable[[str], bool] = lambda path: True,
    limits: Limits = LIMITS,
    extent: Extent | None = None,
) -> tuple[LayerTable, dict[int, bytes]]:
    """
    Read one layer to its end: its table, with the sha256 of every file that is to be `hashed`, and the content of those
    to keep, by member. The layer as a whole is checked in any case.

    Args:
        extent: the same layer as it lies on this disk, which is read instead, and only as far as its content is wanted.
            The stream is not touched: whoever gives an extent has the stream checked by another thread.

    Raises:
        IntegrityError, MalformedError: as `read_layer` and the stream itself say.
    """
    if extent is not None:
        nodes, kept = _members(extent, index, name, keep, take, hashed, limits)
        return LayerTable(nodes, _twice(nodes), stream.codec, extent.size_bytes), kept
    # Three small reads a member would otherwise go down through every layer of streams, and be hashed one by one.
    ahead = io.BufferedReader(stream, CHUNK)
    try:
        nodes, kept = _members(ahead, index, name, keep, take, hashed, limits)
        stream.drain()
    except MalformedError:
        # Damage of the stored bytes is told from a layer that was made wrong: the first is for the one who stores them.
        stream.require_blob()
        raise
    finally:
        ahead.detach()
    return LayerTable(nodes, _twice(nodes), stream.codec, stream.size_bytes), kept


def placed_table(
    tar: Placed,
    name: str,
    codec: str,
    keep: Callable[[str], bool],
    hashed: Callable[[str], bool],
    digests: Mapping[tuple[int, int], str],
) -> Found:
    """
    The same of the tar of the first layer that is here by itself. `codec` says what it is stored as, `digests` those of
    contents that need not be hashed again, by their place and size.
    """
    nodes, kept = _members(tar, 0, name, keep, lambda size: True, hashed, LIMITS, digests)
    return LayerTable(nodes, _twice(nodes), codec, tar.size_bytes), kept


def _members(
    tar: BinaryIO | Placed,
    index: int,
    name: str,
    keep: Callable[[str], bool],
    take: Callable[[int], bool],
    hashed: Callable[[str], bool],
    limits: Limits,
    digests: Mapping[tuple[int, int], str] = _NONE,
) -> tuple[tuple[Node, ...], dict[int, bytes]]:
    nodes: list[Node] = []
    kept: dict[int, bytes] = {}
    for member, raw in enumerate(read_layer(tar, layer=name, limits=limits)):
        path = "/" + raw.path
        sha256 = ""
        if raw.kind == "file":
            keeping = raw.size_bytes <= KEEP_FILE_BYTES and keep(path) and take(raw.size_bytes)
            if keeping or hashed(path):
                sha256, content = digests.get((raw.offset, raw.size_bytes), ""), b""
                if keeping or not sha256:
                    sha256, content = _hashed(raw, keeping)
                if keeping:
                    kept[member] = content
        nodes.append(
            Node(
                path,
                raw.kind,
                raw.mode,
                raw.uid,
                raw.gid,
                raw.size_bytes,
                sha256,
                raw.target,
                index,
                member,
                raw.mtime,
                raw.xattrs,
            )
        )
    return tuple(nodes), kept


def _twice(nodes: Sequence[Node]) -> tuple[str, ...]:
    """The paths that appear again, each time that they do."""
    seen = {node.path for node in nodes}
    if len(seen) == len(nodes):
        return ()
    seen.clear()
    twice = []
    for node in nodes:
        if node.path in seen:
            twice.append(node.path)
        seen.add(node.path)
    return tuple(twice)


def _hashed(raw: RawEntry, keeping: bool) -> tuple[str, bytes]:
    found = hashlib.sha256()
    pieces: list[bytes] = []
    reader = raw.reader
    while chunk := reader.read(CHUNK):
        found.update(chunk)
        if keeping:
            pieces.append(chunk)
    return found.hexdigest(), b"".join(pieces)


def layer_name(image: Image, layer: Layer) -> str:
    """How errors name a layer: `oci:dir@sha256:0123456789ab layer 3/7`."""
    return f"{shown(image.name)} layer {layer.number}/{layer.total}"
