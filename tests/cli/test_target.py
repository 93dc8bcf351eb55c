"""The flags that say for which target a file is read, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import envparity, refused
from tests.sources.samples import CONDA_LOCK, UV


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "uv.lock").write_text(UV)
    (tmp_path / "conda-lock.yml").write_text(CONDA_LOCK)
    (tmp_path / "requirements.txt").write_text("tqdm==4.66.4\ncolorama==0.4.6; sys_platform == 'win32'\n")
    return tmp_path


def shown(folder: Path, *arguments: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(envparity("show", *arguments, "--format", "json", cwd=folder).stdout)
    return value


def test_show_selects(folder: Path) -> None:
    flags = ("--platform", "linux/amd64", "--python-version", "3.11", "--extra", "fast", "--group", "dev")

    names = {item["name"] for item in shown(folder, "uv.lock", *flags)["distributions"]}

    assert names == {"colorama", "numpy", "ours", "tool", "tqdm", "widgets"}
    assert {item["name"] for item in shown(folder, "uv.lock", *flags[:4], "--group", "main")["distributions"]} == {
        "ours",
        "tqdm",
    }


def test_a_snapshot_of_a_file_is_that_of_its_target(folder: Path) -> None:
    done = envparity("snapshot", "conda-lock.yml", "--platform", "linux/amd64", "-o", "x.env.json", cwd=folder)

    assert "2 conda packages" in done.stderr
    assert json.loads((folder / "x.env.json").read_text())["system"]["machine"] == "x86_64"


def test_a_file_of_several_platforms_asks_for_one(folder: Path) -> None:
    done = refused("show", "conda-lock.yml", status=2, says="several platforms: linux/amd64, darwin/arm64", cwd=folder)

    assert "--platform linux/amd64" in done.stderr


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--platform", "amiga"), "not a platform"),
        (("--python-version", "three"), "not a version of Python"),
        (("--extra", "nope"), "it has: fast"),
        (("--group", "nope"), "it has: dev"),
    ],
)
def test_a_target_that_cannot_be_is_a_usage_error(flags: tuple[str, ...], says: str, folder: Path) -> None:
    refused("show", "uv.lock", *flags, status=2, says=says, cwd=folder)


def test_diff_takes_the_platform_of_the_other_side(folder: Path) -> None:
    envparity("snapshot", "conda-lock.yml", "--platform", "linux/amd64", "-o", "x.env.json", cwd=folder)

    assert envparity("diff", "x.env.json", "conda-lock.yml", cwd=folder).returncode == 0
    assert envparity("diff", "conda-lock.yml", "x.env.json", cwd=folder).returncode == 0
    refused("diff", "conda-lock.yml", "requirements.txt", status=2, says="several platforms", cwd=folder)
    told = envparity("diff", "conda-lock.yml", "requirements.txt", "--platform", "linux/amd64", cwd=folder, status=None)
    assert "several platforms" not in told.stderr


def test_diff_takes_extras_that_only_one_side_knows(folder: Path) -> None:
    flags = ("--platform", "linux/amd64", "--python-version", "3.11", "--group", "main", "--format", "json")
    done = envparity("diff", "uv.lock", "requirements.txt", *flags, cwd=folder, status=None)

    items = {finding["item"] for finding in json.loads(done.stdout)["findings"]}
    assert "tqdm" not in items
    assert "tool" not in items
