"""The modules that the running process has imported: which file each came from, and who brought it."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Iterator, Mapping

from envparity.collectors.owners import NOBODY
from envparity.collectors.record_owners import Owners
from envparity.collectors.shapes import Fact


def imported(modules: Mapping[str, object], owners: Owners, leave_out: tuple[str, ...] = ()) -> Iterator[Fact]:
    """
    Observe imported modules: those at the top of a package, and those whose owner is not that of the package that they
    lie in (a namespace, a plug-in, a file that somebody put there). All others only count.

    Nothing is imported, and no `__getattr__` of a module is asked: only what stands in it is looked at.

    Args:
        modules: `sys.modules`.
        leave_out: packages that are not the process's own business.

    Yields:
        One `module` each. `owner` is the distribution, the system's package, `stdlib`, `built-in`, or empty.
    """
    rows: dict[str, Fact] = {}
    # Sorted, so that a package comes before what lies in it; a copy, since another thread may import.
    for name, module in sorted(dict(modules).items()):
        # `__mp_main__` is another name that multiprocessing gives to `__main__`.
        if not isinstance(module, ModuleType) or name.partition(".")[0] in ("__mp_main__", *leave_out):
            continue
        file = vars(module).get("__file__")
        file = file if isinstance(file, str) else ""
        above = _row_above(rows, name)
        owner = _owner(name, file, vars(module), owners)
        if above is not None and (not file or owner == above["owner"]):
            above["count"] += 1
        elif file or owner:
            kept = "" if owner in ("stdlib", "built-in") else file
            rows[name] = {"kind": "module", "name": name, "file": kept, "owner": owner, "count": 1}
    yield from rows.values()
    yield {"kind": "section", "section": "modules"}


def files_of(modules: Mapping[str, object]) -> list[str]:
    """The file of each module that has one, as it says itself."""
    found = [vars(module).get("__file__") for module in list(modules.values()) if isinstance(module, ModuleType)]
    return [file for file in found if isinstance(file, str)]


def _row_above(rows: Mapping[str, Fact], name: str) -> Fact | None:
    while "." in name:
        name = name.rpartition(".")[0]
        if name in rows:
            return rows[name]
    return None


def _owner(name: str, file: str, inside: Mapping[str, object], owners: Owners) -> str:
    if not file:
        origin = getattr(inside.get("__spec__"), "origin", None)
        if name in sys.builtin_module_names or origin in ("built-in", "frozen"):
            return "built-in"
        return ""
    if file.startswith(owners.stdlib + "/") and "-packages/" not in file[len(owners.stdlib) :]:
        return "stdlib"
    owner = owners.distribution(file)
    return owner[1] if owner != NOBODY else ""
