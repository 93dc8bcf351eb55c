"""The interpreter of the image: the base's where it is the same, else the snapshot's own, and that one must answer."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity import elf
from envparity.cache import Cache
from envparity.errors import RefusedError, UnreachableError, UnsupportedError
from envparity.fetch import Fetcher, Wanted
from envparity.image.base import base_entries
from envparity.image.interpreter import interpreter_entries
from envparity.network import Client
from envparity.oci.entries import Entry
from envparity.oci.tar import write_layer
from envparity.resolvers import archives, interpreter
from envparity.values import File, Python
from tests.elves import elf64, with_sections
from tests.tools import needs_tool, not_here

LOADER = "/lib64/ld-linux-x86-64.so.2"
LIBPYTHON = "libpython3.11.so.1.0"


def recorded(path: Path) -> File:
    return File(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@dataclass
class Installed:
    """An interpreter in a folder: as a shared build of pyenv has it, unless a test says otherwise."""

    prefix: Path
    runpath: str | None = None
    shared: bool = True
    extensions: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lib = self.prefix / "lib"
        runpath = str(lib) if self.runpath is None else self.runpath or None
        program: dict[str, Any] = {"versions": ("GLIBC_2.34",), "interpreter": LOADER}
        if self.shared:
            program |= {"needed": (LIBPYTHON, "libc.so.6"), "runpath": runpath}
            self.put(f"lib/{LIBPYTHON}", elf64(needed=("libm.so.6",), runpath=runpath, soname=LIBPYTHON))
            (lib / "libpython3.11.so").symlink_to(LIBPYTHON)
        else:
            program |= {"needed": ("libc.so.6", "libz.so.1")}
        self.put("bin/python3.11", elf64(**program))
        for name in ("os.py", "json/__init__.py", "config/x.py", "venv/scripts/common/activate"):
            self.put(f"lib/python3.11/{name}", name.encode())
        for name in (
            "test/test_os.py",
            "idlelib/x.py",
            "tkinter/__init__.py",
            "turtledemo/x.py",
            "turtle.py",
            "ensurepip/x.whl",
            "lib2to3/x.py",
            "pydoc_data/topics.py",
            "unittest/test/x.py",
            "distutils/tests/x.py",
            "site-packages/numpy/__init__.py",
            "config-3.11-x86_64-linux-gnu/libpython3.11.a",
            "__pycache__/os.cpython-311.pyc",
            "json/__pycache__/__init__.cpython-311.pyc",
        ):
            self.put(f"lib/python3.11/{name}", b"left out")
        extensions = {"_ssl": {"needed": ("libssl.so.3", "libc.so.6"), "versions": ()}, "_testcapi": {}, "_tkinter": {}}
        for name, fields in (extensions | self.extensions).items():
            self.put(f"lib/python3.11/lib-dynload/{name}.cpython-311-x86_64-linux-gnu.so", elf64(**fields))

    def put(self, name: str, data: bytes) -> Path:
        path = self.prefix / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    @property
    def python(self) -> Python:
        return Python(
            version="3.11.7",
            implementation="cpython",
            base_prefix=str(self.prefix),
            stdlib=str(self.prefix / "lib/python3.11"),
            executable=recorded(self.prefix / "bin/python3.11"),
            libpython=recorded(self.prefix / "lib" / LIBPYTHON) if self.shared else None,
        )


def captured(installed: Installed, folder: Path) -> tuple[interpreter.Captured, dict[str, Entry]]:
    folder.mkdir(exist_ok=True)
    found = interpreter.capture(installed.python, folder)
    return found, {entry.path: entry for entry in interpreter_entries(folder / found.artifact.name)}


def needs(entries: dict[str, Entry], path: str) -> elf.Needs:
    data = entries[path].content
    assert isinstance(data, bytes)
    return elf.needs(data)


def test_a_capture_is_the_interpreter_and_its_library_without_what_only_developers_need(tmp_path: Path) -> None:
    """685 MB of site-packages lay in the folder that was tried; the wheels' own layers bring what is locked."""
    found, entries = captured(Installed(tmp_path / "py"), tmp_path / "out")

    assert [path.removeprefix("opt/python") for path, entry in entries.items() if entry.kind != "folder"] == [
        "/bin/python",
        "/bin/python3",
        "/bin/python3.11",
        f"/lib/{LIBPYTHON}",
        "/lib/python3.11/config/x.py",
        "/lib/python3.11/json/__init__.py",
        "/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so",
        "/lib/python3.11/os.py",
        "/lib/python3.11/venv/scripts/common/activate",
    ]
    assert found.executable == "/opt/python/bin/python3.11"
    assert found.artifact.name == f"cpython-3.11.7-linux-x86_64-{found.artifact.sha256[:12]}.tar.gz"
    assert entries["opt/python/bin/python3.11"].mode == 0o755
    assert entries["opt/python/bin/python3"].target == "python3.11"


