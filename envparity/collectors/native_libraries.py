"""Every copy of BLAS, LAPACK, OpenMP, FFT and GPU libraries that an environment could load, from files alone."""

from __future__ import annotations

import os
import re
from typing import Iterable, Iterator

from envparity.collectors.elf_notes import build_id, constants
from envparity.collectors.native_names import library
from envparity.collectors.owners import NOBODY, conda_owners, system_owners
from envparity.collectors.shapes import Fact, Native, Owner, Tree
from envparity.collectors.tree import gap, why

_SYSTEM_FOLDERS = ("/usr/local/lib", "/usr/local/cuda/lib64", "/usr/lib", "/usr/lib64", "/lib", "/lib64")
# A wheel that brings nothing but the library: its version is that of the library.
_NOTHING_ELSE = re.compile(r"nvidia-|mkl$|intel-openmp$|scipy-openblas|openblas")
_SPELT = re.compile(rb"OpenBLAS ([0-9]+\.[0-9]+[0-9.]*(?:dev)?) ")


def native_libraries(
    tree: Tree, wheels: Iterable[Native], prefixes: Iterable[str], library_path: str = "", look: bool = True
) -> Iterator[Fact]:
    """
    Observe the libraries by name: those that RECORDs list, those in `lib/` of the prefixes (conda's, and what a wheel
    puts there), in the folders of LD_LIBRARY_PATH, and in those of the system. Nothing is searched for below them.

    A link counts as the file that it leads to, and a file counts once. Each has its owner; `look` reads the build-id
    and, where no name says it, OpenBLAS's version from the file itself.

    Yields:
        One `native-library` a copy: two copies of one product are two facts. One gap for each folder or file that could
        not be read. One `section` at the end.
    """
    found: dict[str, Owner] = {}
    through: dict[str, str] = {}
    for path, name, version in wheels:
        if _kind(tree, path) == "file":
            found[tree.resolve(path)] = ("wheel", name, version)
    prefixes = list(dict.fromkeys(prefix.rstrip("/") for prefix in prefixes))
    by_variable = [folder for folder in re.split("[:;]", library_path) if folder.startswith("/")]
    for folder in [*by_variable, *(prefix + "/lib" for prefix in prefixes), *_system_folders(tree)]:
        try:
            names = tree.entries(folder) if tree.kind(folder) == "folder" else []
        except OSError as error:
            yield gap("native_libraries", "unread", why(error), folder)
            continue
        for name in names:
            if ".so" in name and library(name) and _kind(tree, folder + "/" + name) == "file":
                path = tree.resolve(folder + "/" + name)
                found.setdefault(path, NOBODY)
                if folder in by_variable:
                    through[path] = "LD_LIBRARY_PATH"
    unowned = [path for path, owner in found.items() if owner == NOBODY]
    for prefix in prefixes:
        found.update(conda_owners(tree, prefix, unowned))
    found.update(system_owners(tree, [path for path in unowned if found[path] == NOBODY]))
    if any(owner[0] == "rpm" for owner in found.values()):
        yield gap("native_libraries", "not-recorded", "which package of rpm owns a library is not read")
    for path in sorted(found):
        fact = named(path, found[path])
        if path in through:
            fact["overridden_by"] = through[path]
        if look:
            yield from inspect(tree, path, fact)
        yield fact
    yield {"kind": "section", "section": "native_libraries"}


def named(path: str, owner: Owner) -> Fact:
    """The `native-library` that the path and its owner alone say."""
    name = os.path.basename(path)
    fact: Fact = {"kind": "native-library", "name": name, "path": path, "owner_kind": owner[0], "owner": owner[1]}
    known = library(name)
    if known:
        role, product, version = known
        # Debian and conda keep each maker's `libblas.so.3` in a folder of its name, and choose one by a link.
        folder = os.path.basename(os.path.dirname(path))
        product = next((maker for maker in ("openblas", "blis", "atlas", "mkl") if folder.startswith(maker)), product)
        of_its_own = owner[0] != "wheel" or _NOTHING_ELSE.match(owner[1])
        fact.update(role=role, product=product, version=(owner[2] if of_its_own else "") or version)
    return fact


def inspect(tree: Tree, path: str, fact: Fact) -> Iterator[Fact]:
    """Add to the fact what the file itself says; a gap where it cannot be read."""
    try:
        with tree.open(path) as file:
            fact["build_id"] = build_id(file)
            if fact.get("product") == "openblas" and not fact["version"]:
                spelt = _SPELT.search(constants(file))
                fact["version"] = spelt.group(1).decode("ascii") if spelt else ""
    except OSError as error:
        yield gap("native_libraries", "unread", why(error), path)


def _kind(tree: Tree, path: str) -> str | None:
    try:
        return tree.kind(path)
    except OSError:
        return None


def _system_folders(tree: Tree) -> Iterator[str]:
    seen = set()
    for folder in _SYSTEM_FOLDERS:
        try:
            real = tree.resolve(folder)
            if real in seen or tree.kind(real) != "folder":
                continue
            seen.add(real)
            yield real
            names = tree.entries(real)
        except OSError:
            continue  # the caller looks into what is yielded, and names what it cannot read
        yield from (real + "/" + name for name in names if name.endswith(("-linux-gnu", "-linux-gnueabihf")))
