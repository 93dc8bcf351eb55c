"""Real conda environments without a channel: packages made here, indexed, solved and installed by rattler."""

from __future__ import annotations

import asyncio
import bz2
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard

from envparity.values import LockedCondaPackage
from tests.elves import elf64
from tests.tools import needs_tool
from tests.values import SOME_SHA256


def package(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, bytes] | None = None,
    depends: Sequence[str] = (),
    *,
    build: str = "h1_0",
    ending: str = ".conda",
    built_in: str = "",
    entry_points: Sequence[str] | None = None,
    programs: Collection[str] = (),
    kept: Collection[str] = (),
) -> None:
    """
    A package in either of conda's forms, for this machine. Where a file holds `built_in`, that is the prefix of its
    build; with `entry_points` it is for every Python; `programs` may be executed, and nothing is said of `kept` files
    (https://docs.conda.io/projects/conda/en/stable/user-guide/concepts/packages.html).
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = files or {f"share/{name}.txt": name.encode()}
    index = {"name": name, "version": version, "build": build, "build_number": 0, "depends": list(depends)}
    paths = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_in_bytes": len(data),
            **({} if path in kept else prefixed(data, built_in)),
        }
        for path, data in files.items()
    ]
    if entry_points is not None:
        index["noarch"] = "python"
    info = {
        "info/index.json": json.dumps({**index, "subdir": folder.name}).encode(),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}).encode(),
    }
    if entry_points is not None:
        link = {"noarch": {"type": "python", "entry_points": list(entry_points)}, "package_metadata_version": 1}
        info["info/link.json"] = json.dumps(link).encode()
    stem = f"{name}-{version}-{build}"
    if ending == ".tar.bz2":
        (folder / f"{stem}.tar.bz2").write_bytes(bz2.compress(_tar({**info, **files}, programs)))
        return
    with zipfile.ZipFile(folder / f"{stem}.conda", "w") as archive:
        archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
        archive.writestr(f"pkg-{stem}.tar.zst", zstandard.compress(_tar(files, programs)))
        archive.writestr(f"info-{stem}.tar.zst", zstandard.compress(_tar(info)))


def locked(package: Path, *, name: str = "demo", noarch: str = "") -> LockedCondaPackage:
    """A package that lies here, as a lock promises it."""
    return LockedCondaPackage(
        name=name,
        version="1.0",
        build="h1_0",
        channel="https://channel.example/main",
        subdir="linux-64",
        file_name=package.name,
        url=f"https://channel.example/main/linux-64/{package.name}",
        size_bytes=package.stat().st_size,
        sha256=SOME_SHA256,
        state="proven",
        noarch=noarch,
    )


def prefixed(data: bytes, built_in: str) -> dict[str, str]:
    """What `paths.json` says of a file in which the prefix of its build stands."""
    if not built_in or built_in.encode() not in data:
        return {}
    return {"prefix_placeholder": built_in, "file_mode": "binary" if b"\0" in data else "text"}


def _tar(files: Mapping[str, bytes], programs: Collection[str] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o755 if name in programs else 0o644
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def installed(channel: Path, prefix: Path, *specs: str) -> Path:
    """What rattler makes of these specifications and this channel: a solved environment, with its records."""
    rattler: Any = pytest.importorskip("rattler", reason="py-rattler is not installed")

    async def make() -> None:
        records = await rattler.solve(
            sources=[rattler.Channel(channel.as_uri())],
            specs=specs,
            platforms=[subdir(), "noarch"],
            virtual_packages=rattler.VirtualPackage.detect(),
        )
        # It takes what the binding holds, not the binding's own class.
        wanted = [rattler.MatchSpec(spec)._match_spec for spec in specs]
        await rattler.install(
            records,
            prefix,
            cache_dir=channel.parent / "cache",
            show_progress=False,
            requested_specs=wanted,
        )

    (channel / "noarch").mkdir(parents=True, exist_ok=True)
    indexed(channel)
    asyncio.run(make())
    return prefix


def python_package(folder: Path) -> None:
    """The Python that runs the tests as a package named `python`, without what no program needs to start."""
    base = Path(sys.base_prefix)
    if base == Path("/usr"):
        pytest.skip("this Python lies among the files of the system, and cannot be packed by its prefix")
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    files = {f"bin/{name}": Path(os.path.realpath(base / "bin" / name)).read_bytes()}
    files |= {f"bin/{link}": files[f"bin/{name}"] for link in ("python", "python3")}
    for library in sorted((base / "lib").glob("libpython3*.so.*")):
        files[f"lib/{library.name}"] = library.read_bytes()
    for path in sorted((base / "lib" / name).rglob("*")):
        parts = path.relative_to(base / "lib" / name).parts
        if path.is_file() and not _UNNEEDED.intersection(parts) and path.suffix not in {".pyc", ".a"}:
            files[path.relative_to(base).as_posix()] = path.read_bytes()
    version = ".".join(map(str, sys.version_info[:3]))
    # A linker may let the version that Python states be the end of the prefix that it was built in.
    package(
        folder,
        "python",
        version,
        files,
        ["__glibc >=2.17"],
        build="h1_cpython",
        built_in=str(base),
        programs=[path for path in files if path.startswith("bin/")],
        kept=[path for path in files if path.startswith("lib/libpython")],
    )


_UNNEEDED = {
    "site-packages",
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "ensurepip",
    "tkinter",
    "turtledemo",
    "__pycache__",
}


def subdir() -> str:
    """The folder of a channel that this machine's packages lie in."""
    return {"x86_64": "linux-64", "aarch64": "linux-aarch64"}[os.uname().machine]


