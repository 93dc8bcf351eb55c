"""What is dear is made once a run, however many workers share the tests, and whoever asks for it first."""

from __future__ import annotations

import os
import subprocess
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

    Where it cannot be made, that worker tells why in full. Nobody tries again: who asks later fails, or is skipped, at
    once, with the same cause in a line.
    """
    done, given_up = (folder.with_name(f".{folder.name}.{end}") for end in ("done", "given-up"))
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if given_up.exists():
            outcome, cause = given_up.read_text().split(" ", 1)
            if outcome == "skipped":
                pytest.skip(cause)
            pytest.fail(f"`{folder.name}` could not be made, as the first test that asked for it tells: {cause}", False)
        if not done.exists():
            folder.mkdir()
            try:
                make(folder)
            except Exception as error:
                given_up.write_text(f"failed {shortly(error)}")
                raise
            except pytest.skip.Exception as skipped:
                given_up.write_text(f"skipped {skipped.msg}")
                raise
            done.touch()
    return folder


def shortly(error: BaseException) -> str:
    """What went wrong, in a line; of a command, the last that it said."""
    text = str(error)
    if isinstance(error, subprocess.CalledProcessError) and error.stderr:
        said = error.stderr if isinstance(error.stderr, str) else error.stderr.decode(errors="replace")
        text += f" {said.strip().splitlines()[-1:]}"
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {lines[0]}" + (f" … {lines[-1]}" if len(lines) > 1 else "")


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
