"""A `poetry.lock` of Poetry 1.x and 2.x (lock-version 1.0 to 2.1; poetry/packages/locker.py)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from envparity import codec, markers
from envparity.collectors.tree import gap
from envparity.errors import MalformedError, UnsupportedError
from envparity.sources.documents import locked, once_each, places_of, python, shaped
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin
from envparity.values import Environment

TITLE = "a lock of Poetry"
KNOWN = ("1.0", "1.1", "2.0", "2.1")
"""The lock-versions whose meaning is known; a later one of the same first number is read, with a warning."""


class _File(Struct, frozen=True):
    file: str = ""
    url: str = ""
    hash: str = ""


class _Package(Struct, frozen=True, rename="kebab"):
    name: str
    version: str
    optional: bool = False
    python_versions: str = ""
    category: str = ""
    groups: tuple[str, ...] = ()
    markers: str | dict[str, str] = ""
    marker: str = ""
    files: tuple[_File, ...] = ()
    dependencies: dict[str, Any] = {}
    source: dict[str, Any] = {}
    develop: bool = False


class _Metadata(Struct, frozen=True, rename="kebab"):
    content_hash: str
    lock_version: str = "1.0"
    python_versions: str = ""
    files: dict[str, tuple[_File, ...]] = {}
    hashes: dict[str, tuple[str, ...]] = {}


class _Lock(Struct, frozen=True):
    metadata: _Metadata
    package: tuple[_Package, ...] = ()
    extras: dict[str, tuple[str, ...]] = field(default_factory=dict)


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that a `poetry.lock` fixes.

    The metadata stands at its end, so a lock that was cut short has none. Which group a package belongs to is written
    since Poetry 2.0 (and before 1.2); a lock between them has a gap there.

    Raises:
        UnsupportedError: a lock-version that is not known. MalformedError: not TOML, another shape, cut short.
    """
    document = codec.load_toml(data, f"`{name}`")
    if "metadata" not in document:
        raise MalformedError(
            f"`{name}` ends too early: its table [metadata] is missing",
            hint="it was cut short; `poetry lock` makes it again",
        )
    lock = shaped(document, _Lock, name, TITLE)
    _require_known(lock.metadata.lock_version, name)
    by_extra = _by_extra(lock)
    found: list[Fact] = [{"kind": "section", "section": "distributions"}]
    for index, package in enumerate(lock.package):
        found += _package(package, lock.metadata, by_extra, f"package[{index}]")
    found += _told_apart(found)
    if lock.package and not any(package.groups or package.category for package in lock.package):
        reason = "which of them are in a group for development is written in pyproject.toml only"
        found.append(gap("distributions", "not-recorded", reason, "groups of the lock"))
    found = once_each(found, name)
    asked = python(python_range(lock.metadata.python_versions))
    unknown = not_recorded(all_but("distributions", *(["python"] if asked else [])), "a poetry.lock cannot carry it")
    return codec.environment([*found, *asked, *unknown], origin("poetry-lock", name))


def _require_known(version: str, name: str) -> None:
    major = version.partition(".")[0]
    if major not in {known.partition(".")[0] for known in KNOWN}:
        raise UnsupportedError(
            f"`{name}` has lock-version {version}, and these are known: {', '.join(KNOWN)}",
            hint="`poetry export -o requirements.txt` makes a file that is read",
        )
    if version not in KNOWN:
        warnings.warn(
            f"`{name}` has lock-version {version}, which is newer than {KNOWN[-1]}: what is new in it is not read",
            codec.UnknownKeysWarning,
            stacklevel=3,
        )


def _package(package: _Package, metadata: _Metadata, by_extra: Mapping[str, set[str]], where: str) -> list[Fact]:
    older = metadata.files.get(package.name, ())
    given = [item.hash for item in (*package.files, *older) if item.hash]
    given += [f"sha256:{digest}" for digest in metadata.hashes.get(package.name, ())]
    place = package.source if package.source.get("type") not in {None, "legacy"} else {}
    if place.get("type") == "git":
        commit = place.get("resolved_reference") or place.get("reference")
        place = {"git": place.get("url"), "commit": commit, "subdirectory": place.get("subdirectory")}
    requires = package.python_versions
    return locked(
        package.name,
        package.version,
        where,
        given=given,
        marker=_condition(package, by_extra, where),
        place=places_of(place),
        editable=package.develop,
        requires_python="" if requires == "*" else requires,
    )


