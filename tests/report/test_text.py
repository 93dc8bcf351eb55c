"""What a terminal gets: safe, narrow, and in its own alphabet."""

from __future__ import annotations

import pytest

from envparity.report.text import Style, cells, change, finding_block, finding_line, printable, subject
from envparity.values import Change, Difference, Effect, Evidence, Finding, Severity

FINDING = Finding(
    difference=Difference(
        section="distributions",
        item="scikit-learn",
        field="version",
        change=Change.CHANGED,
        before="1.4.2",
        after="1.5.2",
    ),
    severity=Severity.CRITICAL,
    effect=Effect.SILENT_NUMERIC,
    reason="It answers differently.",
    rule="sklearn-tfidf-idf-lost",
    fix="serve with 1.4.2",
    evidence=(Evidence(kind="cited", gist="seen", url="https://example.org/" + "long/" * 11),),
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("two\nlines\t", r"two\nlines\t"),
        ("\u202eright to left", r"\u202eright to left"),
        ("\udcff is no text", r"\udcff is no text"),
        ("\U000e0001", r"\U000e0001"),
        ("naïve ☃", "naïve ☃"),
    ],
)
def test_nothing_that_a_terminal_obeys_gets_through(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_without_utf_8_every_letter_is_ascii() -> None:
    assert printable("1.4.2 → 1.5.2 ☃…", ascii=True) == r"1.4.2 -> 1.5.2 \u2603..."


def test_a_look_alike_of_a_name_is_shown_as_what_it_is() -> None:
    """A reader must not mistake a Cyrillic letter for ours."""
    difference = Difference(section="distributions", item="sсipy", change=Change.ADDED, after="1.0")

    assert subject(difference, Style()) == r"s\u0441ipy"


def test_colour_comes_only_where_it_is_asked_for() -> None:
    assert "\x1b[" not in "\n".join(finding_block(FINDING, Style()))
    assert "\x1b[" in "\n".join(finding_block(FINDING, Style(colour=True)))
    assert "\x1b[" in finding_line(FINDING, Style(colour=True))


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_is_wider_than_the_place(width: int) -> None:
    style = Style(width=width)

    lines = [*finding_block(FINDING, style), finding_line(FINDING, style)]

    assert max(map(cells, lines)) <= width


def test_a_finding_says_how_bad_what_why_how_we_know_and_what_to_do() -> None:
    assert list(finding_block(FINDING, Style(width=80))) == [
        "CRITICAL  scikit-learn 1.4.2 → 1.5.2",
        "  It answers differently.",
        "  effect    silent-numeric",
        "  cited     seen",
        "  https://example.org/" + "long/" * 11,
        "  fix       serve with 1.4.2",
        "  rule      sklearn-tfidf-idf-lost",
    ]


def test_wide_letters_count_twice() -> None:
    assert cells("漢字") == 4
    assert Style(width=12).wrapped("漢" * 10, indent="  ") == ["  漢漢漢漢漢", "  漢漢漢漢漢"]


def test_a_change_in_few_words() -> None:
    def said(change_: Change, before: str = "", after: str = "") -> str:
        return change(Difference(section="x", item="y", change=change_, before=before, after=after), Style())

    assert said(Change.ADDED, after="1.0") == "added 1.0"
    assert said(Change.REMOVED, before="1.0") == "1.0 → gone"
    assert said(Change.CHANGED, "a" * 64, "b" * 64) == "aaaaaaaaaaaa → bbbbbbbbbbbb"
    assert said(Change.UNKNOWN, before="1.0") == "1.0 → not known"
