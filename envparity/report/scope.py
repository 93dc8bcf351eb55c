"""How far an answer reaches: what one side, or both, do not say, and the next step that would tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from envparity.report.outcome import Outcome, outcome, unjudged
from envparity.report.text import NAME, Style, bounded, subject
from envparity.report.words import ORDER, section, things
from envparity.values import Origin, Report
from envparity.words import listed

_STYLE = Style()
_WHOLE = ("python", "system", "cpu", "accelerators", "os_packages", "native_libraries", "distributions")
"""What every runtime has, so that a gap of both sides is one: not every model has conda packages, or source code."""

_NO_FILES = {"live", "image", ""}


class Silence(NamedTuple):
    """What is not known of one side (or of `either side`), in words."""

    side: str
    what: tuple[str, ...]


def silences(report: Report) -> list[Silence]:
    """Of each side what it does not say although the other one does; and what a runtime has, and neither side says."""
    found = []
    for label, is_after in ((report.after, True), (report.before, False)):
        if what := tuple(_missing(report, after=is_after)):
            found.append(Silence(label, what))
    gaps = ({gap.section for gap in side if not gap.item} for side in (report.gaps_before, report.gaps_after))
    neither = set.intersection(*gaps)
    if what := tuple(section(name) for name in _WHOLE if name in neither):
        found.append(Silence("either side", what))
    return found


def _missing(report: Report, *, after: bool) -> Iterator[str]:
    items: dict[str, dict[str, str] | None] = {}
    for finding in unjudged(report):
        difference = finding.difference
        if bool(difference.before) is not after:
            continue
        if not difference.item:
            items[difference.section] = None
        elif (known := items.setdefault(difference.section, {})) is not None:
            known[difference.item] = subject(difference, _STYLE).split(" ")[0]
    for name in sorted(items, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER)):
        single = items[name]
        if single is None:
            yield section(name)
        else:
            names = f" ({listed(single.values(), 3)})" if name == "distributions" else ""
            yield f"{things(name, len(single))}{names}"


def next_step(report: Report) -> str:
    """What would make the answer cover more, where a side is a file that cannot say more; else nothing."""
    silent = {silence.side for silence in silences(report)}
    both = "either side" in silent
    places = [
        place
        for place, label, origin in (
            ("production", report.after, report.origin_after),
            ("the training", report.before, report.origin_before),
        )
        if is_file(origin) and (both or label in silent)
    ]
    return f"a snapshot of {' and one of '.join(places)}" if places else ""


def is_file(origin: Origin | None) -> bool:
    """Whether a side was read from a file that somebody or a tool wrote, and from no place that was looked at."""
    return origin is not None and origin.kind not in _NO_FILES


def read_from(origin: Origin | None) -> str:
    """What a side is, and the day (UTC) on which it was read: `a requirements file, read on 2026-11-26`."""
    if origin is None:
        return ""
    what = {"live": "an environment", "image": "an image", "requirements": "a requirements file"}.get(origin.kind, "")
    what = what or ("a file" if is_file(origin) else "")
    day = bounded(origin.taken_at, NAME).partition("T")[0]
    verb = "recorded" if origin.kind == "live" else "read"
    return ", ".join(filter(None, (what, f"{verb} on {day}" if day else "")))


def passing(report: Report) -> str:
    """The answer where nothing fails: what is not known is no yes."""
    return "Yes, as far as it is known" if silences(report) else "Yes"


def after_the_pins(report: Report) -> str:
    """The answer that the smallest change leads to, where it clears everything; else nothing."""
    clears = report.pins and not report.left and not report.blocked and outcome(report) is Outcome.DIFFERENT
    return passing(report) if clears else ""
