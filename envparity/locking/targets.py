"""
What a snapshot is locked for: the platforms, and of each the base and the Python.

A platform is the training's own where wheels and interpreter can be those that trained the model. Everything else is
another one: of the same versions its wheels are counterparts, its Python is that of the base, and the lock says both.
"""

from __future__ import annotations

__all__ = ["Goal", "goals", "require_own", "require_unasked"]

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from envparity import closure
from envparity.errors import RefusedError, UnsupportedError, UsageError
from envparity.fetch import Fetcher
from envparity.locking.asked import Asked
from envparity.resolvers import debian, fitting, interpreter
from envparity.resolvers.pinned import Place
from envparity.values import (
    ARCHITECTURES,
    MACHINES,
    Basis,
    Distribution,
    OsPackage,
    Python,
    Substituted,
    System,
    glibc_floor,
    glibc_key,
)

_ARCHITECTURES = {**ARCHITECTURES, "arm64": "arm64", "AMD64": "amd64", "ARM64": "arm64"}
"""With what `platform.machine()` says on macOS and Windows."""

_ASSEMBLED = ("amd64", "arm64")


@dataclass(frozen=True)
class Goal:
    """
    One platform to lock for.

    Args:
        platform: `linux/arm64`.
        place: what its wheels have to fit.
        python: the interpreter that answers in the image: the snapshot's own, or that of the base.
        markers: what the variables of markers are there.
        index: what the archive of the base holds, where it had to be read to tell.
        own: the wheels are those that were installed, whatever tags they have.
        substituted: the base and the Python, where they are not those of the snapshot.
    """

    platform: str
    place: Place
    python: Python
    markers: dict[str, str]
    index: debian.Index | None
    own: bool
    substituted: tuple[Substituted, ...]

    @property
    def architecture(self) -> str:
        """As images and Debian name it: `arm64`."""
        return self.platform.split("/")[1]

    def archive(self, fetcher: Fetcher) -> debian.Index:
        """What the archive of the base holds."""
        return self.index or debian.read_index(self.place.base, fetcher, architecture=self.architecture)

    def installed(self, packages: Iterable[OsPackage], system: System) -> tuple[OsPackage, ...]:
        """The snapshot's OS packages as this platform has them: a version of Debian is that of all architectures."""
        own = ARCHITECTURES.get(system.machine, system.machine)
        return tuple(
            msgspec.structs.replace(item, architecture=self.architecture) if item.architecture == own else item
            for item in packages
        )


def require_unasked(asked: Asked) -> None:
    """
    That nothing is asked of a snapshot that only makes sense for a file.

    Raises:
        UsageError: something is.
    """
    options = {"--extra": asked.extras, "--group": asked.groups, "--leave-out": asked.without}
    given = [option for option, value in options.items() if value]
    if given:
        raise UsageError(
            f"`{given[0]}` is for a file that says what should be installed, and a snapshot says what was",
            hint=f"leave `{given[0]}` out",
        )


def require_own(goals: Iterable[Goal]) -> None:
    """
    That everything is as it was where the model was trained: packages of conda have no counterparts yet.

    Raises:
        UnsupportedError: of another platform, or another Python.
    """
    other = next((goal.platform for goal in goals if not goal.own), "")
    if other:
        raise UnsupportedError(
            f"a conda environment cannot be locked for another platform yet, and {other} is none of its own",
            hint="train on the platform that serves, or lock for the training's own",
        )


def goals(
    python: Python, system: System, chosen: Iterable[Distribution], *, asked: Asked, fetcher: Fetcher
) -> tuple[Goal, ...]:
    """
    What is locked for, in the order that was asked for; by default one: the snapshot's own processor, on Linux.

    Raises:
        UsageError: a platform twice. UnsupportedError: a platform that no base is made for.
        RefusedError: no base has the Python that is needed, or a glibc that the installed wheels run with.
    """
    platforms = tuple(asked.platforms) or (_own_platform(system),)
    for number, platform in enumerate(platforms):
        if platform in platforms[:number]:
            raise UsageError(f"`--platform {platform}` is named twice", hint="name each platform once")
        if platform.partition("/")[0] != "linux" or platform.partition("/")[2] not in _ASSEMBLED:
            raise UnsupportedError(
                f"an image for {platform} is not supported yet", hint="lock for linux/amd64 or linux/arm64"
            )
    installed = tuple(chosen)
    return tuple(_goal(platform, python, system, installed, asked, fetcher) for platform in platforms)


def _own_platform(system: System) -> str:
    architecture = _ARCHITECTURES.get(system.machine, "")
    if architecture not in _ASSEMBLED:
        raise UnsupportedError(
            f"locking for {system.os or 'an unknown system'} {system.machine} is not supported yet",
            hint="name what will serve: `--platform linux/amd64` or `--platform linux/arm64`",
        )
    return f"linux/{architecture}"


