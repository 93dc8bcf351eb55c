"""A lock and its artifacts: whatever else happens, a lock that lies there has what it names beside it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from envparity import lockfile
from envparity.errors import UnreachableError, UsageError
from envparity.values import LockedArtifact, LockedDistribution, LockedWheel, Repacked
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


def repacked(content: bytes) -> lockfile.Recovered:
    """A lock of one wheel that was made here."""
    name = "demo-1.0-py3-none-any.whl"
    wheel = LockedWheel(
        name=name,
        path=f"pylock.artifacts/{name}",
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    item = LockedDistribution(
        name="demo", version="1.0", wheels=(wheel,), state="repacked", repacked=Repacked(origin="installed")
    )
    whole = recovered(b"snapshot")
    return lockfile.Recovered(
        msgspec.structs.replace(whole.lock, distributions=(item,)), {**whole.artifacts, name: content}
    )


def test_a_wheel_that_was_made_here_lies_beside_its_lock_whatever_that_is_called(tmp_path: Path) -> None:
    lockfile.write(repacked(b"wheel"), tmp_path / "pylock.prod.toml")

    (item,) = lockfile.read(tmp_path / "pylock.prod.toml")[0].distributions
    assert item.wheel.path == "pylock.prod.artifacts/demo-1.0-py3-none-any.whl"
    assert (tmp_path / item.wheel.path).read_bytes() == b"wheel"


def test_such_a_wheel_goes_when_no_lock_names_it_any_more(tmp_path: Path) -> None:
    path = tmp_path / "pylock.toml"
    lockfile.write(repacked(b"wheel"), path)

    lockfile.write(recovered(b"snapshot"), path)

    assert artifacts(path) == [lockfile.read(path)[0].snapshot.name]


def test_where_a_new_lock_fails_the_old_one_keeps_the_wheel_that_it_names(tmp_path: Path) -> None:
    """A wheel has no digest in its name: the new one has replaced it by then."""
    path = tmp_path / "pylock.toml"
    lockfile.write(repacked(b"old"), path)
    new = repacked(b"new")
    broken = lockfile.Recovered(new.lock, {**new.artifacts, "z-last": tmp_path / "is not there"})

    with pytest.raises(UsageError):
        lockfile.write(broken, path)

    (item,) = lockfile.read(path)[0].distributions
    assert (tmp_path / item.wheel.path).read_bytes() == b"old"
    assert item.wheel.sha256 == hashlib.sha256(b"old").hexdigest()
    assert len(artifacts(path)) == 2


def test_a_new_lock_replaces_the_wheel_of_its_name_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "pylock.toml"
    lockfile.write(repacked(b"old"), path)

    lockfile.write(repacked(b"new"), path)

    (item,) = lockfile.read(path)[0].distributions
    assert (tmp_path / item.wheel.path).read_bytes() == b"new"
    assert len(artifacts(path)) == 2


def test_whenever_it_is_killed_one_of_the_two_locks_is_there_with_all_its_bytes(tmp_path: Path) -> None:
    """A job that runs into its limit must not cost the lock that was there, and the next one has to work."""
    command = [sys.executable, "-m", "tests.interrupted", tmp_path]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout)

    assert len(rows) > 10, "each step that could change a file is one"
    assert [row["lock"] for row in rows] == sorted((row["lock"] for row in rows), reverse=True)
    assert {row["lock"] for row in rows} == {"older", "newer"}
    assert [row["lost"] for row in rows] == [[]] * len(rows)
    assert [row["after"] for row in rows] == [{"lock": "newer", "lost": [], "misplaced": []}] * len(rows)
    for row in rows:
        assert [name for name in row["beyond"] if not name.startswith("snapshot-")] == [
            ".pylock.toml.lock",
            "pylock.artifacts",
            "pylock.toml",
        ]


def test_a_link_in_the_place_of_an_artifact_is_replaced_and_never_followed(tmp_path: Path) -> None:
    """A folder from somebody else must not decide which file is written."""
    path = tmp_path / "pylock.toml"
    new = recovered(b"new")
    (name,) = new.artifacts
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    lockfile.artifacts_folder(path).mkdir()
    (lockfile.artifacts_folder(path) / name).symlink_to(victim)

    lockfile.write(new, path)

    assert victim.read_bytes() == b"precious"
    assert (lockfile.artifacts_folder(path) / name).read_bytes() == b"new"
    assert not (lockfile.artifacts_folder(path) / name).is_symlink()


def test_a_lock_that_is_a_link_is_written_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("")
    path = tmp_path / "pylock.toml"
    path.symlink_to("real")

    lockfile.write(recovered(b"new"), path)

    assert path.is_symlink()
    assert lockfile.read(path)[0].snapshot.name in artifacts(path)


@pytest.mark.parametrize(
    ("taken", "says"),
    [("pylock.artifacts", "a file is in its place"), (".pylock.toml.lock/x", "lock"), ("pylock.toml/x", "is a folder")],
)
def test_a_place_that_something_else_has_is_refused_and_left_alone(taken: str, says: str, tmp_path: Path) -> None:
    (tmp_path / taken).parent.mkdir(exist_ok=True)
    (tmp_path / taken).write_bytes(b"mine")

    with pytest.raises((UsageError, UnreachableError), match=says):
        lockfile.write(recovered(b"new"), tmp_path / "pylock.toml")

    assert (tmp_path / taken).read_bytes() == b"mine"
    assert not (tmp_path / "pylock.toml").is_file()


def test_a_name_that_is_too_long_for_what_lies_beside_it_is_refused(tmp_path: Path) -> None:
    """The name of the lock fits, and that of its folder does not."""
    path = tmp_path / f"pylock.{'x' * 238}.toml"

    with pytest.raises(UsageError, match="too long"):
        lockfile.write(recovered(b"new"), path)

    assert [place.name for place in tmp_path.iterdir() if place.is_file() and place.suffix != ".lock"] == []


def bundled(content: bytes) -> lockfile.Recovered:
    """A lock with all that it names beside it, of which one package has this content."""
    whole = recovered(b"snapshot")
    lock = msgspec.structs.replace(whole.lock, bundled=True)
    (wheel,), (package,) = lock.distributions[0].wheels, lock.targets[0].os_packages
    package = msgspec.structs.replace(package, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    target = msgspec.structs.replace(lock.targets[0], os_packages=(package,))
    lock = msgspec.structs.replace(lock, targets=(target,))
    return lockfile.Recovered(lock, {**whole.artifacts, wheel.name: b"wheel", package.beside: content})


def test_what_was_bundled_goes_with_the_lock_that_named_it(tmp_path: Path) -> None:
    path = tmp_path / "pylock.toml"
    lockfile.write(bundled(b"package"), path)
    assert len(artifacts(path)) == 3

    lockfile.write(recovered(b"snapshot"), path)

    assert artifacts(path) == [lockfile.read(path)[0].snapshot.name]


def test_what_two_platforms_share_lies_beside_their_lock_once() -> None:
    """Else `--check` counts more files than there are, and names one that is missing twice."""
    lock = bundled(b"package").lock
    arm = msgspec.structs.replace(lock.targets[0], platform="linux/arm64")
    both = msgspec.structs.replace(lock, targets=(*lock.targets, arm))

    assert list(lockfile.artifacts(both)) == list(lockfile.artifacts(lock))


def test_a_file_that_is_the_same_is_not_written_again(tmp_path: Path) -> None:
    """A bundle has gigabytes, of which a new lock moves one wheel; and a killed process has touched nothing of it."""
    path = tmp_path / "pylock.toml"
    lockfile.write(bundled(b"older"), path)
    folder = lockfile.artifacts_folder(path)
    before = {place.name: place.stat().st_ino for place in folder.iterdir()}

    lockfile.write(bundled(b"newer"), path)

    after = {place.name: place.stat().st_ino for place in folder.iterdir()}
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {"libc6_2.36-9+deb12u13_amd64.deb"}


def test_where_a_new_bundle_fails_the_old_one_keeps_the_package_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "pylock.toml"
    lockfile.write(bundled(b"older"), path)
    new = bundled(b"newer")

    with pytest.raises(UsageError):
        lockfile.write(lockfile.Recovered(new.lock, {**new.artifacts, "z-last": tmp_path / "is not there"}), path)

    (package,) = lockfile.read(path)[0].targets[0].os_packages
    assert (lockfile.artifacts_folder(path) / package.beside).read_bytes() == b"older"
    assert len(artifacts(path)) == 3
