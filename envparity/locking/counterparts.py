"""
The same versions for another platform: the wheel that an installer takes there, and what is not installed there at all.

No version is moved. What has no wheel there is refused, all of it at once, with the nearest version that has one.
"""

from __future__ import annotations

__all__ = ["REASON", "Divided", "cannot_load", "divided", "found", "together", "unneeded"]

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from envparity import closure
from envparity.errors import RefusedError
from envparity.fetch import Fetcher
from envparity.locking import contents, proof
from envparity.locking.asked import Asked
from envparity.locking.targets import Goal
from envparity.locking.wheels import Wheels
from envparity.network import printable
from envparity.resolvers import fitting, index, states
from envparity.resolvers.for_place import find_pinned
from envparity.resolvers.matching import tags_of
from envparity.resolvers.problems import Problem
from envparity.values import Artifact, Distribution, Environment, LeftOut, LockedDistribution

if TYPE_CHECKING:
    from packaging.version import Version

STATE = "counterpart"

REASON = "nothing that is locked requires it on"

_REQUESTS_ALL = frozenset({"uv"})
"""Installers that write REQUESTED for everything, so that it says nothing."""


@dataclass(frozen=True)
class Divided:
    """
    What one platform gets of what is locked: `exact`, the very file that was installed; `other`, a counterpart of it;
    and nothing of what is `left_out`.
    """

    goal: Goal
    exact: tuple[Distribution, ...]
    other: tuple[Distribution, ...]
    left_out: tuple[LeftOut, ...]


def divided(
    chosen: Sequence[Distribution], goals: Sequence[Goal], markers: Mapping[str, str], beside: Collection[str] = ()
) -> tuple[Divided, ...]:
    """
    What each platform gets, by the metadata of what requires it and by the tags of what was installed.

    Args:
        markers: what they are where the model was trained.
        beside: names of what is locked besides.

    Raises:
        RefusedError: something is required there that the training had not, so no version of it trained the model.
    """
    roots = _roots(chosen, markers)
    result, lacking = [], []
    for goal in goals:
        if goal.own:
            result.append(Divided(goal, tuple(chosen), (), ()))
            continue
        needed = closure.required_by(chosen, roots, goal.markers)
        there = [item for item in chosen if item.name in needed]
        lacking += _lacking(there, goal, markers, {*beside, *(item.name for item in chosen)})
        accepted = fitting.ranks(goal.place.python_version, machine=goal.place.machine, glibc=goal.place.glibc)
        exact = [item for item in there if tags_of(item.wheel_tags) & accepted.keys() or not item.wheel_tags]
        result.append(
            Divided(
                goal=goal,
                exact=tuple(exact),
                other=tuple(item for item in there if item not in exact),
                left_out=tuple(
                    LeftOut(
                        kind="distribution",
                        name=item.name,
                        version=item.version,
                        reason=f"{REASON} {goal.platform}",
                    )
                    for item in chosen
                    if item.name not in needed
                ),
            )
        )
    if lacking:
        raise RefusedError(
            "something is required on a platform that the training had not, so no version of it is known",
            hint="name the version with `--add NAME==VERSION`, or train where it is installed",
            details=tuple(dict.fromkeys(lacking)),
        )
    return tuple(result)


def _roots(chosen: Sequence[Distribution], markers: Mapping[str, str]) -> frozenset[str]:
    """What nothing else requires where the model was trained, and what a person asked for by name."""
    direct = closure.direct(chosen, markers)
    required = {name for names in direct.values() for name in names}
    roots = {item.name for item in chosen if item.name not in required}
    roots |= {item.name for item in chosen if item.requested and item.installer not in _REQUESTS_ALL}
    reached = closure.required_by(chosen, roots, markers)
    return frozenset(roots | {item.name for item in chosen if item.name not in reached})


def _lacking(
    there: Iterable[Distribution], goal: Goal, markers: Mapping[str, str], known: Collection[str]
) -> list[str]:
    lines = []
    for item in there:
        before = dict(closure.specifiers(item.requires, markers))
        for name, specifier in closure.specifiers(item.requires, goal.markers):
            if name not in before and name not in known:
                lines.append(f"{item.name} {item.version} requires {name}{specifier} on {goal.platform}")
    return lines


def found(platforms: Sequence[Divided], *, asked: Asked, fetcher: Fetcher) -> dict[str, tuple[LockedDistribution, ...]]:
    """
    The counterparts of each platform, by its name.

    Raises:
        RefusedError: one or more have no wheel on some platform; all of them are listed.
    """
    result: dict[str, tuple[LockedDistribution, ...]] = {}
    problems: list[str] = []
    for each in platforms:
        fixed = {item.name: problem for item in each.other if (problem := _never(item, asked)) is not None}
        changed = {item.name: str(item) for item in proof.changed_since(list(each.other), asked.indexes)}
        sought = [item for item in each.other if item.name not in {*fixed, *changed}]
        answers = find_pinned(
            [Distribution(name=item.name, version=item.version) for item in sought],
            each.goal.place,
            client=fetcher.client,
            indexes=asked.indexes,
            progress=fetcher.progress,
            pages=fetcher.pages,
        )
        problems += [*fixed.values(), *changed.values()]
        problems += [_told(item, each.goal, asked, fetcher) for item in answers if isinstance(item, Problem)]
        installed = {item.name: item for item in sought}
        result[each.goal.platform] = tuple(
            msgspec.structs.replace(item, state=STATE, import_names=installed[item.name].import_names)
            for item in answers
            if isinstance(item, LockedDistribution)
        )
    if problems:
        names = {line.partition(" ")[0] for line in problems}
        where = " and ".join(each.goal.platform for each in platforms if each.other)
        raise RefusedError(
            f"{states.counted(len(names))} cannot be locked for {where}, since no other version is ever taken",
            hint="train with a version that every platform has, or leave the platform out",
            details=tuple(problems),
        )
    return result


