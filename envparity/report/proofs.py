"""How well it is known of each distribution of a lock which file it was installed from, for a person and a program."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec

from envparity.report.diff import encoded
from envparity.report.text import NAME, SENTENCE, Style, bounded, cells, name, printable, sentence
from envparity.values import STATES, Proof

_COLOURS = {
    "modified": "1;31",
    "unmatched": "1;31",
    "local-build": "1;33",
    "repacked": "33",
    "matched": "36",
    "proven": "32",
    "updated": "33",
    "added": "36",
}
_LABEL = 13


def text(found: Sequence[Proof], style: Style | None = None, *, verbose: bool = False) -> str:
    """
    Counts, then each distribution, worst first, with the reason and what settles it. The names of what is proven, or
    matched for one reason, share lines; with `verbose` each has lines of its own, with the file.
    """
    style = style or Style()
    summary = ", ".join(f"{number} {state}" for state, number in counts(found).items())
    lines = [style.bold(line) for line in style.wrapped(bounded(summary) or "nothing locked")]
    for state, group in groupby(found, key=lambda item: item.state):
        items = list(group)
        known = state if state in STATES else style.plain(name(state))[: _LABEL - 2]
        if not verbose and (state == "proven" or (state == "matched" and len(items) > 1)):
            listed = ", ".join(_named(item) for item in items)
            lines += _headed(state, style.wrapped(listed, first=f"{known:<{_LABEL}}", indent=" " * _LABEL), style)
            lines += [line for item in items for line in _yanked(item, style, _named(item))]
            for reason, remedy in dict.fromkeys((item.reason, item.remedy) for item in items):
                lines += style.wrapped(bounded(reason), first="  ", indent="  ") if reason else []
                lines += style.wrapped(bounded(remedy), first="  settle", indent=" " * _LABEL) if remedy else []
            continue
        for item in items:
            label = known if state in ("matched", "proven", "added") else known.upper()
            lines += _headed(state, style.wrapped(_named(item), first=f"{label:<{_LABEL}}", indent=" " * _LABEL), style)
            if item.file:
                lines += style.wrapped(bounded(item.file), first="  file", indent=" " * _LABEL)
            lines += _yanked(item, style)
            if item.attested and verbose:
                lines += style.wrapped(bounded(item.attested), first="  attested", indent=" " * _LABEL)
            if item.reason:
                lines += style.wrapped(bounded(item.reason), first="  ", indent="  ")
            if item.remedy:
                lines += style.wrapped(bounded(item.remedy), first="  settle", indent=" " * _LABEL)
            lines += _command(item.command, style)
    attested = sum(bool(item.attested) for item in found)
    if attested:
        told = f"attested: {attested} of {len(found)} have attestations on their index (PEP 740), not checked here"
        lines += style.wrapped(told, indent="  ")
    return "\n".join(lines) + "\n"


def _yanked(item: Proof, style: Style, named: str = "") -> list[str]:
    """That its author took the file back, and why; it trained the model all the same."""
    if not item.yanked:
        return []
    return style.wrapped(bounded(f"{named}: " * bool(named) + item.yanked), first="  yanked", indent=" " * _LABEL)


def _command(command: str, style: Style) -> Iterator[str]:
    """A command as it may be pasted: a line that goes on ends with a backslash. One that is too long is left out."""
    indent, line = " " * 4, ""
    for word in shlex.split(command) if len(command) <= SENTENCE else ():
        quoted = style.plain(shlex.quote(word))
        if line and cells(f"{indent}{line} {quoted} \\") > style.width:
            yield f"{indent}{line} \\"
            indent, line = " " * 6, quoted
        else:
            line = f"{line} {quoted}" if line else quoted
    if line:
        yield indent + line


def counts(found: Sequence[Proof]) -> dict[str, int]:
    """How many there are of each state, worst first; one that is not known comes before all."""
    states = [item.state for item in found]
    return {name(state): states.count(state) for state in (*sorted({*states} - {*STATES}), *STATES) if state in states}


def _named(item: Proof) -> str:
    # Letters of other alphabets look like ours, and a name of a distribution is ASCII.
    return f"{printable(bounded(item.name, NAME), ascii=True)} {name(item.version)}"


def _headed(state: str, lines: list[str], style: Style) -> Iterator[str]:
    label = lines[0][:_LABEL].rstrip()
    yield style.paint(label, _COLOURS.get(state, "1;31")) + lines[0][len(label) :]
    yield from lines[1:]


def json(found: Sequence[Proof], style: Style | None = None, *, verbose: bool = False) -> str:
    """The same for a program: the counts, and every distribution with its state."""
    items = [{key: sentence(str(value)) for key, value in msgspec.to_builtins(item).items()} for item in found]
    return encoded({"counts": counts(found), "distributions": items})
