"""The only place that starts a process: a Command is a value, and `run` is its one runner."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from envparity.errors import TimeLimitError, UnreachableError


@dataclass(frozen=True)
class Command:
    """
    What to start. `env` is the whole environment of the process (never added to ours); `timeout_s` its time limit,
    `None` for none, and `slower` the hint that says how to raise it. With `inherit` its standard streams are ours, and
    nothing is captured.
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
    process: subprocess.Popen[bytes] | None = None
    try:
        with _signals_held():
            process = subprocess.Popen(
                command.argv,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=dict(command.env),
                cwd=command.cwd,
                start_new_session=not command.inherit,
            )
        stdout, stderr = process.communicate(None if command.inherit else command.stdin, timeout=command.timeout_s)
    except subprocess.TimeoutExpired as error:
        assert process is not None
        _end(process, command.inherit)
        raise TimeLimitError(f"`{name}` did not finish within {command.timeout_s:g} s", hint=command.slower) from error
    except OSError as error:
        if process is not None:
            _end(process, command.inherit)
            raise
        raise UnreachableError(f"cannot start `{name}`: {error.strerror or error}") from error
    except BaseException:
        if process is not None:
            _end(process, command.inherit)
        raise
    return Completed(process.returncode, stdout or b"", stderr or b"")


@contextmanager
def _signals_held() -> Iterator[None]:
    """
    What would interrupt us in the middle of starting a process waits until the process is known, so that it can be
    ended: a child that was started a moment before Ctrl-C would otherwise live on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # no signal is handled here
        return
    arrived: list[int] = []
    handled = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    handled = {number: handler for number, handler in handled.items() if callable(handler)}
    for number in handled:
        signal.signal(number, lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
    for late in arrived:
        signal.raise_signal(late)


def _end(process: subprocess.Popen[bytes], inherit: bool) -> None:
    try:
        if inherit:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended by itself meanwhile
    if process.stdin is not None:
        # What it never read (a pipe holds 64 KiB) would keep the pipe open.
        with suppress(OSError):
            process.stdin.close()
        process.stdin = None
    process.communicate()
