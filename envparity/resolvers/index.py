"""
The exact wheel of an installed distribution, found again on an index, without resolving anything.

The index's JSON is PEP 691 (https://packaging.python.org/specifications/simple-repository-api/). A wheel is the one
that was installed if its file name has the very tags that the installed WHEEL file recorded.
"""

from __future__ import annotations

__all__ = ["PYPI", "IndexFile", "Problem", "find_wheels", "reinstall"]

import hashlib
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urljoin, urlsplit

import msgspec

from envparity.collectors.urls import public_url
from envparity.errors import IntegrityError, MalformedError, UnsupportedError, UsageError
from envparity.network import address_fault, printable
from envparity.progress import SILENT, Progress
from envparity.values import Distribution, LockedDistribution, LockedWheel

if TYPE_CHECKING:
    from packaging.tags import Tag
    from packaging.version import Version

    from envparity.network import Client, Response

PYPI = "https://pypi.org/simple/"

_JSON = "application/vnd.pypi.simple.v1+json"
_PAGE_BYTES = 128 << 20
_AT_ONCE = 8
_SHOWN = 5
_SERVABLE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_PUBLISH = "build a wheel of it, upload it to an index that `--index` names, and install it from there"
_OTHER_INDEX = "`--index` names another one"
_REINSTALL = "install it from a wheel, train again, and take a new snapshot"


@dataclass(frozen=True)
class Problem:
    """One distribution that cannot be locked, why, and what to do; `command` is what to type for it."""

    name: str
    version: str
    reason: str
    advice: str
    state: str = "unmatched"
    command: str = ""

    def __str__(self) -> str:
        command = f": `{self.command}`" if self.command else ""
        return f"{self.name} {self.version}: {self.reason}; {self.advice}{command}"


def reinstall(name: str, version: str, index: str = PYPI) -> str:
    """The command that installs the published wheel of a distribution over what is there; empty for no proper name."""
    if not _SERVABLE.fullmatch(name):
        return ""
    place = [] if index == PYPI else ["--index-url", printable(index)]
    only = ("--force-reinstall", "--no-deps", "--only-binary", ":all:")
    return shlex.join(["pip", "install", *only, *place, f"{name}=={version}"])


def _wheel_of(source: str) -> str:
    """The command that makes a wheel of a project; empty where pip would take the place for an option."""
    return (
        ""
        if not source or source.startswith("-")
        else shlex.join(["pip", "wheel", "--no-deps", "--wheel-dir", "dist", source])
    )


class IndexFile(msgspec.Struct, frozen=True, rename="kebab"):
    """One file as the index lists it; `yanked` is a reason, true without one, or false."""

    filename: str
    url: str
    hashes: dict[str, str]
    requires_python: str | None = None
    yanked: bool | str = False
    size: int | None = None


class _Meta(msgspec.Struct, frozen=True, rename="kebab"):
    api_version: str = ""


class _Page(msgspec.Struct, frozen=True):
    name: str
    files: tuple[IndexFile, ...]
    meta: _Meta


def find_wheels(
    distributions: Sequence[Distribution],
    *,
    client: Client,
    index: str = PYPI,
    python_version: str,
    platform_tags: Sequence[str] = (),
    prove: Callable[[LockedDistribution], str] | None = None,
    progress: Progress = SILENT,
) -> tuple[LockedDistribution | Problem, ...]:
    """
    For each distribution, in their order, the wheel that it was installed from, or why there is none.

    Nothing is chosen for being newer or better: version, build and tags must be those of the snapshot, and one file
    only may have them. A file that was yanked is what the model was trained with: it is given, with the reason in
    `yanked`, and deserves a warning. Which distributions to look for (not tooling, not shadowed copies) is the
    caller's to say. pip's configuration plays no part.

    Args:
        distributions: as a live snapshot knows them, with `wheel_tags`.
        client: how to ask.
        index: the root of a simple index. A user and password in it are used, and neither printed nor recorded.
        python_version: that of the snapshot's interpreter (`3.11.7`), which a file's `requires-python` must allow.
        platform_tags: what that interpreter can load, as the snapshot recorded it.
        prove: the digest of the normalised RECORD of a file. Some projects publish a wheel under other tags than its
            own WHEEL file says; of those that fit the interpreter, the one with the installed RECORD is then the one.
        progress: told once a distribution.

    Raises:
        UsageError: `index` is not an http address.
        UnsupportedError: the index answers with HTML, or with a later version of the interface.
        MalformedError: the index's answer is not what the specification says.
        UnreachableError: the index gives no answer.
    """
    root = _root(index)

    def find(distribution: Distribution) -> LockedDistribution | Problem:
        problem = _never_on_an_index(distribution)
        found = problem or _find(distribution, root, python_version, client)
        if not isinstance(found, Problem) or problem or prove is None or distribution.record_sha256 is None:
            return found
        candidates = _renamed(distribution, root, python_version, platform_tags, client)
        return next((item for item in candidates if prove(item) == distribution.record_sha256), found)

    with client.workers(_AT_ONCE) as pool, progress.task("finding wheels", len(distributions)) as advance:
        found = []
        for answer in pool.map(find, distributions):
            found.append(answer)
            advance(1)
        return tuple(found)


