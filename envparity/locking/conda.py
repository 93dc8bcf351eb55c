"""
The packages of a conda environment: which they are, the file of each, and which distributions they bring.

A distribution that conda brought is not looked up on an index: another build of it lies there. What pip put in the
place of one of conda's is pip's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from envparity.errors import RefusedError, UnsupportedError
from envparity.fetch import Fetcher
from envparity.image.supply import conda_wanted
from envparity.locking.asked import Asked
from envparity.resolvers import archives, debian, interpreter, package_lists, states
from envparity.resolvers.problems import Problem
from envparity.values import (
    BroughtDistribution,
    CondaPackage,
    Distribution,
    Environment,
    LockedCondaPackage,
    LockedInterpreter,
    OsPackage,
    Python,
    glibc_key,
    python_xy,
)

if TYPE_CHECKING:
    from envparity.image import conda
    from envparity.locking.targets import Goal


@dataclass(frozen=True)
class Conda:
    """
    The conda packages of a lock, what stood for the machine, what their native files need of a base, and the oldest
    glibc that they run with. Without any, the snapshot's Python is none of conda's.
    """

    packages: tuple[LockedCondaPackage, ...] = ()
    virtual: tuple[str, ...] = ()
    sonames: frozenset[str] = field(default_factory=frozenset)
    provided: frozenset[str] = field(default_factory=frozenset)
    glibc_floor: str = ""


def installed(environment: Environment, python: Python) -> tuple[CondaPackage, ...]:
    """
    The conda packages that the snapshot's Python lies among; none where a virtual environment lies between (of that the
    interpreter alone is conda's, and it is captured like any other).
    """
    packages = tuple(item for item in environment.conda_packages or () if not item.virtual)
    is_own = python.prefix == python.base_prefix and any(item.name == "python" for item in packages)
    return packages if is_own else ()


def require_unmoved(asked: Asked, brought: Iterable[Distribution]) -> None:
    """
    Refuse to move (`--update`) what a conda package brings: a wheel in its place is another build of everything in it.

    Raises:
        UnsupportedError: something of that kind was asked for.
    """
    names = {item.name for item in brought}
    if not names or not asked.updated:
        return
    from envparity.resolvers import resolve

    moved = sorted(names & {resolve.name_of(text) for text in asked.updated})
    if moved:
        raise UnsupportedError(
            f"`--update {moved[0]}` is for what pip installed, and a conda package brings `{moved[0]}`",
            hint="move it where the model is trained, by conda, and take a new snapshot",
        )


def divided(
    distributions: Iterable[Distribution], packages: Collection[CondaPackage]
) -> tuple[tuple[Distribution, ...], tuple[Distribution, ...]]:
    """
    The distributions that no conda package brings (those of pip, editable ones, what lies on the path otherwise), and
    those that one does.
    """
    brought = {(name, _plain(version)) for item in packages for name, version in item.distributions}
    found: tuple[list[Distribution], list[Distribution]] = ([], [])
    for item in distributions:
        found[bool(packages) and _is_brought(item, brought)].append(item)
    return tuple(found[0]), tuple(found[1])


def _is_brought(item: Distribution, brought: set[tuple[str, str]]) -> bool:
    by_conda = item.installer in {"", "conda"} and not item.direct_url.startswith(("http", "git+"))
    return not item.editable and by_conda and ((item.name, _plain(item.version)) in brought or not brought)


def _plain(version: str) -> str:
    """A version as the name of a folder has it: "`-` … replaced with `_`" (recording installed packages)."""
    return version.replace("-", "_").lower()


def recovered(
    environment: Environment,
    packages: tuple[CondaPackage, ...],
    *,
    asked: Asked,
    fetcher: Fetcher,
    workplace: Path,
    declared: bool = False,
    states_of: Mapping[str, str] = MappingProxyType({}),
) -> Conda:
    """
    The file of each package in its channel. Of those that a file pins (`declared`) nothing was seen anywhere: which
    distributions they bring is read from the files themselves. `states_of` are the states of some of these by name.

    Raises:
        RefusedError: of one or more there is none, or its state is below what was asked for; all of them are listed.
        IntegrityError: a channel has other bytes under the same name. UnreachableError: of channels and files.
        UnsupportedError: rattler is not installed.
    """
    if not packages:
        return Conda()
    from envparity.resolvers import conda as channels
    from envparity.resolvers.logins import Logins

    logins = Logins(asked.environ, asked.indexes.named)
    found = channels.locked(packages, channels.channels(packages, workplace / "channels", logins))
    problems = [item for item in found if isinstance(item, Problem)]
    if problems:
        asked.explain(states.proofs(found))
        counted = "1 conda package" if len(problems) == 1 else f"{len(problems)} conda packages"
        raise RefusedError(
            f"{counted} cannot be locked",
            hint="make the file again with the tool that it comes from"
            if declared
            else "settle each of them where the model is trained, and take the snapshot again",
            details=tuple(map(str, problems)),
        )
    matched = sorted((item for item in found if isinstance(item, LockedCondaPackage)), key=lambda item: item.name)
    if declared:
        matched = [msgspec.structs.replace(item, state=states_of.get(item.name, "declared")) for item in matched]
    states.require(states.proofs(matched), asked.require, asked.explain)
    files = fetcher.blobs([conda_wanted(item) for item in matched], "conda packages")
    natives = [_native(fetcher, item, file) for item, file in zip(matched, files, strict=True)]
    provided = frozenset[str]().union(*(native.provided for native in natives))
    importable = {item.name: item.import_names for item in environment.distributions or () if item.importable}
    known = [_with_names(item, importable) for item in matched]
    if not declared:
        known = [_without_removed(item, environment.distributions or ()) for item in known]
    else:
        known = [_with_inside(fetcher, item, file) for item, file in zip(matched, files, strict=True)]
    return Conda(
        packages=tuple(known),
        virtual=tuple(sorted(_virtual(item) for item in environment.conda_packages or () if item.virtual)),
        sonames=frozenset[str]().union(*(native.needed for native in natives)) - provided,
        provided=provided,
        glibc_floor=max((native.glibc_floor for native in natives), key=glibc_key),
    )


def for_goal(
    environment: Environment,
    packages: tuple[CondaPackage, ...],
    goal: Goal,
    *,
    asked: Asked,
    fetcher: Fetcher,
    workplace: Path,
) -> tuple[Conda, Goal]:
    """
    The packages of a snapshot for one platform: its own, or where it was not made on that, the builds of the same
    versions there, and the goal with what could not be kept. What pip replaced stays replaced.

    Raises:
        What `conda_builds.elsewhere` and `recovered` raise.
    """
    if goal.own or not packages:
        return recovered(environment, packages, asked=asked, fetcher=fetcher, workplace=workplace), goal
    from envparity.locking import conda_builds

    place = goal.place
    found = conda_builds.elsewhere(
        environment, packages, platform=goal.platform, machine=place.machine, glibc=place.glibc, asked=asked
    )
    bare = msgspec.structs.replace(environment, conda_packages=(), distributions=())
    locked = recovered(
        bare,
        found.packages,
        asked=asked,
        fetcher=fetcher,
        workplace=workplace / goal.architecture,
        declared=True,
        states_of=found.states,
    )
    known = [_without_removed(item, environment.distributions or ()) for item in locked.packages]
    told = replace(goal, substituted=(*goal.substituted, *found.substituted), left_out=found.left_out)
    return replace(locked, packages=tuple(known), virtual=found.virtual), told


def with_replaced(found: Conda, names: Collection[str]) -> Conda:
    """The same, where pip puts others in the place of these distributions."""
    return replace(found, packages=tuple(_divided(item, lambda one: one.name not in names) for item in found.packages))


def _without_removed(item: LockedCondaPackage, distributions: Iterable[Distribution]) -> LockedCondaPackage:
    """With what pip replaced or removed told apart: metadata that conda has written, and that does not lie there."""
    installed = list(distributions)

    def stays(one: BroughtDistribution) -> bool:
        brought = {(one.name, _plain(one.version))}
        return any(
            (each.name, _plain(each.version)) in brought and (each.vendored_in or _is_brought(each, brought))
            for each in installed
        )

    return _divided(item, stays)


def _divided(item: LockedCondaPackage, stays: Callable[[BroughtDistribution], bool]) -> LockedCondaPackage:
    kept = tuple(one for one in item.distributions if stays(one))
    gone = tuple(one for one in item.distributions if one not in kept)
    return msgspec.structs.replace(item, distributions=kept, replaced=gone)


def decided(
    python: Python,
    found: Conda,
    *,
    base: str,
    architecture: str,
    os_packages: Iterable[OsPackage],
    sonames: frozenset[str],
    add: Iterable[str],
    fetcher: Fetcher,
) -> interpreter.Decided:
    """
    The interpreter that a conda package brings, and a base with what no conda package does: the C library, drivers.

    Raises:
        RefusedError: the base is too old for a conda package. And what `debian.resolve_base` raises.
    """
    from envparity.image.plan import PREFIX

    index = package_lists.read_index(base, fetcher, architecture=architecture)
    if glibc_key(found.glibc_floor) > glibc_key(index.release.glibc):
        raise RefusedError(
            f"the conda packages need glibc {found.glibc_floor}, and {base} has {index.release.glibc}",
            hint=f"name a newer base with --base: {', '.join(archives.BASES)}",
        )
    needed = (sonames | found.sonames) - found.provided
    own = debian.resolve_base(base, index=index, installed=os_packages, needed_sonames=needed, add=add)
    xy = python_xy(python.version)
    kind = LockedInterpreter(kind="conda", version=python.version, executable=f"/{PREFIX}/bin/python{xy}")
    return interpreter.Decided(kind, own.os_packages, own.substituted, own.left_out, index.suites(own.os_packages))


def _virtual(item: CondaPackage) -> str:
    return f"{item.name}={item.version}={item.build}"


def _with_names(item: LockedCondaPackage, importable: dict[str, tuple[str, ...]]) -> LockedCondaPackage:
    brought = tuple(
        BroughtDistribution(name=one.name, version=one.version, import_names=importable.get(one.name, ()))
        for one in item.distributions
    )
    return msgspec.structs.replace(item, distributions=brought)


def _with_inside(fetcher: Fetcher, item: LockedCondaPackage, file: Path) -> LockedCondaPackage:
    """With the distributions whose metadata lies in its file; noted by its digest."""
    from envparity.image import conda

    key = f"conda-brought-1-{item.sha256}"
    found = fetcher.cache.note(key, tuple[BroughtDistribution, ...])
    if found is None:
        found = conda.brought(file, item.file_name)
        fetcher.cache.write_note(key, found)
    return msgspec.structs.replace(item, distributions=found)


def _native(fetcher: Fetcher, item: LockedCondaPackage, file: Path) -> conda.Native:
    """What its native files need; noted by its digest, since it follows from its bytes."""
    from envparity.image import conda

    key = f"conda-native-1-{item.sha256}"
    noted = fetcher.cache.note(key, tuple[tuple[str, ...], tuple[str, ...], str])
    if noted is not None:
        return conda.Native(frozenset(noted[0]), frozenset(noted[1]), noted[2])
    found = conda.native_needs(file, item.file_name)
    fetcher.cache.write_note(key, (tuple(sorted(found.needed)), tuple(sorted(found.provided)), found.glibc_floor))
    return found
