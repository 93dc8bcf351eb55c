"""
The exact wheel of an installed distribution, found again on an index, without resolving anything.

The index's JSON is PEP 691 (https://packaging.python.org/specifications/simple-repository-api/). A wheel is the one
that was installed if its file name has the very tags that the installed WHEEL file recorded.
"""

from __future__ import annotations

__all__ = ["PYPI", "Problem", "asked", "find_wheels", "locked", "reinstall", "root_of", "size_bytes"]

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urljoin, urlsplit

from envparity.collectors.urls import public_url
from envparity.errors import IntegrityError, UsageError
from envparity.network import address_fault, printable
from envparity.progress import SILENT, Progress
from envparity.resolvers import simple
from envparity.resolvers.matching import build_of, same_wheel, wheels_of
from envparity.resolvers.problems import OTHER_INDEX, PUBLISH, PYPI, SERVABLE, Problem, reinstall, wheel_of
from envparity.values import Distribution, LockedDistribution, LockedWheel

if TYPE_CHECKING:
    from envparity.network import Client, Response

_PAGE_BYTES = 128 << 20
_AT_ONCE = 8


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
    root = root_of(index)

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


def root_of(index: str) -> str:
    """The address of an index, as project names are appended to it."""
    fault = address_fault(index)
    if fault:
        raise UsageError(
            f"the index `{printable(index)}` cannot be asked: {fault}",
            hint=f"name the root of a simple index, such as {PYPI}",
        )
    return index if index.endswith("/") else f"{index}/"


def asked(name: str, root: str, client: Client) -> Response:
    """What an index answers when it is asked for a project."""
    return client.get(urljoin(root, f"{name}/"), accept=simple.JSON, limit=_PAGE_BYTES)


def _never_on_an_index(distribution: Distribution) -> Problem | None:
    """What the snapshot alone rules out."""
    name, version, origin = distribution.name, distribution.version, distribution.direct_url
    where = printable(origin) or distribution.location
    reason, advice = "", PUBLISH
    if distribution.editable:
        reason, advice = f"is installed as editable from `{where}`", f"{PUBLISH}, or ship it with `--app`"
    elif re.match(r"(git|hg|bzr|svn)\+", origin):
        reason = f"is installed from version control, `{where}`"
    elif origin.startswith("file:"):
        reason = f"is installed from a local file or folder, `{where}`"
    elif origin:
        reason = f"is installed from the address `{where}`, not from an index"
    if reason:
        return Problem(name, version, reason, advice, "local-build", wheel_of(where))
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


def _find(distribution: Distribution, root: str, python_version: str, client: Client) -> LockedDistribution | Problem:
    response = asked(distribution.name, root, client)
    if response.status != 200:
        return Problem(
            distribution.name,
            distribution.version,
            f"is not on the index {printable(root)}",
            OTHER_INDEX,
        )
    page = simple.page(response, distribution.name)
    files = same_wheel(distribution, page.files, root)
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
    return locked(distribution, files[0], response.url, root, python_version, client)


def _renamed(
    distribution: Distribution, root: str, python_version: str, platform_tags: Sequence[str], client: Client
) -> Iterator[LockedDistribution]:
    """The wheels of this version that the interpreter could load, whatever the WHEEL file says of its tags."""
    from packaging.tags import compatible_tags, cpython_tags
    from packaging.version import InvalidVersion, Version

    response = asked(distribution.name, root, client)
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
    for file, build, tags in wheels_of(distribution.name, version, simple.page(response, distribution.name).files):
        if tags & fitting and build == build_of(distribution.wheel_build):
            found = locked(distribution, file, response.url, root, python_version, client)
            if isinstance(found, LockedDistribution):
                yield found


def locked(
    distribution: Distribution, file: simple.IndexFile, page_url: str, root: str, python_version: str, client: Client
) -> LockedDistribution | Problem:
    """The one file, checked for everything that a lock needs to know of it."""
    from packaging.specifiers import SpecifierSet

    name, version = distribution.name, distribution.version
    sha256 = file.hashes.get("sha256", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        return Problem(name, version, f"the index gives no sha256 of `{file.filename}`", OTHER_INDEX)
    url = simple.joined(page_url, file.url)
    if address_fault(url) or urlsplit(url).scheme not in {urlsplit(page_url).scheme, "https"}:
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
    counted = file.size if file.size is not None else size_bytes(url, file.filename, sha256, client)
    wheel = LockedWheel(name=file.filename, url=public_url(urldefrag(url)[0]), size_bytes=counted, sha256=sha256)
    return LockedDistribution(
        name=name,
        version=version,
        wheels=(wheel,),
        state="matched",
        index=public_url(root),
        requires_python=requires_python,
        import_names=distribution.import_names,
        yanked=simple.yanked(file.yanked),
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
