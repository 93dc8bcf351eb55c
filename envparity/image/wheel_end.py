"""
What identifies a wheel, read from its end where it is served: its directory and RECORD, and nothing else of it.

An answer can prove here, and never refuse. Where it is not exactly what was asked for, or no wheel's end, there is no
digest, and the caller looks at the whole wheel, whose sha256 the index promised.
"""

from __future__ import annotations

__all__ = ["record", "record_sha256", "record_sha256s"]

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, BinaryIO, cast

from envparity.collectors.records import record_digest
from envparity.errors import IntegrityError, MalformedError, UnreachableError
from envparity.image import zips
from envparity.image.wheels import RECORD
from envparity.progress import SILENT, Progress
from envparity.values import LockedWheel

if TYPE_CHECKING:
    from envparity.network import Client

_AT_ONCE = 16
_TAIL_BYTES = 64 << 10
_MOST_BYTES = 32 << 20
"""Of one part, and of a RECORD: ten times that of the largest wheels. What is larger is read from the file."""


def record_sha256s(
    wheels: Sequence[LockedWheel], *, client: Client, progress: Progress = SILENT
) -> tuple[str | None, ...]:
    """`record_sha256` of several at once, in their order."""
    return client.each(
        lambda wheel: record_sha256(wheel, client=client),
        wheels,
        at_once=_AT_ONCE,
        title="proving wheels",
        progress=progress,
    )


def record_sha256(wheel: LockedWheel, *, client: Client) -> str | None:
    """
    The digest of the normalised RECORD of a wheel that lies on a server, or None where ranges do not give it.
    """
    text = record(wheel, client=client)
    try:
        return None if text is None else record_digest(text)
    except ValueError:
        return None


def record(wheel: LockedWheel, *, client: Client) -> str | None:
    """
    The RECORD of a wheel that lies on a server, as it stands there, or None where ranges do not give it.

    One question for most wheels, three at the most. Every part must be of a file of the promised size, and all of one
    file, as ETag or the time of its last change say.
    """
    identity: str | None = None

    def fetch(start: int, end: int) -> bytes:
        nonlocal identity
        if end - start > _MOST_BYTES:
            raise MalformedError(f"the end of `{wheel.name}` is over the limit of {_MOST_BYTES:,} bytes")
        part = client.part(wheel.url, start, end - start, size=wheel.size_bytes, identity=identity)
        if part is None:
            raise IntegrityError(f"the server of `{wheel.name}` does not give the part that was asked for")
        identity = part.identity
        return part.data

    try:
        data = zips.read_one(cast(BinaryIO, _End(fetch, wheel.size_bytes)), RECORD, wheel.name, _MOST_BYTES)
        return data.decode("utf-8", "surrogateescape")
    except (MalformedError, IntegrityError, UnreachableError, ValueError):
        return None


class _End(io.RawIOBase):
    """A file of which the end is held; what lies before is fetched when it is read, in one piece with what is held."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._at = 0
        self._first = size
        self._held = b""

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def read(self, count: int = -1) -> bytes:
        start = self._at
        end = self._size if count < 0 else min(start + count, self._size)
        if end <= start:
            return b""
        self._at = end
        if end < self._first - _TAIL_BYTES:
            return self._fetch(start, end)
        if start < self._first:
            # RECORD is the last file of a wheel and about as large as the directory, before which it lies.
            begin = max(0, start - max(_TAIL_BYTES - (end - start), self._size - start))
            self._held = self._fetch(begin, self._first) + self._held
            self._first = begin
        return self._held[start - self._first : end - self._first]
