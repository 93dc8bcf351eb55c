"""The exact wheel of every distribution: found on an index and proven, or packed from where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from envparity.fetch import Fetcher
from envparity.image.supply import wheel_wanted
from envparity.locking import contents, proof
from envparity.locking.asked import Asked
from envparity.resolvers import index, repack, states
from envparity.values import Distribution, Environment, LockedDistribution, Python


@dataclass(frozen=True)
class Wheels:
    """
    The distributions of a lock, what their native files need of a base, and where the bytes lie that were made here.

    `floors` has the oldest glibc that each wheel runs with, by the name of its file; empty where it has no native one.
    """

    distributions: tuple[LockedDistribution, ...]
    sonames: frozenset[str]
    floors: dict[str, str]
    made: dict[str, Path]


def recovered(
    environment: Environment,
    chosen: list[Distribution],
    python: Python,
    *,
    asked: Asked,
    fetcher: Fetcher,
    workplace: Path,
) -> Wheels:
    """
    The wheel that each of these was installed from.

    Raises:
        RefusedError: of one or more there is none; all of them are listed, each with what to do.
        UnreachableError, IntegrityError: of what is fetched.
    """
    named, everything = repack.ask(asked.repacked, chosen)
    sought = [item for item in chosen if item.name not in named]
    found: tuple[states.Found, ...] = index.find_wheels(
        sought,
        client=fetcher.client,
        indexes=asked.indexes,
        python_version=python.version,
        platform_tags=python.platform_tags,
        prove=lambda item: proof.record_of(fetcher, item),
        progress=fetcher.progress,
    )
    recorded = {item.name: item.record_sha256 for item in chosen}
    if asked.prove:
        found = proof.proven_from_afar(found, recorded, fetcher)
    matched = proof.settled((*proof.changed_since(sought, asked.indexes), *found), asked.explain, everything)
    if asked.prove:
        states.require(states.proofs(matched), asked.require, asked.explain)
    files = fetcher.blobs([wheel_wanted(item) for item in matched], "wheels")
    served = proof.settled(
        tuple(proof.proven(item, file, recorded[item.name]) for item, file in zip(matched, files, strict=True)),
        asked.explain,
        everything,
    )
    left = [item for item in chosen if item.name not in {found.name for found in served}]
    packed = proof.packed(left, environment.origin.taken_at, python, workplace, asked.environ)
    distributions = proof.settled((*served, *packed), asked.explain)
    states.require(states.proofs(distributions), asked.require, asked.explain)
    made = {item.wheel.name: workplace / item.wheel.name for item in distributions if item.repacked is not None}
    places = {item.name: file for item, file in zip(matched, files, strict=True)}
    places |= {item.name: made[item.wheel.name] for item in distributions if item.wheel.name in made}
    named_shortly = tuple(
        contents.with_short_names(item, places[item.name], environment.artifacts or ()) for item in distributions
    )
    needs = {item.wheel.name: contents.needs(fetcher, item, places[item.name]) for item in named_shortly}
    return Wheels(
        distributions=named_shortly,
        sonames=frozenset[str]().union(*(sonames for sonames, _ in needs.values())),
        floors={name: floor for name, (_, floor) in needs.items()},
        made=made,
    )
