"""
Zip archives, read as if their author were hostile.

Two readers of one zip may see two different archives (CVE-2025-54368, CVE-2025-8291, CVE-2024-0450). So only archives
that can be read in one way are read at all: no bytes before, after or between the members, no name twice, both
headers of a member alike. Names and sizes are checked before a byte is inflated, and never more is inflated than a
header declares. The format is https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT.
"""

from __future__ import annotations

__all__ = ["Content", "Member", "members", "read", "read_one", "safe"]

import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from envparity.errors import IntegrityError, MalformedError, UnreachableError
from envparity.oci.entries import Deflated

if TYPE_CHECKING:
    from hashlib import _Hash

MOST_MEMBERS = 200_000
MOST_BYTES = 32 << 30
MOST_NAME_BYTES = 4096
ALWAYS_ALLOWED_BYTES = 1 << 30
MOST_TIMES_LARGER = 100
"""Real wheels inflate to at most a dozen times their size; deflate can reach 1,032 times."""

_CHUNK_BYTES = 1 << 18
_PIECE_BYTES = 1 << 20
_SMALL_BYTES = 1 << 18
"""A member of so many bytes is inflated at once: most files of a wheel are, and a stream of each costs more."""

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_LOCAL = struct.Struct("<4s5H3L2H")
_DESCRIPTOR_SIZES = (12, 16, 20, 24)
"""Sizes of a data descriptor (APPNOTE 4.3.9): with or without its signature, with sizes of four or eight bytes."""

_MOST_AROUND = _LOCAL.size + 2 * 0xFFFF + max(_DESCRIPTOR_SIZES)
"""The most that a member has around its stored bytes: header, name, extra field, descriptor."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive. `executable` is what its Unix mode says; `start` is where its stored bytes begin."""

    archive: Path
    name: str
    size_bytes: int
    stored_bytes: int
    start: int
    deflated: bool
    crc: int
    executable: bool

    def open(self, expected: tuple[str, bytes] | None = None) -> BinaryIO:
        """
        The inflated bytes, as a stream that is read forward once and holds the archive open only so long.

        Args:
            expected: the name of a hash algorithm and the digest that the bytes must have.

        Raises:
            IntegrityError: here or while reading, at the end: the bytes have another size, digest or CRC than was
                declared.
        """
        if self._is_small:
            return io.BytesIO(_whole(self, expected)[0])
        return cast(BinaryIO, io.BufferedReader(_Inflating(self, expected), _CHUNK_BYTES))

    @property
    def _is_small(self) -> bool:
        return max(self.size_bytes, self.stored_bytes) <= _SMALL_BYTES

    def pieces(self, expected: tuple[str, bytes] | None = None) -> Iterator[tuple[bytes, bytes]]:
        """The inflated bytes beside the stored ones, piece by piece; checked as `open` has it."""
        if self._is_small:
            yield _whole(self, expected)
            return
        with closing(_Inflating(self, expected)) as inflating:
            yield from inflating.pieces()


@dataclass(frozen=True, slots=True)
class Content(Deflated):
    """The content of a member that is deflated; `expected` as `Member.open` has it."""

    member: Member
    expected: tuple[str, bytes] | None = None

    def __call__(self) -> BinaryIO:
        """The inflated bytes."""
        return self.member.open(self.expected)

    def pieces(self) -> Iterator[tuple[bytes, bytes]]:
        """The same beside the stored bytes."""
        return self.member.pieces(self.expected)


