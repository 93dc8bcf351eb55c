"""
The exact wheel of an installed distribution, found again on an index, without resolving anything.

An index speaks the simple repository API (https://packaging.python.org/specifications/simple-repository-api/), as JSON
or as HTML. A wheel is the one that was installed if its file name has the very tags that the installed WHEEL file
recorded.
"""

from __future__ import annotations

__all__ = [
    "PYPI",
    "Candidates",
    "Listing",
    "Problem",
    "Sought",
    "confusion",
    "find_wheels",
    "locked",
    "nowhere",
    "reinstall",
    "size_bytes",
]

import hashlib
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import msgspec

from envparity.collectors.urls import public_url
from envparity.errors import IntegrityError
from envparity.network import address_fault, printable
from envparity.progress import SILENT, Progress
from envparity.resolvers import simple
from envparity.resolvers.indexes import Index, Indexes
from envparity.resolvers.matching import build_of, same_wheel, wheels_of
from envparity.resolvers.problems import OTHER_INDEX, PUBLISH, PYPI, SERVABLE, Problem, reinstall, wheel_of
from envparity.values import Distribution, LockedDistribution, LockedWheel

if TYPE_CHECKING:
    from packaging.version import Version

    from envparity.fetch import Pages
    from envparity.network import Client, Response

T = TypeVar("T")

_PAGE_BYTES = 128 << 20
_PAGE_WITHIN_S = 300.0
_AT_ONCE = 16
_PACK = "pack what lies there, with `--repack`"
_TITLE = "finding wheels"
_PYPI_ALONE = Indexes()


def find_wheels(
    distributions: Sequence[Distribution],
    *,
    client: Client,
    indexes: Indexes = _PYPI_ALONE,
    python_version: str,
    platform_tags: Sequence[str] = (),
    prove: Callable[[LockedDistribution], str] | None = None,
    progress: Progress = SILENT,
    pages: Pages | None = None,
    meanwhile: Callable[[LockedDistribution], None] = lambda item: None,
) -> tuple[LockedDistribution | Problem, ...]:
    """
    For each distribution, in their order, the wheel that it was installed from, or why there is none.

    Nothing is chosen for being newer or better: version, build and tags must be those of the snapshot, and one file
    only may have them. A file that was yanked is what the model was trained with: it is given, with the reason in
    `yanked`, and deserves a warning. Which distributions to look for (not tooling, not shadowed copies) is the
    caller's to say. Where two indexes have such a file and the two differ, neither is taken: whoever puts a name of
    somebody else's on a public index must not get into a lock. What was installed from the address of a wheel is locked
    at that address, if its hash was noted.

    Args:
        distributions: as a live snapshot knows them, with `wheel_tags`.
        client: how to ask.
        indexes: which indexes, and which distribution is of which.
        python_version: that of the snapshot's interpreter (`3.11.7`), which a file's `requires-python` must allow.
        platform_tags: what that interpreter can load, as the snapshot recorded it.
        prove: the digest of the normalised RECORD of a file. Some projects publish a wheel under other tags than its
            own WHEEL file says; of those that fit the interpreter, the one with the installed RECORD is then the one.
        progress: told once a distribution.
        pages: where the index's pages are kept for some minutes; without it, each is asked for.
        meanwhile: called with each that was found, while others are still waited for.

    Raises:
        UnsupportedError: an index answers with a later version of the interface.
        MalformedError: an index's answer is not what the specification says.
        UnreachableError: an index gives no answer.
    """
    sought = Sought(client, python_version, indexes, pages)

    def find(distribution: Distribution) -> LockedDistribution | Problem:
        found = sole(distribution)
        if not isinstance(found, Problem):
            meanwhile(found)
        return found

    def sole(distribution: Distribution) -> LockedDistribution | Problem:
        elsewhere = _at_address(distribution, client) or _never_on_an_index(distribution)
        if elsewhere is not None:
            return elsewhere
        found = _find(distribution, sought)
        if not isinstance(found, Problem) or found.confused or prove is None or distribution.record_sha256 is None:
            return found
        candidates = _renamed(distribution, sought, platform_tags)
        return next((item for item in candidates if prove(item) == distribution.record_sha256), found)

    return sought.each(find, distributions, of_index=_is_of_index, at_once=_AT_ONCE, progress=progress)


def _is_of_index(distribution: Distribution) -> bool:
    """Whether an index is asked for it; of what is found elsewhere, or nowhere, none is."""
    return not distribution.direct_url and _never_on_an_index(distribution) is None


