"""
The report of a comparison as one HTML file, for people of other trades: may it go to production, why not, what to do.

The page asks no network. A policy in its head lets only its own style and script run, by their digests: a name of data
that slipped through the escape would still be no code.
"""

from __future__ import annotations

import base64
import hashlib
import re
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
    effect,
    judged,
    keeper,
    matters,
    of_policy,
    or_worse,
    outcome,
    status,
    unjudged,
    verdict,
    ways,
)
from envparity.report.scope import after_the_pins, next_step, passing, read_from, silences
from envparity.report.text import Style, change, link, name, sentence, subject
from envparity.report.unknown import unknown
from envparity.report.words import section, things
from envparity.values import Change, Finding, Report, Severity
from envparity.words import counted

MOST_PAGES = 50
MOST_IN_FULL = 100
MOST_ROWS = 2_000
MOST_UNKNOWN = 200
MOST_NAMES = 200
FEW = 5
"""So many differences are read without a search, and those that have a card of their own are not told again."""

_STYLE = Style()

# What is typed: between backticks, an option, a pin. A short one is kept on one line.
_TYPED = re.compile(
    r"`([^`]{1,200})`"
    r"|(?<![\w-])(--[a-z][a-z-]{1,30})(?![\w-])"
    r"|(?<![\w.-])([A-Za-z0-9][A-Za-z0-9._-]{0,60}==[A-Za-z0-9](?:[A-Za-z0-9.!+_*-]{0,40}[A-Za-z0-9*])?)"
)


def html(report: Report, style: Style | None = None, *, verbose: bool = False) -> str:
    """One comparison."""
    return several((report,))


def several(reports: Sequence[Report], style: Style | None = None, *, verbose: bool = False) -> str:
    """Several comparisons on one page, those that fail first."""
    order = sorted(reports, key=lambda report: list(Outcome).index(outcome(report)))
    shown = order[:MOST_PAGES]
    rows = [(report, finding) for report in order for finding in judged(report)]
    few = len(rows) <= FEW and len(order) <= MOST_PAGES
    if few:
        rows = [(report, finding) for report, finding in rows if not matters(finding, report.fail_on)]
    rows.sort(key=lambda row: -row[1].severity.rank)
    counts = Counter(finding.severity for _, finding in rows[:MOST_ROWS])
    in_rows = [_row(finding, report if len(order) > 1 else None) for report, finding in rows[:MOST_ROWS]]
    css, js = (_template(file) for file in ("diff.css", "diff.js"))
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["parts"] = _parts
    pages = [_page(report) for report in shown]
    return environment.from_string(_template("diff.html")).render(
        version=__version__,
        style=css,
        script=js,
        style_hash=_digest(css),
        script_hash=_digest(js),
        title=f"{_answer(order[0])}: {name(order[0].before)} → {name(order[0].after)}",
        pages=pages,
        left_out=_left_out(len(order) - len(shown), "comparison"),
        rows=in_rows,
        few=few,
        rows_caption=_caption(len(in_rows), len(rows)),
        sections=sorted({(row["section_value"], row["section"]) for row in in_rows}),
        effects=sorted((str(value), EFFECTS[value]) for value in {finding.effect for _, finding in rows[:MOST_ROWS]}),
        words=[(str(severity), _SEVERITIES[severity]) for severity in Severity if severity in _shown(pages, counts)],
        kinds=[(kind, _KINDS[kind]) for kind in _KINDS if kind in _kinds(pages)],
        severities=[(severity, counts[severity]) for severity in Severity if counts[severity]],
    )


_SEVERITIES = {
    Severity.CRITICAL: "The model gives wrong answers or none.",
    Severity.HIGH: "It probably gives wrong answers, or is likely to fail when something is asked of it.",
    Severity.MEDIUM: "It can change answers. Compare predictions before it goes to production.",
    Severity.LOW: "It changes answers rarely, and little.",
    Severity.INFO: "Worth knowing, and harmless as far as is known.",
}
_KINDS = {
    "measured": "Somebody trained a model in the one and ran it in the other, and compared.",
    "cited": "A public page says so; its address is given.",
}


def _shown(pages: Sequence[dict[str, Any]], counts: Counter[Severity]) -> set[str]:
    return {str(severity) for severity in counts} | {card["severity"] for page in pages for card in page["matters"]}


