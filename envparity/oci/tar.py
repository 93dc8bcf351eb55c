"""
Layers as tar streams: a writer that gives equal bytes for equal entries, and a reader that trusts nothing.

The format is that of POSIX.1-2001 (`ustar` with PAX records,
https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html); the reader also takes GNU long names. Both are our
own: the writer so that no version of Python changes a digest, the reader because a layer is hostile until proven
otherwise, and where parsers read one header differently it refuses to choose.
"""

from __future__ import annotations

__all__ = [
    "END",
    "LIMITS",
    "Limits",
    "Member",
    "RawEntry",
    "Sink",
    "Taking",
    "header_of",
    "read_layer",
    "write_layer",
    "write_member",
]

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from types import MappingProxyType
from typing import BinaryIO, Protocol, cast, runtime_checkable
from zlib import adler32

import msgspec

from envparity.errors import IntegrityError, MalformedError, RefusedError
from envparity.oci.entries import Deflated, Entry, Kind, normal, shown
from envparity.oci.extent import Placed

BLOCK = 512
CHUNK = 1 << 18
_ZERO = bytes(BLOCK)

END = _ZERO * 2
"""\"At the end of the archive file there shall be two 512-byte blocks filled with binary zeros\" (POSIX)."""

_USTAR_TYPE: dict[str, bytes] = {"file": b"0", "hardlink": b"1", "link": b"2", "folder": b"5"}
# The records of POSIX that are read elsewhere or say nothing about what a file is.
_PLAIN = frozenset(
    ("path", "linkpath", "size", "uid", "gid", "uname", "gname", "mtime", "atime", "ctime", "hdrcharset", "comment")
)
_SECONDS = re.compile(rb"(-?[0-9]{1,18})(?:\.[0-9]*)?")
_KIND: dict[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "hardlink",
    b"2": "link",
    b"3": "other",
    b"4": "other",
    b"5": "folder",
    b"6": "other",
}


class Sink(Protocol):
    """Anything that bytes can be written to."""

    def write(self, data: bytes, /) -> object:
        """Write them."""


@runtime_checkable
class Taking(Protocol):
    """A sink that takes the content of a file as the deflate stream that it is elsewhere."""

    def write(self, data: bytes, /) -> object:
        """As any sink."""

    def takes(self, size_bytes: int, /) -> bool:
        """Whether it takes a content of this size so."""

    def take(self, pieces: Iterator[tuple[bytes, bytes]], /) -> object:
        """Take one, as `Deflated.pieces` gives it."""


def write_layer(
    sink: Sink, entries: Iterable[Entry], *, folders: Mapping[str, Entry] | None = None, mtime: int = 1
) -> None:
    """
    Write a layer. Equal entries give equal bytes, in any order of theirs, on any machine and version of Python.

    Members are sorted by the bytes of their path, hard links last, since what they repeat must come before them. Every
    parent folder that is missing is written once. "If the directory exists in a lower layer, its attributes are
    replaced" (image-spec, layer.md), so its header is taken from `folders`, the table of the layers below, and is
    0755 root only where that does not know it.

    Args:
        sink: where the tar goes, piece by piece; the content of one file is never held as a whole.
        folders: paths of the lower layers to their entries; a link in it is not a folder, and is refused as a parent.
        mtime: seconds since 1970 of every member; one second after the epoch, as other reproducible builders do.

    Raises:
        RefusedError: two entries of one path, a path below something that is no folder, a name that would be read as a
            whiteout, a device.
        IntegrityError: a file has not as many bytes as its entry says.
    """
    folders = folders or {}
    taking = sink if isinstance(sink, Taking) else None
    ordered = sorted(entries, key=lambda entry: (entry.kind == "hardlink", _encoded(entry.path)))
    given: dict[str, Entry] = {}
    for entry in ordered:
        _may_be_written(entry)
        if entry.path in given:
            raise RefusedError(
                f"two entries of one layer have the path `{shown(entry.path)}`: "
                f"{_described(given[entry.path])} and {_described(entry)}"
            )
        given[entry.path] = entry
    written: set[str] = set()
    seen = ""
    for entry in ordered:
        above = entry.path.rpartition("/")[0]
        parents = _parents(entry.path) if above != seen else ()
        seen = above
        for parent in parents:
            if parent in given:
                _must_be_folder(given[parent], entry.path)
            elif parent not in written:
                folder = folders.get(parent, Entry(parent, "folder", 0o755))
                _must_be_folder(folder, entry.path)
                _write_member(sink, Entry(parent, "folder", folder.mode, folder.uid, folder.gid), mtime)
                written.add(parent)
        if entry.kind == "hardlink" and given.get(entry.target, entry).kind != "file":
            raise RefusedError(
                f"the hard link `{shown(entry.path)}` repeats `{shown(entry.target)}`, which is no file of this layer"
            )
        _write_member(sink, entry, mtime, taking)
    sink.write(END)


