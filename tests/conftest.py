"""What holds for every test: services are shared within one worker, and what was skipped is summed up at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

from tests.tools import needs_uv

settings.register_profile("envparity", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("envparity")

SHARED = {"engine": "services", "registry": "services", "quickstart": "quickstart", "pipeline": "pipeline"}
"""Fixtures that are dear: with `-n`, the tests that ask for one run in the same worker, so that it is made once."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        groups = {SHARED[name] for name in getattr(item, "fixturenames", ()) if name in SHARED}
        if groups:
            item.add_marker(pytest.mark.xdist_group("-".join(sorted(groups))))


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the project that is being tested."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Path:
    """The folder that a real quickstart leaves behind: its environments, snapshot, lock, image and `transcript.txt`."""
    folder = tmp_path_factory.mktemp("story") / "quickstart"
    script = checkout / "examples" / "support_tickets" / "quickstart.py"
    told = subprocess.run(
        [sys.executable, str(script), "--folder", str(folder), "--uv", needs_uv()],
        capture_output=True,
        text=True,
        check=False,
    )
    if "error sending request" in told.stdout or "dns error" in told.stdout:
        pytest.skip("the quickstart needs packages from the index, which cannot be reached")
    assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-2000:]
    return folder


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
        for report in terminalreporter.stats.get("skipped", [])
    )
    if reasons:
        terminalreporter.section("not tested on this machine")
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"{count:4d}  {reason}")
