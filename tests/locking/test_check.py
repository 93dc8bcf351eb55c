"""Whether a lock still is what it was made of: asked of the disk alone, and told with what is different."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity import codec, lockfile
from envparity.errors import ExitStatus, MalformedError, UnsupportedError
from envparity.locking.check import check
from envparity.values import (
    Added,
    Distribution,
    Environment,
    LeftOut,
    Lock,
    LockedArtifact,
    LockedDistribution,
    LockedWheel,
    Origin,
    Python,
    Variable,
)
from tests.values import SOME_SHA256, a_lock, training

INTERPRETER = b"an interpreter"


def locked(name: str, version: str, **changes: Any) -> LockedDistribution:
    file = f"{name}-{version}-py3-none-any.whl"
    wheel = LockedWheel(name=file, url=f"https://files.example/{file}", size_bytes=1, sha256=SOME_SHA256)
    return LockedDistribution(name=name, version=version, wheels=(wheel,), state="proven", **changes)


def trained(*more: Distribution, **changes: Any) -> Environment:
    known: dict[str, Any] = {
        "distributions": (
            Distribution(name="joblib", version="1.4.2", record_sha256=SOME_SHA256),
            Distribution(name="numpy", version="1.26.4"),
            *more,
        ),
        **changes,
    }
    return training(**known)


def lay(folder: Path, environment: Environment | None = None, **changes: Any) -> Path:
    """A lock of `joblib` and `numpy` with the artifacts that it names."""
    environment = environment or trained()
    content = codec.content_bytes(environment)
    digest = hashlib.sha256(content).hexdigest()
    snapshot = LockedArtifact(name=f"snapshot-{digest[:12]}.env.json", size_bytes=len(content), sha256=digest)
    artifact = LockedArtifact(
        name="cpython.tar.gz", size_bytes=len(INTERPRETER), sha256=hashlib.sha256(INTERPRETER).hexdigest()
    )
    (target,) = a_lock().targets
    target = msgspec.structs.replace(
        target, interpreter=msgspec.structs.replace(target.interpreter, artifact=artifact), **changes.pop("target", {})
    )
    known: dict[str, Any] = {"distributions": (locked("joblib", "1.4.2"), locked("numpy", "1.26.4")), **changes}
    lock = a_lock(targets=(target,), snapshot=snapshot, **known)
    path = folder / "pylock.toml"
    lockfile.write(lockfile.Recovered(lock, {snapshot.name: content, artifact.name: INTERPRETER}), path)
    return path


def snapshot_of(path: Path) -> Path:
    lock: Lock = lockfile.read(path)[0]
    return lockfile.artifacts_folder(path) / lock.snapshot.name


@pytest.mark.parametrize("environment", [None, trained()])
def test_a_lock_that_is_whole_matches_its_snapshot(environment: Environment | None, tmp_path: Path) -> None:
    found = check(lay(tmp_path), environment, "model.env.json")

    assert found.status is ExitStatus.OK
    assert "matches" in found.lines[0]
    assert "2 distributions, 2 artifacts beside it" in found.lines[0]


def test_a_version_that_a_lock_writes_shorter_is_no_other_one(tmp_path: Path) -> None:
    """METADATA says `2024.05.06`, and the standard of locks has only `2024.5.6` for it."""
    path = lay(
        tmp_path,
        trained(Distribution(name="certs", version="2024.05.06"), Distribution(name="more", version="01.0")),
        distributions=(
            locked("certs", "2024.05.06"),
            locked("joblib", "1.4.2"),
            locked("more", "1.1"),
            locked("numpy", "1.26.4"),
        ),
    )

    assert check(path).lines[1:] == ("  more 1.1 is locked, and its snapshot has 01.0",)


def test_where_and_when_it_was_taken_is_no_difference(tmp_path: Path) -> None:
    """Somebody else takes it in the same environment, and it is the same snapshot."""
    other = trained(origin=Origin(kind="live", reference="venv:/home/eve/x", taken_at="2027-01-01T00:00:00Z"))

    assert check(lay(tmp_path), other, "eve.env.json").status is ExitStatus.OK


def test_what_is_different_since_is_told_one_by_one(tmp_path: Path) -> None:
    path = lay(tmp_path, trained(Distribution(name="gone", version="1.0")))
    later = trained(
        Distribution(name="new", version="3.0"),
        distributions=(
            Distribution(name="joblib", version="1.4.2", record_sha256="f" * 64),
            Distribution(name="numpy", version="2.0.0"),
            Distribution(name="new", version="3.0"),
        ),
        settings=msgspec.structs.replace(training().settings, variables=(Variable("OMP_NUM_THREADS", "8"),)),
    )

    found = check(path, later, "model.env.json")

    assert found.status is ExitStatus.FINDINGS
    assert found.lines[0] == f"{path} does not match `model.env.json` any more"
    assert [line.strip() for line in found.lines[2:]] == [
        "gone 1.0 was removed since",
        "joblib 1.4.2 is not the same build or has not the same files",
        "new 3.0 was added since",
        "numpy 1.26.4 -> 2.0.0",
        "settings: not as when it was locked (`envparity diff` says what)",
    ]


def test_an_artifact_that_is_missing_is_unfinished_and_names_it(tmp_path: Path) -> None:
    path = lay(tmp_path)
    (lockfile.artifacts_folder(path) / "cpython.tar.gz").unlink()

    found = check(path)

    assert found.status is ExitStatus.UNFINISHED
    assert "cpython.tar.gz: is missing" in found.lines[1]


@pytest.mark.parametrize("content", [b"an interpretes", b"longer than an interpreter"])
def test_an_artifact_that_is_another_file_is_an_integrity_fault(content: bytes, tmp_path: Path) -> None:
    path = lay(tmp_path)
    (lockfile.artifacts_folder(path) / "cpython.tar.gz").write_bytes(content)

    found = check(path)

    assert found.status is ExitStatus.INTEGRITY
    assert "cpython.tar.gz" in found.lines[1]


def test_a_link_in_the_place_of_an_artifact_is_not_followed(tmp_path: Path) -> None:
    path = lay(tmp_path)
    place = lockfile.artifacts_folder(path) / "cpython.tar.gz"
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")

    assert check(path).status is ExitStatus.INTEGRITY


def test_of_several_faults_the_gravest_decides_and_all_are_told(tmp_path: Path) -> None:
    path = lay(tmp_path)
    snapshot_of(path).write_bytes(b"{}")
    (lockfile.artifacts_folder(path) / "cpython.tar.gz").unlink()

    found = check(path, trained(Distribution(name="new", version="3.0")), "model.env.json")

    assert found.status is ExitStatus.INTEGRITY
    assert len(found.lines) == 4, "two artifacts, and that the snapshot is another one"


def test_a_lock_and_the_snapshot_that_it_keeps_must_agree(tmp_path: Path) -> None:
    """A lock whose seal is right can have been made by something else."""
    environment = trained(Distribution(name="lost", version="1.0"), Distribution(name="pip", version="23"))
    pip = LeftOut(kind="distribution", name="pip", version="23", reason="it installs")
    path = lay(
        tmp_path,
        environment,
        distributions=(locked("joblib", "1.5.0"), locked("numpy", "1.26.4"), locked("odd", "1.0")),
        target={"left_out": (pip,)},
    )

    found = check(path)

    assert found.status is ExitStatus.FINDINGS
    assert [line.strip() for line in found.lines[1:]] == [
        "joblib 1.5.0 is locked, and its snapshot has 1.4.2",
        "odd 1.0 is locked, and its snapshot has none",
        "lost 1.0 is in its snapshot, and not locked",
    ]


def test_what_was_added_or_moved_on_purpose_is_no_contradiction(tmp_path: Path) -> None:
    moved = locked("numpy", "2.0.0", added=Added(asked_by=("--update numpy",), before="1.26.4"))
    added = locked("gunicorn", "23.0", added=Added(asked_by=("gunicorn",)))

    assert check(lay(tmp_path, distributions=(added, locked("joblib", "1.4.2"), moved))).status is ExitStatus.OK


def test_a_lock_that_was_edited_is_refused_before_anything_is_compared(tmp_path: Path) -> None:
    path = lay(tmp_path)
    path.write_text(
        path.read_text().replace('version = "1.26.4"', 'version = "1.26.5"').replace("y-1.26.4", "y-1.26.5")
    )

    with pytest.raises(MalformedError, match=r"edited by hand|not consistent"):
        check(path)


def test_what_is_no_snapshot_cannot_be_compared(tmp_path: Path) -> None:
    declared = training(python=Python(specifier=">=3.11", basis="declared"))

    with pytest.raises(UnsupportedError, match="is no snapshot"):
        check(lay(tmp_path), declared, "uv.lock")
