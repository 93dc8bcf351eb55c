"""
The wheels of a source that only says what should be installed.

    1  the pins      of what the source pins no version is moved; what it does not pin, a resolver chooses beside that
    2  the wheels    that an installer would take, within the hashes that are stated
    3  the rest      what these require and an open source (requirements) does not name: the resolver is asked, as in 1
"""

from __future__ import annotations

__all__ = ["wheels_of"]

import hashlib
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from envparity import closure
from envparity.errors import IntegrityError, RefusedError
from envparity.fetch import Fetcher
from envparity.image.supply import wheel_wanted
from envparity.locking import contents
from envparity.locking.asked import Asked
from envparity.locking.stated import Settled
from envparity.locking.wheels import Wheels
from envparity.resolvers import resolve, states
from envparity.resolvers.for_place import find_pinned
from envparity.resolvers.problems import Problem
from envparity.values import Basis, Distribution, LeftOut, LockedDistribution

_AT_ONCE = 16

if TYPE_CHECKING:
    from packaging.requirements import Requirement


@dataclass(frozen=True)
class _Found:
    """Wheels by name, where their bytes lie, and what each of them requires."""

    locked: tuple[LockedDistribution, ...]
    files: Mapping[str, Path]
    requires: Mapping[str, tuple[str, ...]]


def wheels_of(
    stated: Settled, *, asked: Asked, fetcher: Fetcher, alike: Mapping[str, str] = MappingProxyType({})
) -> tuple[Wheels, list[LeftOut]]:
    """
    The wheels; and what these require that a lock does not name, where its tool was told to leave it out. `alike` are
    the versions that another platform of the same lock has: a resolver is held to them.

    Raises:
        RefusedError: something has no wheel that fits, or pins contradict each other; all of it is listed.
        UnreachableError, IntegrityError: of what is fetched.
    """
    # 1
    chosen, resolved = list(stated.chosen), frozenset[str]()
    if any(_is_loose(item) for item in chosen):
        chosen, resolved = _resolved(stated, chosen, (), asked, alike)
    # 2
    found = _found(stated, chosen, resolved, asked, fetcher)
    missing = _missing(stated, chosen, found)
    # 3
    if missing and stated.environment.open:
        more = tuple(dict.fromkeys(str(requirement) for texts in missing.values() for _, requirement in texts))
        chosen, resolved = _resolved(stated, chosen, more, asked, alike, before=resolved)
        found = _found(stated, chosen, resolved, asked, fetcher)
        missing = _missing(stated, chosen, found)
    needs, _ = contents.of_all(list(found.locked), fetcher=fetcher, installed={}, places=found.files)
    return Wheels.of(found.locked, needs), [_left(name, owners) for name, owners in sorted(missing.items())]


def _is_loose(item: Distribution) -> bool:
    return not item.version and not item.direct_url


def _resolved(
    stated: Settled,
    chosen: list[Distribution],
    more: Iterable[str],
    asked: Asked,
    alike: Mapping[str, str],
    before: frozenset[str] = frozenset(),
) -> tuple[list[Distribution], frozenset[str]]:
    """What is chosen, with what a resolver adds beside the pins; and the names of what it chose."""
    by_name = {item.name: item for item in chosen}
    from envparity.resolvers.logins import Logins

    logins = Logins(asked.environ, asked.indexes.named)
    request = resolve.Request(
        requirements=(*(_requirement(item) for item in chosen if not item.direct_url), *more),
        python_version=stated.place.python_version,
        platform_tags=stated.python.platform_tags,
        constraints={**stated.brought, **alike, **{item.name: item.version for item in chosen if item.version}},
        installed=[Distribution(name=name, version=version) for name, version in stated.brought.items()],
        indexes=tuple(logins.address(index.url) for index in asked.indexes.order),
        pinned={name: logins.address(index.url) for name, index in asked.indexes.pinned.items()},
    )
    left_out = {"pip", *(item.name for item in stated.left_out), *stated.brought}
    kept = [item for item in chosen if not _is_loose(item)]
    names = {item.name for item in kept}
    for pin in resolve.resolve(request, environ=asked.environ):
        if pin.name in names or pin.name in left_out:
            continue
        known = by_name.get(pin.name, Distribution(name=pin.name, basis=Basis.DECLARED))
        kept.append(msgspec.structs.replace(known, version=pin.version, specifier=""))
    return kept, before | ({item.name for item in kept} - names)


def _requirement(item: Distribution) -> str:
    extras = f"[{','.join(item.extras)}]" if item.extras else ""
    return f"{item.name}{extras}{f'=={item.version}' if item.version else item.specifier}"


