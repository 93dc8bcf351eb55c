"""
The lists of packages of a release: signed, hashed, then read.

The formats: https://wiki.debian.org/DebianRepository/Format and Debian Policy, 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from envparity.errors import (
    EnvparityError,
    IntegrityError,
    MalformedError,
    UnreachableError,
    UnsupportedError,
)
from envparity.fetch import Fetcher, Wanted
from envparity.network import Response
from envparity.resolvers.archives import Release, Suite, address_of, archive_of, archives, release
from envparity.resolvers.signed import Archive, Signed, checked, fields, moment_in, newest
from envparity.values import LockedOsPackage, LockedSuite

if TYPE_CHECKING:
    from debian.debian_support import NativeVersion

_INDEX_LIMIT = 512 << 20


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


@dataclass(frozen=True)
class Candidate:
    """One version of a package in one suite. `order` is that of the suites: the first of equals wins."""

    suite: Suite
    order: int
    fields: Mapping[str, str] = field(repr=False)

    @property
    def name(self) -> str:
        """Of the package."""
        return self.fields["Package"]

    @property
    def version(self) -> str:
        """As the archive writes it."""
        return self.fields["Version"]

    @cached_property
    def rank(self) -> NativeVersion:
        """The version as something that is ordered (Policy, 5.6.12)."""
        return version_of(self.version)


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
    dates: Mapping[str, datetime] = field(default_factory=dict)
    """When each suite was signed, by its name; empty where it was made otherwise."""
    _known: dict[str, tuple[Candidate, ...]] = field(default_factory=dict, repr=False)
    _providers: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def unpack(self) -> None:
        """Do at once what the first question would wait for."""
        assert self._provided is not None

    def candidates(self, name: str) -> tuple[Candidate, ...]:
        """Every version of a package, the highest first."""
        if name not in self._known:
            found = [
                Candidate(self.release.suites[order], order, fields(stanza))
                for order, stanza in self.stanzas.get(name, ())
            ]
            found.sort(key=lambda candidate: candidate.order)
            found.sort(key=lambda candidate: candidate.rank, reverse=True)
            self._known[name] = tuple(found)
        return self._known[name]

    def suites(self, packages: Iterable[LockedOsPackage]) -> tuple[LockedSuite, ...]:
        """The suites that packages were taken from, and of which day they were."""
        taken = sorted({(item.archive, item.suite) for item in packages} if self.dates else ())
        return tuple(
            LockedSuite(archive=archive, suite=suite, date=f"{self.dates[suite].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
            for archive, suite in taken
        )

    @cached_property
    def _provided(self) -> list[tuple[str, bytes]]:
        """Each package that provides something, with the line that says what."""
        stanzas = self.stanzas
        every = stanzas.every() if isinstance(stanzas, _Later) else ((n, one) for n in stanzas for _, one in stanzas[n])
        found = []
        for name, stanza in every:
            at = stanza.find(b"\nProvides: ")
            if at >= 0:
                end = stanza.find(b"\n", at + 1)
                found.append((name, stanza[at + 11 : end if end >= 0 else None]))
        return found

    def providers(self, name: str) -> tuple[str, ...]:
        """The real packages that provide a virtual one, by name."""
        if name not in self._providers:
            wanted = name.encode()  # looked for before the line is taken apart: a release provides 40,000 names
            lines = ((package, line.decode()) for package, line in self._provided if wanted in line)
            found = {package for package, line in lines if name in map(_provided_name, line.split(","))}
            self._providers[name] = tuple(sorted(found))
        return self._providers[name]


def _provided_name(text: str) -> str:
    return re.split(r"[ :(]", text.strip(), maxsplit=1)[0]


def read_index(
    base: str,
    fetcher: Fetcher,
    *,
    architecture: str = "amd64",
    known: Mapping[str, Archive] | None = None,
    now: datetime | None = None,
) -> Index:
    """
    Fetch and check the index of a release.

    1. `InRelease` of each suite has at least one valid signature by a key that ships with envparity; what is read
       afterwards is what was signed, never the file around it.
    2. It is the suite that was asked for (any suite of an archive is signed by the same keys), and `Valid-Until`,
       where it stands, has not passed. It is fetched anew, but for one of a few minutes ago (`fetch.Pages`), and is not
       older than one that this address has served before (`signed.newest`). A mirror whose address names a past day is
       judged by that day.
    3. `Packages.gz` (a fifth of the time of `Packages.xz`, which is taken where there is no other) has the size and
       sha256 of the signed list; it is fetched by that hash, and so cached by it.

    Args:
        known: archives by name, in the place of those that ship.

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
    row = row.of(architecture)
    known = archives() if known is None else known
    now = now or datetime.now(UTC)
    dates: dict[str, datetime] = {}
    wanted: list[tuple[int, Wanted, int]] = []
    addresses = [f"{address_of(known[suite.archive], fetcher.mirrors)}/dists/{suite.name}" for suite in row.suites]
    with fetcher.client.workers(len(addresses)) as pool:
        responses = list(pool.map(lambda address: _answer(fetcher, f"{address}/InRelease"), addresses))
    for order, (suite, address, response) in enumerate(zip(row.suites, addresses, responses, strict=True)):
        archive = known[suite.archive]
        mirror = address_of(archive, fetcher.mirrors)
        if isinstance(response, EnvparityError):
            raise response
        if response.status != 200:
            raise UnreachableError(
                f"{address}/InRelease does not exist (status {response.status})",
                hint="is this a mirror of the archive?",
            )
        check = partial(checked, suite=suite.name, archive=archive, now=min(now, moment_in(mirror) or now))
        told = newest(response.body, f"{address}/InRelease", check, fetcher.cache)
        dates[suite.name], hashes = told.date, told.files
        for component in suite.components:
            path = f"{component}/binary-{architecture}/Packages"
            form = next((form for form in _FORMS if f"{path}{form}" in hashes), "")
            if path not in hashes or not form:
                raise MalformedError(f"{address}/InRelease does not list {path}.xz")
            sha256, size_bytes = hashes[f"{path}{form}"]
            folder = f"{address}/{component}/binary-{architecture}"
            urls = (f"{folder}/by-hash/SHA256/{sha256}", f"{folder}/Packages{form}")
            title = f"package index of {suite.name}"
            wanted.append((order, Wanted(title, urls, sha256, size_bytes), hashes[path][1]))
    new = any(fetcher.cache.blob(item.sha256) is None for _, item, _ in wanted)
    paths = fetcher.blobs([item for _, item, _ in wanted], title=f"package index of {base}")
    lists = [(order, item.title, file, size) for (order, item, size), file in zip(wanted, paths, strict=True)]
    index = Index(row, architecture, _Later(lists), tuple(item.sha256 for _, item, _ in wanted), dates)
    if new:
        index.unpack()  # no answer can be known of a list that is new, so it is unpacked where others may still wait
    return index


