"""The exact wheel of every distribution: found on an index and proven, or packed from where it lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from envparity.fetch import Fetcher
from envparity.image.native import Native
from envparity.locking import contents, proof
from envparity.locking.asked import Asked
from envparity.resolvers import index, repack, states
from envparity.values import Artifact, Distribution, Environment, LockedDistribution, Python


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

    @classmethod
    def of(
        cls,
        distributions: Iterable[LockedDistribution],
        needs: Mapping[str, Native],
        *,
        artifacts: Iterable[Artifact] = (),
        made: Mapping[str, Path] = MappingProxyType({}),
    ) -> Wheels:
        """These, with what each needs by its name, and the short names by which models (`artifacts`) refer to them."""
        models = tuple(artifacts)
        named = tuple(contents.with_short_names(item, needs[item.name].modules, models) for item in distributions)
        return cls(
            distributions=named,
            sonames=frozenset[str]().union(*(need.sonames for need in needs.values())),
            floors={item.wheel.name: needs[item.name].glibc_floor for item in named},
            made=dict(made),
        )


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
    installed = {item.name: item for item in chosen}
    told: dict[str, Native] = {}

    def tell(item: LockedDistribution) -> None:
        found = contents.tell(item, fetcher, installed[item.name])
        if found is not None:
            told[item.wheel.sha256] = found

    found: tuple[states.Found, ...] = index.find_wheels(
        sought,
        client=fetcher.client,
        indexes=asked.indexes,
        python_version=python.version,
        platform_tags=python.platform_tags,
        prove=lambda item: proof.record_of(fetcher, item),
        progress=fetcher.progress,
        pages=fetcher.pages,
        meanwhile=tell,
    )
    recorded = {item.name: item.record_sha256 for item in chosen}
    # What is to be packed where the index has another file of the same name, only its RECORD can tell.
    prove = asked.prove or asked.require == "proven" or everything
    if prove:
        found = proof.proven_from_afar(found, recorded, fetcher)
    matched = proof.settled((*proof.changed_since(sought, asked.indexes), *found), asked.explain, everything)
    if prove:
        states.require(states.proofs(matched), asked.require, asked.explain)
    names = {item.name for item in matched}
    left = [item for item in chosen if item.name not in names]
    packed = proof.packed(left, environment.origin.taken_at, python, workplace, asked.environ)
    distributions = proof.settled((*matched, *packed), asked.explain, after_packing=True)
    states.require(states.proofs(distributions), asked.require, asked.explain)
    made = {item.wheel.name: workplace / item.wheel.name for item in distributions if item.repacked is not None}
    needs, fetched = contents.of_all(
        distributions,
        fetcher=fetcher,
        installed=installed,
        places={item.name: made[item.wheel.name] for item in distributions if item.wheel.name in made},
        told=told,
    )
    proof.refuse_others(distributions, fetched, recorded, asked.explain)
    return Wheels.of(distributions, needs, artifacts=environment.artifacts or (), made=made)
