"""The report of a comparison: the one change that matters first, and a hundred harmless ones on a few lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from envparity.report.outcome import Outcome, judged, matters, of_policy, outcome, remedy, status, verdict
from envparity.report.text import NAME, Style, bounded, finding_block, finding_line, set_aside, subject
from envparity.report.unknown import unknown_lines
from envparity.report.words import things
from envparity.values import Change, Finding, Gap, Report, Severity
from envparity.words import counted, listed

if TYPE_CHECKING:
    from envparity.report.document import DiffDocument, FindingObject, GapObject

_MANY = 5
_MOST_IN_FULL = 100


def text(report: Report, style: Style | None = None, *, verbose: bool = False) -> str:
    """
    For a person. First the verdict, then every finding that is high, or medium by a rule, in full; then one line each
    for lesser ones, counts for what is merely noted, what is not known and why, and what the exit status means.

    Args:
        verbose: show each small finding on a line of its own.
    """
    style = style or Style()
    lines = [*_head(report, style)]
    known = judged(report)
    full = [finding for finding in known if matters(finding, report.fail_on)]
    shown = full if verbose else full[:_MOST_IN_FULL]
    for finding in shown:
        lines += ["", *finding_block(finding, style)]
    if len(full) > len(shown):
        lines += ["", f"and {len(full) - len(shown):,} more that matter (-v lists them)"]
    lesser = [finding for finding in known if not matters(finding, report.fail_on)]
    smaller = [*_smaller(lesser, style, verbose)]
    if smaller:
        lines += ["", style.bold("Smaller differences"), *smaller]
    unknown = [
        *unknown_lines(report.findings, report.gaps_before, report.gaps_after, (report.before, report.after), style)
    ]
    if unknown:
        count = len(report.findings) - len(known)
        title = (
            f"Not known ({counted(count, 'fact')} of one side only, neither equal nor different)"
            if count
            else "Not known"
        )
        lines += ["", *(style.bold(line) for line in style.wrapped(title)), *unknown]
    lines += ["", *ending(report, style)]
    return "\n".join(lines) + "\n"


def _head(report: Report, style: Style) -> Iterator[str]:
    arrow = "->" if style.ascii else "→"
    sides = f"{bounded(report.before, NAME)} {arrow} {bounded(report.after, NAME)}"
    yield from (style.faint(line) for line in style.wrapped(sides))
    code = {Outcome.DIFFERENT: "1;31", Outcome.INCOMPLETE: "1;33", Outcome.OK: "1;32"}[outcome(report)]
    yield from (style.paint(line, code) for line in style.wrapped(verdict(report)))


def _smaller(findings: list[Finding], style: Style, verbose: bool) -> Iterator[str]:
    if verbose:
        for finding in findings:
            yield from set_aside(finding, style) if finding.policy else [finding_line(finding, style)]
        return
    groups: dict[tuple[Severity, str, str], list[Finding]] = {}
    noted: list[Finding] = []
    for finding in findings:
        if finding.policy:
            yield from set_aside(finding, style)
        elif (
            finding.severity is Severity.INFO and not finding.rule and finding.difference.change is not Change.SATISFIED
        ):
            noted.append(finding)
        else:
            group = (finding.severity, finding.difference.section, finding.reason)
            groups.setdefault(group, []).append(finding)
    for (severity, section, reason), members in groups.items():
        if len(members) <= _MANY:
            yield from (finding_line(finding, style) for finding in members)
            continue
        names = listed((subject(finding.difference, style) for finding in members), 3)
        name = f"{severity:<8}"
        line = style.clipped(f"  {name}{things(section, len(members))} ({names})  {style.plain(bounded(reason))}")
        yield f"  {style.severity(severity, name)}{line[10:]}" if style.colour else line
    if noted:
        names = listed((subject(finding.difference, style) for finding in noted), 3)
        text = f"{counted(len(noted), 'harmless one')}: {names} (-v lists them)"
        yield from style.wrapped(text, first="  info    ", indent=" " * 10)


def ending(report: Report, style: Style) -> Iterator[str]:
    """The smallest change that would do, what the policy left to be said, and what the exit status means."""
    if report.pins:
        yield from style.wrapped(remedy(report))
    for said in of_policy(report):
        yield from style.wrapped(f"policy: {said}")
    yield from style.wrapped(status(report))


def json(report: Report, style: Style | None = None, *, verbose: bool = False) -> str:
    """For a program: every finding and gap, with keys that are always there."""
    counts = Counter(finding.severity for finding in report.findings)
    body: DiffDocument = {
        "schema": 1,
        "kind": "diff",
        "status": int(report.status),
        "complete": report.complete,
        "blocked": list(report.blocked),
        "fail_on": report.fail_on,
        "compared": report.compared,
        "before": {"label": report.before, "digest": report.before_digest, "gaps": gaps(report.gaps_before)},
        "after": {"label": report.after, "digest": report.after_digest, "gaps": gaps(report.gaps_after)},
        "remedy": {"pins": list(report.pins), "left": report.left},
        "policy": {"notes": list(report.notes), "unused": list(report.unused)},
        "counts": {severity: counts[severity] for severity in Severity},
        "findings": [finding_object(finding) for finding in report.findings],
    }
    return encoded(body)


def jsons(reports: Sequence[Report], style: Style | None = None, *, verbose: bool = False) -> str:
    """Several comparisons: one list for a program."""
    return f"[\n{','.join(json(report, style, verbose=verbose) for report in reports)}]\n"


def encoded(body: object) -> str:
    """JSON for people to read, too: indented, always valid UTF-8."""
    return msgspec.json.format(msgspec.json.encode(_clean(body)), indent=1).decode() + "\n"


def _clean(value: object) -> object:
    """Lone surrogates (bytes of a file name that are no text) escaped, so that the JSON is UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value


def gaps(found: Sequence[Gap]) -> list[GapObject]:
    """Gaps with every key, empty or not."""
    return [{"section": gap.section, "item": gap.item, "kind": gap.kind, "reason": gap.reason} for gap in found]


def finding_object(finding: Finding) -> FindingObject:
    """A finding with every key, empty or not."""
    difference = finding.difference
    return {
        "severity": finding.severity,
        "effect": finding.effect,
        "rule": finding.rule,
        "also": list(finding.also),
        "section": difference.section,
        "item": difference.item,
        "field": difference.field,
        "change": difference.change,
        "before": difference.before,
        "after": difference.after,
        "note": difference.note,
        "reason": finding.reason,
        "fix": finding.fix,
        "policy": finding.policy,
        "was": finding.was or finding.severity,
        "evidence": [
            {"kind": proof.kind, "gist": proof.gist, "url": proof.url, "read_on": proof.read_on}
            for proof in finding.evidence
        ],
    }
