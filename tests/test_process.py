"""Starting a process: its environment is the one that was given, and its end comes at the limit."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from envparity.errors import TimeLimitError, UnreachableError
from envparity.process import Command, run


def test_nothing_of_our_environment_reaches_it() -> None:
    os.environ["ENVPARITY_CANARY"] = "s3cret"
    try:
        done = run(
            Command((sys.executable, "-I", "-c", "import os; print(sorted(os.environ))"), env={"LD_LIBRARY_PATH": ""})
        )
    finally:
        del os.environ["ENVPARITY_CANARY"]

    assert b"CANARY" not in done.stdout
    assert b"LD_LIBRARY_PATH" in done.stdout


def test_it_is_fed_and_its_streams_and_status_are_kept_apart() -> None:
    program = "import sys; sys.stderr.write('err'); sys.stdout.write(sys.stdin.read()); sys.exit(3)"

    done = run(Command((sys.executable, "-I", "-c", program), stdin=b"in"))

    assert (done.status, done.stdout, done.stderr) == (3, b"in", b"err")


def test_what_does_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    """A child that keeps our pipe open would hang us for ever."""
    program = (
        "import subprocess, sys, os; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid)); child.wait()"
    )

    with pytest.raises(TimeLimitError, match="within 2 s"):
        run(Command((sys.executable, "-c", program), timeout_s=2))

    status = Path("/proc") / (tmp_path / "pid").read_text() / "status"
    assert not status.exists() or "zombie" in status.read_text()


def test_what_cannot_be_started_is_named() -> None:
    with pytest.raises(UnreachableError, match="cannot start `/no/such/python`"):
        run(Command(("/no/such/python",)))


def test_a_large_input_and_a_large_output_at_once_do_not_block() -> None:
    """A process that answers before it has heard all would wait for ever for one that only speaks."""
    data = bytes(range(256)) * 20_000

    done = run(Command(("/bin/cat",), stdin=data, env={}))

    assert (done.status, done.stdout) == (0, data)


def test_a_process_that_does_not_listen_is_no_error() -> None:
    assert run(Command(("/bin/true",), stdin=b"x" * 1_000_000, env={})).status == 0


def test_what_a_process_prints_is_limited() -> None:
    """It may be on another host, and a stranger's."""
    with pytest.raises(UnreachableError, match="prints more than 1,000,000 bytes"):
        run(Command(("/bin/cat", "/dev/zero"), env={}, most_bytes=1_000_000))


def test_what_is_handed_on_piece_by_piece_may_be_as_long_as_it_likes() -> None:
    """The difference of a repository can be larger than memory; what is kept of a process is limited, this is not."""
    length = 0

    def count(piece: bytes) -> None:
        nonlocal length
        length += len(piece)

    program = "import sys; sys.stderr.write('said'); [sys.stdout.write('x' * 100_000) for _ in range(50)]; sys.exit(2)"
    done = run(Command((sys.executable, "-I", "-c", program), most_bytes=1000), count)

    assert (length, done.stdout, done.stderr, done.status) == (5_000_000, b"", b"said", 2)


def test_a_listener_that_fails_ends_the_process(tmp_path: Path) -> None:
    def fail(piece: bytes) -> None:
        raise ZeroDivisionError

    program = (
        f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); print(1); time.sleep(600)"
    )
    with pytest.raises(ZeroDivisionError):
        run(Command((sys.executable, "-I", "-u", "-c", program)), fail)

    assert not (Path("/proc") / (tmp_path / "pid").read_text()).exists()
