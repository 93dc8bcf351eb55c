"""The verdict on an image, for a person and for a program."""

from __future__ import annotations

import json

from envparity.report import verdict as report
from envparity.report.text import Style
from envparity.values import Change, Difference, Effect, Finding, Gap, GapKind, Severity, Verdict

FINDING = Finding(
    difference=Difference(section="files", item="/opt/env/lib/a.py", change=Change.CHANGED, before="a", after="b"),
    severity=Severity.CRITICAL,
    effect=Effect.BEHAVIOUR,
    reason="This file is not the one that was locked.",
)


def test_a_failed_verdict_names_the_file() -> None:
    verdict = Verdict(
        passed=False,
        status=5,
        image="oci:image",
        against="pylock.toml",
        digest="sha256:" + "a" * 64,
        findings=(FINDING,),
        checked=(("blobs whole", 5), ("layers", 4)),
        declared=("libssl3 3.0.11 -> 3.0.14: the archive has dropped it",),
        gaps=(Gap(section="cpu", kind=GapKind.NOT_RECORDED, reason="an image cannot carry it"),),
    )

    lines = report.text(verdict, Style()).splitlines()

    assert lines[0] == "NOT VERIFIED: oci:image against pylock.toml"
    assert "  1. 5 blobs whole" in lines
    assert "CRITICAL  /opt/env/lib/a.py a → b" in lines
    assert "  libssl3 3.0.11 -> 3.0.14: the archive has dropped it" in lines
    assert "    an image cannot carry it" in lines


def test_a_passed_verdict_is_short_and_small_findings_are_counted() -> None:
    small = Finding(
        difference=FINDING.difference, severity=Severity.INFO, effect=Effect.COSMETIC, reason="Only its time."
    )
    verdict = Verdict(passed=True, status=0, image="oci:image", against="model.env.json", findings=(small,))

    text = report.text(verdict, Style())

    assert text.splitlines()[0] == "VERIFIED: oci:image against model.env.json"
    assert "1 harmless one (-v lists them)" in text
    assert "Only its time." in report.text(verdict, Style(), verbose=True)


def test_json_has_every_key() -> None:
    document = json.loads(report.json(Verdict(passed=True, status=0, image="i", against="a", checked=(("layers", 4),))))

    assert document["passed"] is True
    assert document["checked"] == [{"step": "layers", "count": 4}]
    assert document["findings"] == document["gaps"] == document["declared"] == []
