"""The interpreter of a tree that is only read: found through PATH, its version read from its bytes, nothing started."""

from __future__ import annotations

import os
import re
import struct
from typing import Iterator

from envparity.collectors.build import configure_flags, has_jit
from envparity.collectors.paths import (
    pyvenv_keys,
    site_path,
    startup_of,
    user_folder,
    user_site,
    virtual_environment,
)
from envparity.collectors.running import provenance
from envparity.collectors.shapes import Fact, Tree
from envparity.collectors.system import machine_of
from envparity.collectors.tree import gap, why

_LIMIT = 256 << 20
# A pattern that begins with plain characters is looked for fifty times as fast: so what stands before is asked later.
_VERSION = re.compile(rb"(3\.(?<![0-9.]3\.)[0-9]{1,2}\.[0-9]{1,3}(?:(?:a|b|rc)[0-9]+)?)\+?\x00")
_TRIPLETS = {
    "x86_64": "x86_64-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
    "i686": "i386-linux-gnu",
    "armv7l": "arm-linux-gnueabihf",
    "ppc64le": "powerpc64le-linux-gnu",
    "s390x": "s390x-linux-gnu",
    "riscv64": "riscv64-linux-gnu",
}


def image_interpreter(
    tree: Tree,
    env_path: str,
    library_path: str = "",
    program: str = "",
    variables: dict[str, str] | None = None,
    home: str = "",
) -> Iterator[Fact]:
    """
    Observe the Python that a container of this tree would start.

    The patch version is that of the file which holds the interpreter: the executable, or the libpython that the loader
    would pick for it (RPATH, `library_path`, RUNPATH, `ld.so.cache`, the default folders), which need not be the one
    that it was built with. `path` holds the folders of distributions as `site` would find them.

    Args:
        env_path: PATH of the image's configuration.
        library_path: its LD_LIBRARY_PATH.
        program: the Python that the image starts, where it names one by its path; what is not there does not count.
        variables: all of its variables, where they are known; `PYTHONPATH` and the user's site-packages then count.
        home: the home of the user that it starts as.
    """
    executable, *others = pythons_on_path(tree, env_path, program) or [""]
    if not executable:
        yield gap("python", "not-recorded", "there is no Python on its PATH (%s)" % env_path)
        return
    try:
        real = tree.resolve(executable)
        data = tree.read(real, _LIMIT)
    except OSError as error:
        yield gap("python", "unread", why(error), executable)
        return
    fact: Fact = {"kind": "python", "executable": {"path": real, "sha256": tree.sha256(real)}}
    name = os.path.basename(real)
    if data[:4] != b"\x7fELF":
        yield gap("python", "unread", "it is no ELF file, and nothing is run to ask it", executable)
        return
    if name.startswith("pypy"):
        yield dict(fact, implementation="pypy")
        yield gap("python", "unread", "the version of PyPy is not read from its file", executable)
        return
    fact["implementation"] = "cpython"
    needed, rpath, runpath = dynamic_section(data)
    library = next((soname for soname in needed if soname.startswith("libpython")), "")
    minor = _minor(library) or _minor(name)
    if library:
        place = _loaded(tree, library, real, machine_of(data), (rpath, library_path, runpath))
        data = b""
        if place:
            fact["libpython"] = {"path": place, "sha256": tree.sha256(place)}
            data = tree.read(place, _LIMIT)
        else:
            yield gap("python", "unread", "it needs %s, which no folder that its loader looks into has" % library, real)
    versions = sorted({match.decode("ascii") for match in _VERSION.findall(data)})
    versions = [version for version in versions if not minor or _minor(version) == minor]
    if len(versions) == 1:
        fact["version"] = versions[0]
        minor = _minor(versions[0])
    elif data:
        said = "several versions (%s)" % ", ".join(versions[:5]) if versions else "no version"
        yield gap("python", "unread", "its bytes say %s" % said, real)
    if minor:
        facts: list[Fact] = []
        user = (variables, user_folder(variables, home, minor)) if variables is not None else None
        fact["prefix"], fact["base_prefix"], fact["path"], fact["user_site"] = image_paths(
            tree, executable, minor, facts, user
        )
        fact["startup"] = startup_of(facts)
        fact["stdlib"] = fact["base_prefix"] + "/lib/python" + minor
        fact["provenance"] = provenance(tree, real, fact["base_prefix"])
        fact.update(_abi(tree, fact["stdlib"] + "/lib-dynload"))
        fact["configure"] = configure_flags(tree, fact["stdlib"])
        fact["jit"] = has_jit(fact["configure"]) if fact["configure"] else None
        yield from facts
    fact["others"] = others
    yield fact
    yield gap(
        "python",
        "not-recorded",
        "compiler, build, linked libraries and platform tags are known to a running interpreter only",
        "build",
    )


