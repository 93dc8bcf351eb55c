"""
What a native file needs, read from its ELF headers and never by running it or `ldd`.

ELF, dynamic section and symbol versions: https://refspecs.linuxfoundation.org/elf/elf.pdf and LSB Core 5.0, 10.7.
"""

from __future__ import annotations

__all__ = ["Needs", "is_elf", "needs", "replace_needed", "replace_runpath"]

import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


def _needs(stream: BinaryIO, what: str) -> Needs:
    with _translated(what):
        elf = _open(stream, what)
        machine = str(elf["e_machine"]).removeprefix("EM_").lower()
        interpreter = ""
        for segment in elf.iter_segments("PT_INTERP"):
            interpreter = _interpreter_of(segment)
        dynamic = _dynamic(elf)
        if dynamic is None:
            return Needs(interpreter=interpreter, machine=machine)
        texts: dict[str, list[str]] = {}
        for tag in dynamic.iter_tags():
            if (attribute := _TEXT_TAGS.get(tag.entry.d_tag)) is not None:
                texts.setdefault(tag.entry.d_tag, []).append(getattr(tag, attribute))
        # "DT_RPATH ... is ignored if DT_RUNPATH is present" (ld.so(8)).
        paths = texts.get("DT_RUNPATH") or texts.get("DT_RPATH") or []
        return Needs(
            sonames=tuple(texts.get("DT_NEEDED", ())),
            runpath=tuple(f.replace("${ORIGIN}", "$ORIGIN") for path in paths for f in path.split(":") if f),
            soname=next(iter(texts.get("DT_SONAME", ())), ""),
            glibc_floor=_highest(name for _, name in _versions(stream, elf, dynamic)),
            interpreter=interpreter,
            machine=machine,
        )


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


def _interpreter_of(segment: Any) -> str:
    return str(segment.get_interp_name())


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
