"""Files that are pickles: plain, of joblib, of old torch, compressed or not."""

from __future__ import annotations

from envparity.collectors.formats.compressed import compression, unpacked
from envparity.collectors.formats.found import Found, Unreadable
from envparity.collectors.formats.pickles import Node, walk_pickle
from envparity.collectors.formats.streams import Source, Stream

# torch.save before 1.6: five pickles (the first is this number), and raw tensors after them.
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGE_BYTES = {
    **dict.fromkeys(
        ("ByteStorage", "CharStorage", "BoolStorage", "QInt8Storage", "QUInt8Storage", "UntypedStorage"), 1
    ),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage", "QInt32Storage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    "ComplexDoubleStorage": 16,
}


def read_pickle(source: Source, found: Found) -> str:
    """
    A pickle or joblib file, whatever compresses it.

    Raises:
        Unreadable: it is none, or is damaged; what came before the damage is found.
    """
    form = compression(source.start)
    stream = Stream(unpacked(source.pieces(), form), found.limits.unpacked_bytes) if form else source.forward()
    if walk_pickle(stream, found) == _TORCH_MAGIC:
        _read_tensors(stream, found)
        return "torch-legacy" + (form and "+" + form)
    if not stream.at_end():
        raise Unreadable("bytes follow its end")
    return ("joblib" if found.arrays else "pickle") + (form and "+" + form)


def knows_storages(found: Found) -> dict[str, Node]:
    """Let the walk know torch's persistent ids; the answer fills with the class of each storage, by its key."""
    storages: dict[str, Node] = {}

    def known(persistent: object) -> bool:
        if not isinstance(persistent, tuple) or len(persistent) < 4:
            return False
        kind, storage, key, place = persistent[:4]
        if kind != "storage" or not isinstance(storage, Node) or not isinstance(key, str):
            return False
        if isinstance(place, str):
            found.says("device", place)
        storages[key] = storage
        if len(storages) > found.limits.memo:
            raise Unreadable("it is larger than the limits of the walk allow")
        return True

    found.persistent = known
    return storages


def _read_tensors(stream: Stream, found: Found) -> None:
    """Protocol, what wrote it, the object, the keys of its storages; then each storage: a count and its items."""
    storages = knows_storages(found)
    for _ in range(3):
        walk_pickle(stream, found)
    keys = walk_pickle(stream, found)
    found.persistent = None
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Unreadable("it does not say which tensors follow")
    for key in keys:
        kind = storages[key].name.rpartition(":")[2] if key in storages else ""
        if kind not in _STORAGE_BYTES:
            found.notes.add("the tensors that torch wrote after the pickles were not read")
            return
        stream.skip(stream.number(8) * _STORAGE_BYTES[kind])
    if not stream.at_end():
        raise Unreadable("bytes follow its end")
