"""The only place that starts a process: a Command is a value, and `run` is its one runner."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from envparity.errors import TimeLimitError, UnreachableError

_PIPE = 64 << 10  # what a pipe holds on Linux unless it is told otherwise


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
    with started(command) as finish:
        return finish()


@contextmanager
def started(command: Command) -> Iterator[Callable[[], Completed]]:
    """
    Start a process, and give a function that feeds it and waits for its end: there is something to do meanwhile. If the
    block ends without that, the process is ended too. What fits into its pipe is fed at once.

    Raises:
        The same as `run`; the time limit counts from here.
    """
    name = command.argv[0]
    began = time.monotonic()
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
    stdin = None if command.inherit else _rest_to_feed(process, command.stdin)

    def finish() -> Completed:
        left = None if command.timeout_s is None else max(command.timeout_s - (time.monotonic() - began), 0.001)
        try:
            stdout, stderr = process.communicate(stdin, timeout=left)
        except subprocess.TimeoutExpired as error:
            _end(process, command.inherit)
            raise TimeLimitError(
                f"`{name}` did not finish within {command.timeout_s:g} s", hint=command.slower
            ) from error
        return Completed(process.returncode, stdout or b"", stderr or b"")

    try:
        yield finish
    finally:
        if process.returncode is None:
            _end(process, command.inherit)


def _rest_to_feed(process: subprocess.Popen[bytes], data: bytes) -> bytes | None:
    """Write it all where the pipe takes it without waiting (Linux lets it grow); else it is left to `communicate`."""
    stream = process.stdin
    assert stream is not None
    try:
        import fcntl

        if fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, max(len(data), _PIPE)) < len(data):
            return data
        rest = data[os.write(stream.fileno(), data) :]
    except (ImportError, AttributeError, OSError):
        return data
    if rest:
        return rest
    stream.close()
    process.stdin = None
    return None


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
