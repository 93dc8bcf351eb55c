"""Every copy of a numeric library that files show: which it is, whose it is, and in which version."""

import io
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from envparity.collectors.elf_notes import build_id, constants
from envparity.collectors.native_libraries import native_libraries
from envparity.collectors.native_names import library, native_rows
from envparity.collectors.tree import LocalTree


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("libscipy_openblas64_-32a4b2a6.so", ("blas", "openblas", "")),
        ("libopenblas64_p-r0-0cf96a72.3.23.dev.so", ("blas", "openblas", "0.3.23.dev")),
        ("libopenblasp-r0.3.21.so", ("blas", "openblas", "0.3.21")),
        ("libopenblasp-r0-09e95953.3.13.so", ("blas", "openblas", "0.3.13")),
        ("libblas.so.3", ("blas", "blas", "")),
        ("libcblas.so.3", ("blas", "blas", "")),
        ("liblapack.so.3.10.0", ("lapack", "lapack", "")),
        ("libmkl_rt.so.2", ("blas", "mkl", "")),
        ("libblis.so.4", ("blas", "blis", "")),
        ("libgomp-a34b3233.so.1.0.0", ("openmp", "libgomp", "")),
        ("libgomp.so.1", ("openmp", "libgomp", "")),
        ("libiomp5.so", ("openmp", "libiomp", "")),
        ("libomp.so.5", ("openmp", "libomp", "")),
        ("libfftw3f.so.3", ("fft", "fftw", "")),
        ("libcudart-d0da41ae.so.11.0", ("cuda", "cudart", "11.0")),
        ("libcudnn.so.9", ("cuda", "cudnn", "9")),
        ("libnccl.so.2", ("cuda", "nccl", "2")),
        ("libMIOpen.so.1", ("rocm", "miopen", "")),
    ],
)
def test_a_numeric_library_is_known_by_its_name(name, known):
    assert library(name) == known


@pytest.mark.parametrize(
    "name",
    [
        "libblastoise.so", "libgompy.so", "libgomp-plugin-nvptx.so.1", "libcudnn_ops_infer.so.8", "libcublasLt.so.12",
        "libnvrtc-builtins.so.12.4", "libmkl_avx512.so.2", "libopenblas.a", "libgomp.so.1.debug", "openblas.so",
        "libomptarget.so", "libiompstubs5.so", "",
    ],
)  # fmt: skip
def test_what_only_resembles_one_is_none(name):
    """`libblastoise` computes no dot product; a helper says nothing that its library does not say."""
    assert library(name) is None


def test_a_record_is_searched_for_them_by_the_last_part_of_its_paths():
    rows = ["numpy.libs/libgfortran-04.so.5.0.0", "numpy.libs/libscipy_openblas64_-3.so", "../../libiomp5.so", "a/b.py"]

    assert native_rows(rows) == ["numpy.libs/libscipy_openblas64_-3.so", "../../libiomp5.so"]


def observed(tree, *wheels, prefixes=("/opt/env",), library_path="", look=False):
    facts = list(native_libraries(tree, wheels, prefixes, library_path, look))
    assert facts[-1] == {"kind": "section", "section": "native_libraries"}
    return facts[:-1]


def libraries(facts):
    return [
        (fact["name"], fact["owner_kind"], fact["owner"], fact["version"])
        for fact in facts
        if fact["kind"] == "native-library"
    ]


SITE = "/opt/env/lib/python3.11/site-packages"


def test_two_copies_of_one_product_are_two_facts(tree_of):
    """numpy and scipy each bring an OpenBLAS of their own: one field for "the BLAS version" would be wrong."""
    paths = [
        SITE + "/numpy.libs/libopenblas64_p-r0-0cf96a72.3.23.so",
        SITE + "/scipy.libs/libopenblasp-r0-41284840.3.18.so",
    ]
    wheels = [(paths[0], "numpy", "1.26.4"), (paths[1], "scipy", "1.11.4")]

    facts = observed(tree_of(dict.fromkeys(paths, b"")), *wheels)

    assert libraries(facts) == [
        ("libopenblas64_p-r0-0cf96a72.3.23.so", "wheel", "numpy", "0.3.23"),
        ("libopenblasp-r0-41284840.3.18.so", "wheel", "scipy", "0.3.18"),
    ]


