"""
What is dear is made once a run; a run in which two workers make one service says so and fails; and one cause that many
tests fail for is told once.
"""

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
from tests.conftest import pytest_collection_modifyitems, pytest_fixture_setup, pytest_runtest_makereport

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


def test_what_could_not_be_made_is_tried_once_and_everybody_hears_why(tmp_path: Path) -> None:
    """
    A worker that went on with half a pipeline would fail somewhere else, for a reason that is none; and if each that
    asks tried again, an hour would go by until the one cause is told a hundred times.
    """
    calls: list[Path] = []

    def fails() -> None:
        raise OSError("no space left")

    def skips() -> None:
        pytest.skip("the index cannot be reached")

    with pytest.raises(OSError, match="no space left"):
        made_once(tmp_path / "it", noted(calls, fails))
    with pytest.raises(pytest.fail.Exception, match=r"`it` could not be made, .* OSError: no space left"):
        made_once(tmp_path / "it", noted(calls))
    for _ in range(2):
        with pytest.raises(pytest.skip.Exception, match="cannot be reached"):
            made_once(tmp_path / "other", noted(calls, skips))

    assert calls == [tmp_path / "it", tmp_path / "other"]


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


FULL = """
import errno, pytest

@pytest.fixture(scope="session")
def broken():
    subject = "pipeline"
    raise ValueError(f"the {subject} is not there")

@pytest.fixture
def full():
    raise OSError(errno.ENOSPC, "No space left on device", "/tmp/it")

def test_one(broken): pass
def test_two(broken): pass
def test_three(full): pass
def test_four(): pass
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_cause_that_many_share_is_told_once_and_a_full_disk_ends_the_run(workers: str, tmp_path: Path) -> None:
    """Eight thousand errors at their setup say less than one line of the disk."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(FULL)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COVERAGE_"))}

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", workers, "--dist", "loadfile"],
        cwd=tmp_path,
        env={**own, "PYTHONPATH": str(CHECKOUT), "PYTEST_DEBUG_TEMPROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    told = " ".join(done.stdout.split())
    assert done.returncode in {1, 2}, done.stdout
    assert told.count('raise ValueError(f"the {subject} is not there")') == 1
    assert "`broken` is not there, as `test_it.py::test_one` tells in full: ValueError: the pipeline" in told
    assert "no room is left on the disk of /tmp/it" in told
    assert "3 errors" in told
    assert "passed" not in told
