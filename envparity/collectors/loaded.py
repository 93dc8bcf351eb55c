"""What only the running process knows: its modules, its libraries, and what those say of their numbers."""

from __future__ import annotations

import os
import sys
from typing import Callable, Iterable

from envparity.collectors.frame import isolated, printable
from envparity.collectors.imported import files_of, imported
from envparity.collectors.numerics import built_in_libraries, numeric_libraries
from envparity.collectors.process_maps import loaded_libraries, numeric_files
from envparity.collectors.record_owners import Owners
from envparity.collectors.shapes import Fact
from envparity.collectors.switches import started_environment, switches
from envparity.collectors.tree import LocalTree


def loaded(leave_out: tuple[str, ...] = ()) -> list[Fact]:
    """
    Everything that this process knows of itself, as facts that JSON can carry: `module`, `native-library` of basis
    `loaded`, `numerics`, and `altered` files (see `Owners.altered`). Nothing is imported but the standard library, and
    no shared library is loaded.

    Args:
        leave_out: packages in `sys.modules` that are not the process's own business.
    """
    tree = LocalTree()
    facts: list[Fact] = []
    environ = started_environment()
    owners = Owners(tree, sys.path, (sys.prefix, sys.base_prefix), os.path.dirname(os.path.realpath(os.__file__)))
    libraries = list(
        isolated(facts, "native_libraries", lambda: loaded_libraries(tree, owners, environ, sys.executable))
    )
    files = numeric_files(libraries)
    mapped = [fact["path"] for fact in libraries if fact["kind"] == "native-library"]
    collectors: list[tuple[str, Callable[[], Iterable[Fact]]]] = [
        ("modules", lambda: imported(sys.modules, owners, leave_out)),
        ("distributions", lambda: owners.altered([*files_of(sys.modules), *mapped])),
        ("numerics", lambda: switches(sys.modules, environ)),
        ("numerics", lambda: numeric_libraries(files, mapped)),
        ("numerics", lambda: built_in_libraries(sys.modules, files)),
    ]
    for section, read in collectors:
        facts.extend(isolated(facts, section, read))
    return [printable(fact) for fact in [*libraries, *facts]]
