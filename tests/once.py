"""What is dear is made once a run, however many workers share the tests, and whoever asks for it first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

GROUPS = {"engine": "services", "registry": "services", "ml": "ml", "dist": "dist"}
"""Fixtures that one worker makes and no other may make again; and the group that brings their tests to one worker."""


def worker() -> str:
    """The name of this worker of xdist; nothing where there are none."""
    return os.environ.get("PYTEST_XDIST_WORKER", "")


def of_the_run(factory: pytest.TempPathFactory) -> Path:
    """The temporary folder that all workers of this run share."""
    own = factory.getbasetemp()
    return own.parent if worker() else own


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """
    A folder that is filled by the first worker that asks, while the others wait. They only read it.

    Where it cannot be made, the next one that asks tries again: it has to fail, or to be skipped, for the same reason.
    """
    done = folder.with_name(f".{folder.name}.done")
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def claim(shared: Path, fixture: str, name: str) -> None:
    """Write down that a worker makes a fixture of GROUPS; the second worker that does so fails, and says why."""
    place = shared / f".{fixture}.made-by"
    with FileLock(shared / ".made-by.lock"):
        first = place.read_text() if place.exists() else name
        place.write_text(first)
    if first != name:
        pytest.fail(
            f"`{fixture}` was made by {first} and now by {name}: its tests did not stay in one worker. "
            "Run with `--dist loadgroup`; if so it was, this pytest-xdist does not group under this pytest",
            pytrace=False,
        )
