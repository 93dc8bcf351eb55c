"""
The report of a comparison as one HTML file, for people of other trades: may it go to production, why not, what to do.

The page asks no network. A policy in its head lets only its own style and script run, by their digests: a name of data
that slipped through the escape would still be no code.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from jinja2 import Environment, StrictUndefined

from envparity import __version__, resources
from envparity.report.outcome import (
    EFFECTS,
    Outcome,
    decided,
    judged,
    matters,
    of_policy,
    or_worse,
    outcome,
    owner,
    remedy,
    status,
    unjudged,
    verdict,
)
from envparity.report.text import Style, change, counted, link, name, sentence, subject
from envparity.report.unknown import unknown
from envparity.values import Change, Finding, Report, Severity

MOST_PAGES = 50
MOST_IN_FULL = 100
MOST_ROWS = 2_000
MOST_UNKNOWN = 200
_STYLE = Style()
_ANSWERS = {Outcome.DIFFERENT: "No, not like this", Outcome.INCOMPLETE: "Nobody can say yet", Outcome.OK: "Yes"}


def html(report: Report, style: Style | None = None, *, verbose: bool = False) -> str:
    """One comparison."""
    return several((report,))


def several(reports: Sequence[Report], style: Style | None = None, *, verbose: bool = False) -> str:
    """Several comparisons on one page, those that fail first."""
    order = sorted(reports, key=lambda report: list(Outcome).index(outcome(report)))
    shown = order[:MOST_PAGES]
    rows = [(report, finding) for report in order for finding in judged(report)]
    rows.sort(key=lambda row: -row[1].severity.rank)
    counts = Counter(finding.severity for _, finding in rows[:MOST_ROWS])
    listed = [_row(finding, report if len(order) > 1 else None) for report, finding in rows[:MOST_ROWS]]
    css, js = (_template(file) for file in ("diff.css", "diff.js"))
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        _template("diff.html")
    )
    return page.render(
        version=__version__,
        style=css,
        script=js,
        style_hash=_digest(css),
        script_hash=_digest(js),
        title=f"{_ANSWERS[outcome(order[0])]}: {name(order[0].before)} → {name(order[0].after)}",
        pages=[_page(report) for report in shown],
        left_out=_left_out(len(order) - len(shown), "comparison"),
        rows=listed,
        rows_caption=_caption(len(listed), len(rows)),
        sections=sorted({row["section"] for row in listed}),
        effects=sorted({(row["effect_value"], row["effect"]) for row in listed}),
        severities=[(severity, counts[severity]) for severity in Severity if counts[severity]],
    )


def _template(file: str) -> str:
    return resources.templates().joinpath("report", file).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _left_out(count: int, noun: str, plural: str = "") -> str:
    return (
        f"{counted(count, f'more {noun}', plural and f'more {plural}')} left out here; the JSON report has all of them."
        if count > 0
        else ""
    )


def _caption(shown: int, total: int) -> str:
    more = f" {_left_out(total - shown, 'difference')}" if total > shown else ""
    return f"{counted(shown, 'difference')}, the gravest first.{more}"


def _page(report: Report) -> dict[str, Any]:
    full = [finding for finding in judged(report) if matters(finding, report.fail_on)]
    answer = outcome(report)
    entries = unknown(unjudged(report), report.gaps_before, report.gaps_after, (report.before, report.after), _STYLE)
    return {
        "outcome": str(answer),
        "answer": _ANSWERS[answer],
        "because": _because(report),
        "why": _why(answer, bool(full)),
        "before": name(report.before),
        "after": name(report.after),
        "before_digest": name(report.before_digest),
        "after_digest": name(report.after_digest),
        "remedy": sentence(remedy(report)),
        "blocked": [sentence(reason) for reason in report.blocked],
        "matters": [_card(alike, report.fail_on) for alike in _alike(full[:MOST_IN_FULL])],
        "matters_left_out": _left_out(len(full) - MOST_IN_FULL, "difference that matters", "differences that matter"),
        "differs": bool(judged(report)),
        "layers": list(_layers(report)),
        "unknown": [
            {"title": sentence(entry.title(6)), "reason": sentence(entry.reason)} for entry in entries[:MOST_UNKNOWN]
        ],
        "policy": [sentence(said) for said in of_policy(report)[:MOST_UNKNOWN]],
        "unknown_left_out": _left_out(len(entries) - MOST_UNKNOWN, "reason"),
        "status": f"{sentence(verdict(report))}. {sentence(status(report))}",
    }


def _because(report: Report) -> str:
    known = judged(report)
    match outcome(report):
        case Outcome.DIFFERENT:
            over = sum(finding.severity.at_least(report.fail_on) for finding in known)
            return (
                f"{counted(over, 'difference')} of {len(known):,} can hurt the model: "
                f"{'it is' if over == 1 else 'each is'} {or_worse(report.fail_on)}."
            )
        case Outcome.INCOMPLETE:
            return "Something could not be read. What could be compared is below, and is no answer."
    if not known:
        return f"No difference in {counted(report.compared, 'fact')} that both sides know."
    return f"None of {counted(len(known), 'difference')} is {or_worse(report.fail_on)}."


def _why(answer: Outcome, matters: bool) -> str:
    if answer is Outcome.DIFFERENT:
        return "Why not, what to do, and by whom"
    if answer is Outcome.INCOMPLETE:
        return "Why there is no answer"
    return "What to look at all the same" if matters else "Why it may"


def _words(finding: Finding) -> dict[str, Any]:
    difference = finding.difference
    return {
        "severity": str(finding.severity),
        "subject": subject(difference, _STYLE),
        "change": change(difference, _STYLE),
        "effect": EFFECTS[finding.effect],
        "reason": sentence(finding.reason),
        "fix": sentence(finding.fix),
        "policy": sentence(decided(finding)),
    }


def _alike(findings: list[Finding]) -> list[list[Finding]]:
    """The findings that say the same of several items, together: a page of equal sentences is not read."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        said = (finding.severity, finding.difference.section, finding.effect, finding.reason, finding.policy)
        known = (finding.rule, finding.also, finding.evidence, owner(finding))
        groups.setdefault(said + known, []).append(finding)
    return list(groups.values())