def members(archive: Path, shown: str = "") -> tuple[Member, ...]:
    """
    All files of an archive, in the order of their names. Folders are left out: a file's path implies them.

    Args:
        archive: the archive.
        shown: how errors name it; its path where this is empty.

    Raises:
        UnreachableError: the file cannot be read.
        MalformedError: it is no zip, can be read in two ways, is too large, or holds a member that may not be there.
    """
    shown = shown or str(archive)
    try:
        with archive.open("rb") as stream:
            directory_start, count = _end_of_members(stream, shown)
            with zipfile.ZipFile(stream) as opened:
                infos = opened.infolist()
            if len(infos) != count:
                raise MalformedError(f"`{shown}` says that it has {count:,} members, and lists {len(infos):,}")
            _bounded(infos, archive.stat().st_size, shown)
            starts = _starts(stream, infos, directory_start, shown)
    except OSError as error:
        raise UnreachableError(f"cannot read `{shown}`: {error.strerror or error}") from error
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise MalformedError(f"`{shown}` is not a zip archive that can be read: {error}") from error
    files = []
    seen: set[str] = set()
    for info, start in zip(infos, starts, strict=True):
        name = _checked(info, shown)
        if name in seen:
            raise MalformedError(f"`{shown}` holds `{name}` twice")
        seen.add(name)
        if info.is_dir():
            continue
        files.append(
            Member(
                archive=archive,
                name=name,
                size_bytes=info.file_size,
                stored_bytes=info.compress_size,
                start=start,
                deflated=info.compress_type == zipfile.ZIP_DEFLATED,
                crc=info.CRC,
                executable=bool(info.external_attr >> 16 & 0o111),
            )
        )
    _no_file_is_a_folder((each.name for each in files), seen, shown)
    return tuple(sorted(files, key=lambda each: each.name))


def read(member: Member, limit: int = 16 << 20) -> bytes:
    """The whole content of a small member (metadata); MalformedError over `limit` bytes."""
    if member.size_bytes > limit:
        raise MalformedError(f"`{member.name}` has {member.size_bytes:,} bytes, over the limit of {limit:,}")
    with member.open() as stream:
        return stream.read()


def read_one(stream: BinaryIO, wanted: re.Pattern[str], shown: str, limit: int = 64 << 20) -> bytes:
    """
    The content of the one file whose name fits, of an archive of which little more than the end may be read.

    The directory and this file are checked as `members` checks them. What lies before is not looked at, so this never
    says that the archive is sound.

    Raises:
        MalformedError: it is no zip, can be read in two ways, holds no such file or several, or a damaged one.
    """
    try:
        directory_start, count = _end_of_members(stream, shown)
        with zipfile.ZipFile(stream) as opened:
            infos = opened.infolist()
        names = [_checked(info, shown) for info in infos]
        if len(infos) != count or len(set(names)) != count:
            raise MalformedError(f"`{shown}` does not list {count:,} members, each once")
        found = [info for info in infos if wanted.fullmatch(info.orig_filename)]
        if len(found) != 1:
            raise MalformedError(f"`{shown}` holds {len(found)} files that are called `{wanted.pattern}`")
        (info,) = found
        if max(info.compress_size, info.file_size) > limit:
            raise MalformedError(f"`{info.filename}` in `{shown}` is over the limit of {limit:,} bytes")
        behind = (each.header_offset for each in infos if each.header_offset > info.header_offset)
        room = min(behind, default=directory_start) - info.header_offset
        if room > info.compress_size + _MOST_AROUND:
            raise MalformedError(f"`{shown}` has a gap behind its member {info.filename!r}")
        stream.seek(info.header_offset)
        region = io.BytesIO(stream.read(room))
        header_bytes, described = _header(region, info, shown)
        if not _adjacent(header_bytes + info.compress_size, room, described):
            raise MalformedError(f"`{shown}` has a gap or an overlap behind its member {info.filename!r}")
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise MalformedError(f"`{shown}` is not a zip archive that can be read: {error}") from error
    region.seek(header_bytes)
    content = region.read(info.compress_size)
    if info.compress_type == zipfile.ZIP_DEFLATED:
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = inflate.decompress(content, info.file_size + 1)
        except zlib.error as error:
            raise MalformedError(f"`{info.filename}` in `{shown}` cannot be inflated: {error}") from error
        if not inflate.eof or inflate.unused_data:
            raise MalformedError(f"`{info.filename}` in `{shown}` has another size than the archive declares")
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise MalformedError(f"`{info.filename}` in `{shown}` does not have the size and CRC that are declared")
    return content


