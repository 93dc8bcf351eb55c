"""The suite has one list of tests, whoever makes it and when: workers that do not agree run none of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_another_process_with_other_hashes_collects_the_same_tests(
    request: pytest.FixtureRequest, checkout: Path
) -> None:
    own = {f"{item.location[0]}::{item.name}" for item in request.session.items}
    files = sorted({item.location[0] for item in request.session.items})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]

    told = subprocess.run(
        [*command, "--rootdir", checkout, *files],
        cwd=checkout,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.returncode == 0, told.stdout[-2000:] + told.stderr[-2000:]
    assert sorted(own - {*told.stdout.splitlines()}) == []
