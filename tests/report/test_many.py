"""Many environments against one target, in short."""

from __future__ import annotations

import json
from pathlib import Path

from envparity.codec import dump_environment
from envparity.diff import between, many
from envparity.report import many as report
from envparity.report.text import cells
from envparity.values import Distribution, Environment, Origin, Severity


def environment(version: str) -> Environment:
    items = (Distribution(name="scikit-learn", version=version),)
    return Environment(origin=Origin(kind="venv", reference="x"), distributions=items)


def saved(folder: Path, **versions: str) -> list[str]:
    for name, version in versions.items():
        (folder / f"{name}.env.json").write_bytes(dump_environment(environment(version)))
    return [str(folder / f"{name}.env.json") for name in versions]


TARGET = environment("1.5.2")


def test_each_stands_as_it_would_alone_and_the_worst_first(tmp_path: Path) -> None:
    paths = saved(tmp_path, a="1.5.2", b="1.4.2", c="1.5.1")
    standings = many(paths, TARGET, "prod")

    assert [Path(one.label).name[0] for one in standings] == ["b", "c", "a"]
    for standing, version in zip(standings, ("1.4.2", "1.5.1", "1.5.2"), strict=True):
        alone = between(environment(version), TARGET, labels=(standing.label, "prod"))
        assert standing.status == alone.status
        assert standing.worst == (alone.findings[0] if alone.findings else None)


def test_a_hundred_are_compared_by_two_processes_with_the_same_answers(tmp_path: Path) -> None:
    versions = {f"m{number:03}": ("1.5.2", "1.4.2", "1.3.2")[number % 3] for number in range(100)}
    standings = many(saved(tmp_path, **versions), TARGET, "prod")

    assert len(standings) == 100
    assert {(Path(one.label).name, one.status) for one in standings} == {
        (f"{name}.env.json", int(version != "1.5.2")) for name, version in versions.items()
    }


def test_one_that_cannot_be_read_is_named_and_the_others_are_compared(tmp_path: Path) -> None:
    paths = saved(tmp_path, a="1.5.2", b="1.5.2")
    Path(paths[1]).write_bytes(Path(paths[1]).read_bytes()[:-20])
    standings = many(paths, TARGET, "prod")

    assert [(Path(one.label).name[0], one.status) for one in standings] == [("b", 4), ("a", 0)]
    told = report.text(standings)
    assert told.startswith("1 of 2 snapshots may be served there\n")
    assert "UNREADABLE" in told
    assert "ends too early" in " ".join(told.split())


def test_it_fits_80_columns_and_a_hostile_name_stays_text(tmp_path: Path) -> None:
    name = "x\x1b[2J" + "y" * 120
    told = report.text(many(saved(tmp_path, **{name: "1.4.2"}), TARGET, "prod"), verbose=True)

    assert max(map(cells, told.splitlines())) <= 80
    assert "\x1b" not in told


def test_for_a_program_each_has_every_key(tmp_path: Path) -> None:
    (told,) = json.loads(report.json(many(saved(tmp_path, a="1.4.2"), TARGET, "prod")))

    assert (told["status"], told["error"], told["worst"]["item"]) == (1, "", "scikit-learn")
    assert list(told["counts"]) == [str(severity) for severity in Severity]