def version_of(distribution: Distribution) -> Version | None:
    """The version as a value; none where PEP 440 does not allow it."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(distribution.version)
    except InvalidVersion:
        return None


@dataclass(frozen=True, eq=False)
class Listing:
    """What an index lists of a project; the addresses of the files are relative to `base`."""

    index: Index
    page: simple.Page
    base: str


@dataclass(frozen=True, eq=False)
class Candidates:
    """Files of one index that may be the one; never none."""

    listing: Listing
    files: tuple[simple.IndexFile, ...]

    @property
    def sha256s(self) -> frozenset[str]:
        """What tells them from those of another index."""
        return frozenset(map(sha256_of, self.files))


@dataclass(frozen=True)
class Sought:
    """Whom to ask, and for which Python."""

    client: Client
    python_version: str
    indexes: Indexes
    pages: Pages | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    """Filled by `locked`: the sha256 of the METADATA that an index serves beside a wheel, by that wheel's own."""

    def listings(self, name: str, version: Version | None = None) -> Iterator[Listing]:
        """
        What each index that a project may come from lists of it, in their order; nothing of one that has none. Of a
        `version`, where one is named, and perhaps of some others.
        """
        for index in self.indexes.of(name):
            url = urljoin(index.url, f"{name}/")
            if self.pages is not None and version is not None:
                page = self.pages.read(
                    url,
                    partial(_page, name, version),
                    simple.Page,
                    _part(name, version),
                    accept=simple.ACCEPT,
                    limit=_PAGE_BYTES,
                    within_s=_PAGE_WITHIN_S,
                )
            else:
                asked = self.pages or self.client
                response = asked.get(url, accept=simple.ACCEPT, limit=_PAGE_BYTES, within_s=_PAGE_WITHIN_S)
                page = _page(name, version, response) if response.status == 200 else None
            if page is not None:
                yield Listing(index, page, page.base)

    def each(
        self,
        find: Callable[[Distribution], T],
        distributions: Sequence[Distribution],
        *,
        of_index: Callable[[Distribution], bool],
        at_once: int,
        progress: Progress,
    ) -> tuple[T, ...]:
        """
        What `find` says of each, in their order: first of those whose pages are known, then of those whose pages arrive
        together, then of the rest, so many side by side. `of_index` tells for which of them an index is asked.
        """
        # Threads that wait for nobody only wait for one another.
        waiting = {place: item for place, item in enumerate(distributions) if of_index(item)}
        found = {place: find(item) for place, item in waiting.items() if self._is_known(item)}
        asked = {place: item for place, item in enumerate(distributions) if place not in found}
        arriving = self._arriving({place: item for place, item in waiting.items() if place not in found})
        first = next(arriving, None)
        if first is not None:
            with progress.task(_TITLE, len(asked)) as advance:
                for place in chain([first], arriving):
                    found[place] = find(asked.pop(place))
                    advance(1)
        if asked:
            others = self.client.each(find, tuple(asked.values()), at_once=at_once, title=_TITLE, progress=progress)
            found |= dict(zip(asked, others, strict=True))
        return tuple(found[place] for place in range(len(distributions)))

    def _arriving(self, distributions: Mapping[int, Distribution]) -> Iterator[int]:
        """Ask for the pages of many at once, and say of which they are here."""
        if self.pages is not None:
            sought = {place: self._urls(item.name) for place, item in distributions.items()}
            yield from self.pages.arriving(sought, accept=simple.ACCEPT, limit=_PAGE_BYTES)

    def _urls(self, name: str) -> list[str]:
        return [urljoin(index.url, f"{name}/") for index in self.indexes.of(name)]

    def _is_known(self, item: Distribution) -> bool:
        """Whether nobody has to be asked for what the indexes list of its version."""
        version = version_of(item)
        if version is None or self.pages is None:
            return False
        part = _part(item.name, version)
        return all(self.pages.is_known(url, part, accept=simple.ACCEPT) for url in self._urls(item.name))


def _page(name: str, version: Version | None, response: Response) -> simple.Page:
    page = simple.page(response, name, version)
    return msgspec.structs.replace(page, base=simple.joined(response.url, page.base))


def _part(name: str, version: Version) -> str:
    return f"{name} {version} of a simple index, 1"


