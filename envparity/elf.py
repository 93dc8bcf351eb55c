"""
What a native file needs, read from its ELF headers and never by running it or `ldd`.

ELF, dynamic section and symbol versions: https://refspecs.linuxfoundation.org/elf/elf.pdf and LSB Core 5.0, 10.7.
"""

from __future__ import annotations

__all__ = ["Needs", "is_elf", "needs", "replace_needed", "replace_runpath", "without_debug"]

import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from envparity.errors import MalformedError, RefusedError

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

_MAGIC = b"\x7fELF"


@dataclass(frozen=True)
class Needs:
    """
    The dynamic needs of one ELF file.

    Args:
        sonames: `DT_NEEDED`, in the order of the file, which is the order of the search.
        runpath: the folders of `DT_RUNPATH`, or of `DT_RPATH` where there is no RUNPATH; `$ORIGIN` is left in it.
        soname: `DT_SONAME`, the name by which others need this one; empty for most programs and extension modules.
        glibc_floor: the highest `GLIBC_x.y` that any of its symbols asks for, as `2.34`; empty if none does.
        interpreter: the program loader (`PT_INTERP`), which only a program has.
        machine: `x86_64`, `aarch64` …, as pyelftools' `EM_` names say it, in lower case.
    """

    sonames: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()
    soname: str = ""
    glibc_floor: str = ""
    interpreter: str = ""
    machine: str = ""


def is_elf(head: bytes) -> bool:
    """Whether a file that begins with these bytes is an ELF file."""
    return head.startswith(_MAGIC)


def needs(source: bytes | Path | BinaryIO) -> Needs:
    """
    What one ELF file needs. A static program needs nothing, and is no error.

    Raises:
        MalformedError: it is not an ELF file, or its headers are damaged.
    """
    if isinstance(source, Path):
        with source.open("rb") as stream:
            return _needs(stream, str(source))
    if isinstance(source, bytes):
        return _needs(BytesIO(source), "the file")
    return _needs(source, str(getattr(source, "name", "the file")))


def replace_runpath(data: bytes, *candidates: str) -> bytes:
    """
    The same file, whose RUNPATH (and RPATH) is the first of `candidates` that fits in the place of the old one.

    The old string is overwritten and padded with NUL bytes: no offset moves, so nothing else of the file changes.

    Raises:
        RefusedError: there is no RUNPATH, none of `candidates` fits, or another name shares the old string's bytes
            (linkers may merge a string with the tail of another).
        MalformedError: not an ELF file, or damaged.
    """
    return _overwrite(data, {"DT_RUNPATH", "DT_RPATH"}, None, candidates)


def replace_needed(data: bytes, old: str, new: str) -> bytes:
    """
    The same file, that needs `new` where it needed `old`.

    "If a shared object dependency contains a slash, then the dependency string is interpreted as a (relative or
    absolute) pathname, and the shared object is loaded using that pathname" (ld.so(8)): so a program without any
    RUNPATH can be told where its library lies. Raises as `replace_runpath` does.
    """
    return _overwrite(data, {"DT_NEEDED"}, old, (new,))


def without_debug(data: bytes) -> bytes:
    """
    The same file without what only a debugger reads: the sections `.debug_*`, which no segment loads.

    Their headers become inactive ones (`SHT_NULL`), so that every other section keeps its number, by which symbols name
    it. Up to the first of them nothing moves, and all that is ever loaded lies there. A file that is laid out
    otherwise, or has something behind its last section, is given back as it is.

    Raises:
        MalformedError: not an ELF file, or a table points outside of it.
    """
    try:
        return _without_debug(_Reader(BytesIO(data), "the file"), data)
    except (struct.error, ValueError, OverflowError) as error:
        raise MalformedError(f"the file is not a sound ELF file: {error}") from error


@dataclass(frozen=True)
class _Section:
    """One row of the table of sections, with the place of its name among the names of sections."""

    name: int
    kind: int
    flags: int
    address: int
    at: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int

    @property
    def end(self) -> int:
        return self.at + (self.size if self.kind not in {_SHT_NULL, _SHT_NOBITS} else 0)


_SHT_NULL, _SHT_NOBITS, _SHF_ALLOC = 0, 8, 2
_OF_DEBUGGERS = re.compile(r"(\.rela?)?\.z?debug_.*|\.gdb_index")


