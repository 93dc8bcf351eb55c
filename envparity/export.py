"""
A lock in the format of another tool: what that tool reads, of what is locked, and by name what it cannot carry.

    1  read       the lock, and of several targets the one that is meant
    2  complete   what requires what, from the snapshot beside the lock, where the format can say it
    3  write      the same bytes for the same lock, whoever writes them and when
"""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import datetime
from pathlib import Path

from envparity import closure, codec, lockfile, platforms, writers
from envparity.errors import IntegrityError, UsageError
from envparity.files import read_bytes
from envparity.resolvers import debian
from envparity.values import Lock, System
from envparity.writers.contents import Contents, Exported


def rendered(
    path: Path, form: str, *, written_at: datetime | None = None, markers: bool = False, platform: str = ""
) -> Exported:
    """
    A lock in one of `writers.FORMATS`. `written_at` is the time to stand in an SBOM; there is none by itself. With
    `markers` each line of requirements and constraints has the condition under which the lock holds.

    Raises:
        UsageError: the lock is not there, not ours, or not for that platform, or has nothing that the format lists.
        MalformedError: it is damaged, or holds what the format cannot spell. IntegrityError: the
        snapshot beside it is another one.
    """
    if markers and form not in writers.WITH_MARKERS:
        raise UsageError(
            f"`--markers` makes no sense for {form}: it has no conditions",
            hint=f"it is for {' and '.join(sorted(writers.WITH_MARKERS))}",
        )
    # 1
    whole, data = lockfile.read(path)
    lock = platforms.selected(whole, platforms.meant(whole, platform, platforms.here(), str(path)))
    (target,) = lock.targets
    release = debian.release(target.base)
    # 2
    required = _required(lock, lockfile.artifacts_folder(path)) if form in writers.WITH_REQUIRED else None
    # 3
    contents = Contents(
        lock=lock,
        target=target,
        sha256=hashlib.sha256(data).hexdigest(),
        name=path.stem.removeprefix("pylock.") or path.stem,
        folder=lockfile.artifacts_folder(path).name,
        system=System(id=release.id, version_id=release.version_id, codename=release.codename),
        required=required,
        written_at=written_at,
        markers=markers,
    )
    exported = writers.written(form, contents)
    if form in writers.WITH_REQUIRED and required is None:
        missing = f"what requires what, since the snapshot `{contents.beside(lock.snapshot.name)}` does not say it"
        return dataclasses.replace(exported, unknown=(missing,))
    return exported


def _required(lock: Lock, artifacts: Path) -> dict[str, tuple[str, ...]] | None:
    """What each distribution requires of the others; `None` where the snapshot is not there, or does not know."""
    place = artifacts / lock.snapshot.name
    if not place.exists():
        return None
    data = read_bytes(place, what="snapshot")
    digest = hashlib.sha256(data).hexdigest()
    if digest != lock.snapshot.sha256:
        raise IntegrityError(
            f"`{place}` is not the snapshot that was locked: expected sha256 {lock.snapshot.sha256}, got {digest}",
            hint="copy the folder of artifacts along with the lock, or make both again with `envparity lock`",
        )
    snapshot = codec.load_environment(data, f"snapshot `{place}`")
    if snapshot.python is None or not snapshot.python.version or snapshot.distributions is None:
        return None
    locked = {item.name for item in lock.distributions}
    installed = [item for item in snapshot.distributions if item.name in locked]
    return closure.direct(installed, closure.marker_environment(snapshot.python, snapshot.system))
