"""
Which wheel of a release an installer takes for one Python, one processor and one C library.

Tags and their order are those of https://packaging.python.org/specifications/platform-compatibility-tags/, computed for
the target and never for the machine that asks.
"""

from __future__ import annotations

__all__ = ["best", "platforms", "ranks"]

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from packaging.tags import Tag

File = TypeVar("File")

_LEGACY = {"2.17": "manylinux2014", "2.12": "manylinux2010", "2.5": "manylinux1"}
_FIRST_MINOR = {"x86_64": 5, "i686": 5}
"""manylinux of other processors begins with glibc 2.17 (PEP 599)."""


def platforms(machine: str, glibc: str) -> tuple[str, ...]:
    """
    The platform tags that a Linux of this processor (`x86_64`) and this glibc (`2.36`) accepts, the best first.

    PEP 600: "a wheel tagged manylinux_x_y … shall … install and run on any glibc of version x.y or newer".
    """
    numbers = re.fullmatch(r"2\.(\d+)", glibc)
    found = []
    for minor in range(int(numbers[1]) if numbers else 0, _FIRST_MINOR.get(machine, 17) - 1, -1):
        found.append(f"manylinux_2_{minor}_{machine}")
        if f"2.{minor}" in _LEGACY:
            found.append(f"{_LEGACY[f'2.{minor}']}_{machine}")
    return (f"linux_{machine}", *found)


def ranks(python_version: str, *, machine: str, glibc: str) -> dict[Tag, int]:
    """Every tag that a CPython of this version (`3.11.7`) accepts there, with its place: 0 is the best."""
    from packaging.tags import compatible_tags, cpython_tags

    major, minor = (int(part) for part in python_version.split(".")[:2])
    xy, abi, accepted = (major, minor), f"cp{major}{minor}", platforms(machine, glibc)
    ordered = [*cpython_tags(xy, abis=[abi], platforms=accepted), *compatible_tags(xy, abi, platforms=accepted)]
    found: dict[Tag, int] = {}
    for place, tag in enumerate(ordered):
        found.setdefault(tag, place)
    return found


def best(
    wheels: Iterable[tuple[File, tuple[int, str] | tuple[()], frozenset[Tag]]], accepted: Mapping[Tag, int]
) -> Iterator[File]:
    """Those of some wheels (file, build, tags) that fit, the one that pip would install first."""

    def place(wheel: tuple[File, tuple[int, str] | tuple[()], frozenset[Tag]]) -> int:
        return min((accepted[tag] for tag in wheel[2] if tag in accepted), default=-1)

    fitting = [wheel for wheel in wheels if place(wheel) >= 0]
    # "Must start with a digit. Acts as a tie-breaker if two wheel file names are the same in all other respects"
    fitting.sort(key=lambda wheel: wheel[1], reverse=True)
    fitting.sort(key=place)
    return (wheel[0] for wheel in fitting)
