"""
The report of a comparison as annotations of a GitHub workflow: commands on lines of their own, for standard output.

GitHub shows ten annotations of each level a step, so no more are made; the last notice says what was left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from envparity.report.outcome import Outcome, judged, of_policy, outcome, remedy, status, verdict
from envparity.report.sarif import named_lines
from envparity.report.text import Style, change, name, sentence, subject
from envparity.values import Finding, Report, Severity

MOST = 10
_STYLE = Style()


def github(report: Report, style: Style | None = None, *, verbose: bool = False) -> str:
    """One comparison."""
    return several((report,))


def several(reports: Sequence[Report], style: Style | None = None, *, verbose: bool = False) -> str:
    """Several comparisons, which share the ten of each level; those that fail come first."""
    lines: dict[str, list[str]] = {"error": [], "warning": [], "notice": []}
    left_out = 0
    order = sorted(reports, key=lambda report: list(Outcome).index(outcome(report)))
    for report in order:
        for reason in report.blocked:
            if len(lines["error"]) < MOST:
                lines["error"].append(_command("error", "no answer", sentence(reason), report))
            else:
                left_out += 1
    for report in order:
        for finding in judged(report):
            level = _level(finding, report.fail_on)
            if not level:
                continue
            # The last notice is the summary.
            room = MOST - 1 if level == "notice" else MOST
            if len(lines[level]) < room:
                lines[level].append(_annotation(level, finding, report))
            else:
                left_out += 1
    words = "; ".join(f"{name(report.after)}: {verdict(report)}" for report in order[:MOST])
    if len(order) == 1:
        words = " ".join(filter(None, (f"{verdict(order[0])}.", remedy(order[0]), status(order[0]))))
    if left_out:
        words += f" {left_out:,} more are left out here: GitHub shows {MOST} of a level."
    if len(order) == 1:
        words += "".join(f" Policy: {said}." for said in of_policy(order[0])[:MOST])
    summary = _command("notice", "envparity diff", sentence(words), None)
    return "\n".join((*lines["error"], *lines["warning"], *lines["notice"], summary)) + "\n"


def escaped(text: str, *, within: bool = False) -> str:
    """
    A text that stays one: with a line break or a percent sign of its own it could end the command and begin another.

    Args:
        within: it is a property (`title=`), which a colon or a comma would end.
    """
    for character in "%\r\n" + (":," if within else ""):
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _level(finding: Finding, fail_on: Severity) -> str:
    if finding.severity.at_least(fail_on):
        return "error"
    return {Severity.INFO: "", Severity.LOW: "notice"}.get(finding.severity, "warning")


def _annotation(level: str, finding: Finding, report: Report) -> str:
    difference = finding.difference
    title = f"{finding.severity}: {subject(difference, _STYLE)} {change(difference, _STYLE)}"
    line = named_lines(report).get((difference.section, difference.item), 1)
    text = sentence(finding.reason) + (f"\nTo do: {sentence(finding.fix)}" if finding.fix else "")
    return _command(level, title, text, report, line)


def _command(level: str, title: str, text: str, report: Report | None, line: int = 1) -> str:
    properties = {}
    if report is not None and report.place is not None and not report.place.path.startswith("/"):
        properties["file"] = name(report.place.path)
        properties["line"] = str(line)
    properties["title"] = title
    told = ",".join(f"{key}={escaped(value, within=True)}" for key, value in properties.items())
    return f"::{level} {told}::{escaped(text)}"
