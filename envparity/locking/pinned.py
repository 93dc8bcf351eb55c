"""
A source that says what should be installed, and was installed nowhere: a lock of another tool, requirements, an SBOM.

    1  the target    platform, base and Python, by what is asked for, else by what the file says
    2  what holds    each condition is decided for that target; extras and groups count where they are asked for

What follows, the wheels, is `locking.pinned_wheels`.
"""

from __future__ import annotations

__all__ = ["Settled", "is_pinned", "settled"]

import re
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from envparity import markers
from envparity.errors import IncompleteError, RefusedError, UnsupportedError, UsageError
from envparity.fetch import Fetcher
from envparity.locking.asked import Asked
from envparity.resolvers import debian, fitting, states
from envparity.resolvers.pinned import Place
from envparity.values import (
    ARCHITECTURES,
    MACHINES,
    Basis,
    Distribution,
    Environment,
    LeftOut,
    Python,
    Substituted,
    System,
)

DEFAULT_PLATFORM = "linux/amd64"
"""The platform of a file that says none: the same for everybody, whatever machine the lock is made on."""

_SEEN = frozenset({"live", "image", "content"})
_CONDA_S_OWN = frozenset({"python", "pip", "setuptools", "wheel"})
"""Packages of conda that an environment file names for the sake of Python itself."""

_NEWEST_PATCH = 100


@dataclass(frozen=True)
class Settled:
    """
    What a source asks for in one target.

    Args:
        environment: of the source, what holds there.
        python: the interpreter of the image.
        system: what is known of the target's system.
        chosen: the distributions to lock. `left_out` are the others, each with the reason.
        base: its name, and `index` what its archive holds.
        place: what the wheels have to fit.
        substituted: the Python that the file names, where the image has another patch release.
    """

    environment: Environment
    python: Python
    system: System
    chosen: list[Distribution]
    left_out: list[LeftOut]
    base: str
    index: debian.Index
    place: Place
    substituted: tuple[Substituted, ...]


def is_pinned(environment: Environment) -> bool:
    """Whether an environment only says what should be installed: no file of it was seen anywhere."""
    if environment.python is not None and environment.python.basis is Basis.INSTALLED:
        return environment.origin.kind not in _SEEN and not any(
            item.wheel_tags or item.record_sha256 for item in environment.distributions or ()
        )
    return environment.origin.kind not in _SEEN or any(
        item.basis is not Basis.INSTALLED for item in environment.distributions or ()
    )


def settled(environment: Environment, asked: Asked, fetcher: Fetcher) -> Settled:
    """
    Steps 1 and 2.

    Raises:
        UsageError: the base has another Python than is asked for, or the file is for another platform.
        RefusedError: it is not told which of several things holds; all of them are listed.
        IncompleteError: the source is not whole. UnsupportedError: it has packages of conda.
    """
    _require_whole(environment, asked)
    # 1
    machine, architecture = _machine(environment, asked)
    xy = _xy(environment, asked)
    base = _base(environment, asked, xy)
    index = debian.read_index(base, fetcher, architecture=architecture)
    release = index.release
    if asked.interpreter is not None:
        python = asked.interpreter
        version = python.version
    else:
        version = debian.offered_python(index)
        python = Python(basis=Basis.LOCKED, version=version, implementation="cpython")
    place = Place(version, machine, release.glibc, base)
    python = msgspec.structs.replace(python, platform_tags=fitting.platforms(machine, release.glibc))
    system = environment.system or System(os="linux", machine=machine)
    system = msgspec.structs.replace(system, os="linux", machine=machine)
    # 2
    here = _holding(environment, place, asked)
    chosen, left_out = _chosen(here, asked)
    if not chosen:
        raise UsageError(
            f"`{environment.origin.reference}` holds no distribution for {place}, so there is nothing to lock",
            hint="`--extra` and `--group` ask for parts that are not always installed",
        )
    return Settled(
        msgspec.structs.replace(environment, distributions=tuple(here)),
        python,
        system,
        chosen,
        left_out,
        base,
        index,
        place,
        _substituted(environment, version),
    )


