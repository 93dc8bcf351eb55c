"""
The report of a comparison as Markdown, for a comment on a pull request: the verdict, a table of what matters, the rest
folded.

A comment holds 65,536 characters. Bytes are counted here, so that it fits however they are counted there; each part
has its share, and what was left out is said with its number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from envparity.report.outcome import (
    Outcome,
    decided,
    effect,
    judged,
    matters,
    of_policy,
    outcome,
    owner,
    remedy,
    status,
    unjudged,
    verdict,
)
from envparity.report.text import Style, bounded, change, link, name, sentence, subject
from envparity.report.unknown import unknown
from envparity.values import Finding, Report
from envparity.words import counted

LIMIT = 65_536
_LEAST = 3_000
_NOTE = 160
_MOST_OF_POLICY = 5
_STYLE = Style()
_SIGNS = {Outcome.DIFFERENT: "❌", Outcome.INCOMPLETE: "⚠️", Outcome.OK: "✅"}


def markdown(report: Report, style: Style | None = None, *, verbose: bool = False) -> str:
    """One comparison."""
    return _page(report, LIMIT)


def several(reports: Sequence[Report], style: Style | None = None, *, verbose: bool = False) -> str:
    """Several comparisons, those that fail first; where they do not all fit, the last are counted."""
    order = sorted(reports, key=lambda report: list(Outcome).index(outcome(report)))
    left = LIMIT - _NOTE
    pages: list[str] = []
    for report in order:
        page = _page(report, max(LIMIT // len(order) - 1, _LEAST))
        left -= _size(page) + 1
        if left < 0:
            more = counted(len(order) - len(pages), "more comparison")
            pages.append(f"{more} left out: a comment has no room for more.\n")
            break
        pages.append(page)
    return "\n".join(pages)


def escaped(text: str) -> str:
    """
    A text that was made printable, so that Markdown shows it as it is: no markup, link, mention, reference or formula.

    Character references stand for themselves wherever Markdown looks for structure. Mentions and references are sought
    in the finished page, so a space without width keeps them from being found.
    """
    text = _MARKUP.sub(lambda found: f"&#{ord(found[0])};", text)
    return _REFERENCE.sub(lambda found: f"{found[0]}&#8203;", text)


def code(text: str) -> str:
    """The same for a name or a version, in the letters of code."""
    return f"<code>{_MARKUP.sub(lambda found: f'&#{ord(found[0])};', text)}</code>" if text else ""


# `www.` and `://` begin a link, `:word:` is a picture, `- `, `+ ` and `1. ` begin a list where they begin a text.
_MARKUP = re.compile(r"[\\`*_{}\[\]()<>#!|~&$]|:(?!\s|$)|(?<=www)\.|^[-+=\s]|^\d(?=\d*[.)](?:\s|$))", re.IGNORECASE)
_REFERENCE = re.compile(r"@|&#35;(?=\w)|\bgh-(?=\d)|&#33;(?=\d)|%(?=\w)", re.IGNORECASE)


class _Part(NamedTuple):
    """
    A part of the page: what stands before its rows and after them, and its share of the room that is left. A row is
    made when it is its turn, since of a hundred thousand a few fit.
    """

    opening: str
    total: int
    rows: Iterable[str]
    closing: str
    share: float
    what: str

    def within(self, room: int) -> str:
        """As many rows as fit, and the number of the others."""
        if not self.total:
            return ""
        left = int(room * self.share) - _size(self.opening) - _size(self.closing) - _NOTE
        shown = []
        for row in self.rows:
            left -= _size(row)
            if left < 0:
                break
            shown.append(row)
        missing = self.total - len(shown)
        note = f"\n{missing:,} of {self.total:,} {self.what} are left out here: a comment has no room for more.\n"
        note = note if missing else ""
        return f"{self.opening}{''.join(shown)}{note}{self.closing}" if shown else note


def _size(text: str) -> int:
    return len(text.encode())


def _page(report: Report, room: int) -> str:
    head = [
        f"### {_SIGNS[outcome(report)]} {escaped(verdict(report))}",
        f"{code(name(report.before))} → {code(name(report.after))}",
        *([f"**{escaped(sentence(remedy(report)))}**"] if report.pins else []),
    ]
    said = [f"- policy: {escaped(sentence(bounded(text, 300)))}\n" for text in of_policy(report)[:_MOST_OF_POLICY]]
    foot = "".join(("\n", *said, "\n" if said else "", escaped(sentence(status(report))), "\n"))
    page = "\n\n".join(head) + "\n"
    for part in _parts(report):
        page += part.within(room - _size(page) - _size(foot))
    return page + foot


def _parts(report: Report) -> Iterable[_Part]:
    known = judged(report)
    full = [finding for finding in known if matters(finding, report.fail_on)]
    lesser = [finding for finding in known if not matters(finding, report.fail_on)]
    yield _Part(
        "\n| severity | what differs | what it may do | what to do | by whom |\n| --- | --- | --- | --- | --- |\n",
        len(full),
        map(_row, full),
        "",
        0.5,
        "findings that matter",
    )
    count = sum(len(finding.evidence) for finding in full)
    yield _folded("How we know", count, (line for finding in full for line in _proofs(finding)), 0.5, "proofs")
    title, table = (
        counted(len(lesser), "smaller difference"),
        "| severity | what differs | why |\n| --- | --- | --- |\n",
    )
    yield _folded(title, len(lesser), map(_line, lesser), 0.7, "smaller differences", table)
    labels = (report.before, report.after)
    entries = unknown(unjudged(report), report.gaps_before, report.gaps_after, labels, _STYLE)
    lines = (f"- {escaped(sentence(entry.title(6)))}: {escaped(sentence(entry.reason))}\n" for entry in entries)
    yield _folded("Not known", len(entries), lines, 1.0, "reasons")


def _folded(title: str, total: int, rows: Iterable[str], share: float, what: str, table: str = "") -> _Part:
    opening = f"\n<details>\n<summary>{title}</summary>\n\n{table}"
    return _Part(opening, total, rows, "\n</details>\n", share, what)


def _what(finding: Finding) -> str:
    difference = finding.difference
    return f"{code(subject(difference, _STYLE))} {code(change(difference, _STYLE))}".strip()


def _row(finding: Finding) -> str:
    said = f"**{effect(finding)}**: {_reason(finding)}"
    fix = escaped(sentence(finding.fix))
    return f"| **{finding.severity}** | {_what(finding)} | {said} | {fix} | {owner(finding)} |\n"


def _line(finding: Finding) -> str:
    return f"| {finding.severity} | {_what(finding)} | {_reason(finding)} |\n"


def _reason(finding: Finding) -> str:
    policy = f" Policy: {escaped(sentence(decided(finding)))}" if finding.policy else ""
    return f"{escaped(sentence(finding.reason))}{policy}"


def _proofs(finding: Finding) -> Iterable[str]:
    about = code(subject(finding.difference, _STYLE))
    for proof in finding.evidence:
        address = link(proof.url)
        host = escaped(address.split("/")[2]) if address else escaped(name(proof.url))
        source = f" [{host}](<{address.replace('&', '&amp;')}>)" if address else f" {host}" if host else ""
        read = f" ({escaped(name(proof.read_on))})" if proof.read_on else ""
        kind = escaped(name(proof.kind))
        yield f"- {about} {code(name(finding.rule))} {kind}{read}: {escaped(sentence(proof.gist))}{source}\n"
