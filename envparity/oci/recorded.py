"""
What a layer holds, learned while it is written, so that whoever reads it next need not unpack it.

It is read out of the bytes of the tar itself, as any reader does: of every header, and of the content that readers ask
for. Both are kept as they pass, by their place in the tar; of what is only hashed, the digest is; all other content is
passed over. What was not kept and is asked for all the same makes it a layer that nothing was learned of.
"""

from __future__ import annotations

__all__ = ["Reading", "Recorded"]

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from envparity.errors import MalformedError
from envparity.oci.table import KEEP_FILE_BYTES, Found, Memory, placed_table
from envparity.oci.tar import BLOCK, Taking, header_of

_MOST_BYTES = 32 << 20
"""Of what is kept of one layer."""


@dataclass(frozen=True)
class Reading:
    """How layers will be read: which content is kept, which files are hashed, and where it is remembered."""

    memory: Memory
    keep: Callable[[str], bool]
    hashed: Callable[[str], bool]


class _NotKept(Exception):
    """Somebody asks for bytes that passed and were not kept."""


class Recorded:
    """
    A sink that passes a tar on, and keeps of it what it takes to read its table.

    Args:
        sink: where the tar goes. Each header, with the extended one before it, comes in one piece.
        told: where the digest of every content stands by its path, once it was read: then none is computed here.

    `digests` are those of contents by where they begin and how long they are.
    """

    def __init__(self, sink: Taking, reading: Reading, told: Mapping[str, str] | None = None) -> None:
        self._sink = sink
        self._reading = reading
        self.digests: dict[tuple[int, int], str] = {}
        self._told = told
        self._awaited: dict[tuple[int, int], str] = {}
        self._hash: hashlib._Hash | None = None
        self._starts: list[int] = []
        self._pieces: list[bytes] = []
        self._kept_bytes = 0
        self._at = self._size = self._left = 0
        self._wanted = True
        self.size_bytes = 0

    def write(self, data: bytes) -> object:
        """Pass on a header, or a piece of a content with what pads it."""
        if not data:
            return None
        if self._left:
            self._passed(data)
        else:
            self._begin(data)
        return self._sink.write(data)

    def _begin(self, header: bytes) -> None:
        size, path = header_of(header)
        self._keep(header)
        self.size_bytes += len(header)
        self._at, self._size = self.size_bytes, size
        self._left = size + -size % BLOCK
        keep = size <= KEEP_FILE_BYTES and self._reading.keep(path)
        self._wanted = not path or keep
        wants_digest = bool(path) and not keep and self._reading.hashed(path)
        self._hash = hashlib.sha256() if wants_digest and self._told is None else None
        if wants_digest and size:
            self._awaited[self._at, size] = path[1:]

    def takes(self, size_bytes: int) -> bool:
        """As the sink has it."""
        return self._sink.takes(size_bytes)

    def take(self, pieces: Iterator[tuple[bytes, bytes]]) -> object:
        """As the sink has it."""
        return self._sink.take(map(self._piece, pieces))

    def _piece(self, piece: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        self._passed(piece[0])
        return piece

    def _passed(self, data: bytes) -> None:
        if self._wanted:
            self._keep(data)
        left = self._at + self._size - self.size_bytes
        if self._hash is not None and left > 0:
            self._hash.update(data[:left])
            if len(data) >= left:
                self.digests[self._at, self._size] = self._hash.hexdigest()
        self.size_bytes += len(data)
        self._left = max(0, self._left - len(data))

    def _keep(self, data: bytes) -> None:
        self._kept_bytes += len(data)
        if self._kept_bytes <= _MOST_BYTES:
            self._starts.append(self.size_bytes)
            self._pieces.append(data)

    def found(self, codec: str) -> Found | None:
        """The table of what was written; None where it cannot be told from what was kept."""
        if self._kept_bytes > _MOST_BYTES:
            return None
        told = self._told or {}
        digests = self.digests | {place: told[path] for place, path in self._awaited.items() if path in told}
        with suppress(_NotKept, MalformedError):
            return placed_table(self, "the new layer", codec, self._reading.keep, self._reading.hashed, digests)
        return None

    def at(self, position: int, size: int) -> bytes:
        """At most `size` bytes from a position on, as an Extent has it."""
        if position >= self.size_bytes:
            return b""
        number = bisect_right(self._starts, position) - 1
        if number < 0:
            raise _NotKept
        data = self._pieces[number][position - self._starts[number] :][:size]
        if not data and size:
            raise _NotKept
        return data