def _require_whole(environment: Environment, asked: Asked) -> None:
    name = environment.origin.reference
    if environment.origin.kind == "lock":
        raise UsageError(
            f"`{name}` is a lock of envparity already", hint="build it; or lock the snapshot that it was made of again"
        )
    if not environment.complete and not asked.allow_incomplete:
        raise IncompleteError(
            f"`{name}` is not whole, so a lock of it would lack something",
            hint="make it again with the tool that it comes from, or pass --allow-incomplete",
            details=tuple(
                f"{gap.section} {gap.item}: {gap.reason}" for gap in environment.gaps if gap.kind == "unread"
            ),
        )
    conda = sorted({item.name for item in environment.conda_packages or () if not item.virtual} - _CONDA_S_OWN)
    if conda:
        listed = ", ".join(conda[:5]) + (f" and {len(conda) - 5} more" if len(conda) > 5 else "")
        raise UnsupportedError(
            f"`{name}` has {len(conda)} packages of conda ({listed}), and locking those from a file is not supported"
            " yet",
            hint="install it, train in it, and lock a snapshot of that",
        )
    for options, what in ((asked.repacked, "--repack"), (asked.prove, "--prove")):
        if options:
            raise UsageError(
                f"`{what}` is for what was installed, and `{name}` only says what should be",
                hint="take a snapshot where it is installed, and lock that",
            )


def _platform(asked: Asked) -> str:
    """The platform that was asked for; empty where none was."""
    if len(asked.platforms) > 1:
        raise UnsupportedError(
            "locking a file for several platforms at once is not supported yet",
            hint="lock it for each: `--platform linux/arm64 -o pylock.arm64.toml`; or lock a snapshot",
        )
    return asked.platforms[0] if asked.platforms else ""


def _machine(environment: Environment, asked: Asked) -> tuple[str, str]:
    """The processor, as `uname -m` and as Debian says it."""
    system, name = environment.system, environment.origin.reference
    platform = _platform(asked)
    if not platform and system is not None and system.machine in ARCHITECTURES:
        platform = f"linux/{ARCHITECTURES[system.machine]}"
    platform = platform or DEFAULT_PLATFORM
    if system is not None and system.os not in {"", "linux"}:
        raise UsageError(
            f"`{name}` is for {system.os} {system.machine}".rstrip() + f", and the image is for {platform}",
            hint="make it again for Linux with the tool that it comes from",
        )
    kind, _, architecture = platform.partition("/")
    if kind != "linux" or architecture not in {"amd64", "arm64"}:
        raise UnsupportedError(
            f"locking for {platform} is not supported yet", hint="lock for linux/amd64 with `--platform`"
        )
    machine = MACHINES[architecture]
    if system is not None and system.machine not in {"", machine}:
        raise UsageError(
            f"`{name}` is for {system.machine}, and the image is for {platform}", hint="name its own with `--platform`"
        )
    return machine, architecture


def _xy(environment: Environment, asked: Asked) -> str:
    """The Python that is meant, as `3.11`; empty where nobody says more than a range, or nothing."""
    if asked.python_version:
        return ".".join(asked.python_version.split(".")[:2])
    if asked.interpreter is not None:
        return ".".join(asked.interpreter.version.split(".")[:2])
    if environment.python is not None and environment.python.version:
        return ".".join(environment.python.version.split(".")[:2])
    return ""


