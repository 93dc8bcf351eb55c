"""
What the native files of a distribution need of the place they run in, read from their headers.

It follows from the bytes of a wheel, and so does not depend on where they are read: in the wheel, or where it was
installed. To have it so, which files are looked at is decided by their names alone: an installation has other modes.
"""

from __future__ import annotations

__all__ = ["Native", "of_installed", "of_wheel"]

import posixpath
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from msgspec import Struct

from envparity import elf, files
from envparity.collectors.metadata import decoded
from envparity.collectors.records import RECORD_LIMIT, Record
from envparity.collectors.tree import LocalTree
from envparity.errors import MalformedError
from envparity.image import zips
from envparity.values import Distribution, glibc_key

_SUFFIX = re.compile(r"\.[A-Za-z]\w*\Z")
_NATIVE_SUFFIXES = (".aarch64", ".amd64", ".bin", ".elf", ".node", ".out", ".run", ".x86_64")
_LATER_FOLDERS = re.compile(r"[^/]+\.data/(?:purelib|platlib)/")
_ELSEWHERE = re.compile(r"[^/]+\.data/|\.\./|/")
_IN_MEMORY_BYTES = 64 << 20


class Native(Struct, frozen=True, omit_defaults=True):
    """
    What the native files of one wheel need, and what they are.

    Args:
        sonames: shared objects that they need and that the wheel does not bring; sorted.
        glibc_floor: the highest version of a glibc symbol that they use (`2.17`); empty if they use none.
        modules: its extension modules by their full names (`sklearn._loss._loss`); sorted.
    """

    sonames: tuple[str, ...] = ()
    glibc_floor: str = ""
    modules: tuple[str, ...] = ()


def of_wheel(wheel: Path, *, file_name: str = "") -> Native:
    """
    Of the archive; `file_name` is how errors name it.

    Raises:
        MalformedError: the wheel, or a native file in it, is damaged.
    """
    name = file_name or wheel.name
    members = [(member.name, member) for member in zips.members(wheel, name)]

    def found() -> Iterator[tuple[str, elf.Needs]]:
        for path, member in members:
            if not _may_be_native(path):
                continue
            try:
                needs = _needs(member.open, member.size_bytes)
            except MalformedError as error:
                raise error.inside(f"{name}: {path}") from None
            if needs is not None:
                yield path, needs

    return _summed((path for path, _ in members), found())


def of_installed(item: Distribution) -> Native | None:
    """
    The same, of the files that were installed from it; None where they are not here any more as the snapshot saw them.

    That they are the same is known by RECORD, which is the one that the snapshot saw, and by the size of each file.
    """
    record = _record(item)
    if record is None:
        return None
    site = posixpath.dirname(item.location)
    rows = [row for row in record.rows() if row[0][-4:] != ".pyc"]
    found: list[tuple[str, elf.Needs]] = []
    for path, _, size in rows:
        if not _may_be_native(path):
            continue
        place = Path(posixpath.normpath(posixpath.join(site, path)))
        try:
            status = place.stat()
            if not stat.S_ISREG(status.st_mode) or (size and size != str(status.st_size)):
                return None
            with place.open("rb") as stream:
                if elf.is_elf(stream.read(4)):
                    stream.seek(0)
                    found.append((path, elf.needs(stream)))
        except (OSError, ValueError, MalformedError):
            return None
    return _summed((path for path, _, _ in rows), found)


def _record(item: Distribution) -> Record | None:
    if not item.record_sha256 or not item.location.endswith(".dist-info"):
        return None
    place = Path(item.location) / "RECORD"
    try:
        if not place.is_file():
            return None
        record = Record(decoded(LocalTree().read(str(place), RECORD_LIMIT))[0])
        return record if record.digest() == item.record_sha256 else None
    except (OSError, ValueError):
        return None


def _may_be_native(path: str) -> bool:
    if path[-3:] == ".py" and ".so" not in path:
        return False  # as most are
    base = posixpath.basename(path)
    if ".dist-info/" in path or not base:
        return False
    return ".so" in base or not _SUFFIX.search(base) or base.endswith(_NATIVE_SUFFIXES)


def _summed(paths: Iterable[str], found: Iterable[tuple[str, elf.Needs]]) -> Native:
    needed: set[str] = set()
    provided: set[str] = set()
    floor = ""
    for path, needs in found:
        needed.update(needs.sonames)
        provided.update({posixpath.basename(path), needs.soname} - {""})
        floor = max(floor, needs.glibc_floor, key=glibc_key)
    modules = {name for path in paths if ".so" in path and (name := _module(path))}
    return Native(tuple(sorted(needed - provided)), floor, tuple(sorted(modules)))


def _module(path: str) -> str:
    """The full name of the extension module that a file is; else empty."""
    inside = _LATER_FOLDERS.sub("", path, count=1)
    *parents, last = inside.split("/")
    stem, _, ending = last.partition(".")
    if _ELSEWHERE.match(inside) or not (
        ending == "so" or (ending.endswith(".so") and ending.startswith(("cpython-", "abi3")))
    ):
        return ""
    return ".".join([*parents, stem])


def _needs(opened: Callable[[], AbstractContextManager[IO[bytes]]], size_bytes: int) -> elf.Needs | None:
    with opened() as stream:
        head = stream.read(4)
        if not elf.is_elf(head):
            return None
        if size_bytes <= _IN_MEMORY_BYTES:
            return elf.needs(head + stream.read())
        with files.private_folder() as folder:
            with files.replacing(folder / "native") as copy:
                copy.write(head)
                shutil.copyfileobj(stream, copy, 1 << 20)
            return elf.needs(folder / "native")
