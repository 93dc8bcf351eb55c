"""Where a file that a user named speaks of a distribution: the line that a pipeline can point at."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from envparity.values import Place

_MOST_BYTES = 16 << 20
_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
# From what defines a distribution to what only mentions it: the line of the first kind that there is.
_KINDS = (
    re.compile(rf"^\s*(?:-\s+)?[\"']?name[\"']?\s*[:=]\s*[\"']?({_WORD})"),
    re.compile(rf"^\s*(?:-\s+)?[\"']?({_WORD})[\"']?\s*(?:[=<>!~;,@:(\[]|$)"),
    re.compile(r"/([A-Za-z0-9][A-Za-z0-9._-]*?)-[0-9][^/]*$"),
    re.compile(rf"(?<![A-Za-z0-9._-])({_WORD})"),
)
_PYTHON = {"python", "requires-python", "python-requires", "python-version", "python-full-version"}


def place(reference: str, items: Iterable[str], base_dir: Path) -> Place | None:
    """
    The file that a reference names, with the line of each of these distributions (or `python`) that it names.

    `None` where the reference is no file of text. It never fails: what cannot be read has no lines.
    """
    path = base_dir / reference
    try:
        if reference == "-" or not path.is_file():
            return None
        text = path.read_bytes().decode("utf-8-sig") if path.stat().st_size <= _MOST_BYTES else ""
    except (OSError, ValueError):
        return None
    found = _lines(text, {_normalised(item): item for item in items})
    return Place(path=_shown(path, base_dir), lines=tuple(sorted(found)))


def _lines(text: str, wanted: dict[str, str]) -> Iterator[tuple[str, int]]:
    best: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = re.split(r"(?:^|\s)#", line, maxsplit=1)[0][:10_000]
        for kind, pattern in enumerate(_KINDS):
            for word in pattern.findall(line):
                name = _normalised(word)
                item = wanted.get("python" if name in _PYTHON else name)
                if item is not None:
                    best[item] = min(best.get(item, (kind, number)), (kind, number))
    return ((item, number) for item, (_, number) in best.items())


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _shown(path: Path, base_dir: Path) -> str:
    """Relative to the working directory where it lies below it, as a repository is checked out."""
    try:
        return Path(os.path.abspath(path)).relative_to(os.path.abspath(base_dir)).as_posix()  # noqa: PTH100
    except (ValueError, OSError):  # it lies elsewhere, or the working directory was removed
        return Path(os.path.abspath(path)).as_posix()  # noqa: PTH100
