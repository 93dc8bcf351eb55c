"""
The report of a comparison in SARIF 2.1.0, as code scanning reads it: one run a comparison, one result a finding.

What is merely worth knowing is left out, and so is what is over the limit; a notification of the run says how many.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from envparity import __version__
from envparity.report import words
from envparity.report.diff import encoded
from envparity.report.outcome import Outcome, decided, effect, judged, of_policy, outcome, remedy
from envparity.report.text import Style, change, link, name, sentence, subject
from envparity.values import Finding, Report, Severity
from envparity.words import counted

MOST_RESULTS = 5_000
"""Code scanning shows no more of one run."""

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0-rtm.5.json"
_LEVELS = {Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note"}
_STYLE = Style()


def sarif(report: Report, style: Style | None = None, *, verbose: bool = False) -> str:
    """One comparison."""
    return several((report,))


def several(reports: Sequence[Report], style: Style | None = None, *, verbose: bool = False) -> str:
    """Several comparisons: a run each."""
    most = max(MOST_RESULTS // max(len(reports), 1), 10)
    return encoded({"$schema": _SCHEMA, "version": "2.1.0", "runs": [_run(report, most) for report in reports]})


def escaped(text: str) -> str:
    """A text in which nothing is a link or a placeholder (SARIF 2.1.0, 3.11.5 and 3.11.6)."""
    for character in "\\[]":
        text = text.replace(character, f"\\{character}")
    return text.replace("{", "{{").replace("}", "}}")


def _run(report: Report, most: int) -> dict[str, object]:
    known = judged(report)
    findings = [finding for finding in known if finding.severity in _LEVELS]
    shown = findings[:most]
    rules = list(_rules(shown))
    lines = named_lines(report)
    index = {str(rule["id"]): number for number, rule in enumerate(rules)}
    return {
        "tool": {"driver": {"name": "envparity", "version": __version__, "rules": rules}},
        "automationDetails": {"id": f"envparity/{name(report.after)}/"},
        "invocations": [_invocation(report, len(findings) - len(shown), len(known) - len(findings))],
        "results": [_result(report, finding, index, lines) for finding in shown],
    }


def _invocation(report: Report, over: int, noted: int) -> dict[str, object]:
    said = [("error", sentence(reason)) for reason in report.blocked]
    if over:
        said.append(("warning", f"{counted(over, 'more finding')} left out here; the JSON report has all of them."))
    if noted:
        said.append(
            ("note", f"{counted(noted, 'harmless difference')} left out here; the JSON report has all of them.")
        )
    if report.pins:
        said.append(("note", sentence(remedy(report))))
    said += [("note", f"policy: {sentence(text)}") for text in of_policy(report)]
    return {
        "executionSuccessful": outcome(report) is not Outcome.INCOMPLETE,
        "exitCode": int(report.status),
        "toolExecutionNotifications": [
            {"level": level, "message": {"text": escaped(text)}} for level, text in said[:100]
        ],
    }


def _rule_id(finding: Finding) -> str:
    return name(finding.rule) or f"general-{name(finding.difference.section)}"


def _rules(findings: list[Finding]) -> Iterator[dict[str, object]]:
    """Each rule once, as the first of its findings explains it."""
    seen: set[str] = set()
    for finding in findings:
        identity = _rule_id(finding)
        if identity in seen:
            continue
        seen.add(identity)
        proofs = [f"{name(proof.kind)}: {sentence(proof.gist)} {link(proof.url)}".strip() for proof in finding.evidence]
        section = name(words.section(finding.difference.section))
        reason = sentence(finding.reason) if finding.rule else f"The general order, for {section} that no rule names."
        rule: dict[str, object] = {
            "id": identity,
            "shortDescription": {"text": escaped(reason)},
            "fullDescription": {"text": escaped(f"{reason} What it may do: {effect(finding)}.")},
            "help": {"text": escaped("\n\n".join((reason, *proofs)))},
            "defaultConfiguration": {"level": _LEVELS[finding.severity]},
        }
        address = next((link(proof.url) for proof in finding.evidence if link(proof.url)), "")
        if address:
            rule["helpUri"] = address
        yield rule


def _result(
    report: Report, finding: Finding, index: dict[str, int], lines: dict[tuple[str, str], int]
) -> dict[str, object]:
    difference = finding.difference
    todo = f" To do: {sentence(finding.fix)}." if finding.fix else ""
    text = f"{subject(difference, _STYLE)} {change(difference, _STYLE)}: {sentence(finding.reason)}{todo}"
    identity = _rule_id(finding)
    return {
        "ruleId": identity,
        "ruleIndex": index[identity],
        "level": _LEVELS[finding.severity],
        "message": {"text": escaped(text)},
        "locations": [_location(report, finding, lines)],
        "partialFingerprints": {"envparity/v1": _fingerprint(report, finding)},
        "properties": {
            "severity": str(finding.severity),
            "effect": str(finding.effect),
            **({"policy": sentence(decided(finding))} if finding.policy else {}),
        },
    }


def _location(report: Report, finding: Finding, lines: dict[tuple[str, str], int]) -> dict[str, object]:
    difference = finding.difference
    about = " ".join(filter(None, (name(difference.item), name(difference.field)))) or name(difference.section)
    location: dict[str, object] = {
        "logicalLocations": [{"name": about, "fullyQualifiedName": f"{name(difference.section)}/{about}"}]
    }
    if report.place is not None:
        physical: dict[str, object] = {"artifactLocation": _artifact(report.place.path)}
        # Without a line, code scanning shows no result at all.
        physical["region"] = {"startLine": lines.get((difference.section, difference.item), 1)}
        location["physicalLocation"] = physical
    return location


def named_lines(report: Report) -> dict[tuple[str, str], int]:
    """The line of each item that the file of a report names, by section and item."""
    lines = report.place.lines if report.place else ()
    return {(section, item): line for section in ("distributions", "conda_packages", "python") for item, line in lines}


def _artifact(path: str) -> dict[str, str]:
    address = quote(path, safe="/", errors="backslashreplace")
    return {"uri": f"file://{address}"} if path.startswith("/") else {"uri": address, "uriBaseId": "%SRCROOT%"}


def _fingerprint(report: Report, finding: Finding) -> str:
    """
    The same for as long as it is the same finding: no line, no version and no wording of ours is part of it.
    """
    difference = finding.difference
    target = report.place.path if report.place else report.after
    parts = (target, finding.rule, difference.section, difference.item, difference.field)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()
