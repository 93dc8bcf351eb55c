"""One file of a model as bytes: forwards, hashed on the way, or at any place; never many of them in memory."""

from __future__ import annotations

import hashlib
from typing import BinaryIO, Callable, Iterable, Iterator

from envparity.collectors.formats.found import Limits, OutOfReach, Unreadable
from envparity.collectors.tree import CHUNK

_LONGEST_LINE = 1 << 16


class Source:
    """A file that is read once, forwards; or, where a format needs it, hashed first and then read at any place."""

    def __init__(self, stream: BinaryIO, limits: Limits) -> None:
        self.limits = limits
        self.size_bytes = 0
        self._stream = stream
        self._digest = hashlib.sha256()
        self.start = b""
        while len(self.start) < 512:
            data = stream.read(512 - len(self.start))
            if not data:
                break
            self.start += data
        self._ahead = self.start
        self._drained = False

    @property
    def sha256(self) -> str:
        """The digest of what was read so far; of the file, once it is drained."""
        return self._digest.hexdigest()

    def pieces(self) -> Iterator[bytes]:
        """What is left of the file, in pieces of at most CHUNK."""
        return iter(self._read, b"")

    def forward(self) -> Stream:
        """The file, from its beginning, to be read forwards. Only the first call, and only before `anywhere`."""
        leaps = not self.limits.hashed and self._stream.seekable()
        return Stream(self.pieces(), self.limits.unpacked_bytes, self._leap if leaps else None)

    def _leap(self, count: int) -> int:
        """Step over bytes of the file without reading them; how many there were."""
        if self._ahead or self._drained:
            return 0
        here = self._stream.tell()
        there = self._stream.seek(min(here + count, self._stream.seek(0, 2)))
        self.size_bytes += there - here
        return there - here

    def anywhere(self) -> Anywhere:
        """
        The file, to be read at any place. It is hashed first; of a stream that cannot be sought, both ends are kept.
        """
        if self._stream.seekable():
            self.drain()
            return Anywhere(self.size_bytes, self._stream)
        held = self.limits.held_bytes
        head, tail = bytearray(), bytearray()
        for piece in self.pieces():
            room = held - len(head)
            head += piece[:room]
            tail += piece[max(room, 0) :]
            if len(tail) > held + min(held, 4 << 20):
                del tail[:-held]
        return Anywhere(self.size_bytes, None, bytes(head), bytes(tail))

    def drain(self) -> None:
        """Read to the end, for the digest; where none is wanted, find the end."""
        if not self.limits.hashed and self._stream.seekable():
            self.size_bytes = self._stream.seek(0, 2)
            self._drained = True
        for _ in self.pieces():
            pass

    def _read(self) -> bytes:
        if self._drained:
            return b""
        data, self._ahead = self._ahead or self._stream.read(CHUNK), b""
        self._drained = not data
        if self.limits.hashed:
            self._digest.update(data)
        self.size_bytes += len(data)
        return data


