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
from typing import TYPE_CHECKING, Any, cast

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
        if isinstance(self.stanzas, _Later):
            return self.stanzas.provided
        every = ((name, _line_of(stanza)) for name in self.stanzas for _, stanza in self.stanzas[name])
        return [(name, line) for name, line in every if line]

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
    def _found(self) -> list[_List]:
        return [_List.read(*each) for each in self._lists]

    @cached_property
    def provided(self) -> list[tuple[str, bytes]]:
        """Each package that provides something, with the line that says what."""
        return [(name.decode("utf-8", "replace"), line) for each in self._found for name, line in each.provided]

    def __getitem__(self, name: str) -> tuple[tuple[int, bytes], ...]:
        found = [(each.order, stanza) for each in self._found for stanza in each.of(name.encode())]
        if not found:
            raise KeyError(name)
        return tuple(found)

    def __iter__(self) -> Iterator[str]:
        return (
            name.decode("utf-8", "replace") for name in dict.fromkeys(n for each in self._found for n in each.first)
        )

    def __len__(self) -> int:
        return len({name for each in self._found for name in each.first})


@dataclass
class _List:
    """One list taken apart: of each package its first stanza, and the others of the few that have several."""

    order: int
    first: dict[bytes, bytes] = field(default_factory=dict)
    others: dict[bytes, list[bytes]] = field(default_factory=dict)
    provided: list[tuple[bytes, bytes]] = field(default_factory=list)

    @classmethod
    def read(cls, order: int, title: str, file: Path, unpacked_bytes: int) -> _List:
        found = cls(order)
        for stanza in _stanzas(_unpacked(file, unpacked_bytes, title)):
            if not stanza.startswith(b"Package: "):
                if stanza.strip():
                    raise MalformedError(f"the {title} has a stanza that does not begin with its Package")
                continue
            name = stanza[9 : stanza.find(b"\n")]
            if found.first.setdefault(name, stanza) is not stanza:
                found.others.setdefault(name, []).append(stanza)
            line = _line_of(stanza)
            if line:
                found.provided.append((name, line))
        return found

    def of(self, name: bytes) -> tuple[bytes, ...]:
        return (self.first[name], *self.others.get(name, ())) if name in self.first else ()


def _line_of(stanza: bytes) -> bytes:
    """What a package provides, as its stanza says it; nothing where it provides nothing."""
    at = stanza.find(b"\nProvides: ")
    if at < 0:
        return b""
    end = stanza.find(b"\n", at + 1)
    return stanza[at + 11 : end if end >= 0 else None]


def offered_python(index: Index) -> str:
    """The version of the interpreter that a base brings where its own answers, as `base_python_version` says it."""
    (newest, *_) = index.candidates(f"python{index.release.python_version}-minimal")
    return _upstream(newest.version)


def checked_release(data: bytes, suite: Suite, now: datetime) -> Signed:
    """What a suite's `InRelease` says: steps 1 and 2 of `read_index`, and what `signed.checked` raises."""
    return checked(data, suite.name, archive_of(suite.archive), now)


_FORMS = (".gz", ".xz")
"""The forms of a list, the one that is the fastest to unpack first."""


def _unpacked(file: Path, size_bytes: int, what: str) -> Iterator[bytes]:
    """
    The text of a list, piece by piece: what is taken apart at once is still in the processor's own memory, which takes
    a quarter less time than to unpack all of it first.
    """
    if size_bytes > _INDEX_LIMIT:
        raise MalformedError(f"the {what} has {size_bytes:,} bytes unpacked; the limit is {_INDEX_LIMIT:,}")
    seen = 0
    with file.open("rb") as stream:
        form, unpacking, fault = _unpacker(stream.read(2))
        stream.seek(0)
        try:
            while not unpacking.eof and seen <= size_bytes and (block := stream.read(_BLOCK_BYTES)):
                piece = unpacking.decompress(block, size_bytes + 1 - seen)
                seen += len(piece)
                yield piece
        except fault as error:
            raise MalformedError(f"the {what} is not a sound {form} file: {error}") from error
    if seen != size_bytes:
        raise IntegrityError(f"the {what} does not unpack to the {size_bytes:,} bytes that its signed list says")


_BLOCK_BYTES = 32 << 10
"""Read at once: of a list of packages, four times as much unpacked."""


def _unpacker(head: bytes) -> tuple[str, Any, type[Exception]]:
    """The name of a form by how it begins, what unpacks it, and what that raises where it cannot."""
    if head == b"\x1f\x8b":
        from isal import isal_zlib

        # Its stubs say that the error is an instance.
        return "gzip", isal_zlib.decompressobj(31), cast(type[Exception], isal_zlib.error)
    import lzma

    return "xz", lzma.LZMADecompressor(format=lzma.FORMAT_XZ), lzma.LZMAError


def _stanzas(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n\n")
        yield from whole
    yield rest


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