def _found(
    stated: Settled, chosen: list[Distribution], resolved: frozenset[str], asked: Asked, fetcher: Fetcher
) -> _Found:
    name = stated.environment.origin.reference
    metadata: dict[str, str] = {}
    answers: tuple[states.Found, ...] = find_pinned(
        chosen,
        stated.place,
        client=fetcher.client,
        indexes=asked.indexes,
        progress=fetcher.progress,
        pages=fetcher.pages,
        metadata=metadata,
        # pip reads a path in requirements from the working directory; in every lock it is one beside the file.
        folder="" if stated.environment.origin.kind == "requirements" else posixpath.dirname(name),
    )
    problems = [item for item in answers if isinstance(item, Problem)]
    if problems:
        asked.explain(states.proofs(answers))
        raise RefusedError(
            f"{states.counted(len(problems))} of `{name}` cannot be locked",
            hint="settle each of them as it says",
            details=tuple(map(str, problems)),
        )
    locked = [
        msgspec.structs.replace(item, state="resolved") if item.name in resolved else item
        for item in sorted(answers, key=lambda item: item.name)
        if isinstance(item, LockedDistribution)
    ]
    states.require(states.proofs(locked), asked.require, asked.explain)
    by_name = {item.name: item for item in chosen}
    spared = [item for item in locked if not _other_hashes(by_name[item.name])]
    afar = fetcher.client.each(
        lambda item: contents.inside_from_afar(fetcher, item, metadata.get(item.wheel.sha256, "")),
        spared,
        at_once=_AT_ONCE,
        title="metadata of wheels",
        progress=fetcher.progress,
    )
    insides = {item.name: inside for item, inside in zip(spared, afar, strict=True) if inside is not None}
    fetched = [item for item in locked if item.name not in insides]
    files = fetcher.blobs([wheel_wanted(item) for item in fetched], "wheels")
    for item, file in zip(fetched, files, strict=True):
        _require_stated(by_name[item.name], item, file)
        insides[item.name] = contents.inside(fetcher, item, file)
    return _Found(
        tuple(msgspec.structs.replace(item, import_names=insides[item.name].import_names) for item in locked),
        {item.name: file for item, file in zip(fetched, files, strict=True)},
        {item.name: insides[item.name].requires for item in locked},
    )


def _other_hashes(item: Distribution) -> set[str]:
    """What is stated of a file, where that is by an algorithm that the index does not tell."""
    stated = {text for text in item.hashes if not text.startswith("sha256:")}
    return set() if any(text.startswith("sha256:") for text in item.hashes) else stated


def _require_stated(item: Distribution, locked: LockedDistribution, file: Path) -> None:
    """That a file has one of the stated hashes, where these are of an algorithm that the index does not tell."""
    stated = _other_hashes(item)
    if not stated:
        return
    for algorithm in sorted({text.partition(":")[0] for text in stated}):
        with file.open("rb") as stream:
            if f"{algorithm}:{hashlib.file_digest(stream, algorithm).hexdigest()}" in stated:
                return
    raise IntegrityError(
        f"`{locked.wheel.name}` has none of the {len(stated)} hashes that are stated of {item.name} {item.version}",
        hint="the file was replaced on the index, or the lock was edited: do not use it before you know which",
    )


def _missing(stated: Settled, chosen: list[Distribution], found: _Found) -> dict[str, list[tuple[str, Requirement]]]:
    """What the wheels require in this target and nobody names: who requires it, and how."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    place = closure.marker_environment(stated.python, stated.system)
    extras = {item.name: ("", *item.extras) for item in chosen}
    there = {*found.requires, *(item.name for item in stated.left_out), *stated.brought, "pip"}
    missing: dict[str, list[tuple[str, Requirement]]] = {}
    for owner, texts in found.requires.items():
        for text in texts:
            try:
                requirement = Requirement(text)
                marker, requirement.marker = requirement.marker, None
                cases = [{**place, "extra": extra} for extra in extras[owner]]
                if marker is not None and not any(map(marker.evaluate, cases)):
                    continue
            except (InvalidRequirement, ValueError):  # what no installer understands, none installs
                continue
            name = canonicalize_name(requirement.name)
            if name not in there:
                missing.setdefault(name, []).append((owner, requirement))
    return missing


def _left(name: str, owners: list[tuple[str, Requirement]]) -> LeftOut:
    by = sorted({owner for owner, _ in owners})
    reason = f"{', '.join(by)} require{'s' if len(by) == 1 else ''} it, and the source does not name it"
    return LeftOut(kind="distribution", name=name, reason=reason)
