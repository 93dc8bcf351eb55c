"""The report of a comparison, for a person and for a program."""

from __future__ import annotations

import json

from envparity.diff import between
from envparity.report import diff as report
from envparity.report.text import Style
from envparity.values import (
    Artifact,
    Basis,
    Distribution,
    Environment,
    Gap,
    GapKind,
    Origin,
    OsPackage,
    Python,
    Report,
    Severity,
)
from tests.report.hostile import HUGE, hostile, large

MODEL = Artifact(
    kind="model",
    name="m.joblib",
    size_bytes=1,
    sha256="a" * 64,
    classes=("sklearn.feature_extraction.text:TfidfTransformer",),
    modules=("sklearn.feature_extraction.text",),
)
TRAINED = Environment(
    origin=Origin(kind="venv", reference="model.env.json"),
    python=Python(version="3.11.7"),
    distributions=(
        Distribution(name="scikit-learn", version="1.4.2"),
        *(Distribution(name=f"tool-{n}", version="1.0.0", wheel_tags=("py3-none-any",)) for n in range(41)),
    ),
    os_packages=tuple(OsPackage(name=f"package-{n}", version="1.0-1") for n in range(90)),
    artifacts=(MODEL,),
)
SERVED = Environment(
    origin=Origin(kind="venv", reference="prod"),
    python=Python(version="3.11.7"),
    distributions=(
        Distribution(name="scikit-learn", version="1.5.2"),
        *(Distribution(name=f"tool-{n}", version="1.0.1", wheel_tags=("py3-none-any",)) for n in range(41)),
    ),
    os_packages=tuple(OsPackage(name=f"package-{n}", version="2.0-1") for n in range(90)),
    gaps=(Gap(section="artifacts", kind=GapKind.NOT_RECORDED, reason="no model was named"),),
)


def shown(found: Report, *, verbose: bool = False) -> list[str]:
    return report.text(found, Style(), verbose=verbose).splitlines()


def test_131_harmless_changes_do_not_bury_the_one_that_matters() -> None:
    lines = shown(between(TRAINED, SERVED))

    assert lines[0] == "model.env.json → prod"
    assert lines[1] == "DIFFERENT: 1 critical, of 132 differences"
    assert lines[3] == "CRITICAL  scikit-learn 1.4.2 → 1.5.2"
    assert len(lines) <= 30
    assert any(
        line.startswith("  medium  90 OS packages (package-0, package-1, package-10 and 87 more)") for line in lines
    )
    assert any("41 harmless ones" in line for line in lines)
    assert lines[-1].startswith("133 facts compared. Exit status 1: a finding is high or worse")


def test_everything_is_listed_when_it_is_asked_for() -> None:
    lines = shown(between(TRAINED, SERVED), verbose=True)

    assert sum("tool-" in line for line in lines) == 41


def test_what_is_not_known_is_shown_with_its_reason() -> None:
    text = "\n".join(shown(between(TRAINED, SERVED)))

    assert "Not known (1 fact of one side only" in text
    assert "  prod: model and data files\n    no model was named" in text


def test_parity_is_said_in_one_line() -> None:
    lines = shown(between(TRAINED, TRAINED))

    assert lines[1] == "OK: no difference in 175 facts"
    assert len(lines) == 4


def test_what_could_not_be_read_comes_with_its_mark_and_status() -> None:
    damaged = Environment(
        origin=Origin(kind="venv", reference="prod"),
        python=Python(version="3.11.7"),
        gaps=(Gap(section="distributions", kind=GapKind.UNREAD, reason="permission denied"),),
    )

    lines = shown(between(TRAINED, damaged))

    assert lines[1] == "INCOMPLETE: no answer; 0 differences in what could be compared"
    assert any(line.startswith("  could not be read: prod: libraries") for line in lines)
    assert "Exit status 3" in lines[-2] + lines[-1]


def test_a_range_is_named_and_not_called_harmless() -> None:
    declared = Environment(
        origin=Origin(kind="requirements", reference="prod.txt"),
        distributions=(Distribution(name="scikit-learn", basis=Basis.DECLARED, specifier=">=1.4"),),
        open=True,
    )

    text = "\n".join(shown(between(TRAINED, declared)))

    assert "info    scikit-learn 1.4.2 → >=1.4" in text
    assert "harmless" not in text


def test_hostile_text_of_data_stays_data() -> None:
    hostile = Environment(
        origin=Origin(kind="oci"),
        python=Python(version="3.11.7\x1b[2J\n{{ 7*7 }}"),
        gaps=(Gap(section="cpu", kind=GapKind.NOT_RECORDED, reason="\x1b]0;title\x07"),),
    )

    found = between(TRAINED, hostile, labels=("a\x1b[1m", "b\udcff"))

    text = report.text(found, Style())
    assert "\x1b" not in text
    assert "\x07" not in text
    text.encode("utf-8")
    assert json.loads(report.json(found))["after"]["label"] == "b\\udcff"


def test_json_has_the_same_keys_for_every_finding() -> None:
    document = json.loads(report.json(between(TRAINED, SERVED, fail_on=Severity.CRITICAL)))

    assert document["status"] == 1
    assert document["counts"]["critical"] == 1
    first = document["findings"][0]
    assert first["rule"] == "sklearn-tfidf-idf-lost"
    assert all(finding.keys() == first.keys() for finding in document["findings"])
    assert document["after"]["gaps"] == [
        {"section": "artifacts", "item": "", "kind": "not-recorded", "reason": "no model was named"}
    ]


def test_a_hundred_thousand_findings_are_counted_and_the_first_are_shown() -> None:
    """Somebody else's snapshot must not fill the terminal, or the log of a pipeline."""
    lines = shown(large())

    assert lines[1] == "DIFFERENT: 100000 critical, of 100,000 differences"
    assert "and 99,900 more that matter (-v lists them)" in lines
    assert len(lines) < 1_500


def test_a_name_of_a_megabyte_is_cut_and_said_to_be_long() -> None:
    lines = shown(hostile(HUGE), verbose=True)

    assert "(1,000,000 characters)" in " ".join(lines)
    assert len("\n".join(lines)) < 65_536
