"""
The releases that a base can be made of, their archives and mirrors, and where a locked package is found.

What ships as data: `data/archives.toml` (releases, seeds, keys), `data/sonames.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from envparity import resources
from envparity.errors import (
    UsageError,
)
from envparity.fetch import Wanted
from envparity.network import address_fault, printable
from envparity.resolvers.signed import Archive
from envparity.values import LockedOsPackage, Target

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Suite:
    """One suite of an archive (`bookworm-security`), and the components that are read of it."""

    archive: str
    name: str
    components: tuple[str, ...]


@dataclass(frozen=True)
class Release:
    """
    One row of the table of bases: where it comes from and what every image of it begins with. `follows` is a pattern of
    the names of packages that are taken because others depend on them; empty: of all.
    """

    base: str
    id: str
    version_id: str
    codename: str
    glibc: str
    python_version: str
    suites: tuple[Suite, ...]
    seeds: tuple[str, ...]
    python: tuple[str, ...]
    python_parts: tuple[str, ...]
    architectures: tuple[str, ...]
    follows: str = ""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """The archive of an architecture that the archives of `suites` do not hold."""

    def of(self, architecture: str) -> Release:
        """The same, with the archives that hold this architecture."""
        other = self.elsewhere.get(architecture)
        return self if other is None else replace(self, suites=tuple(replace(s, archive=other) for s in self.suites))


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(resources.data("archives.toml").decode())


def sonames_of(base: str) -> Mapping[str, str]:
    """The package that brings each shared library of a base, as far as the table knows."""
    table: dict[str, dict[str, str]] = tomllib.loads(resources.data("sonames.toml").decode())
    return table[base.removeprefix(SCRATCH)]


@cache
def archives() -> Mapping[str, Archive]:
    """The archives of the table, by name."""
    return {
        name: Archive(name, row["mirror"], resources.data(row["keys"]), tuple(row["fingerprints"]), row.get("past", ""))
        for name, row in _tables()["archives"].items()
    }


def archive_of(name: str) -> Archive:
    """An archive of the table by its name."""
    return archives()[name]


BASES: tuple[str, ...] = ("debian:bookworm", "debian:trixie", "ubuntu:jammy", "ubuntu:noble")
"""The releases that can be assembled, in the order in which they are offered. A test holds them to the table."""

SCRATCH = "scratch:"
"""Before the name of a release: a base of its libraries alone."""


def release(base: str) -> Release:
    """
    The row of a base by its name: `debian:bookworm`, or `scratch:debian:bookworm`, which has no Python of its own.

    Raises:
        UsageError: no such base.
    """
    if base.startswith(SCRATCH):
        minimal = _tables()["scratch"]
        row_of_release = release(base.removeprefix(SCRATCH))
        return replace(
            row_of_release,
            base=base,
            python_version="",
            seeds=tuple(minimal["seeds"]),
            python=(),
            python_parts=(),
            follows=minimal["follows"],
        )
    row = _tables()["releases"].get(base)
    if row is None:
        raise UsageError(f"`{base}` is not a base", hint=f"take one of {', '.join(BASES)}")
    suites = tuple(Suite(s["archive"], s["name"], tuple(s["components"])) for s in row["suites"])
    lists = ("seeds", "python", "python_parts", "architectures")
    fields: dict[str, Any] = {key: tuple(value) if key in lists else value for key, value in row.items()}
    return Release(**fields | {"base": base, "suites": suites})


def own_base(id: str, version_id: str) -> str:
    """The base that is a release by its `ID` and `VERSION_ID` (os-release(5)); empty where none is."""
    rows = map(release, BASES)
    return next((row.base for row in rows if (row.id, row.version_id) == (id, version_id)), "")


def bringing(base: str, sonames: Iterable[str]) -> frozenset[str]:
    """The packages of a base that bring these shared libraries, as far as the table knows them."""
    table = sonames_of(base)
    return frozenset(table[name] for name in sonames if name in table)


def package_urls(package: LockedOsPackage, mirrors: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Where the file of a locked package may lie: the configured mirror of its archive, else the archive's own."""
    return (f"{address_of(archive_of(package.archive), mirrors or {})}/{package.pool_path}",)


def wanted(target: Target, package: LockedOsPackage, mirrors: Mapping[str, str] | None = None) -> Wanted:
    """
    The file of a locked package, as something to fetch: from its archive; and, where that has dropped it, from the
    archive as it was when the lock was made.
    """
    archive = archive_of(package.archive)
    past: list[str] = []
    hint = "lock again for the version that the archive has"
    date = _read_at(target, package)
    if date is not None and archive.past:
        # What keeps the past takes up a release hours after it was signed, and an archive drops a file days after it
        # was superseded: so the day after is asked first.
        past = [archive.at(moment) for moment in (date + timedelta(days=1), date)]
        hint = (
            f"the archive had it on {date:%Y-%m-%d}: name a place that keeps that day with"
            f" `--os-mirror {package.archive}=URL`, or {hint}"
        )
    return Wanted(
        f"{package.name} {package.version}",
        package_urls(package, mirrors),
        package.sha256,
        package.size_bytes,
        tuple(f"{place}/{package.pool_path}" for place in past),
        hint,
    )


def _read_at(target: Target, package: LockedOsPackage) -> datetime | None:
    """When the list was signed that a locked package was found in; `None` of a lock that does not say so."""
    for suite in target.suites:
        if (suite.archive, suite.suite) == (package.archive, package.suite):
            with suppress(ValueError):  # of the thirtieth of February
                return datetime.fromisoformat(suite.date)
    return None


def mirrors_of(texts: Iterable[str]) -> dict[str, str]:
    """
    Mirrors as `--os-mirror` takes them, `ARCHIVE=URL`, by the name of the archive.

    Raises:
        UsageError: no archive of the table, one twice, or no address.
    """
    found: dict[str, str] = {}
    known = ", ".join(archives())
    for text in texts:
        name, sign, url = text.partition("=")
        if not sign or name not in archives():
            raise UsageError(f"`{text}` names no archive", hint=f"write ARCHIVE=URL, where ARCHIVE is one of {known}")
        fault = address_fault(url)
        if fault or name in found:
            raise UsageError(
                f"`{printable(url)}` is no mirror of {name}: {fault or 'there is one already'}",
                hint=f"such as `--os-mirror {name}={archive_of(name).mirror}`",
            )
        found[name] = url.rstrip("/")
    return found


def mirror_of(archive: str) -> str:
    """The address of an archive's own mirror."""
    return archive_of(archive).mirror


def address_of(archive: Archive, mirrors: Mapping[str, str]) -> str:
    """Where an archive is asked: its configured mirror, else its own."""
    return mirrors.get(archive.name, archive.mirror).rstrip("/")


def bringers(soname: str) -> tuple[str, ...]:
    """The packages that bring a shared library in some release; none where no table knows it."""
    return tuple(dict.fromkeys(package for base in BASES if (package := sonames_of(base).get(soname))))


def not_followed() -> frozenset[str]:
    """Packages that no image gets only because another one depends on them."""
    return frozenset(_tables()["not_followed"]["names"])


def is_of_driver(soname: str) -> bool:
    """Whether the driver of the machine that runs an image brings a shared library."""
    return soname in _tables()["driver"]["sonames"]
