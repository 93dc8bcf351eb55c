"""How a message names several things, and counts them."""

from __future__ import annotations

from collections.abc import Iterable


def listed(names: Iterable[str], limit: int = 4) -> str:
    """`a, b, c and 39 more`."""
    found = list(names)
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return ", ".join(found[:limit]) + more


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 finding`, `2 findings`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