def _base(environment: Environment, asked: Asked, xy: str) -> str:
    """The base that is asked for, or the first that has a Python which the file allows."""
    name = environment.origin.reference
    pythons = {base: debian.release(base).python_version for base in debian.BASES}
    listed = ", ".join(f"{base} has {version}" for base, version in pythons.items())
    specifier = "" if xy or environment.python is None else environment.python.specifier
    captured = asked.interpreter is not None

    def fits(base: str) -> bool:
        return captured or (_allows(specifier, pythons[base]) if not xy else pythons[base] == xy)

    if asked.base is not None:
        release = debian.release(asked.base)
        if not fits(release.base):
            wanted = xy or specifier
            having = [base for base in debian.BASES if fits(base)]
            raise UsageError(
                f"{asked.base} has Python {release.python_version}, and `{name}` is to be locked for {wanted}",
                hint=f"take a base that has it: {', '.join(having)}" if having else f"{listed}; {_OTHER_PYTHON}",
            )
        return release.base
    own = [base for base in debian.BASES if _is_release_of(base, environment.system)]
    found = next((base for base in (*own, *debian.BASES) if fits(base)), None)
    if found is None:
        raise UsageError(
            f"no base has the Python that `{name}` is to be locked for, {xy or specifier}: {listed}",
            hint=_OTHER_PYTHON,
        )
    return found


_OTHER_PYTHON = "name the Python of a base with `--python-version`, or one to be captured with `--python venv:DIR`"


def _allows(specifier: str, xy: str) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        allowed = SpecifierSet(specifier)
    except InvalidSpecifier:
        return True
    return any(allowed.contains(f"{xy}.{patch}") for patch in range(_NEWEST_PATCH))


def _is_release_of(base: str, system: System | None) -> bool:
    row = debian.release(base)
    return system is not None and (row.id, row.version_id) == (system.id, system.version_id)


def _substituted(environment: Environment, version: str) -> tuple[Substituted, ...]:
    named = environment.python.version if environment.python is not None else ""
    if not re.fullmatch(r"\d+\.\d+\.\d+\w*", named) or named == version:
        return ()
    reason = "the base has this release of the same Python"
    return (Substituted(kind="python", name="python", before=named, after=version, reason=reason),)


def _holding(environment: Environment, place: Place, asked: Asked) -> list[Distribution]:
    """What is to be installed in the target, without the conditions that hold there."""
    known = markers.of_place(
        version=place.python_version, implementation="cpython", system="linux", machine=place.machine
    )
    kept, doubtful = [], []
    for item in environment.distributions or ():
        holds = not item.marker or markers.holds(
            item.marker, known, extras=asked.extras or (), groups=asked.groups or ()
        )
        if holds is None:
            doubtful.append(f"{item.name} {item.version or item.specifier}: {item.marker[:200]}")
        elif holds:
            kept.append(msgspec.structs.replace(item, marker=""))
    names = [item.name for item in kept]
    doubtful += sorted(
        f"{item.name} {item.version or item.specifier}: stands there more than once for this target"
        for item in kept
        if names.count(item.name) > 1
    )
    if doubtful:
        raise RefusedError(
            f"`{environment.origin.reference}` does not say whether {states.counted(len(doubtful))} belong"
            f"{'s' if len(doubtful) == 1 else ''} to {place}",
            hint="make it again with a newer version of the tool that it comes from, or export requirements from it",
            details=tuple(doubtful),
        )
    return kept


def _chosen(found: Iterable[Distribution], asked: Asked) -> tuple[list[Distribution], list[LeftOut]]:
    left = {re.sub(r"[-_.]+", "-", name).lower() for name in asked.without}
    chosen, left_out = [], []
    for item in found:
        if item.name in left:
            reason = "`--leave-out` asks for it"
        elif item.name == "pip":
            reason = "it installs, and an image is not installed into"
        else:
            chosen.append(item)
            continue
        left_out.append(LeftOut(kind="distribution", name=item.name, version=item.version, reason=reason))
    unknown = sorted(left - {item.name for item in left_out})
    if unknown:
        raise UsageError(f"`--leave-out {unknown[0]}` names nothing that would be locked", hint="look at its spelling")
    return chosen, left_out
