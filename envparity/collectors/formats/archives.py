"""Models that are ZIP files: told apart by their members, never by their name. Archives inside are not opened."""

from __future__ import annotations

from envparity.collectors.formats.arrays import is_npz, read_npz
from envparity.collectors.formats.documents import BACKEND, read_classes
from envparity.collectors.formats.found import Found, Unreadable
from envparity.collectors.formats.pickled import knows_storages
from envparity.collectors.formats.pickles import walk_pickle
from envparity.collectors.formats.scanning import scan_json
from envparity.collectors.formats.streams import Anywhere, Source
from envparity.collectors.formats.zips import Member, members, opened

_PAPER_BYTES = 256 << 20
_CODE = "__torch__"


def read_zip(source: Source, found: Found) -> str:
    """
    Whatever model lies in a ZIP file.

    Raises:
        Unreadable: the ZIP, or the member that says what it needs, is damaged.
    """
    file = source.anywhere()
    inside = members(file)
    names = {name for name in inside if not name.endswith("/")}
    if is_npz(names):
        return read_npz(file, {name: inside[name] for name in sorted(names)}, found)
    if "metadata.json" in names and "config.json" in names:
        return _read_keras(file, inside, found)
    if "schema.json" in names:
        return _read_skops(file, inside, found)
    roots = sorted(name[: -len("data.pkl")] for name in names if name.endswith("/data.pkl") or name == "data.pkl")
    if len(roots) == 1:
        return _read_torch(file, inside, roots[0], found)
    if any(name.endswith("archive_format") for name in names):
        found.needs("torch")
        found.notes.add("it is a program that torch exported: what its graph needs is not read")
        return "torch-export"
    if any(name.endswith((".7z", ".zip", ".tar", ".gz")) for name in names):
        found.notes.add("it holds archives, which are not opened")
    found.notes.add("a ZIP file of no known kind: what it needs is not read")
    return "zip"


def _read_torch(file: Anywhere, inside: dict[str, Member], root: str, found: Found) -> str:
    """
    `torch.save` since 1.6: a pickle whose persistent ids are tensors in other members; TorchScript carries its code as
    well (https://pytorch.org/docs/stable/notes/serialization.html).
    """
    scripted = any(name.startswith((root + "code/", root + "constants.pkl")) for name in inside)
    for name in ("version", ".format_version", "byteorder", ".data/version"):
        member = inside.get(root + name)
        if member is not None and member.size_bytes <= 64:
            said = b"".join(opened(file, member, found.limits, 64).rest())
            found.says({"byteorder": "byteorder"}.get(name, "format_version"), said.decode("ascii", "replace").strip())
    knows_storages(found)
    for name in ("data.pkl", "constants.pkl"):
        if root + name in inside:
            stream = opened(file, inside[root + name], found.limits)
            walk_pickle(stream, found)
            if not stream.at_end():
                raise Unreadable("bytes follow the end of its pickle")
    found.persistent = None
    found.needs("torch")
    if not scripted:
        return "torch"
    # Classes that the archive's own code defines: nothing on the import path brings them.
    found.classes = {name for name in found.classes if not name.startswith(_CODE)}
    code = sum(name.startswith(root + "code/") and name.endswith(".py") for name in inside)
    found.says("torchscript_files", code)
    return "torchscript"


def _read_keras(file: Anywhere, inside: dict[str, Member], found: Found) -> str:
    """https://keras.io/guides/serialization_and_saving/: the release, and the classes of the configuration."""
    for path, value in scan_json(opened(file, inside["metadata.json"], found.limits, _PAPER_BYTES).rest(), found):
        if path == ("keras_version",):
            found.written_by("keras", value)
    read_classes(opened(file, inside["config.json"], found.limits, _PAPER_BYTES).rest(), found, "module", "class_name")
    found.needs("keras")
    found.notes.add(BACKEND)
    return "keras"


def _read_skops(file: Anywhere, inside: dict[str, Member], found: Found) -> str:
    """https://skops.readthedocs.io/en/stable/persistence.html: types by module and name, at every depth."""
    schema = opened(file, inside["schema.json"], found.limits, _PAPER_BYTES).rest()
    read_classes(schema, found, "__module__", "__class__")
    for name in sorted(inside):
        if name.endswith(".npy"):
            found.needs("numpy")
            break
    found.needs("skops")
    return "skops"