def _never(item: Distribution, asked: Asked) -> str | None:
    """Why a distribution can have no counterpart, if it cannot: only the files that were installed are known."""
    if item.editable or item.direct_url:
        where = printable(item.direct_url) or item.location
        return f"{item.name} {item.version}: was installed from `{where}`, and only as a wheel of one platform"
    if item.name in asked.repacked:
        return f"{item.name} {item.version}: is packed from its installed files, which are of one platform"
    return None


def _told(problem: Problem, goal: Goal, asked: Asked, fetcher: Fetcher) -> str:
    """The reason, and the nearest versions that have a wheel there."""
    near = " and ".join(_near(problem, goal, asked, fetcher))
    advice = f"nearest that has one: {near}" if near else "no version of it has one"
    command = f" (`{problem.command}`)" if problem.command and not near else ""
    return f"{problem.name} {problem.version}: {problem.reason}; {advice}{command}"


def _near(problem: Problem, goal: Goal, asked: Asked, fetcher: Fetcher) -> list[str]:
    """The last version before and the first after that has a wheel for this platform, and is not yanked."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename
    from packaging.version import InvalidVersion, Version

    try:
        wanted = Version(problem.version)
    except InvalidVersion:
        return []
    accepted = fitting.ranks(goal.place.python_version, machine=goal.place.machine, glibc=goal.place.glibc)
    sought = index.Sought(fetcher.client, goal.place.python_version, asked.indexes, fetcher.pages)
    versions: set[Version] = set()
    for listing in sought.listings(problem.name):
        for file in listing.page.files:
            try:
                _, version, _, tags = parse_wheel_filename(file.filename)
            except InvalidWheelFilename:
                continue
            usable = not file.yanked and version != wanted and (wanted.is_prerelease or not version.is_prerelease)
            if usable and tags & accepted.keys():
                versions.add(version)
    before = max((version for version in versions if version < wanted), default=None)
    after = min((version for version in versions if version > wanted), default=None)
    return [str(version) for version in (before, after) if version is not None]


def together(
    each: Divided,
    wheels: Wheels,
    others: Mapping[str, Sequence[LockedDistribution]],
    *,
    asked: Asked,
    fetcher: Fetcher,
    artifacts: Iterable[Artifact],
) -> Wheels:
    """
    What one platform gets: of the wheels that were installed those that it takes, and of `others` its counterparts.

    Raises:
        RefusedError: it is locked for by itself, and something is below the least state that was asked for.
    """
    names = {item.name for item in each.exact}
    counterparts = others[each.goal.platform]
    if not counterparts and {item.name for item in wheels.distributions} == names:
        return wheels
    exact = [item for item in wheels.distributions if item.name in names]
    places = {item.name: wheels.made[item.wheel.name] for item in exact if item.wheel.name in wheels.made}
    installed = {item.name: item for item in each.exact}
    all_of_them = sorted([*exact, *counterparts], key=lambda item: item.name)
    if len(others) == 1:
        states.require(states.proofs(all_of_them), asked.require, asked.explain)
    needs, _ = contents.of_all(all_of_them, fetcher=fetcher, installed=installed, places=places)
    made = {place.name: place for place in places.values()}
    return Wheels.of(all_of_them, needs, artifacts=artifacts, made=made)


def cannot_load(trained: Environment, image: Environment) -> frozenset[str]:
    """The distributions whose recorded wheel cannot be in an image: it is for another processor, system or Python."""
    python, system = image.python, image.system
    if python is None or system is None or not python.version or not system.machine:
        return frozenset()
    accepted = fitting.ranks(python.version, machine=system.machine, glibc=system.libc_version)
    return frozenset(
        item.name
        for item in trained.distributions or ()
        if item.wheel_tags and not tags_of(item.wheel_tags) & accepted.keys()
    )


def unneeded(trained: Environment, image: Environment) -> frozenset[str]:
    """What a snapshot's own metadata says is required where it was taken, and not on the platform of an image."""
    python, system = trained.python, trained.system
    if python is None or image.python is None or not python.version or not image.python.version:
        return frozenset()
    chosen = [item for item in trained.distributions or () if item.importable and not item.tooling]
    roots = _roots(chosen, closure.marker_environment(python, system))
    needed = closure.required_by(chosen, roots, closure.marker_environment(image.python, image.system))
    return frozenset(item.name for item in chosen if item.name not in needed)