class Anywhere:
    """The bytes of a file at any place: sought, or from the two ends that were kept."""

    def __init__(self, size: int, stream: BinaryIO | None, head: bytes = b"", tail: bytes = b"") -> None:
        self.size = size
        self._stream = stream
        self._head = head
        self._tail = tail

    def read(self, offset: int, count: int) -> bytes:
        """Exactly so many bytes. Raises Unreadable where the file does not have them."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise Unreadable("it is cut short, or refers beyond its end")
        if self._stream is not None:
            self._stream.seek(offset)
            data = b""
            while len(data) < count:
                more = self._stream.read(count - len(data))
                if not more:
                    raise Unreadable("it became shorter while it was read")
                data += more
            return data
        if offset + count <= len(self._head):
            return self._head[offset : offset + count]
        tail = self.size - len(self._tail)
        if offset >= tail:
            return self._tail[offset - tail : offset - tail + count]
        if offset < len(self._head) and len(self._head) == tail:
            return (self._head[offset:] + self._tail)[:count]
        raise OutOfReach("it was read as a stream, and what it needs lies in the middle of it")

    def number(self, offset: int, count: int) -> int:
        """A little-endian number without a sign."""
        return int.from_bytes(self.read(offset, count), "little")

    def pieces(self, offset: int, count: int) -> Iterator[bytes]:
        """A stretch of it, in pieces of at most CHUNK."""
        while count > 0:
            size = min(count, CHUNK)
            yield self.read(offset, size)
            offset += size
            count -= size


class Stream:
    """Bytes that arrive in pieces, read forwards only; Unreadable where they end too early or are too many."""

    def __init__(self, pieces: Iterable[bytes], most_bytes: int, leap: Callable[[int], int] | None = None) -> None:
        self.pieces = iter(pieces)
        self.leap = leap
        self.most_bytes = most_bytes
        self.data = b""
        self.at = 0
        self.passed = 0

    @property
    def position(self) -> int:
        """How many bytes were taken or stepped over."""
        return self.passed - len(self.data) + self.at

    def take(self, count: int) -> bytes:
        """The next bytes; the caller bounds their number."""
        end = self.at + count
        if end > len(self.data):
            self._more(count)
            end = count
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def peek(self) -> bytes:
        """The next byte, which is not taken."""
        data = self.take(1)
        self.at -= 1
        return data

    def number(self, count: int) -> int:
        """A little-endian number without a sign."""
        return int.from_bytes(self.take(count), "little")

    def skip(self, count: int) -> None:
        """Step over bytes, however many."""
        while count > len(self.data) - self.at:
            count -= len(self.data) - self.at
            self.at = len(self.data)
            leapt = self.leap(count) if self.leap is not None else 0
            self.passed += leapt
            count -= leapt
            if count:
                self._more(1)
        self.at += count

    def line(self) -> bytes:
        """The bytes up to the next line feed; of a line longer than 64 KiB only the beginning."""
        kept, left = [], _LONGEST_LINE
        while True:
            end = self.data.find(b"\n", self.at)
            stop = end if end >= 0 else len(self.data)
            kept.append(self.data[self.at : min(stop, self.at + left)])
            left -= len(kept[-1])
            self.at = stop
            if end >= 0:
                self.at += 1
                return b"".join(kept)
            self._more(1)

    def stretch(self, count: int) -> Iterator[bytes]:
        """The next bytes, however many, in pieces."""
        while count > 0:
            if self.at == len(self.data):
                self._more(1)
            piece = self.data[self.at : self.at + count]
            self.at += len(piece)
            count -= len(piece)
            yield piece

    def up_to(self, count: int) -> bytes:
        """The next bytes, or as many as there are."""
        kept = b""
        while len(kept) < count and not self.at_end():
            kept += self.take(min(len(self.data) - self.at, count - len(kept)))
        return kept

    def rest(self) -> Iterator[bytes]:
        """What is left, in pieces."""
        while not self.at_end():
            piece, self.at = self.data[self.at :], len(self.data)
            yield piece

    def at_end(self) -> bool:
        """Whether nothing is left."""
        if self.at < len(self.data):
            return False
        try:
            self._more(1)
        except _Ended:
            return True
        return False

    def _more(self, count: int) -> None:
        parts = [self.data[self.at :]]
        have = len(parts[0])
        self.at = 0
        while have < count:
            piece = next(self.pieces, b"")
            self.passed += len(piece)
            if self.passed > self.most_bytes:
                raise Unreadable("it unfolds to more than %d bytes" % self.most_bytes)
            if not piece:
                self.data = b"".join(parts)
                raise _Ended("it is cut short, after %d bytes" % self.passed)
            parts.append(piece)
            have += len(piece)
        self.data = b"".join(parts)


class _Ended(Unreadable):
    """There are no more bytes."""
