"""Layers that need not be made: every place that the image goes to has their blobs, or they lie in the cache, whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from envparity.cache import Cache
from envparity.image import layers
from envparity.image.contents import Supplies
from envparity.image.plan import history
from envparity.oci.pack import BuiltLayer
from envparity.oci.spec import Descriptor
from envparity.values import Packer, PlannedLayer, Step

_AT_ONCE = 4

Holds = Callable[[Descriptor], bool]
"""Whether every place that the image goes to has a blob."""


def known(
    planned: Sequence[PlannedLayer], supplies: Supplies, packer: Packer, cache: Cache, holds: Holds, workplace: Path
) -> dict[PlannedLayer, BuiltLayer]:
    """
    The layers of a plan that were made before and can be had without what they are made of. One that every place has is
    not read at all: what a damaged file of the cache would be cannot get there. Any other is hashed anew.
    """

    def find(layer: PlannedLayer) -> BuiltLayer | None:
        # Those of a base that is an image are asked for by who writes them, and brought here where they are missed.
        made = layers.made_before(layer, supplies, packer, cache) if layer.step is not Step.IMAGE else None
        if made is None:
            return None
        sha256 = made.digest.removeprefix("sha256:")
        if holds(made.descriptor):
            return BuiltLayer(made, cache.blob(sha256) or workplace / sha256, history(layer))
        place = cache.checked_blob(sha256) if layer.step in layers.SHARED else None
        return BuiltLayer(made, place, history(layer)) if place is not None else None

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="known") as pool:
        found = dict(zip(planned, pool.map(find, planned), strict=True))
    return {layer: made for layer, made in found.items() if made is not None}


def inputs_left(
    planned: Sequence[PlannedLayer], supplies: Supplies, cache: Cache, found: Mapping[PlannedLayer, BuiltLayer]
) -> frozenset[str]:
    """The sha256 of every file that is read to make the other layers, and to look wheels through that nobody has."""
    left = {item for layer in planned if layer not in found for item in layer.inputs}
    left.update(layers.unseen(supplies, cache))
    if supplies.known_folders is None:
        left.update(item for layer in planned if layer.step is Step.BASE for item in layer.inputs)
    return frozenset(left)