def _goal(
    platform: str, python: Python, system: System, chosen: tuple[Distribution, ...], asked: Asked, fetcher: Fetcher
) -> Goal:
    architecture = platform.partition("/")[2]
    machine = MACHINES[architecture]
    trained_xy = ".".join(python.version.split(".")[:2])
    xy = ".".join((asked.python_version or python.version).split(".")[:2])
    loads = system.os == "linux" and system.machine == machine and system.libc in {"", "glibc"}
    exactly = xy == trained_xy and asked.python_version in {"", xy, python.version}
    own_base = _own_base(system)
    # An interpreter that is not here any more was always refused on a release of its own: it is worth finding.
    keeps = loads and exactly and bool(asked.base or own_base or _is_here(python, asked))
    base = asked.base or own_base or _nearest(python, system, chosen, xy, loads=loads, keeps=keeps)
    release = debian.release(base)
    substituted = _of_base(system, base, own_base)
    if keeps:
        answering, index = python, None
    else:
        index = debian.read_index(base, fetcher, architecture=architecture)
        version = _answering(index, xy, asked, platform)
        answering = Python(
            basis=Basis.LOCKED,
            version=version,
            implementation=python.implementation,
            platform_tags=fitting.platforms(machine, release.glibc),
        )
        if version != python.version:
            reason = f"that of {base} answers on {platform}"
            substituted += (
                Substituted(kind="python", name="python", before=python.version, after=version, reason=reason),
            )
    target = msgspec.structs.replace(system, os="linux", machine=machine)
    return Goal(
        platform=platform,
        place=Place(answering.version, machine, release.glibc, base),
        python=answering,
        markers=closure.marker_environment(answering, target),
        index=index,
        own=loads and xy == trained_xy,
        substituted=substituted,
    )


def _own_base(system: System) -> str:
    """The base that is the snapshot's own release; empty where there is none."""
    for base in debian.BASES:
        row = debian.release(base)
        if (row.id, row.version_id) == (system.id, system.version_id):
            return base
    return ""


def _of_base(system: System, base: str, own_base: str) -> tuple[Substituted, ...]:
    if base == own_base:
        return ()
    before = system.name or f"{system.id or system.os} {system.version_id}".strip() or "an unknown system"
    reason = "it was asked for" if own_base else "no base is made of that system"
    return (Substituted(kind="base", name="system", before=before, after=base, reason=reason),)


def _is_here(python: Python, asked: Asked) -> bool:
    return bool(asked.interpreter_in) or interpreter.is_here(python)


def _answering(index: debian.Index, xy: str, asked: Asked, platform: str) -> str:
    """The version of the base's Python, if it is the one that is needed."""
    base = index.release.base
    having = [name for name in debian.BASES if debian.release(name).python_version == xy]
    if index.release.python_version != xy:
        raise RefusedError(
            f"{base} has Python {index.release.python_version}, and the lock for {platform} needs {xy}",
            hint=f"name a base that has it: `--base {having[0]}`"
            if having
            else f"no base has Python {xy}: train with that of one ({', '.join(debian.BASES)}),"
            " or lock where the interpreter can be captured",
        )
    version = debian.offered_python(index)
    if asked.python_version not in {"", xy, version}:
        raise RefusedError(
            f"{base} has Python {version}, and not {asked.python_version}", hint=f"ask for `--python-version {version}`"
        )
    return version


def _nearest(
    python: Python, system: System, chosen: tuple[Distribution, ...], xy: str, *, loads: bool, keeps: bool
) -> str:
    """
    The base for a system that none is made of: the one whose glibc is the nearest of those that every installed wheel
    runs with; and, where its own Python has to answer, that has it. Where the snapshot has no glibc, the first that has
    the Python.
    """
    fits = [base for base in debian.BASES if keeps or debian.release(base).python_version == xy]
    if not fits:
        raise RefusedError(
            f"no base has Python {xy}, and the snapshot's own cannot be captured here",
            hint="name one with --base and --python-version, or train with the Python of a base"
            f" ({', '.join(debian.BASES)})",
        )
    if not loads:
        return fits[0]
    floors = [glibc_floor([tag.rpartition("-")[2] for tag in item.wheel_tags]) for item in chosen]
    floor = max((*floors, interpreter.glibc_floor(python) if keeps else ""), key=glibc_key)
    able = [base for base in fits if glibc_key(debian.release(base).glibc) >= glibc_key(floor)]
    if not able:
        raise RefusedError(
            f"the installed wheels need glibc {floor}, and no base that fits has it",
            hint=f"their glibc: {', '.join(f'{base} {debian.release(base).glibc}' for base in fits)}",
        )
    here = glibc_key(system.libc_version)

    def distance(base: str) -> tuple[int, int]:
        """Of two that are as near the newer one: what was built for a glibc runs with all that come after it."""
        minor = glibc_key(debian.release(base).glibc)[1]
        return abs(minor - (here[1] if len(here) > 1 else 0)), -minor

    return min(able, key=distance)
