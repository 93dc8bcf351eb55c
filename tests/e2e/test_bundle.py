"""A lock with every wheel and package beside it: built, and installed, where there is neither network nor cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from envparity import codec, lockfile
from tests import once
from tests.commands import envparity
from tests.e2e.pipeline import Pipeline
from tests.tools import needs_uv


@pytest.fixture
def bundle(little: Pipeline, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """A copy that a test may damage."""

    def make(folder: Path) -> None:
        envparity("lock", little.snapshot, "--prove", "--bundle", "-o", folder / "pylock.toml")

    made = once.made_once(once.of_the_run(tmp_path_factory) / "bundle", make)
    shutil.copytree(made, tmp_path / "bundle", copy_function=os.link)
    return tmp_path / "bundle" / "pylock.toml"


def build(lock: Path, little: Pipeline, tmp_path: Path, status: int = 0) -> str:
    image = f"oci:{tmp_path / 'image'}"
    command = ("build", lock, "--offline", "--model", little.model, "--output", image)
    return envparity(*command, status=status, ENVPARITY_CACHE_DIR=str(tmp_path / "cache")).stderr


def spoil(place: Path) -> None:
    data = place.read_bytes()
    place.unlink()  # the others of these links stay as they are
    place.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_it_is_built_and_verified_without_network_and_cache(bundle: Path, little: Pipeline, tmp_path: Path) -> None:
    build(bundle, little, tmp_path)

    for against in (bundle, little.snapshot):
        command = ("verify", f"oci:{tmp_path / 'image'}", "--against", against, "--offline")
        envparity(*command, ENVPARITY_CACHE_DIR=str(tmp_path / "empty"))


def test_it_is_the_same_lock_but_for_where_its_files_lie(bundle: Path, little: Pipeline) -> None:
    (bundled, _), (plain, _) = lockfile.read(bundle), lockfile.read(little.lock)

    without = [
        msgspec.structs.replace(item, wheels=tuple(msgspec.structs.replace(wheel, path="") for wheel in item.wheels))
        for item in bundled.distributions
    ]

    assert msgspec.structs.replace(bundled, bundled=False, distributions=tuple(without)) == plain


def test_two_bundles_are_equal_byte_for_byte(bundle: Path, little: Pipeline, tmp_path: Path) -> None:
    other = tmp_path / "other" / "pylock.toml"
    other.parent.mkdir()
    envparity("lock", little.snapshot, "--prove", "--bundle", "-o", other, TZ="Asia/Kathmandu", LC_ALL="C")

    assert other.read_bytes() == bundle.read_bytes()
    one, two = lockfile.artifacts_folder(bundle), lockfile.artifacts_folder(other)
    assert {place.name: place.read_bytes() for place in one.iterdir()} == {
        place.name: place.read_bytes() for place in two.iterdir()
    }


@pytest.mark.parametrize("tool", ["uv pip sync", "uv pip install -r", "pip install -r"])
def test_uv_and_pip_install_what_lies_beside_it(bundle: Path, little: Pipeline, tmp_path: Path, tool: str) -> None:
    uv, again = needs_uv(), tmp_path / "again"
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([uv, "venv", "-q", "--no-config", "-p", base, again], check=True)
    python = str(again / "bin" / "python")
    alone = ["-q", "--offline", "--no-config", "--no-cache", "--python", python]
    command = {
        "uv pip sync": [uv, "pip", "sync", *alone, str(bundle)],
        "uv pip install -r": [uv, "pip", "install", *alone, "-r", str(bundle)],
        "pip install -r": [
            *(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--no-cache-dir"),
            *("--disable-pip-version-check", "-r", str(bundle)),
        ],
    }[tool]

    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PIP_CONFIG_FILE": os.devnull})

    envparity("snapshot", f"venv:{again}", "-o", tmp_path / "again.env.json")
    diff = envparity("diff", little.snapshot, tmp_path / "again.env.json", "--fail-on", "info")
    assert "OK: no difference" in diff.stdout


def test_pip_makes_the_locked_environment_of_the_export_file_by_file(little: Pipeline, tmp_path: Path) -> None:
    """The lock without a bundle: from the index, by hash."""
    again, text = tmp_path / "again", tmp_path / "requirements.txt"
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([needs_uv(), "venv", "-q", "--no-config", "-p", base, again], check=True)
    envparity("export", little.lock, "--format", "requirements", "-o", text)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(again / "bin" / "python")]

    subprocess.run([*pip, "install", "-q", "--require-hashes", "--no-deps", "-r", str(text)], check=True)

    envparity("snapshot", f"venv:{again}", "--verify-files", "-o", tmp_path / "again.env.json")
    diff = envparity("diff", little.snapshot, tmp_path / "again.env.json", "--fail-on", "info")
    assert "OK: no difference" in diff.stdout
    found, wanted = (
        {item.name: (item.version, item.record_sha256, item.modified or ()) for item in installed.distributions or ()}
        for installed in (
            codec.load_environment((tmp_path / "again.env.json").read_bytes(), "it"),
            codec.load_environment(little.snapshot.read_bytes(), "it"),
        )
    )
    assert found == wanted


def test_a_file_of_it_that_was_changed_is_refused(bundle: Path, little: Pipeline, tmp_path: Path) -> None:
    spoil(next(lockfile.artifacts_folder(bundle).glob("zlib1g_*.deb")))

    told = build(bundle, little, tmp_path, status=5)

    assert "zlib1g_" in told
    assert "is not the file that was locked" in told
    assert "zlib1g_" in envparity("lock", bundle, "--check", status=5).stdout


def test_a_file_of_it_that_is_gone_is_fetched_where_that_is_allowed(
    bundle: Path, little: Pipeline, tmp_path: Path
) -> None:
    next(lockfile.artifacts_folder(bundle).glob("joblib-*.whl")).unlink()

    told = build(bundle, little, tmp_path, status=3)

    assert "joblib-1.4.2-py3-none-any.whl" in told
    envparity("build", bundle, "--model", little.model, "--output", f"oci:{tmp_path / 'fetched'}")
