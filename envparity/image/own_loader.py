"""
A locked interpreter, started on this machine out of the files of its image: through its own dynamic loader, with its
own libraries (ld.so(8): the loader can be run as a program), so that neither a container nor a namespace is needed.
"""

from __future__ import annotations

__all__ = ["unpacked"]

import io
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from envparity.errors import RefusedError
from envparity.files import Member, populate
from envparity.oci.entries import Entry
from envparity.values import python_xy

_LOADERS = {"amd64": "lib64/ld-linux-x86-64.so.2", "arm64": "lib/ld-linux-aarch64.so.1"}
_TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
_MOST_LINKS = 40

_MODULE = re.compile(r".*\.py|.*/lib-dynload/[^/]+\.so")
"""Extension modules too: a source may have an encoding that needs one."""


def unpacked(
    entries: Iterable[Entry], executable: str, version: str, architecture: str, folder: Path
) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """
    The beginning of a command line that starts a Python, and the variables that it needs. What it is made of is written
    to `folder`, no link among it.

    Args:
        entries: all files of the image that it may need: base and interpreter.
        executable: its absolute path in the image.
        version: its exact version.
        architecture: as images name it; that of this machine.

    Raises:
        RefusedError: the image has no such interpreter.
    """
    known = {entry.path: entry for entry in entries}
    xy = python_xy(version)
    program = _resolved(known, executable.lstrip("/"))
    loader = _resolved(known, _LOADERS[architecture])
    home = posixpath.dirname(posixpath.dirname(program)) if program else ""
    library = f"{home}/lib/python{xy}/"
    if program is None or loader is None or f"{library}os.py" not in known:
        raise RefusedError(f"no whole Python {version} lies at `{executable}` in the image")
    taken = {"loader": loader, "python": program}
    for place in (f"{home}/lib", f"usr/lib/{_TRIPLETS[architecture]}", "usr/lib", f"lib/{_TRIPLETS[architecture]}"):
        for path in known:
            folder_of_it, _, name = path.rpartition("/")
            if folder_of_it == place and ".so" in name and (found := _resolved(known, path)) is not None:
                taken.setdefault(f"libraries/{name}", found)
    for path, entry in known.items():
        if path.startswith(library) and entry.kind == "file" and _MODULE.fullmatch(path) and "-packages/" not in path:
            taken[f"home/lib/python{xy}/{path.removeprefix(library)}"] = path
    populate(folder, (Member(name, "file", 0o700, open=_opened(known[path])) for name, path in taken.items()))
    command = (
        str(folder / "loader"),
        *("--inhibit-cache", "--library-path", str(folder / "libraries")),
        str(folder / "python"),
    )
    return command, {"PYTHONHOME": str(folder / "home")}


def _resolved(known: Mapping[str, Entry], path: str) -> str | None:
    """The path of the file that a path leads to inside of the image, over its links."""
    for _ in range(_MOST_LINKS):
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            entry = known.get("/".join(parts[:count]))
            if entry is not None and entry.kind == "link":
                above = "" if entry.target.startswith("/") else "/".join(parts[: count - 1])
                path = posixpath.normpath(posixpath.join("/", above, entry.target, *parts[count:])).lstrip("/")
                break
            if entry is not None and entry.kind == "hardlink":
                path = entry.target
                break
        else:
            entry = known.get(path)
            return path if entry is not None and entry.kind == "file" else None
    return None


def _opened(entry: Entry) -> Callable[[], BinaryIO]:
    content = entry.content
    return content if callable(content) else lambda: io.BytesIO(content or b"")