def test_a_capture_holds_nothing_that_only_a_debugger_reads(tmp_path: Path) -> None:
    """Of a Python that pyenv built it was 26 of 64 MB of every image."""
    installed = Installed(tmp_path / "py")
    for name in (f"lib/{LIBPYTHON}", "lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so"):
        debug = (".debug_info", b"d" * 9000, False)
        installed.put(name, with_sections((installed.prefix / name).read_bytes(), debug, (".symtab", b"s" * 24, False)))

    _, entries = captured(installed, tmp_path / "out")

    for name in (f"lib/{LIBPYTHON}", "lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so"):
        content = entries[f"opt/python/{name}"].content
        assert isinstance(content, bytes)
        assert b"d" * 9000 not in content
        assert b"s" * 24 in content
    assert needs(entries, f"opt/python/lib/{LIBPYTHON}").runpath == ("/opt/python/lib",)


def test_a_capture_says_what_the_base_has_to_bring(tmp_path: Path) -> None:
    """Its own libpython is not among it: Debian's would answer in its place, with another version."""
    found, _ = captured(Installed(tmp_path / "py"), tmp_path / "out")

    assert found.sonames == {"libc.so.6", "libm.so.6", "libssl.so.3"}
    assert found.provides == {LIBPYTHON}
    assert found.glibc_floor == "2.34"


def test_the_search_path_leads_to_the_new_place_by_an_absolute_path(tmp_path: Path) -> None:
    """Without it, 3.11.7 silently becomes the base's 3.11.2: same soname, other interpreter."""
    _, entries = captured(Installed(tmp_path / "py"), tmp_path / "out")

    assert needs(entries, "opt/python/bin/python3.11").runpath == ("/opt/python/lib",)
    assert needs(entries, f"opt/python/lib/{LIBPYTHON}").runpath == ("/opt/python/lib",)
    for entry in entries.values():
        assert not isinstance(entry.content, bytes) or str(tmp_path).encode() not in entry.content


def test_a_program_that_searches_from_its_own_place_is_made_absolute_too(tmp_path: Path) -> None:
    """The official images build with `$ORIGIN/../lib`; in a chroot without /proc such a program does not start."""
    _, entries = captured(Installed(tmp_path / "py", runpath="$ORIGIN/../lib"), tmp_path / "out")

    assert needs(entries, "opt/python/bin/python3.11").runpath == ("/opt/python/l",)
    assert entries["opt/python/l"].target == "lib"


def test_a_program_without_a_search_path_gets_its_library_by_path(tmp_path: Path) -> None:
    """A build that relied on ld.so.cache or LD_LIBRARY_PATH, of which the image has neither."""
    _, entries = captured(Installed(tmp_path / "py", runpath=""), tmp_path / "out")

    assert needs(entries, "opt/python/bin/python3.11").sonames == ("/opt/python/p0", "libc.so.6")
    assert entries["opt/python/p0"].target == f"lib/{LIBPYTHON}"


def test_a_static_build_needs_no_libpython(tmp_path: Path) -> None:
    """Debian's own and the standalone builds of uv hold it in the program."""
    found, entries = captured(Installed(tmp_path / "py", shared=False), tmp_path / "out")

    assert found.sonames == {"libc.so.6", "libz.so.1", "libssl.so.3"}
    assert found.provides == frozenset()
    assert not any("libpython" in path for path in entries)