def _at_address(distribution: Distribution, client: Client) -> LockedDistribution | None:
    """What was installed from the address of a wheel, whose hash the installer noted (direct_url.json, PEP 610)."""
    url, _ = urldefrag(distribution.direct_url)
    file_name = unquote(urlsplit(url).path.rpartition("/")[2])
    digest = _stated_sha256(distribution.direct_url)
    fits = file_name.endswith(".whl") and not address_fault(url) and public_url(url) == url
    if not digest or distribution.editable or not fits:
        return None
    wheel = LockedWheel(name=file_name, url=url, size_bytes=size_bytes(url, file_name, digest, client), sha256=digest)
    return LockedDistribution(
        name=distribution.name,
        version=distribution.version,
        wheels=(wheel,),
        state="matched",
        import_names=distribution.import_names,
    )


def _stated_sha256(address: str) -> str:
    """The sha256 that stands in an address of a snapshot; empty for none."""
    found = re.fullmatch(r"sha256=([0-9a-f]{64})", urldefrag(address)[1])
    return found[1] if found else ""


def _never_on_an_index(distribution: Distribution) -> Problem | None:
    """What the snapshot alone rules out."""
    name, version, origin = distribution.name, distribution.version, distribution.direct_url
    where = printable(origin) or distribution.location
    reason, advice, command = "", PUBLISH, wheel_of(where)
    is_wheel = urlsplit(urldefrag(origin)[0]).path.endswith(".whl")
    if is_wheel:
        advice, command = f"upload it to an index that `--index` names, and install it from there; or {_PACK}", ""
    if distribution.editable:
        reason, advice = f"is installed as editable from `{where}`", f"{PUBLISH}, or ship it with `--app`"
    elif re.match(r"(git|hg|bzr|svn)\+", origin):
        reason, command = f"is installed from version control, `{where}`", wheel_of(public_url(origin))
    elif origin.startswith("file:"):
        reason = f"is installed from a local file or folder, `{where}`"
    elif is_wheel and origin.startswith(("http:", "https:")) and not _stated_sha256(origin):
        reason = f"is installed from the address `{where}`, and its hash was not noted"
        advice = f"install it again with pip, which notes it (uv does not), and take the snapshot again; or {_PACK}"
        command = shlex.join(["pip", "install", "--force-reinstall", "--no-deps", where])
    elif origin:
        reason = f"is installed from the address `{where}`, not from an index"
    if reason:
        return Problem(name, version, reason, advice, "local-build", command)
    if not SERVABLE.fullmatch(name):
        return Problem(name, version, "has a name that no index can serve", "look at what installed it")
    if not distribution.wheel_tags:
        return Problem(
            name,
            version,
            "records no wheel that it came from (an egg-info, a conda or a Linux distribution's package)",
            "make a virtual environment, install it there with pip or uv, and train in that",
            "local-build",
        )
    return None


def _find(distribution: Distribution, sought: Sought) -> LockedDistribution | Problem:
    """The one file that every index which has such a file agrees on."""
    problems: list[Problem] = []
    found: list[Candidates] = []
    for listing in sought.listings(distribution.name, version_of(distribution)):
        files = same_wheel(distribution, listing.page.files, listing.index.url)
        if isinstance(files, Problem):
            problems.append(files)
        else:
            found.append(Candidates(listing, files))
    if not found:
        return problems[0] if problems else nowhere(distribution, sought.indexes)
    confused = confusion(distribution, found)
    if confused is not None:
        return confused
    listing, files = found[0].listing, found[0].files
    if len(files) > 1:
        names = " and ".join(f"`{file.filename}`" for file in files)
        return Problem(
            distribution.name,
            distribution.version,
            f"could be either of {names}",
            "reinstall it, to know which",
            command=reinstall(distribution.name, distribution.version, listing.index.url),
        )
    return locked(distribution, files[0], listing, sought)


def nowhere(distribution: Distribution, indexes: Indexes) -> Problem:
    """Of a name that is on none of the indexes that it may come from."""
    first, *others = (index.shown for index in indexes.of(distribution.name))
    reason = f"is not on the index {first}" + "".join(f", nor on {other}" for other in others)
    advice = OTHER_INDEX
    configured = [index.shown for index in indexes.unasked if index.url != PYPI]
    if configured:
        advice = f"pip or uv is configured here with {' and '.join(configured)}: `--index from-config` asks there too"
    elif indexes.unasked:  # what pip and uv ask where nobody configured anything
        advice = f"{PYPI} is not asked, since an address without a name takes its place: `--index NAME=URL` asks both"
    return Problem(distribution.name, distribution.version, reason, advice)


