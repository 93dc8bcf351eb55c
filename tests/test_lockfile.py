"""A lock and its artifacts: whatever else happens, a lock that lies there has what it names beside it."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from envparity import lockfile
from envparity.errors import UsageError
from envparity.values import LockedArtifact
from tests.values import a_lock


def recovered(content: bytes) -> lockfile.Recovered:
    """A lock of a snapshot with this content, and no captured interpreter."""
    digest = hashlib.sha256(content).hexdigest()
    artifact = LockedArtifact(name=f"snapshot-{digest[:12]}.env.json", size_bytes=len(content), sha256=digest)
    target = a_lock().targets[0]
    target = msgspec.structs.replace(target, interpreter=msgspec.structs.replace(target.interpreter, artifact=None))
    return lockfile.Recovered(a_lock(snapshot=artifact, targets=(target,)), {artifact.name: content})


def artifacts(path: Path) -> list[str]:
    return sorted(place.name for place in lockfile.artifacts_folder(path).iterdir())


def test_what_only_the_replaced_lock_named_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "pylock.toml"
    lockfile.write(recovered(b"old"), path)

    lockfile.write(recovered(b"new"), path)

    lock, _ = lockfile.read(path)
    assert artifacts(path) == [lock.snapshot.name]


def test_what_no_lock_of_this_place_named_stays(tmp_path: Path) -> None:
    """Somebody may keep their own snapshot there; a prefix of its name makes it nobody else's."""
    path = tmp_path / "pylock.toml"
    lockfile.write(recovered(b"old"), path)
    mine = lockfile.artifacts_folder(path) / "snapshot-mine.env.json"
    mine.write_bytes(b"{}")
    path.write_text("not a lock")

    lockfile.write(recovered(b"new"), path)

    assert mine.read_bytes() == b"{}"


def test_of_many_that_write_at_once_the_last_has_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "pylock.toml"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: lockfile.write(recovered(b"%d" % number), path), range(24)))

    lock, _ = lockfile.read(path)
    assert artifacts(path) == [lock.snapshot.name]
    assert sorted(place.name for place in tmp_path.iterdir()) == [
        ".pylock.toml.lock",
        "pylock.artifacts",
        "pylock.toml",
    ]


def test_a_lock_that_cannot_be_written_leaves_no_artifacts(tmp_path: Path) -> None:
    """A folder of bytes that nothing names would stay for ever."""
    path = tmp_path / "pylock.toml"
    path.mkdir()

    with pytest.raises(UsageError, match="it is a folder"):
        lockfile.write(recovered(b"new"), path)

    assert [place.name for place in tmp_path.iterdir()] == ["pylock.toml"]
