"""Planned layers made into blobs: each is packed once for everything that decides its bytes, and then kept."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from envparity.cache import Cache
from envparity.codec import canonical
from envparity.errors import IntegrityError
from envparity.files import replacing, translated
from envparity.image import app
from envparity.image.contents import LAYOUT, Supplies
from envparity.image.plan import history
from envparity.image.wheels import startup_code
from envparity.oci.entries import Entry
from envparity.oci.pack import BuiltLayer, PackedLayer, current_packer, pack
from envparity.oci.tar import write_layer
from envparity.values import Digest, Packer, PlannedLayer, Size, Step

SHARED = frozenset({Step.BASE, Step.INTERPRETER, Step.CONDA, Step.WHEELS})
"""
Layers that other images have too: they are kept. A model, an application and the papers are packed each time, since to
find out whether they are the same costs as much.
"""

_PARENTS = ("opt", "usr", "usr/share")
"""Folders of the base that lie above what the other layers hold: their headers are part of those layers' bytes."""


class _Kept(msgspec.Struct, frozen=True):
    diff_id: Digest
    digest: Digest
    size_bytes: Size
    media_type: str


def look_through(supplies: Supplies, cache: Cache) -> dict[str, list[str]]:
    """
    By wheel (its name and version), the files that run whenever Python starts. Wheels that put different files into one
    place are refused, whether their layers are still to be made or not.

    Both follow from the wheels, and are noted: they are looked through once.

    Raises:
        RefusedError: with every file that has two owners.
    """
    interpreter = supplies.target.interpreter
    names = sorted([item.wheel.name, item.wheel.sha256] for item in supplies.lock.distributions)
    document = [LAYOUT, interpreter.version, interpreter.executable, names]
    key = f"wheels-1-{hashlib.sha256(canonical(document)).hexdigest()}"
    found = cache.note(key, dict[str, list[str]])
    if found is None:
        started = {
            f"{item.name} {item.version}": startup_code(supplies.wheels[item.wheel.sha256])
            for item in supplies.lock.distributions
        }
        found = {title: [path.rpartition("/")[2] for path in paths] for title, paths in started.items() if paths}
        cache.write_note(key, found)
    return found


def packed(layer: PlannedLayer, supplies: Supplies, packer: Packer, cache: Cache, workplace: Path) -> BuiltLayer:
    """
    The blob of one layer: from the cache where it was made before, else made. What is not kept lies in `workplace`.

    Raises:
        IntegrityError: a model or the application is not what it was when its digest was taken.
    """
    if layer.step not in SHARED:
        return BuiltLayer(*_own(layer, supplies, packer, workplace), history(layer))
    key = _key(layer, supplies, packer)
    kept = cache.note(key, _Kept)
    if kept is not None:
        place = cache.checked_blob(kept.digest.removeprefix("sha256:"))
        if place is not None:
            found = PackedLayer(kept.diff_id, kept.digest, kept.size_bytes, kept.media_type)
            return BuiltLayer(found, place, history(layer))
    with cache.writing() as blob:
        made = pack(lambda sink: write(layer, supplies, sink), packer, blob.stream)
        blob.name(made.digest.removeprefix("sha256:"))
    cache.write_note(key, _Kept(made.diff_id, made.digest, made.size_bytes, made.media_type))
    place = cache.blob(made.digest.removeprefix("sha256:"))
    assert place is not None
    return BuiltLayer(made, place, history(layer))


def _own(layer: PlannedLayer, supplies: Supplies, packer: Packer, workplace: Path) -> tuple[PackedLayer, Path]:
    """
    A layer of this image alone. What is packed is hashed while it is read: it lies in somebody's folder, and its digest
    stands in the image's label.
    """
    place = workplace / hashlib.sha256(canonical([layer.step, layer.inputs])).hexdigest()
    read: dict[str, str] = {}
    entries = [_watched(entry, read) for entry in supplies.entries(layer)]
    with replacing(place) as sink:
        made = pack(lambda tar: write_layer(tar, entries, folders=supplies.folders), packer, sink)
    if layer.step is Step.MODEL and list(read.values()) != [layer.inputs[2]]:
        raise _changed(f"the model `{layer.inputs[0]}`")
    if layer.step is Step.APP and app.digest_of(entries, read) != layer.inputs[0]:
        raise _changed(f"the application `{supplies.app}`")
    return made, place


def _changed(what: str) -> IntegrityError:
    return IntegrityError(f"{what} changed while it was built", hint="let nothing write to it, and build again")


def _watched(entry: Entry, read: dict[str, str]) -> Entry:
    """The same entry; the digest of what is read of it stands in `read` by its path, once it was read."""
    if isinstance(entry.content, bytes) or entry.content is None:
        return entry
    opened = functools.partial(_Watched, entry.path, entry.content, read)
    return dataclasses.replace(entry, content=lambda: cast(BinaryIO, opened()))


class _Watched:
    def __init__(self, path: str, opened: Callable[[], BinaryIO], read: dict[str, str]) -> None:
        self._path = path
        self._read = read
        self._hash = hashlib.sha256()
        try:
            self._stream = opened()
        except OSError as error:
            raise translated(error, f"read what becomes `/{path}`") from error

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._stream.read(size)
        except OSError as error:
            raise translated(error, f"read what becomes `/{self._path}`") from error
        self._hash.update(data)
        return data

    def close(self) -> None:
        self._stream.close()
        self._read[self._path] = self._hash.hexdigest()


def write(layer: PlannedLayer, supplies: Supplies, sink: BinaryIO) -> None:
    """The tar of one layer."""
    folders = {} if layer.step is Step.BASE else supplies.folders
    write_layer(sink, supplies.entries(layer), folders=folders)


def _key(layer: PlannedLayer, supplies: Supplies, packer: Packer) -> str:
    parents: list[list[object]] = []
    if layer.step is not Step.BASE:
        known = (supplies.folders.get(path) for path in _PARENTS)
        parents = [[entry.path, entry.mode, entry.uid, entry.gid] for entry in known if entry is not None]
    # The lock's packer says how a blob should be made; this installation's, what it can be made with.
    here = [LAYOUT, msgspec.to_builtins(current_packer(packer.codec))]
    document = [msgspec.to_builtins(packer), here, layer.step, layer.inputs, parents]
    return f"layer-{hashlib.sha256(canonical(document)).hexdigest()}"
