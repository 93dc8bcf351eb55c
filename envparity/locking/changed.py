"""A lock that lies there, with something added or moved: nothing else of it changes, and nothing is locked anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from envparity import closure, codec, lockfile, platforms
from envparity.compare.versions import same_version
from envparity.errors import RefusedError, UsageError
from envparity.fetch import Fetcher
from envparity.files import copy
from envparity.image import preflight, supply
from envparity.lockfile import Recovered
from envparity.locking import additions, conda, server
from envparity.locking.asked import Asked
from envparity.locking.bundle import bundled
from envparity.locking.selection import INSTALLERS
from envparity.locking.wheels import Wheels
from envparity.resolvers import archives
from envparity.resolvers.for_place import Place
from envparity.values import (
    ARCHITECTURES,
    Basis,
    BroughtDistribution,
    Distribution,
    Environment,
    Lock,
    LockedDistribution,
    System,
    Target,
)


def changed(path: Path, *, asked: Asked, fetcher: Fetcher, workplace: Path) -> tuple[Recovered, Environment]:
    """
    The lock at `path` with what is asked for, and the environment that it was made of.

    Base, OS packages, interpreter, artifacts and every other distribution stay as they are. Of a lock for several
    platforms each is changed for itself, and all of them get the same versions.

    Raises:
        UsageError: nothing was asked for.
        RefusedError: something would have to move, or needs an OS package that is not locked.
        UnreachableError, IntegrityError: an artifact beside the lock is missing, or not the locked one. And what
            `additions` raises.
    """
    if not asked.added and not asked.updated and not asked.serve:
        raise UsageError(
            f"`{path}` is a lock already, and nothing is to be changed in it",
            hint="`--add REQUIREMENT` and `--update NAME` change it; `--explain` prints it; or name a snapshot",
        )
    lock, data = lockfile.read(path)
    there = {item.name for item in lock.distributions} | {item.name for it in lock.targets for item in _brought(it)}
    asked = server.with_server(asked, lock.models, there)
    folder = lockfile.artifacts_folder(path)
    artifacts = _copied(lock, folder, workplace)
    environment = codec.load_environment(artifacts[lock.snapshot.name].read_bytes(), f"snapshot of `{path}`")
    alike: dict[str, str] = {}
    changes: list[Lock] = []
    for target in lock.targets:
        own = platforms.selected(lock, target.platform)
        changes.append(_of_target(own, target, environment, alike, asked=asked, fetcher=fetcher))
        alike |= {item.name: item.version for item in changes[-1].distributions if item.added is not None}
    new = msgspec.structs.replace(platforms.joined(changes), serve=asked.serve or lock.serve)
    still = {wheel.name for item in new.distributions for wheel in item.wheels}
    gone = {item.wheels[0].name for item in lock.distributions if item.repacked is not None} - still
    kept: dict[str, Path | bytes] = {name: place for name, place in artifacts.items() if name not in gone}
    made = Recovered(new, kept, data)
    if lock.bundled or asked.bundle:
        made = bundled(made, fetcher=fetcher, mirrors=archives.wanted)
    return made, environment


def _of_target(
    lock: Lock, target: Target, environment: Environment, alike: Mapping[str, str], *, asked: Asked, fetcher: Fetcher
) -> Lock:
    """The lock of one platform with what is asked for; what others got by that (`alike`) it gets in that version."""
    machine = next(name for name, short in ARCHITECTURES.items() if target.platform == f"linux/{short}")
    place = Place(target.interpreter.version, machine, _glibc(target), target.base)
    brought = _brought(target)
    chosen = _known((*lock.distributions, *brought), environment)
    conda.require_unmoved(asked, _known(brought, environment))
    before = {item.name: item.added for item in lock.distributions if item.added is not None}
    markers = _markers(environment, target, machine)
    new = {name: version for name, version in alike.items() if name not in before}
    fixed = {item.name for item in brought}
    plan = additions.planned(chosen, place, markers, asked=asked, before=before, alike=new, fixed=fixed)
    _require_new(plan, chosen, environment)
    nothing = Wheels(distributions=lock.distributions, sonames=frozenset(), floors={}, made={})
    models = environment.artifacts or ()
    wheels = additions.joined(nothing, plan, place, asked=asked, fetcher=fetcher, artifacts=models, there=brought)
    _require_brought(target, wheels)
    made = msgspec.structs.replace(lock, distributions=wheels.distributions)
    preflight.check_platform(made, target, floors=wheels.floors)
    return made


def _require_new(plan: additions.Plan, chosen: Iterable[Distribution], environment: Environment) -> None:
    """
    That nothing is added which trained the model and was left out: its version of then is the one that may come back,
    and only the snapshot leads to its very wheel.
    """
    if environment.python is None or environment.python.basis is not Basis.INSTALLED:
        return
    locked = {item.name for item in chosen}
    trained = {item.name: item.version for item in environment.distributions or () if _trained(item)}
    back = [pin for pin in plan.pins if pin.name in trained and pin.name not in locked]
    if back:
        raise RefusedError(
            "what is added needs what trained the model and was left out of this lock",
            hint="lock the snapshot again with what is added here: what that needs is kept as it trained the model",
            details=tuple(
                f"{pin.name} {trained[pin.name]} trained the model, and {pin.version} would come in" for pin in back
            ),
        )


def _trained(item: Distribution) -> bool:
    return item.importable and not item.tooling and item.name not in INSTALLERS


def _markers(environment: Environment, target: Target, machine: str) -> dict[str, str]:
    """What the variables of markers are in the image of a platform; none where the source was installed nowhere."""
    if environment.python is None or not environment.python.version:
        return {}
    python = msgspec.structs.replace(environment.python, version=target.interpreter.version)
    return closure.marker_environment(python, System(os="linux", machine=machine))


def _brought(target: Target) -> tuple[BroughtDistribution, ...]:
    """The distributions that the conda packages of a platform bring."""
    return tuple(one for item in target.conda_packages for one in item.distributions)


def _known(locked: Iterable[LockedDistribution | BroughtDistribution], environment: Environment) -> list[Distribution]:
    """What is locked: as the snapshot knows it, where it is that version; else by name and version alone."""
    installed = {item.name: item for item in environment.distributions or () if item.importable}

    def known(item: LockedDistribution | BroughtDistribution) -> Distribution:
        found = installed.get(item.name)
        if found is not None and same_version(found.version, item.version):
            return msgspec.structs.replace(found, version=item.version)
        return Distribution(name=item.name, version=item.version, basis=Basis.LOCKED)

    return [known(item) for item in locked]


def _copied(lock: Lock, folder: Path, workplace: Path) -> dict[str, Path]:
    """What no index serves of a lock, checked, where it survives that the folder is written anew."""
    found = {}
    for artifact in lockfile.artifacts(msgspec.structs.replace(lock, bundled=False)):
        found[artifact.name] = workplace / artifact.name
        copy(supply.artifact_in(folder, artifact), found[artifact.name])
    return found


def _glibc(target: Target) -> str:
    return target.image.glibc if target.image is not None else archives.release(target.base).glibc


def _require_brought(target: Target, wheels: Wheels) -> None:
    locked = {item.name for item in target.held_packages}
    release = target.image.release if target.image is not None else target.base
    needed = archives.bringing(release, wheels.sonames) if release else wheels.sonames
    missing = sorted(needed - locked)
    if missing:
        raise RefusedError(
            f"what is added needs OS packages that are not locked: {', '.join(missing)}",
            hint="lock the snapshot again with the same --add, so that they are locked too",
        )
