"""
The import path of an interpreter, computed: nothing of the target's is run, no `.pth` line and no `sitecustomize`.

Under `-I -S` the interpreter does not know its virtual environment (`sys.prefix` is the base's). This does what
`site.main` would do (https://docs.python.org/3/library/site.html), but for code.
"""

from __future__ import annotations

import os
import site
import sys
from typing import Iterator

from envparity.collectors.shapes import Fact, Tree
from envparity.collectors.tree import gap, why

_PTH_LIMIT = 1 << 20
_CUSTOMISE = ("sitecustomize.py", "sitecustomize/__init__.py", "usercustomize.py", "usercustomize/__init__.py")
# The first patch release of each X.Y whose `site` passes over hidden `.pth` files (gh-113659).
_SKIPS_HIDDEN = {(3, 8): 19, (3, 9): 19, (3, 10): 14, (3, 11): 8, (3, 12): 2}


def virtual_environment(tree: Tree, executable: str) -> tuple[str, bool] | None:
    """
    The prefix of the virtual environment that an interpreter belongs to, and whether it sees the base's packages.

    `executable` is absolute and its links are *not* followed: only the unfollowed path names the environment (PEP 405).
    """
    folder = os.path.dirname(executable)
    prefix = os.path.dirname(folder)
    for home in (folder, prefix):
        path = os.path.join(home, "pyvenv.cfg")
        if tree.kind(path) == "file":
            keys = pyvenv_keys(tree.read(path, _PTH_LIMIT))
            return prefix, keys.get("include-system-site-packages", "true").lower() == "true"
    return None


def pyvenv_keys(data: bytes) -> dict[str, str]:
    """The `key = value` lines of a pyvenv.cfg, keys in lower case."""
    keys = {}
    for line in data.decode("utf-8", "replace").split("\n"):
        key, equals, value = line.partition("=")
        if equals:
            keys[key.strip().lower()] = value.strip()
    return keys


def live_path(tree: Tree, variables: dict[str, str] | None = None) -> tuple[str, list[str], list[Fact], Fact]:
    """
    What `sys.path` and `sys.prefix` of this interpreter would be without `-S`: with these variables of its place
    (`PYTHONPATH`, `PYTHONNOUSERSITE`, `PYTHONUSERBASE`, `HOME`), or, where they are not known, with `-I`.

    Returns:
        The prefix, the path, and gaps: on `.pth` lines and modules that are code, which were named and not run. Last
        the fields of the interpreter that follow: `startup`, `user_site`.
    """
    facts: list[Fact] = []
    found = virtual_environment(tree, os.path.abspath(sys.executable)) if sys.executable else None
    prefix, system_site = found or (sys.prefix, True)
    given = variables or {}
    home = given.get("HOME") or os.path.expanduser("~")
    user = user_folder(given, home, "%d.%d" % sys.version_info[:2])
    counts = user_site(given, found is not None, system_site) and _runs_as_its_user()
    users = [user] if variables is not None and counts else []
    if found:
        folders = _with_prefix(prefix, [prefix]) + users
        if system_site:
            folders += _with_prefix(prefix, [prefix, *site.PREFIXES])
    else:
        folders = users + site.getsitepackages()
    first = [entry for entry in given.get("PYTHONPATH", "").split(os.pathsep) if entry]
    path = _without_doubles([os.path.abspath(entry) for entry in first + sys.path if entry])
    floor = _SKIPS_HIDDEN.get(sys.version_info[:2], 0)
    path = site_path(tree, folders, path, facts, skip_hidden=sys.version_info[2] >= floor)
    if variables is None and counts and user not in path and tree.kind(user) == "folder":
        reason = "the user's site-packages were left out, as `python -I` does"
        facts.append(gap("distributions", "not-recorded", reason, user))
    return prefix, path, facts, {"startup": startup_of(facts), "user_site": None if variables is None else counts}


