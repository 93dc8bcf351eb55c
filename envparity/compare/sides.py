"""The two sides of a comparison: how one field of them compares, and why an item may be absent from one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from envparity.values import Change, Difference, Environment, GapKind

Fact = Difference | None
"""What was looked at: a difference, or `None` where both sides say the same."""


def unknown(section: str, item: str, field: str, *, before: str = "", after: str = "", note: str) -> Difference:
    """A fact that only one side knows; `note` says why the other does not."""
    return Difference(
        section=section, item=item, field=field, change=Change.UNKNOWN, before=before, after=after, note=note
    )


def why(environment: Environment, section: str, *items: str) -> str:
    """The reason that a gap gives for a section, or for one of its items or fields first."""
    gaps = [gap for gap in environment.gaps if gap.section == section]
    named = [gap.reason for gap in gaps if gap.item and gap.item in items]
    whole = [gap.reason for gap in gaps if not gap.item]
    return next(iter(named + whole), "this source does not record it")


class Sides(NamedTuple):
    """One section of both Environments; says how one field of it compares, and why an item may be absent."""

    section: str
    before: Environment
    after: Environment

    def texts(self, item: str, field: str, left: str, right: str) -> Iterator[Fact]:
        """Compare as text. Nothing where neither side knows."""
        if left == right:
            if left:
                yield None
        elif left and right:
            yield Difference(
                section=self.section, item=item, field=field, change=Change.CHANGED, before=left, after=right
            )
        else:
            silent = self.after if left else self.before
            note = why(silent, self.section, item, field)
            yield unknown(self.section, item, field, before=left, after=right, note=note)

    def presence(self, item: str, field: str, left: str, right: str) -> Difference:
        """One side has the item and the other does not name it: added or removed, unless that side cannot know."""
        note = silence(self.after if left else self.before, self.section, item)
        if note:
            return unknown(self.section, item, field, before=left, after=right, note=note)
        change = Change.REMOVED if left else Change.ADDED
        return Difference(section=self.section, item=item, field=field, change=change, before=left, after=right)


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:-]*")
_METADATA = (".dist-info", ".egg-info")


@lru_cache(maxsize=1 << 14)
def normalised(name: str) -> str:
    """PEP 503: `Foo.Bar_baz` is `foo-bar-baz`. Letters that only look alike stay different."""
    return re.sub(r"[-_.]+", "-", name).lower()


def speaks_of(item: str, name: str) -> bool:
    """Whether the item of a gap, a name or a path of metadata, is this one."""
    return normalised(metadata_name(item) or item) == normalised(name)


def metadata_name(path: str) -> str:
    """`lib/foo_bar-1.0.dist-info/RECORD` names foo_bar; empty where the path is none of a distribution's metadata."""
    parts = (part for part in path.split("/") if part.endswith(_METADATA))
    return next((part.rpartition(".")[0].split("-")[0] for part in parts), "")


def silence(environment: Environment, section: str, name: str) -> str:
    """Why the absence of an item does not mean that it is not there; empty where it does mean that."""
    for gap in environment.gaps:
        if gap.section != section:
            continue
        if gap.item and speaks_of(gap.item, name):
            return gap.reason
        of_another = bool(gap.item) and bool(_NAME.fullmatch(gap.item) or metadata_name(gap.item))
        if gap.kind is GapKind.UNREAD and not of_another:
            # Part of the section could not be read, and nobody knows which items lay there.
            return gap.reason
        if gap.kind is GapKind.NOT_RECORDED and not gap.item:
            # The section holds something all the same: what the source cannot carry of it is another part.
            return gap.reason
    return "this source lists only what was asked for" if environment.open else ""


def told_apart(environment: Environment, section: str, name: str) -> str:
    """The reason of an unread gap that names this very item."""
    reasons = (
        gap.reason
        for gap in environment.gaps
        if gap.section == section and gap.kind is GapKind.UNREAD and gap.item and speaks_of(gap.item, name)
    )
    return next(reasons, "")


def yes_no(value: bool | None) -> str:
    """A text for a difference; empty where nobody knows."""
    return "" if value is None else "yes" if value else "no"


def listed(sides: Sides, left: dict[str, str], right: dict[str, str], field: str) -> Iterator[Fact]:
    """Compare named texts: each item that both name, and the presence of those that only one does."""
    for item in sorted(left.keys() | right.keys()):
        if item in left and item in right:
            yield from sides.texts(item, field, left[item], right[item])
        else:
            yield sides.presence(item, field, left.get(item, ""), right.get(item, ""))


def joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Texts by name. Several of one name are one text that holds them all: never "the last one wins"."""
    found: dict[str, set[str]] = {}
    for name, text in pairs:
        if text:
            found.setdefault(name, set()).add(text)
    return {name: " and ".join(sorted(texts)) for name, texts in found.items()}