def _root(index: str) -> str:
    fault = address_fault(index)
    if fault:
        raise UsageError(
            f"the index `{printable(index)}` cannot be asked: {fault}",
            hint=f"name the root of a simple index, such as {PYPI}",
        )
    return index if index.endswith("/") else f"{index}/"


def _never_on_an_index(distribution: Distribution) -> Problem | None:
    """What the snapshot alone rules out."""
    name, version, origin = distribution.name, distribution.version, distribution.direct_url
    where = printable(origin) or distribution.location
    reason, advice = "", _PUBLISH
    if distribution.editable:
        reason, advice = f"is installed as editable from `{where}`", f"{_PUBLISH}, or ship it with `--app`"
    elif re.match(r"(git|hg|bzr|svn)\+", origin):
        reason = f"is installed from version control, `{where}`"
    elif origin.startswith("file:"):
        reason = f"is installed from a local file or folder, `{where}`"
    elif origin:
        reason = f"is installed from the address `{where}`, not from an index"
    if reason:
        return Problem(name, version, reason, advice, "local-build", _wheel_of(where))
    if not _SERVABLE.fullmatch(name):
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


def _find(distribution: Distribution, root: str, python_version: str, client: Client) -> LockedDistribution | Problem:
    response = client.get(urljoin(root, f"{distribution.name}/"), accept=_JSON, limit=_PAGE_BYTES)
    if response.status != 200:
        return Problem(
            distribution.name,
            distribution.version,
            f"is not on the index {printable(root)}",
            _OTHER_INDEX,
        )
    page = _page(response, distribution.name)
    files = _same_wheel(distribution, page.files, root)
    if isinstance(files, Problem):
        return files
    if len(files) > 1:
        names = " and ".join(f"`{file.filename}`" for file in files)
        return Problem(
            distribution.name,
            distribution.version,
            f"could be either of {names}",
            "reinstall it, to know which",
            command=reinstall(distribution.name, distribution.version, root),
        )
    return _locked(distribution, files[0], response.url, root, python_version, client)


def _renamed(
    distribution: Distribution, root: str, python_version: str, platform_tags: Sequence[str], client: Client
) -> Iterator[LockedDistribution]:
    """The wheels of this version that the interpreter could load, whatever the WHEEL file says of its tags."""
    from packaging.tags import compatible_tags, cpython_tags
    from packaging.version import InvalidVersion, Version

    response = client.get(urljoin(root, f"{distribution.name}/"), accept=_JSON, limit=_PAGE_BYTES)
    try:
        version = Version(distribution.version)
    except InvalidVersion:
        return
    if response.status != 200:
        return
    major, minor = (int(part) for part in python_version.split(".")[:2])
    abi = f"cp{major}{minor}"
    fitting = {*cpython_tags((major, minor), abis=[abi], platforms=platform_tags)}
    fitting |= {*compatible_tags((major, minor), abi, platforms=platform_tags)}
    for file, build, tags in _wheels(distribution.name, version, _page(response, distribution.name).files):
        if tags & fitting and build == _build(distribution.wheel_build):
            found = _locked(distribution, file, response.url, root, python_version, client)
            if isinstance(found, LockedDistribution):
                yield found


def _page(response: Response, name: str) -> _Page:
    """The index's answer, read strictly."""
    where = printable(response.url)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in {"text/html", "application/vnd.pypi.simple.v1+html"}:
        raise UnsupportedError(
            f"the index answers with HTML at {where}, and only its JSON interface (PEP 691) is supported so far",
            hint="put an index with a JSON interface before it (devpi, Artifactory and Nexus of 2024 on have one)",
        )
    try:
        page = msgspec.json.decode(response.body, type=_Page)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(f"the index's answer at {where} is not what PEP 691 says: {error}") from error
    # "clients … MUST fail … if the major version is not one that is understood" (simple repository API, versioning)
    if page.meta.api_version.partition(".")[0] != "1":
        raise UnsupportedError(
            f"the index at {where} speaks version {page.meta.api_version or 'unknown'} of its interface; known is 1.x",
            hint="a newer envparity may know it; `--index` names another index",
        )
    from packaging.utils import canonicalize_name

    if canonicalize_name(page.name) != name:
        raise MalformedError(f"the index answers at {where} with the files of `{page.name}`, not of `{name}`")
    return page


