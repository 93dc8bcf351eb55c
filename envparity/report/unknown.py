"""What is not known, grouped by its reason, so that a hundred facts with one cause are one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from envparity.report.text import NAME, Style, bounded, subject
from envparity.report.words import section as words
from envparity.report.words import things
from envparity.values import Change, Difference, Finding, Gap, GapKind
from envparity.words import listed

_LONG = 40


class Unknown(NamedTuple):
    """What one side (or both, or the only one, whose name is then empty) does not say, for one reason."""

    unread: bool
    side: str
    reason: str
    names: tuple[str, ...]

    def title(self, most: int) -> str:
        """Whose it is, and what, as one text for people."""
        side = f"{bounded(self.side, NAME)}: " if self.side else ""
        return f"{'could not be read: ' if self.unread else ''}{side}{listed(self.names, most)}"


def unknown_lines(
    findings: Iterable[Finding],
    gaps_before: Iterable[Gap],
    gaps_after: Iterable[Gap],
    labels: tuple[str, str],
    style: Style,
) -> Iterator[str]:
    """
    For each reason one entry: of which side, what is not known, and why. What could not be read comes first.
    """
    for entry in unknown(findings, gaps_before, gaps_after, labels, style):
        yield from style.wrapped(entry.title(6), first="  ", indent="  ")
        yield from (style.faint(line) for line in style.wrapped(bounded(entry.reason), first="    ", indent="    "))


def unknown(
    findings: Iterable[Finding],
    gaps_before: Iterable[Gap],
    gaps_after: Iterable[Gap],
    labels: tuple[str, str],
    style: Style,
    most: int = 3,
) -> list[Unknown]:
    """The same as values, for other formats; of many like facts the first `most` are named."""
    groups: dict[tuple[bool, str, str], list[str]] = {}
    facts: dict[tuple[str, str, str, str], list[Difference]] = {}
    for finding in findings:
        difference = finding.difference
        if difference.change is Change.UNKNOWN:
            side = labels[1] if difference.before else labels[0]
            facts.setdefault((side, difference.note, difference.section, difference.field), []).append(difference)
    sides: dict[Gap, list[str]] = {}
    for label, gaps in zip(labels, (gaps_before, gaps_after), strict=True):
        for gap in gaps:
            sides.setdefault(gap, []).append(label)
    unread = {(gap.section, gap.reason) for gap in sides if gap.kind is GapKind.UNREAD}
    for (side, note, section, field), differences in facts.items():
        groups.setdefault((((section, note) not in unread), side, note), []).append(
            _named(field, differences, style, most)
        )
    told = {(side, note, section) for side, note, section, _ in facts}
    for gap, labelled in sides.items():
        if any((label, gap.reason, gap.section) in told for label in labelled):
            continue
        side = labelled[0] if len(labelled) == 1 else "both"
        item = gap.item if gap.kind is GapKind.UNREAD else _end_of(gap.item)
        # Of the files of a model, the item says all: `data`.
        whole = "" if item and gap.section == "artifacts" else words(gap.section)
        name = f"{whole} {bounded(item, NAME)}".strip()
        groups.setdefault((gap.kind is not GapKind.UNREAD, side, gap.reason), []).append(style.plain(name))
    return [
        Unknown(not readable, side, reason, tuple(dict.fromkeys(names)))
        for (readable, side, reason), names in sorted(groups.items())
    ]


def _end_of(item: str) -> str:
    """The last two parts of a long path: the document has all of it, and a line of a report has no room."""
    parts = item.split("/")
    return ".../" + "/".join(parts[-2:]) if item.startswith("/") and len(item) > _LONG and len(parts) > 3 else item


def _named(field: str, differences: list[Difference], style: Style, most: int) -> str:
    if len(differences) == 1:
        return subject(differences[0], style)
    what = things(differences[0].section, len(differences))
    names = listed((subject(difference, style).split(" ")[0] for difference in differences), most)
    return f"{field.replace('_', ' ') + ' of ' if field and field != 'version' else ''}{what} ({names})"
