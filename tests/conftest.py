"""What holds for every test: what is dear is made once, and what was skipped is summed up at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import settings

from tests import once
from tests.tools import needs_uv

settings.register_profile("envparity", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("envparity")

FIRST = ("quickstart", "pipeline")
"""Fixtures that take a minute: with `-n`, their tests come first, so that no worker waits for them alone at the end."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for group in sorted({once.GROUPS[name] for name in asked_by(item) if name in once.GROUPS}):
            item.add_marker(pytest.mark.xdist_group(group))
    if once.worker():
        items.sort(key=lambda item: min((FIRST.index(n) for n in asked_by(item) if n in FIRST), default=len(FIRST)))


def asked_by(item: pytest.Item) -> Sequence[str]:
    """The names of the fixtures that a test asks for, itself or through another one."""
    return getattr(item, "fixturenames", ())


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> None:
    if once.worker() and fixturedef.argname in once.GROUPS:
        factory = request.getfixturevalue("tmp_path_factory")
        once.claim(once.of_the_run(factory), fixturedef.argname, once.worker())


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the project that is being tested."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Path:
    """
    The folder that a real quickstart leaves behind: its environments, snapshot, lock, image and `transcript.txt`.

    It is the one that ENVPARITY_TEST_QUICKSTART names, where a quickstart of this very checkout has just been run.
    """
    given = os.environ.get("ENVPARITY_TEST_QUICKSTART")
    if given:
        return Path(given)
    script = checkout / "examples" / "support_tickets" / "quickstart.py"

    def tell(place: Path) -> None:
        told = subprocess.run(
            [sys.executable, str(script), "--folder", str(place / "quickstart"), "--uv", needs_uv()],
            capture_output=True,
            text=True,
            check=False,
        )
        if "error sending request" in told.stdout or "dns error" in told.stdout:
            pytest.skip("the quickstart needs packages from the index, which cannot be reached")
        assert told.returncode == 0, told.stdout[-3000:] + told.stderr[-2000:]

    return once.made_once(once.of_the_run(tmp_path_factory) / "story", tell) / "quickstart"


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
