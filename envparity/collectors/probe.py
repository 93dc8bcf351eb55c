"""What runs in the live place: all collectors, one isolated from the other, and one framed answer."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import Any, Callable, Iterable, Iterator

from envparity.collectors.accelerators import accelerators
from envparity.collectors.cpu import cpu
from envparity.collectors.distributions import distributions
from envparity.collectors.dpkg import os_packages
from envparity.collectors.paths import live_path
from envparity.collectors.running import interpreter
from envparity.collectors.shapes import Fact
from envparity.collectors.system import host, system
from envparity.collectors.tree import LocalTree, gap, why

# One collector that fails must not hide what the others saw; the list is what a damaged place can provoke.
_FAILURES = (ArithmeticError, AttributeError, ImportError, LookupError, OSError, RuntimeError, TypeError, ValueError)


def collect(path: list[str] | None = None, verify_files: bool = False) -> list[Fact]:
    """
    Everything that the collectors know of this machine and this interpreter, as facts that JSON can carry.

    Args:
        path: the import path, where the caller knows it (`sys.path` of a process that started normally); else it is
            computed as `site` would have made it.
        verify_files: also hash every file that a RECORD lists.
    """
    tree = LocalTree()
    facts: list[Fact] = []
    prefix = sys.prefix
    folders = path
    if folders is None:
        folders = list(sys.path)
        computed = list(_isolated(facts, "distributions", lambda: [live_path(tree)]))
        if computed:
            prefix, folders, gaps = computed[0]
            facts.extend(gaps)
    folders = [os.path.abspath(entry) for entry in folders]
    collectors: list[tuple[str, Callable[[], Iterable[Fact]]]] = [
        ("python", lambda: interpreter(tree, prefix, folders)),
        ("system", lambda: system(tree, live=True)),
        ("host", lambda: host(tree)),
        ("cpu", lambda: cpu(tree)),
        ("accelerators", lambda: accelerators(tree)),
        ("distributions", lambda: distributions(tree, folders, verify_files)),
        ("os_packages", lambda: os_packages(tree)),
    ]
    for section, read in collectors:
        facts.extend(_isolated(facts, section, read))
    return [printable(fact) for fact in facts]


def main(nonce: str, verify_files: bool) -> None:
    """
    Answer over the standard output: `envparity-probe NONCE LENGTH SHA256`, a line feed, and that many bytes of JSON.

    The real standard output is kept aside first and descriptor 1 turned into 2, so that nothing else that this process
    prints can be part of the answer.
    """
    out = os.dup(1)
    os.dup2(2, 1)
    data = json.dumps(collect(None, verify_files), ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    answer = ("envparity-probe %s %d %s\n" % (nonce, len(data), hashlib.sha256(data).hexdigest())).encode(
        "ascii"
    ) + data
    while answer:
        answer = answer[os.write(out, answer) :]
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


def _isolated(facts: list[Fact], section: str, read: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    try:
        yield from read()
    except _FAILURES as error:
        reason = "its collector failed: %s (%s)" % (why(error), type(error).__name__)
        facts.append(gap(section, "unread", reason, str(getattr(error, "filename", None) or "")))
