"""
Damage done to files, and what the command line makes of it: many cases in one child, with little memory and an end.

The child is forked, so that the libraries that a command needs are loaded once for thousands of cases.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

MEMORY_BYTES = 240 << 20
"""What a case may take on top of the interpreter and its libraries, which take 60 MB: together, less than 300 MB."""

HANGS_S = 30
"""No measure of speed: a machine that is busy is slow. What takes longer than this does not end."""


class Case(NamedTuple):
    """One damaged input: what was done, how it is put in place, and the command that meets it."""

    label: str
    prepare: Callable[[], object]
    arguments: tuple[str, ...]


class Outcome(NamedTuple):
    """What became of a case; `status` is that of the process, or minus the signal that ended it."""

    label: str
    status: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def broken(self) -> str:
        """What is wrong with it, if anything is."""
        if self.status not in ALLOWED:
            return f"status {self.status}"
        if "Traceback" in self.stderr:
            return "a traceback"
        if self.status not in {0, 1} and not re.search(r"(?m)^error: ", self.stderr):
            return "no error line"
        if re.search(r"[^\n\t\x20-\x7e\u00a0-\U0010ffff]", self.stdout + self.stderr):
            return "what a terminal obeys"
        return ""


ALLOWED = frozenset({0, 1, 2, 3, 4, 5})
"""Every status but that of a bug; a test says which of them its files may end with."""


def damaged(data: bytes, seed: int, *, flips: int = 50) -> Iterator[tuple[str, bytes]]:
    """A file cut at twenty places, with single bytes changed, a line twice, a mark, a NUL, and other line ends."""
    chance = random.Random(f"{seed} {len(data)}")
    for length in sorted({len(data) * part // 20 for part in range(20)}):
        yield f"cut at {length}", data[:length]
    for _ in range(flips if data else 0):
        at, value = chance.randrange(len(data)), chance.choice((0, 10, 34, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        yield f"byte {at} is {value:#x}", data[:at] + bytes([value]) + data[at + 1 :]
    several = bytearray(data)
    for _ in range(flips if data else 0):
        several[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    yield "many bits", bytes(several)
    lines = data.splitlines(keepends=True)
    for at in sorted({chance.randrange(len(lines)) for _ in range(3)} if lines else ()):
        yield f"line {at + 1} twice", b"".join((*lines[: at + 1], *lines[at:]))
        yield f"without line {at + 1}", b"".join((*lines[:at], *lines[at + 1 :]))
    yield "a byte order mark", b"\xef\xbb\xbf" + data
    at = chance.randrange(len(data) + 1)
    yield f"a NUL at {at}", data[:at] + b"\0" + data[at:]
    yield "carriage returns", data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def outcomes(cases: Iterable[Case]) -> list[Outcome]:
    """Run each case in one child; the last outcome is that of the case that ended the child, if one did."""
    with tempfile.NamedTemporaryFile("r+", prefix="outcomes-") as log:
        child = os.fork()
        if child == 0:
            _run_all(cases, log.name)
        _, waited = os.waitpid(child, 0)
        log.seek(0)
        lines = [json.loads(line) for line in log]
    found = [Outcome(*line) for line in lines if len(line) > 1]
    if len(lines) > 2 * len(found):
        status = os.waitstatus_to_exitcode(waited)
        found.append(Outcome(lines[-1][0], status if status < 0 else 70, "", f"the child ended with {status}", 0))
    return found


def _run_all(cases: Iterable[Case], log: str) -> NoReturn:
    status = 1
    try:
        warnings.resetwarnings()
        used = int(re.search(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10  # type: ignore[index]
        resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY_BYTES, used + MEMORY_BYTES))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        # The log is read while a case may still end the process: each line is there before what it tells of.
        with Path(log).open("a", buffering=1) as lines:
            for case in cases:
                lines.write(json.dumps([case.label]) + "\n")
                case.prepare()
                signal.alarm(HANGS_S)
                began = time.perf_counter()
                answer = _run(case.arguments)
                signal.alarm(0)
                lines.write(json.dumps([case.label, *answer, time.perf_counter() - began]) + "\n")
        status = 0
    finally:
        os._exit(status)


def _run(arguments: tuple[str, ...]) -> tuple[int, str, str]:
    from envparity.cli import main

    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    status: object = None
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            main(arguments)
        except SystemExit as leave:
            status = leave.code
        except BaseException as error:  # noqa: BLE001 (whatever gets past `main` is what is looked for)
            sys.stderr.write(f"Traceback: {error!r}")
            status = 70
    texts = []
    for stream in streams:
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8", "replace"))  # type: ignore[attr-defined]
    return status if isinstance(status, int) else 70, texts[0][:200_000], texts[1][:20_000]
