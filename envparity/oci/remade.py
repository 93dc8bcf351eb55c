"""
A plain layer that lies nowhere: what its files do not say is remembered, and the rest is read again from them.

A tar is headers, contents and what pads them. Where nothing is compressed, a model of many gigabytes is read twice, and
never copied: once to know its digest, and once for each place that it goes to.
"""

from __future__ import annotations

__all__ = ["Skeleton"]

import dataclasses
import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from envparity.errors import EnvparityError
from envparity.files import translated
from envparity.oci.entries import Entry
from envparity.oci.pack import Remade
from envparity.oci.tar import CHUNK, header_of

Opener = Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True)
class _Content:
    """The content of a file, and which state of it was read."""

    open: Opener
    size_bytes: int
    state: tuple[int, ...]


class Skeleton:
    """
    A sink that keeps of a tar all but contents. Each header comes in one piece, as `write_layer` writes it; what its
    entries hold has to be opened by way of `entry`.
    """

    def __init__(self) -> None:
        self._parts: list[bytes | _Content] = []
        self._opened: tuple[Opener, tuple[int, ...]] | None = None
        self._left = 0

    def entry(self, entry: Entry) -> Entry:
        """The same entry, whose content can be read again."""
        content = entry.content
        assert callable(content)  # a model is a file

        def opened() -> BinaryIO:
            stream = content()
            self._opened = (content, _state(stream))
            return stream

        return dataclasses.replace(entry, content=opened)

    def write(self, data: bytes) -> int:
        """Pass over contents, and keep all else."""
        if self._left:
            if self._opened is not None:
                content, state = self._opened
                self._parts.append(_Content(content, self._left, state))
                self._opened = None
            self._left -= len(data)
        elif data:
            self._parts.append(data)
            self._opened = None
            self._left = header_of(data)[0] if any(data) else 0  # else what pads, or the end
        return len(data)

    def blob(self, digest: str, changed: EnvparityError) -> Remade:
        """What was written, as often as it is asked for; `changed` is raised where it is not any more what it was."""
        return _Blob(tuple(self._parts), digest, changed)


@dataclass(frozen=True, slots=True)
class _Blob(Remade):
    parts: tuple[bytes | _Content, ...]
    digest: str
    changed: EnvparityError

    def open(self, offset: int = 0) -> BinaryIO:
        return io.BufferedReader(_Stream(self, offset), CHUNK)


class _Stream(io.RawIOBase):
    """
    A blob from an offset on. The end of a tar is given only where nothing changed: whoever is sent a part of it, and
    never that, has no blob. From its beginning on the digest says so; from elsewhere, size and time of each file.
    """

    def __init__(self, blob: _Blob, offset: int) -> None:
        super().__init__()
        self._blob = blob
        self._number = 0
        self._hash = hashlib.sha256() if not offset else None
        self._content: BinaryIO | None = None
        self._at = offset
        while self._number < len(blob.parts) and self._at >= _size(blob.parts[self._number]):
            self._at -= _size(blob.parts[self._number])
            self._number += 1

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        parts = self._blob.parts
        if self._number == len(parts):
            return 0
        part = parts[self._number]
        if isinstance(part, bytes):
            data = part[self._at : self._at + len(buffer)]
        else:
            data = self._read(part, min(len(buffer), part.size_bytes - self._at))
        if self._hash is not None:
            self._hash.update(data)
        self._at += len(data)
        if self._at == _size(part):
            self._next(part)
        buffer[: len(data)] = data
        return len(data)

    def _next(self, part: bytes | _Content) -> None:
        if isinstance(part, _Content):
            self._require(part)
        self._number += 1
        self._at = 0
        if self._content is not None:
            self._content.close()
            self._content = None
        digest = f"sha256:{self._hash.hexdigest()}" if self._hash is not None else self._blob.digest
        if self._number == len(self._blob.parts) and digest != self._blob.digest:
            raise self._blob.changed

    def _read(self, part: _Content, most: int) -> bytes:
        try:
            if self._content is None:
                self._content = part.open()
                self._content.seek(self._at)
            self._require(part)
            data = self._content.read(most)
        except OSError as error:
            raise translated(error, "read a model again") from error
        if not data:
            raise self._blob.changed
        return data

    def _require(self, part: _Content) -> None:
        if self._content is not None and _state(self._content) != part.state:
            raise self._blob.changed

    def close(self) -> None:
        if self._content is not None:
            self._content.close()
        super().close()


def _size(part: bytes | _Content) -> int:
    return len(part) if isinstance(part, bytes) else part.size_bytes


def _state(stream: BinaryIO) -> tuple[int, ...]:
    """Which file is open, and what changes when it is written to."""
    found = os.fstat(stream.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
