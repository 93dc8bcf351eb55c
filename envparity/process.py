"""The only place that starts a process: a Command is a value, and `run` is its one runner."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from envparity.errors import TimeLimitError, UnreachableError

T = TypeVar("T")

_PIECE = 1 << 16
_PIPE = 64 << 10  # what a pipe holds on Linux unless it is told otherwise


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
    with started(command, sink) as finish:
        return finish()


@contextmanager
def started(command: Command, sink: Callable[[bytes], object] | None = None) -> Iterator[Callable[[], Completed]]:
    """
    Start a process, and give a function that feeds it and waits for its end: there is something to do meanwhile. If the
    block ends without that, the process is ended too. What fits into its pipe is fed at once.

    Raises:
        The same as `run`; the time limit counts from here.
    """
    name = command.argv[0]
    began = time.monotonic()
    pipe = None if command.inherit else subprocess.PIPE
    process: subprocess.Popen[bytes] | None = None
    try:
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
        except OSError as error:
            raise UnreachableError(f"cannot start `{name}`: {error.strerror or error}") from error
        yield _finisher(process, command, began, sink)
    finally:
        if process is not None and process.returncode is None:
            _end(process, command.inherit)


class Conversation:
    """A process that is asked one thing after the other, by one thread at a time."""

    def __init__(self, process: subprocess.Popen[bytes], command: Command, errors: BinaryIO) -> None:
        self._process = process
        self._command = command
        self._errors = errors

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def ask(self, question: bytes, read: Callable[[BinaryIO], T]) -> T:
        """
        Give it a question, which it takes whole before it answers, and `read` its answer: at the end of what it says
        where it has died, of which the next question is not told otherwise either.

        Raises:
            TimeLimitError: it did not answer within the command's limit, and was killed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

        limit = threading.Timer(self._command.timeout_s or threading.TIMEOUT_MAX, end)
        limit.daemon = True
        limit.start()
        try:
            with suppress(BrokenPipeError):  # the end of its answers says so too
                self._process.stdin.write(question)
                self._process.stdin.flush()
            return read(cast(BinaryIO, self._process.stdout))
        except Exception as error:
            if late.is_set():
                raise TimeLimitError(
                    f"`{self._command.argv[0]}` did not answer within {self._command.timeout_s:g} s",
                    hint=self._command.slower,
                ) from error
            raise
        finally:
            limit.cancel()

    def last_words(self) -> str:
        """The end of what it said on standard error."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _PIECE))
        return self._errors.read(_PIECE).decode("utf-8", "replace").strip()


@contextmanager
def conversing(command: Command) -> Iterator[Conversation]:
    """
    Start a process to be asked; it is ended with the block.

    Raises:
        UnreachableError: it cannot be started.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            with _signals_held():
                process = subprocess.Popen(
                    command.argv,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=dict(command.env),
                    cwd=command.cwd,
                    start_new_session=True,
                )
        except OSError as error:
            raise UnreachableError(f"cannot start `{command.argv[0]}`: {error.strerror or error}") from error
        try:
            yield Conversation(process, command, cast(BinaryIO, errors))
        finally:
            _end(process, inherit=False)


def _finisher(
    process: subprocess.Popen[bytes], command: Command, began: float, sink: Callable[[bytes], object] | None
) -> Callable[[], Completed]:
    left = b"" if command.inherit else _rest_to_feed(process, command.stdin)
    until = None if command.timeout_s is None else began + command.timeout_s

    def finish() -> Completed:
        try:
            stdout, stderr = _conversation(process, left, until, command, sink)
        except subprocess.TimeoutExpired as error:
            raise TimeLimitError(
                f"`{command.argv[0]}` did not finish within {command.timeout_s:g} s", hint=command.slower
            ) from error
        return Completed(process.returncode, stdout, stderr)

    return finish


def _rest_to_feed(process: subprocess.Popen[bytes], data: bytes) -> bytes:
    """Write it all where the pipe takes it without waiting (Linux lets it grow); what it does not take is left."""
    stream = process.stdin
    assert stream is not None
    try:
        import fcntl

        if fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, max(len(data), _PIPE)) < len(data):
            return data
        rest = data[os.write(stream.fileno(), data) :]
    except (ImportError, AttributeError, OSError):
        return data
    if not rest:
        stream.close()
    return rest


def _conversation(
    process: subprocess.Popen[bytes],
    rest: bytes,
    until: float | None,
    command: Command,
    sink: Callable[[bytes], object] | None,
) -> tuple[bytes, bytes]:
    """
    Feed a process and take what it prints, at the same time, until it ends. It may be a stranger's on another host: so
    what is kept of it is limited, which `communicate` does not do.

    Raises:
        subprocess.TimeoutExpired: it goes on after `until`, on the monotonic clock.
    """

    def left_s() -> float | None:
        return None if until is None else max(0.0, until - time.monotonic())

    if command.inherit:
        process.wait(left_s())
        return b"", b""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    left = memoryview(rest)
    numbers = process.stdout.fileno(), process.stderr.fileno()
    taken: dict[int, bytearray] = {number: bytearray() for number in numbers}
    with selectors.DefaultSelector() as selector, closing(process.stdin), process.stdout, process.stderr:
        if not process.stdin.closed:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        while selector.get_map():
            wait_s = left_s()
            if wait_s == 0:
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
    process.wait(left_s())
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
            with suppress(OSError):  # what it had not read yet has nowhere to go
                stream.close()
