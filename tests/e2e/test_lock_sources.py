"""Locks of what is no snapshot: a lock of another tool, and an image whose environment was installed in it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from envparity import lockfile
from tests.commands import envparity
from tests.e2e.pipeline import Pipeline
from tests.tools import needs_uv

PROJECT = """
[project]
name = "support-tickets"
version = "0.1"
requires-python = ">=3.11"
dependencies = ["scikit-learn==1.5.2", "numpy==2.1.3", "tomli; python_version < '3.11'"]

[dependency-groups]
dev = ["iniconfig"]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real project, locked by uv."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").write_text(PROJECT)
    subprocess.run([needs_uv(), "lock", "-q", "--no-config"], cwd=folder, check=True)
    return folder


def test_a_lock_of_uv_becomes_an_image_that_verifies(project: Path) -> None:
    envparity("lock", "uv.lock", "--base", "debian:bookworm", cwd=project)
    envparity("build", "pylock.toml", "--output", "oci:image", cwd=project)
    done = envparity("verify", "oci:image", "--against", "pylock.toml", cwd=project)
    told = json.loads(envparity("diff", "uv.lock", "oci:image", "--format", "json", cwd=project).stdout)

    assert done.stdout.startswith("VERIFIED")
    moved = [item for item in told["findings"] if item["section"] == "distributions" and item["change"] != "unknown"]
    assert moved == []
    lock, _ = lockfile.read(project / "pylock.toml")
    assert {item.state for item in lock.distributions} == {"declared"}
    assert {"scikit-learn", "scipy", "joblib"} <= {item.name for item in lock.distributions}
    assert not {"iniconfig", "tomli", "support-tickets"} & {item.name for item in lock.distributions}


def test_the_same_lock_and_target_give_the_same_bytes(project: Path) -> None:
    envparity("lock", "uv.lock", "-o", "pylock.one.toml", cwd=project)
    envparity("lock", "uv.lock", "--python-version", "3.11", "-o", "pylock.two.toml", cwd=project)

    assert (project / "pylock.one.toml").read_bytes() == (project / "pylock.two.toml").read_bytes()


def test_a_declared_lock_is_no_proof_and_require_says_so(project: Path) -> None:
    done = envparity("lock", "uv.lock", "--require", "matched", "-o", "pylock.no.toml", status=1, cwd=project)

    assert "is declared: a file pins it, and nothing proves that it trained the model" in done.stderr
    assert not (project / "pylock.no.toml").exists()


def test_a_group_is_locked_where_it_is_asked_for(project: Path) -> None:
    envparity("lock", "uv.lock", "--group", "dev", "-o", "pylock.dev.toml", cwd=project)

    lock, _ = lockfile.read(project / "pylock.dev.toml")
    assert "iniconfig" in {item.name for item in lock.distributions}


def test_a_python_that_the_base_does_not_have_is_an_error_that_names_the_bases_that_do(project: Path) -> None:
    wrong = ("lock", "uv.lock", "--python-version", "3.12", "--base", "debian:bookworm")
    done = envparity(*wrong, status=2, cwd=project)
    none = envparity("lock", "uv.lock", "--python-version", "3.14", status=2, cwd=project)

    assert "debian:bookworm has Python 3.11, and `uv.lock` is to be locked for 3.12" in done.stderr
    assert "ubuntu:noble" in done.stderr
    assert "debian:trixie has 3.13" in none.stderr


def test_what_requirements_do_not_pin_is_resolved_and_named(tmp_path: Path) -> None:
    """A team's own file: two pins and a range, nothing of what these require. Neither pin moves."""
    (tmp_path / "requirements.txt").write_text("scikit-learn==1.5.2\nnumpy<2.2\njoblib==1.4.2\n")

    done = envparity("lock", "requirements.txt", "--python-version", "3.11", cwd=tmp_path)

    lock, _ = lockfile.read(tmp_path / "pylock.toml")
    found = {item.name: (item.version, item.state) for item in lock.distributions}
    assert found["scikit-learn"] == ("1.5.2", "declared")
    assert found["joblib"] == ("1.4.2", "declared")
    assert {name for name, (_, state) in found.items() if state == "resolved"} == {"numpy", "scipy", "threadpoolctl"}
    assert "resolved: 3 that the source does not pin: numpy 2.1.3, " in done.stderr


def test_pins_that_are_whole_are_not_resolved(project: Path) -> None:
    """What uv exports, without hashes: the same lock as that of the `uv.lock`, without any resolver."""
    uv = [needs_uv(), "export", "-q", "--no-config", "--no-dev", "--no-emit-project", "--no-hashes", "--no-header"]
    exported = subprocess.run(uv, cwd=project, check=True, capture_output=True, text=True).stdout
    (project / "requirements.txt").write_text(exported)
    envparity("lock", "uv.lock", "-o", "pylock.one.toml", cwd=project)
    envparity("lock", "requirements.txt", "-o", "pylock.pins.toml", cwd=project, PATH="/nowhere")

    one, pins = (lockfile.read(project / f"pylock.{name}.toml")[0] for name in ("one", "pins"))
    assert pins.distributions == one.distributions


def test_an_image_leads_to_a_lock_of_what_is_in_it(pipeline: Pipeline, tmp_path: Path) -> None:
    """The interpreter is captured out of the image, and its wheels are proven by the RECORD files that lie there."""
    envparity("lock", f"oci:{pipeline.image}", "--prove", "-o", tmp_path / "pylock.toml")

    found, before = lockfile.read(tmp_path / "pylock.toml")[0], lockfile.read(pipeline.lock)[0]
    assert [item.wheel for item in found.distributions] == [item.wheel for item in before.distributions]
    assert {item.state for item in found.distributions} == {"proven"}
    assert found.targets[0].interpreter == before.targets[0].interpreter
