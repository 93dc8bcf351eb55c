"""Two versions, or a version and a range: equal, satisfied, different, or not to be told (PEP 440)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from envparity.compare.sides import Fact, Sides, unknown, why
from envparity.values import Basis, Change, CondaPackage, Difference, Distribution, Python


class Stated(NamedTuple):
    """What one side says of a version: an exact one, or a range, or neither. `pinned` marks `==1.2` for `1.2`."""

    exact: str
    specifier: str
    pinned: bool

    @classmethod
    def of(cls, stated: Python | Distribution | CondaPackage) -> Stated:
        """What a value says of its version; a pin counts as exact."""
        pin = re.fullmatch(r"\s*===?\s*([^\s*,;]+)\s*", stated.specifier)
        if stated.version:
            return cls(stated.version, "", stated.basis is Basis.DECLARED)
        return cls(pin[1], "", True) if pin else cls("", stated.specifier.strip(), False)

    @property
    def text(self) -> str:
        """The one that is known."""
        return self.exact or self.specifier


def within(version: str, specifier: str) -> bool | None:
    """Whether a version lies in a range (PEP 440); `None` where one of them is not of that grammar."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    try:
        return SpecifierSet(specifier).contains(Version(version), prereleases=True)
    except ValueError:  # not of the grammar, or a number with more digits than Python reads
        return None


def same_version(left: str, right: str) -> bool:
    """`1.0` is `1.0.0` (PEP 440). What is not of that grammar (`2004d`, `unknown`) is compared as text."""
    if left == right:
        return True
    from packaging.version import Version

    try:
        return Version(left) == Version(right)
    except ValueError:
        return False


def is_version(text: str) -> bool:
    """Whether PEP 440 knows it."""
    from packaging.version import Version

    try:
        Version(text)
    except ValueError:
        return False
    return True


def same_range(left: str, right: str) -> bool:
    """Whether two specifiers are one, in whatever order their clauses stand."""
    if left == right:
        return True
    from packaging.specifiers import SpecifierSet

    try:
        return SpecifierSet(left) == SpecifierSet(right)
    except ValueError:
        return False


def versions(sides: Sides, item: str, left: Stated, right: Stated) -> Iterator[Fact]:
    """One fact: the same version, another one, one inside a range, or a side that does not say."""

    def fact(change: Change, note: str = "") -> Difference:
        return Difference(
            section=sides.section,
            item=item,
            field="version",
            change=change,
            before=left.text,
            after=right.text,
            note=note,
        )

    if not left.text and not right.text:
        if item != "python":
            yield None
    elif not left.text or not right.text:
        silent = sides.after if left.text else sides.before
        note = "it is named without a version" if item != "python" else why(silent, "python", "version")
        yield fact(Change.UNKNOWN, note)
    elif left.exact and right.exact:
        if same_version(left.exact, right.exact):
            yield None
        elif (right.pinned and within(left.exact, f"=={right.exact}")) or (
            left.pinned and within(right.exact, f"=={left.exact}")
        ):
            # PEP 440: `==2.1` accepts `2.1+cu121`, which is another build of it.
            yield fact(Change.SATISFIED, "the pin accepts any local build of that version")
        else:
            odd = [text for text in (left.exact, right.exact) if not is_version(text)]
            yield fact(Change.CHANGED, f"compared as text: `{odd[0]}` is not a PEP 440 version" if odd else "")
    elif left.exact or right.exact:
        exact, specifier = (left.exact, right.specifier) if left.exact else (right.exact, left.specifier)
        match within(exact, specifier):
            case None:
                # The side of the range is not known, so its text goes into the note.
                note = f"`{exact}` cannot be checked against `{specifier}`"
                known = {"before": exact} if left.exact else {"after": exact}
                yield unknown(sides.section, item, "version", **known, note=note)
            case True:
                yield fact(Change.SATISFIED, "a range was declared; which version it gives is not known")
            case False:
                yield fact(Change.CHANGED)
    elif same_range(left.specifier, right.specifier):
        yield None
    else:
        yield fact(Change.CHANGED, "both sides declare a range")