def safe(path: str) -> bool:
    """Whether a path stays below the folder that it is put in, on every system, and prints as one line."""
    return (
        path.isprintable()
        and not path.startswith("/")
        and "\\" not in path
        and ":" not in path.partition("/")[0][1:2]
        and all(part not in {"", ".", ".."} for part in path.split("/"))
    )


def _end_of_members(stream: BinaryIO, shown: str) -> tuple[int, int]:
    """Where the directory begins and how many members it lists, if nothing else lies from there to the file's end."""
    size = stream.seek(0, io.SEEK_END)
    if size < _END.size:
        raise MalformedError(f"`{shown}` is not a zip archive: it has {size} bytes")
    stream.seek(size - _END.size)
    signature, disk, first_disk, here, total, length, start, comment = _END.unpack(stream.read(_END.size))
    if signature != b"PK\x05\x06" or comment or disk or first_disk or here != total:
        raise MalformedError(
            f"`{shown}` does not end as a zip archive does: it is cut short, or data or a comment follow it"
        )
    end = size - _END.size
    stream.seek(max(0, end - _LOCATOR64.size))
    locator = stream.read(_LOCATOR64.size)
    if len(locator) == _LOCATOR64.size and locator.startswith(b"PK\x06\x07"):
        # zipfile follows the locator whatever the record beside it says (CVE-2025-8291), so both must agree.
        _, _, record_start, disks = _LOCATOR64.unpack(locator)
        end -= _LOCATOR64.size + _END64.size
        stream.seek(max(0, end))
        record = _END64.unpack(stream.read(_END64.size))
        if record[0] != b"PK\x06\x06" or record_start != end or disks != 1 or record[1] != _END64.size - 12:
            raise MalformedError(f"`{shown}` has a zip64 end that does not fit its file")
        for short, limit, long in ((total, 0xFFFF, record[7]), (length, _MAX32, record[8]), (start, _MAX32, record[9])):
            if short not in {limit, long}:
                raise MalformedError(f"`{shown}` declares two different directories (zip and zip64)")
        total, length, start = record[7], record[8], record[9]
    if total > MOST_MEMBERS:
        raise MalformedError(f"`{shown}` has {total:,} members, over the limit of {MOST_MEMBERS:,}")
    if start + length != end:
        raise MalformedError(f"`{shown}` holds data before its first member or around its directory")
    return int(start), int(total)


_MAX32 = 0xFFFFFFFF


def _bounded(infos: list[zipfile.ZipInfo], archive_bytes: int, shown: str) -> None:
    total = sum(info.file_size for info in infos)
    if total > MOST_BYTES or total > max(ALWAYS_ALLOWED_BYTES, MOST_TIMES_LARGER * archive_bytes):
        raise MalformedError(
            f"`{shown}` has {archive_bytes:,} bytes and would inflate to {total:,}: "
            f"over the limit of {MOST_TIMES_LARGER} times its size, or of {MOST_BYTES:,} bytes"
        )


def _starts(stream: BinaryIO, infos: list[zipfile.ZipInfo], directory_start: int, shown: str) -> list[int]:
    """Where each member's stored bytes begin; members must lie one after the other, without gap or overlap."""
    starts: dict[int, int] = {}
    position, described = 0, False
    for info in sorted(infos, key=lambda each: each.header_offset):
        if not _adjacent(position, info.header_offset, described):
            raise MalformedError(f"`{shown}` has a gap or an overlap before its member {info.filename!r}")
        stream.seek(info.header_offset)
        header_bytes, described = _header(stream, info, shown)
        start = info.header_offset + header_bytes
        starts[info.header_offset] = start
        position = start + info.compress_size
    if not _adjacent(position, directory_start, described):
        raise MalformedError(f"`{shown}` holds data between its last member and its directory")
    return [starts[info.header_offset] for info in infos]


