"""
The merged view of an image's layers: what a container of it would see, read as streams, with nothing written to disk.

Layers are changesets (https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md): "Whiteout files MUST only
apply to resources in lower/parent layers"; "if a directory exists in a lower layer its attributes are replaced";
everything else is removed before it is replaced. Links are followed inside the image only.
"""

from __future__ import annotations

__all__ = ["ImageTree", "Merger", "Node", "merge", "merging", "wanted"]

import errno
import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from typing import Any, BinaryIO, Protocol, cast, runtime_checkable

from msgspec.structs import replace

from envparity.collectors.tree import follow
from envparity.errors import EnvparityError, IntegrityError, MalformedError
from envparity.oci.entries import shown
from envparity.oci.extent import Extent
from envparity.oci.image import Image, Layer, Place
from envparity.oci.proofs import Proofs
from envparity.oci.table import CHUNK, Found, LayerTable, Memory, Node, layer_name, read_table, wanted
from envparity.oci.tar import LIMITS, Limits, RawEntry, read_layer
from envparity.oci.unpack import UNPACK_LIMITS, LayerStream, UnpackLimits, open_blob_checked, open_layer
from envparity.progress import SILENT, Progress

KEEP_BYTES = 256 << 20
ENTRIES_LIMIT = 1_000_000  # in all layers together
_BEGUN_AT_ONCE = 16  # each has files open
IMPLIED_LIMIT_BYTES = 64 << 20  # of the paths of folders that no layer mentions

OPAQUE = ".wh..wh..opq"
WHITEOUT = ".wh."
AUFS = ".wh..wh."
_WHITE = f"/{WHITEOUT}"

_ROOT = Node("/", "folder", 0o755)


class _Budget:
    """How much may still be kept, for several layers that are read at the same time."""

    def __init__(self, left: int) -> None:
        self._left = left
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True


def merge(
    image: Image,
    *,
    keep: Callable[[str], bool] = wanted,
    keep_limit_bytes: int = KEEP_BYTES,
    hashed: Callable[[str], bool] = lambda path: True,
    limits: Limits = LIMITS,
    unpack_limits: UnpackLimits = UNPACK_LIMITS,
    progress: Progress = SILENT,
    memory: Memory | None = None,
) -> ImageTree:
    """
    Read every layer of an image once, check it, and lay the layers over each other.

    Args: as of `merging`. Raises: the same.
    """
    with merging(
        image,
        keep=keep,
        keep_limit_bytes=keep_limit_bytes,
        hashed=hashed,
        limits=limits,
        unpack_limits=unpack_limits,
        progress=progress,
        memory=memory,
    ) as tree:
        return tree


@contextmanager
def merging(
    image: Image,
    *,
    keep: Callable[[str], bool] = wanted,
    keep_limit_bytes: int = KEEP_BYTES,
    hashed: Callable[[str], bool] = lambda path: True,
    limits: Limits = LIMITS,
    unpack_limits: UnpackLimits = UNPACK_LIMITS,
    progress: Progress = SILENT,
    memory: Memory | None = None,
) -> Iterator[ImageTree]:
    """
    The tree of an image within the block, after which every layer of it has been checked. Plain layers that lie on this
    disk are still being hashed when the block begins: nothing that is made of the tree may leave it before its end.

    Args:
        keep: says of an absolute path whether its content stays in memory; any other file is read again when it is
            asked for, which streams its layer up to it.
        keep_limit_bytes: of all content that is kept; what does not fit is read again too.
        hashed: says of an absolute path whether the sha256 of the file will be asked for. Hashing all files takes as
            long as all the rest; where only a few digests are wanted, those of others are computed when they are.
        memory: what is known of some layers already, found with the same `keep` and `hashed`. Unless the place is
            `far`, where it would cost as much as reading them, their blobs are hashed all the same: damage since then
            is found out.

    Raises:
        IntegrityError: a blob, a layer or a diffID does not match.
        MalformedError: a layer is damaged, hostile or over a limit.
        UnsupportedError: a compression that is not read.
    """
    layers = image.layers()
    members = _Budget(ENTRIES_LIMIT)
    total = sum(layer.descriptor.size_bytes for layer in layers)
    table = partial(read_table, keep=keep, take=_Budget(keep_limit_bytes).take, hashed=hashed, limits=limits)
    with (
        progress.task(f"reading {shown(image.reference)}", total) as advance,
        Proofs(advance) as proofs,
        closing(_Reader(image, table, unpack_limits, proofs, memory)) as reader,
    ):
        reader.begin(layers)

        def read(layer: Layer) -> Found:
            found = reader.read(layer)
            if not members.take(len(found[0].nodes)):
                raise MalformedError(f"{shown(image.name)} has more than {ENTRIES_LIMIT} members in its layers")
            if not reader.is_unproven(layer):
                advance(layer.descriptor.size_bytes)
            return found

        with _workers(image.place, min(os.cpu_count() or 1, 4)) as pool:
            read_layers = list(pool.map(read, layers))
        tables = tuple(table for table, _ in read_layers)
        merger = Merger(image)
        for index, of_layer in enumerate(tables):
            merger.apply(index, of_layer)
        kept = tuple(content for _, content in read_layers)
        yield ImageTree(image, tables, merger.nodes, merger.children, kept, tuple(merger.notes), unpack_limits)
    reader.learn()