def confusion(distribution: Distribution, found: Sequence[Candidates]) -> Problem | None:
    """
    That two indexes have different files for a distribution; None where they do not.

    Neither may win in silence (https://medium.com/@alex.birsan/dependency-confusion-4a5d60fec610).
    """
    differing = [item for item in found if item.sha256s != found[0].sha256s]
    if not differing:
        return None
    two = (found[0], differing[0])
    served = " and ".join(f"sha256 {sha256_of(item.files[0])[:12]}… on {item.listing.index}" for item in two)
    flags = " or ".join(f"`--index-for {distribution.name}={item.listing.index.name}`" for item in two)
    return Problem(
        distribution.name,
        distribution.version,
        f"is on two indexes, and is not the same file there: {served}",
        f"say which is the one: {flags}",
        confused=True,
    )


def sha256_of(file: simple.IndexFile) -> str:
    """As the index states it; empty where it states none."""
    return file.hashes.get("sha256", "").lower()


def _renamed(distribution: Distribution, sought: Sought, platform_tags: Sequence[str]) -> Iterator[LockedDistribution]:
    """The wheels of this version that the interpreter could load, whatever the WHEEL file says of its tags."""
    from packaging.tags import compatible_tags, cpython_tags
    from packaging.version import InvalidVersion, Version

    try:
        version = Version(distribution.version)
    except InvalidVersion:
        return
    major, minor = (int(part) for part in sought.python_version.split(".")[:2])
    abi = f"cp{major}{minor}"
    fitting = {*cpython_tags((major, minor), abis=[abi], platforms=platform_tags)}
    fitting |= {*compatible_tags((major, minor), abi, platforms=platform_tags)}
    for listing in sought.listings(distribution.name, version):
        for file, build, tags in wheels_of(distribution.name, version, listing.page.files):
            if tags & fitting and build == build_of(distribution.wheel_build):
                found = locked(distribution, file, listing, sought)
                if isinstance(found, LockedDistribution):
                    yield found


def locked(
    distribution: Distribution, file: simple.IndexFile, listing: Listing, sought: Sought
) -> LockedDistribution | Problem:
    """The one file, checked for everything that a lock needs to know of it."""
    from packaging.specifiers import SpecifierSet

    name, version, python_version = distribution.name, distribution.version, sought.python_version
    sha256 = sha256_of(file)
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        return Problem(name, version, f"the index gives no sha256 of `{file.filename}`", OTHER_INDEX)
    url = simple.joined(listing.base, file.url)
    if address_fault(url) or urlsplit(url).scheme not in {urlsplit(listing.index.url).scheme, "https"}:
        return Problem(
            name, version, f"the index serves `{file.filename}` at `{printable(url)}`, which is not https", OTHER_INDEX
        )
    requires_python = file.requires_python or ""
    try:
        if not SpecifierSet(requires_python).contains(python_version, prereleases=True):
            return Problem(
                name,
                version,
                f"`{file.filename}` says that it needs Python {requires_python}, and the snapshot has {python_version}",
                "no installer would accept a lock of it; install a version that supports this Python",
            )
    except ValueError:
        requires_python = ""  # old projects wrote what PEP 440 refuses, and PEP 751 carries only what is valid
    if file.metadata_sha256:
        sought.metadata[sha256] = file.metadata_sha256
    counted = file.size if file.size is not None else size_bytes(url, file.filename, sha256, sought.client)
    wheel = LockedWheel(name=file.filename, url=public_url(urldefrag(url)[0]), size_bytes=counted, sha256=sha256)
    return LockedDistribution(
        name=name,
        version=version,
        wheels=(wheel,),
        state="matched",
        index=public_url(listing.index.url),
        requires_python=requires_python,
        import_names=distribution.import_names,
        yanked=simple.yanked(file.yanked),
        provenance=(public_url(simple.joined(listing.base, file.provenance)),) if file.provenance else (),
    )


def size_bytes(url: str, file_name: str, sha256: str, client: Client) -> int:
    """Count the bytes of a file whose size the index does not tell (it became mandatory in version 1.1)."""

    def count(chunks: Iterator[bytes]) -> int:
        digest, size_bytes = hashlib.sha256(), 0
        for chunk in chunks:
            digest.update(chunk)
            size_bytes += len(chunk)
        if digest.hexdigest() != sha256:
            raise IntegrityError(
                f"`{file_name}` at {printable(url)} has the sha256 {digest.hexdigest()}, and the index promises"
                f" {sha256}",
                hint="the file was replaced or damaged; do not use it",
            )
        return size_bytes

    return client.download(url, count)
