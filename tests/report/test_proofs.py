"""The states of a lock's distributions, for a person and for a program."""

from __future__ import annotations

import json
import re
import shlex
import subprocess

import pytest

from envparity.report import proofs as report
from envparity.report.text import Style, cells
from envparity.values import STATES, Proof

FOUND = (
    Proof(
        name="joblib",
        version="1.4.2",
        state="modified",
        reason="2 of its files were changed",
        remedy="install",
        command="pip x",
    ),
    Proof(name="gone", version="1.0", state="unmatched", reason="it " + "is gone " * 20, remedy="install one"),
    Proof(
        name="home",
        version="0.1",
        state="local-build",
        reason="editable",
        remedy="build",
        command="pip wheel /home/ada",
    ),
    Proof(name="new", version="6", state="resolved", file="new-6-py3-none-any.whl", reason="a resolver chose it"),
    Proof(name="pin", version="5", state="declared", file="pin-5-py3-none-any.whl", reason="a file pins it"),
    Proof(name="own", version="3", state="repacked", file="own-3-py3-none-any.whl", reason="it was made here"),
    Proof(name="arm", version="4", state="counterpart", file="arm-4-x.whl", reason="the wheel of linux/arm64"),
    Proof(name="six", version="1.16.0", state="matched", file="six-1.16.0-py2.py3-none-any.whl", reason="no RECORD"),
    *(Proof(name=f"proven-{n}", version="2", state="proven", file=f"proven_{n}-2-x.whl") for n in range(40)),
    Proof(name="mover", version="2", state="updated", file="mover-2-x.whl", reason="1 trained; asked for by mover==2"),
    Proof(name="web", version="2", state="added", file="web-2-x.whl", reason="it did not train; asked for by web"),
)


def test_the_counts_come_first_and_the_worst_state_after_them() -> None:
    lines = report.text(FOUND, Style(width=160)).splitlines()

    low = "1 modified, 1 unmatched, 1 local-build, 1 resolved, 1 declared"
    assert lines[0] == f"{low}, 1 repacked, 1 counterpart, 1 matched, 40 proven, 1 updated, 1 added"
    heads = [line.split()[0].lower() for line in lines[1:] if not line.startswith(" ")]
    assert heads == list(STATES)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_place(width: int) -> None:
    text = report.text(FOUND, Style(width=width))

    assert max(cells(line) for line in text.splitlines()) <= width


def test_everything_that_is_refused_has_its_reason_and_what_settles_it() -> None:
    flat = " ".join(report.text(FOUND).split())

    assert "JOBLIB" not in flat
    assert "MODIFIED joblib 1.4.2 2 of its files were changed settle install pip x" in flat
    assert "LOCAL-BUILD home 0.1 editable settle build pip wheel /home/ada" in flat


def test_what_is_proven_takes_no_more_room_than_its_names_unless_all_is_wanted() -> None:
    brief, whole = report.text(FOUND), report.text(FOUND, verbose=True)

    assert "proven-39 2" in brief
    assert "proven_39-2-x.whl" not in brief
    assert "proven_39-2-x.whl" in whole


def test_a_command_can_be_pasted_as_it_stands() -> None:
    """One that is cut by a line break runs half of itself."""
    command = ["printf", "%s,", "it's here", *(f"--option-{number}" for number in range(20)), "demo==1.0"]
    proof = Proof(name="demo", version="1.0", state="modified", command=shlex.join(command))

    lines = report.text((proof,)).splitlines()[2:]
    done = subprocess.run(["sh", "-c", "\n".join(lines)], capture_output=True, check=True, text=True)

    assert len(lines) > 3
    assert max(map(cells, lines)) <= 80
    assert done.stdout == "".join(f"{word}," for word in command[2:])


def test_a_command_that_a_name_of_a_megabyte_makes_is_left_out() -> None:
    proof = Proof(name="x", version="1.0", state="modified", command=shlex.join(["pip", "'" * 1_000_000]))

    assert len(report.text((proof,))) < 200


def test_colour_changes_nothing_but_colour() -> None:
    coloured = report.text(FOUND, Style(colour=True))

    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == report.text(FOUND)


def test_a_program_gets_the_same() -> None:
    told = json.loads(report.json(FOUND))

    assert list(told["counts"].items()) == [(state, 40 if state == "proven" else 1) for state in STATES]
    assert [item["name"] for item in told["distributions"]] == [item.name for item in FOUND]
    assert told["distributions"][0] == {
        "name": "joblib",
        "version": "1.4.2",
        "state": "modified",
        "reason": "2 of its files were changed",
        "remedy": "install",
        "command": "pip x",
    }


def test_nothing_of_a_lock_is_obeyed_by_a_terminal() -> None:
    """A lock may come from anybody; Cyrillic letters look like ours."""
    hostile = Proof(name="n\x1b[2Jumpу", version="1\n::error::", state="mat\x1b[2Jched", file="\u202e.whl", reason="\r")

    for text in (report.text((hostile,)), report.text((hostile,), verbose=True), report.json((hostile,))):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
        assert not re.search(r"(?m)^\s*::", text)
        assert "у" not in report.text((hostile,))


def test_a_lock_of_nothing_says_so() -> None:
    assert report.text(()) == "nothing locked\n"


def test_what_was_taken_back_or_is_attested_is_said() -> None:
    """It trained the model, so it is locked; whoever ships it should know, and the attestation is for who asks."""
    found = (
        Proof(name="bad", version="1", state="proven", file="bad-1-x.whl", yanked="breaks on Tuesdays"),
        Proof(name="good", version="2", state="proven", file="good-2-x.whl", attested="https://index.example/good/p"),
        Proof(name="odd", version="3", state="matched", file="odd-3-x.whl", yanked="no reason given"),
    )
    short, long = report.text(found), report.text(found, verbose=True)

    assert "  yanked     bad 1: breaks on Tuesdays" in short
    assert "  yanked     no reason given" in short
    assert "attested: 1 of 3 have attestations on their index (PEP 740), not checked here" in short
    assert "https://index.example" not in short
    assert "  attested   https://index.example/good/p" in long
    assert [item.get("yanked") for item in json.loads(report.json(found))["distributions"]] == [
        "breaks on Tuesdays",
        None,
        "no reason given",
    ]
