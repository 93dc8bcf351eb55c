"""What is forked says, writes and ends as what is started; else the other tests would be about something else."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import forked
from tests.commands import started

CASES: dict[str, tuple[tuple[str, ...], str, dict[str, str]]] = {
    "a finding": (("diff", "one.txt", "two.txt"), "", {"COLUMNS": "70", "NO_COLOR": "1"}),
    "a usage error": (("diff", "größe.txt"), "", {}),
    "a default of a variable": (("diff", "one.txt", "two.txt"), "", {"ENVPARITY_DIFF_FORMAT": "json"}),
    "standard input": (("diff", "requirements:-", "two.txt"), "joblib==1.4.2\n", {}),
    "a file": (("diff", "one.txt", "two.txt", "--format", "html", "-o", "report.html"), "", {}),
    "help": (("--help",), "", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_forked_is_what_is_started(case: str, tmp_path: Path) -> None:
    arguments, stdin, variables = CASES[case]
    told = []
    for run in (forked.run, started):
        folder = tmp_path / run.__name__
        folder.mkdir()
        (folder / "one.txt").write_text("joblib==1.4.2\nsix==1.16.0\n")
        (folder / "two.txt").write_text("joblib==1.3.0\n")
        before = os.umask(0o027)
        try:
            done = run(arguments, cwd=folder, stdin=stdin, environ={**os.environ, **variables})
        finally:
            os.umask(before)
        assert done is not None
        files = {path.name: (path.read_bytes(), path.stat().st_mode) for path in folder.iterdir()}
        told.append((done.returncode, done.stdout, done.stderr, files))

    assert told[0] == told[1]
    assert told[0][1] or told[0][2] or len(told[0][3]) > 2


def test_many_at_once_get_their_own_answers(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.txt").write_text(f"joblib==1.{number}.0\n")

    with ThreadPoolExecutor(8) as pool:
        asked = pool.map(
            lambda n: forked.run(["show", f"{n}.txt"], cwd=tmp_path, stdin="", environ=os.environ), range(8)
        )
        answers = [done.stdout for done in asked if done is not None]

    assert [f"1.{number}.0" in answer for number, answer in enumerate(answers)] == [True] * 8


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "LC_ALL", "TZ", "LD_PRELOAD"])
def test_what_counts_at_the_start_of_a_process_has_one_started(name: str, tmp_path: Path) -> None:
    assert forked.run(["--version"], cwd=tmp_path, stdin="", environ={**os.environ, name: "C"}) is None
