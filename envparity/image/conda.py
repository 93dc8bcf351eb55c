"""
Conda packages -> members of a layer: what conda, mamba and rattler make of them in a prefix, without any of these.

The forms of a package: https://docs.conda.io/projects/conda/en/stable/user-guide/concepts/packages.html. What is put in
the place of the prefix that it was built in: https://docs.conda.io/projects/conda-build/en/stable/resources/make-relocatable.html.
Scripts of a package (`bin/.NAME-post-link.sh`) are never run.
"""

from __future__ import annotations

__all__ = ["Native", "Spool", "frame", "native_needs", "package_entries", "site_packages"]

import bz2
import io
import json
import os
import posixpath
import re
import shlex
import tempfile
import weakref
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec
import zstandard

from envparity import elf
from envparity.errors import MalformedError, UnsupportedError
from envparity.files import translated
from envparity.image.wheels import script_text
from envparity.oci.entries import Entry, normal, shown
from envparity.oci.tar import read_layer
from envparity.values import LockedCondaPackage, glibc_key

_PLACEHOLDER = "/opt/anaconda1anaconda2anaconda3"
"""The prefix of packages that name none (conda-build, `PREFIX_PLACEHOLDER`)."""

_INFO_LIMIT = 256 << 20
_UNPACKED_LIMIT = 64 << 30
_LONGEST_SHEBANG = 127
_HEAD = 4


