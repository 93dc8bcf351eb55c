"""
What a model file says that it needs, read from its bytes and never executed.

`formats/` has a reader for each format, `formats/table.py` the rows that choose one; `model_folders` reads a folder.
"""

from __future__ import annotations

__all__ = ["Limits", "Looked", "look", "model"]

import os
import re
from typing import BinaryIO, Iterator

from envparity.collectors.formats.compressed import NotUnpacked, compression
from envparity.collectors.formats.found import Found, Limits, OutOfReach, Unreadable
from envparity.collectors.formats.pickled import read_pickle
from envparity.collectors.formats.streams import Source
from envparity.collectors.formats.table import ENDINGS, FORMATS, recognised
from envparity.collectors.shapes import Fact
from envparity.collectors.tree import gap

_PICKLE_ENDINGS = (".pkl", ".pickle", ".joblib", ".jbl", ".sav", ".dill", ".cloudpickle")
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:[a-z0-9.-]+ [^\n]*\n)*?"
    rb"oid sha256:([0-9a-f]{64})\nsize (\d{1,16})\n"
)
UNKNOWN = "its format is not known: what it needs is not read"


class Looked:
    """
    One file: its size and digest, its format, and what could not be known of it. `pointer` is set where it only says
    where the file is; size and digest are then those that it points to.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self.sha256 = ""
        self.form = ""
        self.pointer = ""
        self.unread: list[str] = []
        self.not_recorded: list[str] = []


def model(source: str | BinaryIO, name: str, path: str = "", limits: Limits | None = None) -> Iterator[Fact]:
    """
    Observe one model file: `source` is its path, or a binary stream, which is read once (and sought, where it can be).

    Yields:
        An `artifact` fact: size, sha256, format (`pickle`, `joblib`, with `+gzip` and so on where compressed, `onnx`),
        `classes` (`module:qualname`), `modules`, `versions` and `properties`.
        A gap `unread` where the file is damaged or breaks a limit: the lists then hold what came before the damage, and
        are not whole. A gap `not-recorded` where the format does not tell what the model needs, or is not read.

    Raises:
        OSError: the file cannot be opened or read.
    """
    if isinstance(source, str):
        path = path or os.path.abspath(source)
        with open(source, "rb") as file:
            yield from model(file, name, path, limits)
        return
    found = Found(limits)
    looked = look(source, name, found)
    fact: Fact = {"kind": "artifact", "name": name, "path": path, "format": looked.form}
    fact.update(size_bytes=looked.size_bytes, sha256=looked.sha256, pointer=looked.pointer)
    fact.update(lists(found))
    yield fact
    unresolved = ["it names `%s` (%s), which is looked for in a folder only" % pair[::-1] for pair in found.references]
    yield from (gap("artifacts", "unread", reason, name) for reason in looked.unread)
    for reason in looked.not_recorded + sorted(found.notes) + sorted(unresolved):
        yield gap("artifacts", "not-recorded", reason, name)


def lists(found: Found) -> Fact:
    """What was found, as the fields of an artifact."""
    return {
        "classes": sorted(found.classes),
        "modules": sorted(found.modules | {reference.partition(":")[0] for reference in found.classes}),
        "versions": [list(pair) for pair in sorted(found.versions)],
        "properties": [list(pair) for pair in sorted(found.properties)],
    }


def look(stream: BinaryIO, name: str, found: Found) -> Looked:
    """
    Read one file to its end, adding to `found` what it says.

    Raises:
        OSError: the stream cannot be read.
    """
    source, looked = Source(stream, found.limits), Looked()
    pointer = _POINTER.match(source.start)
    if pointer and int(pointer[2]) <= 1 << 53:
        source.drain()
        looked.pointer, looked.form = "git-lfs", "git-lfs-pointer"
        looked.size_bytes, looked.sha256 = int(pointer[2]), pointer[1].decode("ascii")
        looked.not_recorded.append("it is a pointer of git-lfs: the file itself is not here")
        return looked
    _read(source, name, found, looked)
    source.drain()
    looked.size_bytes, looked.sha256 = source.size_bytes, source.sha256
    return looked


def _read(source: Source, name: str, found: Found, looked: Looked) -> None:
    """Choose the reader, and say what became of it."""
    start = source.start
    row = recognised(FORMATS, start, name)
    # What begins as a pickle is read as one, whatever its name says.
    begins_as_pickle = start[:1] == b"\x80" and len(start) > 1
    if row is None and not begins_as_pickle and not compression(start):
        row = recognised(ENDINGS, start, name)
    if row is not None and row.read is None:
        looked.form = row.name
        looked.not_recorded.append("what a file of the format %s needs is not read" % row.name)
        return
    read = row.read if row is not None and row.read is not None else read_pickle
    is_pickle = begins_as_pickle or name.lower().endswith(_PICKLE_ENDINGS)
    scratch = found if row is not None or is_pickle or compression(start) else Found(found.limits)
    looked.form = row.name if row is not None else "pickle" + (compression(start) and "+" + compression(start))
    try:
        if not start:
            raise Unreadable("it is empty")
        looked.form = read(source, scratch)
    except (OutOfReach, NotUnpacked) as error:
        looked.not_recorded.append(str(error))
    except (ValueError, LookupError, ArithmeticError, RecursionError) as error:
        if row is None and not is_pickle and not scratch.classes:
            # It was only tried as one: what a text says as opcodes of a pickle means nothing.
            looked.form = "unknown"
            looked.not_recorded.append(UNKNOWN)
            return
        known = isinstance(error, Unreadable)
        looked.unread.append(str(error) if known else "it cannot be read: it is damaged (%s)" % type(error).__name__)
