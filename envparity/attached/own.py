"""
What an image brings to be held against: its own lock, attached to it or inside of it, as a file to read.

It is the image's own word, unless a key signed the image: then it is the word of whoever has the key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from envparity import codec, lockfile, platforms
from envparity.attached.held import Beside, named_by
from envparity.errors import IncompleteError, IntegrityError
from envparity.files import make_folder, write_bytes
from envparity.image import configuration
from envparity.image.contents import PAPERS
from envparity.oci.entries import shown
from envparity.oci.image import Image
from envparity.oci.tree import ImageTree
from envparity.values import Lock

OWN_LOCK = f"/{PAPERS}/pylock.toml"
"""Where an image that was built here holds its lock."""

_LIMIT = 64 << 20


@dataclass(frozen=True)
class Own:
    """Where a lock or a snapshot was written to, and what people call it."""

    path: Path
    called: str


def written(image: Image, tree: ImageTree, beside: Beside, reference: str, folder: Path) -> Own:
    """
    Write what an image says that it is made from into a folder: its lock with the snapshot beside it; of a lock that
    names files which only its owner has (a captured interpreter, a wheel that was made there), the snapshot alone.

    Raises:
        IncompleteError: it has none. IntegrityError: what lies inside is not what the image names.
        MalformedError: its lock is none.
    """
    data, place = beside.lock, "attached to"
    if data is None:
        data, place = _inside(image, tree, OWN_LOCK, configuration.LOCK), "inside"
    if data is None:
        raise IncompleteError(
            f"`{shown(reference)}` has no lock, neither beside it nor inside, so nothing says what it should be",
            hint="name what it should be: `--against SNAPSHOT|LOCK`",
        )
    lock = codec.load_lock(data, f"the lock {place} `{shown(reference)}`")
    name = lock.snapshot.name
    snapshot = beside.snapshot
    if snapshot is None and Path(name).name == name:
        snapshot = _inside(image, tree, f"/{PAPERS}/pylock.artifacts/{name}", configuration.SNAPSHOT)
    path = folder / "pylock.toml"
    if snapshot is not None and hashlib.sha256(snapshot).hexdigest() == lock.snapshot.sha256:
        artifacts = make_folder(lockfile.artifacts_folder(path))
        write_bytes(artifacts / name, snapshot)
        if _needs_more(platforms.selected(lock, image.platform)):
            return Own(artifacts / name, f"the snapshot {place} it")
    write_bytes(path, data)
    return Own(path, f"the lock {place} it")


def _needs_more(lock: Lock) -> bool:
    """Whether a lock names files beside itself, besides its snapshot."""
    (target,) = lock.targets
    base = target.image is not None and not target.base.startswith("registry:")
    return target.interpreter.artifact is not None or base or any(item.repacked for item in lock.distributions)


def _inside(image: Image, tree: ImageTree, path: str, label: str) -> bytes | None:
    if tree.kind(path) != "file":
        return None
    data = tree.read(path, _LIMIT)
    meant = named_by(image, label)
    if meant and hashlib.sha256(data).hexdigest() != meant:
        raise IntegrityError(
            f"`{path}` in the image is not what the image names: sha256 {meant}",
            hint="do not run it; somebody changed it after it was built",
        )
    return data
