"""Planned layers made into blobs: each is packed once for everything that decides its bytes, and then kept."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Literal, cast

import msgspec

from envparity.cache import Cache
from envparity.codec import canonical
from envparity.errors import IntegrityError
from envparity.files import replacing, translated
from envparity.image import app, model
from envparity.image.compressing import fitting
from envparity.image.contents import Supplies
from envparity.image.layout import LAYOUT
from envparity.image.plan import PREFIX, history
from envparity.image.wheels import conflicts, startup_code
from envparity.oci.entries import Entry
from envparity.oci.image import Layer
from envparity.oci.pack import BuiltLayer, PackedLayer, Where, current_packer, pack
from envparity.oci.recorded import Reading, Recorded
from envparity.oci.remade import Skeleton
from envparity.oci.table import Found
from envparity.oci.tar import Taking, write_layer
from envparity.values import Digest, Packer, PlannedLayer, Size, Step

SHARED = frozenset({Step.BASE, Step.PACKAGES, Step.INTERPRETER, Step.CONDA, Step.AUTHORITIES, Step.WHEELS})
"""
Layers that other images have too: their blobs are kept. Of a model, an application and the papers it is noted what they
became, so that a place that has them is sent nothing.
"""

_AT_ONCE = 2
"""Layers that are made beside one another: to inflate and hash takes one core a layer, to deflate all of them."""

_NONE: Mapping[PlannedLayer, BuiltLayer] = {}

_PARENTS = ("opt", "usr", "usr/share")
"""Folders of the base that lie above what the other layers hold: their headers are part of those layers' bytes."""


class _Kept(msgspec.Struct, frozen=True):
    diff_id: Digest
    digest: Digest
    size_bytes: Size
    media_type: str
    unpacked_bytes: Size = 0

    @property
    def layer(self) -> PackedLayer:
        return PackedLayer(self.diff_id, self.digest, self.size_bytes, self.media_type, self.unpacked_bytes)


def _kept(made: PackedLayer) -> _Kept:
    return _Kept(made.diff_id, made.digest, made.size_bytes, made.media_type, made.unpacked_bytes)


def made_before(layer: PlannedLayer, supplies: Supplies, packer: Packer, cache: Cache) -> PackedLayer | None:
    """What was noted of a layer that was made before; whether its blob is still there is another question."""
    if layer.step is Step.IMAGE:
        return _of_base(layer)
    if layer.step is not Step.BASE and supplies.known_folders is None and supplies.target.image is None:
        return None
    kept = cache.note(_key(layer, supplies, fitting(layer, supplies.models, packer)), _Kept)
    return kept.layer if kept is not None else None


def _of_base(layer: PlannedLayer) -> PackedLayer:
    """A layer of a base that is an image, as it is there."""
    diff_id, digest, size, media_type = layer.inputs
    return PackedLayer(diff_id, digest, int(size), media_type)


class _Seen(msgspec.Struct, frozen=True):
    """What was seen in a wheel: the paths that it writes, and those of them that run whenever Python starts."""

    paths: tuple[str, ...]
    started: tuple[str, ...]


def unseen(supplies: Supplies, cache: Cache) -> list[str]:
    """The sha256 of each wheel that nobody has looked through."""
    return [sha256 for sha256, key in _seen_keys(supplies).items() if cache.note(key, _Seen) is None]


def looked_into(supplies: Supplies, cache: Cache) -> tuple[Supplies, dict[str, list[str]]]:
    """`with_known_folders` and `look_through`, beside one another."""
    noted = with_noted_folders(supplies, cache)
    if noted.known_folders is not None:
        return noted, look_through(noted, cache)
    with ThreadPoolExecutor(1, thread_name_prefix="base") as pool:
        folders = pool.submit(with_known_folders, supplies, cache)
        started = look_through(supplies, cache)
        return folders.result(), started


def look_through(supplies: Supplies, cache: Cache) -> dict[str, list[str]]:
    """
    By wheel (its name and version), the files that run whenever Python starts. Wheels that put different files into one
    place are refused, whether their layers are still to be made or not.

    What each wheel writes follows from it, and is noted: it is looked through once. So is a set of wheels in which two
    write one path, and write the same there.

    Raises:
        RefusedError: with every file that has two owners.
    """
    found: dict[str, list[str]] = {}
    titles = {item.wheel.sha256: f"{item.name} {item.version}" for item in supplies.lock.distributions}
    paths = {entry.path for entry in supplies.frame if entry.kind != "folder"}
    folders: set[str] = set()
    twice = False
    keys = _seen_keys(supplies)
    for sha256, key in keys.items():
        seen = cache.note(key, _Seen)
        if seen is None:
            entries = supplies.wheel(sha256)
            seen = _Seen(tuple(entry.path for entry in entries), startup_code(entries))
            cache.write_note(key, seen)
        twice = twice or not paths.isdisjoint(seen.paths)
        paths.update(seen.paths)
        folders |= _folders_of(seen.paths)
        if seen.started:
            found[titles[sha256]] = [path.rpartition("/")[2] for path in seen.started]
    if twice or not folders.isdisjoint(paths):
        key = f"alike-1-{hashlib.sha256(canonical(sorted(keys.values()))).hexdigest()}"
        if cache.note(key, bool) is None:
            frame = [("the environment", supplies.frame)]
            conflicts([*frame, *((titles[sha256], supplies.wheel(sha256)) for sha256 in keys)])
            cache.write_note(key, True)
    return found


