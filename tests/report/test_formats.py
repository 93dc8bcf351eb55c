"""What holds for every format of a comparison."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

from envparity import report
from envparity.report.text import Style
from envparity.values import Change, Difference, Effect, Finding, Severity
from tests.report.hostile import report_of

FORMATS = tuple(report.FORMATS["diff"])
ACCEPTED = Finding(
    difference=Difference(section="distributions", item="tqdm", change=Change.CHANGED, before="4.1", after="5.0"),
    severity=Severity.LOW,
    effect=Effect.BEHAVIOUR,
    reason="Another major version.",
    policy="lowered until 2027-01-31 by ml-platform: it draws progress bars",
    was=Severity.HIGH,
)


def test_several_targets_have_every_format_that_one_has() -> None:
    """A pipeline that gets a second target must not lose its report."""
    assert tuple(report.FORMATS["matrix"]) == FORMATS


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "github"])
def test_what_a_policy_set_aside_is_said_with_its_reason_and_what_it_was(form: str) -> None:
    """An exception that no reader of the report sees is how a difference reaches production."""
    text = report.rendered("diff", form, report_of(ACCEPTED), Style(width=200), verbose=True)

    assert "it draws progress bars" in text
    assert re.search('was high|"was": "high"|was\\W+high', text)


@pytest.mark.parametrize("form", FORMATS)
def test_what_a_policy_leaves_to_be_said_is_in_every_format(form: str) -> None:
    found = msgspec.structs.replace(report_of(), notes=("an exception has expired",), unused=())

    assert "an exception has expired" in report.rendered("diff", form, found, Style())


@pytest.mark.parametrize("form", FORMATS)
def test_the_smallest_change_that_would_do_is_in_every_format(form: str) -> None:
    found = msgspec.structs.replace(report_of(ACCEPTED), pins=("numpy 1.26.4",), left=2)

    text = report.rendered("diff", form, found, Style(width=200))

    assert "numpy 1.26.4" in text
    assert "no pin clears" in text or json.loads(text)["remedy"]["left"] == 2


@pytest.mark.parametrize("form", FORMATS)
def test_one_report_is_one_text_whatever_was_rendered_before(form: str) -> None:
    found = report_of(ACCEPTED, blocked=True)

    assert report.rendered("diff", form, found, Style()) == report.rendered("diff", form, found, Style())
