"""
Which Python answers in the image: the base's own where it is the snapshot's version, else the snapshot's, captured.

A captured interpreter lies in `/opt/python`, whatever its place was. That place is fixed, so search paths in native
files can be absolute: `$ORIGIN` of a program is found through `/proc`, which a bare chroot does not have.
"""

from __future__ import annotations

__all__ = ["Captured", "Decided", "capture", "captured", "fits_base", "glibc_floor", "is_here", "resolve"]

import hashlib
import os
import posixpath
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import msgspec

from envparity import elf
from envparity.cache import Cache
from envparity.errors import DiskFullError, RefusedError, UnsupportedError
from envparity.fetch import Fetcher
from envparity.files import replacing, translated
from envparity.oci.entries import Entry
from envparity.oci.pack import current_packer, pack
from envparity.oci.tar import write_layer
from envparity.resolvers import archives, debian, package_lists, unchanged
from envparity.values import (
    MACHINES,
    File,
    LeftOut,
    LockedArtifact,
    LockedInterpreter,
    LockedOsPackage,
    LockedSuite,
    OsPackage,
    Python,
    Substituted,
    glibc_key,
    python_xy,
)

HOME = "opt/python"
"""Where a captured interpreter lies in the image, relative to the root."""

_LIB = f"/{HOME}/lib"
_SHORT_LIB = f"/{HOME}/l"  # a link to `lib`: it fits where `$ORIGIN/../lib` stood
_SYSTEM = re.compile(r"/(usr/)?(lib|lib64|lib32)(/[^/]+-linux-gnu[^/]*)?")
_ELF_LIMIT = 1 << 30

