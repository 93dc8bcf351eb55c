"""The lab on a library of a few lines: what a worker does, what the driver makes of it, and what is written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.cite import cite
from tests.lab.page import render
from tests.lab.run import Lab, Library, cell, show, without_place
from tests.lab.written import Cell, Measured, cells, digest_of, write

WORKER = Path(__file__).with_name("worker.py")
CASES = """
import os

def gone():
    raise ImportError("no such class")

def broken(model):
    raise ValueError("two\\nlines")

CASES = {
    "sum": (None, {"value": lambda _: 3, "text": lambda _: ["a", 1.5]}),
    "list": (lambda: [1, 2], {"length": lambda model: len(model), "broken": broken}),
    "crash": (lambda: [1], {"value": lambda model: os._exit(9)}),
    "absent": (gone, {}),
    "last": (lambda: {"a": 1}, {"value": lambda model: model["a"]}),
}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab whose only environment is this Python."""
    path = tmp_path / "few.py"
    path.write_text(CASES, encoding="utf-8")
    library = Library("few", path, "3.11", ("1.0", "2.0"), {}, "2026-11-20", "few")
    made = Lab(library, tmp_path / "work", "uv")
    for release in library.releases:
        made.frozen[release], made.pythons[release] = {"few": release}, "3.11"
        made.python(release).parent.mkdir(parents=True)
        made.python(release).symlink_to(sys.executable)
    return made


def test_a_case_that_takes_the_process_down_is_blamed_and_the_rest_goes_on(lab: Lab) -> None:
    made = lab.made("1.0")

    assert made["crash"]["broken"] == "the process ended with 9"
    assert made["absent"]["absent"] == "ImportError: no such class"
    assert made["list"]["failures"] == {"broken": "ValueError: two"}
    assert set(made) == {"sum", "list", "crash", "absent", "last"}


def test_a_library_that_fails_when_the_process_ends_has_answered_all_the_same(lab: Lab) -> None:
    ending = CASES.replace("import os\n", "import atexit, os\natexit.register(lambda: os._exit(3))\n")
    lab.library.cases.write_text(ending.replace('"crash": (lambda: [1]', '"calm": (lambda: [1]'), encoding="utf-8")
    lab.listed = lambda: dict.fromkeys(("list", "last"), True)  # type: ignore[method-assign]

    assert set(lab.made("1.0")) == {"list", "last"}


def test_what_was_made_is_loaded_by_another_release_and_not_what_was_not(lab: Lab) -> None:
    lab.made("1.0")

    loaded = lab.loaded("1.0", "2.0")

    assert set(loaded) == {"list", "last"}
    assert loaded["last"]["outputs"] == lab.made("1.0")["last"]["outputs"]


def test_what_was_measured_is_kept_until_something_that_it_depends_on_changes(lab: Lab) -> None:
    lab.made("1.0")
    mark = lab.folder / "made" / "1.0" / "mark"
    mark.touch()
    lab.made("1.0")
    assert mark.exists()

    lab.library.cases.write_text(CASES + "\n# a remark changes nothing\n", encoding="utf-8")
    lab.made("1.0")
    assert mark.exists()

    lab.frozen["1.0"] = {"few": "1.0", "beside": "3"}
    lab.made("1.0")
    assert not mark.exists()


def test_a_computation_is_held_to_itself_in_another_process(lab: Lab) -> None:
    made, again = {"1.0": lab.made("1.0")}, {"1.0": lab.again("1.0")}

    outcome, _ = cell("sum", False, made, again, {}, "1.0", "1.0")

    assert (set(again["1.0"]), outcome.word) == ({"sum"}, "identical")


def test_a_worker_that_cannot_begin_ends_the_run_with_its_own_words(lab: Lab) -> None:
    lab.listed = lambda: {"sum": False}  # type: ignore[method-assign]
    lab.library.cases.write_text("import no_such_library\n", encoding="utf-8")

    with pytest.raises(SystemExit, match="no_such_library"):
        lab.made("1.0")


def test_a_cell_is_shown_with_the_way_in_which_it_fails(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.environment = lambda release: None  # type: ignore[method-assign]

    show(lab, "1.0", "2.0", "list")

    said = capsys.readouterr().out
    assert said.startswith("few/list/1.0->2.0: identical\n")
    assert "ValueError: two" in said


def test_a_case_that_nobody_wrote_is_refused_with_those_that_are_there(lab: Lab) -> None:
    lab.environment = lambda release: None  # type: ignore[method-assign]

    with pytest.raises(SystemExit, match="few has no case `tree`; there are absent, crash, last, list, sum"):
        show(lab, "1.0", "2.0", "tree")


@pytest.mark.parametrize(
    ("note", "told"),
    [
        ("[04:38:22] ValueError: <few.A object at 0x7f00deadbeef>", "ValueError: <few.A object at 0x…>"),
        ("no 'x' on <module 'few' from '/home/me/site-packages/few/a.py'>", "no 'x' on <module 'few'>"),
        ("a: no 'x' on <module 'few' from '/home/me/si; b: no 'y'", "a: no 'x' on <module 'few'>; b: no 'y'"),
        ("../src/objective.cc:26: /workspace/src/a.cc:1: unknown", "../src/objective.cc:26: a.cc:1: unknown"),
        ("1/2 of predict/proba", "1/2 of predict/proba"),
    ],
)
def test_a_note_names_nothing_of_the_machine(note: str, told: str) -> None:
    assert without_place(note) == told


FOUND = {
    ("Tree", "1.0", "2.0"): Cell("silent change", "predict: 3 of 9 differ", "UserWarning"),
    ("Tree", "2.0", "1.0"): Cell("fails at load", "ImportError: </script>"),
}


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A folder with what was measured of two releases."""
    environments = {release: {"python": "3.11", "distributions": {"few": release}} for release in ("1.0", "2.0")}
    classes = {"Tree": {"few:Tree": ["1.0", "2.0"], "few:Old": ["1.0"]}}
    found = Measured("few", "few", environments, {"Tree": True}, classes, FOUND, {})
    machine = {"processor": "one", "system": "Linux", "libc": "glibc", "threads": "1"}
    write(found, tmp_path / "lab", machine, "2026-11-26", "2026-11-20")
    return tmp_path / "lab"


