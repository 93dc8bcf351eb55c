"""A lock in the format of another tool: what is read for it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity import codec, export, lockfile, writers
from envparity.errors import IntegrityError, MalformedError, UsageError
from envparity.values import Distribution, Environment, LockedArtifact
from tests.values import a_conda_lock, a_lock, training
from tests.writers.samples import pinned

INSTALLED = (
    Distribution(name="app", version="1.0", requires=("Helper[fast]>=1", 'gone; python_version < "3"', "pip")),
    Distribution(name="helper", version="1.0", requires=('speed; extra == "fast"', 'slow; extra == "slow"')),
    Distribution(name="speed", version="1.0"),
    Distribution(name="slow", version="1.0", requires=("app",)),
    Distribution(name="pip", version="24.0"),
)
LOCKED = tuple(pinned(name) for name in ("app", "helper", "slow", "speed"))


def locked(folder: Path, name: str = "pylock.toml", environment: Environment | None = None, **changes: Any) -> Path:
    """A lock of a snapshot with its artifacts, on disk."""
    content = codec.content_bytes(environment or training(distributions=INSTALLED))
    digest = codec.content_digest(environment or training(distributions=INSTALLED)).removeprefix("sha256:")
    snapshot = LockedArtifact(name="snapshot.env.json", size_bytes=len(content), sha256=digest)
    lock = a_lock(snapshot=snapshot, **{"distributions": LOCKED, **changes})
    lockfile.write(lockfile.Recovered(lock, {snapshot.name: content}), folder / name)
    return folder / name


def required(text: str) -> dict[str, list[str]]:
    """Which distribution requires which, of an SBOM in CycloneDX."""
    rows = {row["ref"]: row["dependsOn"] for row in json.loads(text)["dependencies"]}
    short = {ref: ref.removeprefix("pkg:pypi/").removesuffix("@1.0") for ref in rows}
    return {short[ref]: [short[other] for other in others] for ref, others in rows.items() if "pypi" in ref}


def test_what_requires_what_is_taken_from_the_snapshot_beside_the_lock(tmp_path: Path) -> None:
    """An extra counts where somebody asks for it; pip is no part of a lock, and what is not installed is none."""
    exported = export.rendered(locked(tmp_path), "cyclonedx")

    assert required(exported.text) == {"app": ["helper"], "helper": ["speed"], "slow": ["app"], "speed": []}
    assert exported.unknown == ()


@pytest.mark.parametrize("form", sorted(writers.WITH_REQUIRED))
def test_without_the_snapshot_it_is_said_that_nobody_knows_what_requires_what(form: str, tmp_path: Path) -> None:
    lock = locked(tmp_path, **({"targets": a_conda_lock().targets} if form.startswith("conda-") else {}))
    (tmp_path / "pylock.artifacts" / "snapshot.env.json").unlink()

    exported = export.rendered(lock, form)

    (said,) = exported.unknown
    assert "`./pylock.artifacts/snapshot.env.json`" in said
    assert '"dependsOn": []' not in exported.text
    assert '"NONE"' not in exported.text


def test_a_snapshot_that_does_not_know_its_distributions_says_nothing_of_them(tmp_path: Path) -> None:
    lock = locked(tmp_path, environment=training(distributions=None))

    assert export.rendered(lock, "spdx").unknown


def test_another_snapshot_beside_the_lock_is_refused(tmp_path: Path) -> None:
    """An SBOM that was made of two runtimes describes neither."""
    lock = locked(tmp_path)
    (tmp_path / "pylock.artifacts" / "snapshot.env.json").write_bytes(codec.content_bytes(training()))

    with pytest.raises(IntegrityError, match=r"snapshot\.env\.json` is not the snapshot that was locked"):
        export.rendered(lock, "cyclonedx")
    assert export.rendered(lock, "requirements").left_out


@pytest.mark.parametrize("form", writers.FORMATS)
def test_the_same_lock_gives_the_same_bytes_wherever_it_lies(form: str, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()

    of_conda = {"targets": a_conda_lock().targets} if form.startswith("conda-") else {}
    here, there = (export.rendered(locked(tmp_path / place, **of_conda), form).text for place in ("here", "there"))

    assert here == there
    assert str(tmp_path) not in here


def test_a_lock_of_a_name_is_called_by_it(tmp_path: Path) -> None:
    lock = locked(tmp_path, "pylock.prod.toml", distributions=(pinned("demo", url="https://files.example/x"),))

    assert json.loads(export.rendered(lock, "spdx").text)["name"] == "prod"
    assert export.rendered(lock, "environment").text.splitlines()[2] == 'name: "prod"'
    assert any("./pylock.prod.artifacts/cpython" in text for text in export.rendered(lock, "requirements").left_out)


@pytest.mark.parametrize("form", ["conda-lock", "conda-lock-v2", "conda-explicit"])
def test_a_list_of_conda_packages_is_refused_of_a_lock_that_has_none(form: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no conda package") as caught:
        export.rendered(locked(tmp_path), form)

    assert "requirements" in caught.value.hint


def test_a_lock_for_several_platforms_is_written_for_the_one_that_is_named(tmp_path: Path) -> None:
    first = a_lock().targets[0]
    second = msgspec.structs.replace(first, platform="linux/arm64", base="debian:trixie")
    path = locked(tmp_path, targets=(first, second))

    assert "1 OS package of debian:trixie" in export.rendered(path, "requirements", platform="linux/arm64").left_out
    assert "1 OS package of debian:bookworm" in export.rendered(path, "requirements", platform="linux/amd64").left_out


@pytest.mark.parametrize("form", sorted(writers.FORMATS.keys() - writers.WITH_MARKERS))
def test_conditions_are_refused_where_a_format_has_none(form: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--markers"):
        export.rendered(locked(tmp_path), form, markers=True)


def test_a_lock_of_another_tool_has_no_runtime_to_hand_on(tmp_path: Path) -> None:
    (tmp_path / "pylock.toml").write_text('lock-version = "1.0"\ncreated-by = "uv"\npackages = []\n')

    with pytest.raises(UsageError, match="not made by envparity"):
        export.rendered(tmp_path / "pylock.toml", "requirements")


def test_a_lock_that_was_cut_short_is_no_lock(tmp_path: Path) -> None:
    lock = locked(tmp_path)
    lock.write_text(lock.read_text().replace("[tool.envparity.end]\n", "[tool.other]\n"))

    with pytest.raises(MalformedError, match="too early"):
        export.rendered(lock, "requirements")


def test_a_base_that_is_no_release_is_refused(tmp_path: Path) -> None:
    target = msgspec.structs.replace(a_lock().targets[0], base="debian:sarge")

    with pytest.raises(UsageError, match="`debian:sarge` is not a base"):
        export.rendered(locked(tmp_path, targets=(target,)), "spdx")
