"""The lock and the snapshot of an image, as they are: to be read with one small request, without a pull."""

from __future__ import annotations

from envparity.attached.about import About
from envparity.oci.referrers import Document

LOCK = "application/vnd.envparity.lock.v1"
SNAPSHOT = "application/vnd.envparity.snapshot.v1"


def lock(about: About) -> Document:
    """The very bytes that the image was built from."""
    return Document(LOCK, "application/toml", about.lock_bytes, about.lock_path.name)


def snapshot(about: About) -> Document:
    """The content of the snapshot that was locked."""
    return Document(SNAPSHOT, "application/json", about.snapshot_bytes, about.lock.snapshot.name)