def python_on_path(tree: Tree, env_path: str) -> str:
    """The first of `pythons_on_path`; empty if there is none."""
    return next(iter(pythons_on_path(tree, env_path)), "")


def pythons_on_path(tree: Tree, env_path: str, program: str = "") -> list[str]:
    """
    Each `python3`, `python` or `python3.N` on a PATH, its own links not followed: first the one that starts, which is
    `program` where that is a file. What is one executable in one environment is named once.
    """
    found: dict[tuple[str, str], str] = {}

    def add(path: str) -> None:
        environment = virtual_environment(tree, path)
        found.setdefault((environment[0] if environment else "", tree.resolve(path)), path)

    if program and tree.kind(program) == "file":
        add(program)
    for folder in env_path.split(":"):
        try:
            names = tree.entries(folder) if folder.startswith("/") else []
        except OSError:
            continue
        versioned = [name for name in names if re.fullmatch(r"python3\.[0-9]+", name)]
        versioned.sort(key=lambda name: -int(name.rpartition(".")[2]))
        for name in ["python3", "python", *versioned]:
            path = folder.rstrip("/") + "/" + name
            if name in names and tree.kind(path) == "file":
                add(path)
    return list(found.values())


def image_paths(
    tree: Tree, executable: str, minor: str, facts: list[Fact], user: tuple[dict[str, str], str] | None = None
) -> tuple[str, str, list[str], bool | None]:
    """
    The prefix, the base prefix and the import path that Python X.Y would have there, and whether its user's own folder
    counts; gaps go to `facts`. `user` holds the variables and that folder, where they are known.

    Virtual environments are honoured, and so are Debian's `dist-packages` and the `/usr/local` of Debian and Fedora.
    """
    found = virtual_environment(tree, executable)
    start = os.path.dirname(tree.resolve(executable))
    if found:
        folder = os.path.dirname(executable)
        for home in (folder, os.path.dirname(folder)):
            if tree.kind(home + "/pyvenv.cfg") == "file":
                start = pyvenv_keys(tree.read(home + "/pyvenv.cfg", 1 << 20)).get("home") or start
                break
    base = _base_prefix(tree, start, minor)
    stdlib = base + "/lib/python" + minor
    path = [base + "/lib/python" + minor.replace(".", "") + ".zip", stdlib, stdlib + "/lib-dynload"]
    prefix, system_site = found or (base, True)
    folders = ["%s/%s/python%s/site-packages" % (prefix, lib, minor) for lib in ("lib64", "lib")] if found else []
    counts = None if user is None else user_site(user[0], found is not None, system_site)
    if user is not None:
        folders += [user[1]] if counts and user[1] else []
        path = [entry for entry in user[0].get("PYTHONPATH", "").split(":") if entry.startswith("/")] + path
    if system_site:
        folders += _base_folders(tree, base, minor)
    # lib64 is often a link to lib; the folder counts once.
    kept = [folder for folder in folders if "/lib64/" not in folder or tree.resolve(folder) == folder]
    return prefix, base, site_path(tree, kept, path, facts), counts


def dynamic_section(data: bytes) -> tuple[list[str], str, str]:
    """DT_NEEDED, DT_RPATH and DT_RUNPATH of an ELF file (System V ABI, chapter 5); empty where it has none."""
    try:
        return _dynamic(data)
    except (struct.error, IndexError, ValueError):
        return [], "", ""


def _dynamic(data: bytes) -> tuple[list[str], str, str]:
    wide, order = data[4] == 2, "<" if data[5] == 1 else ">"
    start = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)[0]
    size, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
    loads, dynamic = [], (0, 0)
    for number in range(min(count, 256)):
        at = start + number * size
        if wide:
            kind, _, offset, address, _, length = struct.unpack_from(order + "IIQQQQ", data, at)
        else:
            kind, offset, address, _, length = struct.unpack_from(order + "IIIII", data, at)
        if kind == 1:
            loads.append((address, offset, length))
        elif kind == 2:
            dynamic = (offset, length)
    entry = struct.Struct(order + ("qQ" if wide else "iI"))
    pairs = []
    for at in range(dynamic[0], dynamic[0] + min(dynamic[1], 1 << 20), entry.size):
        tag, value = entry.unpack_from(data, at)
        if tag == 0:
            break
        pairs.append((tag, value))
    strings = next((value for tag, value in pairs if tag == 5), 0)
    table = next(
        (strings - address + offset for address, offset, length in loads if address <= strings < address + length), 0
    )

    def text(value: int) -> str:
        end = data.index(b"\0", table + value)
        return data[table + value : end].decode("utf-8", "replace")

    def of(wanted: int) -> list[str]:
        return [text(value) for tag, value in pairs if tag == wanted]

    return of(1), ":".join(of(15)), ":".join(of(29))


