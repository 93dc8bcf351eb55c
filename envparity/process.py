"""The only place that starts a process: a Command is a value, and `run` is its one runner."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from envparity.errors import TimeLimitError, UnreachableError

_PIECE = 1 << 16


@dataclass(frozen=True)
class Command:
    """
    What to start. `env` is the whole environment of the process (never added to ours); `timeout_s` its time limit,
    `None` for none, and `slower` the hint that says how to raise it. What it prints may have `most_bytes`. With
    `inherit` its standard streams are ours, and nothing is captured.
    """

    argv: tuple[str, ...]
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    timeout_s: float | None = 60.0
    inherit: bool = False
    slower: str = ""
    most_bytes: int = 1 << 30


@dataclass(frozen=True)
class Completed:
    """How it ended. `status` is negative for a signal."""

    status: int
    stdout: bytes
    stderr: bytes


def run(command: Command, sink: Callable[[bytes], object] | None = None) -> Completed:
    """
    Start a process, feed it, and wait for its end. With a `sink`, standard output goes there piece by piece, however
    long it is, and is not kept.

    Raises:
        UnreachableError: it cannot be started, or prints too much.
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
        if command.inherit:
            process.wait(command.timeout_s)
            stdout = stderr = b""
        else:
            stdout, stderr = _conversation(process, command, sink)
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
    return Completed(process.returncode, stdout, stderr)


def _conversation(
    process: subprocess.Popen[bytes], command: Command, sink: Callable[[bytes], object] | None
) -> tuple[bytes, bytes]:
    """
    Feed a process and take what it prints, at the same time, until it ends. It may be a stranger's on another host: so
    what is kept of it is limited, which `communicate` does not do.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    until = None if command.timeout_s is None else time.monotonic() + command.timeout_s
    left = memoryview(command.stdin)
    taken: dict[int, bytearray] = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    with selectors.DefaultSelector() as selector, process.stdin, process.stdout, process.stderr:
        os.set_blocking(process.stdin.fileno(), False)
        selector.register(process.stdin, selectors.EVENT_WRITE)
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        while selector.get_map():
            wait_s = None if until is None else until - time.monotonic()
            if wait_s is not None and wait_s <= 0:
                raise subprocess.TimeoutExpired(command.argv, command.timeout_s or 0)
            for key, _ in selector.select(wait_s):
                if key.fileobj is process.stdin:
                    with suppress(BlockingIOError):
                        try:
                            left = left[os.write(key.fd, left[:_PIECE]) :]
                        except BrokenPipeError:
                            left = left[:0]  # it does not want to hear the rest; its end says why
                    if not left:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                    continue
                piece = os.read(key.fd, _PIECE)
                if sink is not None and key.fileobj is process.stdout:
                    sink(piece)
                else:
                    taken[key.fd] += piece
                if not piece:
                    selector.unregister(key.fileobj)
                if sum(map(len, taken.values())) > command.most_bytes:
                    raise UnreachableError(f"`{command.argv[0]}` prints more than {command.most_bytes:,} bytes")
        numbers = process.stdout.fileno(), process.stderr.fileno()
    process.wait(None if until is None else max(0.0, until - time.monotonic()))
    return bytes(taken[numbers[0]]), bytes(taken[numbers[1]])


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
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
