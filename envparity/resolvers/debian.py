"""
The packages of a base image, from a Debian or Ubuntu archive: by name, exact version, signed index and sha256.

Nothing is installed here and no maintainer script is run. The formats: https://wiki.debian.org/DebianRepository/Format
and Debian Policy, 5 and 7. What it is told of: `archives` (the table of releases), `package_lists` (what they hold).

The answer is a function of the archive's state and of the request: sorted, and free of the order of any input.
"""

from __future__ import annotations

__all__ = ["ResolvedBase", "resolve_base", "resolve_on_top"]

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

import msgspec

from envparity import resources
from envparity.errors import (
    DiskFullError,
    MalformedError,
    RefusedError,
    UnsupportedError,
    UsageError,
)
from envparity.fetch import Fetcher
from envparity.resolvers.archives import Release, is_of_driver, not_followed, sonames_of
from envparity.resolvers.package_lists import Candidate, Index, read_index, version_of
from envparity.values import LeftOut, LockedOsPackage, OsPackage, Substituted

_MOST_PASSES = 20


@dataclass(frozen=True)
class ResolvedBase:
    """
    What a base is made of, sorted by name.

    `unknown_sonames` are the needed libraries that no package of the table brings; each has a line in `left_out` too.
    """

    os_packages: tuple[LockedOsPackage, ...]
    substituted: tuple[Substituted, ...]
    left_out: tuple[LeftOut, ...]
    unknown_sonames: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Relation:
    """`libc6 (>= 2.34)`; without a version, `operator` is empty."""

    name: str
    operator: str = ""
    version: str = ""

    def admits(self, version: str) -> bool:
        if not self.operator:
            return True
        left, right = version_of(version), version_of(self.version)
        answers: dict[str, bool] = {
            "<<": left < right,
            "<=": left <= right,
            "=": left == right,
            ">=": left >= right,
            ">>": left > right,
        }
        return answers[self.operator]

    def __str__(self) -> str:
        return f"{self.name} ({self.operator} {self.version})" if self.operator else self.name


_RELATION = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9+.-]+)(?::[a-z0-9-]+)?"
    r"(?:\s*\(\s*(?P<operator><<|<=|=|>=|>>)\s*(?P<version>[A-Za-z0-9.+~:-]+)\s*\))?(?:\s*\[[^]]*\])?"
)


def _relations(text: str, owner: str) -> list[tuple[_Relation, ...]]:
    """`a (>= 1) | b, c` as groups of alternatives (Policy, 7.1)."""
    groups = []
    for group in filter(None, (part.strip() for part in text.replace("\n", " ").split(","))):
        alternatives = []
        for part in group.split("|"):
            match = _RELATION.fullmatch(part.strip())
            if match is None:
                raise MalformedError(f"`{part.strip()}` in the dependencies of {owner} cannot be read")
            alternatives.append(_Relation(match["name"], match["operator"] or "", match["version"] or ""))
        groups.append(tuple(alternatives))
    return groups