def test_what_is_written_is_read_again(measured: Path) -> None:
    data = json.loads((measured / "few.json").read_text(encoding="utf-8"))

    assert cells(data) == FOUND
    assert data["cases"]["Tree"]["classes"] == {"few:Tree": "*", "few:Old": ["1.0"]}
    assert data["totals"] == {"fails at load": 1, "silent change": 1}
    assert digest_of(data, "Tree") == data["cases"]["Tree"]["digest"]


def test_the_page_cannot_be_ended_by_what_a_library_said(measured: Path) -> None:
    render(measured)

    page = (measured / "index.html").read_text(encoding="utf-8")
    assert page.count("</script>") == 2
    assert "\\u003c/script>" in page
    assert "| [few](few.json) | 1.0, 2.0 | 1 | 0 | 0 | 1 | 1 | 0 |" in (measured / "README.md").read_text(
        encoding="utf-8"
    )


def test_a_rule_is_given_the_digest_of_today(measured: Path, tmp_path: Path) -> None:
    rule = tmp_path / "few.yaml"
    rule.write_text('cell: "few/Tree/1.0->2.0", digest: "0123456789abcdef"}\n', encoding="utf-8")

    assert cite(measured, tmp_path) == ["few/Tree/1.0->2.0"]
    assert cite(measured, tmp_path) == []
    data = json.loads((measured / "few.json").read_text(encoding="utf-8"))
    assert f'digest: "{digest_of(data, "Tree")[:16]}"' in rule.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["no-such-library", "--uv", "uv"], "no library `no-such-library`"),
        (["numpy", "--uv", "uv", "--before", "1.26.4"], "one cell needs one LIBRARY"),
        (
            ["numpy", "--uv", "uv", "--before", "1.0", "--after", "2.0.2", "--case", "sort"],
            "numpy 1.0 is not measured; there are 1.23.5",
        ),
    ],
)
def test_a_command_that_cannot_be_meant_is_refused(argv: list[str], said: str) -> None:
    command = [sys.executable, str(WORKER.with_name("run.py")), *argv]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert said in done.stderr
