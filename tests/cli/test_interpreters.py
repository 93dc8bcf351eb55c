"""Interpreters that are gone, are none, hang or lie: each is named, and none is ever taken for an environment."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from envparity import sources
from envparity.errors import TimeLimitError
from tests.cli.conftest import World
from tests.commands import refused


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_venv_whose_base_python_is_gone_says_which_it_was(world: World, tmp_path: Path) -> None:
    venv = world.copy(world.venv, tmp_path)
    base = tmp_path / "base-python"
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(base)

    for reference in (f"venv:{venv}", str(venv)):
        assert str(base) in refused("snapshot", reference, status=3, says="is gone").stderr
    refused("snapshot", f"python:{venv}/bin/python", status=3, says="is gone")


def test_a_venv_without_its_python_is_not_read_with_another(world: World, tmp_path: Path) -> None:
    venv = world.copy(world.venv, tmp_path)
    shutil.rmtree(venv / "bin")

    refused("snapshot", f"venv:{venv}", status=3, says="is gone")


def test_the_active_environment_that_is_gone_is_not_replaced_by_another(tmp_path: Path) -> None:
    done = refused("snapshot", status=2, says="no virtual environment", VIRTUAL_ENV=str(tmp_path / "gone"))

    assert "VIRTUAL_ENV" in done.stderr


def test_a_folder_that_is_no_venv_says_what_it_lacks(tmp_path: Path) -> None:
    refused("snapshot", f"venv:{tmp_path}", status=2, says="pyvenv.cfg")
    refused("snapshot", f"venv:{tmp_path}/absent", status=2, says="no virtual environment")


@pytest.mark.parametrize(
    ("text", "status", "says"),
    [
        ("exit 0", 4, "gave no answer"),
        ("echo hello; cat >/dev/null", 4, "did not answer as the probe does"),
        ("cat", 4, "did not answer as the probe does"),
        ("head -c 3000000 /dev/zero", 4, "did not answer as the probe does"),
        ("echo no such option >&2; exit 2", 3, "no such option"),
        ("printf '\\033[31mred\\n' >&2; exit 1", 3, "status 1"),
        ("kill -9 $$", 3, "signal 9"),
    ],
    ids=["silent", "chatty", "echo", "zeros", "refuses", "escapes", "killed"],
)
def test_a_program_that_is_no_python_is_never_an_environment(text: str, status: int, says: str, tmp_path: Path) -> None:
    done = refused("snapshot", f"python:{program(tmp_path / 'python3', text)}", status=status, says=says)

    assert "\033" not in done.stderr


def test_an_answer_of_another_run_is_not_accepted(tmp_path: Path) -> None:
    """Whoever knows how an answer looks could send one; the nonce of this run is what it cannot know."""
    spoken = tmp_path / "spoken"
    real = program(tmp_path / "real", f'exec {sys.executable} "$@" | tee {spoken}')
    assert sources.read(f"python:{real}").distributions is not None

    forged = program(tmp_path / "forged", f"cat >/dev/null; cat {spoken}")

    refused("snapshot", f"python:{forged}", status=4, says="did not answer as the probe does")


def test_a_program_that_hangs_is_ended_at_its_limit(tmp_path: Path) -> None:
    with pytest.raises(TimeLimitError, match=r"0\.2 s"):
        sources.read(f"python:{program(tmp_path / 'python3', 'sleep 60')}", options=sources.Options(timeout_s=0.2))


def test_what_may_not_be_executed_or_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "python3").write_text("")

    refused("snapshot", f"python:{tmp_path}/python3", status=3, says="may not be executed")
    refused("snapshot", f"python:{tmp_path}", status=2, says="is a folder")
    refused("snapshot", "python:no-such-python", status=2, says="on PATH")


def test_a_time_limit_names_the_option_that_raises_it(tmp_path: Path) -> None:
    slow = program(tmp_path / "python", "exec sleep 600")

    told = refused("snapshot", f"python:{slow}", "--timeout", "1", status=3, says="within 1 s")

    assert "--timeout" in told.stderr