class _Reader:
    """Reads the layers of one image, each from where that is fastest. Safe for several threads."""

    def __init__(
        self,
        image: Image,
        table: Callable[..., Found],
        limits: UnpackLimits,
        proofs: Proofs,
        memory: Memory | None,
    ) -> None:
        self._image = image
        self._table = table
        self._limits = limits
        self._proofs = proofs
        self._memory = memory
        self._walking = threading.Lock()
        self._begun: dict[int, tuple[LayerStream, Extent | None]] = {}
        self._unproven: dict[Layer, Found] = {}

    def begin(self, layers: Iterable[Layer]) -> None:
        """Begin to check the largest layers on this disk: how long that takes is how long all of it takes."""
        if self._memory is not None or getattr(self._image.place, "far", False):
            return
        for layer in sorted(layers, key=lambda layer: -layer.descriptor.size_bytes)[:_BEGUN_AT_ONCE]:
            with suppress(EnvparityError):  # it is raised again when its turn comes
                self._begun[layer.number] = self._open(layer)

    def close(self) -> None:
        """Close what was begun and not read."""
        for stream, extent in self._begun.values():
            if extent is None:
                stream.close()
            else:
                extent.close()

    def _open(self, layer: Layer) -> tuple[LayerStream, Extent | None]:
        """A layer as a stream; and where it lies plain on this disk, as that, while the stream is being checked."""
        name = layer_name(self._image, layer)
        stream = open_layer(self._image.place, layer.descriptor, layer.diff_id, name=name, limits=self._limits)
        try:
            extent = stream.extent
        except BaseException:
            stream.close()
            raise
        if extent is not None:
            try:
                self._proofs.begin(stream)
            except BaseException:
                extent.close()
                raise
        return stream, extent

    def read(self, layer: Layer) -> Found:
        """What a layer holds, from memory or read anew."""
        place, name = self._image.place, layer_name(self._image, layer)
        index = layer.number - 1
        found = self._memory.recall(layer) if self._memory is not None else None
        if found is not None:
            if not getattr(place, "far", False):
                with open_blob_checked(place, layer.descriptor, name):
                    pass
            return _numbered(found, index)
        is_begun = layer.number in self._begun
        stream, extent = self._begun.pop(layer.number) if is_begun else self._open(layer)
        if extent is None:
            with stream:
                found = self._table(stream, index, name=name)
            if self._memory is not None:
                self._memory.learn(layer, found)
            return found
        # To walk and seek is work for Python alone: two threads at it would only get in each other's way.
        with self._walking, extent:
            found = self._table(stream, index, name=name, extent=extent)
            extent.require_unchanged(name)
        self._unproven[layer] = found
        return found

    def is_unproven(self, layer: Layer) -> bool:
        """Whether a layer that was read is still being checked."""
        return layer in self._unproven

    def learn(self) -> None:
        """Remember the layers that were proven since they were read."""
        if self._memory is not None:
            for layer, found in self._unproven.items():
                self._memory.learn(layer, found)


