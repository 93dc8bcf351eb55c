"""What a process knows of its own start; what that does to a snapshot is in `tests/test_snapshot.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from envparity.sources import itself


def test_the_path_is_what_an_import_would_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty entry is the working directory; hooks of editable installations and other objects are no folders."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()

    found = itself.path(
        ["", "here", str(tmp_path / "here/../here"), "__editable__.x.finder", 7, "python311.zip", "a\0b"]
    )

    assert found == [str(tmp_path), str(tmp_path / "here"), str(tmp_path / "python311.zip")]


def test_a_working_directory_that_is_gone_costs_what_is_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    found = itself.path(["", "relative", str(tmp_path)])

    monkeypatch.chdir(tmp_path)
    assert found == [str(tmp_path)]


def test_the_path_of_this_process_is_its_own() -> None:
    assert set(itself.path()) >= {entry for entry in sys.path if Path(entry).is_absolute() and Path(entry).is_dir()}


def test_what_cannot_be_looked_at_stays_on_the_path() -> None:
    """What was left out would not be missed; its reader says that it could not be read."""
    too_long = "/" + "x" * 300

    assert itself.path([too_long]) == [too_long]
