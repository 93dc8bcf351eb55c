"""What is dear is made once a run; and a run in which two workers make one service says so and fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.once import claim, made_once

CHECKOUT = Path(__file__).resolve().parent.parent
CONFTEST = """
import pytest
from tests.conftest import pytest_collection_modifyitems, pytest_fixture_setup

@pytest.fixture(scope="session")
def engine():
    return "an engine"
"""
TESTS = """
import pytest

@pytest.mark.parametrize("number", range(8))
def test_of_an_engine(engine, number):
    pass

@pytest.mark.parametrize("number", range(8))
def test_without_one(number):
    pass
"""


def noted(calls: list[Path], then: Callable[[], None] = lambda: None) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        calls.append(folder)
        (folder / "half").touch()
        then()
        (folder / "whole").touch()

    return make


def test_of_many_that_ask_at_once_one_makes_it_and_all_get_it_whole(tmp_path: Path) -> None:
    calls: list[Path] = []

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: (made_once(tmp_path / "it", noted(calls)) / "whole").exists(), range(8)))

    assert calls == [tmp_path / "it"]
    assert found == [True] * 8


def test_what_could_not_be_made_is_never_taken_for_made(tmp_path: Path) -> None:
    """A worker that went on with half a pipeline would fail somewhere else, for a reason that is none."""
    calls: list[Path] = []

    def fails() -> None:
        raise OSError("no space left")

    for _ in range(2):
        with pytest.raises(OSError, match="no space left"):
            made_once(tmp_path / "it", noted(calls, fails))

    assert sorted(path.name for path in made_once(tmp_path / "it", noted(calls)).iterdir()) == ["half", "whole"]
    assert len(calls) == 3


def test_a_fixture_is_made_again_by_its_worker_and_by_no_other(tmp_path: Path) -> None:
    claim(tmp_path, "engine", "gw0")
    claim(tmp_path, "engine", "gw0")
    claim(tmp_path, "registry", "gw1")

    with pytest.raises(pytest.fail.Exception, match="made by gw0 and now by gw1"):
        claim(tmp_path, "engine", "gw1")


@pytest.mark.parametrize(("dist", "status"), [("loadgroup", 0), ("load", 1)])
def test_two_workers_with_one_service_are_no_green_run(dist: str, status: int, tmp_path: Path) -> None:
    """Once a release of pytest took the grouping away without a word, and six pipelines were made where one was due."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COVERAGE_"))}

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", dist],
        cwd=tmp_path,
        env={**own, "PYTHONPATH": str(CHECKOUT), "PYTEST_DEBUG_TEMPROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == status, done.stdout
    assert ("did not stay in one worker" in done.stdout) is bool(status)
    assert ("16 passed" in done.stdout) is not bool(status)
