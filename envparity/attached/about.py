"""Everything that documents about an image are made of."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from envparity import closure, codec, lockfile
from envparity.errors import IntegrityError
from envparity.files import read_bytes
from envparity.oci.image import BuiltImage
from envparity.values import Environment, Lock, Plan, System
from envparity.writers.contents import Contents, ImageFacts, ImageLayer


@dataclass(frozen=True)
class About:
    """
    An image, and what it was made from: the lock for its platform, the lock's own bytes and path, the plan.

    `written_at` is the time to stand in what is written; no clock is asked.
    """

    image: BuiltImage
    lock: Lock
    lock_bytes: bytes
    lock_path: Path
    plan: Plan
    written_at: datetime | None = None

    @property
    def name(self) -> str:
        """What people call it: `tickets` of `pylock.tickets.toml`."""
        return called(self.lock_path)

    @property
    def snapshot_bytes(self) -> bytes:
        """The snapshot beside the lock. Raises IntegrityError where it is another one."""
        return snapshot_beside(self.lock, lockfile.artifacts_folder(self.lock_path))

    @functools.cached_property
    def contents(self) -> Contents:
        """What the writers of SBOMs are given."""
        document = codec.load_json(self.image.config_bytes, "the config of the new image")
        rows = zip(self.plan.layers, self.image.layers, document["rootfs"]["diff_ids"], strict=True)
        layers = (
            ImageLayer(planned.title, planned.step, blob.digest, diff_id, blob.size_bytes)
            for planned, (blob, _), diff_id in rows
        )
        facts = ImageFacts(self.image.digest, tuple(layers), self.plan.options)
        return contents_of(self.lock, self.lock_bytes, self.lock_path, written_at=self.written_at, image=facts)


def called(lock_path: Path) -> str:
    """What people call a lock: `prod` of `pylock.prod.toml`."""
    return lock_path.stem.removeprefix("pylock.") or lock_path.stem


def contents_of(
    lock: Lock,
    lock_bytes: bytes,
    lock_path: Path,
    *,
    written_at: datetime | None = None,
    markers: bool = False,
    required: bool = True,
    image: ImageFacts | None = None,
) -> Contents:
    """
    A lock for one platform as writers take it; with `required`, what requires what, as the snapshot beside it says.

    Raises:
        IntegrityError: the snapshot beside the lock is another one.
    """
    from envparity.resolvers import archives  # the tables of releases: who only asks what is beside an image reads none

    (target,) = lock.targets
    base = target.image.release if target.image is not None else target.base
    release = archives.release(base) if base else None
    folder = lockfile.artifacts_folder(lock_path)
    there = required and (folder / lock.snapshot.name).exists()
    name = f"snapshot `{folder / lock.snapshot.name}`"
    known = codec.load_environment(snapshot_beside(lock, folder), name) if there else None
    return Contents(
        lock=lock,
        target=target,
        sha256=hashlib.sha256(lock_bytes).hexdigest(),
        name=called(lock_path),
        folder=folder.name,
        system=System(id=release.id, version_id=release.version_id, codename=release.codename) if release else System(),
        required=required_in(known, lock) if known is not None else None,
        licences=_licences(known, lock) if known is not None else {},
        written_at=written_at,
        markers=markers,
        image=image,
    )


def snapshot_beside(lock: Lock, artifacts: Path) -> bytes:
    """
    The bytes of the snapshot that a lock names.

    Raises:
        IntegrityError: another one lies there.
    """
    place = artifacts / lock.snapshot.name
    data = read_bytes(place, what="snapshot")
    digest = hashlib.sha256(data).hexdigest()
    if digest != lock.snapshot.sha256:
        raise IntegrityError(
            f"`{place}` is not the snapshot that was locked: expected sha256 {lock.snapshot.sha256}, got {digest}",
            hint="copy the folder of artifacts along with the lock, or make both again with `envparity lock`",
        )
    return data


def _licences(found: Environment, lock: Lock) -> dict[str, str]:
    """What the metadata of each locked distribution said of its licence, of the version that is locked."""
    versions = {item.name: item.version for item in lock.distributions}
    return {
        item.name: item.licence
        for item in found.distributions or ()
        if item.licence and item.importable and versions.get(item.name) == item.version
    }


def required_in(found: Environment, lock: Lock) -> dict[str, tuple[str, ...]] | None:
    """What each locked distribution requires of the others; `None` where the snapshot does not know."""
    if found.python is None or not found.python.version or found.distributions is None:
        return None
    locked = {item.name for item in lock.distributions}
    installed = [item for item in found.distributions if item.name in locked]
    return closure.direct(installed, closure.marker_environment(found.python, found.system))
