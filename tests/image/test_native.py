"""What native files need: the same whether it is read in a wheel or where that was installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from envparity.codec import load_environment
from envparity.errors import MalformedError
from envparity.image import native
from envparity.image.native import Native
from envparity.values import Distribution
from tests.commands import envparity
from tests.elves import elf64
from tests.tools import needs_uv
from tests.wheels import pack, real_wheel

MARKUPSAFE = ("markupsafe", "3.0.2", "cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64")
NEEDS = elf64(needed=("libm.so.6", "libown.so.1", "libbeside.so"), versions=("GLIBC_2.29",))
OWN = elf64(needed=("libc.so.6",), soname="libown.so.1", versions=("GLIBC_2.3",))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Native files in every place that a wheel has for one, with and without the mode of a program."""
    contents = {
        "demo/_fast.cpython-311-x86_64-linux-gnu.so": NEEDS,
        "demo/text.so": b"text",
        "demo/model.bin": b"weights",
        "demo.libs/libown-1.so.1.0": OWN,
        "demo.libs/libbeside.so": OWN,
        "demo-1.0.data/platlib/demo/late.abi3.so": OWN,
        "demo-1.0.data/scripts/tool": elf64(needed=("libdl.so.2",), interpreter="/lib64/ld-linux-x86-64.so.2"),
        "demo-1.0.data/data/share/program-1.2": elf64(needed=("libutil.so.1",)),
    }
    return pack(tmp_path, contents, file_name="demo-1.0-cp311-cp311-linux_x86_64.whl")


def installed(folder: Path, wheel: Path) -> Distribution:
    """The wheel as an installer lays it out and a snapshot sees it."""
    environment, snapshot = folder / "environment", folder / "it.env.json"
    uv = needs_uv()
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, environment], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--no-deps", "--no-index", "-p", environment, wheel], check=True)
    envparity("snapshot", f"venv:{environment}", "-o", snapshot)
    (found,) = load_environment(snapshot.read_bytes(), "it").distributions or ()
    return found


def test_what_was_installed_tells_the_same_as_the_wheel_that_was_made_here(made: Path, tmp_path: Path) -> None:
    """Two users with different caches read it in different places, and their locks are to be equal byte for byte."""
    told = native.of_wheel(made)

    assert native.of_installed(installed(tmp_path, made)) == told
    assert told == Native(
        sonames=("libc.so.6", "libdl.so.2", "libm.so.6", "libutil.so.1"),
        glibc_floor="2.29",
        modules=("demo._fast", "demo.late", "demo.libs.libbeside", "demo.text"),
    )


@pytest.mark.parametrize("wanted", [MARKUPSAFE], ids=lambda wanted: wanted[0])
def test_what_was_installed_tells_the_same_as_a_real_wheel(wanted: tuple[str, ...], tmp_path: Path) -> None:
    fetched = real_wheel(*wanted)
    wheel = tmp_path / "markupsafe-3.0.2-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    wheel.write_bytes(fetched.read_bytes())
    told = native.of_wheel(wheel)

    assert native.of_installed(installed(tmp_path, wheel)) == told
    assert told == Native(("libc.so.6", "libpthread.so.0"), "2.14", ("markupsafe._speedups",))


def gone(site: Path) -> None:
    (site / "demo/_fast.cpython-311-x86_64-linux-gnu.so").unlink()


def longer(site: Path) -> None:
    with (site / "demo.libs/libown-1.so.1.0").open("ab") as stream:
        stream.write(b"x")


def another_record(site: Path) -> None:
    with (site / "demo-1.0.dist-info/RECORD").open("a") as stream:
        stream.write("demo/more.py,sha256=x,1\n")


def folder_in_its_place(site: Path) -> None:
    gone(site)
    (site / "demo/_fast.cpython-311-x86_64-linux-gnu.so").mkdir()


@pytest.mark.parametrize("change", [gone, longer, another_record, folder_in_its_place])
def test_what_is_not_as_the_snapshot_saw_it_tells_nothing(
    made: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """The wheel is then read: what lies here may be another version by this time."""
    item = installed(tmp_path, made)

    change(Path(item.location).parent)

    assert native.of_installed(item) is None


def test_what_is_not_on_this_machine_tells_nothing() -> None:
    item = Distribution(name="demo", version="1.0", location="/nowhere/demo-1.0.dist-info", record_sha256="0" * 64)

    assert native.of_installed(item) is None
    assert native.of_installed(Distribution(name="demo", version="1.0")) is None


def test_extension_modules_have_their_full_names(tmp_path: Path) -> None:
    """A model may call one of them by its last name only, and then it must be found."""
    contents = {"a/b/_c.abi3.so": b"x", "d.so": b"x", "a.libs/libx-1234.so.3": b"x", "a/e.py": b""}

    assert native.of_wheel(pack(tmp_path, contents)).modules == ("a.b._c", "d")


def test_a_native_file_that_is_too_large_for_memory_is_read_all_the_same(tmp_path: Path) -> None:
    """CUDA libraries have gigabytes; they are read from a private file instead."""
    with zipfile.ZipFile(real_wheel(*MARKUPSAFE)) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".so"))
        large = archive.read(name) + bytes(65 << 20)

    assert native.of_wheel(pack(tmp_path, {"demo/large.so": large})).sonames == ("libc.so.6", "libpthread.so.0")


def test_a_pure_wheel_needs_nothing_of_its_base(tmp_path: Path) -> None:
    assert native.of_wheel(pack(tmp_path, {"demo/not_native.so": b"text"})).sonames == ()


def test_a_damaged_native_file_names_the_wheel_and_the_member(tmp_path: Path) -> None:
    wheel = pack(tmp_path, {"demo/broken.so": b"\x7fELF\x02\x01\x01" + bytes(20)})

    with pytest.raises(MalformedError) as caught:
        native.of_wheel(wheel)
    assert "demo-1.0-py3-none-any.whl: demo/broken.so" in str(caught.value)
