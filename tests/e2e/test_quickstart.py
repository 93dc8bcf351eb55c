"""The quickstart: the whole path on a real model, as a stranger types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def tell(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = checkout / "examples" / "support_tickets" / "quickstart.py"
    return subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def test_production_answers_differently_and_the_image_does_not(quickstart: Path) -> None:
    """This is what the project is for; a story that only says so proves nothing."""
    training, production = (
        json.loads((quickstart / name).read_text(encoding="utf-8")) for name in ("training.json", "production.json")
    )
    flipped = [a for a, b in zip(training["tickets"], production["tickets"], strict=True) if a["label"] != b["label"]]

    assert len(training["tickets"]) >= 500
    assert flipped

    if sys.platform == "linux" and (quickstart / "image.json").stat().st_size:
        image = json.loads((quickstart / "image.json").read_text(encoding="utf-8"))
        assert image == training


def test_its_transcript_fits_a_terminal(quickstart: Path) -> None:
    """A line that wraps by chance cannot be read, nor pasted into a page."""
    lines = (quickstart / "transcript.txt").read_text(encoding="utf-8").splitlines()

    assert len(lines) > 20
    assert [line for line in lines if len(line) > 80] == []


def test_a_folder_with_files_of_somebody_else_is_left_alone(checkout: Path, tmp_path: Path) -> None:
    """The story begins with an empty folder; it must not make one out of a folder that holds work."""
    (tmp_path / "thesis.txt").write_text("three years")

    told = tell(checkout, "--folder", str(tmp_path), "--uv", "uv")

    assert told.returncode == 2
    assert "holds files that are not this story's" in told.stderr
    assert (tmp_path / "thesis.txt").read_text() == "three years"


@pytest.mark.parametrize("python", ["3.10", "/nowhere/python3"])
def test_a_python_that_the_story_has_no_wheels_for_is_refused_by_name(
    checkout: Path, tmp_path: Path, python: str
) -> None:
    """Half an hour later, a resolver's message about wheels would say it to nobody."""
    told = tell(checkout, "--folder", str(tmp_path / "story"), "--uv", "uv", "--python", python)

    assert told.returncode == 2
    assert f"`{python}` is none that starts here" in told.stderr
    assert not (tmp_path / "story").exists()
