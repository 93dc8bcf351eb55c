"""Who brought a file: the package of the operating system or of conda, by their own lists of files."""

from __future__ import annotations

from typing import Dict, Iterable, List

from envparity.collectors.shapes import Owner, Tree

NOBODY: Owner = ("", "", "")
_INFO = "/var/lib/dpkg/info"
_APK = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")
_RPM = ("/var/lib/rpm", "/usr/lib/sysimage/rpm")
_LIST_LIMIT = 64 << 20


def system_owners(tree: Tree, paths: Iterable[str]) -> Dict[str, Owner]:
    """
    The operating system's package of each file that one owns: dpkg's `info/*.list` (dpkg-query(1), FILES), or apk's
    database. Where there is only rpm's database, the kind is `rpm` and the name empty: which of its packages is not
    read. Paths have their links resolved; a path that is not in the answer has no owner.
    """
    # Other places are nobody's, and that they are nobody's would cost a look into every list.
    wanted = [path for path in paths if path.startswith(("/usr/", "/lib", "/opt/")) and "/usr/local/" not in path]
    if not wanted:
        return {}
    if _is_there(tree, _INFO):
        return _of_dpkg(tree, wanted)
    for database in _APK:
        if _is_there(tree, database):
            return _of_apk(tree, database, wanted)
    if any(_is_there(tree, folder) for folder in _RPM):
        return {path: ("rpm", "", "") for path in wanted if path.startswith(("/usr/lib", "/lib"))}
    return {}


def conda_owners(tree: Tree, prefix: str, paths: Iterable[str]) -> Dict[str, Owner]:
    """The conda package of each file below a prefix that one owns, by the list of files in `conda-meta/*.json`."""
    start = prefix.rstrip("/") + "/"
    wanted = {
        path: b'"%s"' % path[len(start) :].encode("utf-8", "surrogateescape")
        for path in paths
        if path.startswith(start)
    }
    found: Dict[str, Owner] = {}
    folder = start + "conda-meta"
    if not wanted or not _is_there(tree, folder):
        return found
    names = [name for name in tree.entries(folder) if name.endswith(".json") and name.count("-") > 1]
    # The package is mostly called like its library; only where it is not, all lists are read.
    stems = tuple(path.rpartition("/")[2].partition(".")[0].rstrip("0123456789")[:6] for path in wanted)
    for name in sorted(names, key=lambda name: not name.startswith(stems)):
        if len(found) == len(wanted):
            break
        try:
            data = tree.read(folder + "/" + name, _LIST_LIMIT)
        except OSError:
            continue
        package, version, _ = name.rsplit("-", 2)
        for path, text in wanted.items():
            if path not in found and text in data:
                found[path] = ("conda", package, version)
    return found


def _of_dpkg(tree: Tree, wanted: list[str]) -> Dict[str, Owner]:
    found: Dict[str, Owner] = {}
    try:
        names = [name for name in tree.entries(_INFO) if name.endswith(".list")]
    except OSError:
        return found
    stems = tuple({path.rpartition("/")[2].partition(".so")[0].rstrip("0123456789.-") for path in wanted})
    waiting = {path: _spellings(path) for path in wanted}
    # The package is mostly called like its library, else like any library; only where neither is, all lists are read.
    for name in sorted(names, key=lambda name: (not name.startswith(stems), "lib" not in name[:4])):
        if not waiting:
            break
        try:
            data = b"\n" + tree.read(_INFO + "/" + name, _LIST_LIMIT)
        except OSError:
            continue
        for path in [path for path, spellings in waiting.items() if any(text in data for text in spellings)]:
            found[path] = ("dpkg", name[:-5].partition(":")[0], "")
            del waiting[path]
    return found


def _spellings(path: str) -> List[bytes]:
    # dpkg knows a file under the name with which its package was built, before /lib became a link to /usr/lib.
    other = path[4:] if path.startswith("/usr/lib") else "/usr" + path
    return [b"\n" + text.encode("utf-8", "surrogateescape") + b"\n" for text in (path, other)]


def _of_apk(tree: Tree, database: str, wanted: list[str]) -> Dict[str, Owner]:
    # https://wiki.alpinelinux.org/wiki/Apk_spec: P is the package, F a folder, and each R after it a file in it.
    found: Dict[str, Owner] = {}
    try:
        text = tree.read(database, _LIST_LIMIT).decode("utf-8", "surrogateescape")
    except OSError:
        return found
    names = set(wanted) | {path[4:] for path in wanted if path.startswith("/usr/lib")}
    package = version = folder = ""
    for line in text.split("\n"):
        key, value = line[:2], line[2:]
        if key == "P:":
            package, version = value, ""
        elif key == "V:":
            version = value
        elif key == "F:":
            folder = "/" + value + "/"
        elif key == "R:" and folder + value in names:
            path = folder + value
            found[path if path in wanted else "/usr" + path] = ("apk", package, version)
    return found


def _is_there(tree: Tree, path: str) -> bool:
    try:
        return tree.kind(path) is not None
    except OSError:
        return False
