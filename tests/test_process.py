"""Starting a process: its environment is the one that was given, and its end comes at the limit."""

from __future__ import annotations

import gc
import os
import select
import shlex
import sys
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from envparity.errors import TimeLimitError, UnreachableError
from envparity.process import Command, conversing, run, started


def descriptors() -> set[str]:
    """
    What is open here. Of the tests before, what is not closed yet may be closed at any time: compare with `<=`.
    """
    gc.collect()
    return {path.name for path in Path("/proc/self/fd").iterdir()}


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
    program = f"sleep 600 & echo $! > {shlex.quote(str(tmp_path / 'pid'))}; wait"

    with pytest.raises(TimeLimitError, match="within 2 s"):
        run(Command(("/bin/sh", "-c", program), timeout_s=2))

    # A pidfd is readable once its process has ended; what was killed may still be on its way out.
    try:
        child = os.pidfd_open(int((tmp_path / "pid").read_text()))
    except ProcessLookupError:
        return
    try:
        assert select.select([child], [], [], 60)[0], "the child runs on"
    finally:
        os.close(child)


def test_what_never_reads_its_input_leaves_nothing_open() -> None:
    """The streamed probe is larger than a pipe (64 KiB): each interpreter that hangs would cost a descriptor."""
    before = descriptors()

    with pytest.raises(TimeLimitError):
        run(Command(("/bin/sleep", "600"), stdin=b"x" * (1 << 20), timeout_s=0.2))

    assert descriptors() <= before


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


def test_while_it_works_there_is_time_for_something_else_and_a_long_input_is_fed_all_the_same() -> None:
    program = "import sys; data = sys.stdin.buffer.read(); print(len(data))"

    for size in (10, 100_000, 5_000_000):
        with started(Command((sys.executable, "-I", "-c", program), stdin=b"x" * size)) as finish:
            meanwhile = sum(range(1000))
            done = finish()

        assert (done.stdout.strip(), meanwhile) == (str(size).encode(), 499500)


def test_it_does_not_outlive_the_error_of_whoever_started_it(tmp_path: Path) -> None:
    """Ctrl-C while its answer is waited for must leave no interpreter behind."""
    place = tmp_path / "pid"
    program = f"import os, time; open({str(place)!r}, 'w').write(str(os.getpid())); time.sleep(600)"

    def interrupted() -> None:
        with started(Command((sys.executable, "-I", "-c", program))):
            while not place.exists() or not place.read_text():
                time.sleep(0.01)
            raise LookupError

    with pytest.raises(LookupError):
        interrupted()

    assert not (Path("/proc") / place.read_text()).exists()


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


UPPER = """
import sys
while size := int.from_bytes(sys.stdin.buffer.read(4), "little"):
    text = sys.stdin.buffer.read(size)
    if text == b"die":
        sys.exit("it died")
    sys.stdout.buffer.write(text.upper() + b"\\n")
    sys.stdout.buffer.flush()
"""


def question(text: bytes) -> bytes:
    return len(text).to_bytes(4, "little") + text


def test_a_process_is_asked_one_thing_after_the_other_and_ends_with_the_block() -> None:
    before = descriptors()
    with conversing(Command((sys.executable, "-I", "-c", UPPER))) as upper:
        large = b"a" * (1 << 20)
        answers = [upper.ask(question(text), lambda stream: stream.readline()) for text in (b"one", large, b"two")]
        pid = upper.pid

    assert answers == [b"ONE\n", large.upper() + b"\n", b"TWO\n"]
    assert not Path(f"/proc/{pid}").exists()
    assert descriptors() <= before


def test_of_a_process_that_died_there_is_no_more_answer_and_its_last_words() -> None:
    with conversing(Command((sys.executable, "-I", "-c", UPPER))) as upper:
        assert [upper.ask(question(b"die"), lambda stream: stream.read(1)) for _ in range(3)] == [b""] * 3
        assert upper.last_words() == "it died"


def test_a_process_that_does_not_answer_is_ended_at_the_limit() -> None:
    """One that hangs would hang a build for ever."""

    def whole(stream: BinaryIO) -> bytes:
        answer = stream.readline()
        if not answer:
            raise ValueError("no answer")
        return answer

    program = "import sys, time; sys.stdin.readline(); time.sleep(600)"
    with (
        conversing(Command((sys.executable, "-I", "-c", program), timeout_s=0.3)) as silent,
        pytest.raises(TimeLimitError, match=r"did not answer within 0\.3 s"),
    ):
        silent.ask(b"?\n", whole)


def test_what_cannot_be_started_to_be_asked_is_named() -> None:
    with pytest.raises(UnreachableError, match="cannot start `/nowhere`"), conversing(Command(("/nowhere",))):
        pass
