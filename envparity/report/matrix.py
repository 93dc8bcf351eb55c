"""One environment against several targets: findings down, targets across."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envparity.errors import ExitStatus
from envparity.report import diff
from envparity.report.text import Style, cells, subject
from envparity.values import Change, Finding, Report, Severity
from envparity.words import counted

_NARROWEST = 13
_NARROW = 6
_SUBJECT = 30
_VERDICTS = {ExitStatus.OK: "OK", ExitStatus.FINDINGS: "DIFFERENT", ExitStatus.UNFINISHED: "INCOMPLETE"}
_LETTERS = {
    Severity.CRITICAL: "CRIT",
    Severity.HIGH: "HIGH",
    Severity.MEDIUM: "med",
    Severity.LOW: "low",
    Severity.INFO: "info",
}
Key = tuple[str, str, str]


def text(reports: Sequence[Report], style: Style | None = None, *, verbose: bool = False) -> str:
    """
    For a person: a row for each finding that is medium or worse somewhere (`verbose`: low, too), worst first; a column
    for each target, with what is there and how bad that is. Then why, what to do, and the exit status of each. With
    `verbose` the report of each target follows in full.
    """
    style = style or Style()
    rows = _rows(reports, Severity.LOW if verbose else Severity.MEDIUM)
    lines = [*(style.faint(line) for line in style.wrapped(f"{reports[0].before}, against {len(reports)} targets")), ""]
    lines += _table(reports, rows, style)
    lines += _reasons(reports, rows, style)
    for report in reports:
        below = sum(
            finding.difference.change is not Change.UNKNOWN and _key(finding) not in rows for finding in report.findings
        )
        unknown = sum(finding.difference.change is Change.UNKNOWN for finding in report.findings)
        more = f"{counted(below, 'smaller difference')}, {unknown} not known"
        lines += ["", style.bold(style.plain(report.after)), *style.wrapped(more, first="  ", indent="  ")]
        lines += [f"  {line}" for line in diff.ending(report, style._replace(width=style.width - 2))]
    if verbose:
        for report in reports:
            lines += ["", style.faint("-" * style.width), diff.text(report, style, verbose=True).rstrip("\n")]
    return "\n".join(lines) + "\n"


def _key(finding: Finding) -> Key:
    difference = finding.difference
    return difference.section, difference.item, difference.field


def _rows(reports: Sequence[Report], least: Severity) -> dict[Key, list[Finding | None]]:
    found: dict[Key, list[Finding | None]] = {}
    for number, report in enumerate(reports):
        for finding in report.findings:
            if finding.difference.change is not Change.UNKNOWN:
                cell = found.setdefault(_key(finding), [None] * len(reports))
                if cell[number] is None:  # the worst of several comes first
                    cell[number] = finding
    shown = {key: row for key, row in found.items() if _worst(row).severity.at_least(least)}
    return dict(sorted(shown.items(), key=lambda pair: (-_worst(pair[1]).severity.rank, pair[0])))


def _worst(row: Sequence[Finding | None]) -> Finding:
    return max((finding for finding in row if finding is not None), key=lambda finding: finding.severity.rank)


def _table(reports: Sequence[Report], rows: dict[Key, list[Finding | None]], style: Style) -> Iterator[str]:
    width = (style.width - _SUBJECT - 2) // len(reports)
    wide = width >= _NARROWEST
    names = [style.plain(report.after) for report in reports]
    if not wide:
        yield from (style.clipped(f"  {number:<3}{name}") for number, name in enumerate(names, 1))
        names = [str(number) for number in range(1, len(reports) + 1)]
    verdicts = [_VERDICTS.get(ExitStatus(report.status), "?") for report in reports]
    width = width if wide else _NARROW
    step = max((style.width - _SUBJECT - 2) // width, 1)
    for first in range(0, len(reports), step):  # as many tables as it takes
        some = slice(first, first + step)
        if not wide:
            yield ""
        yield style.bold(" " * (_SUBJECT + 2) + "".join(_filled(name, width, style) for name in names[some]).rstrip())
        words = [verdict if wide else verdict[: _NARROW - 1] for verdict in verdicts[some]]
        filled = "".join(_filled(word, width, style) for word in words)
        yield f"  {_filled('verdict', _SUBJECT, style)}{filled}".rstrip()
        for row in rows.values():
            line = f"  {_filled(subject(_worst(row).difference, style), _SUBJECT, style)}"
            for finding in row[some]:
                filled = _filled(_cell(finding, wide, style), width, style)
                line += style.severity(finding.severity, filled) if finding is not None else filled
            yield line.rstrip()


def _cell(finding: Finding | None, wide: bool, style: Style) -> str:
    if finding is None:
        return "=" if style.ascii else "·"
    letter = _LETTERS[finding.severity]
    if not wide:
        return letter
    gone = finding.difference.change is Change.REMOVED
    return f"{letter} {'gone' if gone else style.plain(finding.difference.after)[:60]}".strip()


def _filled(text: str, width: int, style: Style) -> str:
    text = style._replace(width=width - 1).clipped(text)
    return text + " " * (width - cells(text))


def _reasons(reports: Sequence[Report], rows: dict[Key, list[Finding | None]], style: Style) -> Iterator[str]:
    for row in rows.values():
        worst = _worst(row)
        if not worst.severity.at_least(Severity.HIGH):
            continue
        yield ""
        head = f"{str(worst.severity).upper()} {subject(worst.difference, style)}"
        yield style.severity(worst.severity, head)
        yield from style.wrapped(worst.reason, first="  ", indent="  ")
        if worst.fix:
            yield from style.wrapped(worst.fix, first="  fix", indent=" " * 12)
        if worst.rule:
            yield from style.wrapped(worst.rule, first="  rule", indent=" " * 12)
