"""What holds for every test: what is dear is made once, and what was skipped is summed up at the end."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import once
from tests.tools import needs_uv
from tests.trained import trained

__all__ = ["trained"]  # one of each a session, however many modules ask for it

# The same examples each time, and as slowly as the machine can: what a change did not touch does not refuse it. Who
# looks for more types `--hypothesis-profile search`.
_SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("envparity", _SETTINGS, derandomize=True)
settings.register_profile("search", _SETTINGS, derandomize=False)
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


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes are no name: what packed them may have written the time into them, and two workers would not agree."""
    return argname if isinstance(val, bytes) else None


def asked_by(item: pytest.Item) -> Sequence[str]:
    """The names of the fixtures that a test asks for, itself or through another one."""
    return getattr(item, "fixturenames", ())


_BROKEN: dict[int, tuple[BaseException, str, list[str]]] = {}
"""What a fixture raised, by its identity: the fixture, and the first test that failed for it."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    if once.worker() and fixturedef.argname in once.GROUPS:
        factory = request.getfixturevalue("tmp_path_factory")
        once.claim(once.of_the_run(factory), fixturedef.argname, once.worker())
    try:
        return (yield)
    except Exception as error:
        _BROKEN.setdefault(id(error), (error, fixturedef.argname, []))
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Of the tests that one broken fixture fails the first tells why; and once the disk is full, no other is begun."""
    report = yield
    if not report.failed or call.excinfo is None:
        return report
    error = call.excinfo.value
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        item.session.shouldfail = f"no room is left on the disk of {error.filename or tempfile.gettempdir()}"
    _, fixture, tests = _BROKEN.get(id(error), (error, "", []))
    if tests:
        report.longrepr = f"`{fixture}` is not there, as `{tests[0]}` tells in full: {once.shortly(error)}"
    tests.append(item.nodeid)
    return report


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