def test_a_wheel_that_is_nothing_but_the_library_says_its_version(tree_of):
    path = SITE + "/nvidia/cudnn/lib/libcudnn.so.9"

    facts = observed(tree_of({path: b""}), (path, "nvidia-cudnn-cu12", "9.1.0.70"))

    assert libraries(facts) == [("libcudnn.so.9", "wheel", "nvidia-cudnn-cu12", "9.1.0.70")]


def test_a_library_that_a_record_lists_and_that_is_gone_is_not_there(tree_of):
    assert observed(tree_of({}), (SITE + "/numpy.libs/libopenblas.so", "numpy", "1")) == []


def test_conda_owns_what_its_records_list(tree_of):
    tree = tree_of(
        {
            "/opt/env/lib/libopenblasp-r0.3.27.so": b"",
            "/opt/env/lib/libopenblas.so.0": "libopenblasp-r0.3.27.so",
            "/opt/env/lib/libblas.so.3": "libopenblasp-r0.3.27.so",
            "/opt/env/lib/libomp.so": b"",
            "/opt/env/lib/libgomp.so.1.0.0": b"",
            "/opt/env/conda-meta/libopenblas-0.3.27-pthreads_hac2b453_1.json": b'["lib/libopenblasp-r0.3.27.so"]',
            "/opt/env/conda-meta/llvm-openmp-18.1.8-hf5423f3_1.json": b'{"files": ["lib/libomp.so", "x"]}',
            "/opt/env/conda-meta/history": b"",
        }
    )

    assert libraries(observed(tree)) == [
        ("libgomp.so.1.0.0", "", "", ""),
        ("libomp.so", "conda", "llvm-openmp", "18.1.8"),
        ("libopenblasp-r0.3.27.so", "conda", "libopenblas", "0.3.27"),
    ]


def test_the_alternative_that_is_chosen_is_the_one_that_counts(tree_of):
    """Debian chooses the BLAS of a whole machine by one link."""
    folder = "/usr/lib/x86_64-linux-gnu"
    tree = tree_of(
        {
            folder + "/libblas.so.3": "/etc/alternatives/libblas.so.3-x86_64-linux-gnu",
            "/etc/alternatives/libblas.so.3-x86_64-linux-gnu": folder + "/openblas-pthread/libblas.so.3",
            folder + "/openblas-pthread/libblas.so.3": b"",
            folder + "/blas/libblas.so.3.11.0": b"",
            folder + "/libgomp.so.1": "libgomp.so.1.0.0",
            folder + "/libgomp.so.1.0.0": b"",
            "/var/lib/dpkg/info/libopenblas0-pthread:amd64.list": folder.encode() + b"/openblas-pthread/libblas.so.3\n",
            "/var/lib/dpkg/info/libgomp1:amd64.list": b"/.\n/lib/x86_64-linux-gnu/libgomp.so.1.0.0\n",
            "/var/lib/dpkg/info/broken.list": None,
        }
    )

    facts = observed(tree)

    assert libraries(facts) == [
        ("libgomp.so.1.0.0", "dpkg", "libgomp1", ""),
        ("libblas.so.3", "dpkg", "libopenblas0-pthread", ""),
    ]
    assert facts[1]["product"] == "openblas"


def test_alpine_and_a_database_that_is_not_read(tree_of):
    library_there = {"/usr/lib/libgomp.so.1.0.0": b""}
    alpine = {
        "/lib/apk/db/installed": b"P:musl\nV:1\nF:lib\nR:x\n\nP:libgomp\nV:13.2.1-r0\nF:usr/lib\nR:libgomp.so.1.0.0\n"
    }

    assert libraries(observed(tree_of({**library_there, **alpine}))) == [
        ("libgomp.so.1.0.0", "apk", "libgomp", "13.2.1-r0")
    ]
    facts = observed(tree_of({**library_there, "/var/lib/rpm/rpmdb.sqlite": b""}))
    assert [(fact["gap"], fact["section"]) for fact in facts if fact["kind"] == "gap"] == [
        ("not-recorded", "native_libraries")
    ]
    assert libraries(facts) == [("libgomp.so.1.0.0", "rpm", "", "")]


def test_what_lies_in_the_library_path_is_said_to_come_from_it(tree_of):
    tree = tree_of({"/opt/odd/libgomp.so.1": b"", "/usr/lib/libgomp.so.1": b""})

    facts = observed(tree, library_path="relative:/opt/odd:/gone")

    assert [(fact["path"], fact.get("overridden_by", "")) for fact in facts] == [
        ("/opt/odd/libgomp.so.1", "LD_LIBRARY_PATH"),
        ("/usr/lib/libgomp.so.1", ""),
    ]


