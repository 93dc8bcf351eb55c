"""Odd places to run in: closed or full streams, a reader that leaves, no home, no folder, poor terminals."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import World
from tests.commands import envparity

ENVPARITY = f"{shlex.quote(sys.executable)} -m envparity"


def shell(script: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A line as somebody types it; `$envparity` is the command."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script.replace("$envparity", ENVPARITY)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **variables},
    )


def test_a_reader_that_leaves_is_no_error(world: World, tmp_path: Path) -> None:
    """More than a pipe holds, so that the writer meets the end of its reader."""
    document = json.loads(world.snapshot.read_text())
    del document["content_digest"]
    document["os_packages"] = [
        {"name": f"lib{number}", "version": "1.0", "architecture": "amd64"} for number in range(5000)
    ]
    (tmp_path / "large.env.json").write_text(json.dumps(document))

    for command in ("show large.env.json --format json", "snapshot large.env.json -q", "--help"):
        done = shell(f"$envparity {command} | head -1", tmp_path)

        assert done.returncode in {0, 128 + 13}
        assert done.stderr == ""
        assert len(done.stdout.splitlines()) == 1


def test_what_cannot_be_printed_is_said_and_not_passed_for_printed(world: World, tmp_path: Path) -> None:
    for target, says in ((">/dev/full", "No space left"), (">&-", "Bad file descriptor")):
        for command in (f"show {world.snapshot}", f"diff {world.snapshot} {world.snapshot}", "--help"):
            done = shell(f"$envparity {command} {target}", tmp_path)

            assert done.returncode == 3
            assert done.stderr.startswith("error: cannot ")
            assert says in done.stderr
            assert "Traceback" not in done.stderr
            assert "Exception ignored" not in done.stderr


def test_closed_streams_change_nothing_for_who_does_not_need_them(world: World, tmp_path: Path) -> None:
    """A file that were opened under the number of a closed stream would get the messages into it."""
    done = shell(f"$envparity snapshot {world.snapshot} -o out.env.json <&- >&- 2>&-", tmp_path)

    assert done.returncode == 0
    assert json.loads((tmp_path / "out.env.json").read_text()) == json.loads(world.snapshot.read_text())


def test_the_exit_status_tells_where_no_message_can(tmp_path: Path) -> None:
    assert shell("$envparity show absent 2>/dev/full", tmp_path).returncode == 2
    assert shell("$envparity show absent 2>&-", tmp_path).returncode == 2
    assert shell("$envparity show - <&-", tmp_path).returncode == 2


def test_a_working_directory_that_was_removed_matters_only_to_relative_names(world: World, tmp_path: Path) -> None:
    def there(command: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "gone").mkdir()
        return shell(f"cd gone && rmdir ../gone && $envparity {command}", tmp_path)

    assert there(f"diff {world.snapshot} {world.snapshot}").returncode == 0
    assert there(f"snapshot {world.snapshot} -q -o {tmp_path}/out.env.json").returncode == 0
    for command in (f"snapshot {world.snapshot} -q -o out.env.json", "show requirements.txt"):
        done = there(command)

        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert done.stderr.count("error: ") == done.stderr.count("hint: ") == 1


def test_nobody_needs_a_home(world: World, tmp_path: Path) -> None:
    variables = "env -u HOME -u XDG_CACHE_HOME -u USER -u LOGNAME"

    done = shell(f"{variables} $envparity snapshot venv:{world.venv} -q", tmp_path)

    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "variables",
    [
        {"LANG": "C", "LC_ALL": "C"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii", "COLUMNS": "0", "TERM": "dumb"},
    ],
    ids=["C", "ascii", "dumb"],
)
def test_a_poor_terminal_gets_plain_ascii(variables: dict[str, str], drift: tuple[Path, Path]) -> None:
    done = envparity("diff", *drift, status=1, **variables)

    if variables.get("LC_ALL") != "C":  # where Python may, it makes UTF-8 of the C locale (PEP 538)
        assert done.stdout.isascii()
    assert "\033" not in done.stdout
    assert max(map(len, done.stdout.splitlines()[1:])) <= 80  # the first line names the two sides, whole
    assert envparity("--help", **variables).stdout.startswith("Usage: envparity")


def on_a_terminal(*arguments: str | Path, cwd: Path, **variables: str) -> str:
    """What a command prints where standard output is a terminal of 80 columns."""
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "envparity", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=secondary,
        stderr=subprocess.DEVNULL,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "80", "TERM": "xterm", **variables},
    )
    os.close(secondary)
    parts = []
    while True:
        try:
            part = os.read(primary, 1 << 16)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        parts.append(part)
    process.wait(30)
    os.close(primary)
    return b"".join(parts).decode()


def test_colour_is_for_terminals_that_want_it(drift: tuple[Path, Path], tmp_path: Path) -> None:
    arguments = ("diff", *drift)

    colour = on_a_terminal(*arguments, cwd=tmp_path)
    plain = on_a_terminal(*arguments, cwd=tmp_path, NO_COLOR="1")

    assert "\033[" in colour
    assert "\033[" not in plain
    assert "\033[" not in on_a_terminal(*arguments, cwd=tmp_path, TERM="dumb")
    assert re.sub(r"\033\[[0-9;]*m", "", colour) == plain
    assert max(len(line) for line in plain.splitlines() if str(tmp_path) not in line) <= 80


def test_what_a_hostile_file_holds_is_never_sent_to_the_terminal(world: World, tmp_path: Path) -> None:
    """A title bar rewritten, a line overwritten: a report must not be able to say what its data wants it to say."""
    evil = "\033]0;owned\007\033[2K\rVERIFIED\u202e"
    document = json.loads(world.snapshot.read_text())
    del document["content_digest"]
    document["distributions"][0] |= {"name": f"demo{evil}", "version": f"1.0{evil}"}
    document[evil] = 1
    (tmp_path / "evil.env.json").write_text(json.dumps(document))

    for arguments in (("show", "evil.env.json", "-v"), ("diff", world.snapshot, "evil.env.json"), ("show", f"x{evil}")):
        done = envparity(*arguments, status=None, cwd=tmp_path)

        for character in "\033\007\r\u202e":
            assert character not in done.stdout + done.stderr
