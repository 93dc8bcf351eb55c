"""A part of a file on this disk, which several can read at once."""

from __future__ import annotations

__all__ = ["Extent", "Placed"]

import io
import os
from typing import Any, BinaryIO, Protocol, runtime_checkable

from envparity.errors import IntegrityError


@runtime_checkable
class Placed(Protocol):
    """Bytes that are read by their place."""

    size_bytes: int

    def at(self, position: int, size: int, /) -> bytes:
        """At most `size` bytes from a position on; none at the end alone."""


class Extent(io.RawIOBase):
    """
    Some bytes of an open file, as a raw file of their own. It takes the file over, and closes it.

    Args:
        stream: a regular file.
        offset, size_bytes: which part of it; without a size, all that follows.
    """

    def __init__(self, stream: BinaryIO, offset: int = 0, size_bytes: int | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._handle = stream.fileno()
        self._offset = offset
        self._position = 0
        self._made = self._stamp()
        self.size_bytes = self._made[0] - offset if size_bytes is None else size_bytes

    def at(self, position: int, size: int) -> bytes:
        """At most `size` bytes from a position on, whoever else is reading; none at the end."""
        left = self.size_bytes - position
        return os.pread(self._handle, size if size < left else max(left, 0), self._offset + position)

    def again(self) -> Extent:
        """The same part of the same open file, whatever its name leads to by now, from its beginning."""
        again = Extent(os.fdopen(os.dup(self._handle), "rb", 0), self._offset, self.size_bytes)
        again._made = self._made
        return again

    def require_unchanged(self, name: str) -> None:
        """Raise IntegrityError where the file was written to since it was opened. `name` is how the error names it."""
        if self._stamp() != self._made:
            raise IntegrityError(f"{name} changed while it was read")

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """As for any raw file."""
        left = self.size_bytes - self._position
        view = memoryview(buffer)
        count = os.preadv(self._handle, [view[:left] if left < len(view) else view], self._offset + self._position)
        self._position += count
        return count

    def close(self) -> None:
        """Close the file as well."""
        if not self.closed:
            self._stream.close()
        super().close()

    def _stamp(self) -> tuple[int, int, int]:
        status = os.fstat(self._handle)
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns
