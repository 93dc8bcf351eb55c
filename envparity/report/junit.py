"""
The report of a comparison as JUnit XML, which every CI reads: one test case a finding, failed at or over the threshold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from itertools import chain, islice
from typing import NamedTuple

from envparity.report.outcome import decided, effect, judged, of_policy, owner, remedy, status, unjudged
from envparity.report.text import Style, change, link, name, sentence, subject
from envparity.values import Change, Finding, Report
from envparity.words import counted

MOST_CASES = 5_000
_STYLE = Style()


def junit(report: Report, style: Style | None = None, *, verbose: bool = False) -> str:
    """One comparison."""
    return several((report,))


def several(reports: Sequence[Report], style: Style | None = None, *, verbose: bool = False) -> str:
    """Several comparisons: a suite each."""
    most = max(MOST_CASES // max(len(reports), 1), 10)
    suites = [(report, list(_cases(report, most))) for report in reports]
    total = _counts([case for _, cases in suites for case in cases])
    body = "".join(_suite(report, cases) for report, cases in suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="envparity" {total}>\n{body}</testsuites>\n'


class _Case(NamedTuple):
    """A test case: passed where it has no `kind`, else `failure`, `error` or `skipped`."""

    section: str
    title: str
    kind: str = ""
    label: str = ""
    message: str = ""
    body: str = ""

    def xml(self) -> str:
        attributes = f'classname="envparity.{escape(self.section)}" name="{escape(self.title)}"'
        if not self.kind:
            return f"<testcase {attributes}><system-out>{escape(self.body)}</system-out></testcase>\n"
        label = f' type="{escape(self.label)}"' if self.label else ""
        result = f'<{self.kind}{label} message="{escape(self.message)}">{escape(self.body)}</{self.kind}>'
        return f"<testcase {attributes}>{result}</testcase>\n"


def _suite(report: Report, cases: list[_Case]) -> str:
    title = escape(f"{name(report.before)} → {name(report.after)}")
    words = [
        *filter(None, (sentence(remedy(report)),)),
        *(f"policy: {sentence(said)}" for said in of_policy(report)[:100]),
        sentence(status(report)),
    ]
    said = f"<system-out>{escape(chr(10).join(words))}</system-out>\n"
    return f'<testsuite name="{title}" {_counts(cases)}>\n{"".join(case.xml() for case in cases)}{said}</testsuite>\n'


def _counts(cases: list[_Case]) -> str:
    kinds = Counter(case.kind for case in cases)
    return f'tests="{len(cases)}" failures="{kinds["failure"]}" errors="{kinds["error"]}" skipped="{kinds["skipped"]}"'


def _cases(report: Report, most: int) -> Iterator[_Case]:
    for reason in report.blocked[:100]:
        yield _Case("answer", "there is an answer", "error", "incomplete", sentence(reason))
    known, unknown = judged(report), unjudged(report)
    yield from (_case(report, finding) for finding in islice(chain(known, unknown), most))
    over = len(known) + len(unknown) - most
    if over > 0:
        # The gravest come first, so a failure that is left out never stands alone.
        yield _Case(
            "answer", f"{counted(over, 'more finding')} left out here", "skipped", message="see the JSON report"
        )
    if not known and not report.blocked:
        yield _Case("answer", f"no difference in {counted(report.compared, 'fact')}")


def _case(report: Report, finding: Finding) -> _Case:
    difference = finding.difference
    section, title = name(difference.section), f"{subject(difference, _STYLE)} {change(difference, _STYLE)}"
    reason = sentence(finding.reason)
    if difference.change is Change.UNKNOWN:
        return _Case(section, title, "skipped", message=reason)
    body = "\n".join(_lines(finding))
    if finding.severity.at_least(report.fail_on):
        return _Case(section, title, "failure", f"{finding.severity} {finding.effect}", reason, body)
    return _Case(section, title, body=body)


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{finding.severity}: {effect(finding)}"
    yield sentence(finding.reason)
    if finding.fix:
        yield f"to do: {sentence(finding.fix)}"
        yield f"by whom: {owner(finding)}"
    if finding.policy:
        yield f"policy: {sentence(decided(finding))}"
    for proof in finding.evidence:
        yield f"{name(proof.kind)}: {sentence(proof.gist)} {link(proof.url)}".strip()
    if finding.rule:
        yield f"rule: {name(finding.rule)}"