def _without_debug(file: _Reader, data: bytes) -> bytes:
    number_form, table_at, form = ("Q", 40, "IIQQQQIIQQ") if file.wide else ("I", 32, "IIIIIIIIII")
    (table,) = file.fields(number_form, table_at)
    step, count, names_in = file.fields("HHH", 58 if file.wide else 46)
    if not table or not 0 < names_in < count or step != struct.calcsize(f"<{form}"):
        return data
    sections = [_Section(*row) for row in file.rows(form, file.block(table, step * count))]
    names = file.block(sections[names_in].at, sections[names_in].size)
    gone = {
        number
        for number, each in enumerate(sections)
        if each.kind not in {_SHT_NULL, _SHT_NOBITS}
        and not each.flags & _SHF_ALLOC
        and _OF_DEBUGGERS.fullmatch(_text(names, each.name))
    }
    first = min((sections[number].at for number in gone), default=0)
    loaded = [at + size for _, at, _, size in _program_headers(file)[1]]
    kept = [number for number, each in enumerate(sections) if number not in gone]
    after = [number for number in kept if sections[number].end > first and sections[number].at >= first]
    plain = (
        max([*loaded, *(sections[number].end for number in kept if number not in after)], default=0) <= first
        and not any(sections[number].flags & _SHF_ALLOC for number in after)
        and len(data) == max(table + step * count, *(each.end for each in sections))
    )
    if not gone or not plain:
        return data
    written, placed = bytearray(data[:first]), dict(enumerate(sections))
    for number in gone:
        placed[number] = _Section(*[0] * 10)
    for number in sorted(after, key=lambda each: sections[each].at):
        written += bytes(-len(written) % max(1, sections[number].alignment))
        placed[number] = replace(sections[number], at=len(written))
        written += data[sections[number].at : sections[number].end]
    written += bytes(-len(written) % 8)
    struct.pack_into(f"{file.order}{number_form}", written, table_at, len(written))
    for number in range(count):
        written += struct.pack(f"{file.order}{form}", *astuple(placed[number]))
    return bytes(written)


def _needs(stream: BinaryIO, what: str) -> Needs:
    # Read with `struct`: pyelftools makes an object of every header, and takes ten times as long for a library.
    try:
        return _read(_Reader(stream, what))
    except (struct.error, ValueError, OverflowError) as error:
        raise MalformedError(f"{what} is not a sound ELF file: {error}") from error


class _Reader:
    """The bytes of an ELF file, in its own order and width."""

    def __init__(self, stream: BinaryIO, what: str) -> None:
        self._stream = stream
        self.what = what
        self._stream.seek(0)
        head = stream.read(16)
        if not is_elf(head):
            raise MalformedError(f"{what} is not an ELF file")
        if len(head) < 16 or head[4] not in {1, 2} or head[5] not in {1, 2}:
            raise MalformedError(f"{what} is not a sound ELF file: it has no class or no byte order")
        self.wide = head[4] == 2
        self.order = "<" if head[5] == 1 else ">"

    def block(self, at: int, size: int) -> bytes:
        if size > _MOST_BYTES:
            raise MalformedError(f"{self.what} is not a sound ELF file: a table has {size:,} bytes")
        self._stream.seek(at)
        data = self._stream.read(size)
        if len(data) != size:
            raise MalformedError(f"{self.what} is not a sound ELF file: a table points outside of it")
        return data

    def fields(self, form: str, at: int) -> tuple[int, ...]:
        form = self.order + form
        return struct.unpack(form, self.block(at, struct.calcsize(form)))

    def rows(self, form: str, data: bytes, step: int = 0) -> Iterator[tuple[int, ...]]:
        form = self.order + form
        size = struct.calcsize(form)
        for at in range(0, len(data) - size + 1, step or size):
            yield struct.unpack_from(form, data, at)


