"""The report for code scanning: valid by the published schema, known again by its fingerprint, at the right line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given

from envparity.diff import between, placed
from envparity.report import sarif
from envparity.values import Environment, Place, Report, Severity
from tests.report.hostile import ATTACKS, HUGE, hostile, large, report_of, texts
from tests.report.test_diff import SERVED, TRAINED

SCHEMA = jsonschema.Draft4Validator(
    json.loads((Path(__file__).parent.parent / "data" / "sarif" / "sarif-2.1.0-rtm.5.json").read_text("utf-8"))
)


def run(report: Report) -> dict[str, Any]:
    """The one run, after the whole log was found to be valid."""
    log = json.loads(sarif.sarif(report))
    SCHEMA.validate(log)
    (only,) = log["runs"]
    return dict(only)


@pytest.mark.parametrize(
    "report",
    [between(TRAINED, SERVED), between(TRAINED, TRAINED), report_of(blocked=True), *map(hostile, ATTACKS)],
)
def test_it_is_valid_by_the_published_schema(report: Report) -> None:
    run(report)


def test_the_schema_refuses_what_is_damaged() -> None:
    log = json.loads(sarif.sarif(between(TRAINED, SERVED)))
    log["runs"][0]["results"][0]["level"] = "grave"

    with pytest.raises(jsonschema.ValidationError):
        SCHEMA.validate(log)


def test_a_rule_explains_itself_and_its_result_points_at_it() -> None:
    found = run(between(TRAINED, SERVED))

    first = found["results"][0]
    rule = found["tool"]["driver"]["rules"][first["ruleIndex"]]
    assert rule["id"] == first["ruleId"] == "sklearn-tfidf-idf-lost"
    assert rule["helpUri"].startswith("https://github.com/")
    assert "107 of 1,000 labels flip" in rule["help"]["text"]
    assert first["level"] == "error"
    assert first["message"]["text"].startswith("scikit-learn 1.4.2 → 1.5.2: The model's text features lose")
    assert first["message"]["text"].endswith("To do: serve with scikit-learn 1.4.2, or train again with 1.5.2.")


def test_the_level_follows_the_severity_and_what_is_harmless_is_counted() -> None:
    found = run(report_of(*hostile("x").findings))

    assert [result["level"] for result in found["results"]] == ["error", "error", "warning", "note"]
    (invocation,) = found["invocations"]
    assert invocation["toolExecutionNotifications"][0]["message"]["text"].startswith("1 harmless difference left out")


def test_no_answer_is_no_success() -> None:
    """A tool that found nothing because it saw nothing must not close the alerts of yesterday."""
    (invocation,) = run(report_of(blocked=True))["invocations"]

    assert invocation["executionSuccessful"] is False
    assert invocation["exitCode"] == 3


def located(tmp_path: Path, text: str, after: Environment = SERVED) -> Report:
    (tmp_path / "prod.txt").write_text(text, "utf-8")
    return placed(between(TRAINED, after, labels=("model", "prod.txt")), "model", "prod.txt", base_dir=tmp_path)


def test_a_finding_is_shown_at_the_line_of_the_requirements(tmp_path: Path) -> None:
    found = run(located(tmp_path, "# scikit-learn\nnumpy==1.26.4\n\nScikit_Learn==1.5.2\n"))

    (place,) = found["results"][0]["locations"]
    assert place["physicalLocation"] == {
        "artifactLocation": {"uri": "prod.txt", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 4},
    }
    assert place["logicalLocations"][0]["fullyQualifiedName"] == "distributions/scikit-learn version"


def test_a_file_outside_of_the_checkout_and_odd_names_are_addresses() -> None:
    report = between(TRAINED, SERVED)
    for path, uri in (("/a b/c.txt", "file:///a%20b/c.txt"), ("a#b?.txt", "a%23b%3F.txt")):
        found = run(msgspec.structs.replace(report, place=Place(path=path)))

        assert found["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def fingerprints(report: Report) -> list[str]:
    return [result["partialFingerprints"]["envparity/v1"] for result in run(report)["results"]]


def test_a_fingerprint_outlives_lines_versions_and_order(tmp_path: Path) -> None:
    """An alert that somebody dismissed must not come back because a comment was added above it."""
    first = located(tmp_path, "scikit-learn==1.5.2\n")
    later = msgspec.structs.replace(SERVED, distributions=tuple(reversed(SERVED.distributions or ())))

    assert fingerprints(located(tmp_path, "# a comment\n\nscikit-learn==1.5.2\n", later)) == fingerprints(first)


def test_two_findings_and_two_targets_have_two_fingerprints() -> None:
    found = fingerprints(between(TRAINED, SERVED))

    assert len(set(found)) == len(found) == 91
    assert not set(found) & set(fingerprints(between(TRAINED, SERVED, labels=("model.env.json", "other"))))


@given(texts)
def test_no_text_is_a_link_or_a_placeholder(text: str) -> None:
    escaped = sarif.escaped(text)

    plain = escaped.replace("\\\\", "").replace("\\[", "").replace("\\]", "").replace("{{", "").replace("}}", "")
    assert not set("\\[]{}") & set(plain)


def test_a_hundred_thousand_findings_are_bounded_and_counted() -> None:
    (found,) = json.loads(sarif.sarif(large()))["runs"]  # to validate 5,000 results takes a minute

    assert len(found["results"]) == 5_000
    assert (
        "95,000 more findings left out here"
        in found["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]
    )


def test_a_name_of_a_megabyte_is_bounded() -> None:
    assert len(sarif.sarif(msgspec.structs.replace(hostile(HUGE), place=None))) < 100_000


def test_several_comparisons_are_runs_that_are_told_apart() -> None:
    reports = [between(TRAINED, SERVED, fail_on=Severity.LOW, labels=("model", name)) for name in ("a", "b")]

    log = json.loads(sarif.several(reports))

    SCHEMA.validate(log)
    assert [each["automationDetails"]["id"] for each in log["runs"]] == ["envparity/a/", "envparity/b/"]