def is_source_tree(tree: Tree, folder: str) -> bool:
    """Whether projects are built from this folder: what lies there of metadata was left by a build, not installed."""
    try:
        return any(tree.kind(folder + "/" + name) == "file" for name in ("pyproject.toml", "setup.py", "setup.cfg"))
    except OSError:
        return False  # who reads it names it


def startup_of(gaps: list[Fact]) -> list[str]:
    """What runs at every start, by path, of the gaps that `site_path` found."""
    return [fact["item"] for fact in gaps if fact["section"] == "python"]


def user_site(variables: dict[str, str], in_environment: bool, sees_system: bool) -> bool:
    """
    Whether the user's own site-packages count at a normal start, as `site.check_enableusersite` decides it: not in a
    virtual environment that is closed to the system, and not where PYTHONNOUSERSITE is set.
    """
    return not variables.get("PYTHONNOUSERSITE") and (not in_environment or sees_system)


def user_folder(variables: dict[str, str], home: str, minor: str) -> str:
    """The user's site-packages of Python X.Y on Linux: below PYTHONUSERBASE, else below `~/.local` (PEP 370)."""
    base = variables.get("PYTHONUSERBASE") or (home.rstrip("/") + "/.local" if home else "")
    return os.path.abspath(base) + "/lib/python" + minor + "/site-packages" if base else ""


def _runs_as_its_user() -> bool:
    """Whether this process runs as who started it; `site` leaves the user's folder out otherwise."""
    return all(
        not hasattr(os, one) or getattr(os, one)() == getattr(os, other)()
        for one, other in (("getuid", "geteuid"), ("getgid", "getegid"))
    )


def site_path(
    tree: Tree, folders: list[str], before: list[str], facts: list[Fact], skip_hidden: bool = True
) -> list[str]:
    """
    The path that `site` makes of these site-packages folders: those that exist, each followed by what its `.pth` files
    name. Lines that are code, and files that could not be read, are appended to `facts` as gaps.
    """
    path = list(before)
    for folder in folders:
        try:
            if tree.kind(folder) != "folder":
                continue
            if folder not in path:
                path.append(folder)
            names = tree.entries(folder)
        except OSError as error:
            facts.append(gap("distributions", "unread", why(error), folder))
            continue
        for name in names:
            if not name.endswith(".pth") or (skip_hidden and name.startswith(".")):
                continue
            for line in _pth_lines(tree, folder + "/" + name, facts):
                if line.startswith(("import ", "import\t")):
                    reason = "it has lines that are code; named, never run"
                    code = gap("python", "not-recorded", reason, folder + "/" + name)
                    if code not in facts:
                        facts.append(code)
                    continue
                entry = os.path.abspath(os.path.join(folder, line.rstrip()))
                if "\0" not in entry and entry not in path and tree.kind(entry) is not None:
                    path.append(entry)
    at_start = [entry + "/" + name for entry in path for name in _CUSTOMISE]
    reason = "code that runs at every start; named, never run"
    for place in at_start:
        try:
            if tree.kind(place) == "file":
                facts.append(gap("python", "not-recorded", reason, place))
        except OSError:
            continue  # who reads the folder names it
    return path


def _with_prefix(prefix: str, prefixes: list[str]) -> list[str]:
    # Debian's `site` asks whether sys.prefix differs from the base's before it names a folder.
    saved = sys.prefix, sys.exec_prefix
    sys.prefix = sys.exec_prefix = prefix
    try:
        return site.getsitepackages(prefixes)
    finally:
        sys.prefix, sys.exec_prefix = saved


def _without_doubles(entries: list[str]) -> list[str]:
    return list(dict.fromkeys(entries))


def _pth_lines(tree: Tree, path: str, facts: list[Fact]) -> Iterator[str]:
    try:
        data = tree.read(path, _PTH_LIMIT)
    except OSError as error:
        facts.append(gap("distributions", "unread", why(error), path))
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            yield line
