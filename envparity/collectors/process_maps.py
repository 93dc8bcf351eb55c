"""The shared libraries that the running process has mapped, and which variable brought one before the loader's own."""

from __future__ import annotations

import os
import re
from typing import Iterator, Mapping

from envparity.collectors.native_libraries import inspect, named
from envparity.collectors.native_names import library
from envparity.collectors.record_owners import Owners
from envparity.collectors.shapes import Fact, Tree
from envparity.collectors.tree import gap, why

_GONE = " (deleted)"
_NO_FILES = ("/dev/", "/memfd:", "/SYSV", "/anon_hugepage", "/proc/")
# `x.cpython-311-x86_64-linux-gnu.so`, `x.abi3.so`, and a plain `_x.so`; a library is called `lib` something.
_EXTENSION = re.compile(r"(?:\.(?:cpython-|abi3|pypy)[^/]*|/(?!lib|ld-)[^/.]+)\.so$")


def mapped_files(text: str) -> list[str]:
    """
    The files that a text like `/proc/self/maps` (proc_pid_maps(5)) has mapped as code, each once, in their order. The
    name of one that is no longer there ends in ` (deleted)`.
    """
    found: dict[str, None] = {}
    for line in text.split("\n"):
        fields = line.split(None, 5)
        if len(fields) == 6 and "x" in fields[1] and fields[5].startswith("/"):
            # A line feed in a name is written as `\012`, and nothing else is changed.
            path = fields[5].replace("\\012", "\n")
            if not path.startswith(_NO_FILES):
                found[path] = None
    return list(found)


def loaded_libraries(tree: Tree, owners: Owners, environ: Mapping[str, str], own: str) -> Iterator[Fact]:
    """
    Observe what this process has mapped: each library with its owner, build-id, and the variable that overrides.

    Extension modules that their owner's RECORD lists are left out: the module and the distribution stand for them. One
    that nothing owns is named, with the role `extension`.

    Args:
        environ: the variables that the process was started with: what they say later changes no loader.
        own: the path of the interpreter itself, which is no library.

    Yields:
        One `native-library` of basis `loaded` each. One gap for a file that was replaced or removed after it was
        loaded: what runs is then not what lies there.
    """
    try:
        text = tree.read("/proc/self/maps", 64 << 20).decode("utf-8", "surrogateescape")
    except OSError as error:
        yield gap("native_libraries", "unread", why(error), "/proc/self/maps")
        return
    own = os.path.realpath(own)
    paths = [path for path in mapped_files(text) if path != own]
    owned = owners.of([path[: -len(_GONE)] if path.endswith(_GONE) else path for path in paths])
    overrides = _Overrides(tree, environ)
    for path in paths:
        gone = path.endswith(_GONE)
        path = path[: -len(_GONE)] if gone else path
        owner = owned[path]
        extension = bool(_EXTENSION.search(path))
        if extension and owner[1] and not gone:
            continue
        fact = dict(named(path, owner), basis="loaded")
        by = overrides.by(path)
        if by:
            fact["overridden_by"] = by
        if extension:
            fact["role"] = "extension"
        if gone:
            reason = "it was replaced or removed after this process had loaded it"
            yield gap("native_libraries", "unread", reason, path)
        else:
            yield from inspect(tree, path, fact)
        yield fact


class _Overrides:
    """What variables of the loader and `/etc/ld.so.preload` put before its own choice (ld.so(8))."""

    def __init__(self, tree: Tree, environ: Mapping[str, str]) -> None:
        named = {variable: re.split("[ :]", environ.get(variable, "")) for variable in ("LD_AUDIT", "LD_PRELOAD")}
        self.preloads = {name: variable for variable, names in named.items() for name in names if name}
        try:
            for name in tree.read("/etc/ld.so.preload", 1 << 16).decode("utf-8", "surrogateescape").split():
                self.preloads.setdefault(name, "/etc/ld.so.preload")
        except OSError:
            pass
        folders = re.split("[:;]", environ.get("LD_LIBRARY_PATH", ""))
        self.folders = {os.path.realpath(folder) for folder in folders if folder}

    def by(self, path: str) -> str:
        """The variable, or the file, that brought this library; empty where none did."""
        for name, variable in self.preloads.items():
            if path == os.path.realpath(name) if "/" in name else os.path.basename(path) == name:
                return variable
        return "LD_LIBRARY_PATH" if os.path.dirname(path) in self.folders else ""


def numeric_files(facts: list[Fact]) -> list[Fact]:
    """Those of the loaded libraries that can be asked about threads and kernels: BLAS, LAPACK and OpenMP."""
    return [
        fact
        for fact in facts
        if fact.get("basis") == "loaded" and fact.get("role") in ("blas", "lapack", "openmp") and library(fact["name"])
    ]