def write_member(sink: Sink, entry: Entry, *, mtime: int, xattrs: Iterable[tuple[str, bytes]]) -> None:
    """
    Write one member as it was somewhere else, with its time, and `xattrs` as a RawEntry has them. Whoever calls this
    sees to the order, to parents and to the end.

    Raises:
        As `write_layer`.
    """
    _may_be_written(entry)
    _write_member(sink, entry, mtime, None, {_record_of(name): value for name, value in xattrs})


def _record_of(name: str) -> str:
    """The PAX record of an extended attribute, as GNU tar and Docker write it; of anything else its own name."""
    return f"SCHILY.xattr.{name}" if name.startswith(("security.", "system.", "trusted.", "user.")) else name


def _may_be_written(entry: Entry) -> None:
    path = entry.path
    if path:
        clean = normal(path)
        if clean != path:
            raise RefusedError(f"the path `{shown(path)}` is not in its normal form `{shown(clean)}`")
    elif entry.kind != "folder":
        raise RefusedError("the root of an image can only be a folder")
    if entry.kind == "other":
        raise RefusedError(f"`{shown(path)}` is a device, FIFO or socket; an image gets none")
    # "Files that are present in the file system and whose name begins with .wh. cannot be represented" (layer.md).
    if path.startswith(".wh.") or "/.wh." in path:
        raise RefusedError(f"the name `{shown(path)}` begins with `.wh.`, which a layer reads as a deletion")
    if entry.kind in {"link", "hardlink"} and (not entry.target or "\0" in entry.target):
        raise RefusedError(f"the link `{shown(path)}` has no target, or one with a NUL byte")
    if entry.mode & ~0o7777 or entry.mode < 0 or entry.uid < 0 or entry.gid < 0 or entry.size_bytes < 0:
        raise RefusedError(f"mode, owner or size of `{shown(path)}` is out of range")


def _described(entry: Entry) -> str:
    if entry.kind in {"link", "hardlink"}:
        return f"a {entry.kind} to `{shown(entry.target)}`"
    size = len(entry.content) if isinstance(entry.content, bytes) else entry.size_bytes
    return f"a file of {size} bytes" if entry.kind == "file" else "a folder"


def _must_be_folder(parent: Entry, path: str) -> None:
    if parent.kind != "folder":
        raise RefusedError(
            f"`{shown(path)}` lies below `{shown(parent.path)}`, which is a {parent.kind}; engines differ about that",
            hint="write the path that the link leads to",
        )


def _parents(path: str) -> Iterator[str]:
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


