"""numpy's files: one array (`.npy`), or several in a ZIP (`.npz`); an array of objects is a pickle."""

from __future__ import annotations

import re

from envparity.collectors.formats.found import Found, Unreadable
from envparity.collectors.formats.pickles import walk_pickle
from envparity.collectors.formats.streams import Anywhere, Source, Stream
from envparity.collectors.formats.zips import Member, opened

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 1 << 20
_OF_OBJECTS = re.compile(r"'[|<>=]?O\d*'")


def read_npy(source: Source, found: Found) -> str:
    """One array: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html."""
    stream = source.forward()
    if _array(stream, found) and not stream.at_end():
        raise Unreadable("bytes follow its end")
    return "npy"


def is_npz(names: set[str]) -> bool:
    """Whether a ZIP with these members holds arrays and nothing else."""
    return bool(names) and all(name.endswith(".npy") for name in names)


def read_npz(file: Anywhere, members: dict[str, Member], found: Found) -> str:
    """Several arrays, each a member."""
    for member in members.values():
        _array(opened(file, member, found.limits), found)
    return "npz"


def _array(stream: Stream, found: Found) -> bool:
    """Read one header, and step over its items; whether their end is known."""
    if stream.take(6) != _MAGIC:
        raise Unreadable("an array in it has no header")
    major = stream.take(2)[0]
    length = stream.number(2 if major == 1 else 4)
    if not 1 <= major <= 3 or length > _LONGEST_HEADER:
        raise Unreadable("it has an array header of version %d, %d bytes long" % (major, length))
    header = stream.take(length).decode("utf-8" if major == 3 else "latin-1", "replace")
    kind = re.search(r"'descr'\s*:\s*(.*?)\s*,\s*'fortran_order'", header)
    shape = re.search(r"'shape'\s*:\s*\(([\d\s,L]*)\)", header)
    if not kind or not shape:
        raise Unreadable("it has an array header that cannot be read")
    found.needs("numpy")
    found.says("dtype", kind[1].strip("'") if kind[1].count("'") == 2 else "records")
    if _OF_OBJECTS.search(kind[1]):
        walk_pickle(stream, found)
        return True
    simple = re.match(r"'[|<>=]?([a-zA-Z])(\d+)(?:\[[\w/]+\])?'$", kind[1])
    if simple is None:
        return False  # records: their size is a sum that numpy alone defines
    size = int(simple[2]) * (4 if simple[1] == "U" else 1)
    for part in re.findall(r"\d+", shape[1]):
        size *= int(part[:40])
    stream.skip(size)
    return True
