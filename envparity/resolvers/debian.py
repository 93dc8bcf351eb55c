"""
The packages of a base image, from a Debian or Ubuntu archive: by name, exact version, signed index and sha256.

Nothing is installed here and no maintainer script is run. The formats: https://wiki.debian.org/DebianRepository/Format
and Debian Policy, 5 and 7. What ships as data: `data/archives.toml` (releases, seeds, keys), `data/sonames.toml`.

The answer is a function of the archive's state and of the request: sorted, and free of the order of any input.
"""

from __future__ import annotations

__all__ = [
    "BASES",
    "Index",
    "Release",
    "ResolvedBase",
    "Suite",
    "base_python_version",
    "bringing",
    "checked_release",
    "default_base",
    "offered_python",
    "package_urls",
    "read_index",
    "release",
    "resolve_base",
]

import difflib
import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from envparity import resources
from envparity.errors import (
    DiskFullError,
    IntegrityError,
    MalformedError,
    RefusedError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from envparity.fetch import Fetcher, Wanted
from envparity.values import LeftOut, LockedOsPackage, OsPackage, Substituted, System

if TYPE_CHECKING:
    from debian.debian_support import NativeVersion

_INDEX_LIMIT = 512 << 20
_MOST_PASSES = 20


@dataclass(frozen=True)
class Suite:
    """One suite of an archive (`bookworm-security`), and the components that are read of it."""

    archive: str
    name: str
    components: tuple[str, ...]


@dataclass(frozen=True)
class Release:
    """One row of the table of bases: where it comes from and what every image of it begins with."""

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
class _Archive:
    mirror: str
    keys: str
    fingerprints: tuple[str, ...]


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(resources.data("archives.toml").decode())


def _sonames(base: str) -> Mapping[str, str]:
    table: dict[str, dict[str, str]] = tomllib.loads(resources.data("sonames.toml").decode())
    return table[base]


def _archive(name: str) -> _Archive:
    row = _tables()["archives"][name]
    return _Archive(row["mirror"], row["keys"], tuple(row["fingerprints"]))


BASES: tuple[str, ...] = ("debian:bookworm", "debian:trixie", "ubuntu:jammy", "ubuntu:noble")
"""The releases that can be assembled, in the order in which they are offered. A test holds them to the table."""


def release(base: str) -> Release:
    """
    The row of a base by its name, as `--base` takes it.

    Raises:
        UnsupportedError: a base of the command-line contract that is not built yet (`registry:…`, `oci:…`, `scratch`).
        UsageError: no such base.
    """
    row = _tables()["releases"].get(base)
    if row is None:
        if base == "scratch" or base.startswith(("registry:", "oci:")):
            raise UnsupportedError(f"the base `{base}` is not supported yet", hint=f"take one of {', '.join(BASES)}")
        raise UsageError(f"`{base}` is not a base", hint=f"take one of {', '.join(BASES)}")
    suites = tuple(Suite(s["archive"], s["name"], tuple(s["components"])) for s in row["suites"])
    lists = ("seeds", "python", "python_parts", "architectures")
    fields: dict[str, Any] = {key: tuple(value) if key in lists else value for key, value in row.items()}
    return Release(**fields | {"base": base, "suites": suites})


def default_base(system: System | None) -> str:
    """
    The base that is the snapshot's own release.

    Raises:
        UnsupportedError: the snapshot was taken on another system, or does not say on which.
    """
    hint = f"name one with --base: {', '.join(BASES)}"
    if system is None or not system.id:
        raise UnsupportedError(
            "the snapshot does not say which release it was taken on, so no base follows from it", hint=hint
        )
    for base in BASES:
        row = release(base)
        if (row.id, row.version_id) == (system.id, system.version_id):
            return base
    what = system.name or f"{system.id} {system.version_id}".strip()
    raise UnsupportedError(f"a base of {what} is not supported yet", hint=hint)


def bringing(base: str, sonames: Iterable[str]) -> frozenset[str]:
    """The packages of a base that bring these shared libraries, as far as the table knows them."""
    table = _sonames(base)
    return frozenset(table[name] for name in sonames if name in table)


def base_python_version(os_packages: Iterable[LockedOsPackage]) -> str:
    """
    The version of the interpreter that these packages bring, as `platform.python_version()` says it; empty for none.

    It is that of `python3.X-minimal`, which holds the program. The metapackage `python3` has a version of its own,
    which lags behind (Ubuntu 22.04: 3.10.6 over an interpreter 3.10.12).
    """
    for package in os_packages:
        if re.fullmatch(r"python3\.\d+-minimal", package.name):
            return _upstream(package.version)
    return ""


def _upstream(version: str) -> str:
    # Policy, 5.6.12: [epoch:]upstream_version[-debian_revision]; `~` comes before everything: 3.13.0~rc1.
    upstream = version.partition(":")[2] or version
    return upstream.rpartition("-")[0].replace("~", "") or upstream


def package_urls(package: LockedOsPackage, mirrors: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Where the file of a locked package may lie: the configured mirror of its archive, else the archive's own."""
    return tuple(f"{mirror}/{package.pool_path}" for mirror in _mirrors(package.archive, mirrors))


def mirror_of(archive: str) -> str:
    """The address of an archive's own mirror."""
    return _archive(archive).mirror


def _mirrors(archive: str, mirrors: Mapping[str, str] | None) -> tuple[str, ...]:
    own = _archive(archive).mirror
    chosen = (mirrors or {}).get(archive, own).rstrip("/")
    return (chosen,)


# --- The index: signed, hashed, then read -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Candidate:
    """One version of a package in one suite. `order` is that of the suites: the first of equals wins."""

    suite: Suite
    order: int
    fields: Mapping[str, str] = field(repr=False)

    @property
    def name(self) -> str:
        return self.fields["Package"]

    @property
    def version(self) -> str:
        return self.fields["Version"]

    @cached_property
    def rank(self) -> NativeVersion:
        return _version(self.version)


@dataclass(frozen=True)
class Index:
    """
    What the suites of one release hold for one architecture, after every signature and hash was checked.

    Only the stanzas that are asked for are parsed: an index has 63,000.
    """

    release: Release
    architecture: str
    stanzas: Mapping[str, tuple[tuple[int, bytes], ...]] = field(repr=False)
    sha256s: tuple[str, ...] = ()
    """Of the signed lists that it was read from; empty where it was made otherwise."""
    _known: dict[str, tuple[_Candidate, ...]] = field(default_factory=dict, repr=False)

    def candidates(self, name: str) -> tuple[_Candidate, ...]:
        """Every version of a package, the highest first."""
        if name not in self._known:
            found = [
                _Candidate(self.release.suites[order], order, _fields(stanza))
                for order, stanza in self.stanzas.get(name, ())
            ]
            found.sort(key=lambda candidate: candidate.order)
            found.sort(key=lambda candidate: candidate.rank, reverse=True)
            self._known[name] = tuple(found)
        return self._known[name]

    @cached_property
    def _providers(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, set[str]] = {}
        for name, stanzas in self.stanzas.items():
            for _, stanza in stanzas:
                at = stanza.find(b"\nProvides: ")
                if at >= 0:
                    line = stanza[at + 11 : stanza.find(b"\n", at + 1) if b"\n" in stanza[at + 1 :] else None]
                    for part in line.decode().split(","):
                        found.setdefault(re.split(r"[ :(]", part.strip(), maxsplit=1)[0], set()).add(name)
        return {name: tuple(sorted(names)) for name, names in found.items()}

    def providers(self, name: str) -> tuple[str, ...]:
        """The real packages that provide a virtual one, by name."""
        return self._providers.get(name, ())


def read_index(
    base: str,
    fetcher: Fetcher,
    *,
    architecture: str = "amd64",
    mirrors: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> Index:
    """
    Fetch and check the index of a release.

    1. `InRelease` of each suite has at least one valid signature by a key that ships with envparity; what is read
       afterwards is what was signed, never the file around it.
    2. It is the suite that was asked for (any suite of an archive is signed by the same keys), and `Valid-Until`,
       where it stands, has not passed. It is fetched anew, but for one of a few minutes ago (`fetch.Pages`).
    3. `Packages.xz` has the size and sha256 of the signed list; it is fetched by that hash, and so cached by it.

    Raises:
        UnreachableError: a mirror cannot be reached, or has no such suite.
        IntegrityError: a signature, a date or a hash is not right; the message names the fingerprints that were wanted.
        UnsupportedError: an architecture that the base is not assembled for.
    """
    row = release(base)
    if architecture not in row.architectures:
        raise UnsupportedError(
            f"a base for `{architecture}` is not supported yet",
            hint=f"{base} is assembled for {' and '.join(row.architectures)}",
        )
    now = now or datetime.now(UTC)
    wanted: list[tuple[int, Wanted, int]] = []
    for order, suite in enumerate(row.suites):
        mirror = _mirrors(suite.archive, mirrors)[0]
        address = f"{mirror}/dists/{suite.name}"
        response = fetcher.pages.get(f"{address}/InRelease")
        if response.status != 200:
            raise UnreachableError(
                f"{address}/InRelease does not exist (status {response.status})",
                hint="is this a mirror of the archive?",
            )
        hashes = checked_release(response.body, suite, now)
        for component in suite.components:
            path = f"{component}/binary-{architecture}/Packages"
            if path not in hashes or f"{path}.xz" not in hashes:
                raise MalformedError(f"{address}/InRelease does not list {path}.xz")
            sha256, size_bytes = hashes[f"{path}.xz"]
            folder = f"{address}/{component}/binary-{architecture}"
            urls = (f"{folder}/by-hash/SHA256/{sha256}", f"{folder}/Packages.xz")
            title = f"package index of {suite.name}"
            wanted.append((order, Wanted(title, urls, sha256, size_bytes), hashes[path][1]))
    new = any(fetcher.cache.blob(item.sha256) is None for _, item, _ in wanted)
    paths = fetcher.blobs([item for _, item, _ in wanted], title=f"package index of {base}")
    lists = [(order, item.title, file, size) for (order, item, size), file in zip(wanted, paths, strict=True)]
    stanzas = _Later(lists)
    if new:
        len(stanzas)  # no answer can be known of a list that is new, so it is unpacked where others may still wait
    return Index(row, architecture, stanzas, tuple(item.sha256 for _, item, _ in wanted))


class _Later(Mapping[str, tuple[tuple[int, bytes], ...]]):
    """The stanzas by their package, unpacked when the first one is asked for: that takes longer than all the rest."""

    def __init__(self, lists: Sequence[tuple[int, str, Path, int]]) -> None:
        self._lists = lists

    @cached_property
    def _found(self) -> dict[str, tuple[tuple[int, bytes], ...]]:
        stanzas: dict[str, list[tuple[int, bytes]]] = {}
        for order, title, file, unpacked_bytes in self._lists:
            for name, stanza in _stanzas(_unpacked(file.read_bytes(), unpacked_bytes, title), title):
                stanzas.setdefault(name, []).append((order, stanza))
        return {name: tuple(found) for name, found in stanzas.items()}

    def __getitem__(self, name: str) -> tuple[tuple[int, bytes], ...]:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def offered_python(index: Index) -> str:
    """The version of the interpreter that a base brings where its own answers, as `base_python_version` says it."""
    (newest, *_) = index.candidates(f"python{index.release.python_version}-minimal")
    return _upstream(newest.version)


def checked_release(data: bytes, suite: Suite, now: datetime) -> dict[str, tuple[str, int]]:
    """
    The files that a signed `InRelease` lists, with sha256 and size in bytes: steps 1 and 2 of `read_index`.

    Raises:
        IntegrityError: no valid signature by a key of the archive, another suite, or out of date.
        MalformedError: signed, and without what has to stand in it.
    """
    text = _signed_text(data, suite)
    fields = _fields(text)
    names = {fields.get("Suite"), fields.get("Codename")}
    if suite.name not in names:
        raise IntegrityError(
            f"InRelease of {suite.archive} {suite.name} is signed, but is that of {fields.get('Codename', 'no suite')}"
        )
    if "Valid-Until" in fields:
        try:
            until = parsedate_to_datetime(fields["Valid-Until"])
        except ValueError as error:
            raise MalformedError(f"InRelease of {suite.name} has no readable Valid-Until: {error}") from error
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        if until < now:
            raise IntegrityError(
                f"InRelease of {suite.archive} {suite.name} was valid until {fields['Valid-Until']}",
                hint="the mirror is out of date (or this machine's clock is wrong): use another mirror",
            )
    hashes: dict[str, tuple[str, int]] = {}
    for line in fields.get("SHA256", "").splitlines():
        parts = line.split()
        if len(parts) == 3 and re.fullmatch("[0-9a-f]{64}", parts[0]) and parts[1].isdecimal():
            hashes[parts[2]] = (parts[0], int(parts[1]))
    if not hashes:
        raise MalformedError(f"InRelease of {suite.archive} {suite.name} lists no SHA256")
    return hashes


def _signed_text(data: bytes, suite: Suite) -> bytes:
    from pysequoia import Cert, verify

    archive = _archive(suite.archive)
    fingerprints = {fingerprint.lower() for fingerprint in archive.fingerprints}
    certificates = [
        certificate
        for certificate in Cert.split_bytes(resources.data(archive.keys))
        if certificate.fingerprint in fingerprints
    ]
    wanted = ", ".join(archive.fingerprints)
    problem = f"InRelease of {suite.archive} {suite.name} has no valid signature by any of {wanted}"
    hint = "the mirror altered or replaced it (a login page of the network does so too): use another mirror"
    try:
        message = verify(bytes=data, store=lambda _: certificates)
    except (RuntimeError, OSError, ValueError) as error:
        # Its text carries a stack trace of the library from the second line on.
        raise IntegrityError(f"{problem}: {str(error).partition(chr(10))[0]}", hint=hint) from error
    if not any(signature.certificate in fingerprints for signature in message.valid_sigs):
        raise IntegrityError(problem, hint=hint)
    return message.bytes or b""


def _unpacked(data: bytes, size_bytes: int, what: str) -> bytes:
    import lzma

    if size_bytes > _INDEX_LIMIT:
        raise MalformedError(f"the {what} has {size_bytes:,} bytes unpacked; the limit is {_INDEX_LIMIT:,}")
    try:
        text = lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(data, max_length=size_bytes + 1)
    except lzma.LZMAError as error:
        raise MalformedError(f"the {what} is not a sound xz file: {error}") from error
    if len(text) != size_bytes:
        raise IntegrityError(f"the {what} does not unpack to the {size_bytes:,} bytes that its signed list says")
    return text


def _stanzas(text: bytes, what: str) -> Iterator[tuple[str, bytes]]:
    for stanza in text.split(b"\n\n"):
        if stanza.startswith(b"Package: "):
            yield stanza[9 : stanza.index(b"\n")].decode("utf-8", "replace"), stanza
        elif stanza.strip():
            raise MalformedError(f"the {what} has a stanza that does not begin with its Package")


def _fields(stanza: bytes) -> dict[str, str]:
    """The fields of one stanza (Policy, 5.1); the lines of a long one are kept as lines."""
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.decode("utf-8", "replace").splitlines():
        if line[:1] in {" ", "\t"} and name:
            fields[name] += "\n" + line.strip()
        else:
            name, colon, value = line.partition(":")
            if colon:
                fields[name] = value.strip()
    return fields


def _version(text: str) -> NativeVersion:
    from debian.debian_support import NativeVersion

    try:
        return NativeVersion(text)
    except ValueError as error:
        raise MalformedError(f"`{text}` is not a version of a Debian package") from error


# --- The closure --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Relation:
    """`libc6 (>= 2.34)`; without a version, `operator` is empty."""

    name: str
    operator: str = ""
    version: str = ""

    def admits(self, version: str) -> bool:
        if not self.operator:
            return True
        left, right = _version(version), _version(self.version)
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
    skipped: dict[str, set[str]] = field(default_factory=dict)

    def settled(self) -> dict[str, _Candidate]:
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
    ) -> tuple[dict[str, _Candidate], dict[str, list[tuple[_Relation, str]]]]:
        chosen: dict[str, _Candidate] = {}
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

    def _choice(self, name: str, demands: Iterable[tuple[_Relation, str]]) -> _Candidate:
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
        same = (candidate for candidate in fitting if candidate.version == self.installed.get(name))
        return next(same, fitting[0])

    def _alternative(self, group: tuple[_Relation, ...], owner: str) -> _Relation | None:
        """
        Which of several alternatives is taken: a seed, else what the snapshot has, else the first that exists.

        `None` where the group is not followed, because one of its names stands on the list of those.
        """
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
    mirrors: Mapping[str, str] | None = None,
) -> ResolvedBase:
    """
    Decide which packages make a base: the seeds of the release, what the libraries need, and their dependencies.

    1. The seeds are the table's, those of the base's own interpreter if `with_python`, the packages that bring
       `needed_sonames`, and `add` (`--add-os`).
    2. Depends and Pre-Depends are followed, Recommends are not; names of the table's `not_followed` are not either,
       unless they are seeds themselves.
    3. Of each package the snapshot's exact version is taken where some suite has it and every other choice admits it;
       else the highest, and that is a substitution.

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
        index = read_index(base, fetcher, architecture=architecture, mirrors=mirrors)
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


_RULES = 1
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
    table = _sonames(base)
    driver = frozenset(_tables()["driver"]["sonames"])
    needed = sorted(set(needed_sonames))
    unknown = tuple(soname for soname in needed if soname not in table and soname not in driver)
    seeds |= {table[soname] for soname in needed if soname in table}
    excluded = frozenset(exclude)
    barred = (frozenset(_tables()["not_followed"]["names"]) - seeds) | excluded
    closure = _Closure(index, frozenset(seeds - excluded), had, barred)
    chosen = closure.settled()
    return ResolvedBase(
        os_packages=tuple(_locked(chosen[name]) for name in sorted(chosen)),
        substituted=tuple(
            Substituted(
                kind="os-package",
                name=name,
                before=had[name],
                after=chosen[name].version,
                reason=_reason(index, name, had[name], base),
            )
            for name in sorted(chosen)
            if name in had and had[name] != chosen[name].version
        ),
        left_out=(
            *_left_out_packages(had, chosen, {n: o for n, o in closure.skipped.items() if n not in excluded}),
            *_left_out_libraries(needed, driver, unknown, base),
        ),
        unknown_sonames=unknown,
    )


def _require_known(index: Index, names: Iterable[str]) -> None:
    """Refuse names that somebody asked for and that are no packages of the release, all at once, each with the near."""
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


def _reason(index: Index, name: str, version: str, base: str) -> str:
    if any(candidate.version == version for candidate in index.candidates(name)):
        return f"another package of {base} needs a newer version of it"
    return f"no suite of {base} has this version"


def _left_out_packages(
    had: Mapping[str, str], chosen: Mapping[str, _Candidate], skipped: Mapping[str, set[str]]
) -> Iterator[LeftOut]:
    """What the snapshot has and the image does not: named where a chosen package depends on it, else counted."""
    named = sorted(name for name in skipped if name in had and name not in chosen)
    for name in named:
        owners = ", ".join(sorted(skipped[name]))
        reason = f"only installation scripts (of {owners}) call it, and none runs in an image"
        yield LeftOut(kind="os-package", name=name, version=had[name], reason=reason)
    count = len([name for name in had if name not in chosen and name not in named])
    if count:
        yield LeftOut(
            kind="os-package",
            name=f"{count} packages that no seed or library needs",
            reason="the image holds what the interpreter and the wheels need, not the whole machine",
            count=count,
        )


def _left_out_libraries(
    needed: Iterable[str], driver: frozenset[str], unknown: Iterable[str], base: str
) -> Iterator[LeftOut]:
    for soname in needed:
        if soname in driver:
            yield LeftOut(kind="library", name=soname, reason="the driver of the machine that runs the image brings it")
    for soname in unknown:
        yield LeftOut(kind="library", name=soname, reason=f"no package of {base} that envparity knows brings it")


def _locked(candidate: _Candidate) -> LockedOsPackage:
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
