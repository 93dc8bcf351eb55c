"""What an import of a name really finds: the first on the path wins, whoever put it there."""

from __future__ import annotations

from typing import Iterable

from envparity.collectors.records import module_name
from envparity.collectors.shapes import Fact, Tree


class Earlier:
    """The folders of the path that come before the one that is looked at, with what could be a module in each."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.folders: list[tuple[str, set[str]]] = []

    def add(self, folder: str, names: Iterable[str]) -> None:
        """One more folder, with the names in it."""
        self.folders.append((folder, {name.partition(".")[0] for name in names}))

    def finds(self, name: str) -> str:
        """The file that an import of this dotted name would take from these folders; empty if from none."""
        parts = name.split(".")
        for folder, tops in self.folders:
            if parts[0] in tops:
                place = _found_in(self.tree, folder, parts)
                if place:
                    return place
        return ""


def shadowing(
    earlier: Earlier, folder: str, names: set[str], fact: Fact, modules: Iterable[str] = ()
) -> dict[str, str]:
    """
    Import names of a distribution in `folder` -> the file that wins each of them, where it is not the distribution's.
    `modules` are those of its import names of which it has no folder.

    Besides earlier folders that is a package beside a single module of the same name: `six/__init__.py` wins over
    `six.py` (https://docs.python.org/3/reference/import.html, `FileFinder` asks for the package first).
    """
    found = {}
    for name in fact.get("import_names", ()):
        place = earlier.finds(name)
        if not place and name in names and name + ".py" in names and name in modules:
            package = folder + "/" + name + "/__init__.py"
            place = package if earlier.tree.kind(package) == "file" else ""
        if place:
            found[name] = place
    return found


def _found_in(tree: Tree, folder: str, parts: list[str]) -> str:
    for part in parts:
        below = folder + "/" + part
        if tree.kind(below) == "folder":
            if tree.kind(below + "/__init__.py") == "file":
                return below + "/__init__.py"
            compiled = [name for name in tree.entries(below) if name.startswith("__init__.")]
            for name in compiled:
                if module_name(name) == "__init__":
                    return below + "/" + name
        if tree.kind(below + ".py") == "file":
            return below + ".py"
        for name in tree.entries(folder):
            if name.startswith(part + ".") and module_name(name) == part and tree.kind(folder + "/" + name) == "file":
                return folder + "/" + name
        if tree.kind(below) != "folder":
            return ""
        folder = below  # a namespace package: what lies deeper decides
    return ""
