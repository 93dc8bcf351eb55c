"""Planned layers made into blobs: each is packed once for everything that decides its bytes, and then kept."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

import msgspec

from envparity.cache import Cache
from envparity.codec import canonical
from envparity.image.contents import Supplies
from envparity.oci.pack import BuiltLayer, PackedLayer, pack
from envparity.oci.tar import write_layer
from envparity.values import Packer, PlannedLayer, Step

SHARED = frozenset({Step.BASE, Step.INTERPRETER, Step.WHEELS})
"""Layers that other images have too. A model and an application are packed each time: hashing them costs as much."""

_PARENTS = ("opt", "usr", "usr/share")
"""Folders of the base that lie above what the other layers hold: their headers are part of those layers' bytes."""


class _Kept(msgspec.Struct, frozen=True):
    diff_id: str
    digest: str
    size_bytes: int
    media_type: str


def packed(layer: PlannedLayer, supplies: Supplies, packer: Packer, cache: Cache) -> BuiltLayer:
    """The blob of one layer, from the cache where it was made before."""
    history = f"envparity {layer.step}: {layer.title}"
    key = _key(layer, supplies, packer)
    noted = cache.note(key) if layer.step in SHARED else None
    if noted is not None:
        kept = msgspec.json.decode(noted, type=_Kept)
        place = cache.checked_blob(kept.digest.removeprefix("sha256:"))
        if place is not None:
            return BuiltLayer(PackedLayer(kept.diff_id, kept.digest, kept.size_bytes, kept.media_type), place, history)
    with cache.writing() as blob:
        made = pack(lambda sink: write(layer, supplies, sink), packer, blob.stream)
        blob.name(made.digest.removeprefix("sha256:"))
    cache.write_note(key, _Kept(made.diff_id, made.digest, made.size_bytes, made.media_type))
    place = cache.blob(made.digest.removeprefix("sha256:"))
    assert place is not None
    return BuiltLayer(made, place, history)


def write(layer: PlannedLayer, supplies: Supplies, sink: BinaryIO) -> None:
    """The tar of one layer."""
    folders = {} if layer.step is Step.BASE else supplies.folders
    write_layer(sink, supplies.entries(layer), folders=folders)


def diff_id(layer: PlannedLayer, supplies: Supplies) -> str:
    """The digest of a layer's tar, assembled anew: no cache of layers is asked."""
    digest = _Hashing()
    write(layer, supplies, digest)  # type: ignore[arg-type]
    return f"sha256:{digest.sha256.hexdigest()}"


class _Hashing:
    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return len(data)


def _key(layer: PlannedLayer, supplies: Supplies, packer: Packer) -> str:
    parents: list[list[object]] = []
    if layer.step is not Step.BASE:
        known = (supplies.folders.get(path) for path in _PARENTS)
        parents = [[entry.path, entry.mode, entry.uid, entry.gid] for entry in known if entry is not None]
    document = [msgspec.to_builtins(packer), layer.step, layer.inputs, parents]
    return f"layer-{hashlib.sha256(canonical(document)).hexdigest()}"
