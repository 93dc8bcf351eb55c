"""Ctrl-C, a stop by the system, a reader that leaves: the right status, no traceback, nothing half, no process left."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.cli.conftest import World, write_lock
from tests.serving import plain, serving
from tests.wheels import JSON

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def _signals_end_what_is_started() -> Iterator[None]:
    """The suite itself may run under `nohup`, or behind an `&` of a script, whose children ignore signals."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextmanager
def started(*arguments: str | Path, cwd: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "envparity", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, **variables},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    """Send a signal, and see how it ends; half a minute is the time limit of one question to the network."""
    process.send_signal(number)
    _, stderr = process.communicate(timeout=15)
    return process.returncode, stderr


class Stalled:
    """An answer that begins and does not end. `reached` tells that it began; `release` lets the server go."""

    def __init__(self, body: bytes = b"", size: int = 0) -> None:
        self.reached = threading.Event()
        self.release = threading.Event()
        self._body, self._size = body, size

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        if self._size:
            request.send_response(200)
            request.send_header("content-length", str(self._size))
            request.end_headers()
            request.wfile.write(self._body)
        self.reached.set()
        self.release.wait(30)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("number", SIGNALS)
def test_a_snapshot_that_is_stopped_ends_the_interpreter_that_it_started(
    number: signal.Signals, tmp_path: Path, temporary: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    sleeper = tmp_path / "python3"
    sleeper.write_text(f"#!/bin/sh\necho $$ > {fifo}\nexec sleep 60\n")
    sleeper.chmod(0o755)
    (tmp_path / "out.env.json").write_text("the earlier one")
    before = files(tmp_path)

    arguments = ("snapshot", f"python:{sleeper}", "-o", "out.env.json")
    with started(*arguments, cwd=tmp_path, TMPDIR=str(temporary)) as process:
        child = int(fifo.read_text())
        status, stderr = ended(process, number)

    assert status == 128 + number
    assert "Traceback" not in stderr
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert files(tmp_path) == before
    assert (tmp_path / "out.env.json").read_text() == "the earlier one"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_lock_that_waits_for_an_index_stops_at_once(
    number: signal.Signals, world: World, tmp_path: Path, temporary: Path
) -> None:
    index = Stalled()
    before = files(tmp_path)
    with serving({"/simple/demo/": [index]}) as served:
        arguments = ("lock", demo_only(world, tmp_path), "--prove", "--index", f"{served.url}/simple/")
        before = files(tmp_path)
        with started(*arguments, cwd=tmp_path, TMPDIR=str(temporary)) as process:
            assert index.reached.wait(30)
            status, stderr = ended(process, number)
        index.release.set()

    assert status == 128 + number
    assert "Traceback" not in stderr
    assert files(tmp_path) == before
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", SIGNALS)
def test_a_build_in_the_middle_of_a_download_leaves_nothing(
    number: signal.Signals, world: World, tmp_path: Path, temporary: Path
) -> None:
    data = world.wheel.read_bytes()
    wheel = Stalled(data[: len(data) // 2], len(data))
    cache = tmp_path / "cache"
    with serving({f"/{world.wheel.name}": [wheel]}) as served:
        write_lock(tmp_path / "pylock.toml", world.wheel, f"{served.url}/")
        before = files(tmp_path)
        arguments = ("build", "pylock.toml", "--output", "oci:image")
        variables = {"TMPDIR": str(temporary), "ENVPARITY_CACHE_DIR": str(cache)}
        with started(*arguments, cwd=tmp_path, **variables) as process:
            assert wheel.reached.wait(30)
            status, stderr = ended(process, number)
        wheel.release.set()

    assert status == 128 + number
    assert "Traceback" not in stderr
    assert files(tmp_path) - before <= {"cache/CACHEDIR.TAG", "cache/gate.lock", "cache/pruned"}
    assert list(temporary.iterdir()) == []


def test_a_lock_in_the_middle_of_a_wheel_leaves_nothing(world: World, tmp_path: Path, temporary: Path) -> None:
    data = world.wheel.read_bytes()
    file = {
        "filename": world.wheel.name,
        "url": "/demo.whl",
        "hashes": {"sha256": hashlib.sha256(data).hexdigest()},
        "size": len(data),
    }
    page = json.dumps({"meta": {"api-version": "1.1"}, "name": "demo", "files": [file]}).encode()
    wheel = Stalled(data[:100], len(data))
    with serving({"/simple/demo/": [plain(page, content_type=JSON)], "/demo.whl": [wheel]}) as served:
        arguments = ("lock", demo_only(world, tmp_path), "--prove", "--index", f"{served.url}/simple/")
        before = files(tmp_path)
        variables = {"TMPDIR": str(temporary), "ENVPARITY_CACHE_DIR": str(tmp_path / "cache")}
        with started(*arguments, cwd=tmp_path, **variables) as process:
            assert wheel.reached.wait(30)
            status, stderr = ended(process, signal.SIGINT)
        wheel.release.set()

    assert (status, "Traceback" in stderr) == (130, False)
    left = {name for name in files(tmp_path) - before if not name.startswith(("cache/blobs/", "cache/notes/"))}
    assert left <= {"cache/CACHEDIR.TAG", "cache/gate.lock", "cache/pruned"}, "an index page that came whole may stay"
    assert list(temporary.iterdir()) == []


def test_a_terminal_that_goes_away_ends_it_and_nohup_does_not(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    sleeper = tmp_path / "python3"
    sleeper.write_text(f"#!/bin/sh\n[ $1 = -V ] && exit 1\necho $$ > {fifo}\nread line < {fifo}\nexit 7\n")
    sleeper.chmod(0o755)

    with started("snapshot", f"python:{sleeper}", cwd=tmp_path) as process:
        fifo.read_text()
        assert ended(process, signal.SIGHUP)[0] == 128 + signal.SIGHUP

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what `nohup` leaves to the program that it starts
    with started("snapshot", f"python:{sleeper}", cwd=tmp_path) as process:
        fifo.read_text()
        process.send_signal(signal.SIGHUP)
        fifo.write_text("go on\n")
        process.communicate(timeout=30)
        assert process.returncode == 3


def demo_only(world: World, folder: Path) -> Path:
    document = json.loads(world.snapshot.read_text())
    document["distributions"] = [item for item in document["distributions"] if item["name"] == "demo"]
    document["gaps"] = [item for item in document["gaps"] if item["kind"] != "unread"]
    del document["content_digest"]
    place = folder / "demo.env.json"
    place.write_text(json.dumps(document))
    return place