def test_libraries_beside_the_interpreter_come_along_and_are_found(tmp_path: Path) -> None:
    """conda and standalone builds carry their own OpenSSL; the base's may be another version."""
    installed = Installed(
        tmp_path / "py",
        shared=False,
        extensions={
            "_ssl": {"needed": ("libssl.so.3",), "runpath": "$ORIGIN/../.."},
            "_hashlib": {"needed": ("libcrypto.so.3", "libc.so.6"), "runpath": str(tmp_path / "py/lib")},
            "_sqlite3": {"needed": ("libsqlite3.so.0",)},
        },
    )
    installed.put("lib/libssl.so.3.1", elf64(needed=("libcrypto.so.3",), runpath="$ORIGIN/.", soname="libssl.so.3"))
    (installed.prefix / "lib/libssl.so.3").symlink_to("libssl.so.3.1")
    installed.put("lib/libcrypto.so.3", elf64(needed=("libc.so.6",), soname="libcrypto.so.3"))
    installed.put("lib/libsqlite3.so.0", elf64(needed=("libm.so.6",), soname="libsqlite3.so.0"))

    found, entries = captured(installed, tmp_path / "out")

    dynload = "opt/python/lib/python3.11/lib-dynload"
    ending = "cpython-311-x86_64-linux-gnu.so"
    assert found.provides == {"libssl.so.3", "libcrypto.so.3", "libsqlite3.so.0"}
    assert found.sonames == {"libc.so.6", "libm.so.6", "libz.so.1"}
    assert entries["opt/python/lib/libssl.so.3"].kind == "file"
    assert needs(entries, f"{dynload}/_ssl.{ending}").runpath == ("$ORIGIN/../..",)
    assert needs(entries, f"{dynload}/_hashlib.{ending}").runpath == ("/opt/python/lib",)
    (path,) = needs(entries, f"{dynload}/_sqlite3.{ending}").sonames
    assert entries[path.lstrip("/")].target == "lib/libsqlite3.so.0"


def test_two_captures_give_equal_bytes(tmp_path: Path) -> None:
    """The artifact's digest stands in the lock: a second lock of the same snapshot has to be the same lock."""
    installed = Installed(tmp_path / "py")
    first, _ = captured(installed, tmp_path / "one")
    for path in installed.prefix.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(0o700)

    second, _ = captured(installed, tmp_path / "two")

    assert first == second
    name = first.artifact.name
    data = (tmp_path / "one" / name).read_bytes()
    assert data == (tmp_path / "two" / name).read_bytes()
    assert hashlib.sha256(data).hexdigest() == first.artifact.sha256
    assert len(data) == first.artifact.size_bytes


def later() -> int:
    """A clock by which every file here is old enough to be told from a later one by its time."""
    return time.time_ns() + 10**10


def rewritten(path: Path) -> None:
    """Other bytes of the same length in the same file, as old as before by the time that a program can set."""
    before = path.stat()
    with path.open("r+b") as stream:
        stream.write(path.read_bytes()[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def kept(installed: Installed, folder: Path, cache: Cache) -> interpreter.Captured:
    """As a lock has it captured."""
    folder.mkdir(exist_ok=True)
    return interpreter.captured(installed.python, folder, machine="x86_64", cache=cache, clock=later)


CHANGES: dict[str, Callable[[Installed], object]] = {
    "a module": lambda of: of.put("lib/python3.11/os.py", b"changed"),
    "a module whose time was set back": lambda of: rewritten(of.prefix / "lib/python3.11/os.py"),
    "a module that is new": lambda of: of.put("lib/python3.11/json/new.py", b"new"),
    "a module that has gone": lambda of: (of.prefix / "lib/python3.11/json/__init__.py").unlink(),
    "a module that became a link": lambda of: (
        (of.prefix / "lib/python3.11/os.py").unlink(),
        (of.prefix / "lib/python3.11/os.py").symlink_to("json/__init__.py"),
    ),
    "a library that appeared": lambda of: of.put("lib/libabsent.so.1", elf64(soname="libabsent.so.1")),
    "the library that a link leads to": lambda of: of.put(
        "lib/own/libcarried.so.1", elf64(soname="libcarried.so.1", needed=())
    ),
    "where a link leads": lambda of: (
        (of.prefix / "lib/libcarried.so.1").unlink(),
        (of.prefix / "lib/libcarried.so.1").symlink_to("other/libcarried.so.1"),
    ),
}


def with_links(folder: Path) -> Installed:
    """An interpreter that finds a library through a link."""
    of = Installed(folder, extensions={"_z": {"needed": ("libcarried.so.1", "libabsent.so.1")}})
    of.put("lib/own/libcarried.so.1", elf64(soname="libcarried.so.1", needed=("libm.so.6",)))
    of.put("lib/other/libcarried.so.1", elf64(soname="libcarried.so.1", needed=("libdl.so.2",)))
    (of.prefix / "lib/libcarried.so.1").symlink_to("own/libcarried.so.1")
    return of


@pytest.mark.parametrize("what", CHANGES)
def test_an_interpreter_is_captured_anew_whatever_of_it_changed(tmp_path: Path, what: str) -> None:
    """A lock would else hold a Python that is not here any more, and say that it trained the model."""
    installed, cache = with_links(tmp_path / "py"), Cache(tmp_path / "cache")
    first = kept(installed, tmp_path / "kept", cache)
    CHANGES[what](installed)

    again = kept(installed, tmp_path / "again", cache)

    assert again == captured(installed, tmp_path / "anew")[0]
    assert again != first
    name = again.artifact.name
    assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "anew" / name).read_bytes()


def test_an_interpreter_that_did_not_change_is_not_captured_again(tmp_path: Path) -> None:
    """It takes as long as all the rest of a lock."""
    installed, cache = with_links(tmp_path / "py"), Cache(tmp_path / "cache")
    first = kept(installed, tmp_path / "out", cache)
    data = (tmp_path / "out" / first.artifact.name).read_bytes()
    (tmp_path / "out" / first.artifact.name).unlink()
    (note,) = (tmp_path / "cache/notes").glob("capture-*")
    said = msgspec.json.decode(note.read_bytes())["value"]
    cache.write_note(note.stem, said | {"captured": said["captured"] | {"glibc_floor": "as it was noted"}})

    again = kept(installed, tmp_path / "out", cache)

    assert again == replace(first, glibc_floor="as it was noted")
    assert (tmp_path / "out" / again.artifact.name).read_bytes() == data


@pytest.mark.parametrize("what", ["notes/capture-*", "blobs/sha256/*/*"])
def test_of_a_damaged_cache_nothing_of_an_interpreter_is_taken(tmp_path: Path, what: str) -> None:
    installed, cache = Installed(tmp_path / "py"), Cache(tmp_path / "cache")
    first = kept(installed, tmp_path / "out", cache)
    (place,) = (tmp_path / "cache").glob(what)
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 1
    place.write_bytes(data)

    again = kept(installed, tmp_path / "out", cache)

    assert again == first
    found = (tmp_path / "out" / first.artifact.name).read_bytes()
    assert hashlib.sha256(found).hexdigest() == first.artifact.sha256
    assert place.read_bytes() != data


def test_of_an_interpreter_that_was_changed_a_moment_ago_no_capture_is_kept(tmp_path: Path) -> None:
    """What changes again within one tick of its file system's clock has the same times."""
    python, cache = Installed(tmp_path / "py").python, Cache(tmp_path / "cache")
    (tmp_path / "out").mkdir()

    interpreter.captured(python, tmp_path / "out", machine="x86_64", cache=cache)

    assert not (tmp_path / "cache").exists()


def test_of_an_interpreter_that_was_brought_for_one_lock_no_capture_is_kept(tmp_path: Path) -> None:
    """It lies in another place each time, and nobody would ask for it again."""
    kept(Installed(tmp_path / "work/py"), tmp_path / "work", Cache(tmp_path / "cache"))

    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["bin/python3.11", f"lib/{LIBPYTHON}"])