# What serving does not need: tests, editors, installers, the texts of `help()`, what links against Python, and the
# packages of other owners.
_LEFT_FOLDERS = frozenset(
    ["dist-packages", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tkinter", "turtledemo"]
)
_LEFT_BELOW = frozenset(["test", "tests"])  # those of `ctypes`, `distutils`, `sqlite3` and `unittest`
_LEFT_TOP = re.compile(r"config-.*|turtle\.py")
_LEFT_FILES = re.compile(r".*\.(a|o|pyc|pyo)")
_LEFT_EXTENSIONS = re.compile(r"(_test|_ctypes_test|_tkinter|_xxtest|xxlimited).*")


@dataclass(frozen=True)
class Captured:
    """
    An interpreter as an artifact.

    Args:
        artifact: the file that was written, by name, size and sha256.
        executable: its path in the image.
        sonames: the libraries that the base has to bring.
        provides: those that it carries itself.
        glibc_floor: the oldest glibc that it runs with, as `2.34`.
    """

    artifact: LockedArtifact
    executable: str
    sonames: frozenset[str]
    provides: frozenset[str]
    glibc_floor: str


@dataclass(frozen=True)
class Decided:
    """The interpreter of the image, and the base that carries it."""

    interpreter: LockedInterpreter
    os_packages: tuple[LockedOsPackage, ...]
    substituted: tuple[Substituted, ...]
    left_out: tuple[LeftOut, ...]
    suites: tuple[LockedSuite, ...] = ()


def _as_it_lies(python: Python) -> Python:
    return python


def resolve(
    python: Python,
    *,
    base: str,
    architecture: str,
    installed: Iterable[OsPackage],
    sonames: Iterable[str],
    workplace: Path,
    fetcher: Fetcher,
    add: Iterable[str] = (),
    index: package_lists.Index | None = None,
    bring: Callable[[Python], Python] = _as_it_lies,
) -> Decided:
    """
    Decide on interpreter and base together, since each says what the other has to bring.

    Args:
        python: the snapshot's interpreter.
        installed: the snapshot's OS packages.
        sonames: the libraries that the wheels expect from the base.
        workplace: the folder that an artifact is written into.
        add: further packages of the base, by name.
        index: what the archive of the base holds, where that was read before.
        bring: makes the files of the interpreter lie on this machine, where they have to be captured.

    Raises:
        RefusedError: the interpreter is not here any more, not the one of the snapshot, or the base cannot carry it.
        UnsupportedError: an interpreter that is not CPython.
        And what `debian.resolve_base` raises.
    """
    _require_cpython(python)
    if index is None:
        index = package_lists.read_index(base, fetcher, architecture=architecture)
    xy = python_xy(python.version)
    needed = frozenset(sonames)
    installed = tuple(installed)
    if xy == index.release.python_version:
        own = debian.resolve_base(
            base, fetcher=fetcher, index=index, installed=installed, with_python=xy, needed_sonames=needed, add=add
        )
        if fits_base(python, package_lists.base_python_version(own.os_packages)):
            found = LockedInterpreter(kind="base", version=python.version, executable=f"/usr/bin/python{xy}")
            return Decided(found, own.os_packages, own.substituted, own.left_out, index.suites(own.os_packages))
    machine = MACHINES.get(architecture, architecture)
    brought = captured(bring(python), workplace, machine=machine, cache=fetcher.cache)
    if glibc_key(brought.glibc_floor) > glibc_key(index.release.glibc):
        raise RefusedError(
            f"the interpreter needs glibc {brought.glibc_floor}, and {base} has {index.release.glibc}",
            hint=f"name a newer base with --base: {', '.join(archives.BASES)}",
        )
    bare = debian.resolve_base(
        base,
        fetcher=fetcher,
        index=index,
        installed=installed,
        needed_sonames=(needed | brought.sonames) - brought.provides,
        add=add,
    )
    found = LockedInterpreter(
        kind="captured", version=python.version, executable=brought.executable, artifact=brought.artifact
    )
    return Decided(found, bare.os_packages, bare.substituted, bare.left_out, index.suites(bare.os_packages))


def fits_base(python: Python, base_python_version: str) -> bool:
    """Whether the base's own interpreter is the snapshot's: the exact version, and an ordinary build of it."""
    return python.version == base_python_version and not python.debug and not python.free_threaded


def is_here(python: Python) -> bool:
    """Whether the interpreter that the snapshot saw lies on this machine, so that it can be captured."""
    try:
        _the_one(python.executable, "executable")
        if python.libpython is not None:
            _the_one(python.libpython, "libpython")
    except (RefusedError, OSError):
        return False
    return True


def glibc_floor(python: Python) -> str:
    """The oldest glibc that an interpreter runs with which is here (`2.34`); empty where that is not told."""
    files = [Path(file.path) for file in (python.executable, python.libpython) if file is not None]
    return max((elf.needs(path).glibc_floor for path in files if path.is_file()), key=glibc_key, default="")


def _require_cpython(python: Python) -> None:
    if python.implementation not in {"", "cpython"}:
        raise UnsupportedError(f"an image with {python.implementation} is not supported yet", hint="use CPython")


# --- Capture ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Native:
    """One ELF file that goes along: where it is now, where it goes, and what it needs."""

    source: Path
    path: str
    needs: elf.Needs
    program: bool = False


_RULES = 2
"""Of `capture`; raised whenever it makes other bytes, so that no capture of another release is taken for ours."""


@dataclass(frozen=True)
class _Kept:
    """A capture in the cache: the places where it looked for libraries, and the state of all that it read."""

    captured: Captured
    looked_for: tuple[str, ...]
    state: str


def captured(
    python: Python, folder: Path, *, machine: str, cache: Cache, clock: Callable[[], int] = time.time_ns
) -> Captured:
    """
    The same as `capture`; of files that have not changed since (`unchanged.state`), the one that was kept then.

    Raises:
        As `capture`. A cache that is full only makes it slower.
    """
    if Path(python.stdlib).is_relative_to(folder):  # brought here for this lock alone
        return capture(python, folder, machine=machine)
    of = [python.version, python.base_prefix, python.stdlib, python.executable, python.libpython, machine]
    key = f"capture-{_RULES}-{hashlib.sha256(msgspec.json.encode([of, current_packer('gzip')])).hexdigest()}"
    kept = cache.note(key, _Kept)
    if kept is not None and kept.state == _state(python, kept.looked_for, clock()):
        artifact = kept.captured.artifact
        place = cache.checked_blob(artifact.sha256)
        if place is not None:
            there = folder / artifact.name
            there.unlink(missing_ok=True)
            there.symlink_to(place.absolute())  # to copy it takes as long as to hash it
            return kept.captured
    began_ns = clock()
    found, looked_for = _capture(python, folder, machine)
    state = _state(python, looked_for, began_ns)
    if state is not None:
        with suppress(DiskFullError):
            cache.keep((folder / found.artifact.name).read_bytes())
            cache.write_note(key, _Kept(found, looked_for, state))
    return found


def _state(python: Python, looked_for: Iterable[str], before_ns: int) -> str | None:
    """Of all files that a capture reads and of the places where it finds none; None where that cannot be told."""
    named = [file.path for file in (python.executable, python.libpython) if file is not None]
    try:
        library = [str(source) for _, source in _library_files(Path(os.path.realpath(python.stdlib)), "")]
    except OSError:
        return None
    return unchanged.state([*named, python.base_prefix, *library, *looked_for], before_ns=before_ns)


def capture(python: Python, folder: Path, *, machine: str = "x86_64") -> Captured:
    """
    Write the snapshot's own interpreter as a reproducible `.tar.gz` into `folder`; its members lie below `opt/python`.

    1. Executable and libpython are those that the snapshot saw, by sha256.
    2. Native files go along with the libraries that they find outside of the system's own folders (a libpython, what a
       conda or standalone build carries); the others are named, to come from the base.
    3. Search paths that lead to the old place are overwritten with the new one. Else a libpython of the base, with the
       same soname, would answer in the place of this one, silently and with another version.
    4. What only a debugger reads is taken out of native files: of a build with `-g` it is more than half of them.
    5. The standard library goes along without tests, editors, installers and byte code.

    It is a pure function of the interpreter's files: two captures give equal bytes.

    Raises:
        RefusedError: the files are not here, are not those of the snapshot, or cannot be moved.
        UnsupportedError: not CPython.
        UnreachableError, DiskFullError: of reading or writing.
    """
    return _capture(python, folder, machine)[0]


def _capture(python: Python, folder: Path, machine: str) -> tuple[Captured, tuple[str, ...]]:
    """The same, with the places where it looked for libraries."""
    _require_cpython(python)
    xy = python_xy(python.version)
    prefix = Path(os.path.realpath(python.base_prefix))
    stdlib = Path(os.path.realpath(python.stdlib))
    if not python.base_prefix or not python.stdlib or not stdlib.is_relative_to(prefix):
        raise RefusedError(f"the standard library of Python {python.version} does not lie below its prefix `{prefix}`")
    try:
        # 1
        program = _the_one(python.executable, "executable")
        libpython = _the_one(python.libpython, "libpython") if python.libpython is not None else None
        # 5
        inside = f"{HOME}/{stdlib.relative_to(prefix).as_posix()}"
        files = dict(_library_files(stdlib, inside))
        for landmark in ("os.py", "lib-dynload"):
            if not any(path == f"{inside}/{landmark}" or path.startswith(f"{inside}/{landmark}/") for path in files):
                raise RefusedError(f"`{stdlib}` is not a whole standard library: it has no {landmark}")
        # 2
        executable = f"{HOME}/bin/python{xy}"
        looked_for: set[str] = set()
        natives, libraries, sonames = _natives(files, program, executable, libpython, prefix, looked_for)
        if natives[0].needs.machine != machine:
            raise RefusedError(
                f"`{program}` is a program for {natives[0].needs.machine}, and the image is for {machine}"
            )
        # 3, 4
        links = {f"{HOME}/bin/python": f"python{xy}", f"{HOME}/bin/python3": f"python{xy}"}
        entries = [_file(path, source) for path, source in files.items()]
        rewritten = {native.path: _relocated(native, libraries, links) for native in natives}
        entries = [entry for entry in entries if entry.path not in rewritten] + list(rewritten.values())
        entries += [Entry(path, "link", 0o777, target=target) for path, target in links.items()]
        name = "captured.tar.gz"
        with replacing(folder / name) as stream:
            packed = pack(lambda sink: write_layer(sink, entries), current_packer("gzip"), stream)
        # Its digest in its name: an older lock beside it keeps the interpreter that it names.
        unnamed, name = (
            name,
            f"cpython-{python.version}-linux-{machine}-{packed.digest.removeprefix('sha256:')[:12]}.tar.gz",
        )
        (folder / unnamed).replace(folder / name)
    except OSError as error:
        raise translated(error, f"capture the interpreter, at `{error.filename}`") from error
    found = Captured(
        artifact=LockedArtifact(name=name, size_bytes=packed.size_bytes, sha256=packed.digest.removeprefix("sha256:")),
        executable=f"/{executable}",
        sonames=sonames,
        provides=frozenset(libraries),
        glibc_floor=max((native.needs.glibc_floor for native in natives), key=glibc_key),
    )
    return found, tuple(sorted(looked_for))


def _the_one(file: File | None, what: str) -> Path:
    again = "run `envparity lock` on the machine, and as the user, that took the snapshot; or take the snapshot again"
    if file is None:
        raise RefusedError(
            f"the snapshot does not say which {what} its Python has, so it cannot be captured", hint=again
        )
    path = Path(file.path)
    if not path.is_file():
        raise RefusedError(f"the {what} that the snapshot saw is not here: `{path}`", hint=again)
    with path.open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
            raise RefusedError(f"the {what} `{path}` has changed since the snapshot was taken", hint=again)
    return path


def _library_files(stdlib: Path, inside: str) -> Iterator[tuple[str, Path]]:
    """The files of the standard library that go along, by their path in the image. Links to files become files."""
    for folder, folders, names in os.walk(stdlib, onerror=_raise):
        relative = Path(folder).relative_to(stdlib).as_posix()
        top = relative == "."
        folders[:] = sorted(
            name
            for name in folders
            if name != "__pycache__"
            and not (name in _LEFT_FOLDERS or _LEFT_TOP.fullmatch(name) if top else name in _LEFT_BELOW)
        )
        for name in sorted(names):
            left = _LEFT_EXTENSIONS if relative == "lib-dynload" else _LEFT_TOP if top else None
            if _LEFT_FILES.fullmatch(name) or (left is not None and left.fullmatch(name)):
                continue
            source = Path(folder) / name
            if source.is_file():
                yield f"{inside}/{name}" if top else f"{inside}/{relative}/{name}", source


def _raise(error: OSError) -> None:
    raise error


def _natives(
    files: dict[str, Path],
    program: Path,
    executable: str,
    libpython: Path | None,
    prefix: Path,
    looked_for: set[str],
) -> tuple[list[_Native], dict[str, Path], frozenset[str]]:
    """
    The program first, then every ELF file; the libraries that go along by soname; what the base has to bring.
    `looked_for` gains the places where a library was looked for.
    """
    queue = [_Native(program, executable, elf.needs(program), program=True)]
    for path, source in files.items():
        with source.open("rb") as stream:
            if elf.is_elf(stream.read(4)):
                queue.append(_Native(source, path, elf.needs(source)))
    libraries: dict[str, Path] = {}
    outside: set[str] = set()
    natives: list[_Native] = []
    for native in queue:  # grows while libraries are found
        natives.append(native)
        for soname in native.needs.sonames:
            if native.program and soname.startswith("libpython") and libpython is None:
                raise RefusedError(
                    f"`{native.source}` needs {soname}, and the snapshot does not say which one answered",
                    hint="take the snapshot again, where /proc can be read",
                )
            found = _own_library(native, soname, libpython, prefix, looked_for)
            if found is None:
                outside.add(soname)
            elif soname not in libraries:
                libraries[soname] = found
                queue.append(_Native(found, f"{HOME}/lib/{soname}", elf.needs(found)))
            elif not libraries[soname].samefile(found):
                raise RefusedError(f"two libraries are called {soname}: `{libraries[soname]}` and `{found}`")
    return natives, libraries, frozenset(outside - set(libraries))


def _own_library(
    native: _Native, soname: str, libpython: Path | None, prefix: Path, looked_for: set[str]
) -> Path | None:
    """The file that answers to a soname from outside of the system's folders, or `None` where the system's does."""
    if libpython is not None and soname == libpython.name:
        return libpython
    origin = str(native.source.parent)
    folders = [Path(folder.replace("$ORIGIN", origin)) for folder in native.needs.runpath]
    for folder in (*folders, prefix / "lib"):
        place = folder / soname
        looked_for.add(str(place))
        if folder.is_absolute() and place.is_file():
            real = Path(os.path.realpath(place))
            return None if _SYSTEM.fullmatch(str(real.parent)) else real
    return None


def _relocated(native: _Native, libraries: dict[str, Path], links: dict[str, str]) -> Entry:
    """The native file as it goes into the image. `links` gains what a shortened search path needs."""
    mode = 0o755 if native.program else 0o644
    with native.source.open("rb") as stream:
        data = stream.read(_ELF_LIMIT + 1)
    if len(data) > _ELF_LIMIT:
        raise RefusedError(f"`{native.source}` is larger than the limit of {_ELF_LIMIT:,} bytes")
    own = [soname for soname in native.needs.sonames if soname in libraries]
    strange = any(not folder.startswith("$ORIGIN") and not _SYSTEM.fullmatch(folder) for folder in native.needs.runpath)
    if strange or (own and not _reaches(native)):
        changed = _with_runpath(native, data, links)
        if changed is not None:
            data = changed
        else:
            for soname in own:  # no search path, or one that is too short: the need itself becomes a path
                short = f"{HOME}/p{sorted(libraries).index(soname)}"
                data = elf.replace_needed(data, soname, f"/{short}")
                links[short] = f"lib/{soname}"
    data = elf.without_debug(data)
    return Entry(native.path, "file", mode, size_bytes=len(data), content=data)


def _reaches(native: _Native) -> bool:
    """Whether a library finds `opt/python/lib` by its own place. A program does not: see the top of this file."""
    return not native.program and any(
        posixpath.normpath(folder.replace("$ORIGIN", posixpath.dirname(native.path))) == f"{HOME}/lib"
        for folder in native.needs.runpath
    )


def _with_runpath(native: _Native, data: bytes, links: dict[str, str]) -> bytes | None:
    try:
        changed = elf.replace_runpath(data, _LIB, _SHORT_LIB)
    except RefusedError:
        return None
    if elf.needs(changed).runpath == (_SHORT_LIB,):
        links[_SHORT_LIB.lstrip("/")] = "lib"
    return changed


def _file(path: str, source: Path) -> Entry:
    with source.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        size_bytes = stream.tell()
    return Entry(path, "file", 0o644, size_bytes=size_bytes, content=partial(_opened, source))


def _opened(source: Path) -> BinaryIO:
    return source.open("rb")