def test_a_folder_that_cannot_be_read_is_a_gap(tree_of):
    class Locked(type(tree_of({}))):
        def entries(self, path):
            raise PermissionError(13, "Permission denied", path)

    (gap,) = observed(Locked({"/opt/env/lib/x": b""}))

    assert (gap["gap"], gap["section"], gap["item"]) == ("unread", "native_libraries", "/opt/env/lib")


def elf(order, wide, notes=b"", rodata=b""):
    """An ELF file with one PT_NOTE segment and one section `.rodata`, of either byte order and width."""
    word = "Q" if wide else "I"
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    size = 64 if wide else 52
    program_size, section_size = (56, 64) if wide else (32, 40)
    names = b"\0.shstrtab\0.rodata\0"
    at = size + program_size
    note_at, rodata_at, names_at = at, at + len(notes), at + len(notes) + len(rodata)
    sections_at = names_at + len(names)
    head = struct.pack(order + "HHI" + word * 3 + "IHHHHHH", 3, 62, 1, 0, size, sections_at, 0, size, program_size, 1,
                       section_size, 3, 1)  # fmt: skip
    if wide:
        program = struct.pack(order + "IIQQQQQQ", 4, 4, note_at, 0, 0, len(notes), len(notes), 4)
    else:
        program = struct.pack(order + "IIIIIIII", 4, note_at, 0, 0, len(notes), len(notes), 4, 4)

    def section(name, offset, length):
        return struct.pack(order + "II" + word * 4 + "II" + word * 2, name, 1, 0, 0, offset, length, 0, 0, 0, 0)

    table = section(0, 0, 0) + section(1, names_at, len(names)) + section(11, rodata_at, len(rodata))
    return ident + head + program + notes + rodata + names + table


def note(order, name, kind, value):
    padded = name + bytes(-len(name) % 4)
    return struct.pack(order + "III", len(name), len(value), kind) + padded + value + bytes(-len(value) % 4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("wide", [True, False])
def test_the_build_id_and_the_constants_of_every_kind_of_elf_are_read(order, wide):
    notes = (
        note(order, b"stapsdt\0", 3, b"no")
        + note(order, b"GNU\0", 1, bytes(16))
        + note(order, b"GNU\0", 3, b"\xab" * 20)
    )
    data = elf(order, wide, notes, b"\0OpenBLAS 0.3.30 DYNAMIC_ARCH\0")

    assert build_id(io.BytesIO(data)) == "ab" * 20
    assert b"OpenBLAS 0.3.30 " in constants(io.BytesIO(data))
    for cut in range(0, len(data), 7):
        assert build_id(io.BytesIO(data[:cut])) in ("", "ab" * 20)
        constants(io.BytesIO(data[:cut]))


def test_a_damaged_elf_answers_nothing_and_ends():
    """Counts and sizes of a hostile file must not make it loop, or hold what is not there."""
    data = bytearray(elf("<", True, note("<", b"GNU\0", 3, b"\xab" * 20), b"x"))
    for at in range(16, len(data)):
        for value in (0, 255):
            broken = bytes(data[:at]) + bytes([value]) + bytes(data[at + 1 :])
            assert len(build_id(io.BytesIO(broken))) <= 128
            assert len(constants(io.BytesIO(broken))) <= 4 << 20
    assert build_id(io.BytesIO(b"")) == build_id(io.BytesIO(b"#!/bin/sh\n" * 20)) == ""


def test_the_build_id_of_real_libraries_is_the_one_that_readelf_shows():
    readelf = shutil.which("readelf")
    if readelf is None:
        pytest.skip("readelf is not installed")
    files = [fact["path"] for fact in native_libraries(LocalTree(), (), ("/usr",)) if fact["kind"] == "native-library"]
    for path in [*files, sys.executable]:
        shown = subprocess.run([readelf, "-n", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
        expected = shown.partition("Build ID: ")[2].split()[:1]
        with Path(path).open("rb") as file:
            assert [build_id(file)] == (expected or [""]), path


def test_openblas_spells_its_version_where_no_name_says_it(tree_of):
    path = SITE + "/numpy.libs/libscipy_openblas64_-32a4b2a6.so"
    data = elf("<", True, b"", b"\0OpenBLAS 0.3.31.188.0  USE64BITINT DYNAMIC_ARCH\0")

    (fact,) = observed(tree_of({path: data}), (path, "numpy", "2.4.6"), look=True)

    assert (fact["version"], fact["build_id"]) == ("0.3.31.188.0", "")
