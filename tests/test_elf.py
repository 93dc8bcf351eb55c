"""Native files: what they need is read, never run; and a search path is changed without moving a byte."""

from __future__ import annotations

import re
import sys
import sysconfig
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envparity import elf
from envparity.errors import MalformedError, RefusedError
from tests.elves import elf64, with_sections


def test_needs_are_read_from_the_dynamic_section() -> None:
    """The base must bring exactly these libraries: one too few, and the image does not start."""
    data = elf64(
        needed=("libpython3.11.so.1.0", "libc.so.6"),
        runpath="/root/.pyenv/versions/3.11.7/lib:$ORIGIN/../lib",
        soname="libdemo.so.1",
        versions=("GLIBC_2.2.5", "GLIBC_2.34", "GLIBC_2.4", "GLIBC_PRIVATE", "GLIBCXX_3.4.29"),
        interpreter="/lib64/ld-linux-x86-64.so.2",
    )

    assert elf.needs(data) == elf.Needs(
        sonames=("libpython3.11.so.1.0", "libc.so.6"),
        runpath=("/root/.pyenv/versions/3.11.7/lib", "$ORIGIN/../lib"),
        soname="libdemo.so.1",
        glibc_floor="2.34",
        interpreter="/lib64/ld-linux-x86-64.so.2",
        machine="x86_64",
    )


def test_the_running_interpreter_is_a_program_with_a_loader_and_a_glibc_floor() -> None:
    """The made-to-measure files are no proof that real ones can be read."""
    found = elf.needs(Path(sys.executable).resolve())

    assert found.interpreter.startswith("/lib")
    assert "libc.so.6" in found.sonames
    assert found.glibc_floor.startswith("2.")


def test_an_rpath_counts_only_where_there_is_no_runpath() -> None:
    """ld.so(8): DT_RPATH is ignored if DT_RUNPATH is present; who mixes them looks where the loader does not."""
    assert elf.needs(elf64(rpath="/old/lib")).runpath == ("/old/lib",)
    assert elf.needs(elf64(rpath="/old/lib", runpath="/new/lib")).runpath == ("/new/lib",)


def test_another_architecture_is_named() -> None:
    """An arm64 library in an amd64 image fails when it is loaded, far from its cause."""
    assert elf.needs(elf64(machine=183)).machine == "aarch64"


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF", elf64(needed=("libc.so.6",))[:300]])
def test_what_is_no_whole_elf_file_is_malformed(data: bytes) -> None:
    """A wheel that is cut short must end in one line, with no traceback of the library."""
    with pytest.raises(MalformedError):
        elf.needs(data)


@given(st.integers(0, 700), st.integers(0, 255))
def test_a_damaged_file_is_read_or_refused_and_never_crashes(place: int, value: int) -> None:
    """The files come out of other people's wheels."""
    data = bytearray(elf64(needed=("libc.so.6",), runpath="/a/lib", versions=("GLIBC_2.17",), symbols=("main",)))
    data[place % len(data)] = value

    try:
        elf.needs(bytes(data))
        elf.replace_runpath(bytes(data), "/b")
    except (MalformedError, RefusedError):
        return