@dataclass
class _Closure:
    """The packages that some seeds need; see `resolve_base` for the rules."""

    index: Index
    seeds: frozenset[str]
    installed: Mapping[str, str]
    barred: frozenset[str]
    nearest: bool
    present: Mapping[str, str] = field(default_factory=dict)
    skipped: dict[str, set[str]] = field(default_factory=dict)

    def settled(self) -> dict[str, Candidate]:
        """
        Choose until every chosen version admits every other.

        A version that the snapshot has is preferred, and may be too old for what was substituted beside it: then its
        demands are known in the next pass, which chooses again.
        """
        demands: dict[str, list[tuple[_Relation, str]]] = {}
        before: dict[str, str] | None = None
        for _ in range(_MOST_PASSES):
            self.skipped = {}
            chosen, demands = self._pass(demands)
            now = {name: candidate.version for name, candidate in chosen.items()}
            if now == before:
                return chosen
            before = now
        raise RefusedError(f"the packages of {self.index.release.base} do not agree on versions")

    def _pass(
        self, demands: Mapping[str, list[tuple[_Relation, str]]]
    ) -> tuple[dict[str, Candidate], dict[str, list[tuple[_Relation, str]]]]:
        chosen: dict[str, Candidate] = {}
        found: dict[str, list[tuple[_Relation, str]]] = {}
        queue = sorted(self.seeds)
        while queue:
            name = queue.pop(0)
            if name in chosen:
                continue
            candidate = chosen[name] = self._choice(name, demands.get(name, ()))
            for key in ("Pre-Depends", "Depends"):
                for group in _relations(candidate.fields.get(key, ""), name):
                    relation = self._alternative(group, name)
                    if relation is not None:
                        found.setdefault(relation.name, []).append((relation, name))
                        queue.append(relation.name)
        return chosen, found

    def _choice(self, name: str, demands: Iterable[tuple[_Relation, str]]) -> Candidate:
        candidates = self.index.candidates(name)
        if not candidates:
            raise RefusedError(
                f"{self.index.release.base} has no package `{name}`",
                hint="check the name; only the component `main` is read",
            )
        demands = list(demands)
        fitting = [c for c in candidates if all(relation.admits(c.version) for relation, _ in demands)]
        if not fitting:
            wishes = "; ".join(sorted(f"{owner} needs {relation}" for relation, owner in demands))
            raise RefusedError(f"no version of `{name}` in {self.index.release.base} is the right one: {wishes}")
        had = self.installed.get(name) or self._of_source.get(_source(fitting[0]))
        if had is None:
            return fitting[0]
        same = next((candidate for candidate in fitting if candidate.version == had), None)
        if same is not None or not self.nearest:
            return same or fitting[0]
        rank = version_of(had)
        return next((candidate for candidate in reversed(fitting) if candidate.rank > rank), fitting[0])

    @cached_property
    def _of_source(self) -> Mapping[str, str]:
        """The version of each source package that the snapshot has something of; of several the highest."""
        found: dict[str, str] = {}
        for name, version in self.installed.items():
            for candidate in self.index.candidates(name)[:1]:
                source = _source(candidate)
                if source not in found or version_of(found[source]) < version_of(version):
                    found[source] = version
        return found

    def _alternative(self, group: tuple[_Relation, ...], owner: str) -> _Relation | None:
        """
        Which of several alternatives is taken: a seed, else what the snapshot has, else the first that exists.

        `None` where the group is not followed, because one of its names stands on the list of those, or because what
        is `present` meets it.
        """
        if any(self._is_met(relation) for relation in group):
            return None
        whole, group = group, tuple(relation for relation in group if relation.name not in self.present)
        if not group:
            here = ", ".join(f"{relation.name} {self.present[relation.name]}" for relation in whole)
            raise RefusedError(
                f"the base has {here}, and that is not enough: {owner} needs {' | '.join(map(str, whole))}",
                hint="name a newer image of the same base, whose packages are up to date",
            )
        follows = self.index.release.follows
        if follows:
            first, group = group[0], tuple(each for each in group if re.fullmatch(follows, each.name))
            if not group:
                self.skipped.setdefault(first.name, set()).add(owner)
                return None
        barred = next((relation.name for relation in group if relation.name in self.barred), None)
        if barred is not None:
            self.skipped.setdefault(barred, set()).add(owner)
            return None
        real: list[_Relation] = []
        for relation in group:
            if any(relation.admits(candidate.version) for candidate in self.index.candidates(relation.name)):
                real.append(relation)
                continue
            for name in self.index.providers(relation.name):
                if name in self.barred:
                    self.skipped.setdefault(name, set()).add(owner)
                    return None
                real += [_Relation(name)] if self._provides(name, relation) else []
        if not real:
            raise RefusedError(
                f"{self.index.release.base} cannot satisfy `{' | '.join(map(str, group))}`, which `{owner}` depends on"
            )
        for names in (self.seeds, self.installed):
            for relation in real:
                if relation.name in names:
                    return relation
        return real[0]

    def _is_met(self, relation: _Relation) -> bool:
        if not self.present:
            return False  # before all that the release provides is searched
        here = self.present.get(relation.name)
        if here is not None and relation.admits(here):
            return True
        return not relation.operator and any(name in self.present for name in self.index.providers(relation.name))

    def _provides(self, name: str, wanted: _Relation) -> bool:
        for candidate in self.index.candidates(name):
            for group in _relations(candidate.fields.get("Provides", ""), name):
                for offer in group:
                    # "Provides: b (= 2)" satisfies a versioned dependency, "Provides: b" does not (Policy, 7.5).
                    if offer.name == wanted.name and (
                        not wanted.operator or (offer.version and wanted.admits(offer.version))
                    ):
                        return True
        return False


