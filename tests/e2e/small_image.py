"""A small image that really runs: this test's own Python, a release, packages, distributions."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

from envparity.oci.entries import Entry
from envparity.oci.image import BuiltImage
from envparity.oci.pack import BuiltLayer
from tests.oci.made import built, file

SLEEPING = "import time; time.sleep(3600)"
_NOT_NEEDED = re.compile(
    r"tests?|idlelib|lib2to3|tkinter|turtledemo|ensurepip|pydoc_data|(site|dist)-packages|__pycache__|distutils|unittest"
    r"|asyncio|multiprocessing|sqlite3|xml"
)
RELEASE = file("etc/os-release", b'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian"\n')
STATUS = file(
    "var/lib/dpkg/status",
    b"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\n\n"
    b"Package: zlib1g\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:1.2.13\n",
)


@functools.cache
def interpreter() -> tuple[Entry, ...]:
    """The interpreter of this test at its own path, and a link to it on the usual PATH."""
    program = Path(os.path.realpath(sys.executable))
    stdlib = Path(os.path.realpath(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix})))
    found = {program: 0o755}
    for path in stdlib.rglob("*"):
        inside = path.relative_to(stdlib).parts
        if path.is_file() and not any(map(_NOT_NEEDED.fullmatch, inside)) and path.suffix in {".py", ".so", ""}:
            found[path] = 0o644
    libraries = {program, *(path for path in found if path.suffix == ".so")}
    told = subprocess.run(["ldd", *map(str, libraries)], capture_output=True, text=True, check=False).stdout
    for library in set(re.findall(r"(?:=> |^\s*)(/\S+) \(0x", told, re.MULTILINE)):
        found[Path(library)] = 0o755
    entries = [file(str(path).lstrip("/"), path.read_bytes(), mode) for path, mode in found.items()]
    # The loader that the program names, whatever links lead to it here.
    return (*entries, Entry("usr/local/bin/python3", "link", 0o777, target=str(program)))


def distribution(name: str, version: str) -> tuple[Entry, ...]:
    """An installed distribution, where this Python looks for them."""
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    folder = f"{os.path.realpath(sys.base_prefix).lstrip('/')}/lib/python{minor}/site-packages"
    info = f"{folder}/{name}-{version}.dist-info"
    return (
        file(f"{folder}/{name}.py", b"x = 1\n"),
        file(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n".encode()),
        file(f"{info}/WHEEL", b"Wheel-Version: 1.0\nTag: py3-none-any\n"),
        file(f"{info}/RECORD", f"{name}.py,,\n{name}-{version}.dist-info/METADATA,,\n".encode()),
    )


def with_python(folder: Path, python: BuiltLayer) -> BuiltImage:
    """On the layer of the interpreter: its link and what is known of the base, and what was installed."""
    upper = (*distribution("six", "1.16.0"), *distribution("numpy_like", "1.26.4"))
    config = {
        "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "OMP_NUM_THREADS=2", "API_TOKEN=hunter2"],
        "Cmd": ["python3", "-c", SLEEPING],
    }
    return built(folder, python, (RELEASE, STATUS, interpreter()[-1]), upper, config=config)
