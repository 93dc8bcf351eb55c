"""Whether files are still those that something was made of, told without reading them."""

from __future__ import annotations

__all__ = ["state"]

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

_SETTLED_NS = 2 * 10**9
"""Two seconds: no file system keeps times more coarsely."""


def state(places: Iterable[str], *, before_ns: int) -> str | None:
    """
    A digest of where each of these places leads and of what its file system says of the file there: inode, length, and
    the times of its content and of anything about it. Nobody sets the last one (`st_ctime`), so a file whose content
    was changed and whose other time was put back is told too. Nothing is read. A place may have no file.

    Args:
        before_ns: when the files were begun to be read, in nanoseconds of the epoch.

    Returns:
        None where a file was changed that late that its time may not tell it from what was read.
    """
    digest = hashlib.sha256()
    latest = before_ns - _SETTLED_NS
    folders: dict[str, str] = {}
    for place in places:
        real, found = _found(place, folders)
        if found is None:
            digest.update(f"{place}\0{real}\0\0".encode("utf-8", "surrogateescape"))
            continue
        if found.st_ctime_ns > latest:
            return None
        kind = stat.S_IFMT(found.st_mode)
        said = f"{kind} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
        digest.update(f"{place}\0{real}\0{said}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _found(place: str, folders: dict[str, str]) -> tuple[str, os.stat_result | None]:
    """
    Where a place leads, and what is said of the file there, if any. `folders` has where those lead that were looked at:
    `realpath` looks at every folder above a file, and a standard library has hundreds of files in one.
    """
    folder, name = os.path.split(place)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    real = f"{folders[folder]}/{name}"
    try:
        if name not in {"", ".", ".."} and folders[folder] != "/":
            found = os.lstat(real)
            if not stat.S_ISLNK(found.st_mode):
                return real, found
        real = os.path.realpath(place)
        return real, Path(real).stat()
    except OSError:
        return real, None
