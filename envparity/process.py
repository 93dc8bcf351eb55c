"""The only place that starts a process: a Command is a value, and `run` is its one runner."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

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
        with suppress(OSError):  # what it had not read yet is lost
            process.stdin.close()
        process.stdin = None
    process.communicate()


def streamed(command: Command, sink: Callable[[bytes], object]) -> Completed:
    """
    Start a process without input, hand what it prints to `sink` piece by piece, and wait for its end: for output that
    may be larger than memory. The answer holds the beginning of standard error, and no standard output.

    Raises:
        The same as `run`, and what `sink` raises; the process is ended then.
    """
    name = command.argv[0]
    try:
        process = subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(command.env),
            cwd=command.cwd,
            start_new_session=True,
        )
    except OSError as error:
        raise UnreachableError(f"cannot start `{name}`: {error.strerror or error}") from error
    late = threading.Event()

    def end() -> None:
        late.set()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    said = bytearray()
    assert process.stdout is not None
    assert process.stderr is not None
    timer = threading.Timer(command.timeout_s, end) if command.timeout_s is not None else None
    listener = threading.Thread(target=_listen, args=(process.stderr, said), daemon=True)
    try:
        listener.start()
        if timer is not None:
            timer.start()
        while piece := os.read(process.stdout.fileno(), 1 << 20):
            sink(piece)
        status = process.wait()
        listener.join()
    except BaseException:
        end()
        process.wait()
        listener.join()
        raise
    finally:
        if timer is not None:
            timer.cancel()
        process.stdout.close()
        process.stderr.close()
    if late.is_set():
        raise TimeLimitError(f"`{name}` did not finish within {command.timeout_s:g} s", hint=command.slower)
    return Completed(status, b"", bytes(said))


def _listen(stream: IO[bytes], said: bytearray) -> None:
    """Keep the first of it, and read on, so that the process never waits for us."""
    while piece := stream.read(1 << 16):
        said += piece[: max(0, _MOST_SAID - len(said))]


_MOST_SAID = 64 << 10