def test_a_search_path_is_replaced_in_its_place() -> None:
    """Were any offset to move, the file would have to be linked anew."""
    before = elf64(needed=("libpython3.11.so.1.0",), runpath="/root/.pyenv/versions/3.11.7/lib", symbols=("main",))

    after = elf.replace_runpath(before, "/opt/python/lib")

    assert elf.needs(after).runpath == ("/opt/python/lib",)
    assert elf.needs(after).sonames == ("libpython3.11.so.1.0",)
    assert len(after) == len(before)
    changed = [at for at, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert changed[-1] - changed[0] < len("/root/.pyenv/versions/3.11.7/lib")
    assert b".pyenv" not in after


def test_the_first_candidate_that_fits_is_taken() -> None:
    """`$ORIGIN/../lib` is one byte shorter than `/opt/python/lib`: official Python images are built with it."""
    data = elf64(runpath="$ORIGIN/../lib")

    assert elf.needs(elf.replace_runpath(data, "/opt/python/lib", "/opt/python/l")).runpath == ("/opt/python/l",)


def test_a_search_path_that_does_not_fit_is_refused() -> None:
    """Writing over its end would overwrite the next name."""
    with pytest.raises(RefusedError, match="does not fit"):
        elf.replace_runpath(elf64(runpath="/usr/lib"), "/opt/python/lib")


def test_a_file_without_a_search_path_is_refused() -> None:
    """The caller has to find another way; doing nothing would leave another libpython to answer."""
    with pytest.raises(RefusedError, match="no DT_RPATH or DT_RUNPATH"):
        elf.replace_runpath(elf64(needed=("libc.so.6",)), "/opt/python/lib")


def test_a_name_that_shares_the_bytes_of_the_search_path_is_not_destroyed() -> None:
    """Linkers store `lib` as the tail of `/x/lib`: a symbol of that name would lose its own."""
    data = elf64(runpath="/somewhere/long/lib", symbol_inside="lib")

    with pytest.raises(RefusedError, match="shares its bytes"):
        elf.replace_runpath(data, "/opt/python/lib")


def test_a_need_becomes_a_path() -> None:
    """ld.so takes a name with a slash as a path: so a program without any search path finds its library."""
    data = elf64(needed=("libpython3.11.so.1.0", "libc.so.6"))

    after = elf.replace_needed(data, "libpython3.11.so.1.0", "/opt/python/p0")

    assert elf.needs(after).sonames == ("/opt/python/p0", "libc.so.6")
    with pytest.raises(RefusedError, match="libm"):
        elf.replace_needed(data, "libm.so.6", "/x")


PLAIN = elf64(needed=("libc.so.6",), soname="libdemo.so.1")
SECTIONS = (
    (".comment", b"GCC", False),
    (".debug_info", b"d" * 5000, False),
    (".rela.debug_info", b"r" * 48, False),
    (".symtab", b"symbols", False),
    (".debug_str", b"d" * 700, False),
    (".strtab", b"names of symbols", False),
)


def sections(data: bytes) -> dict[str, bytes]:
    """What each section of a file holds, as pyelftools reads it, with the place of its row before its name."""
    from elftools.elf.elffile import ELFFile

    found = enumerate(ELFFile(BytesIO(data)).iter_sections())
    return {f"{at} {item.name}": item.data() for at, item in found if item.header.sh_type != "SHT_NULL"}


def test_what_only_a_debugger_reads_goes_and_every_other_section_stays_in_its_row() -> None:
    """A build with `-g` has it in every module; symbols name sections by their row, and profilers read symbols."""
    data = with_sections(PLAIN, *SECTIONS)
    before = sections(data)

    after = elf.without_debug(data)

    assert sections(after) == {row: held for row, held in before.items() if "debug_" not in row}
    assert list(sections(after)) == ["1 .comment", "4 .symtab", "6 .strtab", "7 .shstrtab"]
    assert after.startswith(PLAIN[:40])
    assert after[64 : len(PLAIN)] == PLAIN[64:]
    assert elf.needs(after) == elf.needs(data)
    assert len(after) < len(data) - 5700
    assert elf.without_debug(after) == after


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        with_sections(PLAIN, (".comment", b"GCC", False)),
        with_sections(PLAIN, (".debug_gdb_scripts", b"in memory", True)),
        with_sections(PLAIN, (".debug_info", b"d" * 50, False), (".data", b"in memory", True)),
        with_sections(PLAIN, (".debug_info", b"d" * 50, False)) + b"an archive behind it",
    ],
)
def test_a_file_of_which_nothing_can_go_safely_is_the_same_bytes(data: bytes) -> None:
    assert elf.without_debug(data) == data


@pytest.mark.parametrize("at", [40, 60, -64 + 24])
def test_a_table_of_sections_that_leads_out_of_the_file_is_malformed(at: int) -> None:
    """Of the header: where the table is, how many rows it has. Of its last row: where the names are."""
    data = bytearray(with_sections(PLAIN, *SECTIONS))
    data[at : at + 2] = b"\xf0\xff"

    with pytest.raises(MalformedError, match="not a sound ELF file"):
        elf.without_debug(bytes(data))


def test_real_modules_are_loaded_from_the_same_bytes() -> None:
    """A second opinion on real files: what each segment maps, and each symbol."""
    from elftools.elf.elffile import ELFFile

    def loaded(data: bytes) -> tuple[list[bytes], list[tuple[str, str]]]:
        file = ELFFile(BytesIO(data))
        head = file.header.e_ehsize  # of the first segment the file's own header says where the sections are
        mapped = [item.data()[head:] if item.header.p_offset == 0 else item.data() for item in file.iter_segments()]
        table = file.get_section_by_name(".symtab")
        return mapped, [(item.name, str(item.entry)) for item in table.iter_symbols()] if table else []

    natives = sorted(Path(sysconfig.get_path("platstdlib"), "lib-dynload").glob("*.so"))[:12]
    natives += [Path(sys.executable).resolve()]
    for path in natives:
        data = path.read_bytes()
        assert loaded(elf.without_debug(data)) == loaded(data), path


def test_needs_are_those_that_pyelftools_reads() -> None:
    """A second opinion on real files: a library that is missed is missing in the image."""
    from elftools.elf.elffile import ELFFile

    natives = [Path(sys.executable).resolve(), *sorted(Path(sysconfig.get_path("platlib")).rglob("*.so"))[:60]]
    assert len(natives) > 5
    for path in natives:
        with path.open("rb") as stream:
            dynamic = next(ELFFile(stream).iter_segments("PT_DYNAMIC"))
            tags = list(dynamic.iter_tags())
            versions = ELFFile(stream).get_section_by_name(".gnu.version_r")
            names = [aux.name for _, auxes in versions.iter_versions() for aux in auxes] if versions else []
        found = elf.needs(path)

        assert found.sonames == tuple(tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"), path
        assert found.soname == next((tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"), ""), path
        floors = [tuple(map(int, name[6:].split("."))) for name in names if re.fullmatch(r"GLIBC_[0-9.]+", name)]
        assert found.glibc_floor == ".".join(map(str, max(floors, default=()))), path