_MOST_BYTES = 256 << 20
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_STRSZ, _DT_SONAME, _DT_RPATH, _DT_RUNPATH = 0, 1, 5, 10, 14, 15, 29
_DT_VERNEED, _DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
_MACHINES = {3: "386", 20: "ppc", 21: "ppc64", 22: "s390", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv"}


def _read(file: _Reader) -> Needs:
    number, segments = _program_headers(file)
    machine = _MACHINES.get(number) or _machine(number)
    interpreter = ""
    for kind, at, _, size in segments:
        if kind == _PT_INTERP:
            interpreter = _text(file.block(at, size), 0)
    dynamic = next(((at, size) for kind, at, _, size in segments if kind == _PT_DYNAMIC), None)
    if dynamic is None:
        return Needs(interpreter=interpreter, machine=machine)
    tags: dict[int, list[int]] = {}
    for tag, value in file.rows("QQ" if file.wide else "II", file.block(*dynamic)):
        if tag == _DT_NULL:
            break
        tags.setdefault(tag, []).append(value)

    def place(tag: int) -> int | None:
        """Where in the file the table lies whose address a tag gives."""
        address = tags[tag][0] if tag in tags else None
        for kind, at, start, size in segments:
            if address is not None and kind == _PT_LOAD and start <= address < start + size:
                return at + address - start
        return None

    table = place(_DT_STRTAB)
    if table is None:
        raise MalformedError(f"{file.what} is not a sound ELF file: its dynamic section names no strings")
    strings = file.block(table, tags.get(_DT_STRSZ, [0])[0])

    def texts(tag: int) -> tuple[str, ...]:
        return tuple(_text(strings, at) for at in tags.get(tag, ()))

    # "DT_RPATH ... is ignored if DT_RUNPATH is present" (ld.so(8)).
    paths = texts(_DT_RUNPATH) or texts(_DT_RPATH)
    return Needs(
        sonames=texts(_DT_NEEDED),
        runpath=tuple(f.replace("${ORIGIN}", "$ORIGIN") for path in paths for f in path.split(":") if f),
        soname=next(iter(texts(_DT_SONAME)), ""),
        glibc_floor=_highest(_text(strings, at) for at in _version_names(file, place(_DT_VERNEED))),
        interpreter=interpreter,
        machine=machine,
    )


def _program_headers(file: _Reader) -> tuple[int, list[tuple[int, int, int, int]]]:
    """The machine's number, and of each segment: its kind, its place in the file, its address and its size."""
    (machine,) = file.fields("H", 18)
    at, step, count = (
        (*file.fields("Q", 32), *file.fields("HH", 54))
        if file.wide
        else (*file.fields("I", 28), *file.fields("HH", 42))
    )
    if count and step < (56 if file.wide else 32):
        raise MalformedError(f"{file.what} is not a sound ELF file: its program headers are too short")
    data = file.block(at, step * count)
    if file.wide:
        found = [(kind, at, address, size) for kind, _, at, address, _, size in file.rows("IIQQQQ", data, step)]
    else:
        found = [(kind, at, address, size) for kind, at, address, _, size in file.rows("IIIII", data, step)]
    return machine, found


def _version_names(file: _Reader, at: int | None) -> Iterator[int]:
    """Where the names of the needed symbol versions stand among the strings (LSB Core 5.0, 10.7.4)."""
    for _ in range(_MOST_FILES if at is not None else 0):
        assert at is not None
        _version, count, _file, first, following = file.fields("HHIII", at)
        inner = at + first
        for _ in range(count):
            _hash, _flags, _other, name, step = file.fields("IHHII", inner)
            yield name
            inner += step
            if not step:
                break
        at += following
        if not following:
            return


def _text(strings: bytes, at: int) -> str:
    end = strings.find(b"\0", at)
    if at >= len(strings) or end < 0:
        raise ValueError("a name lies outside of its strings")
    return strings[at:end].decode("utf-8", "replace")


def _machine(number: int) -> str:
    from elftools.elf.enums import ENUM_E_MACHINE

    names = {value: name for name, value in ENUM_E_MACHINE.items() if isinstance(value, int)}
    return str(names.get(number, number)).removeprefix("EM_").lower()


def _overwrite(data: bytes, kinds: set[str], old: str | None, candidates: tuple[str, ...]) -> bytes:
    stream = BytesIO(data)
    with _translated("the file"):
        elf = _open(stream, "the file")
        dynamic = _dynamic(elf)
        if dynamic is None:
            raise RefusedError("a static program has no dynamic section to change")
        _, table = dynamic.get_table_offset("DT_STRTAB")
        places: dict[int, str] = {}
        others: set[int] = set()
        for tag in dynamic.iter_tags():
            attribute = _TEXT_TAGS.get(tag.entry.d_tag)
            if attribute is None:
                continue
            text = getattr(tag, attribute)
            if tag.entry.d_tag in kinds and old in {None, text}:
                places[tag.entry.d_val] = text
            else:
                others.add(tag.entry.d_val)
        if not places:
            raise RefusedError(f"the file has no {' or '.join(sorted(kinds))}{f' `{old}`' if old else ''} to replace")
        others.update(_symbol_names(stream, elf, dynamic))
        others.update(offset for offset, _ in _versions(stream, elf, dynamic))
    changed = bytearray(data)
    for offset, text in places.items():
        before = text.encode("utf-8")
        if changed[table + offset : table + offset + len(before) + 1] != before + b"\0":
            raise MalformedError("the file's string table is not where its dynamic section says")
        if any(offset <= other <= offset + len(before) for other in others - {0}):
            raise RefusedError(
                f"`{text}` shares its bytes with another name in the file, so it cannot be replaced in place"
            )
        after = next((c.encode() for c in candidates if len(c.encode()) <= len(before)), None)
        if after is None:
            raise RefusedError(f"`{candidates[-1]}` does not fit in the place of `{text}`")
        changed[table + offset : table + offset + len(before)] = after.ljust(len(before), b"\0")
    return bytes(changed)


_TEXT_TAGS = {"DT_NEEDED": "needed", "DT_RUNPATH": "runpath", "DT_RPATH": "rpath", "DT_SONAME": "soname"}


def _open(stream: BinaryIO, what: str) -> ELFFile:
    from elftools.elf.elffile import ELFFile

    if stream.read(4) != _MAGIC:
        raise MalformedError(f"{what} is not an ELF file")
    stream.seek(0)
    return ELFFile(stream)


def _dynamic(elf: ELFFile) -> Any:
    return next(iter(elf.iter_segments("PT_DYNAMIC")), None)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """What pyelftools throws at damaged headers, as the one error that says so."""
    from elftools.common.exceptions import ELFError

    try:
        yield
    except (ELFError, ValueError, KeyError, IndexError, OverflowError, StopIteration, struct.error, TypeError) as error:
        raise MalformedError(f"{what} is not a sound ELF file: {error}") from error
    except (AttributeError, AssertionError) as error:  # how pyelftools meets a table that points outside of the file
        raise MalformedError(f"{what} is not a sound ELF file: its tables contradict each other") from error


def _versions(stream: BinaryIO, elf: ELFFile, dynamic: Any) -> Iterator[tuple[int, str]]:
    """
    Every name in the table of needed symbol versions, with its offset in the string table.

    Read from the dynamic section (`DT_VERNEED`), not from section headers: a stripped file may have none.
    """
    _, table = dynamic.get_table_offset("DT_VERNEED")
    _, strings = dynamic.get_table_offset("DT_STRTAB")
    if table is None or strings is None:
        return
    order = "<" if elf.little_endian else ">"

    def text(offset: int) -> str:
        stream.seek(strings + offset)
        return stream.read(256).partition(b"\0")[0].decode("utf-8", "replace")

    def fields(form: str, at: int) -> tuple[int, ...]:
        stream.seek(at)
        return struct.unpack(order + form, stream.read(struct.calcsize(order + form)))

    for _ in range(_MOST_FILES):
        _version, count, file, first, following = fields("HHIII", table)
        yield file, text(file)
        at = table + first
        for _ in range(count):
            _hash, _flags, _other, name, step = fields("IHHII", at)
            yield name, text(name)
            at += step
            if not step:
                break
        table += following
        if not following:
            return


_MOST_FILES = 4096


def _symbol_names(stream: BinaryIO, elf: ELFFile, dynamic: Any) -> Iterator[int]:
    # Read as a block: pyelftools makes an object of every symbol, which takes most of a second for a libpython.
    _, table = dynamic.get_table_offset("DT_SYMTAB")
    if table is None:
        return
    form = ("<" if elf.little_endian else ">") + ("I20x" if elf.elfclass == 64 else "I12x")
    size = struct.calcsize(form)
    count = dynamic.num_symbols()  # reads the stream elsewhere, so before the seek
    stream.seek(table)
    block = stream.read(count * size)
    for (name,) in struct.iter_unpack(form, block[: len(block) // size * size]):
        yield name


def _highest(names: Iterable[str]) -> str:
    found = [tuple(map(int, m[1].split("."))) for name in names if (m := re.fullmatch(r"GLIBC_(\d+(?:\.\d+)+)", name))]
    return ".".join(map(str, max(found))) if found else ""
