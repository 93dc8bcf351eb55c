"""What every text for people is made of: a style, escaping, wrapping, and the block of one finding."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from envparity.report.words import section
from envparity.values import Change, Difference, Finding, Severity

_ASCII = {"→": "->", "…": "...", "·": "-", "–": "-", "’": "'"}
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_COLOURS = {
    Severity.CRITICAL: "1;37;41",
    Severity.HIGH: "1;31",
    Severity.MEDIUM: "1;33",
    Severity.LOW: "36",
    Severity.INFO: "2",
}

# RFC 3986: what a URL is written with. A quote, an angle bracket or a backslash would end it in some medium.
_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?(?:[/?#][A-Za-z0-9._~:/?#@!$&()*+,;=%\[\]-]*)?")


def printable(text: str, *, ascii: bool = False) -> str:
    r"""
    The text with everything escaped that a terminal could obey: control characters, escapes, what turns the direction
    of writing, line breaks, and bytes that are no text; and what a pipeline that keeps the output could obey. With
    `ascii`, every other letter too (`\u0441`).
    """
    out = []
    for character in text:
        if character in _ASCII and ascii:
            out.append(_ASCII[character])
        elif unicodedata.category(character) in _UNPRINTABLE or (ascii and not character.isascii()):
            out.append(_escaped(character))
        else:
            out.append(character)
    # A runner of workflows obeys a line of a log that begins with `::`, indented or not, and one that holds `##[`.
    return re.sub(r"(?<!\S)::", r"\\x3a:", "".join(out)).replace("##[", r"#\x23[")


def _escaped(character: str) -> str:
    number = ord(character)
    if character in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character]
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def cells(text: str) -> int:
    """How many columns a terminal gives to a text."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


NAME = 160
"""How many characters of a name or a version are shown."""

SENTENCE = 1_000
"""How many of a reason, a remedy, or what a proof says."""


def bounded(text: str, limit: int = SENTENCE) -> str:
    """The text, cut after so many characters with a mark that says how long it was."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def sentence(text: str) -> str:
    """A sentence of data, bounded and without a character that could be obeyed; its medium still has to escape it."""
    return printable(bounded(text))


def name(text: str) -> str:
    """The same for a name, a version or a label."""
    return printable(bounded(text, NAME))


def link(url: str) -> str:
    """The address if a reader may be led there: https or http, made of a URL's own characters; else nothing."""
    return url if len(url) <= SENTENCE and _ADDRESS.fullmatch(url) else ""


class Style(NamedTuple):
    """Where a text is shown: whether it takes colour, how wide it is, and whether it takes more than ASCII."""

    colour: bool = False
    width: int = 80
    ascii: bool = False

    def plain(self, text: str) -> str:
        """A text of data, made safe for this place."""
        return printable(text, ascii=self.ascii)

    def paint(self, text: str, code: str) -> str:
        """A text that was made safe already, in colour where the place takes it."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and code else text

    def bold(self, text: str) -> str:
        """For headings."""
        return self.paint(text, "1")

    def faint(self, text: str) -> str:
        """For what may be skipped."""
        return self.paint(text, "2")

    def severity(self, severity: Severity, text: str) -> str:
        """In the colour of a severity."""
        return self.paint(text, _COLOURS[severity])

    def wrapped(self, text: str, *, first: str = "", indent: str = "") -> list[str]:
        """
        Lines no wider than the place. `first` begins the first line (a label is filled up to `indent`, which is never
        shorter), `indent` the others. Words are kept whole unless one is wider than a line.
        """
        room = max(self.width - cells(indent), 8)
        lines: list[str] = []
        line = ""
        for word in self.plain(text).split(" "):
            candidate = f"{line} {word}" if line else word
            if cells(candidate) <= room:
                line = candidate
                continue
            if line:
                lines.append(line)
            line = word
            while (cut := _cut(line, room)) < len(line):
                lines.append(line[:cut])
                line = re.sub("^::", r"\\x3a:", line[cut:])
        lines.append(line)
        begin = first.ljust(len(indent)) if first.strip() or not first else first
        return [f"{indent if index else begin}{line}" for index, line in enumerate(lines)]

    def clipped(self, text: str) -> str:
        """One line of a text that was made safe already, cut to the width with a mark."""
        if cells(text) <= self.width:
            return text
        mark = "..." if self.ascii else "…"
        return text[: _cut(text, self.width - len(mark))] + mark


def _cut(text: str, room: int) -> int:
    """How many characters fit into so many columns; at least one, so that wrapping ends."""
    used = 0
    for index, character in enumerate(text):
        used += cells(character)
        if used > room:
            return max(index, 1)
    return len(text)


_WORDS = {
    "record_sha256": "wheel",
    "libc_version": "libc",
    "isa_level": "level",
    "shadowed": "",
    "version": "",
    "value": "",
    "model": "",
    "data": "",
}
_SUBJECTS = {"python": "Python", "system": "", "cpu": "CPU", "os_packages": ""}


def subject(difference: Difference, style: Style) -> str:
    """What a difference speaks of, in few words: `scikit-learn`, `Python`, `CPU level`, `libc`."""
    if not difference.item:
        return style.plain(section(difference.section))
    # Letters of other alphabets look like ours: a name of a distribution is ASCII, so all others are escaped.
    item = printable(bounded(difference.item, NAME), ascii=style.ascii or difference.section == "distributions")
    if difference.section in {"python", "system", "cpu"}:
        item = _SUBJECTS[difference.section]
    field = "" if difference.section == "artifacts" else _WORDS.get(difference.field, difference.field)
    return " ".join(filter(None, (item, style.plain(field.replace("_", " ")))))


def change(difference: Difference, style: Style) -> str:
    """`1.4.2 → 1.5.2`, `1.4.2 → gone`, `added 1.0`; digests are cut to what tells them apart."""
    before, after = (style.plain(_short(text)) for text in (difference.before, difference.after))
    arrow = "->" if style.ascii else "→"
    match difference.change:
        case Change.ADDED:
            return f"added {after}".strip()
        case Change.REMOVED:
            return f"{before} {arrow} gone".strip()
        case Change.UNKNOWN:
            return f"{before or 'not known'} {arrow} {after or 'not known'}"
        case _:
            return f"{before} {arrow} {after}"


def _short(text: str) -> str:
    if len(text) == 64 and all(letter in "0123456789abcdef" for letter in text):
        return text[:12]
    return bounded(text, NAME)


def finding_block(finding: Finding, style: Style) -> Iterator[str]:
    """One finding in full: severity and effect, what changed, the reason, how we know, and what to do."""
    name = str(finding.severity).upper()
    head = f"{subject(finding.difference, style)} {change(finding.difference, style)}"
    lines = style.wrapped(head, first=f"{name} ", indent=" " * 10)
    lines[0] = style.severity(finding.severity, lines[0][: len(name)]) + style.bold(lines[0][len(name) :])
    yield from lines
    yield from style.wrapped(bounded(finding.reason), first=" " * 2, indent="  ")
    for label, text in _details(finding):
        # An address is only of use in one piece, so a long one begins further to the left.
        fits = label or cells(text) <= style.width - 12
        lines = style.wrapped(text, first=f"  {label}", indent=" " * (12 if fits else 2))
        yield style.faint(lines[0][:12]) + lines[0][12:]
        yield from lines[1:]


def _details(finding: Finding) -> Iterator[tuple[str, str]]:
    yield "effect", str(finding.effect)
    for evidence in finding.evidence:
        yield evidence.kind, bounded(evidence.gist)
        if evidence.url:
            yield "", bounded(evidence.url)
    if finding.fix:
        yield "fix", bounded(finding.fix)
    if finding.policy:
        yield "policy", f"{bounded(finding.policy)} (was {finding.was})"
    if finding.rule:
        yield "rule", bounded(" ".join((finding.rule, *(f"(also {rule})" for rule in finding.also))))


def finding_line(finding: Finding, style: Style) -> str:
    """One finding on one line."""
    head = f"{subject(finding.difference, style)} {change(finding.difference, style)}"
    name = f"{finding.severity:<8}"
    line = style.clipped(f"  {name}{head}  {style.plain(bounded(finding.reason))}")
    return f"  {style.severity(finding.severity, name)}{line[10:]}" if style.colour else line


def set_aside(finding: Finding, style: Style) -> Iterator[str]:
    """A finding that a policy changed: what it is now, what it was, and who decided that, until when and why."""
    head = f"{subject(finding.difference, style)} {change(finding.difference, style)}"
    name = f"{finding.severity:<8}"
    line = style.clipped(f"  {name}{head}  (was {finding.was})")
    yield f"  {style.severity(finding.severity, name)}{line[10:]}" if style.colour else line
    yield from style.wrapped(bounded(finding.policy), first=" " * 10, indent=" " * 10)
