"""Several targets on one page."""

from __future__ import annotations

import pytest

from envparity.diff import between
from envparity.report import matrix
from envparity.report.text import Style, cells
from envparity.values import Distribution, Environment, Origin

DEV = {"scikit-learn": "1.4.2", "numpy": "1.26.4", "tqdm": "4.66.1"}


def environment(versions: dict[str, str]) -> Environment:
    items = tuple(Distribution(name=name, version=version) for name, version in versions.items())
    return Environment(origin=Origin(kind="venv", reference="x"), distributions=items)


def reports(*targets: tuple[str, dict[str, str]]):
    return [between(environment(DEV), environment(DEV | other), labels=("dev", name)) for name, other in targets]


SAME, OLD, NEW = ("same", {}), ("old", {"numpy": "1.24.4"}), ("new", {"scikit-learn": "1.5.2", "tqdm": "5.0"})


def test_a_row_is_a_finding_a_column_a_target_and_the_worst_row_comes_first() -> None:
    lines = matrix.text(reports(SAME, OLD, NEW)).splitlines()

    start = next(number for number, line in enumerate(lines) if line.split() == ["same", "old", "new"])
    assert lines[start + 1].split() == ["verdict", "OK", "OK", "DIFFERENT"]
    assert lines[start + 2].split() == ["scikit-learn", "·", "·", "HIGH", "1.5.2"]
    assert lines[start + 3].split()[:3] == ["numpy", "·", "med"]


def test_why_and_what_to_do_stand_once_below_the_table_and_each_target_has_its_exit_status() -> None:
    told = matrix.text(reports(SAME, NEW, ("newer", NEW[1])))

    assert told.count("sklearn-tfidf-idf-lost") == 1
    assert told.count("Exit status 0") == 1
    assert told.count("Exit status 1") == 2


@pytest.mark.parametrize("count", [2, 3, 5, 12])
@pytest.mark.parametrize("ascii", [True, False])
def test_it_fits_80_columns_however_many_targets_there_are(count: int, ascii: bool) -> None:
    named = [(f"registry:registry.example.com/team/model-{number}:latest", NEW[1]) for number in range(count)]
    told = matrix.text(reports(*named), Style(ascii=ascii), verbose=True)

    assert max(map(cells, told.splitlines())) <= 80
    assert told.isascii() or not ascii
    assert f"model-{count - 1}" in told


def test_a_hostile_name_cannot_command_the_terminal() -> None:
    told = matrix.text(reports(("a\x1b[2Jb", {"numpy": "2\x1b]0;x\x07"}), SAME))

    assert "\x1b" not in told