def with_python(prefix: Path) -> Path:
    """Put a working Python into a prefix, as conda's package has it: the executable itself, and its library around."""
    base = Path(sys.base_prefix)
    folder = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    (prefix / "bin").mkdir(exist_ok=True)
    library = prefix / "lib" / folder
    (library / "site-packages").mkdir(parents=True, exist_ok=True)
    for entry in (base / "lib" / folder).iterdir():
        if entry.name not in {"site-packages", "dist-packages"}:
            (library / entry.name).symlink_to(entry)
    shutil.copy2(os.path.realpath(base / "bin" / folder), prefix / "bin" / folder)
    (prefix / "bin" / "python").symlink_to(folder)
    return library / "site-packages"


BUILT_IN = "/opt/builds/placehold_placehold_placehold_placehold_placehold"
"""The prefix that the demonstration packages were built in."""


def demo_channel(folder: Path) -> Path:
    """
    A channel of three real packages: the Python that runs the tests, a library and a program with a prefix in them (in
    the older of the two forms), and modules for every Python with an entry point, which load that library. Some of it
    serves nobody: a test, a manual, a static library.
    """
    compiler = needs_tool("cc")
    place = folder / subdir()
    python_package(place)
    source, library = folder / "demo.c", folder / "libdemo.so.1"
    source.write_text(f'const char *where(void) {{ return "{BUILT_IN}/share/demo"; }}\n')
    command = [compiler, "-shared", "-fPIC", "-Wl,-soname,libdemo.so.1", "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    files = {"lib/libdemo.so.1": library.read_bytes(), "bin/demo-config": f"#!/bin/sh\necho {BUILT_IN}\n".encode()}
    files |= {"lib/libdemo.a": b"!<arch>\n", "share/man/man1/demo.1": b".TH DEMO\n"}
    library.unlink()
    source.unlink()
    package(place, "libdemo", "1.2", files, built_in=BUILT_IN, programs=["bin/demo-config"], ending=".tar.bz2")
    code = (
        "import ctypes, os, sys\n\n\n"
        "def where():\n"
        '    library = ctypes.CDLL(os.path.join(sys.prefix, "lib", "libdemo.so.1"))\n'
        "    library.where.restype = ctypes.c_char_p\n"
        "    return library.where().decode()\n\n\n"
        "def main():\n"
        "    print(where())\n"
    )
    info = "site-packages/where_demo-1.0.dist-info"
    modules = {
        "site-packages/where_demo/__init__.py": code.encode(),
        "site-packages/where_demo/tests/test_where.py": b"from where_demo import where\n",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: where-demo\nVersion: 1.0\n",
        f"{info}/INSTALLER": b"conda\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = "".join(f"{path.removeprefix('site-packages/')},,\n" for path in (*modules, f"{info}/RECORD"))
    modules[f"{info}/RECORD"] = rows.encode()
    script = ["where-demo = where_demo:main"]
    requires = ["python", "libdemo >=1.2"]
    package(folder / "noarch", "where-demo", "1.0", modules, requires, build="pyh1_0", entry_points=script)
    return folder


def old_six(folder: Path) -> None:
    """A package that brings a distribution which pip will replace, with a module that the newer one does not have."""
    info = "site-packages/six-1.16.0.dist-info"
    files = {
        "site-packages/six.py": b'__version__ = "1.16.0"\n',
        "site-packages/six_old.py": b"old = True\n",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\n",
        f"{info}/INSTALLER": b"conda\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = "".join(f"{path.removeprefix('site-packages/')},,\n" for path in (*files, f"{info}/RECORD"))
    package(
        folder, "six", "1.16.0", {**files, f"{info}/RECORD": rows.encode()}, ["python"], build="pyh1_0", entry_points=[]
    )


OTHER = {"linux-64": "linux-aarch64", "linux-aarch64": "linux-64"}
"""The platform that this machine is not."""


def other_machine(channel: Path, *, version: str = "") -> Path:
    """
    The native packages of the demonstration for the other processor: files of its kind that nothing runs, and as much
    of a standard library as byte code is made of. Their builds have other names, as those of a channel have.
    """
    place = channel / OTHER[subdir()]
    machine = {"linux-aarch64": 183, "linux-64": 62}[place.name]
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    version = version or ".".join(map(str, sys.version_info[:3]))
    program = elf64(needed=("libc.so.6", "libm.so.6"), machine=machine) + f"\0{version}\0".encode()
    library = Path(sys.base_prefix) / "lib" / name
    files = {f"bin/{link}": program for link in (name, "python3", "python")}
    files |= {f"lib/{name}/{module}.py": (library / f"{module}.py").read_bytes() for module in ("os", "site", "stat")}
    programs = [path for path in files if path.startswith("bin/")]
    package(place, "python", version, files, ["__glibc >=2.17"], build="h7_cpython", programs=programs)
    library_file = elf64(soname="libdemo.so.1", needed=("libc.so.6",), machine=machine)
    config = {"lib/libdemo.so.1": library_file, "bin/demo-config": f"#!/bin/sh\necho {BUILT_IN}\n".encode()}
    package(place, "libdemo", "1.2", config, build="h5_0", built_in=BUILT_IN, programs=["bin/demo-config"])
    return place


def indexed(channel: Path) -> Path:
    """The same channel, with a list of what lies in it."""
    index: Any = pytest.importorskip("rattler.index", reason="py-rattler is not installed")
    asyncio.run(index.index_fs(channel))
    return channel
