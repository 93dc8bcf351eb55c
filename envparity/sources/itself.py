"""
How this very process was started, and where it imports from: what no variable says of it, and what no other start of
its interpreter would do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from envparity.sources.reading import Fact


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that this process obeys: `-E` and `-I` pass over those of Python, `-s` is PYTHONNOUSERSITE."""
    ignored = sys.flags.ignore_environment
    kept = {name: value for name, value in environ.items() if not (ignored and name.startswith("PYTHON"))}
    return {**kept, "PYTHONNOUSERSITE": "1"} if sys.flags.no_user_site else kept


def switches() -> Fact:
    """What its command line said otherwise than the default: `-O`, `-X utf8`, `-X dev`."""
    said: dict[str, Any] = {"kind": "python"}
    if sys.flags.optimize:
        said["optimize"] = sys.flags.optimize
    if "utf8" in sys._xoptions:
        said["utf8_mode"] = bool(sys.flags.utf8_mode)
    if sys.flags.dev_mode:
        said["dev_mode"] = True
    return said


def path(entries: Iterable[object] | None = None) -> list[str]:
    """
    The folders that this process imports from, now, in their order; the script's own and what was put there since it
    started are among them. What does not exist is left out, but for the archive of the standard library.
    """
    found = []
    for entry in sys.path if entries is None else entries:
        if not isinstance(entry, str):
            continue  # an import passes over it too
        try:
            place = Path(os.path.normpath(Path(entry).absolute()))
        except FileNotFoundError:
            continue  # the working directory is gone
        if place.suffix == ".zip" or _may_be_there(place):
            found.append(str(place))
    return list(dict.fromkeys(found))


def _may_be_there(place: Path) -> bool:
    """Whether there is something, or nobody may look: then its reader names it."""
    try:
        place.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True
