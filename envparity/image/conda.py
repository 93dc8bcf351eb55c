"""
Conda packages -> members of a layer: what conda, mamba and rattler make of them in a prefix, without any of these.

The forms of a package: https://docs.conda.io/projects/conda/en/stable/user-guide/concepts/packages.html. What is put in
the place of the prefix that it was built in: https://docs.conda.io/projects/conda-build/en/stable/resources/make-relocatable.html.
Scripts of a package (`bin/.NAME-post-link.sh`) are never run.
"""

from __future__ import annotations

__all__ = [
    "Native", "Spool", "brought", "frame", "native_needs", "package_entries", "refuse_through_links", "site_packages",
    "unserved",
]  # fmt: skip

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
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec
import zstandard

from envparity import elf
from envparity.collectors.metadata import headers_of, normalised_name
from envparity.collectors.records import Record
from envparity.errors import MalformedError, UnsupportedError
from envparity.files import translated
from envparity.image import conda_stripping, stripping
from envparity.image.wheels import script_text
from envparity.oci.entries import Entry, normal, shown
from envparity.oci.tar import read_layer
from envparity.values import BroughtDistribution, LockedCondaPackage, glibc_key

_PLACEHOLDER = "/opt/anaconda1anaconda2anaconda3"
"""The prefix of packages that name none (conda-build, `PREFIX_PLACEHOLDER`)."""

_INFO_LIMIT = 256 << 20
_UNPACKED_LIMIT = 64 << 30
_ALWAYS_ALLOWED_BYTES = 1 << 30
_MOST_TIMES_LARGER = 200
"""Real packages unpack to some twenty times their size; what zstd makes of zeros, to some ten thousand."""
_MOST_PARTS = 1000
_LONGEST_SHEBANG = 127
_INTERPRETER = "python"
"""The package whose files stay whole, whatever is left out of others: an interpreter is one thing."""

_HEAD = 4


class Readable(Protocol):
    """What gives bytes, piece by piece."""

    def read(self, size: int = -1, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...


class Spool:
    """
    One unnamed file that holds what packages unpack to, so that each content can be read when its turn comes.

    A package may unpack to so many bytes (`always_allowed_bytes`), however small it is; beyond that to a multiple of
    its size.
    """

    def __init__(self, always_allowed_bytes: int = _ALWAYS_ALLOWED_BYTES) -> None:
        self._always_allowed_bytes = always_allowed_bytes
        self._most_bytes = _UNPACKED_LIMIT
        with tempfile.TemporaryFile() as unnamed:
            self.descriptor = os.dup(unnamed.fileno())
        # It lives as long as what reads from it.
        weakref.finalize(self, os.close, self.descriptor)
        self._size_bytes = 0

    def begin(self, packed_bytes: int) -> None:
        """What comes next is of a package of this size."""
        allowed = max(self._always_allowed_bytes, _MOST_TIMES_LARGER * packed_bytes)
        self._most_bytes = min(_UNPACKED_LIMIT, self._size_bytes + allowed)

    def add(self, stream: Readable) -> _Slice:
        """Keep what a stream has left."""
        start = self._size_bytes
        try:
            while chunk := stream.read(1 << 20):
                left = memoryview(chunk)
                while left:
                    left = left[os.write(self.descriptor, left) :]
                self._size_bytes += len(chunk)
                if self._size_bytes > self._most_bytes:
                    raise MalformedError(
                        f"it unpacks to more than {_MOST_TIMES_LARGER} times its size, or all of them to more than"
                        f" {_UNPACKED_LIMIT:,} bytes"
                    )
        except OSError as error:
            raise translated(error, "unpack a conda package") from error
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


class _Index(msgspec.Struct, frozen=True):
    """`info/index.json`: what a package says that it is."""

    name: str
    version: str
    build: str


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
    item: LockedCondaPackage,
    package: Path,
    spool: Spool,
    *,
    prefix: str = "opt/env",
    python_xy: str = "",
    strip: Collection[str] = (),
) -> list[Entry]:
    """
    The files that a package puts into a prefix, with its record in `conda-meta`, in the order of their paths.

    The prefix stands wherever the package says that its build's own stood. Byte code is left out: it follows from the
    modules. Of a package for every Python, modules go where `python_xy` looks for them, and its entry points become
    scripts. Of a distribution that pip replaced, the files that its RECORD lists are left out, as pip removed them.
    Of the kinds to `strip` (`stripping.KINDS`) nothing is there, and the record lists none of it; what it was stands in
    files beside the prefix.

    Raises:
        MalformedError: it is no package, damaged, or leads out of the prefix.
        UnsupportedError: it is for every Python, and there is none in the prefix.
    """
    opened, entries = _all_of(item, package, spool, prefix, python_xy)
    stem = re.sub(r"\.(conda|tar\.bz2)$", "", item.file_name)
    sheets: list[Entry] = []
    if strip and item.name != _INTERPRETER:
        points = opened.link.noarch.entry_points
        entries, sheets = conda_stripping.without(entries, site_packages(python_xy or "3"), points, strip, stem)
    record = _record(item, sorted(entries))
    entries[f"conda-meta/{stem}.json"] = _written(f"{prefix}/conda-meta/{stem}.json", record, 0o644)
    return [*(entries[path] for path in sorted(entries)), *sheets]


