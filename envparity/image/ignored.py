"""
`.dockerignore` of a folder: what its owner keeps out of images (https://docs.docker.com/build/concepts/context/#syntax).

`*`, `?` and `[…]` as in Go's `filepath.Match`, `**` for any number of folders; a line with `!` is an exception, the
last line that matches decides, and what matches a folder holds for all below it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from envparity.errors import MalformedError
from envparity.files import read_text

NAME = ".dockerignore"


class Ignored(NamedTuple):
    """Whether a path, relative and with `/`, stays out; and whether something below what stays out may go in."""

    holds: Callable[[str], bool]
    has_exceptions: bool


def ignored(folder: Path) -> Ignored:
    """
    What the file in this folder says; nothing stays out where there is none.

    Raises:
        MalformedError: a line is no pattern. UnreachableError: the file may not be read.
    """
    place = folder / NAME
    if not place.is_file():
        return Ignored(lambda path: False, False)
    rows = []
    for number, line in enumerate(read_text(place, limit=1 << 20).splitlines(), 1):
        text = line.strip()
        if not text or line.startswith("#"):
            continue
        exception = text.startswith("!")
        pattern = posixpath.normpath(text.removeprefix("!").strip() or "!").lstrip("/")
        try:
            rows.append((exception, re.compile(_expression(pattern), re.DOTALL)))
        except (re.error, ValueError) as error:
            raise MalformedError(f"`{place}` has a line that is no pattern", where=f"line {number}") from error

    def holds(path: str) -> bool:
        parts = path.split("/")
        names = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        out = False
        for exception, expression in rows:
            if out == exception and any(expression.fullmatch(name) for name in names):
                out = not exception
        return out

    return Ignored(holds, any(exception for exception, _ in rows))


def _expression(pattern: str) -> str:
    out, rest = "", pattern
    while rest:
        if rest.startswith("**"):
            rest = rest.lstrip("*")
            out += "(?:.*/)?" if rest.startswith("/") else ".*"
            rest = rest.removeprefix("/")
        elif rest[0] == "[":
            found = re.match(r"\[(\^?)((?:\\.|[^\]\\])+)\]", rest)
            if found is None:
                raise ValueError(pattern)
            inside = re.sub(r"\\?(.)", lambda part: part[1] if part[0] == "-" else re.escape(part[1]), found[2])
            out, rest = f"{out}(?!/)[{found[1]}{inside}]", rest[found.end() :]
        else:
            escaped = rest[0] == "\\"
            if escaped and len(rest) == 1:
                raise ValueError(pattern)
            one, rest = (rest[1], rest[2:]) if escaped else (rest[0], rest[1:])
            out += re.escape(one) if escaped else {"*": "[^/]*", "?": "[^/]"}.get(one, re.escape(one))
    return out
