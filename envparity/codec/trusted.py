"""Text that a person or a tool wrote: within a limit, in UTF-8, and not in the middle of a merge."""

from __future__ import annotations

import re

from envparity.errors import MalformedError
from envparity.files import decoded

MOST_BYTES = 64 << 20

_CONFLICT = re.compile(r"^(?:<{7}|>{7}|\|{7})(?: |$)", re.MULTILINE)


def refuse_nul(data: bytes, what: str) -> None:
    """Raise MalformedError, with the line, for NUL characters; UTF-16 with its mark is told as what it is later."""
    if b"\0" in data and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise MalformedError(
            f"{what} holds NUL characters: it is binary, or UTF-16 without a mark at its beginning",
            hint="save it as UTF-8",
            where=f"line {line}",
        )


def trusted_text(data: bytes, what: str, *, limit: int = MOST_BYTES) -> str:
    """
    The text of a document, before any parser sees it.

    Raises:
        MalformedError: too large, not UTF-8 (the encoding that it seems to have is named), NUL characters, or the marks
            of a merge conflict; each with its line.
    """
    if len(data) > limit:
        raise MalformedError(f"{what} has {len(data):,} bytes, and the limit is {limit:,}", hint="name a smaller file")
    refuse_nul(data, what)
    text = decoded(data, what)
    conflict = _CONFLICT.search(text)
    if conflict:
        line = text.count("\n", 0, conflict.start()) + 1
        raise MalformedError(f"{what} holds a merge conflict", hint="settle the conflict", where=f"line {line}")
    return text
