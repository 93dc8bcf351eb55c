"""What one layer holds: its members in its own order, each hashed, and the content of the few that readers want."""

from __future__ import annotations

__all__ = ["CHUNK", "Found", "LayerTable", "Memory", "Node", "layer_name", "one_of", "read_table", "wanted"]

import fnmatch
import hashlib
import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from envparity.errors import MalformedError
from envparity.oci.entries import Kind, shown
from envparity.oci.image import Image, Layer
from envparity.oci.tar import LIMITS, Limits, RawEntry, read_layer
from envparity.oci.unpack import LayerStream

CHUNK = 1 << 18
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
    """Whether a path fits one of the shell's patterns, decided in one step: images have 100,000 of them."""
    fits = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns)).match
    return lambda path: fits(path) is not None


_WANTED = one_of(WANTED)


def wanted(path: str) -> bool:
    """Whether readers usually want the content of this file: metadata of packages and of the system, all small."""
    return _WANTED(path)


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
) -> tuple[LayerTable, dict[int, bytes]]:
    """
    Read one layer to its end: its table, with the sha256 of every file that is to be `hashed`, and the content of those
    to keep, by member. The layer as a whole is checked in any case.

    Raises:
        IntegrityError, MalformedError: as `read_layer` and the stream itself say.
    """
    nodes: list[Node] = []
    kept: dict[int, bytes] = {}
    seen: set[str] = set()
    twice: list[str] = []
    # Three small reads a member would otherwise go down through every layer of streams, and be hashed one by one.
    ahead = io.BufferedReader(stream, CHUNK)
    try:
        for member, raw in enumerate(read_layer(ahead, layer=name, limits=limits)):
            path = "/" + raw.entry.path
            if path in seen:
                twice.append(path)
            seen.add(path)
            sha256 = ""
            if raw.entry.kind == "file":
                keeping = raw.entry.size_bytes <= KEEP_FILE_BYTES and keep(path) and take(raw.entry.size_bytes)
                if keeping or hashed(path):
                    sha256, content = _hashed(raw, keeping)
                    if keeping:
                        kept[member] = content
            nodes.append(_node(raw, path, sha256, index, member))
        stream.drain()
    except MalformedError:
        # Damage of the stored bytes is told from a layer that was made wrong: the first is for the one who stores them.
        stream.require_blob()
        raise
    finally:
        ahead.detach()
    return LayerTable(tuple(nodes), tuple(twice), stream.codec, stream.size_bytes), kept


def _hashed(raw: RawEntry, keeping: bool) -> tuple[str, bytes]:
    found = hashlib.sha256()
    pieces: list[bytes] = []
    while chunk := raw.reader.read(CHUNK):
        found.update(chunk)
        if keeping:
            pieces.append(chunk)
    return found.hexdigest(), b"".join(pieces)


def _node(raw: RawEntry, path: str, sha256: str, layer: int, member: int) -> Node:
    entry = raw.entry
    return Node(
        path=path,
        kind=entry.kind,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        size_bytes=entry.size_bytes,
        sha256=sha256,
        target=entry.target,
        layer=layer,
        member=member,
        mtime=raw.mtime,
        xattrs=raw.xattrs,
    )


def layer_name(image: Image, layer: Layer) -> str:
    """How errors name a layer: `oci:dir@sha256:0123456789ab layer 3/7`."""
    return f"{shown(image.name)} layer {layer.number}/{layer.total}"