def _write_member(
    sink: Sink, entry: Entry, mtime: int, taking: Taking | None = None, more: Mapping[str, bytes] = MappingProxyType({})
) -> None:
    size = 0
    if entry.kind == "file":
        size = len(entry.content) if isinstance(entry.content, bytes) else entry.size_bytes
    sink.write(_header(entry, size, mtime, more))
    if entry.kind != "file":
        return
    written = 0

    def counted(pieces: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        nonlocal written
        for data, stored in pieces:
            written += len(data)
            yield data, stored

    if isinstance(entry.content, bytes):
        sink.write(entry.content)
        written = len(entry.content)
    elif taking is not None and isinstance(entry.content, Deflated) and taking.takes(size):
        taking.take(counted(entry.content.pieces()))
    elif entry.content is not None:
        with closing(entry.content()) as stream:
            while chunk := stream.read(CHUNK):
                written += len(chunk)
                if written > size:
                    break
                sink.write(chunk)
    if written != size:
        above = "more than " if written > size else ""
        raise IntegrityError(f"`{shown(entry.path)}` should have {size} bytes and has {above}{min(written, size)}")
    sink.write(bytes(-size % BLOCK))


def _header(entry: Entry, size: int, mtime: int, more: Mapping[str, bytes]) -> bytes:
    """The header block, after the PAX member that carries `more` and what does not fit into it."""
    records: dict[str, bytes] = dict(more)
    path = _encoded(entry.path) + (b"/" if entry.kind == "folder" else b"")
    if not entry.path:
        path = b"./"
    prefix, name = _split_name(path)
    if name is None:
        records["path"] = path
        prefix, name = b"", path[:100]
    target = _encoded(entry.target)
    if len(target) > 100 or not target.isascii():
        records["linkpath"] = target
    if any(not _is_utf8(value) for key, value in records.items() if key not in more):
        # POSIX: "hdrcharset … BINARY: the values are not converted". It comes first, since it governs what follows.
        records = {"hdrcharset": b"BINARY", **records}
    numbers = {"uid": entry.uid, "gid": entry.gid, "size": size, "mtime": mtime}
    for key, value in numbers.items():
        digits = 11 if key in {"size", "mtime"} else 7
        if not 0 <= value < 8**digits:
            records[key] = str(value).encode("ascii")
            numbers[key] = 0
    blocks = b""
    if records:
        body = b"".join(_record(key.encode("ascii"), value) for key, value in records.items())
        pax = _ustar(b"x", b"././@PaxHeader", b"", b"", 0o644, {"uid": 0, "gid": 0, "size": len(body), "mtime": 0})
        blocks = pax + body + bytes(-len(body) % BLOCK)
    return blocks + _ustar(_USTAR_TYPE[entry.kind], name, prefix, target[:100], entry.mode, numbers)


def _ustar(kind: bytes, name: bytes, prefix: bytes, target: bytes, mode: int, numbers: Mapping[str, int]) -> bytes:
    block = b"".join(
        (
            name.ljust(100, b"\0"),
            b"%07o\0" % mode,
            b"%07o\0" % numbers["uid"],
            b"%07o\0" % numbers["gid"],
            b"%011o\0" % numbers["size"],
            b"%011o\0" % numbers["mtime"],
            b" " * 8,
            kind,
            target.ljust(100, b"\0"),
            b"ustar\00000",
            bytes(64),  # no names of user and group: they are another machine's
            b"0000000\0" * 2,
            prefix.ljust(155, b"\0"),
            bytes(12),
        )
    )
    return block[:148] + b"%06o\0 " % _sum(block) + block[156:]


def _sum(block: bytes) -> int:
    """
    The sum of the bytes of a block. The low half of an Adler-32 is one more than that, modulo 65521 (RFC 1950, 8.2): of
    half a block it is exact.
    """
    return (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2


def _split_name(path: bytes) -> tuple[bytes, bytes | None]:
    """Prefix and name of a ustar header, or no name where the path does not fit."""
    if not path.isascii():
        return b"", None
    if len(path) <= 100:
        return b"", path
    at = path.rfind(b"/", 0, 156)
    if at > 0 and 0 < len(path) - at - 1 <= 100:
        return path[:at], path[at + 1 :]
    return b"", None


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    while rest + len(str(length)) != length:
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _encoded(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How much of one layer is read before it is called hostile. A large image has 100,000 members, 30 folders deep.

    Args:
        name_bytes: of one path or link target, as Linux has it.
        header_bytes: of one extended header.
        text_bytes: of all paths, targets and attributes of a layer, which stay in memory.
    """

    entries: int = 500_000
    depth: int = 256
    name_bytes: int = 4096
    header_bytes: int = 1 << 20
    text_bytes: int = 128 << 20


LIMITS = Limits()


class Member(io.RawIOBase):
    """The content of the member that was read last; good until the next one is asked for."""

    def __init__(self, source: _Source) -> None:
        super().__init__()
        self._source = source
        self._begins = source.begins

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the member's end. Raises MalformedError where the layer is cut."""
        if self._source.begins != self._begins:
            raise ValueError("the next member was asked for")
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        return self._source.content(size)

    def readinto(self, buffer: memoryview | bytearray, /) -> int:  # type: ignore[override]
        """As for any raw file."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class RawEntry(msgspec.Struct):
    """
    One member as the layer has it, whiteouts not applied. Its first fields are those of an Entry.

    Args:
        offset: where its content begins in the uncompressed stream.
        mtime: whole seconds since 1970, negative before.
        xattrs: pairs of name and value of every PAX record that nothing else here is read from: extended attributes by
            their own name (`security.capability`), all others as they are written (`SCHILY.acl.access`,
            `LIBARCHIVE.xattr.…`, unknown ones). Some engine gives the file a right for each of them.
        source: what `reader` reads from.
    """

    path: str
    kind: Kind
    mode: int
    uid: int
    gid: int
    size_bytes: int
    target: str
    source: _Source
    offset: int
    mtime: int = 0
    xattrs: tuple[tuple[str, bytes], ...] = ()

    @property
    def entry(self) -> Entry:
        """The same without its place in the layer."""
        return Entry(self.path, self.kind, self.mode, self.uid, self.gid, self.size_bytes, self.target)

    @property
    def reader(self) -> Member:
        """What is left of its content. Only for the member that was read last."""
        return Member(self.source)


@dataclass(slots=True)
class _Pending:
    """What the members before a header say about it."""

    records: dict[str, bytes] | None = None
    long_name: bytes | None = None
    long_target: bytes | None = None

    def __bool__(self) -> bool:
        return self.records is not None or self.long_name is not None or self.long_target is not None


def header_of(data: bytes) -> tuple[int, str]:
    """
    Of a header as `write_layer` writes it: the size of the content that follows, and the path; "" where an extended
    header has it.
    """
    block = data[-BLOCK:]
    size = int(block[124:135], 8) if block[156:157] == _USTAR_TYPE["file"] else 0
    records = _records_before(data) if data[156:157] == b"x" else {}
    size = int(records.get(b"size", size))  # from 8 GiB on
    return size, "" if b"path" in records else "/" + block_name(block).decode("utf-8", "surrogateescape")


def _records_before(data: bytes) -> dict[bytes, bytes]:
    """The extended header that comes before a header, as `write_layer` writes both."""
    found = {}
    at, end = BLOCK, BLOCK + int(data[124:135], 8)
    while at < end:
        length = int(data[at : data.index(b" ", at)])
        key, _, value = data[at : at + length - 1].partition(b" ")[2].partition(b"=")
        found[key] = value
        at += length
    return found


def read_layer(stream: BinaryIO | Placed, *, layer: str = "layer", limits: Limits = LIMITS) -> Iterator[RawEntry]:
    """
    Read the members of a layer, one after the other, in bounded memory. Nothing is ever written.

    Paths come out in normal form inside a virtual root. Where readers of tar disagree (a header that two extensions
    describe, global headers with paths, sparse maps), the layer is refused.

    Args:
        stream: the uncompressed tar; what it raises is passed on. Of what is read by its place, content that nobody
            asks for is not read at all.
        layer: how errors name it, such as `image@sha256:… layer 3/7`.

    Raises:
        MalformedError: the layer is cut, damaged, over a limit, or not a tar.
    """
    source = _Seeking(stream, layer, limits) if isinstance(stream, Placed) else _Source(stream, layer, limits)
    pending = _Pending()
    count = 0
    while block := source.block():
        count += 1
        if count > limits.entries:
            raise source.broken(f"has more than {limits.entries} members")
        raw = None if pending else _plain(source, block)
        if raw is None:
            if block == _ZERO:
                source.rest_is_zero()
                break
            source.check(block)
            kind = block[156:157]
            if kind in b"xgLK":
                _note(source, block, kind, pending)
                continue
            raw = _member(source, block, kind, pending)
            pending = _Pending()
        source.keep(raw)
        yield raw
        source.skip()
    if pending:
        raise source.broken("ends after an extended header that belongs to no member")


class _Source:
    """The stream, how far it has been read, and where an error happened."""

    def __init__(self, stream: BinaryIO, layer: str, limits: Limits) -> None:
        self.layer = layer
        self.limits = limits
        self.offset = 0
        self.path = ""
        self.begins = 0
        """Where the content of the member that was read last begins."""
        self._stream = stream
        self._text_bytes = 0
        self._size = self._left = 0

    def broken(self, message: str) -> MalformedError:
        after = f", after `{shown(self.path)}`" if self.path else ""
        return MalformedError(f"{self.layer} {message} (byte {self.offset}{after})")

    def take(self, size: int) -> bytes:
        """At most `size` bytes, and none at the end of the stream alone."""
        data = self._stream.read(size)
        self.offset += len(data)
        return data

    def exactly(self, size: int) -> bytes:
        pieces = []
        left = size
        while left:
            data = self.take(left)
            if not data:
                raise self.broken("is cut short")
            left -= len(data)
            pieces.append(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def block(self) -> bytes:
        """The next block; none at the end of the stream."""
        first = self.take(BLOCK)
        if first and len(first) < BLOCK:
            first += self.exactly(BLOCK - len(first))
        return first

    def check(self, block: bytes) -> None:
        """Check a header by its sum."""
        total = _sum(block) - sum(block[148:156]) + 8 * 32
        claimed = self.number(block[148:156], "the checksum")
        # Old writers summed the bytes as signed numbers.
        if claimed != total and claimed != total - 256 * sum(byte > 127 for byte in block[:148] + block[156:]):
            raise self.broken("has a header with a wrong checksum: damaged, or not a tar")

    def rest_is_zero(self) -> None:
        while chunk := self.take(CHUNK):
            if chunk.count(0) != len(chunk):
                raise self.broken("has data after its end, which some readers would take for members")

    def number(self, field: bytes, what: str) -> int:
        """Octal digits, or GNU's base 256 for what they cannot hold."""
        if field[0] == 0x80:
            value = int.from_bytes(field[1:], "big")
            if value >= 2**63:
                raise self.broken(f"has a header in which {what} is out of range")
            return value
        if field[0] == 0xFF:
            raise self.broken(f"has a header in which {what} is negative")
        text = field.strip(b" \0")
        if not text:
            return 0
        if text.strip(b"01234567"):
            raise self.broken(f"has a header in which {what} is not a number: {text[:12]!r}")
        return int(text, 8)

    def extension(self, block: bytes) -> bytes:
        """The content of a member that describes the next one."""
        size = self.number(block[124:136], "the size")
        if size > self.limits.header_bytes:
            raise self.broken(f"has an extended header of {size} bytes; the limit is {self.limits.header_bytes}")
        data = self.exactly(size)
        self.exactly(-size % BLOCK)
        return data

    def keep(self, raw: RawEntry) -> None:
        """Come to the content of a member, and count what a reader will remember of it."""
        self.path = raw.path
        self.begins = self.offset
        self._size = self._left = raw.size_bytes
        if raw.path.count("/") >= self.limits.depth:
            raise self.broken(f"has a path more than {self.limits.depth} folders deep")
        self._text_bytes += len(raw.path) + len(raw.target)
        for name, value in raw.xattrs:
            self._text_bytes += len(name) + len(value)
        if self._text_bytes > self.limits.text_bytes:
            raise self.broken(f"has more than {self.limits.text_bytes} bytes of names and attributes")

    def content(self, size: int) -> bytes:
        """At most `size` bytes of the member; the padding behind its last one is taken along."""
        # Some streams make room for all that they are asked for, and the size is what a stranger wrote.
        want = min(size, self._left, CHUNK)
        if not want:
            return b""
        data = self.take(want)
        if not data:
            raise self._cut()
        self._left -= len(data)
        if not self._left:
            self.exactly(-self._size % BLOCK)
        return data

    def skip(self) -> None:
        """Pass over what nobody read of the member."""
        if self._left > CHUNK and self._stream.seekable():
            # The last byte is read all the same: a seek would not notice that the file ends before it.
            self.offset += self._left - 1
            self._stream.seek(self._left - 1, io.SEEK_CUR)
            self._left = 1
        while self._left:
            self.content(CHUNK)

    def _cut(self) -> MalformedError:
        return MalformedError(f"{self.layer} is cut short inside `{shown(self.path)}` (byte {self.begins})")


class _Seeking(_Source):
    """A layer that lies as it is in a file whose size is known: what is passed over is not read."""

    def __init__(self, extent: Placed, layer: str, limits: Limits) -> None:
        super().__init__(cast(BinaryIO, extent), layer, limits)
        self._extent = extent

    def take(self, size: int) -> bytes:
        data = self._extent.at(self.offset, size)
        self.offset += len(data)
        return data

    def skip(self) -> None:
        if self._left:
            if self.offset + self._left > self._extent.size_bytes:
                raise self._cut()
            self.offset += self._left + -self._size % BLOCK
            self._left = 0
            if self.offset > self._extent.size_bytes:
                raise self.broken("is cut short")


# What nearly every writer gives nearly every member: plain octal numbers, a name of at most a hundred bytes.
_COMMON = re.compile(rb"([0-7]{7})\0([0-7]{7})\0([0-7]{7})\0([0-7]{11})[\0 ]([0-7]{11})[\0 ]([0-7]{6})\0 ([05])").match


def _plain(source: _Source, block: bytes) -> RawEntry | None:
    """
    A member whose header is of the common form, in a tenth of the time; of any other nothing, and `_member` reads it.
    What comes out is what `_member` would say of it.
    """
    found = _COMMON(block, 100)
    if found is None or block[345]:
        return None
    mode, uid, gid, size, mtime, claimed, kind = found.groups()
    total = _sum(block) - sum(block[148:156]) + 8 * 32
    name = block[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape")
    path = name.removesuffix("/")
    # A name whose normal form is itself.
    if total != int(claimed, 8) or not path or path[0] in "/." or "/." in path or "//" in name:
        return None
    is_file = kind == b"0"
    return RawEntry(
        path,
        "file" if is_file else "folder",
        int(mode, 8) & 0o7777,
        int(uid, 8),
        int(gid, 8),
        int(size, 8) if is_file else 0,
        "",
        source,
        source.offset,
        int(mtime, 8),
    )


def _note(source: _Source, block: bytes, kind: bytes, pending: _Pending) -> None:
    data = source.extension(block)
    if kind == b"g":
        records = _records(source, data)
        if any(key != "comment" for key in records):
            # Docker's reader ignores global headers, others apply them to every member that follows.
            raise source.broken("has a global header that readers disagree about")
    elif kind == b"x":
        if pending.records is not None:
            raise source.broken("has two extended headers for one member")
        pending.records = _records(source, data)
    elif kind == b"L":
        if pending.long_name is not None:
            raise source.broken("has two long names for one member")
        pending.long_name = data.rstrip(b"\0")
    else:
        if pending.long_target is not None:
            raise source.broken("has two long link targets for one member")
        pending.long_target = data.rstrip(b"\0")


def _records(source: _Source, data: bytes) -> dict[str, bytes]:
    records: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        digits = data[at:space] if space > 0 else b""
        length = int(digits) if digits.isdigit() else 0
        record = data[space + 1 : at + length]
        key, equals, value = record[:-1].partition(b"=")
        if not length or at + length > len(data) or record[-1:] != b"\n" or not equals or not key:
            raise source.broken("has an extended header that is not well formed")
        name = key.decode("utf-8", "surrogateescape")
        if name in records:
            raise source.broken(f"has an extended header with `{shown(name)}` twice")
        records[name] = value
        at += length
    return records


def _member(source: _Source, block: bytes, kind: bytes, pending: _Pending) -> RawEntry:
    records = pending.records or {}
    name = _agreed(source, block_name(block), pending.long_name, records.get("path"), "names")
    target = _agreed(source, _text(block[157:257]), pending.long_target, records.get("linkpath"), "link targets")
    path = _path(source, name)
    source.path = path
    if kind not in _KIND or any(key.startswith("GNU.sparse") for key in records):
        why = "is sparse" if kind == b"S" or kind in _KIND else f"is of the unknown type {kind!r}"
        raise source.broken(f"has a member that {why}, which is not read")
    form = _KIND[kind]
    if kind == b"\0" and name.endswith(b"/"):
        form = "folder"  # how tar said so before there was a type for folders
    if not path and form != "folder":
        raise source.broken("replaces the root of the image by something that is no folder")
    # Only files have content. Readers agree to ignore the size field of all others.
    size = _number(source, records, "size", block[124:136]) if form == "file" else 0
    if form in {"link", "hardlink"} and not target:
        raise source.broken("has a link without a target")
    xattrs = sorted((key.removeprefix("SCHILY.xattr."), value) for key, value in records.items() if key not in _PLAIN)
    return RawEntry(
        path=path,
        kind=form,
        mode=source.number(block[100:108], "the mode") & 0o7777,
        uid=_number(source, records, "uid", block[108:116]),
        gid=_number(source, records, "gid", block[116:124]),
        size_bytes=size,
        target="" if form not in {"link", "hardlink"} else _target(source, form, target),
        source=source,
        offset=source.offset,
        mtime=_mtime(source, records, block[136:148]),
        xattrs=tuple(xattrs),
    )


def block_name(block: bytes) -> bytes:
    """The name in a header: with its prefix, where this kind of header has one."""
    name = _text(block[:100])
    if block[257:265] == b"ustar\00000":
        # The old `star` keeps times behind a shorter prefix, and says so in the last bytes of the block.
        prefix = _text(block[345 : 476 if block[508:512] == b"tar\0" else 500])
        if prefix:
            return prefix + b"/" + name
    return name


def _agreed(source: _Source, plain: bytes, long: bytes | None, record: bytes | None, what: str) -> bytes:
    if long is not None and record is not None and long != record:
        raise source.broken(f"has a member with two {what}, which readers disagree about")
    value = record if record is not None else long if long is not None else plain
    if len(value) > source.limits.name_bytes:
        raise source.broken(f"has a name of {len(value)} bytes; the limit is {source.limits.name_bytes}")
    return value


def _number(source: _Source, records: Mapping[str, bytes], key: str, field: bytes) -> int:
    plain = source.number(field, f"the {key}") if key not in records or key == "size" else 0
    if key not in records:
        return plain
    text = records[key]
    if not text.isdigit() or len(text) > 18:
        raise source.broken(f"has an extended header in which {key} is not a number: {text[:20]!r}")
    value = int(text)
    # A reader that goes by the header finds other members than one that goes by the record (CVE-2025-62518).
    if key == "size" and value < 8**11 and value != plain:
        raise source.broken(f"has a member with two sizes, {plain} and {value}, which readers disagree about")
    return value


def _mtime(source: _Source, records: Mapping[str, bytes], field: bytes) -> int:
    # An empty record "shall delete any header block field" (pax); readers take the header's all the same.
    text = records.get("mtime")
    if text:
        seconds = _SECONDS.fullmatch(text)
        if seconds is None:
            raise source.broken(f"has an extended header in which mtime is not a number: {text[:20]!r}")
        return int(seconds[1])
    if field[0] == 0xFF:  # GNU's base 256, before 1970
        return max(int.from_bytes(field, "big", signed=True), -(2**63))
    return source.number(field, "the mtime")


def _path(source: _Source, name: bytes) -> str:
    try:
        return normal(name.decode("utf-8", "surrogateescape"))
    except MalformedError as error:
        raise source.broken(f"has a member that cannot be placed: {error}") from error


def _target(source: _Source, form: Kind, target: bytes) -> str:
    if form == "hardlink":
        return _path(source, target)
    text = target.decode("utf-8", "surrogateescape")
    if "\0" in text:
        raise source.broken("has a link whose target holds a NUL byte")
    return text


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]
