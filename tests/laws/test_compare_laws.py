"""What holds for every pair of Environments."""

from __future__ import annotations

import json
import random

from hypothesis import given
from msgspec.structs import replace

from envparity.compare import compare, compared
from envparity.diff import between
from envparity.errors import IncompleteError
from envparity.knowledge import judge
from envparity.report import diff as report
from envparity.report.text import Style, cells
from envparity.values import Change, Difference, Environment, Severity
from tests.strategies import environments

MIRROR = {Change.ADDED: Change.REMOVED, Change.REMOVED: Change.ADDED}


def mirrored(difference: Difference) -> Difference:
    change = MIRROR.get(difference.change, difference.change)
    return replace(difference, change=change, before=difference.after, after=difference.before)


@given(environments())
def test_an_environment_does_not_differ_from_itself(a: Environment) -> None:
    assert compare(a, a) == ()


@given(environments(), environments())
def test_swapping_the_sides_swaps_the_answer(a: Environment, b: Environment) -> None:
    forward = {replace(mirrored(difference), note="") for difference in compare(a, b)}

    assert forward == {replace(difference, note="") for difference in compare(b, a)}
    assert compared(a, b) == compared(b, a)


@given(environments(), environments())
def test_what_one_side_does_not_know_is_never_added_or_removed(a: Environment, b: Environment) -> None:
    for difference in compare(a, b):
        if difference.change in MIRROR:
            assert getattr(a, difference.section) is not None
            assert getattr(b, difference.section) is not None
            silent = b if difference.change is Change.REMOVED else a
            assert not silent.open
            assert not any(
                gap.section == difference.section and not gap.item and gap.kind == "unread" for gap in silent.gaps
            )


@given(environments(), environments())
def test_one_side_of_an_unknown_is_empty_and_only_one(a: Environment, b: Environment) -> None:
    for difference in compare(a, b):
        if difference.change is Change.UNKNOWN:
            assert bool(difference.before) != bool(difference.after)
            assert difference.note


@given(environments(), environments())
def test_judging_loses_no_difference(a: Environment, b: Environment) -> None:
    differences = compare(a, b)

    findings = judge(a, b, differences)

    assert sorted(map(repr, differences)) == sorted(repr(finding.difference) for finding in findings)
    ranks = [finding.severity.rank for finding in findings]
    assert ranks == sorted(ranks, reverse=True)


@given(environments(), environments())
def test_the_order_of_input_decides_nothing(a: Environment, b: Environment) -> None:
    shuffled = replace(
        a,
        distributions=a.distributions and tuple(reversed(a.distributions)),
        os_packages=a.os_packages and tuple(reversed(a.os_packages)),
        artifacts=a.artifacts and tuple(reversed(a.artifacts)),
    )
    differences = list(compare(a, b))

    assert [replace(item, note="") for item in compare(shuffled, b)] == [replace(item, note="") for item in differences]
    again = judge(a, b, random.Random(0).sample(differences, len(differences)))
    assert again == judge(a, b, differences)


@given(environments(), environments())
def test_every_report_fits_its_width_and_is_valid_json(a: Environment, b: Environment) -> None:
    try:
        found = between(a, b, fail_on=Severity.MEDIUM)
    except IncompleteError:
        return

    for style in (Style(width=80), Style(width=50, ascii=True)):
        text = report.text(found, style)
        assert all(cells(line) <= style.width for line in text.splitlines())
        assert text.isascii() or not style.ascii
    assert json.loads(report.json(found))["status"] == found.status


@given(environments())
def test_a_diff_with_itself_is_empty_and_passes(a: Environment) -> None:
    try:
        found = between(a, a, allow_incomplete=True)
    except IncompleteError:
        return

    assert found.findings == ()
    assert found.status == 0