def _seen_keys(supplies: Supplies) -> dict[str, str]:
    """By the sha256 of each wheel, where it is noted what was seen in it: that depends on where it is put."""
    interpreter = supplies.target.interpreter
    place = [LAYOUT, PREFIX, interpreter.version, interpreter.executable, interpreter.kind, *supplies.strip]
    keys = {}
    for item in supplies.lock.distributions:
        document = [*place, item.wheel.name, item.wheel.sha256]
        keys[item.wheel.sha256] = f"wheel-1-{hashlib.sha256(canonical(document)).hexdigest()}"
    return keys


def _folders_of(paths: Iterable[str]) -> set[str]:
    folders: set[str] = set()
    for folder in {path.rpartition("/")[0] for path in paths}:
        above = folder
        while above and above not in folders:
            folders.add(above)
            above = above.rpartition("/")[0]
    return folders


def with_known_folders(supplies: Supplies, cache: Cache) -> Supplies:
    """The supplies with the folders of the base, which follow from its packages and are noted: they unpack once."""
    found = with_noted_folders(supplies, cache)
    if found.known_folders is not None:
        return found
    rows = [_Folder(*(getattr(entry, name) for name in _FIELDS)) for entry in supplies.folders.values()]
    if all(row.path.isprintable() and row.target.isprintable() for row in rows):  # others are no text that JSON holds
        cache.write_note(_folders_key(supplies), rows)
    return supplies


def with_noted_folders(supplies: Supplies, cache: Cache) -> Supplies:
    """The same where they are noted; else the supplies as they are, and nothing is unpacked or noted."""
    if supplies.target.image is not None:  # whose folders the lock itself has
        return dataclasses.replace(supplies, known_folders=supplies.folders)
    rows = cache.note(_folders_key(supplies), list[_Folder])
    if rows is None:
        return supplies
    known = {row.path: Entry(*(getattr(row, name) for name in _FIELDS)) for row in rows}
    return dataclasses.replace(supplies, known_folders=known)


def _folders_key(supplies: Supplies) -> str:
    document = [LAYOUT, msgspec.to_builtins(supplies.target.os_packages)]
    return f"folders-1-{hashlib.sha256(canonical(document)).hexdigest()}"


class _Folder(msgspec.Struct, frozen=True, array_like=True):
    path: str
    kind: Literal["folder", "link"]
    mode: int
    uid: int
    gid: int
    size_bytes: int
    target: str


_FIELDS = _Folder.__struct_fields__


@dataclasses.dataclass(frozen=True)
class _Run:
    """
    What the threads of one build share: whether anybody waits for them still, who asks for entries, and how the layers
    will be read.
    """

    reading: Reading | None = None
    stopped: threading.Event = dataclasses.field(default_factory=threading.Event)
    asking: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def entries(self, layer: PlannedLayer, supplies: Supplies) -> list[Entry]:
        """One thread at a time, since what they find out is for all of them."""
        with self.asking:
            return supplies.entries(layer)


class _Stopped(Exception):
    """Nobody waits for this layer any more."""


class _Stoppable:
    """Writes through, until everything is stopped."""

    def __init__(self, sink: BinaryIO, run: _Run) -> None:
        self._sink = sink
        self._taking = sink if isinstance(sink, Taking) else None
        self._stopped = run.stopped

    def write(self, data: bytes) -> int:
        if self._stopped.is_set():
            raise _Stopped
        return self._sink.write(data)

    def takes(self, size_bytes: int) -> bool:
        return self._taking is not None and self._taking.takes(size_bytes)

    def take(self, pieces: Iterator[tuple[bytes, bytes]]) -> None:
        assert self._taking is not None
        self._taking.take(map(self._passed, pieces))

    def _passed(self, piece: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        if self._stopped.is_set():
            raise _Stopped
        return piece


def all_packed(
    planned: Sequence[PlannedLayer],
    supplies: Supplies,
    packer: Packer,
    cache: Cache,
    workplace: Path,
    known: Mapping[PlannedLayer, BuiltLayer] = _NONE,
    reading: Reading | None = None,
) -> Generator[BuiltLayer, None, None]:
    """
    The blobs of all layers, from the lowest to the highest; several are made at once. Closed before its end, it stops
    what is still being made. Those that are `known` are not made. What those hold that are made, and kept, is
    remembered as their `reading` will ask for it.

    Raises:
        As `packed`.
    """
    run = _Run(reading)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="layer") as pool:
        try:
            making = {
                layer: pool.submit(packed, layer, supplies, packer, cache, workplace, run)
                for layer in planned
                if layer not in known
            }
            for layer in planned:
                yield known[layer] if layer in known else making[layer].result()
        finally:
            run.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)


