"""Why a distribution cannot be locked, and what to type to settle it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from envparity.network import printable

PYPI = "https://pypi.org/simple/"

SERVABLE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
"""A normalised name that an index can serve."""

PUBLISH = "build a wheel of it, upload it to an index that `--index` names, and install it from there"
OTHER_INDEX = "`--index` names another one"
REINSTALL = "install it from a wheel, train again, and take a new snapshot"


@dataclass(frozen=True)
class Problem:
    """
    One distribution that cannot be locked, why, and what to do; `command` is what to type for it. `confused`: two
    indexes have a file for it, and only a person can say which is the one.
    """

    name: str
    version: str
    reason: str
    advice: str
    state: str = "unmatched"
    command: str = ""
    confused: bool = False

    def __str__(self) -> str:
        command = f": `{self.command}`" if self.command else ""
        return f"{f'{self.name} {self.version}'.rstrip()}: {self.reason}; {self.advice}{command}"


def reinstall(name: str, version: str, index: str = PYPI) -> str:
    """The command that installs the published wheel of a distribution over what is there; empty for no proper name."""
    if not SERVABLE.fullmatch(name):
        return ""
    place = [] if index == PYPI else ["--index-url", printable(index)]
    only = ("--force-reinstall", "--no-deps", "--only-binary", ":all:")
    return shlex.join(["pip", "install", *only, *place, f"{name}=={version}"])


def wheel_of(source: str) -> str:
    """The command that makes a wheel of a project; empty where pip would take the place for an option."""
    return (
        ""
        if not source or source.startswith("-")
        else shlex.join(["pip", "wheel", "--no-deps", "--wheel-dir", "dist", source])
    )
