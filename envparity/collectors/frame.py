"""How a program that is streamed to another interpreter answers: facts that JSON can carry, framed and signed."""

from __future__ import annotations

import gc
import hashlib
import json
import os
from typing import Any, Callable, Iterable, Iterator

from envparity.collectors.shapes import Fact
from envparity.collectors.tree import gap, why

# One collector that fails must not hide what the others saw; the list is what a damaged place can provoke.
_FAILURES = (ArithmeticError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError)


def isolated(facts: list[Fact], section: str, read: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    """What a collector yields; where it fails, a gap of that section is appended to `facts`, and that is its end."""
    try:
        yield from read()
    except _FAILURES as error:
        reason = "its collector failed: %s (%s)" % (why(error), type(error).__name__)
        facts.append(gap(section, "unread", reason, str(getattr(error, "filename", None) or "")))


def answer(nonce: str, read: Callable[[], list[Fact]]) -> None:
    """
    Answer over the standard output: `envparity-probe NONCE LENGTH SHA256`, a line feed, and that many bytes of JSON.

    The real standard output is kept aside first and descriptor 1 turned into 2, so that nothing else that this process
    prints can be part of the answer.
    """
    out = os.dup(1)
    os.dup2(2, 1)
    gc.disable()  # this process is short, and what it makes it keeps to its end
    facts = read()
    try:
        data = json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError:
        data = json.dumps(printable(facts), ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    framed = ("envparity-probe %s %d %s\n" % (nonce, len(data), hashlib.sha256(data).hexdigest())).encode(
        "ascii"
    ) + data
    while framed:
        framed = framed[os.write(out, framed) :]
    os.close(out)


def printable(value: Any) -> Any:
    """The value with every text made valid Unicode: a byte of a file name that is not UTF-8 is written as `\\xff`."""
    if isinstance(value, str):
        try:
            return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:  # half of a pair, which JSON (a direct_url.json) can spell
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {key: printable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable(item) for item in value]
    return value
