"""What a shared library says of itself in a few short reads: its build-id, and the constants that spell its version."""

from __future__ import annotations

import struct
from typing import BinaryIO, Iterator

_MOST_HEADERS = 512
_NOTE_LIMIT = 1 << 16
_CONSTANTS_LIMIT = 4 << 20


def build_id(file: BinaryIO) -> str:
    """
    The GNU build-id of an ELF file, in lower-case hexadecimal; empty where it has none, or is no sound ELF file.

    It is the descriptor of the note of type 3 and owner `GNU` in a PT_NOTE segment (System V ABI, chapter 5; ld(1),
    `--build-id`). Two files of one build-id were linked from the same input.
    """
    try:
        for offset, size, align in _notes(file):
            file.seek(offset)
            found = _gnu_build_id(file.read(min(size, _NOTE_LIMIT)), _elf_order(file), 8 if align == 8 else 4)
            if found:
                return found
    except (struct.error, ValueError, OverflowError):
        pass
    return ""


def constants(file: BinaryIO) -> bytes:
    """The first 4 MiB of `.rodata`, where a library keeps its texts; empty where there is no such section."""
    try:
        return _section(file, b".rodata")
    except (struct.error, ValueError, OverflowError):
        return b""


def _elf_head(file: BinaryIO) -> tuple[bytes, bool, str]:
    file.seek(0)
    data = file.read(64)
    if data[:4] != b"\x7fELF" or len(data) < 52:
        raise ValueError("not an ELF file")
    return data, data[4] == 2, "<" if data[5] == 1 else ">"


def _elf_order(file: BinaryIO) -> str:
    return _elf_head(file)[2]


def _notes(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Offset, size and alignment of each PT_NOTE segment."""
    data, wide, order = _elf_head(file)
    start = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)[0]
    size, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
    file.seek(start)
    table = file.read(size * min(count, _MOST_HEADERS))
    for number in range(min(count, _MOST_HEADERS)):
        if wide:
            kind, _, offset, _, _, length, _, align = struct.unpack_from(order + "IIQQQQQQ", table, number * size)
        else:
            kind, offset, _, _, length, _, _, align = struct.unpack_from(order + "IIIIIIII", table, number * size)
        if kind == 4:
            yield offset, length, align


def _gnu_build_id(notes: bytes, order: str, align: int) -> str:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from(order + "III", notes, at)
        name = at + 12
        start = name + name_size + -(name + name_size) % align
        if kind == 3 and notes[name : name + name_size] == b"GNU\0" and 0 < size <= 64:
            found = notes[start : start + size]
            return found.hex() if len(found) == size else ""
        at = start + size + -(start + size) % align
    return ""


def _section(file: BinaryIO, wanted: bytes) -> bytes:
    data, wide, order = _elf_head(file)
    start = struct.unpack_from(order + ("Q" if wide else "I"), data, 40 if wide else 32)[0]
    size, count, names_at = struct.unpack_from(order + "HHH", data, 58 if wide else 46)
    file.seek(start)
    table = file.read(size * min(count, _MOST_HEADERS))
    sections = []
    for number in range(min(count, _MOST_HEADERS)):
        form = order + ("IIQQQQ" if wide else "IIIIII")
        name, _, _, _, offset, length = struct.unpack_from(form, table, number * size)
        sections.append((name, offset, length))
    if names_at >= len(sections):
        return b""
    file.seek(sections[names_at][1])
    names = file.read(min(sections[names_at][2], _NOTE_LIMIT))
    for name, offset, length in sections:
        if names[name : name + len(wanted) + 1] == wanted + b"\0":
            file.seek(offset)
            return file.read(min(length, _CONSTANTS_LIMIT))
    return b""
