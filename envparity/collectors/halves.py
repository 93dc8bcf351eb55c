"""Work on a list in two processes: where a second core is free, half of it is done by a fork of this one."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Callable, Sequence

_WORTH_IT = 40
_PIECE = 1 << 20


class Halves:
    """
    `work` on each of `items`, in their order. The second half is begun at once, by a fork, where there are many items
    and a second core: `results` does the first half and fetches the other. What `work` returns must be JSON.

    It must be made before the first thread is started: a fork has no thread but its own, and keeps the locks of all.
    Where no fork is to be had, or it ends before its time, all is done here.
    """

    def __init__(self, items: Sequence[Any], work: Callable[[Any], Any], worth_it: int = _WORTH_IT) -> None:
        self.items, self.work = items, work
        self.middle = len(items)
        self.child, self.pipe = 0, -1
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        if len(items) >= worth_it and cores > 1:
            try:
                self._fork()
            except OSError:
                self.middle = len(items)

    def _fork(self) -> None:
        out, into = os.pipe()
        try:
            self.child = os.fork()
        except OSError:
            os.close(out)
            os.close(into)
            raise
        self.middle = len(self.items) // 2
        if self.child:
            os.close(into)
            self.pipe = out
            return
        try:
            os.close(out)
            data = json.dumps([self.work(item) for item in self.items[self.middle :]]).encode("ascii")
            while data:
                data = data[os.write(into, data) :]
        finally:
            os._exit(0)  # nothing of the other process is flushed, closed or said twice

    def results(self) -> list[Any]:
        """What `work` returned for each item. To be asked once; raises what `work` raises."""
        done = [self.work(item) for item in self.items[: self.middle]]
        if self.child:
            others = self._fetched()
            ahead = self.items[self.middle :]
            done += others if len(others) == len(ahead) else [self.work(item) for item in ahead]
        return done

    def _fetched(self) -> list[Any]:
        try:
            pieces = list(iter(lambda: os.read(self.pipe, _PIECE), b""))
        finally:
            os.close(self.pipe)
            with contextlib.suppress(ChildProcessError):  # whoever started us ignores the end of children
                os.waitpid(self.child, 0)
        try:
            answer = json.loads(b"".join(pieces).decode("ascii"))
        except ValueError:  # it was killed: what it left is cut short
            return []
        return answer if isinstance(answer, list) else []