def _source(candidate: Candidate) -> str:
    """The name of the source package: `Source: glibc (2.36-9)`, or its own where that is the same."""
    return candidate.fields.get("Source", candidate.name).partition(" ")[0]


def resolve_base(
    base: str,
    *,
    fetcher: Fetcher | None = None,
    index: Index | None = None,
    architecture: str = "amd64",
    installed: Iterable[OsPackage] = (),
    with_python: str | None = None,
    needed_sonames: Iterable[str] = (),
    add: Iterable[str] = (),
    exclude: Iterable[str] = (),
) -> ResolvedBase:
    """
    Decide which packages make a base: the seeds of the release, what the libraries need, and their dependencies.

    1. The seeds are the table's, those of the base's own interpreter if `with_python`, the packages that bring
       `needed_sonames`, and `add` (`--add-os`).
    2. Depends and Pre-Depends are followed, Recommends are not; names of the table's `not_followed` are not either,
       unless they are seeds themselves.
    3. Of each package the snapshot's exact version is taken where some suite has it and every other choice admits it;
       else the nearest that is newer, or the highest where none is, and that is a substitution. Where the nearest
       contradict each other, the highest is taken of all. What the snapshot does not have goes by the version of what
       it has of the same source; else it is the highest.

    Args:
        fetcher: reads the index anew where no `index` (of the same base) is given. The answer is kept in its cache, by
            everything that it follows from, since another lock of the same day asks the same.
        installed: the snapshot's packages; may be empty, and then nothing is substituted or left out.
        with_python: `3.11`, where the interpreter of the base is to answer in the image.
        needed_sonames: libraries that the interpreter and the wheels expect from the base, without those they carry.
        exclude: packages that must not come in, since something else brings what they hold.

    Raises:
        UnsupportedError: the release has another Python than `with_python`.
        RefusedError: a package that is needed does not exist, or versions contradict each other.
        And what `read_index` raises.
    """
    if index is None:
        if fetcher is None:
            raise UsageError("resolve_base needs a fetcher or an index")
        index = read_index(base, fetcher, architecture=architecture)
    asked = _Asked(base, tuple(installed), with_python, frozenset(needed_sonames), frozenset(add), frozenset(exclude))
    if fetcher is None or not index.sha256s:
        return _resolved(index, asked)
    key = f"base-{_RULES}-{asked.digest(index)}"
    known = fetcher.cache.note(key, ResolvedBase)
    if known is None:
        known = _resolved(index, asked)
        with suppress(DiskFullError):
            fetcher.cache.write_note(key, known)
    return known


