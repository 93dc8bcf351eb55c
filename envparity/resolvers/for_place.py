"""
The wheel of what a file pins (a lock of another tool, requirements), for a target that nobody has installed it on yet.

No version is moved. Hashes that the file states are a limit: only a file with one of them is taken.
"""

from __future__ import annotations

__all__ = ["Place", "find_pinned"]

import posixpath
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urldefrag, urlsplit

import msgspec

from envparity.collectors.urls import public_url
from envparity.errors import IntegrityError
from envparity.network import address_fault, printable
from envparity.progress import SILENT, Progress
from envparity.resolvers import fitting, index, simple
from envparity.resolvers.indexes import Indexes
from envparity.resolvers.matching import is_sdist_of, wheels_of
from envparity.resolvers.problems import PUBLISH, PYPI, SERVABLE, Problem, wheel_of
from envparity.values import Distribution, LockedDistribution, LockedWheel
from envparity.words import listed

if TYPE_CHECKING:
    from packaging.tags import Tag
    from packaging.version import Version

    from envparity.fetch import Pages
    from envparity.network import Client

STATE = "declared"

_AT_ONCE = 8
_PYPI_ALONE = Indexes()
_SHOWN = 5
_LEAVE_OUT = "leave it out with `--leave-out {}`, and ship your own code with `build --app`"


@dataclass(frozen=True)
class Place:
    """What the wheels are for: Python as `3.11.2`, the processor as `x86_64`, glibc as `2.36`, and the base's name."""

    python_version: str
    machine: str
    glibc: str
    base: str

    def __str__(self) -> str:
        return f"Python {self.python_version} on {self.base} ({self.machine}, glibc {self.glibc})"


def find_pinned(
    distributions: Sequence[Distribution],
    place: Place,
    *,
    client: Client,
    indexes: Indexes = _PYPI_ALONE,
    progress: Progress = SILENT,
    pages: Pages | None = None,
    metadata: dict[str, str] | None = None,
    folder: str = "",
) -> tuple[LockedDistribution | Problem, ...]:
    """
    For each distribution, in their order, the wheel that pip would install of the pinned version, or why there is none.
    `metadata` is given the sha256 of the METADATA that the index serves beside a wheel, by that wheel's own. Projects
    that are no address lie as seen from `folder`.

    Raises:
        IntegrityError: a fitting file is served with another hash than the file states. And what `find_wheels` raises.
    """
    told = {} if metadata is None else metadata
    sought = index.Sought(client, place.python_version, indexes, pages, told)
    accepted = fitting.ranks(place.python_version, machine=place.machine, glibc=place.glibc)

    def find(item: Distribution) -> LockedDistribution | Problem:
        return _elsewhere(item, place, accepted, client, folder) or _find(item, place, accepted, sought)

    return sought.each(find, distributions, of_index=_is_of_index, at_once=_AT_ONCE, progress=progress)


def _is_of_index(item: Distribution) -> bool:
    return not item.editable and not item.direct_url and SERVABLE.fullmatch(item.name) is not None