def unserved(item: LockedCondaPackage, package: Path, *, python_xy: str = "") -> dict[str, int]:
    """
    The bytes of each kind that `package_entries` would leave out of a package, unpacked.

    Raises:
        As `package_entries` does.
    """
    sizes = dict.fromkeys(stripping.KINDS, 0)
    if item.name != _INTERPRETER:
        opened, entries = _all_of(item, package, Spool(), "opt/env", python_xy)
        found = conda_stripping.kinds(entries, site_packages(python_xy or "3"), opened.link.noarch.entry_points)
        for place, kind in found.items():
            sizes[kind] += entries[place].size_bytes
    return sizes


def _all_of(
    item: LockedCondaPackage, package: Path, spool: Spool, prefix: str, python_xy: str
) -> tuple[_Package, dict[str, Entry]]:
    """All that a package puts into a prefix, by its place in there."""
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
        if place in entries:
            raise MalformedError(f"`{opened.file_name}` writes `{shown(place)}` twice")
        entries[place] = _entry(f"{prefix}/{place}", found, row, prefix, opened)
    if of_python:
        for text in opened.link.noarch.entry_points:
            name, data = _script(text, f"/{prefix}/bin/python{python_xy}", opened.file_name)
            if f"bin/{name}" in entries:
                raise MalformedError(f"`{opened.file_name}` writes `bin/{name}` twice")
            entries[f"bin/{name}"] = _written(f"{prefix}/bin/{name}", data, 0o755)
    for path in _of_distributions(opened, {one.name for one in item.replaced}, python_xy if of_python else ""):
        entries.pop(path, None)
    refuse_through_links([(opened.file_name, entries.values())])
    return opened, entries


def refuse_through_links(packages: Iterable[tuple[str, Iterable[Entry]]]) -> None:
    """
    That nothing is written through a link that another file of these packages is (CVE-2021-29136): an engine follows it
    to wherever it leads.

    Raises:
        MalformedError: naming the path, and the package that writes it.
    """
    listed = [(title, list(entries)) for title, entries in packages]
    links = {entry.path: title for title, entries in listed for entry in entries if entry.kind == "link"}
    for title, entries in listed:
        for entry in entries if links else ():
            parent = entry.path.rpartition("/")[0]
            while parent:
                if parent in links:
                    raise MalformedError(
                        f"`{title}` would write `{shown(entry.path)}` through the link `{shown(parent)}` of"
                        f" `{links[parent]}`"
                    )
                parent = parent.rpartition("/")[0]


def _opened(package: Path, file_name: str, spool: Spool) -> _Package:
    files: dict[str, _File] = {}
    try:
        spool.begin(package.stat().st_size)
        for stream in _tars(package, file_name):
            with stream as tar:
                for raw in read_layer(tar, layer=f"conda package `{file_name}`"):
                    entry = raw.entry
                    if entry.kind == "folder":
                        continue
                    if entry.kind == "other":
                        raise MalformedError(f"`{file_name}` holds a device or a pipe: `{shown(entry.path)}`")
                    if entry.path in files:
                        raise MalformedError(f"`{file_name}` holds `{shown(entry.path)}` twice")
                    content = spool.add(raw.reader) if entry.kind == "file" else None
                    executable = bool(entry.mode & 0o111)
                    files[entry.path] = _File(entry.path, entry.kind, executable, entry.target, content)
    except MalformedError as error:
        if file_name not in error.message:
            error.inside(f"`{file_name}`")
        raise
    except (zipfile.BadZipFile, zstandard.ZstdError, EOFError, ValueError, NotImplementedError) as error:
        raise MalformedError(f"`{file_name}` is no sound conda package: {error}") from error
    except OSError as error:
        if error.errno is None:  # bz2 says so of damaged data
            raise MalformedError(f"`{file_name}` is no sound conda package: {error}") from error
        raise translated(error, f"read the conda package `{file_name}`") from error
    info = {path: item for path, item in files.items() if path.startswith("info/")}
    _require_named(info, file_name)
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
        names = archive.namelist()
        if len(names) > _MOST_PARTS:
            raise MalformedError(f"`{file_name}` has more than {_MOST_PARTS} parts")
        for part in ("info", "pkg"):
            name = f"{part}-{stem}.tar.zst"
            if names.count(name) != 1:
                raise MalformedError(f"`{file_name}` has {'no' if name not in names else 'more than one'} `{name}`")
            member = archive.open(name)
            yield _closing(zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(member), member)