def _header(stream: BinaryIO, info: zipfile.ZipInfo, shown: str) -> tuple[int, bool]:
    """
    How long the header is at which the stream stands, and whether a descriptor follows the member; it agrees with the
    directory.
    """
    header = _LOCAL.unpack(stream.read(_LOCAL.size))
    name_bytes, extra_bytes = header[9], header[10]
    name = stream.read(name_bytes)
    if header[0] != b"PK\x03\x04" or name != _raw_name(info) or header[3] != info.compress_type:
        raise MalformedError(f"`{shown}` names or packs {info.filename!r} otherwise in its directory")
    described = bool(header[2] & 0x8)
    if not described and (header[6], header[8]) != (info.CRC, info.file_size) and header[8] != _MAX32:
        raise MalformedError(f"`{shown}` gives {info.filename!r} another size or CRC in its directory")
    return _LOCAL.size + name_bytes + extra_bytes, described


def _adjacent(end: int, start: int, described: bool) -> bool:
    return start == end or (described and start - end in _DESCRIPTOR_SIZES)


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    # Bit 11: "the filename and comment fields for this file MUST be encoded using UTF-8" (APPNOTE 4.4.4).
    return info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")


def _checked(info: zipfile.ZipInfo, shown: str) -> str:
    """The name of a member that may be there, without the slash of a folder."""
    name = info.orig_filename
    if len(name.encode("utf-8", "replace")) > MOST_NAME_BYTES:
        raise MalformedError(f"`{shown}` has a name of more than {MOST_NAME_BYTES:,} bytes")
    if not safe(name.removesuffix("/")):
        raise MalformedError(f"`{shown}` holds a member that leads out of it or cannot be printed: {name!r}")
    if not name.isascii() and not info.flag_bits & 0x800:
        raise MalformedError(f"`{shown}` does not say how the name {name!r} is encoded")
    if info.flag_bits & 0x1:
        raise MalformedError(f"`{shown}` holds an encrypted member `{name}`")
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise MalformedError(f"`{shown}` packs `{name}` by method {info.compress_type}; only deflate is supported")
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        raise MalformedError(f"`{shown}` gives two sizes for `{name}`")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR} or (kind == stat.S_IFDIR) > info.is_dir():
        raise MalformedError(f"`{shown}` holds `{name}`, which is neither a file nor a folder (a symbolic link?)")
    if info.is_dir() and info.file_size:
        raise MalformedError(f"`{shown}` holds a folder `{name}` with content")
    return name.removesuffix("/")


def _no_file_is_a_folder(files: Iterable[str], names: set[str], shown: str) -> None:
    parents = {name[:at] for name in names for at, letter in enumerate(name) if letter == "/"}
    for name in files:
        if name in parents:
            raise MalformedError(f"`{shown}` holds `{name}` as a file and as a folder")


