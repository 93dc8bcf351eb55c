"""How long work says how far it is, without knowing whether anybody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Where a task reports to. `total` is in the unit that `advance` is called with (bytes, or items)."""

    def task(self, title: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Begin a task; the context ends it."""


class _Silent:
    @contextmanager
    def task(self, title: str, total: int | None = None) -> Iterator[Advance]:
        yield lambda amount: None


SILENT: Progress = _Silent()
"""Nobody looks."""
