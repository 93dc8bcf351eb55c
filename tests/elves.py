"""Small ELF files, made to measure: a compiler is not on every machine, and a real library shows one case only."""

from __future__ import annotations

import struct


class _Strings:
    def __init__(self) -> None:
        self.data = b"\0"

    def add(self, text: str) -> int:
        at = len(self.data)
        self.data += text.encode() + b"\0"
        return at


def elf64(
    *,
    needed: tuple[str, ...] = (),
    runpath: str | None = None,
    rpath: str | None = None,
    soname: str = "",
    versions: tuple[str, ...] = (),
    symbols: tuple[str, ...] = (),
    symbol_inside: str = "",
    interpreter: str = "",
    machine: int = 62,
) -> bytes:
    """
    A little-endian ELF64 file with a dynamic section and nothing to run (gABI, chapters 4 and 5).

    `versions` are symbol versions of the first needed library; `symbol_inside` makes a symbol of which the name is the
    tail of that string, as linkers do to save space.
    """
    strings = _Strings()
    tags: list[tuple[int, int]] = [(1, strings.add(name)) for name in needed]
    tags += [(14, strings.add(soname))] if soname else []
    tags += [(15, strings.add(rpath))] if rpath is not None else []
    tags += [(29, strings.add(runpath))] if runpath is not None else []
    names = [strings.add(name) for name in symbols]
    if symbol_inside:
        names.append(strings.data.index(symbol_inside.encode() + b"\0"))
    file_name = strings.add(needed[0]) if versions else 0
    version_names = [strings.add(name) for name in versions]

    header, segments = 64, 56 * 3
    at = header + segments
    symtab = at
    table = bytes(24) + b"".join(struct.pack("<IBBHQQ", name, 0x12, 0, 0, 0, 0) for name in names)
    at += len(table)
    hashes = at
    hash_table = struct.pack("<III", 1, len(names) + 1, 0) + bytes(4 * (len(names) + 1))
    at += len(hash_table)
    verneed = at
    needs = b""
    if versions:
        needs = struct.pack("<HHIII", 1, len(versions), file_name, 16, 0)
        for number, name in enumerate(version_names):
            step = 16 if number + 1 < len(version_names) else 0
            needs += struct.pack("<IHHII", 0, 0, number + 2, name, step)
    at += len(needs)
    strtab = at
    at += len(strings.data)
    path = at
    program = interpreter.encode() + b"\0" if interpreter else b""
    at += len(program)
    tags += [(5, strtab), (10, len(strings.data)), (6, symtab), (11, 24), (4, hashes)]
    tags += [(0x6FFFFFFE, verneed), (0x6FFFFFFF, 1)] if versions else []
    dynamic = at
    dynamic_data = b"".join(struct.pack("<QQ", *tag) for tag in [*tags, (0, 0)])
    at += len(dynamic_data)

    def segment(kind: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQQQ", kind, 4, offset, offset, offset, size, size, 8)

    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    elf_header = ident + struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 3, 64, 0, 0)
    program_header = segment(3, path, len(program)) if interpreter else segment(0, 0, 0)
    return b"".join(
        (
            elf_header,
            segment(1, 0, at),
            segment(2, dynamic, len(dynamic_data)),
            program_header,
            table,
            hash_table,
            needs,
            strings.data,
            program,
            dynamic_data,
        )
    )


def with_sections(data: bytes, *sections: tuple[str, bytes, bool]) -> bytes:
    """
    The same file with these sections behind it, and their table: of each its name, what it holds, and whether a process
    has it in memory. A name is that of a section of debuggers by `.debug_` alone.
    """
    names = _Strings()
    rows = [bytes(64)]
    for name, content, in_memory in sections:
        data += bytes(-len(data) % 16)
        rows.append(
            struct.pack("<IIQQQQIIQQ", names.add(name), 1, 2 * in_memory, 0, len(data), len(content), 0, 0, 16, 0)
        )
        data += content
    own = names.add(".shstrtab")
    rows.append(struct.pack("<IIQQQQIIQQ", own, 3, 0, 0, len(data), len(names.data), 0, 0, 1, 0))
    data += names.data + bytes(-(len(data) + len(names.data)) % 8)
    changed = bytearray(data)
    struct.pack_into("<Q", changed, 40, len(data))
    struct.pack_into("<HH", changed, 60, len(rows), len(rows) - 1)
    return bytes(changed) + b"".join(rows)
