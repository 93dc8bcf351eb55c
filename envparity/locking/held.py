"""
What a lock of another tool proves of an image: it states the sha256 of every file that may be installed, and a file
that has one of these says by its RECORD which files an installation of it has.
"""

from __future__ import annotations

__all__ = ["Held", "held", "require_hashes"]

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from envparity.errors import IncompleteError, MalformedError, UsageError
from envparity.fetch import Fetcher
from envparity.image import wheels
from envparity.image.supply import wheel_wanted
from envparity.locking import contents, stated
from envparity.resolvers.for_place import Place, find_pinned
from envparity.resolvers.indexes import Indexes
from envparity.values import Distribution, Environment, LockedDistribution, LockedWheel


@dataclass(frozen=True)
class Held:
    """What the image must be, with the digest of each RECORD; and of those without one, why."""

    environment: Environment
    unproven: Mapping[str, str]


def require_hashes(environment: Environment) -> None:
    """
    That a file says enough to prove files by.

    Raises:
        UsageError: it states no sha256 of any file, or has packages of conda.
    """
    name = environment.origin.reference
    lock = f"lock it, and verify against that: `envparity lock {name} -o pylock.toml`"
    if any(not item.virtual for item in environment.conda_packages or ()):
        raise UsageError(f"`{name}` has packages of conda, whose files only a lock of envparity is held to", hint=lock)
    if not stated.is_pinned(environment) or not any(map(_sha256s, environment.distributions or ())):
        raise UsageError(
            f"`{name}` is neither a snapshot nor a lock with the sha256 of its files, so it proves nothing about files",
            hint=f"`envparity diff` compares any two sources; to verify against it, {lock}",
        )


def held(
    environment: Environment,
    found: Environment,
    *,
    extras: Collection[str] = (),
    groups: Collection[str] = (),
    without: Collection[str] = (),
    indexes: Indexes,
    fetcher: Fetcher,
) -> Held:
    """
    Args:
        environment: what the file pins, for every target that it has.
        found: the image, which says the Python and the processor that conditions are decided for.
        extras, groups: the parts of the file that are asked for.
        without: names that the image was made without.

    A wheel that the cache has by a stated sha256 is asked first; else the index is, for the wheel that an installer
    would take, within these hashes.

    Raises:
        IncompleteError: the image does not say what Python it has.
        RefusedError: the file does not say what holds there.
        UnreachableError, IntegrityError: of what is fetched.
    """
    python, system = found.python, found.system
    if python is None or not python.version or system is None:
        raise IncompleteError(
            f"`{found.origin.reference}` does not say which Python it has, so nobody can tell what belongs there"
        )
    place = Place(python.version, system.machine, system.libc_version, system.name or "the image")
    holding = stated.holding(environment, place, extras=extras, groups=groups)
    chosen = [item for item in holding if item.name not in {"pip", *without}]
    installed = {item.name: item for item in found.distributions or () if item.importable}
    proven: dict[str, Distribution] = {}
    for item in chosen:
        own = installed.get(item.name)
        known = _cached(item, own.record_sha256 if own is not None else None, fetcher)
        if known is not None:
            proven[item.name] = known
    asked = [item for item in chosen if item.name not in proven and _sha256s(item)]
    answers = find_pinned(
        asked, place, client=fetcher.client, indexes=indexes, progress=fetcher.progress, pages=fetcher.pages
    )
    locked = [item for item in answers if isinstance(item, LockedDistribution)]
    files = dict(
        zip((it.name for it in locked), fetcher.blobs([wheel_wanted(it) for it in locked], "wheels"), strict=True)
    )
    unproven = {item.name: "the file states no sha256 of it" for item in chosen if not _sha256s(item)}
    for item, answer in zip(asked, answers, strict=True):
        if isinstance(answer, LockedDistribution):
            proven[item.name] = _with_record(item, answer, files[item.name], fetcher)
        else:
            unproven[item.name] = f"no wheel that the file states tells its files: {answer.reason}"
    kept = tuple(proven.get(item.name, item) for item in chosen)
    return Held(msgspec.structs.replace(environment, distributions=kept), unproven)


def _sha256s(item: Distribution) -> list[str]:
    return [text.partition(":")[2] for text in item.hashes if text.startswith("sha256:")]


def _cached(item: Distribution, record_sha256: str | None, fetcher: Fetcher) -> Distribution | None:
    """
    By the wheel that the cache has under a stated sha256, if it is the one that lies in the image; where nobody may be
    asked, by any that it has.
    """
    others = []
    for sha256 in _sha256s(item):
        path = fetcher.cache.checked_blob(sha256)
        if path is None:
            continue
        name = f"{item.name}-{item.version or '0'}-py3-none-any.whl"
        wheel = LockedWheel(name=name, size_bytes=path.stat().st_size, sha256=sha256)
        locked = LockedDistribution(name=item.name, version=item.version, wheels=(wheel,), state="declared")
        try:
            known = _with_record(item, locked, path, fetcher)
        except MalformedError:  # a source archive has no RECORD
            continue
        if known.record_sha256 == record_sha256:
            return known
        others.append(known)
    return others[0] if others and fetcher.client.offline else None


def _with_record(item: Distribution, locked: LockedDistribution, file: Path, fetcher: Fetcher) -> Distribution:
    return msgspec.structs.replace(
        item,
        record_sha256=wheels.record_sha256(file, file_name=locked.wheel.name),
        import_names=contents.inside(fetcher, locked, file).import_names,
    )
