"""
Which format goes where, of `--format` and `-o` that may both be repeated.

An `-o` takes the format that its name ends with, else the next `--format`, in order; the format that is left goes to
standard output. What would end in one place, or in none, is an error and never a guess.
"""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import NamedTuple

from envparity.errors import UsageError

SUFFIXES = {
    ".html": ("html",),
    ".htm": ("html",),
    ".md": ("markdown",),
    ".markdown": ("markdown",),
    ".sarif": ("sarif",),
    ".xml": ("junit",),
    ".json": ("json", "sarif"),
}
"""What the end of a name says of the format; of several, the one that is asked for, else the first."""

STANDARD_OUTPUT = "-"


class Wanted(NamedTuple):
    """One report: its format, and where it goes."""

    format: str
    place: str


def wanted(formats: tuple[str, ...], places: tuple[str, ...], offered: tuple[str, ...]) -> tuple[Wanted, ...]:
    """
    Every report that is asked for: those of `-o` in order, then what is left for standard output.

    Raises:
        UsageError: two reports would go to one place, or no format is left for a place.
    """
    left = list(formats or (() if places else ("text",)))
    named: dict[str, str] = {}
    for place in places:
        told = [form for form in SUFFIXES.get(PurePath(place).suffix.lower(), ()) if form in offered]
        if told:
            named[place] = next((form for form in told if form in left), told[0])
            if named[place] in left:
                left.remove(named[place])
    if not formats and len(places) > len(named):
        left = ["text"]
    pairs = [Wanted(named.get(place) or _next(left, place), place) for place in places]
    pairs += [Wanted(form, STANDARD_OUTPUT) for form in left]
    _no_place_twice(pairs)
    return tuple(pairs)


def _next(left: list[str], place: str) -> str:
    if left:
        return left.pop(0)
    raise UsageError(
        f"no format is left for `-o {place}`",
        hint=f"name a --format for it, or let its name end with {', '.join(SUFFIXES)}",
    )


def _no_place_twice(pairs: list[Wanted]) -> None:
    seen: dict[str, str] = {}
    for form, place in pairs:
        key = place if place == STANDARD_OUTPUT else os.path.realpath(place)
        if key in seen:
            where = "standard output" if place == STANDARD_OUTPUT else f"`{place}`"
            raise UsageError(
                f"two reports, {seen[key]} and {form}, would both go to {where}",
                hint="name a place of its own for each, with -o",
            )
        seen[key] = form