_EXTRA = re.compile(r"""\bextra\s*(==|!=)\s*(?:'([^']*)'|"([^"]*)")""")


def _condition(package: _Package, by_extra: Mapping[str, set[str]], where: str) -> str:
    """The condition of a package: its groups, each with its own marker, or the extras that bring it."""
    groups = package.groups or ((package.category,) if package.category else ("main",))
    stated = package.markers or package.marker
    by_group = stated if isinstance(stated, dict) else dict.fromkeys(groups, stated)
    cases = []
    for group in groups:
        marker = markers.valid(_EXTRA.sub(_in_extras, by_group.get(group, "")), where)
        cases.append(markers.both(marker, "" if group == "main" else markers.in_groups(group)))
    condition = markers.either(cases)
    extras = by_extra.get(package.name, set())
    if package.optional and extras and " in extras" not in condition:
        condition = markers.both(condition, markers.either(map(markers.in_extras, sorted(extras))))
    return condition


def _in_extras(found: re.Match[str]) -> str:
    """`extra == "gpu"` of the project itself, in the words of PEP 751."""
    text = markers.in_extras(found[2] or found[3] or "")
    return text if found[1] == "==" else text.replace(" in ", " not in ", 1)


def _by_extra(lock: _Lock) -> dict[str, set[str]]:
    """Which extras of the project bring each optional package, directly or through another."""
    optional = {package.name: package for package in lock.package if package.optional}
    found: dict[str, set[str]] = {}
    for extra, requirements in lock.extras.items():
        waiting = [_name(text) for text in requirements]
        while waiting:
            name = waiting.pop()
            if name in optional and extra not in found.setdefault(name, set()):
                found[name].add(extra)
                waiting += map(_name, optional[name].dependencies)
    return found


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s(\[;<>=!~]", text.strip(), maxsplit=1)[0]).lower()


def _told_apart(found: list[Fact]) -> Iterator[Fact]:
    """
    Several versions of one distribution, where the lock itself does not say which of them holds: Poetry before 2.0
    wrote the condition beside each requirement only.
    """
    several: dict[str, list[int]] = {}
    for index, fact in enumerate(found):
        if fact["kind"] == "distribution":
            several.setdefault(fact["name"], []).append(index)
    for name, indexes in several.items():
        places = {(found[index]["version"], found[index]["direct_url"]) for index in indexes}
        if len(places) < 2 or len({found[index]["marker"] for index in indexes}) == len(indexes):
            continue
        versions = {version for version, _ in places}
        for index in indexes:
            version, place = found[index]["version"], found[index]["direct_url"]
            # No marker of PEP 508 says it, so it is said in words: nothing can decide them.
            words = f"where pyproject.toml leads to {version}{f' from {place}' if place else ''}"
            found[index] = {**found[index], "marker": markers.both(found[index]["marker"], words)}
        reason = f"it is locked as {' and as '.join(sorted(versions))}; which of them holds is not written in the lock"
        yield gap("distributions", "not-recorded", reason, name)


def python_range(text: str) -> str:
    """
    A constraint of Poetry (`^3.8`, `~3.9`, `>=3.8,<4.0`) in the words of PEP 440; empty where those have none for it
    (https://python-poetry.org/docs/dependency-specification/#version-constraints).
    """
    if "||" in text or "|" in text:
        return ""
    clauses = []
    for part in filter(None, re.split(r"\s*,\s*|\s+(?=[<>=!^~])", text.strip())):
        found = re.fullmatch(r"(\^|~=|~|==|!=|>=|<=|>|<|=)?\s*(\d+(?:\.\d+)*)(\w*)(\.\*)?", part.strip())
        if not found:
            if part.strip() == "*":
                continue
            return ""
        operator, numbers, suffix, wild = found[1] or "==", found[2], found[3], found[4] or ""
        if operator in {"^", "~"}:
            clauses.append(f">={numbers}{suffix},<{_next(numbers, operator)}")
        else:
            clauses.append(f"{'==' if operator == '=' else operator}{numbers}{suffix}{wild}")
    return ",".join(clauses)


def _next(numbers: str, operator: str) -> str:
    """The first version that a caret or a tilde does not take."""
    parts = [int(number) for number in numbers.split(".")]
    if operator == "~":
        position = min(1, len(parts) - 1)
    else:
        position = next((index for index, number in enumerate(parts) if number), len(parts) - 1)
    kept = parts[: position + 1]
    kept[position] += 1
    return ".".join(map(str, kept if len(kept) > 1 else [*kept, 0]))