def resolve_on_top(
    index: Index,
    *,
    present: Mapping[str, str],
    installed: Iterable[OsPackage] = (),
    needed_sonames: Iterable[str] = (),
    add: Iterable[str] = (),
) -> ResolvedBase:
    """
    Decide which packages are put on top of a base that has some: those that bring `needed_sonames`, and `add`, with
    what they depend on and the base does not have. By rules 2 and 3 of `resolve_base`.

    Args:
        present: the packages of the base, by name.
        needed_sonames: libraries that nothing in the base brings.

    Raises:
        RefusedError: a package does not exist, or needs a newer one than the base has.
    """
    row = index.release
    add = frozenset(add) - present.keys()
    _require_known(index, add)
    had = _Asked(row.base, tuple(installed), None, frozenset(), frozenset(), frozenset()).had(index.architecture)
    table = sonames_of(row.base)
    needed = sorted(set(needed_sonames))
    unknown = tuple(soname for soname in needed if soname not in table and not is_of_driver(soname))
    seeds = frozenset({*add, *(table[soname] for soname in needed if soname in table)})
    barred = not_followed() - seeds
    chosen = _settled(index, seeds, had, barred, present)[1] if seeds else {}
    return ResolvedBase(
        os_packages=tuple(_locked(chosen[name]) for name in sorted(chosen)),
        substituted=tuple(_substituted(index, had, {name: item.version for name, item in chosen.items()})),
        left_out=tuple(_left_out_libraries(needed, unknown, row.base)),
        unknown_sonames=unknown,
    )


_RULES = 2
"""Of `_resolved`; raised whenever it decides otherwise, so that no answer of another release is taken for ours."""


@dataclass(frozen=True)
class _Asked:
    """What `resolve_base` is asked, but for the index."""

    base: str
    installed: tuple[OsPackage, ...]
    with_python: str | None
    sonames: frozenset[str]
    add: frozenset[str]
    exclude: frozenset[str]

    def had(self, architecture: str) -> dict[str, str]:
        """The packages of the snapshot that the base could have too, by name."""
        return {
            package.name: package.version
            for package in self.installed
            if package.manager == "dpkg" and package.architecture in {"", "all", architecture}
        }

    def digest(self, index: Index) -> str:
        """Of all that the answer follows from: this, the index, and the tables that ship as data."""
        tables = [hashlib.sha256(resources.data(name)).hexdigest() for name in ("archives.toml", "sonames.toml")]
        named = [sorted(names) for names in (self.sonames, self.add, self.exclude)]
        had = self.had(index.architecture)
        parts = [self.base, index.architecture, index.sha256s, had, self.with_python, named, tables]
        return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


def _resolved(index: Index, asked: _Asked) -> ResolvedBase:
    base, with_python, needed_sonames = asked.base, asked.with_python, asked.sonames
    add, exclude = tuple(sorted(asked.add)), asked.exclude
    _require_known(index, add)
    row = index.release
    had = asked.had(index.architecture)
    seeds = {*row.seeds, *add}
    if with_python is not None:
        if with_python != row.python_version:
            raise UnsupportedError(
                f"{base} has Python {row.python_version}, not {with_python}",
                hint="capture the snapshot's own interpreter",
            )
        seeds |= {*row.python, *(part for part in row.python_parts if part in had)}
    table = sonames_of(base)
    needed = sorted(set(needed_sonames))
    unknown = tuple(soname for soname in needed if soname not in table and not is_of_driver(soname))
    seeds |= {table[soname] for soname in needed if soname in table}
    excluded = frozenset(exclude)
    barred = (not_followed() - seeds) | excluded
    closure, chosen = _settled(index, frozenset(seeds - excluded), had, barred)
    return ResolvedBase(
        os_packages=tuple(_locked(chosen[name]) for name in sorted(chosen)),
        substituted=tuple(_substituted(index, had, {name: item.version for name, item in chosen.items()})),
        left_out=(
            *_left_out_packages(had, chosen, {n: o for n, o in closure.skipped.items() if n not in excluded}, row),
            *_left_out_libraries(needed, unknown, base),
        ),
        unknown_sonames=unknown,
    )


