"""
Is an image that was just made the environment of its lock? It is read as any source would read it, before it lies
anywhere: the facts of its files against the facts of the lock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import envparity
from envparity.cache import Cache
from envparity.codec import canonical
from envparity.compare import compare, compared
from envparity.errors import RefusedError
from envparity.locking import declared
from envparity.oci.image import BuiltImage, Image, Layer, at_hand
from envparity.oci.memory import CachedLayers
from envparity.oci.pack import Remade, Where
from envparity.oci.recorded import Reading
from envparity.oci.tree import merge
from envparity.progress import SILENT, Progress
from envparity.sources import image as image_source
from envparity.sources.known_images import reading_code
from envparity.sources.pylock import environment_of_lock
from envparity.values import Change, Difference, Lock

_SECTIONS = frozenset({"python", "system", "distributions", "conda_packages", "os_packages"})
"""What a lock decides alone; models and variables are the builder's own choice."""

_DRIFT = frozenset({Change.CHANGED, Change.REMOVED})
"""What was added may be an application's own: `verify` asks whether it could run in the place of something else."""


@dataclass(frozen=True)
class Look:
    """How many facts were held against the lock; or none, for these layers (by number) could not be looked into."""

    facts: int
    unseen: tuple[int, ...] = ()


def reading(cache: Cache) -> Reading:
    """How the layers of an image are read here: who makes them can remember as much of them meanwhile."""
    return Reading(CachedLayers(cache, image_source.rule(False)), image_source.fitting(), image_source.hashed(False))


def require_none(built: BuiltImage, lock: Lock, lock_sha256: str, cache: Cache, progress: Progress = SILENT) -> Look:
    """
    What could be held against its lock of an image.

    Each layer is read once in the life of a machine, while it is made (`reading`) or here, and what was found good of
    an image once, by this code, is not looked at again. Where a layer is not on this machine (the registry has it, or
    it is one of a base image) and was never looked into here, nothing is looked at: it would have to be made or fetched
    for that, and facts without one layer say nothing.

    Raises:
        IntegrityError: a layer is not what its digests say. RefusedError: the image is another environment, with every
        difference.
    """
    told = [reading_code(Path(envparity.__file__).parent), built.digest, lock_sha256]
    key = f"no-drift-{hashlib.sha256(canonical(told)).hexdigest()}"
    known = cache.note(key, int)
    if known is not None:
        return Look(known)
    (target,) = lock.targets
    image = at_hand(built, "the new image")
    asked = reading(cache)
    unseen = tuple(
        layer.number
        for layer, where in _layers(image, built)
        if asked.memory.recall(layer) is None and not _readable(layer, where, cache)
    )
    if unseen:
        return Look(0, unseen)
    tree = merge(image, keep=asked.keep, hashed=asked.hashed, memory=asked.memory, progress=progress)
    found = image_source.environment(image, tree, image.reference)
    wanted = environment_of_lock(lock, target.platform)
    differences, _ = declared.undeclared(compare(wanted, found), lock, {}, frozenset())
    drift = [item for item in differences if item.section in _SECTIONS and item.change in _DRIFT]
    if drift:
        raise RefusedError(
            f"the image that was made is not the environment of its lock: {len(drift)} of its facts are others",
            details=tuple(map(_told, drift)),
            hint="nothing was tagged; `envparity cache prune --check` finds damage in the cache, else the bug is ours",
        )
    count = compared(wanted, found)
    cache.write_note(key, count)
    return Look(count)


def _readable(layer: Layer, where: Where, cache: Cache) -> bool:
    """Whether a layer lies here, whole. One that the registry has is not sent: that it is damaged here harms nobody."""
    if isinstance(where, Remade):
        return True
    if not (isinstance(where, Path) and where.exists()):
        return False
    sha256 = layer.descriptor.digest.removeprefix("sha256:")
    return where != cache.blob(sha256) or cache.checked_blob(sha256) is not None


def _told(item: Difference) -> str:
    what = " ".join(dict.fromkeys((item.section, item.item or item.field)))
    return f"{what}: {item.before or 'nothing'} was locked, and the image has {item.after or 'nothing'}"


def _layers(image: Image, built: BuiltImage) -> Iterator[tuple[Layer, Where]]:
    return zip(image.layers(), (where for _, where in built.layers), strict=True)
