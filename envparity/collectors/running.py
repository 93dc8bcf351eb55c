"""The running interpreter: version, ABI, platform tags, and the files that it is made of."""

from __future__ import annotations

import _thread
import importlib.machinery
import os
import sys
from typing import Callable, Iterator

from envparity.collectors.build import configure_flags, has_jit, mapped_files, running_libraries
from envparity.collectors.shapes import Fact, Tree
from envparity.collectors.system import running_libc
from envparity.collectors.tree import gap, why

# Where each architecture's manylinux tags begin, and the names that they had before PEP 600.
_FIRST_GLIBC = {"x86_64": 5, "i686": 5, "aarch64": 17, "ppc64le": 17, "s390x": 17, "riscv64": 17, "loongarch64": 17}
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


def interpreter(
    tree: Tree,
    prefix: str,
    path: list[str],
    more: Fact | None = None,
    digests: list[tuple[str, str, Callable[[], str]]] | None = None,
) -> Iterator[Fact]:
    """
    Observe the interpreter that runs this. `prefix` and `path` are the computed ones (see `paths.live_path`), and so
    are `more` fields of it. Switches of the process are not read: they are those of the probe.

    `executable` and `libpython` are named with their links followed, and with the sha256 of the file, so that a later
    step can tell whether they are still the ones that were seen; `digests` is what `own_files` gave, if it was asked.
    """
    build, compiler = _version_pieces(sys.version)
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0] if importlib.machinery.EXTENSION_SUFFIXES else ""
    libc = running_libc(tree)
    fact: Fact = {
        "kind": "python",
        "version": sys.version.split()[0].rstrip("+"),
        "implementation": sys.implementation.name,
        "build": build,
        "compiler": compiler,
        "soabi": suffix.strip(".").partition(".")[0] if suffix.count(".") > 1 else "",
        "debug": hasattr(sys, "gettotalrefcount"),
        "free_threaded": "t" in getattr(sys, "abiflags", ""),
        "platform_tags": platform_tags(libc.get("libc", ""), libc.get("libc_version", "")),
        "prefix": prefix,
        "base_prefix": sys.base_prefix,
        "stdlib": os.path.dirname(os.path.realpath(os.__file__)),
        "path": path,
    }
    fact["configure"] = configure_flags(tree, fact["stdlib"])
    available = getattr(getattr(sys, "_jit", None), "is_available", None)  # 3.14 and newer
    fact["jit"] = bool(available()) if available else has_jit(fact["configure"])
    fact["libraries"] = running_libraries(tree)
    fact.update(more or {})
    executable = os.path.realpath(sys.executable) if sys.executable else ""
    fact["provenance"] = provenance(tree, executable, sys.base_prefix)
    for key, place, digest in digests or own_files(tree):
        try:
            fact[key] = {"path": place, "sha256": digest()}
        except OSError as error:
            yield gap("python", "unread", why(error), place)
    yield fact


def own_files(tree: Tree) -> list[tuple[str, str, Callable[[], str]]]:
    """
    `executable` and `libpython` of this interpreter: the field, the path, and a function that gives the sha256. Hashing
    begins at once on a thread of its own (a libpython has 25 MB): who asks last waits least.
    """
    executable = os.path.realpath(sys.executable) if sys.executable else ""
    places = [("executable", executable), ("libpython", _mapped_libpython(tree))]
    return [(key, place, _begun(tree, place)) for key, place in places if place]


def _begun(tree: Tree, place: str) -> Callable[[], str]:
    done: list[str | OSError] = []
    turn = _thread.allocate_lock()
    turn.acquire()

    def work() -> None:
        try:
            done.append(tree.sha256(place))
        except OSError as error:
            done.append(error)
        finally:
            turn.release()

    def digest() -> str:
        turn.acquire()
        found = done[0]
        if isinstance(found, OSError):
            raise found
        return found

    try:
        _thread.start_new_thread(work, ())
    except RuntimeError:  # no more threads may be started here
        work()
    return digest


def provenance(tree: Tree, executable: str, base_prefix: str) -> str:
    """Who built this Python: `conda`, `debian`, `pyenv`, `uv` (python-build-standalone), `homebrew` or `other`."""
    version = os.path.basename(executable)
    if tree.kind(base_prefix + "/conda-meta") == "folder":
        return "conda"
    if base_prefix == "/usr" and any(
        tree.kind("/var/lib/dpkg/info/%s%s.list" % (version, ending)) == "file" for ending in ("-minimal", "-nopie", "")
    ):
        return "debian"
    if base_prefix == "/usr" and tree.kind("/usr/lib/python3/dist-packages") == "folder":
        return "debian"
    if "/pyenv/versions/" in base_prefix.replace("/.pyenv/", "/pyenv/"):
        return "pyenv"
    if "/uv/python/" in base_prefix or os.path.basename(base_prefix).startswith("cpython-3"):
        return "uv"
    return "homebrew" if "/Cellar/" in base_prefix else "other"


def platform_tags(libc: str, libc_version: str) -> list[str]:
    """
    The platform tags of wheels that this interpreter can load, in the order of `packaging.tags.platform_tags`
    (https://packaging.python.org/specifications/platform-compatibility-tags/).
    """
    if not sys.platform.startswith("linux"):
        import sysconfig

        return [sysconfig.get_platform().replace("-", "_").replace(".", "_")]
    machine = os.uname().machine
    if sys.maxsize <= 1 << 32:
        machine = {"x86_64": "i686", "aarch64": "armv8l"}.get(machine, machine)
    tags = ["linux_" + machine]
    major, minor = [*libc_version.split("."), "", ""][:2]
    if libc == "glibc" and minor.isdigit() and machine in _FIRST_GLIBC:
        for number in range(int(minor), _FIRST_GLIBC[machine] - 1, -1):
            tags.append("manylinux_%s_%d_%s" % (major, number, machine))
            if number in _LEGACY:
                tags.append("%s_%s" % (_LEGACY[number], machine))
    if libc == "musl" and minor.isdigit():
        tags += ["musllinux_%s_%d_%s" % (major, number, machine) for number in range(int(minor), -1, -1)]
    return tags


def _version_pieces(version: str) -> tuple[str, str]:
    """`3.11.2 (main, Apr 28 2025, 14:11:48) [GCC 12.2.0]`: what is in the parentheses, and what is in the brackets."""
    build = version.partition("(")[2].partition(")")[0]
    return build, version.rpartition("[")[2].partition("]")[0].strip() if "[" in version else ""


def _mapped_libpython(tree: Tree) -> str:
    """The libpython that the loader really mapped; empty where the interpreter is linked statically."""
    return next((path for path in mapped_files(tree) if os.path.basename(path).startswith("libpython")), "")
