"""A lock that lies there, with something added or moved: nothing else of it changes, and nothing is locked anew."""

from __future__ import annotations

from pathlib import Path

import msgspec

from envparity import closure, codec, lockfile
from envparity.errors import RefusedError, UnsupportedError, UsageError
from envparity.fetch import Fetcher
from envparity.files import copy
from envparity.image import preflight, supply
from envparity.lockfile import Recovered
from envparity.locking import additions
from envparity.locking.asked import Asked
from envparity.locking.bundle import bundled
from envparity.locking.wheels import Wheels
from envparity.resolvers import debian
from envparity.resolvers.pinned import Place
from envparity.values import ARCHITECTURES, Basis, Distribution, Environment, Lock, LockedDistribution, Target


def changed(path: Path, *, asked: Asked, fetcher: Fetcher, workplace: Path) -> tuple[Recovered, Environment]:
    """
    The lock at `path` with what is asked for, and the environment that it was made of.

    Base, OS packages, interpreter, artifacts and every other distribution stay as they are.

    Raises:
        UsageError: nothing was asked for. UnsupportedError: a lock for several platforms.
        RefusedError: something would have to move, or needs an OS package that is not locked.
        UnreachableError, IntegrityError: an artifact beside the lock is missing, or not the locked one. And what
            `additions` raises.
    """
    if not asked.added and not asked.updated:
        raise UsageError(
            f"`{path}` is a lock already, and nothing is to be changed in it",
            hint="`--add REQUIREMENT` and `--update NAME` change it; `--explain` prints it; or name a snapshot",
        )
    lock, data = lockfile.read(path)
    if len(lock.targets) != 1:
        raise UnsupportedError(
            f"changing a lock for {len(lock.targets)} platforms is not supported",
            hint="lock the snapshot again, with the same --add and --update",
        )
    (target,) = lock.targets
    folder = lockfile.artifacts_folder(path)
    artifacts = _copied(lock, folder, workplace)
    environment = codec.load_environment(artifacts[lock.snapshot.name].read_bytes(), f"snapshot of `{path}`")
    machine = next(name for name, short in ARCHITECTURES.items() if target.platform == f"linux/{short}")
    place = Place(target.interpreter.version, machine, debian.release(target.base).glibc, target.base)
    chosen = _known(lock, environment)
    markers = closure.marker_environment(environment.python, environment.system) if environment.python else {}
    before = {item.name: item.added for item in lock.distributions if item.added is not None}
    plan = additions.planned(chosen, place, markers, asked=asked, before=before)
    nothing = Wheels(distributions=lock.distributions, sonames=frozenset(), floors={}, made={})
    wheels = additions.joined(nothing, plan, place, asked=asked, fetcher=fetcher, artifacts=environment.artifacts or ())
    _require_brought(target, wheels)
    new = msgspec.structs.replace(lock, distributions=wheels.distributions)
    preflight.check_platform(new, target, floors=wheels.floors)
    gone = {item.wheel.name for item in lock.distributions if item.repacked is not None and item.name in plan.names}
    kept: dict[str, Path | bytes] = {name: place for name, place in artifacts.items() if name not in gone}
    made = Recovered(new, kept, data)
    if lock.bundled or asked.bundle:
        made = bundled(made, fetcher=fetcher, mirrors=debian.package_urls)
    return made, environment


def _known(lock: Lock, environment: Environment) -> list[Distribution]:
    """What is locked: as the snapshot knows it, where it is that version; else by name and version alone."""
    installed = {item.name: item for item in environment.distributions or () if item.importable}

    def known(item: LockedDistribution) -> Distribution:
        found = installed.get(item.name)
        if found is not None and found.version == item.version:
            return found
        return Distribution(name=item.name, version=item.version, basis=Basis.LOCKED)

    return [known(item) for item in lock.distributions]


def _copied(lock: Lock, folder: Path, workplace: Path) -> dict[str, Path]:
    """What no index serves of a lock, checked, where it survives that the folder is written anew."""
    found = {}
    for artifact in lockfile.artifacts(msgspec.structs.replace(lock, bundled=False)):
        found[artifact.name] = workplace / artifact.name
        copy(supply.artifact_in(folder, artifact), found[artifact.name])
    return found


def _require_brought(target: Target, wheels: Wheels) -> None:
    locked = {item.name for item in target.os_packages}
    missing = sorted(debian.bringing(target.base, wheels.sonames) - locked)
    if missing:
        raise RefusedError(
            f"what is added needs OS packages that are not locked: {', '.join(missing)}",
            hint="lock the snapshot again with the same --add, so that they are locked too",
        )
