"""
What a snapshot is locked for: the platforms, and of each the base and the Python.

A platform is the training's own where wheels and interpreter can be those that trained the model. Everything else is
another one: of the same versions its wheels are counterparts, its Python is that of the base, and the lock says both.
"""

from __future__ import annotations

__all__ = ["Goal", "goals", "require_unasked"]

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from envparity import closure
from envparity.errors import RefusedError, UnsupportedError, UsageError
from envparity.fetch import Fetcher
from envparity.locking.asked import Asked, is_image
from envparity.resolvers import archives, fitting, interpreter, package_lists
from envparity.resolvers.for_place import Place
from envparity.values import (
    ARCHITECTURES,
    MACHINES,
    Basis,
    Distribution,
    LeftOut,
    OsPackage,
    Python,
    Substituted,
    System,
    glibc_floor,
    glibc_key,
    python_xy,
)

if TYPE_CHECKING:
    from envparity.locking import base_image

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
        image: the base, where it is an image.
        left_out: what is known to be needed elsewhere alone.
    """

    platform: str
    place: Place
    python: Python
    markers: dict[str, str]
    index: package_lists.Index | None
    own: bool
    substituted: tuple[Substituted, ...]
    image: base_image.BaseImage | None = None
    left_out: tuple[LeftOut, ...] = ()

    @property
    def architecture(self) -> str:
        """As images and Debian name it: `arm64`."""
        return self.platform.split("/")[1]

    def archive(self, fetcher: Fetcher) -> package_lists.Index | None:
        """What the archive of the base holds; nothing where the base is an image, which may need none."""
        return (
            None
            if self.image is not None
            else self.index or package_lists.read_index(self.place.base, fetcher, architecture=self.architecture)
        )

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


def goals(
    python: Python,
    system: System,
    chosen: Iterable[Distribution],
    *,
    asked: Asked,
    fetcher: Fetcher,
    of_conda: bool = False,
) -> tuple[Goal, ...]:
    """
    What is locked for, in the order that was asked for; by default one: the snapshot's own processor, on Linux. A
    Python `of_conda` answers everywhere.

    Raises:
        UsageError: a platform twice; another Python than conda's.
        UnsupportedError: a platform that no base is made for.
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
    if of_conda and not f"{python.version}.".startswith(f"{asked.python_version or python.version}."):
        raise UsageError(
            f"the conda environment has its own Python, {python.version}, and not {asked.python_version}",
            hint="leave `--python-version` out",
        )
    return tuple(_goal(platform, python, system, installed, asked, fetcher, of_conda) for platform in platforms)


def _own_platform(system: System) -> str:
    architecture = _ARCHITECTURES.get(system.machine, "")
    if architecture not in _ASSEMBLED:
        raise UnsupportedError(
            f"locking for {system.os or 'an unknown system'} {system.machine} is not supported yet",
            hint="name what will serve: `--platform linux/amd64` or `--platform linux/arm64`",
        )
    return f"linux/{architecture}"


def _goal(
    platform: str,
    python: Python,
    system: System,
    chosen: tuple[Distribution, ...],
    asked: Asked,
    fetcher: Fetcher,
    of_conda: bool,
) -> Goal:
    architecture = platform.partition("/")[2]
    machine = MACHINES[architecture]
    trained_xy = python_xy(python.version)
    xy = python_xy(asked.python_version or python.version)
    loads = system.os == "linux" and system.machine == machine and system.libc in {"", "glibc"}
    exactly = xy == trained_xy and asked.python_version in {"", xy, python.version}
    own_base = archives.own_base(system.id, system.version_id)
    # An interpreter that is not here any more was always refused on a release of its own: it is worth finding.
    keeps = of_conda or (loads and exactly and bool(asked.base or own_base or _is_here(python, asked)))
    nearest = partial(_nearest, python, system, chosen, xy, loads=loads, keeps=keeps, of_conda=of_conda)
    base = asked.base or own_base or nearest()
    if base == "scratch":
        base = archives.SCRATCH + (own_base or nearest())
    if is_image(base):
        from envparity.locking import base_image

        image = base_image.opened(base, platform, fetcher=fetcher, environ=asked.environ)
        return _on_image(image, platform, python, system, xy, loads=loads, keeps=keeps)
    release = archives.release(base)
    substituted = _of_base(system, base, own_base)
    if of_conda and not loads:
        python = _of_conda(python, machine, release.glibc)
    if keeps:
        answering, index = python, None
    else:
        index = package_lists.read_index(base, fetcher, architecture=architecture)
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


