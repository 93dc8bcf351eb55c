"""Which file of an index a distribution was installed from, by version, build and tags."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from envparity.network import printable
from envparity.resolvers.problems import PUBLISH, PYPI, REINSTALL, Problem, reinstall, wheel_of
from envparity.resolvers.simple import IndexFile
from envparity.values import Distribution

if TYPE_CHECKING:
    from packaging.tags import Tag
    from packaging.version import Version

_SHOWN = 5


def same_wheel(distribution: Distribution, files: Sequence[IndexFile], root: str) -> tuple[IndexFile, ...] | Problem:
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
    tags = tags_of(distribution.wheel_tags)
    same_tags = [
        (file, build) for file, build, found in wheels_of(name, wanted, _spelled(tags, files)) if found == tags
    ]
    same = tuple(file for file, build in same_tags if build == build_of(distribution.wheel_build))
    if same:
        return same
    of_version = list(wheels_of(name, wanted, files))
    again = reinstall(name, version, root)
    if same_tags:
        other = ", ".join(f"`{file.filename}`" for file, _ in same_tags)
        return Problem(name, version, f"is of another build than the index has ({other})", REINSTALL, command=again)
    if of_version:
        local = any(tag.platform.startswith("linux_") for tag in tags)
        built = " (it was built on a machine like this one, from an sdist)" if local else ""
        shown = ", ".join(sorted(str(tag) for tag in tags)[:_SHOWN])
        reason = f"is a wheel for {shown}, which the index does not have{built}"
        return Problem(name, version, reason, REINSTALL, "local-build" if local else "unmatched", again)
    if any(is_sdist_of(file.filename, name, wanted) for file in files):
        reason = "was built here: the index has an sdist of this version and no wheel"
        return Problem(name, version, reason, PUBLISH, "local-build", wheel_of(f"{name}=={version}"))
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


def tags_of(lines: Sequence[str]) -> frozenset[Tag]:
    """WHEEL's `Tag` lines hold one tag each; one that is compressed all the same (`py2.py3-none-any`) is several."""
    from packaging.tags import parse_tag

    return frozenset(tag for line in lines if line.count("-") == 2 for tag in parse_tag(line))


def _spelled(tags: frozenset[Tag], files: Sequence[IndexFile]) -> list[IndexFile]:
    """
    Those whose names spell just these tags, compressed or not ("python_tag … `.`-separated", PEP 425): to read the
    whole of each name takes ten times as long.
    """
    platforms = {tag.platform for tag in tags}
    abis, interpreters = {tag.abi for tag in tags}, {tag.interpreter for tag in tags}
    found = []
    for file in files:
        ends = file.filename.removesuffix(".whl").lower().rsplit("-", 3)
        if (
            len(ends) == 4
            and set(ends[3].split(".")) == platforms
            and set(ends[2].split(".")) == abis
            and set(ends[1].split(".")) == interpreters
        ):
            found.append(file)
    return found


def wheels_of(
    name: str, version: Version, files: Sequence[IndexFile]
) -> Iterator[tuple[IndexFile, tuple[int, str] | tuple[()], frozenset[Tag]]]:
    """The wheels of one version, with build and tags. Names of the past that are not valid are passed over."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename
    from packaging.version import InvalidVersion, Version

    # A page lists thousands of names, and to read the whole of one takes longer than to decode it.
    same: dict[str, bool] = {}
    for file in files:
        parts = file.filename.split("-", 2)
        if not file.filename.endswith(".whl") or len(parts) < 3:
            continue
        if parts[1] not in same:
            try:
                same[parts[1]] = Version(parts[1]) == version
            except InvalidVersion:
                same[parts[1]] = False
        if not same[parts[1]]:
            continue
        try:
            found, its_version, build, tags = parse_wheel_filename(file.filename)
        except InvalidWheelFilename:
            continue
        if found == name and its_version == version:
            yield file, build, frozenset(tags)


def build_of(text: str) -> tuple[int, str] | tuple[()]:
    """WHEEL's `Build: 1local` as `parse_wheel_filename` gives it."""
    found = re.match(r"(\d+)(.*)", text.strip())
    return (int(found[1]), found[2]) if found else ()


def is_sdist_of(file_name: str, name: str, version: Version) -> bool:
    """Whether a file is the source of this version."""
    from packaging.utils import InvalidSdistFilename, parse_sdist_filename

    try:
        return parse_sdist_filename(file_name) == (name, version)
    except InvalidSdistFilename:
        return False
