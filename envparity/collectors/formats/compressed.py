"""Compressed files, unfolded in pieces: what Python itself can unpack, and lz4, whatever the file is called."""

from __future__ import annotations

import zlib
from typing import Any, Callable, Iterator

from envparity.collectors.formats.found import Unreadable
from envparity.collectors.formats.streams import Stream
from envparity.collectors.tree import CHUNK, why

_STARTS = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x5d\x00\x00", "lzma"),
    (b"\x78\x01", "zlib"),
    (b"\x78\x5e", "zlib"),
    (b"\x78\x9c", "zlib"),
    (b"\x78\xda", "zlib"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)


class NotUnpacked(Unreadable):
    """A compression that this Python cannot undo: nothing is wrong with the file."""


def compression(start: bytes) -> str:
    """The compression that a file begins with, or nothing."""
    return next((form for prefix, form in _STARTS if start.startswith(prefix)), "")


def unpacked(pieces: Iterator[bytes], form: str) -> Iterator[bytes]:
    """
    The bytes inside, in pieces of a few MiB at most, whatever a piece of a bomb would unfold to.

    Raises:
        Unreadable: they are damaged. NotUnpacked: nothing here can unpack them.
    """
    if form == "lz4":
        return _lz4(Stream(pieces, 1 << 62))
    return _members(pieces, _machine(form))


def _machine(form: str) -> Callable[[], Any]:
    try:
        if form in ("xz", "lzma"):
            import lzma

            # joblib's own presets need 100 MiB at most; a header may ask for 4 GiB.
            return lambda: lzma.LZMADecompressor(memlimit=1 << 30)
        if form == "bz2":
            import bz2

            return bz2.BZ2Decompressor
        if form == "zstd":
            import importlib

            # The standard library has it from Python 3.14 on; windowLogMax is 100, and 27 asks for 128 MiB.
            zstd = importlib.import_module("compression.zstd")
            return lambda: zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 27})
    except ImportError:
        raise NotUnpacked("it is compressed with %s, which this Python cannot unpack" % form) from None
    return lambda: zlib.decompressobj(31 if form == "gzip" else 15)


def _members(pieces: Iterator[bytes], machine_for: Callable[[], Any]) -> Iterator[bytes]:
    # A file may hold several members, one after the other; zero bytes after the last are padding.
    machine, pending = machine_for(), next(pieces, b"")
    while True:
        try:
            data = machine.decompress(pending, CHUNK)
        except Exception as error:  # noqa: BLE001 - zlib, lzma and zstd each have their own, and bz2 raises OSError
            raise Unreadable("it cannot be unpacked: " + why(error)) from None
        if data:
            yield data
        if machine.eof:
            pending = machine.unused_data or next(pieces, b"")
            if not pending.strip(b"\0"):
                return
            machine = machine_for()
            continue
        pending = getattr(machine, "unconsumed_tail", b"")
        if not pending and getattr(machine, "needs_input", not data or len(data) < CHUNK):
            pending = next(pieces, b"")
            if not pending and not data:
                raise Unreadable("it is cut short")


def _lz4(stream: Stream) -> Iterator[bytes]:
    """
    The frames of https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md, without their checksums. Python has no
    library for them, and joblib writes them.
    """
    while not stream.at_end():
        if stream.take(4) != b"\x04\x22\x4d\x18":
            raise Unreadable("bytes follow its end")
        flags, largest = stream.take(2)
        if flags >> 6 != 1 or flags & 1 or not 4 <= largest >> 4 <= 7:
            raise Unreadable("it is compressed with an lz4 frame of an unknown kind")
        most = 1 << (8 + 2 * (largest >> 4))
        stream.skip((8 if flags & 8 else 0) + 1)
        window = b""
        while True:
            size = stream.number(4)
            if size == 0:
                break
            if size & 0x7FFFFFFF > most:
                raise Unreadable("a block of it is larger than its frame says")
            block = stream.take(size & 0x7FFFFFFF)
            piece = block if size >> 31 else _lz4_block(block, window, most)
            window = (window + piece)[-65536:]
            yield piece
            stream.skip(4 if flags & 16 else 0)
        stream.skip(4 if flags & 4 else 0)


def _lz4_block(block: bytes, window: bytes, most: int) -> bytes:
    """One block: literals, then a copy of what came before, again and again; it ends with literals."""
    out, at, end = bytearray(window), 0, len(block)
    most += len(window)
    try:
        while at < end:
            token = block[at]
            at += 1
            count = token >> 4
            if count == 15:
                count, at = _lz4_length(block, at, count)
            if at + count > end:
                break
            out += block[at : at + count]
            at += count
            if at == end:
                if len(out) > most:
                    break
                return bytes(out[len(window) :])
            offset = block[at] | block[at + 1] << 8
            at += 2
            count = token & 15
            if count == 15:
                count, at = _lz4_length(block, at, count)
            count += 4
            start = len(out) - offset
            if not offset or start < 0 or len(out) + count > most:
                break
            if offset >= count:
                out += out[start : start + count]
            else:
                out += (out[start:] * (count // offset + 1))[:count]
    except IndexError:
        pass
    raise Unreadable("it cannot be unpacked: a block of lz4 is damaged")


def _lz4_length(block: bytes, at: int, count: int) -> tuple[int, int]:
    while True:
        more = block[at]
        at += 1
        count += more
        if more != 255:
            return count, at
