"""An error as a person reads it, and as a program does."""

from __future__ import annotations

import msgspec

from envparity.errors import EnvparityError
from envparity.report.text import printable


def text(error: EnvparityError) -> str:
    """One error line, a line for each detail, and the hint."""
    lines = [f"error: {printable(str(error))}"]
    lines += [f"  {printable(detail)}" for detail in error.details]
    if error.hint:
        lines.append(f"hint: {printable(error.hint)}")
    return "\n".join(lines)


def json(error: EnvparityError) -> str:
    """The same as an object, with a `code` that never changes."""
    body = {
        "code": error.code,
        "status": int(error.status),
        "message": _text(error.message),
        "where": _text(error.where),
        "hint": _text(error.hint),
        "details": [_text(detail) for detail in error.details],
    }
    return msgspec.json.encode({"error": body}).decode()


def _text(value: str) -> str:
    # A file name may hold bytes that are no UTF-8, and JSON may not.
    return value.encode("utf-8", "backslashreplace").decode()