class Readable(Protocol):
    """What gives bytes, piece by piece."""

    def read(self, size: int = -1, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...


class Spool:
    """One unnamed file that holds what packages unpack to, so that each content can be read when its turn comes."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as unnamed:
            self.descriptor = os.dup(unnamed.fileno())
        # It lives as long as what reads from it.
        weakref.finalize(self, os.close, self.descriptor)
        self._size_bytes = 0

    def add(self, stream: Readable) -> _Slice:
        """Keep what a stream has left."""
        start = self._size_bytes
        try:
            while chunk := stream.read(1 << 20):
                left = memoryview(chunk)
                while left:
                    left = left[os.write(self.descriptor, left) :]
                self._size_bytes += len(chunk)
        except OSError as error:
            raise translated(error, "unpack a conda package") from error
        if self._size_bytes > _UNPACKED_LIMIT:
            raise MalformedError(f"the conda packages unpack to more than {_UNPACKED_LIMIT:,} bytes")
        return _Slice(self, start, self._size_bytes - start)


@dataclass(frozen=True)
class _Slice:
    spool: Spool
    start: int
    size_bytes: int

    def open(self) -> BinaryIO:
        return io.BufferedReader(_Part(self.spool, self.start, self.size_bytes), 1 << 18)

    def read(self, limit: int | None = None) -> bytes:
        with self.open() as stream:
            return stream.read() if limit is None else stream.read(limit)


class _Part(io.RawIOBase):
    def __init__(self, spool: Spool, start: int, size_bytes: int) -> None:
        self._spool, self._place, self._end = spool, start, start + size_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = os.pread(self._spool.descriptor, min(len(buffer), self._end - self._place), self._place)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


@dataclass(frozen=True)
class _File:
    path: str
    kind: str
    executable: bool
    target: str
    content: _Slice | None


class _Path(msgspec.Struct, frozen=True):
    """One row of `info/paths.json`."""

    path: str = msgspec.field(name="_path")
    path_type: str = "hardlink"
    prefix_placeholder: str | None = None
    file_mode: str | None = None


class _Paths(msgspec.Struct, frozen=True):
    paths: tuple[_Path, ...]


class _Noarch(msgspec.Struct, frozen=True):
    type: str = ""
    entry_points: tuple[str, ...] = ()


class _Link(msgspec.Struct, frozen=True):
    noarch: _Noarch = _Noarch()


@dataclass(frozen=True)
class _Package:
    """A package that has been looked through: its files by path, what is said of each, and how it is linked."""

    file_name: str
    files: dict[str, _File]
    paths: tuple[_Path, ...]
    link: _Link


def site_packages(python_xy: str) -> str:
    """Where a package for every Python puts its modules, in the prefix of one."""
    return f"lib/python{python_xy}/site-packages"


def frame(prefix: str) -> list[Entry]:
    """What makes a folder a prefix of conda's, whatever is in it."""
    return [Entry(f"{prefix}/conda-meta/history", "file", 0o644, size_bytes=0, content=b"")]


def package_entries(
    item: LockedCondaPackage, package: Path, spool: Spool, *, prefix: str = "opt/env", python_xy: str = ""
) -> list[Entry]:
    """
    The files that a package puts into a prefix, with its record in `conda-meta`, in the order of their paths.

    The prefix stands wherever the package says that its build's own stood. Byte code is left out: it follows from the
    modules. Of a package for every Python, modules go where `python_xy` looks for them, and its entry points become
    scripts.

    Raises:
        MalformedError: it is no package, damaged, or leads out of the prefix.
        UnsupportedError: it is for every Python, and there is none in the prefix.
    """
    opened = _opened(package, item.file_name, spool)
    of_python = opened.link.noarch.type == "python" or item.noarch == "python"
    if of_python and not python_xy:
        raise UnsupportedError(f"`{item.file_name}` is for any Python, and none is locked beside it")
    entries: dict[str, Entry] = {}
    for row in opened.paths:
        path = _inside(row.path, opened.file_name)
        if row.path_type == "directory":
            continue
        found = opened.files.get(path)
        if found is None:
            raise MalformedError(f"`{opened.file_name}` lists `{shown(path)}`, and does not hold it")
        if path.endswith(".pyc") and "/__pycache__/" in f"/{path}":
            continue
        place = _placed(path, python_xy) if of_python else path
        entries[place] = _entry(f"{prefix}/{place}", found, row, prefix, opened)
    if of_python:
        for text in opened.link.noarch.entry_points:
            name, data = _script(text, f"/{prefix}/bin/python{python_xy}", opened.file_name)
            entries[f"bin/{name}"] = _written(f"{prefix}/bin/{name}", data, 0o755)
    record = _record(item, sorted(entries))
    stem = re.sub(r"\.(conda|tar\.bz2)$", "", item.file_name)
    entries[f"conda-meta/{stem}.json"] = _written(f"{prefix}/conda-meta/{stem}.json", record, 0o644)
    return [entries[path] for path in sorted(entries)]


def _opened(package: Path, file_name: str, spool: Spool) -> _Package:
    files: dict[str, _File] = {}
    try:
        for stream in _tars(package, file_name):
            with stream as tar:
                for raw in read_layer(tar, layer=f"conda package `{file_name}`"):
                    entry = raw.entry
                    if entry.kind == "folder":
                        continue
                    if entry.kind == "other":
                        raise MalformedError(f"`{file_name}` holds a device or a pipe: `{shown(entry.path)}`")
                    content = spool.add(raw.reader) if entry.kind == "file" else None
                    executable = bool(entry.mode & 0o111)
                    files[entry.path] = _File(entry.path, entry.kind, executable, entry.target, content)
    except (zipfile.BadZipFile, zstandard.ZstdError, EOFError, ValueError) as error:
        raise MalformedError(f"`{file_name}` is no sound conda package: {error}") from error
    except OSError as error:
        if error.errno is None:  # bz2 says so of damaged data
            raise MalformedError(f"`{file_name}` is no sound conda package: {error}") from error
        raise translated(error, f"read the conda package `{file_name}`") from error
    info = {path: item for path, item in files.items() if path.startswith("info/")}
    held = {path: item for path, item in files.items() if path not in info}
    return _Package(file_name, held, _paths(info, held, file_name), _link(info, file_name))


@contextmanager
def _closing(*streams: Any) -> Iterator[BinaryIO]:
    try:
        yield io.BufferedReader(streams[0], 1 << 18)
    finally:
        for stream in streams:
            stream.close()


def _tars(package: Path, file_name: str) -> Iterator[Any]:
    if file_name.endswith(".tar.bz2"):
        yield _closing(bz2.open(package))  # noqa: SIM115 (the caller closes it)
        return
    stem = file_name.removesuffix(".conda")
    with zipfile.ZipFile(package) as archive:
        for part in ("info", "pkg"):
            name = f"{part}-{stem}.tar.zst"
            if name not in archive.namelist():
                raise MalformedError(f"`{file_name}` has no `{name}`")
            member = archive.open(name)
            yield _closing(zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(member), member)


def _said(info: dict[str, _File], name: str, file_name: str) -> bytes | None:
    found = info.get(f"info/{name}")
    if found is None or found.content is None:
        return None
    if found.content.size_bytes > _INFO_LIMIT:
        raise MalformedError(f"`info/{name}` of `{file_name}` is too large")
    return found.content.read()


def _paths(info: dict[str, _File], held: dict[str, _File], file_name: str) -> tuple[_Path, ...]:
    data = _said(info, "paths.json", file_name)
    if data is not None:
        try:
            return msgspec.json.decode(data, type=_Paths).paths
        except msgspec.DecodeError as error:
            raise MalformedError(f"`info/paths.json` of `{file_name}` cannot be read: {error}") from error
    # Packages from before paths.json say in `has_prefix` which files have a prefix: `[PLACEHOLDER MODE] PATH`.
    prefixed: dict[str, tuple[str, str]] = {}
    for line in (_said(info, "has_prefix", file_name) or b"").decode("utf-8", "replace").splitlines():
        words = shlex.split(line)
        if len(words) == 3:
            prefixed[words[2]] = (words[0], words[1])
        elif words:
            prefixed[words[-1]] = (_PLACEHOLDER, "text")
    return tuple(
        _Path(path, "softlink" if held[path].kind == "link" else "hardlink", *prefixed.get(path, (None, None)))
        for path in sorted(held)
    )


def _link(info: dict[str, _File], file_name: str) -> _Link:
    data = _said(info, "link.json", file_name)
    if data is None:
        return _Link()
    try:
        return msgspec.json.decode(data, type=_Link)
    except msgspec.DecodeError as error:
        raise MalformedError(f"`info/link.json` of `{file_name}` cannot be read: {error}") from error


def _inside(path: str, file_name: str) -> str:
    found = normal(path)
    if found != path or path.startswith(("info/", "conda-meta/")):
        raise MalformedError(f"`{file_name}` would write `{shown(path)}`, which is no place of a package")
    return found


def _placed(path: str, python_xy: str) -> str:
    for start, place in (("site-packages/", site_packages(python_xy)), ("python-scripts/", "bin")):
        if path.startswith(start):
            return f"{place}/{path.removeprefix(start)}"
    return path


def _entry(place: str, found: _File, row: _Path, prefix: str, opened: _Package) -> Entry:
    if found.kind == "link":
        return Entry(place, "link", 0o777, target=found.target)
    mode = 0o755 if found.executable else 0o644
    content = found.content
    if found.kind == "hardlink":
        other = opened.files.get(found.target)
        content = other.content if other is not None else None
    if content is None:
        raise MalformedError(f"`{shown(found.path)}` of `{opened.file_name}` repeats a file that is not there")
    if not row.prefix_placeholder:
        return Entry(place, "file", mode, size_bytes=content.size_bytes, content=content.open)
    old, new = row.prefix_placeholder.encode(), f"/{prefix}".encode()
    if row.file_mode == "binary":
        held = content

        def replaced() -> BinaryIO:
            return io.BytesIO(in_binary(held.read(), old, new, found.path))

        return Entry(place, "file", mode, size_bytes=content.size_bytes, content=replaced)
    return _written(place, in_text(content.read(), old, new), mode)


def in_text(data: bytes, old: bytes, new: bytes) -> bytes:
    """A text with another prefix. A first line that is too long for a kernel finds its program by PATH instead."""
    changed = data.replace(old, new)
    first, end, rest = changed.partition(b"\n")
    if old in data and first.startswith(b"#!") and len(first) > _LONGEST_SHEBANG:
        program = first[2:].strip().partition(b" ")
        first = b"#!/usr/bin/env " + posixpath.basename(program[0]) + program[1] + program[2]
        return first + end + rest
    return changed


def in_binary(data: bytes, old: bytes, new: bytes, what: str) -> bytes:
    """
    Binary data with another prefix, of the same length: what follows it up to the next NUL moves up, and NUL bytes fill
    the end.
    """
    if len(new) > len(old):
        raise MalformedError(f"`{shown(what)}` has room for a prefix of {len(old)} bytes, and it gets {len(new)}")

    def shorter(found: re.Match[bytes]) -> bytes:
        return found[0].replace(old, new).ljust(len(found[0]), b"\0")

    return re.sub(re.escape(old) + rb"[^\0]*", shorter, data)


def _script(text: str, interpreter: str, file_name: str) -> tuple[str, bytes]:
    name, _, reference = (part.strip() for part in text.partition("="))
    module, _, function = reference.partition(":")
    if not re.fullmatch(r"[\w.+-]+", name) or not re.fullmatch(
        r"[\w.]+:[\w.]+", f"{module.strip()}:{function.strip()}"
    ):
        raise MalformedError(f"`{file_name}` has an entry point that is none: `{shown(text)}`")
    return name, script_text(name, module.strip(), function.strip(), interpreter)


def _written(path: str, data: bytes, mode: int) -> Entry:
    return Entry(path, "file", mode, size_bytes=len(data), content=data)


def _record(item: LockedCondaPackage, files: list[str]) -> bytes:
    """What conda keeps of a package that it installed, of it alone: no time, no place of a cache."""
    number = re.search(r"(\d+)$", item.build)
    document = {
        "name": item.name,
        "version": item.version,
        "build": item.build,
        "build_number": int(number[1]) if number else 0,
        "channel": item.channel,
        "subdir": item.subdir,
        "fn": item.file_name,
        "url": item.url,
        "size": item.size_bytes,
        "sha256": item.sha256,
        **({"md5": item.md5} if item.md5 else {}),
        **({"noarch": item.noarch} if item.noarch else {}),
        "depends": list(item.depends),
        "constrains": [],
        "files": files,
        "paths_data": {"paths_version": 1, "paths": [{"_path": path, "path_type": "hardlink"} for path in files]},
        **({"requested_spec": item.name, "requested_specs": [item.name]} if item.requested else {}),
    }
    return json.dumps(document, indent=2, sort_keys=True, separators=(",", ": ")).encode() + b"\n"


@dataclass(frozen=True)
class Native:
    """What the native files of a package need, what they bring for others, and the oldest glibc that they run with."""

    needed: frozenset[str] = field(default_factory=frozenset)
    provided: frozenset[str] = field(default_factory=frozenset)
    glibc_floor: str = ""


def native_needs(package: Path, file_name: str) -> Native:
    """
    What the native files of a package need, read from their headers. A C library that it carries to compile against
    (`…/sysroot/…`) is none that programs find.

    Raises:
        MalformedError: it is no package, or damaged.
    """
    opened = _opened(package, file_name, Spool())
    needed: set[str] = set()
    provided: set[str] = set()
    floor = ""
    for path, found in opened.files.items():
        if "/sysroot/" in path:
            continue
        if ".so" in posixpath.basename(path):
            provided.add(posixpath.basename(path))
        if found.content is None or not elf.is_elf(found.content.read(_HEAD)):
            continue
        try:
            needs = elf.needs(found.content.read())
        except MalformedError as error:
            raise error.inside(f"{file_name}: {path}") from None
        needed.update(needs.sonames)
        provided.update({needs.soname} - {""})
        floor = max(floor, needs.glibc_floor, key=glibc_key)
    return Native(frozenset(needed - provided), frozenset(provided), floor)
