"""The report as JUnit XML: a failure where the exit status is one, and XML whatever a name holds."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given

from envparity.diff import between
from envparity.report import junit
from envparity.values import Report, Severity
from tests.report.hostile import ATTACKS, HUGE, finding, hostile, large, report_of, texts
from tests.report.test_diff import SERVED, TRAINED


def suite(report: Report) -> ElementTree.Element:
    """The one suite, after its counts were found to be those of its cases."""
    root = ElementTree.fromstring(junit.junit(report))
    (only,) = root
    for element in (root, only):
        assert int(element.get("tests", "")) == len(only.findall("testcase"))
        for kind, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert int(element.get(attribute, "")) == len(only.findall(f"testcase/{kind}"))
    return only


def test_what_is_at_or_over_the_threshold_fails_and_nothing_else() -> None:
    for fail_on, failures in ((Severity.HIGH, 1), (Severity.MEDIUM, 91), (Severity.INFO, 132)):
        found = suite(between(TRAINED, SERVED, fail_on=fail_on))

        assert len(found.findall("testcase/failure")) == failures
        assert len(found.findall("testcase")) == 133


def test_a_failure_says_what_why_and_what_to_do() -> None:
    case = suite(between(TRAINED, SERVED)).find("testcase")

    assert case is not None
    assert case.get("name") == "scikit-learn 1.4.2 → 1.5.2"
    assert case.get("classname") == "envparity.distributions"
    (failure,) = case
    assert failure.get("type") == "critical silent-numeric"
    assert "to do: serve with scikit-learn 1.4.2" in (failure.text or "")
    assert "107 of 1,000 labels flip" in (failure.text or "")


def test_parity_is_one_case_that_passes() -> None:
    """A file without a test case is a broken pipeline to most readers."""
    (case, _) = suite(between(TRAINED, TRAINED))

    assert case.get("name") == "no difference in 175 facts"
    assert len(case) == 0 or case[0].tag == "system-out"


def test_no_answer_is_an_error_and_what_is_unknown_is_skipped() -> None:
    found = suite(report_of(blocked=True))
    assert len(found.findall("testcase/error")) == 1

    unknown = suite(hostile("x"))
    assert len(unknown.findall("testcase/skipped")) == 1


@pytest.mark.parametrize("text", ATTACKS)
def test_a_hostile_name_changes_no_element(text: str) -> None:
    tags = [element.tag for element in suite(hostile(text)).iter()]

    assert tags == [element.tag for element in suite(hostile("harmless")).iter()]


@given(texts)
def test_whatever_a_name_holds_it_is_xml(text: str) -> None:
    suite(report_of(finding(text), text=text, blocked=True))


def test_a_hundred_thousand_findings_are_bounded_and_counted() -> None:
    found = suite(large())

    assert len(found.findall("testcase")) == 5_001
    assert found.findall("testcase")[-1].get("name") == "95,000 more findings left out here"


def test_a_name_of_a_megabyte_is_bounded() -> None:
    assert len(junit.junit(hostile(HUGE))) < 100_000


def test_several_comparisons_are_several_suites() -> None:
    root = ElementTree.fromstring(junit.several((between(TRAINED, SERVED), between(TRAINED, TRAINED))))

    assert [each.get("failures") for each in root] == ["1", "0"]
    assert root.get("failures") == "1"
