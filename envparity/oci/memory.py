"""
What was learned of a layer, kept in the cache by the layer's digest: so it is read once in a machine's life.

A note says which blob of the cache holds the table and the small files of a layer; the blob is hashed before it is
used, so that a damaged one is found out and the layer read again. The key names the rule by which files were kept: who
wants other files than before reads the layer anew.
"""

from __future__ import annotations

__all__ = ["CachedLayers"]

import hashlib

import msgspec

from envparity.cache import Cache
from envparity.errors import EnvparityError
from envparity.oci.image import Layer
from envparity.oci.spec import split_digest
from envparity.oci.table import Found, LayerTable, Node

FORM = 2
"""Raised with every change of `Node`, or of how a layer is read."""


class _Note(msgspec.Struct, frozen=True):
    sha256: str
    size_bytes: int


class _Record(msgspec.Struct, frozen=True):
    """One layer, kept as MessagePack. `kept` has the content of members by their number."""

    nodes: tuple[Node, ...]
    twice: tuple[str, ...]
    codec: str
    size_bytes: int
    kept: dict[int, bytes]


class CachedLayers:
    """
    The memory of one machine.

    Args:
        rule: names what is kept of a layer; two rules share nothing.
        by_tar: a layer is known by its diffID alone, for an engine that says nothing of blobs.
    """

    def __init__(self, cache: Cache, rule: str, *, by_tar: bool = False) -> None:
        self._cache = cache
        self._by_tar = by_tar
        self._rule = hashlib.sha256(f"{FORM} {rule}".encode()).hexdigest()[:16]

    def recall(self, layer: Layer) -> Found | None:
        """What is known of a layer; None where it was not read yet, or what was noted is damaged."""
        note = self._cache.note(self._key(layer), _Note)
        data = self._cache.checked_bytes(note.sha256) if note is not None else None
        if data is None:
            return None
        try:
            record = msgspec.msgpack.decode(data, type=_Record)
        except msgspec.DecodeError:
            return None
        return LayerTable(record.nodes, record.twice, record.codec, record.size_bytes), record.kept

    def learn(self, layer: Layer, found: Found) -> None:
        """Note what a layer holds. That it cannot be noted (a full disk) is no reason to fail: it was read."""
        table, kept = found
        try:
            data = msgspec.msgpack.encode(_Record(table.nodes, table.twice, table.codec, table.size_bytes, kept))
        except UnicodeEncodeError:
            return  # a name that is no text; MessagePack cannot carry it
        try:
            self._cache.write_note(self._key(layer), _Note(self._cache.keep(data), len(data)))
        except EnvparityError:
            return

    def _key(self, layer: Layer) -> str:
        # Both digests: what a blob unpacks to is promised by the image's config alone.
        algorithm, blob = split_digest(layer.diff_id if self._by_tar else layer.descriptor.digest)
        _, tar = split_digest(layer.diff_id)
        return f"layer-{self._rule}-{algorithm}-{blob[:64]}-{tar[:64]}"