def _same_wheel(distribution: Distribution, files: Sequence[IndexFile], root: str) -> tuple[IndexFile, ...] | Problem:
    """
    The files that can be the one that was installed: equal version, equal build, equal set of tags.

    Proof that it is the one (its RECORD against the installed RECORD) can narrow this list further.
    """
    from packaging.version import Version

    name, version = distribution.name, distribution.version
    try:
        wanted = Version(version)
    except ValueError:
        return Problem(name, version, "has a version that PEP 440 does not allow, so no index serves it", "give it one")
    tags = _tags(distribution.wheel_tags)
    of_version = [(file, build, found) for file, build, found in _wheels(name, wanted, files)]
    same_tags = [(file, build) for file, build, found in of_version if found == tags]
    same = tuple(file for file, build in same_tags if build == _build(distribution.wheel_build))
    if same:
        return same
    again = reinstall(name, version, root)
    if same_tags:
        other = ", ".join(f"`{file.filename}`" for file, _ in same_tags)
        return Problem(name, version, f"is of another build than the index has ({other})", _REINSTALL, command=again)
    if of_version:
        local = any(tag.platform.startswith("linux_") for tag in tags)
        built = " (it was built on a machine like this one, from an sdist)" if local else ""
        shown = ", ".join(sorted(str(tag) for tag in tags)[:_SHOWN])
        reason = f"is a wheel for {shown}, which the index does not have{built}"
        return Problem(name, version, reason, _REINSTALL, "local-build" if local else "unmatched", again)
    if any(_is_sdist_of(file.filename, name, wanted) for file in files):
        reason = "was built here: the index has an sdist of this version and no wheel"
        return Problem(name, version, reason, _PUBLISH, "local-build", _wheel_of(f"{name}=={version}"))
    if wanted.local:
        return Problem(
            name,
            version,
            f"has the local version `+{wanted.local}`, which this index does not serve",
            "`--index` names the index that it came from",
        )
    reason = "this version is gone from the index, or was never on it"
    place = [] if root == PYPI else ["--index-url", printable(root)]
    command = shlex.join(["pip", "index", "versions", *place, name])
    return Problem(name, version, reason, "install one that is, and train again", command=command)


def _tags(lines: Sequence[str]) -> frozenset[Tag]:
    """WHEEL's `Tag` lines hold one tag each; one that is compressed all the same (`py2.py3-none-any`) is several."""
    from packaging.tags import parse_tag

    return frozenset(tag for line in lines if line.count("-") == 2 for tag in parse_tag(line))


def _wheels(
    name: str, version: Version, files: Sequence[IndexFile]
) -> Iterator[tuple[IndexFile, tuple[int, str] | tuple[()], frozenset[Tag]]]:
    """The wheels of one version, with build and tags. Names of the past that are not valid are passed over."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    for file in files:
        if not file.filename.endswith(".whl"):
            continue
        try:
            found, its_version, build, tags = parse_wheel_filename(file.filename)
        except InvalidWheelFilename:
            continue
        if found == name and its_version == version:
            yield file, build, frozenset(tags)


def _build(text: str) -> tuple[int, str] | tuple[()]:
    """WHEEL's `Build: 1local` as `parse_wheel_filename` gives it."""
    found = re.match(r"(\d+)(.*)", text.strip())
    return (int(found[1]), found[2]) if found else ()


def _is_sdist_of(file_name: str, name: str, version: Version) -> bool:
    from packaging.utils import InvalidSdistFilename, parse_sdist_filename

    try:
        return parse_sdist_filename(file_name) == (name, version)
    except InvalidSdistFilename:
        return False


def _locked(
    distribution: Distribution, file: IndexFile, page_url: str, root: str, python_version: str, client: Client
) -> LockedDistribution | Problem:
    """The one file, checked for everything that a lock needs to know of it."""
    from packaging.specifiers import SpecifierSet

    name, version = distribution.name, distribution.version
    sha256 = file.hashes.get("sha256", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        return Problem(name, version, f"the index gives no sha256 of `{file.filename}`", _OTHER_INDEX)
    url = _joined(page_url, file.url)
    if address_fault(url) or urlsplit(url).scheme not in {urlsplit(page_url).scheme, "https"}:
        return Problem(
            name, version, f"the index serves `{file.filename}` at `{printable(url)}`, which is not https", _OTHER_INDEX
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
    size_bytes = file.size if file.size is not None else _size_bytes(url, file.filename, sha256, client)
    wheel = LockedWheel(name=file.filename, url=public_url(urldefrag(url)[0]), size_bytes=size_bytes, sha256=sha256)
    return LockedDistribution(
        name=name,
        version=version,
        wheels=(wheel,),
        state="matched",
        index=public_url(root),
        requires_python=requires_python,
        import_names=distribution.import_names,
        yanked=_yanked(file.yanked),
    )


def _joined(page_url: str, url: str) -> str:
    try:
        return urljoin(page_url, url)
    except ValueError:  # a bracket that is not closed
        return url


def _yanked(value: bool | str) -> str | None:
    """PEP 592: "a non-empty string … the reason"; true, or an empty string in HTML's tradition, gives none."""
    if value is False:
        return None
    return value if isinstance(value, str) and value.strip() else "no reason given"


def _size_bytes(url: str, file_name: str, sha256: str, client: Client) -> int:
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
