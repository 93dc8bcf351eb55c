"""Many environments against one target: which of them may be served there, and what stands in the way."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from envparity.errors import ExitStatus
from envparity.report.diff import encoded, finding_object
from envparity.report.text import Style, change, subject
from envparity.values import Severity, Standing
from envparity.words import counted

_WORDS = {ExitStatus.OK: "OK", ExitStatus.FINDINGS: "DIFFERENT", ExitStatus.UNFINISHED: "INCOMPLETE"}
_FIRST = 40


def text(standings: Sequence[Standing], style: Style | None = None, *, verbose: bool = False) -> str:
    """For a person: a count, then a line for each that is not at parity, worst first; with `verbose` for every one."""
    style = style or Style()
    good = sum(standing.status == 0 for standing in standings)
    code = "1;32" if good == len(standings) else "1;31"
    lines = [style.paint(f"{good} of {counted(len(standings), 'snapshot')} may be served there", code), ""]
    told = [standing for standing in standings if verbose or standing.status != 0]
    shown = told if verbose else told[:_FIRST]
    for standing in shown:
        lines.append(style.clipped(f"  {_word(standing):<11}{style.plain(standing.label)}"))
        lines += [f"{' ' * 13}{line}" for line in _why(standing, style._replace(width=style.width - 13))]
    if len(told) > len(shown):
        lines.append(f"  and {len(told) - len(shown)} more (-v lists them)")
    return "\n".join(lines).rstrip("\n") + "\n"


def _word(standing: Standing) -> str:
    return "UNREADABLE" if standing.error else _WORDS.get(ExitStatus(standing.status), "?")


def _why(standing: Standing, style: Style) -> list[str]:
    if standing.error:
        return style.wrapped(standing.error)
    if standing.worst is None:
        return []
    counts = ", ".join(f"{standing.counts[name]} {name}" for name in Severity if standing.counts.get(name))
    worst = standing.worst
    return [
        style.clipped(f"{subject(worst.difference, style)} {change(worst.difference, style)} ({counts})"),
        *([style.clipped(style.plain(worst.reason))] if worst.severity.at_least(Severity.HIGH) else []),
    ]


def json(standings: Sequence[Standing], style: Style | None = None, *, verbose: bool = False) -> str:
    """For a program: a list, each with its status, counts, worst finding or error."""
    return encoded(
        [
            {
                **msgspec.to_builtins(standing),
                "counts": {str(name): standing.counts.get(name, 0) for name in Severity},
                "worst": finding_object(standing.worst) if standing.worst is not None else None,
                "error": standing.error,
            }
            for standing in standings
        ]
    )
