"""Whole builds that are killed, or run at once: what they leave is whole, and the next one makes the same image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from envparity.cache import Cache
from envparity.oci.check import check_layout
from envparity.oci.layout import Layout
from envparity.oci.places import open_image
from tests.cli.conftest import World
from tests.commands import envparity


@pytest.mark.parametrize(("mode", "stride", "documents"), [("files", 29, 1), ("registry", 9, 5)])
def test_a_build_that_is_killed_leaves_nothing_half_and_the_next_makes_the_same_image(
    world: World, tmp_path: Path, mode: str, stride: int, documents: int
) -> None:
    """With each step taken (a stride of 1) it holds too; of files there are 140."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.cli.killed_build", mode]
    data = world.wheel.read_bytes()
    Cache(tmp_path / "cache").adopt([data], sha256=sha256(data).hexdigest(), size_bytes=len(data), what="wheel")
    arguments = [tmp_path, world.lock, tmp_path / "cache", str(stride)]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    expected = open_image(f"oci:{world.image}").digest

    assert len(rows) > 3
    assert [row["status"] for row in rows] == [-9] * (len(rows) - 1) + [0]
    assert {row["digest"] for row in rows} == {"", expected}
    assert all(row["wrong"] == row["wrong then"] == row["half"] == [] for row in rows), rows
    assert {(row["again"], row["then"], row["lines"]) for row in rows} == {(0, expected, 1 + documents)}


def test_eight_builds_at_once_into_one_layout_with_one_cache_are_all_there(world: World, tmp_path: Path) -> None:
    """skopeo 1.9 keeps two to four of eight: each reads the index, and writes it without the others' lines."""
    cache = world.copy(world.cache, tmp_path)
    command = [sys.executable, "-m", "envparity", "build", world.lock, "-q", "--attach", "lock"]
    processes = [
        subprocess.Popen(
            [*command, "--output", f"oci:{tmp_path}/image:{number}", "--label", f"number={number // 2}"],
            env={**os.environ, "ENVPARITY_CACHE_DIR": str(cache)},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    told = [process.communicate(timeout=120) for process in processes]

    assert [process.returncode for process in processes] == [0] * 8, told
    assert check_layout(f"{tmp_path}/image").problems == ()
    lines = Layout(tmp_path / "image").index().manifests
    assert len(lines) == 8 + 4  # two tags lead to one image, which has one document
    for number, (stdout, _) in enumerate(told):
        assert open_image(f"oci:{tmp_path}/image:{number}").digest == stdout.strip()
    again = envparity("build", world.lock, "-q", "--output", f"oci:{tmp_path}/image:0", ENVPARITY_CACHE_DIR=str(cache))
    assert again.stdout.strip() == open_image(f"oci:{world.image}").digest
