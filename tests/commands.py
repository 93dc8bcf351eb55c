"""The command line, run as a user runs it: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests import forked


def envparity(
    *arguments: str | Path, status: int | None = 0, cwd: Path | None = None, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """What a command printed; a status that was not expected fails with all of it."""
    environ, words = {**os.environ, **variables}, [*map(str, arguments)]
    done = forked.run(words, cwd=cwd, stdin=stdin, environ=environ) or started(
        words, cwd=cwd, stdin=stdin, environ=environ
    )
    assert status is None or done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def started(
    arguments: Sequence[str], *, cwd: Path | None, stdin: str, environ: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """The same by a process from its very beginning, whatever it ends with."""
    return subprocess.run(
        [sys.executable, "-m", "envparity", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        cwd=cwd,
        env=environ,
    )


def refused(
    *arguments: str | Path, status: int, says: str, cwd: Path | None = None, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """
    A command that must fail, as every one of them must: one `error:` line with these words, a hint of what to try, no
    traceback, nothing on standard output, and with `--debug` the same exit status.
    """
    done = envparity(*arguments, status=status, cwd=cwd, stdin=stdin, **variables)
    lines = done.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert says in errors[0], errors[0]
    assert [line for line in lines if line.startswith("hint: ")], f"there is no hint: {done.stderr}"
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done
