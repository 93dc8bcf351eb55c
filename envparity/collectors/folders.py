"""A folder of files as one thing with one digest: a model, or data."""

from __future__ import annotations

import errno
import hashlib
import posixpath
from typing import Iterable, Iterator, NamedTuple

from envparity.collectors.shapes import Tree

MOST_FILES = 100_000


class Inside(NamedTuple):
    """A file of a folder: its name below it, and where its bytes are. `leads_out` where that is outside, or nowhere."""

    name: str
    path: str
    leads_out: bool = False


def files_of(tree: Tree, folder: str, most_files: int = MOST_FILES) -> Iterator[Inside]:
    """
    Every regular file below a folder, sorted by name. A link is followed where it stays inside, and so are those of a
    snapshot in Hugging Face's cache, which lead to the `blobs` beside it
    (https://huggingface.co/docs/huggingface_hub/guides/manage-cache); any other is named, and not followed.

    Raises:
        OSError: a folder cannot be listed, or there are more than `most_files` files.
    """
    root = tree.resolve(folder)
    inside = [root.rstrip("/") + "/"]
    parent = posixpath.dirname(root)
    if posixpath.basename(parent) == "snapshots":
        inside.append(posixpath.dirname(parent).rstrip("/") + "/blobs/")
    found, waiting, seen = [], [("", root)], {root}
    while waiting:
        prefix, place = waiting.pop()
        for entry in tree.entries(place):
            path, name = posixpath.join(place, entry), prefix + entry
            real = tree.resolve(path) if tree.is_link(path) else path
            if not (real + "/").startswith(tuple(inside)) or (real != path and tree.kind(real) is None):
                found.append(Inside(name, path, True))
            elif tree.kind(real) == "folder":
                if real not in seen:
                    seen.add(real)
                    waiting.append((name + "/", real))
            elif tree.kind(real) == "file":
                found.append(Inside(name, real))
            if len(found) > most_files:
                raise OSError(errno.EFBIG, "it holds more than %d files" % most_files, folder)
    return iter(sorted(found))


def digest(files: Iterable[tuple[str, str]]) -> str:
    """The digest of a folder, from the names and the sha256 of its files: that of the sorted lines `sha256  name`."""
    lines = sorted(("%s  %s\n" % (sha256, name)).encode("utf-8", "surrogateescape") for name, sha256 in files)
    return hashlib.sha256(b"".join(lines)).hexdigest()