def _require_known(index: Index, names: Iterable[str]) -> None:
    """Refuse names that somebody asked for and that are no packages of the release, all at once, each with the near."""
    import difflib  # who asks for nothing that is not there does not wait for it

    details = []
    for name in sorted(set(names)):
        if index.candidates(name):
            continue
        if providers := index.providers(name):
            details.append(f"`{name}` is virtual; name one of those that provide it: {', '.join(providers[:5])}")
        else:
            near = difflib.get_close_matches(name, index.stanzas, n=3, cutoff=0.7)
            details.append(f"`{name}` is none" + (f"; near it: {', '.join(near)}" if near else ""))
    if details:
        raise RefusedError(
            f"{index.release.base} has not every package that `--add-os` names",
            hint="the names are those of the release; only its component `main` is read",
            details=tuple(details),
        )


_NOTHING: Mapping[str, str] = MappingProxyType({})


def _settled(
    index: Index,
    seeds: frozenset[str],
    had: Mapping[str, str],
    barred: frozenset[str],
    present: Mapping[str, str] = _NOTHING,
) -> tuple[_Closure, dict[str, Candidate]]:
    """The closure by the nearest versions; or by the highest, where the nearest contradict each other."""
    closure = _Closure(index, seeds, had, barred, nearest=True, present=present)
    try:
        return closure, closure.settled()
    except RefusedError:
        closure = _Closure(index, seeds, had, barred, nearest=False, present=present)
        return closure, closure.settled()


def _substituted(index: Index, had: Mapping[str, str], chosen: Mapping[str, str]) -> Iterator[Substituted]:
    for name in sorted(chosen):
        if name in had and had[name] != chosen[name]:
            reason = _reason(index, name, had[name], index.release.base)
            yield Substituted(kind="os-package", name=name, before=had[name], after=chosen[name], reason=reason)


def _reason(index: Index, name: str, version: str, base: str) -> str:
    if any(candidate.version == version for candidate in index.candidates(name)):
        return f"another package of {base} needs a newer version of it"
    return f"no suite of {base} has this version"


def _left_out_packages(
    had: Mapping[str, str], chosen: Mapping[str, Candidate], skipped: Mapping[str, set[str]], row: Release
) -> Iterator[LeftOut]:
    """What the snapshot has and the image does not: named where a chosen package depends on it, else counted."""
    named = sorted(name for name in skipped if name in had and name not in chosen)
    for name in named:
        owners = ", ".join(sorted(skipped[name]))
        reason = f"only installation scripts (of {owners}) call it, and none runs in an image"
        if row.follows:
            reason = f"of what {owners} depends on, a base from scratch has the libraries alone"
        yield LeftOut(kind="os-package", name=name, version=had[name], reason=reason)
    count = len([name for name in had if name not in chosen and name not in named])
    if count:
        yield LeftOut(
            kind="os-package",
            name=f"{count} packages that no seed or library needs",
            reason="the image holds what the interpreter and the wheels need, not the whole machine",
            count=count,
        )


def _left_out_libraries(needed: Iterable[str], unknown: Iterable[str], base: str) -> Iterator[LeftOut]:
    for soname in needed:
        if is_of_driver(soname):
            yield LeftOut(kind="library", name=soname, reason="the driver of the machine that runs the image brings it")
    for soname in unknown:
        yield LeftOut(kind="library", name=soname, reason=f"no package of {base} that envparity knows brings it")


def _locked(candidate: Candidate) -> LockedOsPackage:
    fields = candidate.fields
    path, sha256, size = fields.get("Filename", ""), fields.get("SHA256", ""), fields.get("Size", "")
    if not re.fullmatch(r"pool/[A-Za-z0-9+.~_:%/-]+\.deb", path) or ".." in path.split("/"):
        raise MalformedError(f"the index gives `{candidate.name}` no usable place: `{path}`")
    if not re.fullmatch("[0-9a-f]{64}", sha256) or not size.isdecimal():
        raise MalformedError(f"the index gives `{candidate.name}` no sha256 or size")
    return LockedOsPackage(
        name=candidate.name,
        version=candidate.version,
        architecture=fields.get("Architecture", ""),
        archive=candidate.suite.archive,
        suite=candidate.suite.name,
        pool_path=path,
        size_bytes=int(size),
        sha256=sha256,
    )
