"""Distributions inside other things: copies that a package carries in itself, and eggs that are still zipped."""

from __future__ import annotations

from typing import Any, Iterator

from envparity.collectors.metadata import core_metadata, decoded, headers_of, normalised_name
from envparity.collectors.shapes import Fact, Tree
from envparity.collectors.tree import gap, why

_LIST = "/vendor.txt"
_MOST_BYTES = 1 << 20
_MOST_NAMES = 10_000


def copies_inside(tree: Tree, folder: str, fact: Fact, places: list[str] | None) -> Iterator[Fact]:
    """
    Observe the copies of other projects that a distribution carries inside its own packages: `*.dist-info` there
    (setuptools), or a `vendor.txt` of pins, as pip has it. No `import` of their names finds them. `places` are those
    that its RECORD lists, where it has one.
    """
    for place in _places_inside(tree, folder, fact) if places is None else places:
        path = folder + "/" + place
        package = place.partition("/")[0]
        try:
            if tree.kind(path) is None:
                continue  # removed to save space: nothing is there any more
            if place.endswith(_LIST):
                for name, version in pins(decoded(tree.read(path, _MOST_BYTES))[0]):
                    yield _copy({"name": name, "version": version}, package, path)
            else:
                yield _copy(core_metadata(tree, path + "/METADATA"), package, path)
        except (OSError, ValueError) as error:
            yield gap("distributions", "unread", why(error), path)


def pins(text: str) -> Iterator[tuple[str, str]]:
    """The `name==version` lines of a list of vendored projects; what is no pin is passed over."""
    for line in text.split("\n"):
        name, equals, version = line.partition("#")[0].strip().partition("==")
        if equals and name.strip() and version.strip():
            yield normalised_name(name.strip().partition("[")[0]), version.split(";")[0].split()[0]


def zipped_egg(tree: Tree, path: str, stem: str) -> Fact:
    """
    What a zipped `.egg` says of itself; where it cannot be opened, what its name says (`project-version-py3.11`).

    Nothing but its small EGG-INFO members is unpacked, each up to a limit.
    """
    name, _, rest = stem.partition("-")
    fact: Fact = {"name": normalised_name(name), "version": rest.partition("-py")[0], "requires": []}
    fact["requires_python"] = ""
    if tree.kind(path) != "file":
        return fact
    import zipfile
    import zlib

    try:
        with tree.open(path) as file, zipfile.ZipFile(file) as egg:
            for key, value in headers_of(_member(egg, "EGG-INFO/PKG-INFO")):
                if key in ("name", "version") and value:
                    fact[key] = normalised_name(value) if key == "name" else value
                elif key == "requires-dist":
                    fact["requires"].append(value)
            tops = _member(egg, "EGG-INFO/top_level.txt").split()
            fact["import_names"] = sorted({top for top in tops if top.isidentifier()})
    except (OSError, ValueError, KeyError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        pass  # its name has said enough to compare
    return fact


def _member(egg: Any, name: str) -> str:
    with egg.open(name) as file:
        data: bytes = file.read(_MOST_BYTES)
    return decoded(data.partition(b"\n\n")[0])[0]


def _places_inside(tree: Tree, folder: str, fact: Fact) -> Iterator[str]:
    for name in fact["import_names"][:_MOST_NAMES]:
        place = name.replace(".", "/") + "/_vendor"
        try:
            names = tree.entries(folder + "/" + place) if tree.kind(folder + "/" + place) == "folder" else []
        except OSError:
            continue
        yield from (place + "/" + entry for entry in names if entry.endswith(".dist-info") or "/" + entry == _LIST)


def _copy(found: Fact, package: str, path: str) -> Fact:
    return {
        "kind": "distribution",
        "name": found["name"],
        "version": found["version"],
        "form": "dist-info" if path.endswith(".dist-info") else "vendor.txt",
        "location": path,
        "vendored_in": package,
        "requires": found.get("requires", []),
    }