def test_an_interpreter_that_changed_since_the_snapshot_is_refused(tmp_path: Path, name: str) -> None:
    """A lock of it would claim to be what trained the model."""
    installed = Installed(tmp_path / "py")
    python = installed.python
    installed.put(name, (installed.prefix / name).read_bytes() + b"patched")

    with pytest.raises(RefusedError, match="has changed since the snapshot was taken") as caught:
        interpreter.capture(python, tmp_path)

    assert "run `envparity lock` on the machine" in caught.value.hint


def test_on_another_machine_the_error_says_where_to_lock(tmp_path: Path) -> None:
    installed = Installed(tmp_path / "py")
    python = msgspec.structs.replace(installed.python, executable=File(path="/nowhere/python3.11", sha256="0" * 64))

    with pytest.raises(RefusedError, match=r"is not here: `/nowhere/python3\.11`") as caught:
        interpreter.capture(python, tmp_path)

    assert "that took the snapshot" in caught.value.hint


@pytest.mark.parametrize("missing", ["executable", "libpython"])
def test_a_snapshot_that_does_not_name_the_files_cannot_be_captured(tmp_path: Path, missing: str) -> None:
    python = msgspec.structs.replace(Installed(tmp_path / "py").python, **{missing: None})

    with pytest.raises(RefusedError, match="the snapshot does not say which"):
        interpreter.capture(python, tmp_path)


def test_half_a_standard_library_is_refused(tmp_path: Path) -> None:
    """An uninstalled Python leaves its folders behind."""
    installed = Installed(tmp_path / "py")
    (installed.prefix / "lib/python3.11/os.py").unlink()

    with pytest.raises(RefusedError, match=r"not a whole standard library: it has no os\.py"):
        interpreter.capture(installed.python, tmp_path)


def test_a_library_outside_of_the_prefix_is_refused(tmp_path: Path) -> None:
    python = msgspec.structs.replace(Installed(tmp_path / "py").python, stdlib="/usr/lib/python3.11")

    with pytest.raises(RefusedError, match="does not lie below its prefix"):
        interpreter.capture(python, tmp_path)