def _on_image(
    image: base_image.BaseImage, platform: str, python: Python, system: System, xy: str, *, loads: bool, keeps: bool
) -> Goal:
    """The goal on a base that is an image. Where the snapshot's own Python cannot answer, only that of the base can."""
    machine = MACHINES[platform.partition("/")[2]]
    own, glibc = image.python, image.locked.glibc
    if keeps and not loads:
        python = _of_conda(python, machine, glibc)
    substituted: tuple[Substituted, ...] = ()
    here = image.system
    if (here.id, here.version_id) != (system.id, system.version_id):
        before, after = (each.name or f"{each.id or each.os} {each.version_id}".strip() for each in (system, here))
        reason = "it was asked for"
        substituted = (Substituted(kind="base", name="system", before=before, after=after, reason=reason),)
    if not keeps:
        found = own.version if own is not None else "none"
        if own is None or not own.version.startswith(f"{xy}."):
            raise RefusedError(
                f"`{image.reference}` has Python {found}, and the lock for {platform} needs {xy}",
                hint="name a base that has it, or lock where the interpreter can be captured",
            )
        if own.version != python.version:
            reason = f"that of the base answers on {platform}"
            change = Substituted(kind="python", name="python", before=python.version, after=own.version, reason=reason)
            substituted = (*substituted, change)
        tags = fitting.platforms(machine, glibc)
        python = msgspec.structs.replace(own, basis=Basis.LOCKED, platform_tags=tags)
    return Goal(
        platform=platform,
        place=Place(python.version, machine, glibc, image.reference),
        python=python,
        markers=closure.marker_environment(python, msgspec.structs.replace(system, os="linux", machine=machine)),
        index=None,
        own=loads and keeps,
        substituted=substituted,
        image=image,
    )


def _of_conda(python: Python, machine: str, glibc: str) -> Python:
    """That of the same version which conda's package brings on another platform."""
    tags = fitting.platforms(machine, glibc)
    return Python(basis=Basis.LOCKED, version=python.version, implementation=python.implementation, platform_tags=tags)


def _of_base(system: System, base: str, own_base: str) -> tuple[Substituted, ...]:
    if base.removeprefix(archives.SCRATCH) == own_base:
        return ()
    before = system.name or f"{system.id or system.os} {system.version_id}".strip() or "an unknown system"
    reason = "it was asked for" if own_base else "no base is made of that system"
    return (Substituted(kind="base", name="system", before=before, after=base, reason=reason),)


def _is_here(python: Python, asked: Asked) -> bool:
    return bool(asked.interpreter_in) or interpreter.is_here(python)


def _answering(index: package_lists.Index, xy: str, asked: Asked, platform: str) -> str:
    """The version of the base's Python, if it is the one that is needed."""
    base = index.release.base
    if not index.release.python_version:
        raise RefusedError(
            f"{base} has no Python of its own, and the training's cannot answer on {platform}, or is another than was"
            " asked for",
            hint="lock where the interpreter lies, for its own platform; or name a base with a Python",
        )
    having = [name for name in archives.BASES if archives.release(name).python_version == xy]
    if index.release.python_version != xy:
        raise RefusedError(
            f"{base} has Python {index.release.python_version}, and the lock for {platform} needs {xy}",
            hint=f"name a base that has it: `--base {having[0]}`"
            if having
            else f"no base has Python {xy}: train with that of one ({', '.join(archives.BASES)}),"
            " or lock where the interpreter can be captured",
        )
    version = package_lists.offered_python(index)
    if asked.python_version not in {"", xy, version}:
        raise RefusedError(
            f"{base} has Python {version}, and not {asked.python_version}", hint=f"ask for `--python-version {version}`"
        )
    return version


def _nearest(
    python: Python,
    system: System,
    chosen: tuple[Distribution, ...],
    xy: str,
    *,
    loads: bool,
    keeps: bool,
    of_conda: bool,
) -> str:
    """
    The base for a system that none is made of: the one whose glibc is the nearest of those that every installed wheel
    runs with; and, where its own Python has to answer, that has it. Where the snapshot has no glibc, the first that has
    the Python.
    """
    fits = [base for base in archives.BASES if keeps or archives.release(base).python_version == xy]
    if not fits:
        raise RefusedError(
            f"no base has Python {xy}, and the snapshot's own cannot be captured here",
            hint="name one with --base and --python-version, or train with the Python of a base"
            f" ({', '.join(archives.BASES)})",
        )
    if not loads:
        return fits[0]
    floors = [glibc_floor([tag.rpartition("-")[2] for tag in item.wheel_tags]) for item in chosen]
    floor = max((*floors, interpreter.glibc_floor(python) if keeps and not of_conda else ""), key=glibc_key)
    able = [base for base in fits if glibc_key(archives.release(base).glibc) >= glibc_key(floor)]
    if not able:
        raise RefusedError(
            f"the installed wheels need glibc {floor}, and no base that fits has it",
            hint=f"their glibc: {', '.join(f'{base} {archives.release(base).glibc}' for base in fits)}",
        )
    here = glibc_key(system.libc_version)

    def distance(base: str) -> tuple[int, int]:
        """Of two that are as near the newer one: what was built for a glibc runs with all that come after it."""
        minor = glibc_key(archives.release(base).glibc)[1]
        return abs(minor - (here[1] if len(here) > 1 else 0)), -minor

    return min(able, key=distance)