def _answer(fetcher: Fetcher, url: str) -> Response | EnvparityError:
    # An error that left the threads would take the connections of all others with it, who ask for something else.
    try:
        return fetcher.pages.get(url)
    except EnvparityError as error:
        return error


class _Later(Mapping[str, tuple[tuple[int, bytes], ...]]):
    """The stanzas by their package, unpacked when the first one is asked for: that takes longer than all the rest."""

    def __init__(self, lists: Sequence[tuple[int, str, Path, int]]) -> None:
        self._lists = lists

    @cached_property
    def _found(self) -> dict[bytes, list[tuple[int, bytes]]]:
        found: dict[bytes, list[tuple[int, bytes]]] = {}
        for order, title, file, unpacked_bytes in self._lists:
            for stanza in _unpacked(file.read_bytes(), unpacked_bytes, title).split(b"\n\n"):
                if stanza.startswith(b"Package: "):
                    found.setdefault(stanza[9 : stanza.find(b"\n")], []).append((order, stanza))
                elif stanza.strip():
                    raise MalformedError(f"the {title} has a stanza that does not begin with its Package")
        return found

    def __getitem__(self, name: str) -> tuple[tuple[int, bytes], ...]:
        return tuple(self._found[name.encode()])

    def every(self) -> Iterator[tuple[str, bytes]]:
        """Each stanza with the name of its package."""
        return ((name.decode("utf-8", "replace"), one) for name, found in self._found.items() for _, one in found)

    def __iter__(self) -> Iterator[str]:
        return (name.decode("utf-8", "replace") for name in self._found)

    def __len__(self) -> int:
        return len(self._found)


def offered_python(index: Index) -> str:
    """The version of the interpreter that a base brings where its own answers, as `base_python_version` says it."""
    (newest, *_) = index.candidates(f"python{index.release.python_version}-minimal")
    return _upstream(newest.version)


def checked_release(data: bytes, suite: Suite, now: datetime) -> Signed:
    """What a suite's `InRelease` says: steps 1 and 2 of `read_index`, and what `signed.checked` raises."""
    return checked(data, suite.name, archive_of(suite.archive), now)


_FORMS = (".gz", ".xz")
"""The forms of a list, the one that is the fastest to unpack first."""


def _unpacked(data: bytes, size_bytes: int, what: str) -> bytes:
    if size_bytes > _INDEX_LIMIT:
        raise MalformedError(f"the {what} has {size_bytes:,} bytes unpacked; the limit is {_INDEX_LIMIT:,}")
    text = (_of_gzip if data.startswith(b"\x1f\x8b") else _of_xz)(data, size_bytes + 1, what)
    if len(text) != size_bytes:
        raise IntegrityError(f"the {what} does not unpack to the {size_bytes:,} bytes that its signed list says")
    return text


def _of_gzip(data: bytes, most_bytes: int, what: str) -> bytes:
    from isal import isal_zlib

    try:
        return isal_zlib.decompressobj(31).decompress(data, most_bytes)
    except cast(type[Exception], isal_zlib.error) as error:  # its stubs say that it is an instance
        raise MalformedError(f"the {what} is not a sound gzip file: {error}") from error


def _of_xz(data: bytes, most_bytes: int, what: str) -> bytes:
    import lzma

    try:
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(data, max_length=most_bytes)
    except lzma.LZMAError as error:
        raise MalformedError(f"the {what} is not a sound xz file: {error}") from error


def version_of(text: str) -> NativeVersion:
    """
    A version that Debian's rules order.

    Raises:
        MalformedError: it is none.
    """
    from debian.debian_support import NativeVersion

    try:
        return NativeVersion(text)
    except ValueError as error:
        raise MalformedError(f"`{text}` is not a version of a Debian package") from error
