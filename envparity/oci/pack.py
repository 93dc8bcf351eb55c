"""
A tar turned into a blob, with the same bytes at any time on any machine that has the same compressor.

gzip is written as independent members of a fixed size. "A gzip file consists of a series of members" (RFC 1952, 2.2),
every engine reads it, each member can be made by another core, and libdeflate gives the same bytes on every processor,
where isal and zlib-ng do not. A large file that a wheel holds deflated is a member as it lies there: it was packed
once, and better. zstd is written in the same way, as frames of a fixed size ("Zstandard compressed data is made up of
one or more frames", RFC 8878, 3); its own threads would give other bytes than one thread does. What was compressed is
unpacked at once and compared: nothing that comes later looks at it so closely.
"""

from __future__ import annotations

__all__ = [
    "CODECS",
    "BuiltLayer",
    "PackedLayer",
    "Remade",
    "Where",
    "current_packer",
    "opened",
    "pack",
    "place_of",
    "shrunk",
]

import hashlib
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from envparity.errors import IntegrityError, UnsupportedError
from envparity.oci.spec import OCI_LAYER, Descriptor
from envparity.oci.tar import Sink
from envparity.values import Packer

# RFC 1952: magic, deflate, no flags, no time, "fastest" for level 1, unknown system.
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
_REUSED_BYTES = 1 << 16
_REUSED_HEADER = _HEADER + b"\x00\xff"  # nothing is said of the level of a member that others made


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """
    A layer as it is stored: `diff_id` and `unpacked_bytes` are those of the tar, `digest` and `size_bytes` of the blob.
    """

    diff_id: str
    digest: str
    size_bytes: int
    media_type: str
    unpacked_bytes: int = 0

    @property
    def descriptor(self) -> Descriptor:
        """How a manifest names the blob."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size_bytes=self.size_bytes)


CODECS = ("gzip", "zstd", "none")


class Remade(ABC):
    """A blob that lies nowhere, and is made anew each time that it is read."""

    @abstractmethod
    def open(self, offset: int = 0) -> BinaryIO:
        """Its bytes from an offset on. Raises IntegrityError, before the last of them, where it is not what it was."""


Where = Path | Remade | Callable[[], Path]
"""Where a blob lies; or what brings it here, called only where somebody reads it."""


def opened(where: Where, offset: int = 0) -> BinaryIO:
    """The bytes of a blob from an offset on; it is brought here if it has to be."""
    if isinstance(where, Remade):
        return where.open(offset)
    stream = place_of(where).open("rb")
    stream.seek(offset)
    return stream


def place_of(where: Where) -> Path:
    """The file of a blob that lies in one, brought here if it has to be."""
    assert not isinstance(where, Remade)
    return where if isinstance(where, Path) else where()


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """
    A packed layer, where its blob lies, and the line of history that says what it is; none where the history of
    another image says so.
    """

    packed: PackedLayer
    path: Where
    history: str


def current_packer(codec: str = "gzip") -> Packer:
    """What this installation packs with. The library is named by the package that carries it (`deflate`)."""
    if codec == "none":
        return Packer(codec="none", library="", library_version="", level=0, member_bytes=0)
    _known(codec)
    if codec == "zstd":
        import zstandard

        made_by = f"zstandard-{zstandard.__version__}"
        return Packer(codec="zstd", library="zstd", library_version=made_by, level=3, member_bytes=4 << 20)
    import deflate

    made_by = f"deflate-{deflate.__version__}"
    return Packer(codec="gzip", library="libdeflate", library_version=made_by, reused_bytes=_REUSED_BYTES)


def _known(codec: str) -> None:
    if codec not in CODECS:
        raise UnsupportedError(f"the codec `{codec}` is not supported", hint=f"use one of {', '.join(CODECS)}")


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
        return PackedLayer(plain.digest, plain.digest, plain.size_bytes, OCI_LAYER, plain.size_bytes)
    library, most = ("zstd", 19) if packer.codec == "zstd" else ("libdeflate", 12)
    if packer.library != library or packer.member_bytes < 1 << 16 or not 1 <= packer.level <= most:
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
        self._waiting: deque[Callable[[], bytes]] = deque()
        self._piece: list[bytes] = []
        self._piece_bytes = 0
        self._hash = hashlib.sha256()
        self._seen = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self._seen += len(data)
        offset = 0
        while offset < len(data):
            room = self._packer.member_bytes - self._piece_bytes
            taken = data[offset : offset + room]
            self._piece.append(taken)
            self._piece_bytes += len(taken)
            offset += len(taken)
            if self._piece_bytes == self._packer.member_bytes:
                self._submit()
        return len(data)

    def takes(self, size_bytes: int) -> bool:
        """Whether a content of this size is taken as the deflate stream that it is elsewhere."""
        return 0 < self._packer.reused_bytes <= size_bytes and self._packer.codec == "gzip"

    def take(self, pieces: Iterator[tuple[bytes, bytes]]) -> None:
        """A content with its deflate stream: a member of its own, whose check sum is that of what it inflates to."""
        from isal import isal_zlib

        if self._piece:
            self._submit()
        self._put(_REUSED_HEADER)
        seen, crc = 0, 0
        for data, stored in pieces:
            self._hash.update(data)
            seen += len(data)
            crc = isal_zlib.crc32(data, crc)
            self._put(stored)
        self._put(crc.to_bytes(4, "little") + (seen & 0xFFFFFFFF).to_bytes(4, "little"))
        self._seen += seen

    def _submit(self) -> None:
        packed = self._pool.submit(_COMPRESS[self._packer.codec], self._piece, self._packer.level)
        self._then(packed.result)
        self._piece, self._piece_bytes = [], 0

    def _put(self, data: bytes) -> None:
        if self._waiting:
            self._then(lambda: data)
        else:
            self._out.write(data)

    def _then(self, part: Callable[[], bytes]) -> None:
        if len(self._waiting) >= self._room:
            self._out.write(self._waiting.popleft()())
        self._waiting.append(part)

    def finish(self) -> PackedLayer:
        if self._piece or not self._seen:
            self._submit()
        while self._waiting:
            self._out.write(self._waiting.popleft()())
        diff_id = f"sha256:{self._hash.hexdigest()}"
        return PackedLayer(
            diff_id, self._out.digest, self._out.size_bytes, f"{OCI_LAYER}+{self._packer.codec}", self._seen
        )


def shrunk(piece: bytes) -> int:
    """How many bytes a piece takes when it is compressed quickly."""
    import deflate

    return len(deflate.deflate_compress(piece, 1))


def _frame(piece: list[bytes], level: int) -> bytes:
    import zstandard

    given = b"".join(piece)
    frame = zstandard.ZstdCompressor(level=level, write_checksum=True).compress(given)
    _require_same(zstandard.ZstdDecompressor().decompress(frame), given)
    return frame


def _member(piece: list[bytes], level: int) -> bytes:
    import deflate
    from isal import isal_zlib

    given = b"".join(piece)
    data = bytes(deflate.gzip_compress(given, level))
    _require_same(isal_zlib.decompress(data, 31, len(given) + 1), given)
    if data[:8] != _HEADER:
        # A library that starts to write the time would give another digest every second, and nobody would know why.
        raise UnsupportedError(
            f"the installed `deflate` writes a gzip header of its own: {data[:10].hex()}",
            hint="install another version",
        )
    return data


def _require_same(found: bytes, given: bytes) -> None:
    if found != given:
        raise IntegrityError("what was compressed is not what it was", hint="is the memory of this machine sound?")


_COMPRESS: dict[str, Callable[[list[bytes], int], bytes]] = {"gzip": _member, "zstd": _frame}
