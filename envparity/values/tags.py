"""What the platform tags of wheels promise."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LEGACY = {"manylinux1": "2.5", "manylinux2010": "2.12", "manylinux2014": "2.17"}


def glibc_floor(platforms: Iterable[str]) -> str:
    """
    The oldest glibc that a wheel of these platform tags says it runs on (`2.17`); empty if it says nothing.

    PEP 600: `manylinux_2_17` promises glibc 2.17 and newer; of several promises the easiest counts.
    """
    floors = []
    for platform in platforms:
        if found := re.match(r"manylinux_(\d+)_(\d+)_", platform):
            floors.append(f"{found[1]}.{found[2]}")
        elif (old := platform.partition("_")[0]) in _LEGACY:
            floors.append(_LEGACY[old])
    return min(floors, key=glibc_key, default="")


def python_xy(version: str) -> str:
    """The `3.11` of a Python `3.11.7`: what says where its packages lie, and which wheels it loads."""
    return ".".join(version.split(".")[:2])


def glibc_key(version: str) -> tuple[int, ...]:
    """A version of glibc (`2.17`) as it is compared; an empty one, which promises nothing, before all others."""
    return tuple(int(part) for part in re.findall(r"\d+", version))
