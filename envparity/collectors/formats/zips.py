"""
The members of a ZIP file (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT), one by one, in bounded memory.

`zipfile` reads a directory of any length, and gives a member of any size; a hostile model would use both.
"""

from __future__ import annotations

import zlib
from typing import Iterator, NamedTuple

from envparity.collectors.formats.found import Limits, Unreadable
from envparity.collectors.formats.streams import Anywhere, Stream
from envparity.collectors.tree import CHUNK

_DIRECTORY_BYTES = 64 << 20
_MOST_MEMBERS = 200_000
_COMMENT_BYTES = 65_557


class Member(NamedTuple):
    """One file in it. `method` is 0 (stored) or 8 (deflated) where it can be read."""

    name: str
    method: int
    flags: int
    crc: int
    packed_bytes: int
    size_bytes: int
    offset: int


def members(file: Anywhere) -> dict[str, Member]:
    """
    The central directory, by name.

    Raises:
        Unreadable: it is cut short or damaged, or has two members of one name.
    """
    count, size, start = _directory(file)
    if size > _DIRECTORY_BYTES or count > _MOST_MEMBERS:
        raise Unreadable("its directory has %d members in %d bytes, over the limit" % (count, size))
    data, at = file.read(start, size), 0
    found: dict[str, Member] = {}
    for _ in range(count):
        if data[at : at + 4] != b"PK\x01\x02":
            raise Unreadable("its directory of members is damaged")
        flags, method = _number(data, at + 8, 2), _number(data, at + 10, 2)
        lengths = [_number(data, at + 28 + 2 * index, 2) for index in range(3)]
        values = [_number(data, at + 24, 4), _number(data, at + 20, 4), _number(data, at + 42, 4)]
        end = at + 46 + lengths[0] + lengths[1]
        if end > len(data):
            raise Unreadable("its directory of members is damaged")
        _widen(values, data[at + 46 + lengths[0] : end])
        name = data[at + 46 : at + 46 + lengths[0]].decode("utf-8" if flags & 0x800 else "cp437", "replace")
        if name in found:
            raise Unreadable("it has two members of one name")
        found[name] = Member(name, method, flags, _number(data, at + 16, 4), values[1], values[0], values[2])
        at = end + lengths[2]
    return found


def opened(file: Anywhere, member: Member, limits: Limits, most_bytes: int = 0) -> Stream:
    """
    A member's content; its checksum is compared when its end is reached.

    Args:
        most_bytes: another limit than that of the walk.
    """
    header = file.read(member.offset, 30)
    if header[:4] != b"PK\x03\x04":
        raise Unreadable("a member of it does not begin where its directory says")
    if member.flags & 1:
        raise Unreadable("a member of it is encrypted")
    if member.method not in (0, 8):
        raise Unreadable("a member of it is compressed by method %d, which is not read" % member.method)
    start = member.offset + 30 + _number(header, 26, 2) + _number(header, 28, 2)
    pieces = file.pieces(start, member.packed_bytes)
    content = _inflated(pieces) if member.method else pieces
    return Stream(_checked(content, member), most_bytes or limits.unpacked_bytes)


def _directory(file: Anywhere) -> tuple[int, int, int]:
    """How many members its directory has, its size and its place."""
    tail_at = max(0, file.size - _COMMENT_BYTES)
    tail = file.read(tail_at, file.size - tail_at)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + 22 > len(tail):
        raise Unreadable("it is cut short: the directory at its end is missing")
    count, size, start = _number(tail, at + 10, 2), _number(tail, at + 12, 4), _number(tail, at + 16, 4)
    if 0xFFFF in (count,) or 0xFFFFFFFF in (size, start):
        locator = tail_at + at - 20
        if locator >= 0 and file.read(locator, 4) == b"PK\x06\x07":
            wide = file.read(file.number(locator + 8, 8), 56)
            if wide[:4] != b"PK\x06\x06":
                raise Unreadable("its directory of members is damaged")
            count, size, start = (_number(wide, offset, 8) for offset in (32, 40, 48))
    return count, size, start


def _widen(values: list[int], extra: bytes) -> None:
    """Sizes and place of a member over 4 GiB stand in the extra field 1, in this order, each where it is needed."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = _number(extra, at, 2), _number(extra, at + 2, 2)
        if kind == 1:
            fields, place = extra[at + 4 : at + 4 + size], 0
            for index, value in enumerate(values):
                if value == 0xFFFFFFFF and place + 8 <= len(fields):
                    values[index] = _number(fields, place, 8)
                    place += 8
        at += 4 + size


def _inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    machine, pending = zlib.decompressobj(-15), b""
    while not machine.eof:
        pending = pending or next(pieces, b"")
        if not pending:
            raise Unreadable("a member of it is cut short")
        try:
            data = machine.decompress(pending, CHUNK)
        except zlib.error as error:
            raise Unreadable("a member of it cannot be unpacked: " + str(error)) from None
        pending = machine.unconsumed_tail
        if data:
            yield data


def _checked(pieces: Iterator[bytes], member: Member) -> Iterator[bytes]:
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
        yield piece
    if crc != member.crc:
        raise Unreadable("a member of it is not what its checksum says")


def _number(data: bytes, at: int, count: int) -> int:
    return int.from_bytes(data[at : at + count], "little")
