"""Versions as rules see them: ranges, directions, and how far one version is from another."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

LEVELS = ("major", "minor", "patch", "build")
"""Which part of a version differs, from the greatest to the least."""


@lru_cache(maxsize=4096)
def version(text: str) -> Version | None:
    """A PEP 440 version, or `None` where the text is none."""
    from packaging.version import Version

    try:
        return Version(text)
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def specifiers(text: str) -> SpecifierSet | None:
    """A set of specifiers, or `None` where the text is none."""
    from packaging.specifiers import SpecifierSet

    try:
        return SpecifierSet(text)
    except ValueError:
        return None


def may_lie_in(text: str, bounds: str) -> bool:
    """
    Whether a version lies in a range; or, where `text` is a declared range itself, whether some version of it does.

    For two ranges the bounds of both, and what comes right after each of them, are tried: enough for the intervals
    that people write.
    """
    if not bounds:
        return True
    allowed = specifiers(bounds)
    if allowed is None:
        return False
    exact = version(text)
    if exact is not None:
        return allowed.contains(exact, prereleases=True)
    declared = specifiers(text) if text else None
    if declared is None:
        return False
    return any(
        declared.contains(candidate, prereleases=True) and allowed.contains(candidate, prereleases=True)
        for candidate in _bounds(text) + _bounds(bounds)
    )


def _bounds(text: str) -> list[Version]:
    found = []
    for number in re.findall(r"[<>=~!]=?=?\s*([0-9][^\s,;*]*)", text):
        bound = version(number.rstrip("."))
        if bound is not None:
            release = (*bound.release, 0, 0)[:3]
            after = version(".".join(map(str, (*release[:2], release[2] + 1))))
            found += [bound] + ([after] if after is not None else [])
    return found


def lowest(text: str) -> Version | None:
    """The version itself, or the lower bound of a range."""
    exact = version(text)
    if exact is not None:
        return exact
    bounds = (version(number.rstrip(".")) for number in re.findall(r"(?:>=?|~=|===?)\s*([0-9][^\s,;*]*)", text))
    return max((bound for bound in bounds if bound is not None), default=None)


def level(before: str, after: str) -> str:
    """
    Which part differs: `major`, `minor`, `patch` or `build`.

    Below 1.0 the second number is the major one, as semantic versioning has it; a year in the first place is a minor
    one. What is not a version may be anything, and counts as major.
    """
    left, right = lowest(before), lowest(after)
    if left is None or right is None or left.epoch != right.epoch:
        return "major"
    width = max(len(left.release), len(right.release), 3)
    numbers = [(*item.release, *(0,) * width)[:width] for item in (left, right)]
    differing = next((index for index, pair in enumerate(zip(*numbers, strict=True)) if pair[0] != pair[1]), None)
    if differing is None:
        return "build"
    if numbers[0][0] == numbers[1][0] == 0:
        differing -= 1
    elif min(numbers[0][0], numbers[1][0]) >= 1990:
        differing += 1
    return LEVELS[min(max(differing, 0), 2)]


def upstream(text: str) -> str:
    """The upstream part of a Debian version (`2.36` of `2.36-9+deb12u7`), without epoch and revision."""
    without_epoch = text.partition(":")[2] if re.match(r"\d+:", text) else text
    return re.sub(r"\+(deb|ubuntu)\d+.*$", "", without_epoch.rpartition("-")[0] or without_epoch)


def direction(before: str, after: str) -> int:
    """1 for an upgrade, -1 for a downgrade, 0 where they are equal or it cannot be said."""
    left, right = lowest(before), lowest(after)
    if left is None or right is None:
        return 0
    return (left < right) - (left > right)
