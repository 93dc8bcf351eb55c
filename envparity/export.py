"""
A lock in the format of another tool: what that tool reads, of what is locked, and by name what it cannot carry.

    1  read       the lock, and of several targets the one that is meant
    2  complete   what requires what, from the snapshot beside the lock, where the format can say it
    3  write      the same bytes for the same lock, whoever writes them and when
"""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path

from envparity import lockfile, platforms, writers
from envparity.attached.about import contents_of
from envparity.errors import UsageError
from envparity.writers.contents import Exported


def rendered(
    path: Path, form: str, *, written_at: datetime | None = None, markers: bool = False, platform: str = ""
) -> Exported:
    """
    A lock in one of `writers.FORMATS`. `written_at` is the time to stand in an SBOM; there is none by itself. With
    `markers` each line of requirements and constraints has the condition under which the lock holds.

    Raises:
        UsageError: the lock is not there, not ours, or not for that platform, or has nothing that the format lists.
        MalformedError: it is damaged, or holds what the format cannot spell. IntegrityError: the
        snapshot beside it is another one.
    """
    if markers and form not in writers.WITH_MARKERS:
        raise UsageError(
            f"`--markers` makes no sense for {form}: it has no conditions",
            hint=f"it is for {' and '.join(sorted(writers.WITH_MARKERS))}",
        )
    # 1
    whole, data = lockfile.read(path)
    lock = platforms.selected(whole, platforms.meant(whole, platform, platforms.here(), str(path)))
    # 2
    contents = contents_of(
        lock, data, path, written_at=written_at, markers=markers, required=form in writers.WITH_REQUIRED
    )
    # 3
    exported = writers.written(form, contents)
    if form in writers.WITH_REQUIRED and contents.required is None:
        missing = f"what requires what, since the snapshot `{contents.beside(lock.snapshot.name)}` does not say it"
        return dataclasses.replace(exported, unknown=(missing,))
    return exported
