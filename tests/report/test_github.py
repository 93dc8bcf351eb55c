"""The report as annotations: what matters at its line, ten of a level, and no command that a name of data forged."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given

from envparity.diff import between
from envparity.report import github
from envparity.report.text import Style, printable
from envparity.values import Place, Report, Severity
from tests.report.hostile import ATTACKS, HUGE, finding, hostile, large, report_of, texts
from tests.report.test_diff import SERVED, TRAINED

COMMAND = re.compile(r"::(error|warning|notice) ((?:\w+=[^,:]*,)*\w+=[^,:]*)::(.*)")


def commands(report: Report) -> list[tuple[str, dict[str, str], str]]:
    """Every line, as a runner reads it: the level, the properties and the message."""
    found = []
    for line in github.github(report).splitlines():
        read = COMMAND.fullmatch(line)
        assert read is not None, line
        properties = dict(pair.split("=", 1) for pair in read[2].split(","))
        found.append((read[1], {key: decoded(value) for key, value in properties.items()}, decoded(read[3])))
    return found


def decoded(text: str) -> str:
    return re.sub("%(0D|0A|3A|2C|25)", lambda code: chr(int(code[1], 16)), text)


def test_a_finding_over_the_threshold_is_an_error_at_its_line() -> None:
    report = between(TRAINED, SERVED)
    report = msgspec.structs.replace(report, place=Place(path="a,b.txt", lines=(("scikit-learn", 7),)))

    first = commands(report)[0]

    assert first[0] == "error"
    assert first[1] == {"file": "a,b.txt", "line": "7", "title": "critical: scikit-learn 1.4.2 → 1.5.2"}
    assert first[2].endswith("\nTo do: serve with scikit-learn 1.4.2, or train again with 1.5.2")


def test_there_are_ten_of_a_level_and_the_last_notice_counts_the_others() -> None:
    """GitHub shows ten and drops the rest without a word."""
    found = commands(between(TRAINED, SERVED))

    levels = [level for level, _, _ in found]
    assert levels == ["error"] + ["warning"] * 10 + ["notice"]
    assert found[-1][2].startswith("DIFFERENT: 1 critical, of 132 differences.")
    assert "80 more are left out here" in found[-1][2]


def test_parity_is_one_notice() -> None:
    assert [(level, text[:30]) for level, _, text in commands(between(TRAINED, TRAINED))] == [
        ("notice", "OK: no difference in 175 facts")
    ]


def test_no_answer_is_an_error() -> None:
    first = commands(report_of(blocked=True, text="the image"))[0]

    assert (first[0], first[1]["title"], first[2]) == ("error", "no answer", "the image")


@pytest.mark.parametrize("text", ATTACKS)
def test_a_hostile_name_forges_no_command(text: str) -> None:
    found = commands(hostile(text))

    assert [level for level, _, _ in found] == ["error", "error", "warning", "notice", "notice"]
    assert {key for _, properties, _ in found for key in properties} == {"file", "line", "title"}


@given(texts)
def test_a_message_and_a_title_are_read_as_they_are_written(text: str) -> None:
    (first, *_) = commands(report_of(finding(text)))

    assert first[2] == printable(text) + (f"\nTo do: {printable(text)}" if text else "")


@given(texts)
def test_no_line_of_a_report_for_people_is_a_command(text: str) -> None:
    """The text report is printed into the same log, and a runner obeys an indented line too."""
    from envparity.report import diff, markdown

    for shown in (diff.text(hostile(text), Style(width=40)), markdown.markdown(hostile(text))):
        assert not [line for line in shown.splitlines() if line.lstrip().startswith("::") or "##[" in line]


def test_a_hundred_thousand_findings_are_bounded_and_counted() -> None:
    found = commands(large())

    assert len(found) == 11
    assert "99,990 more are left out here" in found[-1][2]


def test_a_name_of_a_megabyte_is_bounded() -> None:
    assert len(github.github(hostile(HUGE))) < 65_536


def test_several_comparisons_share_the_ten() -> None:
    lines = github.several((between(TRAINED, SERVED, fail_on=Severity.MEDIUM), between(TRAINED, TRAINED))).splitlines()

    assert [line.split(" ")[0] for line in lines] == ["::error"] * 10 + ["::notice"]
    assert "prod%3A" not in lines[-1]
    assert "prod: DIFFERENT" in lines[-1]