def _kinds(pages: Sequence[dict[str, Any]]) -> set[str]:
    return {proof["kind"] for page in pages for card in page["matters"] for proof in card["proofs"]}


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """A sentence in parts, each with what it is: plain (nothing), `code`, or `whole`, which is not to be broken."""
    end = 0
    for found in _TYPED.finditer(text):
        yield "", text[end : found.start()]
        typed = found[1] or found[2] or found[3]
        yield "whole" if len(typed) <= 30 else "code", typed
        end = found.end()
    yield "", text[end:]


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
    known = judged(report)
    told = (unjudged(report), report.gaps_before, report.gaps_after, (report.before, report.after), _STYLE)
    entries = unknown(*told)
    in_full = [entry.title(MOST_NAMES) for entry in unknown(*told, most=MOST_NAMES)]
    layers = list(_layers(report))
    return {
        "outcome": str(answer),
        "answer": _answer(report),
        "because": _because(report),
        "why": _why(answer, bool(full)),
        "model": next((name(layer.before) for layer in report.layers if layer.name == "Model"), ""),
        "before": name(report.before),
        "after": name(report.after),
        "before_is": name(read_from(report.origin_before)),
        "after_is": name(read_from(report.origin_after)),
        "silences": [{"side": name(side), "what": sentence(", ".join(what))} for side, what in silences(report)],
        "next_step": next_step(report),
        "before_digest": name(report.before_digest),
        "after_digest": name(report.after_digest),
        "pins": [name(pin) for pin in report.pins[:12]],
        "pins_left_out": len(report.pins[12:]),
        "left": counted(report.left, "finding") if report.left else "",
        "then": after_the_pins(report),
        "blocked": [sentence(reason) for reason in report.blocked],
        "matters": [_card(alike, report) for alike in _alike(full[:MOST_IN_FULL])],
        "matters_left_out": _left_out(len(full) - MOST_IN_FULL, "difference that matters", "differences that matter"),
        "differs": bool(known),
        "compared_layers": [layer for layer in layers if layer["state"] != "unknown"],
        "other_layers": [layer for layer in layers if layer["state"] == "unknown"],
        "same": [name(item) for item in report.same[:MOST_NAMES]],
        "same_words": _same(report),
        "same_left_out": len(report.same[MOST_NAMES:]),
        "unknown": [
            {
                "title": sentence(entry.title(6)),
                "reason": sentence(entry.reason),
                "in_full": sentence(full) if full != entry.title(6) else "",
            }
            for entry, full in list(zip(entries, in_full, strict=True))[:MOST_UNKNOWN]
        ],
        "policy": [sentence(said) for said in of_policy(report)[:MOST_UNKNOWN]],
        "unknown_left_out": _left_out(len(entries) - MOST_UNKNOWN, "reason"),
        "status": f"{sentence(verdict(report))}. {sentence(status(report))}",
    }


def _same(report: Report) -> str:
    differ = {
        difference.item
        for difference in (finding.difference for finding in judged(report))
        if difference.section == "distributions" and difference.before and difference.after
    }
    same = len(report.same)
    both = things("distributions", same + len(differ))
    return f"Of {both} on both sides, {same:,} {'is' if same == 1 else 'are'} the same"


def _answer(report: Report) -> str:
    match outcome(report):
        case Outcome.DIFFERENT:
            return "No, not like this"
        case Outcome.INCOMPLETE:
            return "Nobody can say yet"
    return passing(report)


def _because(report: Report) -> str:
    known = judged(report)
    match outcome(report):
        case Outcome.DIFFERENT:
            counts = Counter(finding.severity for finding in known if finding.severity.at_least(report.fail_on))
            words = " and ".join(f"{counts[severity]:,} {severity}" for severity in Severity if counts[severity])
            over = sum(counts.values())
            return (
                f"{words} {'difference' if over == 1 else 'differences'}, of {len(known):,} that "
                f"{'was' if len(known) == 1 else 'were'} found. {'It' if over == 1 else 'They'} can hurt the model."
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
        "effect": effect(finding),
        "reason": sentence(finding.reason),
        "fix": sentence(finding.fix),
        "policy": sentence(decided(finding)),
    }


def _alike(findings: list[Finding]) -> list[list[Finding]]:
    """The findings that say the same of several items, together: a page of equal sentences is not read."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        said = (finding.severity, finding.difference.section, finding.effect, finding.reason, finding.policy)
        known = (finding.rule, finding.also, finding.evidence, "train again" in finding.fix)
        groups.setdefault(said + known, []).append(finding)
    return list(groups.values())


def _card(alike: list[Finding], report: Report) -> dict[str, Any]:
    finding = alike[0]
    said = effect(finding)
    found = ways(finding, report)
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
        "effect": said[0].upper() + said[1:],
        "ways": [{"what": sentence(way.what), "who": sentence(way.who), "smallest": way.smallest} for way in found],
        "alone": len(report.pins) == 1 and not report.left,
        "members": [_words(each) for each in alike],
        "title": name(things(finding.difference.section, len(alike))),
        "decides": finding.severity.at_least(report.fail_on),
        "owner": sentence("; or ".join([way.who for way in found] or [keeper(finding, report)])),
        "proofs": proofs,
        "rule": rule,
    }


def _row(finding: Finding, report: Report | None) -> dict[str, Any]:
    return _words(finding) | {
        "section": name(section(finding.difference.section)),
        "section_value": name(finding.difference.section),
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
            state, mark = "unknown", "not compared"
        else:
            state, mark = "same", "= nothing differs"
        yield {
            "name": name(layer.name),
            "before": name(layer.before),
            "after": name(layer.after),
            "state": state,
            "worst": str(worst.get(layer.name, "")),
            "mark": mark,
        }
