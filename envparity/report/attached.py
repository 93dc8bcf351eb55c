"""What lies beside an image: a line a document, by the word that people use for it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from envparity.report.text import Style, name
from envparity.values import Attachment


def text(found: Sequence[Attachment], style: Style | None = None, *, verbose: bool = False) -> str:
    """For a person; with `verbose`, digests in full."""
    if not found:
        return "nothing is attached to this image\n"
    lines = []
    words = max(len(item.what) for item in found)
    for item in found:
        digest = item.digest if verbose else item.digest[:19]
        size = f"{item.size_bytes / 1000:,.1f} kB"
        lines.append(f"{item.what or '-':<{words}}  {name(item.title) or '-':<34} {size:>10}  {digest}")
        if verbose or not item.what:
            lines.append(f"  {name(item.kind)}")
    return "\n".join(lines) + "\n"


def json(found: Sequence[Attachment], style: Style | None = None, *, verbose: bool = False) -> str:
    """For a program."""
    return msgspec.json.format(msgspec.json.encode(list(found)), indent=2).decode() + "\n"
