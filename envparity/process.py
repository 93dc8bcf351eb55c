"""The only place that starts a process: a Command is a value, and `run` is its one runner."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from envparity.errors import TimeLimitError, UnreachableError


@dataclass(frozen=True)
class Command:
    """
    What to start. `env` is the whole environment of the process (never added to ours); `timeout_s` its time limit,
    `None` for none, and `slower` the hint that says how to raise
    it. With `inherit` its standard streams are ours, and nothing is captured.
    """

    argv: tuple[str, ...]
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    timeout_s: float | None = 60.0
    inherit: bool = False
    slower: str = ""


@dataclass(frozen=True)
class Completed:
    """How it ended. `status` is negative for a signal."""

    status: int
    stdout: bytes
    stderr: bytes


def run(command: Command) -> Completed:
    """
    Start a process, feed it, and wait for its end.

    Raises:
        UnreachableError: it cannot be started.
        TimeLimitError: it was still running at its limit; it and its children were killed.
    """
    name = command.argv[0]
    pipe = None if command.inherit else subprocess.PIPE
    try:
        process = subprocess.Popen(
            command.argv,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=dict(command.env),
            cwd=command.cwd,
            start_new_session=not command.inherit,
        )
    except OSError as error:
        raise UnreachableError(f"cannot start `{name}`: {error.strerror or error}") from error
    try:
        stdout, stderr = process.communicate(None if command.inherit else command.stdin, timeout=command.timeout_s)
    except subprocess.TimeoutExpired as error:
        _end(process, command.inherit)
        raise TimeLimitError(f"`{name}` did not finish within {command.timeout_s:g} s", hint=command.slower) from error
    except BaseException:
        _end(process, command.inherit)
        raise
    return Completed(process.returncode, stdout or b"", stderr or b"")


def _end(process: subprocess.Popen[bytes], inherit: bool) -> None:
    try:
        if inherit:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended by itself meanwhile
    if process.stdin is not None:
        with suppress(OSError):  # what it had not read yet has nowhere to go
            process.stdin.close()
        process.stdin = None
    process.communicate()
