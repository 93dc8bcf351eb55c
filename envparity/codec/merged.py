"""A text that people have commented, brought up to date: only the lines that differ are written anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import SequenceMatcher


def merged(text: str, base: str, new: str) -> str | None:
    """
    `text` with every change that leads from `base` to `new`, and with all of its comments.

    Args:
        text: what lies there: the lines of `base`, with comments and empty lines that people put between and behind.
        base: the same without them, as it was written once.
        new: what is to be written.

    Returns:
        `None` where `text` has other lines than that: it was laid out anew, and which comment belongs where is not
        known.
    """
    lines = _aligned(text.splitlines(), base.splitlines())
    if lines is None:
        return None
    before, after = base.splitlines(), new.splitlines()
    out: list[str] = []
    for kind, start, end, new_start, new_end in SequenceMatcher(None, before, after).get_opcodes():
        old, wanted = lines[start:end], after[new_start:new_end]
        if kind == "equal":
            for line in old:
                out += [*line.above, *([line.text] if line.kept else [])]
            continue
        pairs = len(old) == len(wanted)
        for number, line in enumerate(old):
            out += line.above
            if pairs:
                out.append(wanted[number] + line.behind)
            elif line.behind:
                out.append(line.behind.strip())
        if not pairs:
            out += wanted
    ending = "\r\n" if "\r\n" in text else "\n"
    return ending.join([*out, *lines[-1].above]) + ending


@dataclass
class _Line:
    """One line of the base as it lies there: with what stands above it, and the comment behind it."""

    text: str = ""
    behind: str = ""
    above: list[str] = field(default_factory=list)
    kept: bool = True


def _aligned(lines: list[str], base: list[str]) -> list[_Line] | None:
    """Each line of the base with what people made of it, and one more for the end; `None` where one is not found."""
    found: list[_Line] = []
    above: list[str] = []
    for line in lines:
        while len(found) < len(base) and not base[len(found)].strip() and line.strip() and not _is_comment(line):
            found.append(_Line(above=above, kept=False))  # an empty line that was taken out
            above = []
        wanted = base[len(found)] if len(found) < len(base) else None
        behind = _behind(line, wanted)
        if behind is not None:
            found.append(_Line(line.rstrip(), behind, above))
            above = []
        elif not line.strip() or _is_comment(line):
            above.append(line.rstrip())
        else:
            return None
    while len(found) < len(base) and not base[len(found)].strip():
        found.append(_Line(kept=False))
    return [*found, _Line(above=above)] if len(found) == len(base) else None


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _behind(line: str, wanted: str | None) -> str | None:
    """The comment behind a line of the base; `None` where it is another line."""
    if wanted is None or not line.startswith(wanted):
        return None
    rest = line[len(wanted) :].rstrip()
    return rest if not rest or (wanted.strip() and rest.lstrip().startswith("#")) else None