def _card(alike: list[Finding], fail_on: Severity) -> dict[str, Any]:
    finding = alike[0]
    effect = EFFECTS[finding.effect]
    proofs = [
        {
            "kind": name(proof.kind),
            "read_on": name(proof.read_on),
            "gist": sentence(proof.gist),
            "link": link(proof.url),
            "source": name(proof.url),
        }
        for proof in finding.evidence
    ]
    rule = name(" ".join((finding.rule, *(f"(also {rule})" for rule in finding.also))))
    return _words(finding) | {
        "effect": effect[0].upper() + effect[1:],
        "members": [_words(each) for each in alike],
        "title": f"{len(alike)} {name(finding.difference.section).replace('_', ' ')}",
        "decides": finding.severity.at_least(fail_on),
        "owner": owner(finding),
        "proofs": proofs,
        "rule": rule,
    }


def _row(finding: Finding, report: Report | None) -> dict[str, Any]:
    return _words(finding) | {
        "section": name(finding.difference.section),
        "effect_value": str(finding.effect),
        "target": name(report.after) if report else "",
    }


_LAYERS = {
    "artifacts": "Model",
    "distributions": "Python libraries",
    "conda_packages": "Python libraries",
    "python": "Python",
    "native_libraries": "Native libraries",
    "numerics": "Native libraries",
    "os_packages": "Operating system",
    "cpu": "Processor",
    "accelerators": "Accelerators",
}


def _layer_of(finding: Finding) -> str:
    if finding.difference.section == "system":
        return "C library" if finding.difference.field.startswith("libc") else "Operating system"
    return _LAYERS.get(finding.difference.section, "")


def _layers(report: Report) -> Iterator[dict[str, str]]:
    counts: Counter[str] = Counter()
    worst: dict[str, Severity] = {}
    for finding in judged(report):
        key = _layer_of(finding)
        if finding.difference.change is not Change.SATISFIED:
            counts[key] += 1
            worst[key] = max(worst.get(key, Severity.INFO), finding.severity, key=lambda severity: severity.rank)
    for layer in islice(report.layers, 50):
        if counts[layer.name]:
            state, mark = "differs", f"≠ {counted(counts[layer.name], 'difference')}, worst: {worst[layer.name]}"
        elif not layer.before or not layer.after:
            state, mark = "unknown", "? not compared"
        else:
            state, mark = "same", "= nothing differs"
        yield {
            "name": name(layer.name),
            "before": name(layer.before),
            "after": name(layer.after),
            "state": state,
            "mark": mark,
        }