def _whole(member: Member, expected: tuple[str, bytes] | None) -> tuple[bytes, bytes]:
    """The bytes of a small member, with the declared size and digest; and those that are stored."""
    import hashlib

    from isal import isal_zlib

    handle = os.open(member.archive, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = stored = os.pread(handle, member.stored_bytes, member.start)
    finally:
        os.close(handle)
    if len(data) < member.stored_bytes:
        raise _wrong(member, "is shorter than the archive declares")
    if member.deflated:
        inflate = isal_zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflate.decompress(data, member.size_bytes + 1)
        except cast(type[Exception], isal_zlib.error) as error:
            raise _wrong(member, f"cannot be inflated: {error}") from error
        if len(data) <= member.size_bytes and not inflate.eof:
            data += inflate.decompress(inflate.unconsumed_tail, 1)
        if len(data) == member.size_bytes and (not inflate.eof or inflate.unused_data):
            raise _wrong(member, "is followed by bytes that belong to nothing")
    if len(data) != member.size_bytes:
        raise _wrong(member, f"is {'longer' if len(data) > member.size_bytes else 'shorter'} than the archive declares")
    if expected:
        if hashlib.new(expected[0], data).digest() != expected[1]:
            raise _wrong(member, f"does not have the {expected[0]} that RECORD promises")
    elif zlib.crc32(data) != member.crc:
        raise _wrong(member, "does not have the CRC that the archive declares")
    return data, stored


def _wrong(member: Member, what: str) -> IntegrityError:
    return IntegrityError(
        f"`{member.name}` in `{member.archive.name}` {what}",
        hint="the archive is damaged or was altered; do not use it",
    )


class _Inflating(io.RawIOBase):
    """The bytes of one member; at their end they have the declared size and digest, or reading fails."""

    def __init__(self, member: Member, expected: tuple[str, bytes] | None) -> None:
        import hashlib

        from isal import isal_zlib  # its stubs say that `error` is an instance

        self._member = member
        self._stream = member.archive.open("rb")
        self._stream.seek(member.start)
        self._packed_left = member.stored_bytes
        self._left = member.size_bytes
        self._broken = cast(type[Exception], isal_zlib.error)
        self._inflate = isal_zlib.decompressobj(-zlib.MAX_WBITS) if member.deflated else None
        self._taken: list[bytes] = []
        self._crc = 0
        self._expected = expected
        self._hash: _Hash | None = hashlib.new(expected[0]) if expected else None
        self._is_checked = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        chunk = self._checked(len(view)) if view else b""
        self._taken.clear()
        view[: len(chunk)] = chunk
        return len(chunk)

    def pieces(self) -> Iterator[tuple[bytes, bytes]]:
        while chunk := self._checked(_PIECE_BYTES):
            yield chunk, b"".join(self._taken)
            self._taken.clear()
        if self._taken:
            yield b"", b"".join(self._taken)

    def _checked(self, most: int) -> bytes:
        """At most so many of the inflated bytes, none only at the end; the last of them only where all are right."""
        chunk = self._next(most)
        if not chunk:
            self._check()
            return b""
        if len(chunk) > self._left:
            raise self._wrong("is longer than the archive declares")
        self._left -= len(chunk)
        if self._hash:
            self._hash.update(chunk)
        else:
            self._crc = zlib.crc32(chunk, self._crc)
        if not self._left:
            # Checked here too, since a reader who counts bytes never asks for the end.
            if self._next(1):
                raise self._wrong("is longer than the archive declares")
            self._check()
        return chunk

    def _next(self, most: int) -> bytes:
        """At most `most` inflated bytes; none only at the end."""
        if self._inflate is None:
            return self._stored(most)
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail
            if not packed:
                packed = self._stored(_CHUNK_BYTES)
            try:
                chunk = self._inflate.decompress(packed, most)
            except self._broken as error:
                raise self._wrong(f"cannot be inflated: {error}") from error
            if chunk or not packed:
                return chunk
        return b""

    def _stored(self, most: int) -> bytes:
        packed = self._stream.read(min(most, self._packed_left))
        self._packed_left -= len(packed)
        self._taken.append(packed)
        return packed

    def _check(self) -> None:
        if self._is_checked:
            return
        self._is_checked = True
        if self._left:
            raise self._wrong("is shorter than the archive declares")
        if self._packed_left or (self._inflate is not None and (not self._inflate.eof or self._inflate.unused_data)):
            raise self._wrong("is followed by bytes that belong to nothing")
        if self._hash and self._expected:
            if self._hash.digest() != self._expected[1]:
                raise self._wrong(f"does not have the {self._expected[0]} that RECORD promises")
        elif self._crc != self._member.crc:
            raise self._wrong("does not have the CRC that the archive declares")

    def _wrong(self, what: str) -> IntegrityError:
        return _wrong(self._member, what)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()
