"""
A tar turned into a blob, with the same bytes at any time on any machine that has the same compressor.

gzip is written as independent members of a fixed size. "A gzip file consists of a series of members" (RFC 1952, 2.2),
every engine reads it, each member can be made by another core, and libdeflate gives the same bytes on every processor,
where isal and zlib-ng do not.
"""

from __future__ import annotations

__all__ = ["BuiltLayer", "PackedLayer", "current_packer", "pack"]

import hashlib
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from envparity.errors import UnsupportedError
from envparity.oci.spec import OCI_LAYER, Descriptor
from envparity.oci.tar import Sink
from envparity.values import Packer

# RFC 1952: magic, deflate, no flags, no time, "fastest" for level 1, unknown system.
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00"


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A layer as it is stored: `diff_id` is the digest of the tar, `digest` and `size_bytes` are those of the blob."""

    diff_id: str
    digest: str
    size_bytes: int
    media_type: str

    @property
    def descriptor(self) -> Descriptor:
        """How a manifest names the blob."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size_bytes=self.size_bytes)


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """A packed layer, where its blob lies, and the line of history that says what it is."""

    packed: PackedLayer
    path: Path
    history: str


def current_packer(codec: str = "gzip") -> Packer:
    """What this installation packs with. The library is named by the package that carries it (`deflate`)."""
    if codec == "none":
        return Packer(codec="none", library="", library_version="", level=0, member_bytes=0)
    _known(codec)
    from importlib.metadata import version

    return Packer(codec="gzip", library="libdeflate", library_version=f"deflate-{version('deflate')}")


def _known(codec: str) -> None:
    if codec not in {"gzip", "none"}:
        raise UnsupportedError(f"the codec `{codec}` is not supported yet", hint="use gzip or none")


def pack(write: Callable[[BinaryIO], None], packer: Packer, sink: Sink, *, threads: int | None = None) -> PackedLayer:
    """
    Let `write` produce a tar, and store it compressed in `sink`.

    Memory is bounded by a few members; the bytes do not depend on `threads` nor on how `write` cuts its pieces.

    Args:
        write: is given a binary file to write the tar to, and closes nothing.
        packer: as `current_packer` gives it, or as a lock recorded it.
        sink: where the blob goes.

    Raises:
        UnsupportedError: a codec or library that this installation does not have.
    """
    _known(packer.codec)
    if packer.codec == "none":
        plain = _Plain(sink)
        write(cast(BinaryIO, plain))
        return PackedLayer(plain.digest, plain.digest, plain.size_bytes, OCI_LAYER)
    if packer.library != "libdeflate" or packer.member_bytes < 1 << 16 or not 1 <= packer.level <= 12:
        raise UnsupportedError(
            f"cannot pack with {packer.library} level {packer.level} in members of {packer.member_bytes} bytes",
            hint="lock again with this version",
        )
    threads = threads or min(os.cpu_count() or 1, 8)
    with ThreadPoolExecutor(threads, thread_name_prefix="pack") as pool:
        members = _Members(sink, packer, pool, threads)
        write(cast(BinaryIO, members))
        return members.finish()


class _Plain:
    """Writes through, and counts."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self._sink.write(data)
        self.size_bytes += len(data)
        return len(data)


class _Members:
    """Cuts what is written into members, lets the pool compress them, and passes them on in order."""

    def __init__(self, sink: Sink, packer: Packer, pool: ThreadPoolExecutor, threads: int) -> None:
        self._out = _Plain(sink)
        self._packer = packer
        self._pool = pool
        self._room = threads + 1
        self._waiting: deque[Future[bytes]] = deque()
        self._piece = bytearray()
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        member = self._packer.member_bytes
        view = memoryview(data)
        while len(view):
            taken = view[: member - len(self._piece)]
            self._piece += taken
            view = view[len(taken) :]
            if len(self._piece) == member:
                self._submit()
        return len(data)

    def _submit(self) -> None:
        if len(self._waiting) >= self._room:
            self._out.write(self._waiting.popleft().result())
        self._waiting.append(self._pool.submit(_member, bytes(self._piece), self._packer.level))
        self._piece.clear()

    def finish(self) -> PackedLayer:
        if self._piece or not self._waiting:
            self._submit()
        while self._waiting:
            self._out.write(self._waiting.popleft().result())
        diff_id = f"sha256:{self._hash.hexdigest()}"
        return PackedLayer(diff_id, self._out.digest, self._out.size_bytes, f"{OCI_LAYER}+gzip")


def _member(piece: bytes, level: int) -> bytes:
    import deflate

    data = bytes(deflate.gzip_compress(piece, level))
    if data[:8] != _HEADER:
        # A library that starts to write the time would give another digest every second, and nobody would know why.
        raise UnsupportedError(
            f"the installed `deflate` writes a gzip header of its own: {data[:10].hex()}",
            hint="install another version",
        )
    return data