def _loaded(tree: Tree, soname: str, executable: str, machine: str, searched: tuple[str, str, str]) -> str:
    """The file that the dynamic loader would take (ld.so(8)), with its links followed; empty if it would find none."""
    rpath, library_path, runpath = searched
    origin = os.path.dirname(executable)
    folders = [] if runpath else rpath.split(":")
    folders += library_path.split(":") + runpath.split(":")
    folders = [folder.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for folder in folders if folder]
    places = [os.path.normpath(folder) + "/" + soname for folder in folders]
    musl = tree.kind("/lib/ld-musl-%s.so.1" % machine) is not None
    if not musl:
        places += _cached(tree, soname)
        triplet = _TRIPLETS.get(machine, machine)
        places += [
            folder + "/" + soname for folder in ("/lib/" + triplet, "/usr/lib/" + triplet, "/lib64", "/usr/lib64")
        ]
    places += [
        folder + "/" + soname for folder in (("/lib", "/usr/local/lib", "/usr/lib") if musl else ("/lib", "/usr/lib"))
    ]
    return next((tree.resolve(place) for place in places if tree.kind(place) == "file"), "")


def _cached(tree: Tree, soname: str) -> list[str]:
    # The cache holds each path as a NUL-terminated text; the loader takes what is in it before its default folders.
    try:
        data = tree.read("/etc/ld.so.cache", 16 << 20)
    except OSError:
        return []
    texts = data.split(b"\0")
    ending = b"/" + soname.encode("utf-8")
    return [text.decode("utf-8", "replace") for text in texts if text.startswith(b"/") and text.endswith(ending)]


def _minor(text: str) -> str:
    found = re.search(r"(?:^|[a-z])(3\.[0-9]{1,2})(?![0-9])", text)
    return found.group(1) if found else ""


def _base_prefix(tree: Tree, folder: str, minor: str) -> str:
    # As getpath does: the first folder upwards in which lib/pythonX.Y/os.py lies.
    first = os.path.dirname(folder)
    while True:
        if any(
            tree.kind("%s/lib/python%s/os.%s" % (folder.rstrip("/"), minor, ending)) == "file"
            for ending in ("py", "pyc")
        ):
            return folder
        if folder in ("/", ""):
            return first
        folder = os.path.dirname(folder)


def _base_folders(tree: Tree, base: str, minor: str) -> list[str]:
    here = ["%s/%s/python%s/site-packages" % (base, lib, minor) for lib in ("lib64", "lib")]
    if base != "/usr":
        return here
    if tree.kind("/etc/debian_version") == "file" or tree.kind("/usr/lib/python3/dist-packages") == "folder":
        return [
            "/usr/local/lib/python%s/dist-packages" % minor,
            "/usr/lib/python3/dist-packages",
            "/usr/lib/python%s/dist-packages" % minor,
        ]
    return ["/usr/local/%s/python%s/site-packages" % (lib, minor) for lib in ("lib64", "lib")] + here


def _abi(tree: Tree, folder: str) -> Fact:
    try:
        names = tree.entries(folder)
    except OSError:
        return {}
    for name in names:
        _, _, tag = name.partition(".")
        if tag.startswith("cpython-") and tag.endswith(".so"):
            flags = tag.split("-")[1].lstrip("0123456789")
            return {"soabi": tag[:-3], "debug": "d" in flags, "free_threaded": "t" in flags}
    return {}


def home_of(tree: Tree, user: str) -> str:
    """
    The home of an image's user (a name or a number, with or without `:group`; empty is root), from `/etc/passwd`;
    empty where it is not known.
    """
    user = user.partition(":")[0] or "0"
    try:
        text = tree.read("/etc/passwd", 1 << 20).decode("utf-8", "replace")
    except OSError:
        text = ""
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) >= 6 and user in (fields[0], fields[2]) and fields[5].startswith("/"):
            return fields[5]
    return "/root" if user in ("0", "root") else ""