def packed(
    layer: PlannedLayer, supplies: Supplies, packer: Packer, cache: Cache, workplace: Path, run: _Run | None = None
) -> BuiltLayer:
    """
    The blob of one layer: from the cache where it was made before, else made. What is not kept lies in `workplace`.

    Raises:
        IntegrityError: a model or the application is not what it was when its digest was taken.
    """
    if layer.step is Step.IMAGE:
        found = _of_base(layer)
        return BuiltLayer(found, supplies.layers[found.digest], "")
    run = run or _Run()
    packer = fitting(layer, supplies.models, packer)
    key = _key(layer, supplies, packer)
    if layer.step not in SHARED:
        own, own_place = _own(layer, supplies, packer, workplace, run)
        cache.write_note(key, _kept(own))
        return BuiltLayer(own, own_place, history(layer))
    kept = cache.note(key, _Kept)
    if kept is not None:
        place = cache.checked_blob(kept.digest.removeprefix("sha256:"))
        if place is not None:
            return BuiltLayer(kept.layer, place, history(layer))
    entries = run.entries(layer, supplies)
    below = {} if layer.step is Step.BASE else supplies.folders
    with cache.writing(synced=False) as blob:
        made = _packed(entries, below, packer, blob.stream, run)
        blob.name(made.digest.removeprefix("sha256:"))
    cache.write_note(key, _kept(made))
    place = cache.blob(made.digest.removeprefix("sha256:"))
    assert place is not None
    return BuiltLayer(made, place, history(layer))


def _packed(
    entries: Sequence[Entry],
    below: Mapping[str, Entry],
    packer: Packer,
    sink: BinaryIO,
    run: _Run,
    told: Mapping[str, str] | None = None,
) -> PackedLayer:
    """
    Pack entries; what the layer then holds is remembered, where somebody will ask for it. `told` has the digest of each
    content by its path, once it was read.
    """
    learned: list[Found | None] = []

    def write(tar: BinaryIO) -> None:
        stoppable = _Stoppable(tar, run)
        if run.reading is None:
            write_layer(stoppable, entries, folders=below)
            return
        recorded = Recorded(stoppable, run.reading, told)
        write_layer(recorded, entries, folders=below)
        learned.append(recorded.found(packer.codec))

    made = pack(write, packer, sink)
    for found in learned:
        if found is not None and run.reading is not None:
            run.reading.memory.learn(Layer(1, 1, made.descriptor, made.diff_id), found)
    return made


def _own(
    layer: PlannedLayer, supplies: Supplies, packer: Packer, workplace: Path, run: _Run
) -> tuple[PackedLayer, Where]:
    """
    A layer of this image alone; of a model that is stored as it is, no copy is made. What is packed is hashed while it
    is read: it lies in somebody's folder, and its digest stands in the image's label.
    """
    place = workplace / hashlib.sha256(canonical([layer.step, layer.inputs])).hexdigest()
    read: dict[str, str] = {}
    entries = run.entries(layer, supplies)
    recorded = {item.name for item in supplies.lock.models}
    if layer.step is Step.MODEL and packer.codec == "none":
        skeleton = Skeleton()
        entries = [_watched(skeleton.entry(entry), read) for entry in entries]
        made = _packed(entries, supplies.folders, packer, cast(BinaryIO, skeleton), run, read)
        where: Where = skeleton.blob(made.digest, changed(f"the model `{layer.title}`"))
    else:
        entries = [_watched(entry, read) for entry in entries]
        with replacing(place, synced=False) as sink:
            made = _packed(entries, supplies.folders, packer, sink, run)
        where = place
    if layer.step is Step.MODEL and (other := model.changed(layer, read)):
        raise changed(f"the model `{other}`", recorded=other in recorded)
    if layer.step is Step.APP and app.digest_of(_sources(entries), read) != layer.inputs[0]:
        raise changed(f"the application `{supplies.app}`")
    return made, where


def _sources(entries: Sequence[Entry]) -> list[Entry]:
    """An application less the byte code that was made of it; its own never goes in."""
    return [entry for entry in entries if not entry.path.endswith(".pyc")]


def changed(what: str, *, recorded: bool = False) -> IntegrityError:
    """The error of what is not any more what it was when its digest was taken; or what was `recorded` of it."""
    if recorded:
        return IntegrityError(
            f"{what} is not the one that the lock's snapshot knew, or changed while it was built",
            hint="build with the recorded one, and let nothing write to it; or lock a snapshot of this one",
        )
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


def _key(layer: PlannedLayer, supplies: Supplies, packer: Packer) -> str:
    parents: list[list[object]] = []
    if layer.step is not Step.BASE:
        known = (supplies.folders.get(path) for path in _PARENTS)
        parents = [[entry.path, entry.mode, entry.uid, entry.gid] for entry in known if entry is not None]
    # The lock's packer says how a blob should be made; this installation's, what it can be made with.
    here = [LAYOUT, msgspec.to_builtins(current_packer(packer.codec))]
    document = [msgspec.to_builtins(packer), here, layer.step, layer.inputs, parents]
    if supplies.bytecode is not None:
        document.append(supplies.bytecode.identity)
    return f"layer-{hashlib.sha256(canonical(document)).hexdigest()}"
