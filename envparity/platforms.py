"""
A lock for several platforms, and the lock that each of them has by itself (pure): `joined`, and its inverse `selected`.

Which wheel another platform than the training's gets is recorded and never chosen again: a mark says it. Whether it
gets a distribution at all is the marker's to say, as https://packaging.python.org/specifications/pylock-toml/ has it.
"""

from __future__ import annotations

__all__ = ["condition", "here", "joined", "meant", "selected"]

import os
from collections.abc import Sequence

import msgspec

from envparity import markers
from envparity.errors import MalformedError, UsageError
from envparity.values import ARCHITECTURES, MACHINES, Counterpart, Lock, LockedDistribution, LockedWheel, Target

_COUNTERPART = "counterpart"
_UNSEEN = ("declared", "resolved")
"""Of what was installed nowhere no wheel stands for another."""


def condition(platform: str) -> str:
    """The marker that holds on one platform (`linux/amd64`)."""
    system, machine = _system_and_machine(platform)
    return f'sys_platform == "{system}" and platform_machine == "{machine}"'


def here() -> str:
    """The platform of the images that this machine runs."""
    machine = os.uname().machine
    return f"linux/{ARCHITECTURES.get(machine, machine)}"


def meant(lock: Lock, stated: str, here: str, name: str) -> str:
    """
    The platform of a lock that a person means: the stated one, else the only one, else that of this machine (`here`).

    Raises:
        UsageError: the lock has no such target, or several and none for this machine; those that it has are named.
    """
    platforms = [target.platform for target in lock.targets]
    listed = ", ".join(platforms) or "none"
    if stated and stated not in platforms:
        raise UsageError(f"`{name}` is no lock for {stated}; it has: {listed}", hint="name one of them: `--platform`")
    if stated or len(platforms) == 1:
        return stated or platforms[0]
    if here not in platforms:
        raise UsageError(f"`{name}` locks several platforms, and not {here}: {listed}", hint="say which: `--platform`")
    return here


def selected(lock: Lock, platform: str) -> Lock:
    """
    The lock of one of its targets: one wheel a distribution, no other platform's, and no marker that is decided there.

    What is in it as another platform's counterpart of what trained the model has that as its state.

    Raises:
        UsageError: the lock has no such target. MalformedError: it has no wheel, or several, where one is due.
    """
    target = next((target for target in lock.targets if target.platform == platform), None)
    if target is None:
        listed = ", ".join(target.platform for target in lock.targets) or "none"
        raise UsageError(f"the lock has no target `{platform}`; it has: {listed}")
    known = _known(target)
    kept = []
    for item in lock.distributions:
        holds = markers.holds(item.marker, known) if item.marker else True
        if holds is not False:
            kept.append(_for_platform(item, platform, "" if holds else item.marker))
    return msgspec.structs.replace(
        lock,
        environments=tuple(marker for marker in lock.environments if markers.holds(marker, known) is not False),
        distributions=tuple(kept),
        targets=(target,),
    )


def _known(target: Target) -> dict[str, str]:
    system, machine = _system_and_machine(target.platform)
    return markers.of_place(
        version=target.interpreter.version, implementation="cpython", system=system, machine=machine
    )


def _for_platform(item: LockedDistribution, platform: str, marker: str) -> LockedDistribution:
    others = {mark.wheel for mark in item.counterparts}
    own = next((mark.wheel for mark in item.counterparts if mark.platform == platform), None)
    fitting = [wheel for wheel in item.wheels if (wheel.name not in others if own is None else wheel.name == own)]
    if len(fitting) != 1:
        found = " and ".join(f"`{wheel.name}`" for wheel in fitting) or "none"
        raise MalformedError(
            f"`{item.name}` is locked with several wheels, and which one is for {platform} is not said: {found}",
            hint="make the lock again with `envparity lock`",
        )
    left = [wheel.name for wheel in item.wheels if wheel not in fitting]
    return msgspec.structs.replace(
        item,
        wheels=tuple(fitting),
        marker=marker,
        counterparts=(),
        state=item.state if own is None or item.added is not None or item.state in _UNSEEN else _COUNTERPART,
        provenance=tuple(address for address in item.provenance if not any(name in address for name in left)),
    )


def joined(locks: Sequence[Lock]) -> Lock:
    """
    One lock of several that have one target each, all of one snapshot. The state of a distribution is that of the
    platform where the model was trained, if it is among them; a wheel that another platform has in its place is marked.

    `selected` of it gives each of them back.
    """
    first = locks[0]
    if len(locks) == 1:
        return first
    names = sorted({item.name for lock in locks for item in lock.distributions})
    return msgspec.structs.replace(
        first,
        environments=tuple(dict.fromkeys(marker for lock in locks for marker in lock.environments)),
        distributions=tuple(_joined(name, locks) for name in names),
        targets=tuple(lock.targets[0] for lock in locks),
    )


def _joined(name: str, locks: Sequence[Lock]) -> LockedDistribution:
    each = {lock.targets[0].platform: item for lock in locks for item in lock.distributions if item.name == name}
    trained = next((item for item in each.values() if item.state != _COUNTERPART), next(iter(each.values())))
    wheels: dict[str, LockedWheel] = {trained.wheel.name: trained.wheel}
    wheels |= {item.wheel.name: item.wheel for item in each.values() if item.wheel.name not in wheels}
    marks = tuple(
        Counterpart(platform=platform, wheel=item.wheel.name)
        for platform, item in each.items()
        if item.wheel.name != trained.wheel.name
    )
    there = markers.either(condition(platform) for platform in each) if len(each) < len(locks) else ""
    return msgspec.structs.replace(
        trained,
        wheels=tuple(wheels.values()),
        marker=markers.both(trained.marker, there),
        counterparts=marks,
        requires_python=",".join(dict.fromkeys(item.requires_python for item in each.values() if item.requires_python)),
        provenance=tuple(dict.fromkeys(address for item in each.values() for address in item.provenance)),
        import_names=tuple(sorted({module for item in each.values() for module in item.import_names})),
        yanked=next((item.yanked for item in each.values() if item.yanked is not None), None),
    )


def _system_and_machine(platform: str) -> tuple[str, str]:
    system, _, architecture = platform.partition("/")
    architecture = architecture.partition("/")[0]
    return system, MACHINES.get(architecture, architecture)
