"""
What did not train the model and goes beside it (`--add`), and what is moved on purpose (`--update`).

Both are resolved under everything else that is locked, which does not move: what would move it is refused, with the
chain that leads there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from envparity import closure
from envparity.errors import ConflictError, RefusedError, UnsupportedError, UsageError
from envparity.fetch import Fetcher
from envparity.image.supply import wheel_wanted
from envparity.locking import contents
from envparity.locking.asked import Asked
from envparity.locking.wheels import Wheels
from envparity.resolvers import fitting, resolve, states
from envparity.resolvers.for_place import Place, find_pinned
from envparity.resolvers.problems import Problem
from envparity.resolvers.resolve import Pin, Request, parsed
from envparity.values import (
    Added,
    Artifact,
    Basis,
    BroughtDistribution,
    Distribution,
    Environment,
    LockedDistribution,
)


@dataclass(frozen=True)
class Plan:
    """
    What is added and moved: the pins, and why each is there. `beside` are the names of what trained the model and these
    need too.
    """

    pins: tuple[Pin, ...] = ()
    asked: Mapping[str, Added] = field(default_factory=dict)
    beside: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """The distributions that are locked by this plan, and not as they were trained with."""
        return frozenset(pin.name for pin in self.pins)


NOTHING = Plan()


def require_unasked(asked: Asked) -> None:
    """
    Refuse both where the source is a file that pins: what it requires is for its own tool to resolve.

    Raises:
        UnsupportedError: one was asked for.
    """
    of_resolver = ((asked.added, "--add"), (asked.updated, "--update"), (asked.serve, "--serve"))
    for options, flag in (*of_resolver, (asked.dev_exclude, "--dev-exclude")):
        if options:
            raise UnsupportedError(
                f"`{flag}` of a file that another tool resolved is not supported",
                hint="change it with that tool; or lock it first, and then `envparity lock pylock.toml --add …`;"
                " `--leave-out NAME` leaves out what it names",
            )


def planned(
    chosen: Sequence[Distribution],
    place: Place,
    markers: Mapping[str, str],
    *,
    asked: Asked,
    before: Mapping[str, Added] | None = None,
    alike: Mapping[str, str] = MappingProxyType({}),
    fixed: Collection[str] = (),
) -> Plan:
    """
    The pins of what is asked for, beside these.

    Args:
        chosen: everything that is locked. One without `requires` is asked of the index.
        place: what the wheels are for.
        before: those of `chosen` that had been added or moved before.
        alike: name -> version of what another platform of the same lock gets: it is that version here too.
        fixed: names of those of `chosen` that `--update` does not move either.

    Raises:
        ConflictError: something would have to move that nobody named.
        UsageError: a requirement is none; what is to be moved is not locked, or is also to be added.
    """
    if not asked.added and not asked.updated:
        return NOTHING
    from envparity.resolvers.logins import Logins

    versions = {item.name: item.version for item in chosen}
    updates = _updates(asked.updated, versions)
    added = [parsed(text) for text in asked.added]
    held = {name: version for name, version in versions.items() if name not in updates}
    limits = tuple(_limits(chosen, updates, versions, markers))
    _require_allowed(updates, limits, fixed)
    wanted = (*map(str, added), *updates.values())
    logins = Logins(asked.environ, asked.indexes.named)
    request = Request(
        requirements=wanted,
        python_version=place.python_version,
        platform_tags=fitting.platforms(place.machine, place.glibc),
        constraints=held,
        limits=(*(limit.text for limit in limits), *(f"{name}=={version}" for name, version in alike.items())),
        installed=[item for item in chosen if item.name in held and item.basis is Basis.INSTALLED],
        indexes=tuple(logins.address(index.url) for index in asked.indexes.order),
        pinned={name: logins.address(index.url) for name, index in asked.indexes.pinned.items()},
    )
    try:
        pins = resolve.resolve(request, environ=asked.environ, resolver=asked.resolver)
    except ConflictError as error:
        found = _explained(error, [each for each in limits if _may_hold(each, updates[each.name])], versions, fixed)
        if asked.serve not in {"", "fastapi"}:
            found.hint += "; or `--serve fastapi`, which needs less"
        raise found from error
    known = before or {}
    new = tuple(pin for pin in pins if pin.name not in held and pin.version != versions.get(pin.name))
    roots = {resolve.name_of(text): text for text in wanted}
    return Plan(
        new,
        {pin.name: _why(pin, pins, roots, versions, known.get(pin.name)) for pin in new},
        frozenset(pin.name for pin in pins if pin.name in held),
    )


def joined(
    wheels: Wheels,
    plan: Plan,
    place: Place,
    *,
    asked: Asked,
    fetcher: Fetcher,
    artifacts: Iterable[Artifact],
    there: Iterable[BroughtDistribution] = (),
) -> Wheels:
    """
    The same with the wheels of the plan. `there` is what conda packages bring beside them.

    Raises:
        RefusedError: one has no wheel that fits. UnreachableError, IntegrityError: of what is fetched.
    """
    if not plan.pins:
        return wheels
    found = find_pinned(
        [Distribution(name=pin.name, version=pin.version) for pin in plan.pins],
        place,
        client=fetcher.client,
        indexes=asked.indexes,
        progress=fetcher.progress,
        pages=fetcher.pages,
    )
    problems = tuple(item for item in found if isinstance(item, Problem))
    if problems:
        raise RefusedError(
            f"{states.counted(len(problems))} cannot be added",
            hint="ask for another version, or name its index with --index",
            details=tuple(f"{item.name} {item.version}: {item.reason}" for item in problems),
        )
    locked = [item for item in found if isinstance(item, LockedDistribution)]
    files = fetcher.blobs([wheel_wanted(item) for item in locked], "wheels that are added")
    places = {item.name: file for item, file in zip(locked, files, strict=True)}
    needs, _ = contents.of_all(locked, fetcher=fetcher, installed={}, places=places)
    new = []
    for item in locked:
        how = plan.asked[item.name]
        names = contents.inside(fetcher, item, places[item.name]).import_names
        known = msgspec.structs.replace(item, state="updated" if how.before else "added", import_names=names, added=how)
        new.append(contents.with_short_names(known, needs[item.name].modules, artifacts))
    kept = [item for item in wheels.distributions if item.name not in plan.names]
    _require_apart(new, [*kept, *there])
    return Wheels(
        distributions=tuple(sorted([*kept, *new], key=lambda item: item.name)),
        sonames=wheels.sonames.union(*(found.sonames for found in needs.values())),
        floors=wheels.floors | {item.wheel.name: needs[item.name].glibc_floor for item in locked},
        made=wheels.made,
    )


def _require_apart(new: Iterable[LockedDistribution], kept: Sequence[LockedDistribution | BroughtDistribution]) -> None:
    """
    Refuse what brings the library of something that stays, built otherwise: both write the same files.

    Raises:
        RefusedError: with what asked for it.
    """
    from envparity.compare import families

    details = [
        f"{item.name} {item.version} ({_asked(item)}) and {other.name} {other.version}: both are `{name}`"
        for item in new
        for other in kept
        for name in sorted({*item.import_names} & {*other.import_names})[:1]
        if item.name != other.name and families.first_of(item.name) == families.first_of(other.name)
    ]
    if details:
        raise RefusedError(
            "what is added cannot lie beside what trained the model",
            hint="do without it (another `--serve`); or train with what it requires, and take a new snapshot",
            details=tuple(details),
        )


def _asked(item: LockedDistribution) -> str:
    return f"for {', '.join(item.added.asked_by)}" if item.added is not None else "added"


def moved(environment: Environment, locked: Iterable[LockedDistribution]) -> Environment:
    """The environment as the lock moves it: for `diff`, which says what that does to the model."""
    versions = {item.name: item.version for item in locked if item.state == "updated"}
    return msgspec.structs.replace(
        environment,
        distributions=tuple(
            msgspec.structs.replace(item, version=versions[item.name]) if item.name in versions else item
            for item in environment.distributions or ()
        ),
    )


@dataclass(frozen=True)
class _Limit:
    """What a distribution that stays requires of one that moves."""

    name: str
    specifier: str
    owner: str

    @property
    def text(self) -> str:
        return f"{self.name}{self.specifier}"


def _updates(texts: Iterable[str], versions: Mapping[str, str]) -> dict[str, str]:
    """Name -> requirement, of what is moved on purpose: without a version, whatever is newer."""
    found = {}
    for text in texts:
        requirement = parsed(text)
        name = resolve.name_of(text)
        if name not in versions:
            raise UsageError(
                f"`{name}` is not locked, so it cannot be moved", hint=f"`--add '{text}'` adds what did not train"
            )
        if requirement.marker is not None:
            raise UsageError(f"`{text}` has a condition, and a lock is for one place", hint="leave the condition out")
        found[name] = str(requirement) if requirement.specifier else f"{requirement}>{versions[name]}"
    return found


def _limits(
    chosen: Iterable[Distribution],
    updates: Mapping[str, str],
    versions: Mapping[str, str],
    markers: Mapping[str, str],
) -> Iterable[_Limit]:
    """What those that stay require of those that move, as far as it was met before."""
    for item in chosen:
        if item.name in updates:
            continue
        for name, specifier in closure.specifiers(item.requires, markers):
            if name in updates and resolve.allows(specifier, versions[name]) and specifier:
                yield _Limit(name, specifier, f"{item.name} {item.version}")


def _require_allowed(updates: Mapping[str, str], limits: Iterable[_Limit], fixed: Collection[str]) -> None:
    """What one version was asked of, and something that stays does not take: the chain is known without a resolver."""
    details = []
    owners = []
    for limit in limits:
        exact = resolve.exactly(updates[limit.name])
        if exact and not resolve.allows(limit.specifier, exact):
            details.append(f"{limit.owner} requires {limit.name} {limit.specifier}, and {exact} was asked for")
            owners.append(limit.owner.partition(" ")[0])
    if details:
        raise ConflictError(
            f"{', '.join(f'`{text}`' for text in updates.values())} cannot be had without moving what is locked",
            hint=_hint(owners, fixed),
            details=tuple(sorted(details)),
            moved=tuple(owners),
        )


def _may_hold(limit: _Limit, update: str) -> bool:
    """Whether a limit can be why a distribution does not move: one that only says from when on holds nothing down."""
    from packaging.specifiers import SpecifierSet

    upwards = {">", ">="}
    moves_up = {item.operator for item in parsed(update).specifier} <= upwards
    return not (moves_up and {item.operator for item in SpecifierSet(limit.specifier)} <= upwards)


def _explained(
    error: ConflictError, limits: Sequence[_Limit], versions: Mapping[str, str], fixed: Collection[str]
) -> ConflictError:
    """The same, with what keeps the version that was to move, and the command that moves the rest too."""
    kept = [
        f"{limit.name} {versions[limit.name]} is held: {limit.owner} requires {limit.name} {limit.specifier}"
        for limit in limits
    ]
    details = (*error.details, *sorted(kept))
    return ConflictError(
        error.message, hint=_hint(error.moved, fixed) or error.hint, details=details, moved=error.moved
    )


def _hint(moved: Sequence[str], fixed: Collection[str]) -> str:
    names = " ".join(f"--update {name}" for name in sorted(set(moved)))
    if fixed and set(moved) & set(fixed):
        return f"ask for another version; {', '.join(sorted(set(moved) & set(fixed)))} can be moved by conda alone"
    return f"ask for another version, or move these on purpose too: {names}" if names else ""


def _why(
    pin: Pin, pins: Sequence[Pin], roots: Mapping[str, str], versions: Mapping[str, str], known: Added | None
) -> Added:
    """Why a pin is locked. What had been added is no part of the training, however often it moves."""
    by = _roots(pin, pins, roots)
    if known is None:
        return Added(asked_by=by, before=versions.get(pin.name, ""))
    return Added(asked_by=tuple(sorted({*(known.asked_by if not known.before else ()), *by})), before=known.before)


def _roots(pin: Pin, pins: Sequence[Pin], roots: Mapping[str, str]) -> tuple[str, ...]:
    """The requirements that lead to a pin."""
    by_name = {item.name: item for item in pins}
    waiting, seen = [pin.name], set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += by_name[name].via if name in by_name else ()
    if pin.name in roots:
        return (roots[pin.name],)
    return tuple(sorted(roots[name] for name in seen & roots.keys()))
