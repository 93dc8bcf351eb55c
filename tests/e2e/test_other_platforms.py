"""A lock for platforms that the model was not trained on, from the one machine that it was trained on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from envparity import lockfile
from envparity.oci.places import open_image
from tests.commands import envparity, refused
from tests.e2e.pipeline import Pipeline
from tests.tools import needs_uv


def changed(pipeline: Pipeline, place: Path, **system: str) -> Path:
    """The snapshot as another system would have given it: what people trained on, which cannot be started here."""
    document: dict[str, Any] = json.loads(pipeline.snapshot.read_text())
    del document["content_digest"]
    document["system"] |= system
    document["os_packages"] = []
    place.write_text(json.dumps(document))
    return place


def test_one_lock_makes_the_image_of_each_platform(pipeline: Pipeline, tmp_path: Path) -> None:
    """No emulation and no second machine: the same versions, what stands in for what is said."""
    path, snapshot = tmp_path / "pylock.toml", pipeline.snapshot
    done = envparity("lock", snapshot, "--prove", "--platform", "linux/amd64", "--platform", "linux/arm64", "-o", path)
    assert "counterparts: " in done.stderr
    lock = lockfile.read(path)[0]
    assert [target.platform for target in lock.targets] == ["linux/amd64", "linux/arm64"]
    own = {item.name: item.version for item in lockfile.read(pipeline.lock)[0].distributions}
    assert {item.name: item.version for item in lock.distributions} == own

    image = f"oci:{tmp_path / 'image'}"
    envparity("build", path, "--platform", "linux/arm64", "--model", pipeline.model, "--output", image)
    assert open_image(image).platform == "linux/arm64"
    assert "VERIFIED" in envparity("verify", image, "--against", path).stdout
    done = envparity("build", path, "--platform", "linux/s390x", "--output", f"oci:{tmp_path / 'other'}", status=2)
    assert "linux/arm64" in done.stderr


def test_uv_takes_from_a_lock_for_two_platforms_what_is_for_this_one(pipeline: Pipeline, tmp_path: Path) -> None:
    envparity(
        *("lock", pipeline.snapshot, "--platform", "linux/amd64", "--platform", "linux/arm64"),
        *("-o", tmp_path / "pylock.toml"),
    )
    uv = [needs_uv(), "--no-config", "-q"]
    subprocess.run([*uv, "venv", "--python", pipeline.python, tmp_path / "env"], check=True)
    python = tmp_path / "env/bin/python"
    sync = [*uv, "pip", "sync", "--preview-features", "pylock", "--python", python, tmp_path / "pylock.toml"]
    subprocess.run(sync, check=True)

    difference = envparity("diff", pipeline.snapshot, f"venv:{tmp_path / 'env'}", "--format", "json", status=None)
    named = {item["name"]: item for item in json.loads(pipeline.snapshot.read_text())["distributions"]}
    found = [item.get("item", "") for item in json.loads(difference.stdout)["findings"]]
    assert not set(found) & set(named), difference.stdout


def test_a_system_that_no_base_is_made_of_gets_the_nearest_that_carries_its_wheels(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    snapshot = changed(
        pipeline,
        tmp_path / "rhel.env.json",
        id="rhel",
        version_id="9.4",
        codename="",
        name="RHEL 9.4",
        libc_version="2.34",
    )
    done = envparity("lock", snapshot, "-o", tmp_path / "pylock.toml")

    (target,) = lockfile.read(tmp_path / "pylock.toml")[0].targets
    assert target.base == "ubuntu:jammy", "of the bases with a glibc that is not older, the nearest"
    assert [(item.before, item.after) for item in target.substituted if item.kind == "base"] == [
        ("RHEL 9.4", "ubuntu:jammy")
    ]
    assert "substituted: RHEL 9.4 -> ubuntu:jammy" in done.stderr


def test_what_has_no_wheel_for_the_other_platform_is_refused_by_name(pipeline: Pipeline, tmp_path: Path) -> None:
    """It is never taken in another version, and the nearest that there is is named."""
    snapshot = tmp_path / "old.env.json"
    document: dict[str, Any] = json.loads(pipeline.snapshot.read_text())
    del document["content_digest"]
    for item in document["distributions"]:
        if item["name"] == "joblib":
            item |= {"name": "intel-openmp", "version": "2024.2.1", "wheel_tags": ["py2.py3-none-manylinux1_x86_64"]}
            item.pop("record_sha256", None)
    snapshot.write_text(json.dumps(document))

    done = refused(
        "lock", snapshot, "--platform", "linux/arm64", "-o", tmp_path / "pylock.toml", status=1, says="locked"
    )
    assert "intel-openmp 2024.2.1" in done.stderr
    assert not (tmp_path / "pylock.toml").exists()