@contextmanager
def _workers(place: Place, count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads to read with. A place behind a network lets go of its connections where the block is left by an error."""
    if isinstance(place, _Network):
        with place.workers(count) as pool:
            yield pool
        return
    with ThreadPoolExecutor(count, thread_name_prefix="layer") as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@runtime_checkable
class _Network(Protocol):
    def workers(self, count: int) -> AbstractContextManager[ThreadPoolExecutor]: ...


def _numbered(found: Found, index: int) -> Found:
    """The same table as that of another layer of an image."""
    table, kept = found
    if not table.nodes or table.nodes[0].layer == index:
        return found
    nodes = tuple(replace(node, layer=index) for node in table.nodes)
    return LayerTable(nodes, table.twice, table.codec, table.size_bytes), kept


class Merger:
    """The view so far; each layer changes it in place. Paths here are absolute, and their parents hold no link."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.nodes: dict[str, Node] = {"/": _ROOT}
        self.children: dict[str, set[str]] = {"/": set()}
        self.notes: list[str] = []
        self._link = partial(_target, self.nodes)
        self._name = ""
        self._implied_bytes = 0

    def apply(self, index: int, table: LayerTable) -> None:
        """Lay one layer (from 0) over those before it. Raises MalformedError for what no engine could unpack."""
        self._name = layer_name(self._image, self._image.layers()[index])
        self.notes.extend(f"{self._name} has `{shown(path)}` twice; the last one counts" for path in table.twice)
        # Whiteouts hide what is below this layer only, so that their place within it cannot matter: they go first.
        plain = [node for node in table.nodes if _WHITE not in node.path or not self._hide(node)]
        nodes, children = self.nodes, self.children
        for node in plain:
            path = node.path
            folder, _, name = path.rpartition("/")
            # A folder that has children is one in the view itself. Most members are new in such a folder.
            beside = children.get(folder or "/")
            if beside is None or path in nodes or node.kind == "hardlink":
                self._put(index, node)
                continue
            nodes[path] = node
            beside.add(name)
            if node.kind == "folder":
                children[path] = set()

    def _broken(self, node: Node, message: str) -> MalformedError:
        return MalformedError(f"{self._name}: `{shown(node.path)}` {message}")

    def _hide(self, node: Node) -> bool:
        """Apply one whiteout; False when the node is none after all."""
        parts = node.path[1:].split("/")
        folder, name = "/" + "/".join(parts[:-1]), parts[-1]
        if name != OPAQUE and any(part.startswith(AUFS) for part in parts):
            return True  # what AUFS notes for itself (`.wh..wh.plnk`, `.wh..wh.aufs`); no part of the file system
        if any(part.startswith(WHITEOUT) for part in parts[:-1]):
            raise self._broken(node, "lies below a whiteout")
        hidden = name.removeprefix(WHITEOUT)
        if name != OPAQUE and hidden in {"", ".", ".."}:
            raise self._broken(node, "is a whiteout of nothing")
        parent = self._find(folder)
        if parent is None:
            return True
        if name == OPAQUE:
            for child in list(self.children.get(parent, ())):
                self._remove(_joined(parent, child))
        else:
            self._remove(_joined(parent, hidden))
        return True

    def _put(self, index: int, node: Node) -> None:
        if node.path == "/":
            self.nodes["/"] = node
            return
        folder, _, name = node.path.rpartition("/")
        parent = self._make(folder or "/", index, node)
        path = _joined(parent, name)
        if node.kind == "hardlink":
            node = self._linked(node, path)
        there = self.nodes.get(path)
        if there is not None and not (there.kind == "folder" and node.kind == "folder"):
            self._remove(path)
        self._set(path, node if node.path == path else replace(node, path=path))

    def _linked(self, node: Node, path: str) -> Node:
        """What a hard link repeats. It must be there already, as for any engine."""
        folder, _, name = ("/" + node.target).rpartition("/")
        parent = self._find(folder or "/")
        target = self.nodes.get(_joined(parent, name)) if parent is not None else None
        if target is None or target.path == path:
            raise self._broken(node, f"is a hard link to `{shown(node.target)}`, which is not there (yet)")
        if target.kind == "folder":
            raise self._broken(node, f"is a hard link to the folder `{shown(node.target)}`")
        if node.xattrs:
            # Engines set them on the one file that both names stand for.
            target = replace(target, xattrs=tuple(dict.fromkeys(target.xattrs + node.xattrs)))
            self.nodes[target.path] = target
        return target

    def _set(self, path: str, node: Node) -> None:
        folder, _, name = path.rpartition("/")
        self.nodes[path] = node
        self.children[folder or "/"].add(name)
        if node.kind == "folder":
            self.children.setdefault(path, set())

    def _remove(self, path: str) -> None:
        if path not in self.nodes:
            return
        folder, _, name = path.rpartition("/")
        self.children[folder or "/"].discard(name)
        ahead = [path]
        while ahead:
            here = ahead.pop()
            del self.nodes[here]
            ahead.extend(_joined(here, child) for child in self.children.pop(here, ()))

    def _find(self, path: str) -> str | None:
        """A folder that is there, with links followed; None if it is not."""
        try:
            found = follow(path, self._link)
        except OSError:
            return None
        node = self.nodes.get(found)
        return found if node is not None and node.kind == "folder" else None

    def _make(self, path: str, index: int, wanted_by: Node) -> str:
        """A folder that is there afterwards. Where it leads through a link of the image, the link is followed."""
        node = self.nodes.get(path)
        if node is not None and node.kind == "folder":
            return path
        try:
            found = follow(path, self._link)
        except OSError as error:
            raise self._broken(wanted_by, "lies below a cycle of links") from error
        if found != path:
            self.notes.append(f"{self._name}: `{shown(wanted_by.path)}` goes through a link; engines differ about that")
        at = ""
        for part in found[1:].split("/"):
            at = f"{at}/{part}"
            node = self.nodes.get(at)
            if node is not None and node.kind != "folder":
                self.notes.append(f"{self._name}: `{shown(at)}` is a {node.kind} below, and becomes a folder")
                self._remove(at)
                node = None
            if node is None:
                self._implied_bytes += len(at)
                if self._implied_bytes > IMPLIED_LIMIT_BYTES:
                    raise self._broken(wanted_by, "is one of too many paths whose folders no layer mentions")
                self._set(at, Node(at, "folder", 0o755, layer=index))
        return found


def _joined(folder: str, name: str) -> str:
    return f"/{name}" if folder == "/" else f"{folder}/{name}"


def _target(nodes: Mapping[str, Node], path: str) -> str | None:
    node = nodes.get(path)
    return node.target if node is not None and node.kind == "link" else None


class ImageTree:
    """
    The file system of an image, read-only, as collectors see any place. Paths are absolute.

    `notes` say what in the layers is unusual: a path twice in one layer, a folder in the place of a file.
    """

    def __init__(
        self,
        image: Image,
        tables: tuple[LayerTable, ...],
        nodes: dict[str, Node],
        children: dict[str, set[str]],
        kept: tuple[Mapping[int, bytes], ...],
        notes: tuple[str, ...],
        unpack_limits: UnpackLimits = UNPACK_LIMITS,
    ) -> None:
        self.image = image
        self.notes = notes
        self._tables = tables
        self._nodes = nodes
        self._link = partial(_target, nodes)
        self._children = children
        self._kept = kept
        self._unpack_limits = unpack_limits

    # What collectors ask of any tree.

    def entries(self, path: str) -> list[str]:
        """The sorted names in a folder. Raises OSError if there is none."""
        node = self._at(path)
        if node.kind != "folder":
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return sorted(self._children[node.path])

    def kind(self, path: str) -> str | None:
        """`file`, `folder` or `other`, with links followed; None where nothing is."""
        try:
            kind = self._at(path).kind
        except OSError:
            return None
        return kind if kind in {"file", "folder"} else "other"

    def is_link(self, path: str) -> bool:
        """Whether the path itself is a symbolic link."""
        node = self.entry(path)
        return node is not None and node.kind == "link"

    def size(self, path: str) -> int:
        """Bytes of a file. Raises OSError."""
        return self._file(path).size_bytes

    def sha256(self, path: str) -> str:
        """
        The sha256 of a file, computed when its layer was read and checked; else its layer is read, and checked, again.

        Raises:
            OSError: it is no file. IntegrityError: the place changed since the layer was checked.
        """
        node = self._file(path)
        if node.sha256:
            return node.sha256
        with self.open(path) as stream:
            return hashlib.file_digest(cast(Any, stream), "sha256").hexdigest()

    def resolve(self, path: str) -> str:
        """The path with links followed, inside the image only. Raises OSError for a cycle."""
        return follow(path, self._link)

    def read(self, path: str, limit: int = 16 << 20) -> bytes:
        """The content of a file. Raises OSError, with EFBIG over the limit."""
        node = self._file(path)
        if node.size_bytes > limit:
            raise OSError(errno.EFBIG, f"larger than {limit} bytes", path)
        with self.open(path) as stream:
            return stream.read()

    def open(self, path: str) -> BinaryIO:
        """
        The content of a file as a stream: from memory where it was kept, else from its layer again.

        Raises:
            OSError: it is no file. IntegrityError: the place changed since the layer was checked.
        """
        node = self._file(path)
        kept = self._kept[node.layer].get(node.member)
        if kept is not None:
            return io.BytesIO(kept)
        stream = self._layer_stream(node.layer)
        try:
            for member, raw in enumerate(read_layer(cast(BinaryIO, stream), layer=self._layer_name(node.layer))):
                if member == node.member:
                    return io.BufferedReader(_Content(stream, raw, node), CHUNK)
        except BaseException:
            stream.close()
            raise
        stream.close()
        raise self._changed(node)

    # What only an image can say.

    def entry(self, path: str) -> Node | None:
        """What is at a path; links on the way are followed, a link at its end is not."""
        folder, _, name = path.rstrip("/").rpartition("/")
        if name in {"", ".", ".."}:
            folder, name = path, ""
        try:
            parent = follow(folder, self._link)
        except OSError:
            return None
        return self._nodes.get(_joined(parent, name) if name else parent)

    def walk(self) -> Iterator[Node]:
        """Everything in the merged view, sorted by path, the root first."""
        for path in sorted(self._nodes):
            yield self._nodes[path]

    def layer_entries(self, index: int) -> tuple[Node, ...]:
        """The members of one layer (from 0) in its own order, not merged, whiteouts as the files that they are."""
        return self._tables[index].nodes

    def contents(self, paths: Iterable[str]) -> Iterator[tuple[str, BinaryIO]]:
        """
        The content of many files, each layer streamed once. A stream is good until the next one is asked for.

        Raises:
            OSError: one of them is no file.
        """
        wanted_by: dict[int, dict[int, list[tuple[str, Node]]]] = {}
        for path in paths:
            node = self._file(path)
            kept = self._kept[node.layer].get(node.member)
            if kept is not None:
                yield path, io.BytesIO(kept)
            else:
                wanted_by.setdefault(node.layer, {}).setdefault(node.member, []).append((path, node))
        for index in sorted(wanted_by):
            yield from self._from_layer(index, wanted_by[index])

    def _from_layer(self, index: int, wanted_by: dict[int, list[tuple[str, Node]]]) -> Iterator[tuple[str, BinaryIO]]:
        left = set(wanted_by)
        with self._layer_stream(index) as stream:
            for member, raw in enumerate(read_layer(cast(BinaryIO, stream), layer=self._layer_name(index))):
                if member not in left:
                    continue
                left.discard(member)
                (path, node), *others = wanted_by[member]
                if others:
                    # Hard links: several paths with one content.
                    yield from ((name, self.open(name)) for name, _ in others)
                yield path, io.BufferedReader(_Content(None, raw, node), CHUNK)
                if not left:
                    if not all(node.sha256 for those in wanted_by.values() for _, node in those):
                        stream.drain()  # what has no digest of its own is proven by that of the layer
                    return
        raise self._changed(next(iter(wanted_by.values()))[0][1])

    def _layer_stream(self, index: int) -> LayerStream:
        layer = self.image.layers()[index]
        name = self._layer_name(index)
        return open_layer(self.image.place, layer.descriptor, layer.diff_id, name=name, limits=self._unpack_limits)

    def _layer_name(self, index: int) -> str:
        return layer_name(self.image, self.image.layers()[index])

    def _changed(self, node: Node) -> EnvparityError:
        return IntegrityError(f"{self._layer_name(node.layer)} changed while it was read: `{shown(node.path)}` is gone")

    def _at(self, path: str) -> Node:
        node = self._nodes.get(path)
        if node is not None and node.kind != "link":
            return node  # the parents of what is in the table hold no link
        node = self._nodes.get(follow(path, self._link))
        if node is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return node

    def _file(self, path: str) -> Node:
        node = self._at(path)
        if node.kind == "folder":
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if node.kind != "file":
            raise OSError(errno.EINVAL, "not a regular file", path)
        return node


class _Content(io.RawIOBase):
    """
    A file that is read from its layer again, and must be the one that was hashed. Where it was not, the layer must be
    the one that was: at the end of the file the rest of it is read.
    """

    def __init__(self, stream: LayerStream | None, raw: RawEntry, node: Node) -> None:
        super().__init__()
        self._stream = stream
        self._raw = raw
        self._node = node
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._raw.reader.read(len(buffer))
        self._hash.update(data)
        if not data and self._node.sha256 and self._hash.hexdigest() != self._node.sha256:
            raise IntegrityError(f"`{shown(self._node.path)}` changed while the image was read")
        if not data and not self._node.sha256 and self._stream is not None:
            self._stream.drain()
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        super().close()
