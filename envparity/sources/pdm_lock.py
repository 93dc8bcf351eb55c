"""A `pdm.lock` (lock_version 3 and 4; https://pdm-project.org/en/latest/usage/lockfile/)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct, field

from envparity import codec, markers
from envparity.collectors.tree import gap
from envparity.errors import MalformedError, UnsupportedError
from envparity.sources.documents import locked, once_each, places_of, python, shaped
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin
from envparity.values import Environment

TITLE = "a lock of PDM"
MAJORS = ("3", "4")
NEWEST = (4, 5)


class _File(Struct, frozen=True):
    file: str = ""
    url: str = ""
    hash: str = ""


class _Package(Struct, frozen=True):
    name: str
    version: str = ""
    requires_python: str = ""
    groups: tuple[str, ...] = ()
    marker: str = ""
    extras: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    files: tuple[_File, ...] = ()
    git: str = ""
    hg: str = ""
    svn: str = ""
    revision: str = ""
    subdirectory: str = ""
    url: str = ""
    path: str = ""
    editable: bool = False


class _Target(Struct, frozen=True):
    requires_python: str = ""


class _Metadata(Struct, frozen=True):
    lock_version: str
    content_hash: str
    groups: tuple[str, ...] = ()
    targets: tuple[_Target, ...] = ()
    files: dict[str, tuple[_File, ...]] = field(default_factory=dict)


class _Lock(Struct, frozen=True):
    metadata: _Metadata
    package: tuple[_Package, ...] = ()


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that a `pdm.lock` fixes. Groups and extras of the project are both groups there.

    Raises:
        UnsupportedError: a lock_version that is not known. MalformedError: not TOML, another shape, one package twice.
    """
    lock = shaped(codec.load_toml(data, f"`{name}`"), _Lock, name, TITLE)
    _require_known(lock.metadata.lock_version, name)
    found: list[Fact] = [{"kind": "section", "section": "distributions"}]
    for index, package in enumerate(_one_each(lock.package)):
        found += _package(package, lock.metadata, f"package[{index}]")
    found += _missing(lock)
    found = once_each(found, name)
    ranges = {target.requires_python for target in lock.metadata.targets}
    asked = python(ranges.pop()) if len(ranges) == 1 else []
    unknown = not_recorded(all_but("distributions", *(["python"] if asked else [])), "a pdm.lock cannot carry it")
    return codec.environment([*found, *asked, *unknown], origin("pdm-lock", name))


def _require_known(version: str, name: str) -> None:
    numbers = re.fullmatch(r"(\d+)(?:\.(\d+))?(?:\.\d+)?", version)
    if not numbers or numbers[1] not in MAJORS:
        raise UnsupportedError(
            f"`{name}` has lock_version {version}, and these are known: {', '.join(MAJORS)}",
            hint="`pdm export -f pylock -o pylock.toml` makes a file that is read",
        )
    if (int(numbers[1]), int(numbers[2] or 0)) > NEWEST:
        warnings.warn(
            f"`{name}` has lock_version {version}, which is newer than 4.5: what is new in it is not read",
            codec.UnknownKeysWarning,
            stacklevel=3,
        )


def _one_each(packages: Iterable[_Package]) -> Iterator[_Package]:
    """PDM writes a package again for each set of extras of it: the same files, once more."""
    from msgspec.structs import replace

    found: dict[tuple[Any, ...], _Package] = {}
    for package in packages:
        key = (package.name, package.version, package.git, package.url, package.path, package.marker)
        first = found.get(key)
        if first is None or (package.extras == first.extras):
            found[key if first is None else (*key, len(found))] = package
            continue
        found[key] = replace(
            first,
            extras=tuple(sorted({*first.extras, *package.extras})),
            groups=tuple(dict.fromkeys((*first.groups, *package.groups))),
            files=(*first.files, *package.files),
            dependencies=(*first.dependencies, *package.dependencies),
        )
    yield from found.values()


def _package(package: _Package, metadata: _Metadata, where: str) -> list[Fact]:
    older = metadata.files.get(f"{package.name} {package.version}", ())
    groups = package.groups or ("default",)
    condition = markers.either("" if group == "default" else markers.in_groups(group) for group in groups)
    place = {"git": package.git, "hg": package.hg, "svn": package.svn, "url": package.url, "path": package.path}
    place |= {"commit": package.revision, "subdirectory": package.subdirectory}
    given = [item.hash for item in (*package.files, *older) if item.hash]
    return locked(
        package.name,
        package.version,
        where,
        given=given,
        marker=markers.both(markers.valid(package.marker, where), condition),
        place=places_of(place),
        editable=package.editable,
        requires_python=package.requires_python,
        extras=sorted(package.extras),
    )


def _missing(lock: _Lock) -> Iterator[Fact]:
    """
    What is required under no condition, and is not there: the lock was cut between two packages, which TOML does not
    notice, or the project excludes it. A group to which no package belongs tells the same.
    """
    packages = lock.package
    names = {_name(package.name) for package in packages}
    for package in packages:
        place = package.git or package.hg or package.svn or package.url or package.path
        if not (package.files or place or f"{package.name} {package.version}" in lock.metadata.files):
            yield gap("distributions", "unread", "its files are not in the lock: cut short", _name(package.name))
    if any(package.groups for package in packages) or not packages:
        empty = set(lock.metadata.groups or ("default",)) - {group for package in packages for group in package.groups}
        reason = "no package belongs to this group: cut short, or it asks for nothing"
        yield from (gap("distributions", "unread", reason, f"the group {group}") for group in sorted(empty))
    missing = {
        _name(text): package.name
        for package in packages
        for text in package.dependencies
        if ";" not in text and _name(text) not in names
    }
    for name, needed_by in sorted(missing.items()):
        reason = f"`{needed_by}` requires it, and it is not in the lock: cut short, or excluded"
        yield gap("distributions", "unread", reason, name)


def _name(text: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", text.strip())
    if not found:
        raise MalformedError(f"`{text[:80]}` is not a requirement")
    return re.sub(r"[-_.]+", "-", found[0]).lower()
