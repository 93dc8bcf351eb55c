"""
Reading runs nothing and writes nothing: what the system calls of each reading command say.

A control shows that the same trap springs where its code is really run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import World
from tests.tools import needs_tool

CALL = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
CHANGES = (
    *("creat", "mkdir", "mkdirat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir"),
    *("link", "linkat", "symlink", "symlinkat", "chmod", "fchmodat", "truncate"),
)
NOWHERE = ("/dev/null", "/dev/tty", "/proc/self/", "/dev/shm/")


@dataclass(frozen=True)
class Calls:
    """The programs that were started, and the paths that were written to or changed, by a command and its children."""

    started: tuple[str, ...]
    changed: tuple[str, ...]


def traced(folder: Path, *arguments: str | Path, cwd: Path) -> Calls:
    """What a command does, by strace; it must end with 0 or with findings."""
    log = folder / "strace.log"
    wanted = ",".join(("execve", "execveat", "open", "openat", *CHANGES))
    # Old machines do not know all of the names; `?` makes strace pass over those.
    command = [
        needs_tool("strace"),
        "-f",
        "-qq",
        "-s",
        "4096",
        "-e",
        "trace=" + wanted.replace(",", ",?"),
        "-o",
        str(log),
    ]
    variables = {"PYTHONDONTWRITEBYTECODE": "1", "ENVPARITY_CACHE_DIR": str(folder / "cache"), "TMPDIR": str(folder)}
    done = subprocess.run(
        [*command, sys.executable, "-m", "envparity", *map(str, arguments)],
        cwd=cwd,
        # A run that counts lines writes what it counted; that is not what is asked here.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    started, changed = [], []
    for line in log.read_text(errors="replace").splitlines():
        call = CALL.match(line)
        if call is None or int(call["result"]) < 0:
            continue
        paths = PATH.findall(call["arguments"])
        if call["name"].startswith("execve"):
            started.append(paths[0])
        elif call["name"] in CHANGES or re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", call["arguments"]):
            changed += [path for path in paths[:1] if not path.startswith(NOWHERE)]
    return Calls(tuple(started), tuple(changed))


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory, world: World) -> Path:
    """A folder with sources of many kinds, in each of which something would touch `sprung` if it were run."""
    folder = tmp_path_factory.mktemp("trap")
    touch = f"open({str(folder / 'sprung')!r}, 'w')"
    (folder / "model.pkl").write_bytes(f"cbuiltins\nexec\n(V{touch}\ntR.".encode())
    (folder / "setup.py").write_text(touch)
    (folder / "requirements.txt").write_text("demo==1.0\n-e .\n")
    (folder / "environment.yml").write_text(
        f"dependencies:\n- demo=1.0\n- pip: [!!python/object/apply:exec ['{touch}']]\n"
    )
    (folder / "conda.yml").write_text("dependencies:\n- demo=1.0\n")
    (folder / "Dockerfile").write_text(f'FROM debian\nRUN python3 -c "{touch}" && pip install demo==1.0\n')
    return folder


def test_the_trap_springs_where_it_is_run(trap: Path) -> None:
    """Without this, a trap that cannot spring would prove anything."""
    subprocess.run([sys.executable, "-c", "import pickle; pickle.load(open('model.pkl', 'rb'))"], check=True, cwd=trap)

    assert (trap / "sprung").exists()
    (trap / "sprung").unlink()


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "requirements.txt"),
        ("show", "conda.yml"),
        ("show", "Dockerfile"),
        ("show", "{snapshot}"),
        ("show", "{lock}"),
        ("show", "oci:{image}", "--allow-incomplete"),
        ("show", "docker-archive:{archive}", "--allow-incomplete"),
        ("diff", "{snapshot}", "requirements.txt"),
    ],
    ids=" ".join,
)
def test_what_is_only_read_starts_no_program_and_changes_no_file(
    trap: Path, world: World, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    places = {name: getattr(world, name) for name in ("snapshot", "lock", "image", "archive")}

    calls = traced(tmp_path, *(text.format(**places) for text in arguments), cwd=trap)

    assert set(calls.started) == {sys.executable}
    assert [path for path in calls.changed if not path.startswith(str(tmp_path))] == []
    assert not (trap / "sprung").exists()


def test_a_snapshot_starts_the_named_interpreter_alone_and_writes_its_file_alone(
    trap: Path, world: World, tmp_path: Path
) -> None:
    out = tmp_path / "out.env.json"

    calls = traced(tmp_path, "snapshot", f"venv:{world.venv}", "--model", trap / "model.pkl", "-o", out, cwd=tmp_path)

    others = set(calls.started) - {sys.executable, str(world.venv / "bin" / "python")}
    assert {Path(program).name for program in others} <= {"git"}, "and git, which says what the code is"
    assert [path for path in calls.changed if not path.startswith(str(tmp_path))] == []
    assert out.exists()
    assert not (trap / "sprung").exists()


def test_a_hostile_file_is_refused_and_runs_nothing(trap: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "envparity", "show", "environment.yml"],
        cwd=trap,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 4
    assert not (trap / "sprung").exists()