def _elsewhere(
    item: Distribution, place: Place, accepted: dict[Tag, int], client: Client, folder: str
) -> LockedDistribution | Problem | None:
    """What does not come from an index: the wheel of an address, where its hash is stated, and nothing else."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    where = printable(item.direct_url)
    left_out = _LEAVE_OUT.format(item.name)
    if item.editable or (item.direct_url and not re.match(r"[a-z][a-z0-9+.-]*:", item.direct_url)):
        what = "an editable project" if item.editable else "a project or file of one machine"
        reason = f"is {what}, `{where}`" if where else f"is {what}"
        command = wheel_of(_from_here(item.direct_url, folder))
        return Problem(item.name, item.version, reason, f"{PUBLISH}; or {left_out}", "local-build", command)
    if not item.direct_url:
        if SERVABLE.fullmatch(item.name):
            return None
        return Problem(item.name, item.version, "has a name that no index can serve", "look at what wrote it")
    url, _ = urldefrag(item.direct_url)
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    sha256 = _sha256s(item)
    if urlsplit(url).scheme not in {"http", "https"} or not name.endswith(".whl"):
        reason = f"comes from `{where}`, which is no wheel of an index"
        return Problem(item.name, item.version, reason, PUBLISH, "local-build", wheel_of(public_url(item.direct_url)))
    if address_fault(url) or len(sha256) != 1:
        reason = f"comes from the address `{where}`, and the file states no sha256 of it"
        return Problem(item.name, item.version, reason, "add its hash to the file, or take it from an index")
    try:
        its_name, version, _, tags = parse_wheel_filename(name)
    except InvalidWheelFilename:
        return Problem(item.name, item.version, f"comes from `{where}`, whose name is none of a wheel", PUBLISH)
    if its_name != item.name:
        return Problem(item.name, item.version, f"comes from `{where}`, which is a wheel of `{its_name}`", PUBLISH)
    if not accepted.keys() & tags:
        return Problem(item.name, str(version), f"comes from `{where}`, which is not for {place}", _another(item))
    (digest,) = sha256
    size_bytes = index.size_bytes(url, name, digest, client)
    wheel = LockedWheel(name=name, url=url, size_bytes=size_bytes, sha256=digest)
    return LockedDistribution(name=item.name, version=item.version or str(version), wheels=(wheel,), state=STATE)


def _from_here(project: str, folder: str) -> str:
    """Where a project lies as seen from the working directory; pip takes a name without a slash for one of an index."""
    if re.match(r"[a-z][a-z0-9+.-]*:", project) or not project:
        return project
    there = posixpath.normpath(posixpath.join(folder, project))
    return there if there.startswith(("/", ".")) else f"./{there}"


def _find(
    item: Distribution, place: Place, accepted: dict[Tag, int], sought: index.Sought
) -> LockedDistribution | Problem:
    from packaging.version import InvalidVersion, Version

    name, version = item.name, item.version
    try:
        wanted = Version(version)
    except InvalidVersion:
        return Problem(name, version, "has a version that PEP 440 does not allow, so no index serves it", "give it one")
    listings = list(sought.listings(name, wanted))
    if not listings:
        return index.nowhere(item, sought.indexes)
    best = {
        listing: list(fitting.best(list(wheels_of(name, wanted, listing.page.files)), accepted)) for listing in listings
    }
    allowed = {listing: [file for file in files if _allows(item, file)] for listing, files in best.items()}
    found = [listing for listing in listings if allowed[listing]]
    if not found:
        files = [file for listing in listings for file in listing.page.files]
        fitting_files = [file for listing in listings for file in best[listing]]
        return _none(item, place, files, fitting_files, wanted, listings[0].index.url)
    confused = index.confusion(item, [index.Candidates(listing, (allowed[listing][0],)) for listing in found])
    return confused or _locked(item, allowed[found[0]], found[0], sought)


def _locked(
    item: Distribution,
    files: list[simple.IndexFile],
    listing: index.Listing,
    sought: index.Sought,
) -> LockedDistribution | Problem:
    """The first of these that this Python may install."""
    first: LockedDistribution | Problem | None = None
    for file in files:
        found = index.locked(item, file, listing, sought)
        if isinstance(found, LockedDistribution):
            return msgspec.structs.replace(found, state=STATE)
        first = first or found
    assert first is not None
    return first


def _none(
    item: Distribution,
    place: Place,
    files: Sequence[simple.IndexFile],
    fitting_files: Sequence[simple.IndexFile],
    version: Version,
    root: str,
) -> Problem:
    """Why no file of the index will do."""
    name, text = item.name, item.version
    wheels = [file for file, _, _ in wheels_of(name, version, files)]
    sdists = [file for file in files if is_sdist_of(file.filename, name, version)]
    of_version = [*wheels, *sdists]
    if not of_version:
        if version.local:
            reason = f"has the local version `+{version.local}`, which this index does not serve"
            return Problem(name, text, reason, "`--index` names the index that it came from")
        where = [] if root == PYPI else ["--index-url", printable(root)]
        command = shlex.join(["pip", "index", "versions", *where, name])
        return Problem(
            name, text, "this version is gone from the index, or was never on it", _another(item), command=command
        )
    stated = set(_sha256s(item))
    served = {file.hashes.get("sha256", "").lower() for file in of_version}
    if fitting_files and stated - served:
        found = listed([f"`{file.filename}` has sha256 {file.hashes.get('sha256')}" for file in fitting_files], _SHOWN)
        raise IntegrityError(
            f"{name} {text}: the index serves no file for {place} that has a hash of those that the lock states:"
            f" {found}",
            hint="the file was replaced on the index, or the lock was edited: do not use it before you know which",
        )
    if fitting_files and item.hashes:
        known = [file.filename for file in of_version if file.hashes.get("sha256", "").lower() in stated]
        reason = f"the hashes that are stated are those of {listed(known, _SHOWN)}, and none of these is for {place}"
        return Problem(name, text, reason, "lock it again with the tool that made the file, for this target too")
    if not wheels:
        reason = "has only an sdist on the index, and nothing is built here"
        return Problem(name, text, reason, PUBLISH, "local-build", wheel_of(f"{name}=={text}"))
    near = [file for file in wheels if re.search(rf"linux\S*_{place.machine}\b", file.filename)] or wheels
    reason = f"has no wheel for {place}; there are those for {_tags(near)}"
    command = wheel_of(f"{name}=={text}") if sdists else ""
    advice = f"{_another(item)}; or take another base or Python (`--base`, `--python-version`)"
    return Problem(name, text, reason, f"{advice}; or {PUBLISH}" if command else advice, command=command)


def _another(item: Distribution) -> str:
    return f"pin a version of `{item.name}` that there is for it, and lock again"


def _allows(item: Distribution, file: simple.IndexFile) -> bool:
    """Whether the stated hashes allow a file; one that is stated by another algorithm is looked at when it is here."""
    stated = _sha256s(item)
    return not stated or file.hashes.get("sha256", "").lower() in stated


def _sha256s(item: Distribution) -> tuple[str, ...]:
    return tuple(text.removeprefix("sha256:") for text in item.hashes if text.startswith("sha256:"))


def _tags(files: Sequence[simple.IndexFile]) -> str:
    return listed(sorted({"-".join(file.filename.removesuffix(".whl").split("-")[-3:]) for file in files}), _SHOWN)