def test_an_interpreter_of_another_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="a program for x86_64, and the image is for aarch64"):
        interpreter.capture(Installed(tmp_path / "py").python, tmp_path, machine="aarch64")


def test_another_implementation_is_not_supported_yet(tmp_path: Path) -> None:
    python = msgspec.structs.replace(Installed(tmp_path / "py").python, implementation="pypy")

    with pytest.raises(UnsupportedError, match="pypy"):
        interpreter.capture(python, tmp_path)


def test_two_libraries_of_one_name_are_refused(tmp_path: Path) -> None:
    """Both would lie under one path, and one of the two users would get the other's."""
    installed = Installed(
        tmp_path / "py",
        shared=False,
        extensions={
            "_a": {"needed": ("libx.so.1",), "runpath": "$ORIGIN/../../one"},
            "_b": {"needed": ("libx.so.1",), "runpath": "$ORIGIN/../../two"},
        },
    )
    installed.put("lib/one/libx.so.1", elf64(soname="libx.so.1"))
    installed.put("lib/two/libx.so.1", elf64(soname="libx.so.1"))

    with pytest.raises(RefusedError, match=r"two libraries are called libx\.so\.1"):
        interpreter.capture(installed.python, tmp_path)


def test_the_bases_python_answers_only_where_it_is_the_same_build() -> None:
    """3.11.2 is not 3.11.7, and a debug or free-threaded build has another ABI."""
    python = Python(version="3.11.2")

    assert interpreter.fits_base(python, "3.11.2")
    assert not interpreter.fits_base(python, "3.11.7")
    assert not interpreter.fits_base(python, "")
    assert not interpreter.fits_base(msgspec.structs.replace(python, debug=True), "3.11.2")
    assert not interpreter.fits_base(msgspec.structs.replace(python, free_threaded=True), "3.11.2")


def running() -> Python:
    """The interpreter that runs this test, as a snapshot records it."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    libpython = sorted({os.path.realpath(line.split()[-1]) for line in maps if "libpython3" in line})
    return Python(
        version=platform.python_version(),
        implementation=sys.implementation.name,
        base_prefix=sys.base_prefix,
        stdlib=str(Path(os.__file__).resolve().parent),
        executable=recorded(Path(os.path.realpath(sys.executable))),
        libpython=recorded(Path(libpython[0])) if libpython else None,
    )


def test_in_a_real_base_the_captured_interpreter_is_the_one_that_answers(tmp_path: Path) -> None:
    """With Debian's own interpreter and library of the same soname beside it, which once took its place."""
    python = running()
    xy = ".".join(python.version.split(".")[:2])
    base = next((name for name in archives.BASES[:2] if archives.release(name).python_version == xy), "debian:trixie")
    with Client() as client:
        fetcher = Fetcher(client, Cache(tmp_path / "cache"))
        try:
            decided = interpreter.resolve(
                python,
                base=base,
                architecture="amd64",
                installed=(),
                sonames=["libstdc++.so.6"],
                workplace=tmp_path,
                fetcher=fetcher,
                add=["python3", f"libpython{archives.release(base).python_version}"],
            )
            packages = decided.os_packages
            wanted = [Wanted(p.name, archives.package_urls(p), p.sha256, p.size_bytes) for p in packages]
            paths = {package.sha256: path for package, path in zip(packages, fetcher.blobs(wanted), strict=True)}
        except UnreachableError as error:
            not_here(f"the archive of {base} cannot be reached ({error})")
        except RefusedError as error:
            not_here(f"this Python is newer than any base ({error})")
    entries = base_entries(decided.os_packages, paths)
    if decided.interpreter.artifact is not None:
        entries += interpreter_entries(tmp_path / decided.interpreter.artifact.name)
    if os.geteuid() != 0:
        not_here("entering a root folder by chroot takes root")
    root, sink = tmp_path / "root", io.BytesIO()
    root.mkdir()
    write_layer(sink, entries)
    subprocess.run([needs_tool("tar"), "-xf", "-", "-C", str(root)], input=sink.getvalue(), check=True)
    code = "import sys, platform, bz2, ctypes, lzma, sqlite3, ssl, zlib; print(platform.python_version(), sys.version)"

    done = subprocess.run(
        [needs_tool("chroot"), str(root), decided.interpreter.executable, "-c", code],
        env={"PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout.strip(), done.stderr) == (f"{platform.python_version()} {sys.version}", "")
