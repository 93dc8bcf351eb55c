"""What runs in the live place: all collectors, one isolated from the other, and one framed answer."""

from __future__ import annotations

import os
import sys
from typing import Callable, Iterable

from envparity.collectors.accelerators import accelerators
from envparity.collectors.conda import conda_packages
from envparity.collectors.cpu import cpu
from envparity.collectors.distributions import Reading, distributions
from envparity.collectors.dpkg import os_packages
from envparity.collectors.frame import answer, isolated
from envparity.collectors.native_libraries import native_libraries
from envparity.collectors.paths import is_source_tree, live_path
from envparity.collectors.running import interpreter, own_files
from envparity.collectors.shapes import Fact, Native
from envparity.collectors.surroundings import by_files, by_variables, fonts, surroundings
from envparity.collectors.system import host, system
from envparity.collectors.tree import LocalTree


def collect(
    path: list[str] | None = None, verify_files: bool = False, variables: dict[str, str] | None = None
) -> list[Fact]:
    """
    Everything that the collectors know of this machine and this interpreter, as facts; a text in them may hold bytes
    that are no Unicode (see `printable`).

    Args:
        path: the import path, where the caller knows it (`sys.path` of a process that started normally); else it is
            computed as `site` would have made it. Of source trees that only that process has on its path the modules
            count, and not the metadata that was left there.
        verify_files: also hash every file that a RECORD lists.
        variables: those of the place, where the caller knows them: what decides the import path (`paths.live_path`),
            and what texts, times and connections depend on (`surroundings.by_variables`).
    """
    tree = LocalTree()
    facts: list[Fact] = []
    prefix = sys.prefix
    folders, more = list(sys.path), {}
    computed = list(isolated(facts, "distributions", lambda: [live_path(tree, variables)]))
    if computed:
        prefix, folders, gaps, more = computed[0]
        facts.extend(gaps)
    sources = [entry for entry in path or () if entry not in folders and is_source_tree(tree, entry)]
    folders = [os.path.abspath(entry) for entry in (folders if path is None else path)]
    # First of all, since it may fork, and the next line starts a thread.
    begun = list(isolated(facts, "distributions", lambda: [Reading(tree, folders, verify_files, True, sources)]))
    digests = list(isolated(facts, "python", lambda: own_files(tree)))
    natives: list[Native] = []
    collectors: list[tuple[str, Callable[[], Iterable[Fact]]]] = [
        ("system", lambda: system(tree, live=True)),
        ("system", lambda: surroundings(tree, prefix)),
        ("system", lambda: by_files(tree) if variables is None else by_variables(tree, variables)),
        ("system", lambda: fonts(tree, folders)),
        ("host", lambda: host(tree)),
        ("cpu", lambda: cpu(tree)),
        ("accelerators", lambda: accelerators(tree)),
        ("distributions", lambda: distributions(tree, folders, verify_files, natives, *begun)),
        ("conda_packages", lambda: conda_packages(tree, (prefix, sys.base_prefix))),
        ("os_packages", lambda: os_packages(tree)),
        (
            "native_libraries",
            lambda: native_libraries(tree, natives, (prefix, sys.base_prefix), os.environ.get("LD_LIBRARY_PATH", "")),
        ),
        ("python", lambda: interpreter(tree, prefix, folders, more, digests)),
    ]
    for section, read in collectors:
        facts.extend(isolated(facts, section, read))
    return facts


def main(
    nonce: str, verify_files: bool, variables: dict[str, str] | None = None, path: list[str] | None = None
) -> None:
    """Answer with everything that the collectors know of this place (see `frame.answer`)."""
    answer(nonce, lambda: collect(path, verify_files, variables))