def _said(info: dict[str, _File], name: str, file_name: str) -> bytes | None:
    found = info.get(f"info/{name}")
    if found is None or found.content is None:
        return None
    if found.content.size_bytes > _INFO_LIMIT:
        raise MalformedError(f"`info/{name}` of `{file_name}` is too large")
    return found.content.read()


def _require_named(info: dict[str, _File], file_name: str) -> None:
    """
    That a package is what its file is called: by that name its channel, and the lock, speak of it.

    Raises:
        MalformedError: it says that it is another one, or nothing.
    """
    data = _said(info, "index.json", file_name)
    if data is None:
        raise MalformedError(f"`{file_name}` has no `info/index.json`")
    try:
        said = msgspec.json.decode(data, type=_Index)
    except msgspec.DecodeError as error:
        raise MalformedError(f"`info/index.json` of `{file_name}` cannot be read: {error}") from error
    stem = f"{said.name}-{said.version}-{said.build}"
    if stem != re.sub(r"\.(conda|tar\.bz2)$", "", file_name):
        raise MalformedError(
            f"`{file_name}` says of itself that it is `{shown(stem)}`",
            hint="its channel serves another package under this name: ask who keeps it",
        )


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
    if not python_xy:
        return path
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
    if not re.fullmatch(r"\.*[\w+-][\w.+-]*", name) or not re.fullmatch(
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


_METADATA = re.compile(r"((?:lib/python[0-9.]+t?/)?site-packages)/([^/]+)/(?:METADATA|PKG-INFO)", re.ASCII)


def brought(package: Path, file_name: str) -> tuple[BroughtDistribution, ...]:
    """
    The Python distributions whose metadata a package holds, by name, and what may be imported of each.

    Raises:
        MalformedError: it is no package, or damaged.
    """
    opened = _opened(package, file_name, Spool())
    found = {}
    for path, file in opened.files.items():
        place = _METADATA.fullmatch(path)
        if place is None or file.content is None or not place[2].endswith((".dist-info", ".egg-info")):
            continue
        words: dict[str, str] = {}
        for key, value in headers_of(file.content.read(_INFO_LIMIT).decode("utf-8", "replace")):
            words.setdefault(key, value)
        if words.get("name") and words.get("version"):
            name = normalised_name(words["name"])
            names = tuple(_record_of(opened, place[1], place[2]).import_names())
            found[name] = BroughtDistribution(name=name, version=words["version"], import_names=names)
    return tuple(found[name] for name in sorted(found))


def _of_distributions(opened: _Package, names: Collection[str], python_xy: str) -> set[str]:
    """Where the files of these distributions are put in the prefix, as their RECORDs list them."""
    places = set()
    for path, file in opened.files.items() if names else ():
        found = _METADATA.fullmatch(path)
        if found is None or file.content is None or not found[2].endswith(".dist-info"):
            continue
        headers = headers_of(file.content.read(_INFO_LIMIT).decode("utf-8", "replace"))
        name = next((value for key, value in headers if key == "name"), "")
        if normalised_name(name) in names:
            rows = _record_of(opened, found[1], found[2]).rows()
            own = [held for held in opened.files if held.startswith(f"{found[1]}/{found[2]}/")]
            listed = [posixpath.normpath(f"{_placed(found[1] + '/', python_xy)}/{row[0]}") for row in rows]
            places |= {*listed, *(_placed(held, python_xy) for held in own)}
    return places


def _record_of(opened: _Package, site: str, folder: str) -> Record:
    """The RECORD of a distribution; where it has none, all files that the package puts beside it."""
    held = opened.files.get(f"{site}/{folder}/RECORD")
    if held is not None and held.content is not None:
        return Record(held.content.read(_INFO_LIMIT).decode("utf-8", "surrogateescape"))
    inside = (path.removeprefix(f"{site}/") for path in opened.files if path.startswith(f"{site}/"))
    return Record("".join(f"{path},,\n" for path in inside if "," not in path and '"' not in path))
