"""
What only running code knows, joined to what files say: from inside the training process (`snapshot.take`), or from the
target started again with its own site and environment (`--deep`).
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from envparity.collectors import bundle
from envparity.collectors.tree import gap
from envparity.errors import TimeLimitError, UnreachableError
from envparity.process import Command, Completed, started
from envparity.sources.reading import Fact, Options, not_recorded

SECTIONS = ("numerics", "modules")
"""What files cannot tell at all. Of the native libraries they tell which there are, and not which are loaded."""

HOW = "only running code knows it: take the snapshot inside training (`snapshot.take`), or with --deep"


def not_asked() -> list[Fact]:
    """The gaps of a target in which nothing was run."""
    return list(not_recorded(SECTIONS, HOW))


@contextmanager
def beside(
    executable: Path, options: Options, inside: Callable[[], Iterable[Fact]] | None
) -> Iterator[Callable[[], Iterable[Fact]]]:
    """
    What only running code knows, asked while the block runs: of this process by `inside`, at once, since it imports
    more as it goes on; else of a second start of the target, with `deep`; else the gaps of what was not asked.
    """
    if inside is not None:
        facts = list(inside())
        yield lambda: facts
    elif options.deep:
        with deep(executable, options) as told:
            yield told
    else:
        yield not_asked


@contextmanager
def deep(executable: Path, options: Options) -> Iterator[Callable[[], list[Fact]]]:
    """
    Start an interpreter with its own site, our environment variables and our working directory; let it import its
    numeric libraries and the modules that are wanted, and tell what is loaded. It works while the block runs; the
    function that the block gets waits for it.

    It writes no byte code. Where it does not start, breaks down or takes too long, each section is an unread gap: what
    files say is worth having without it.
    """
    nonce = secrets.token_hex(16)
    command = Command(
        (str(executable), "-B", "-"),
        stdin=bundle.deep_program(nonce, options.wanted),
        env=options.environ,
        timeout_s=options.timeout_s,
    )
    with ExitStack() as stack:
        try:
            finish = stack.enter_context(started(command))
        except UnreachableError as error:
            unread = _unread(str(error))
            yield lambda: unread
        else:
            yield lambda: _told(finish, nonce)


def _told(finish: Callable[[], Completed], nonce: str) -> list[Fact]:
    try:
        completed = finish()
        if completed.status == 0:
            return list(bundle.parse_answer(completed.stdout, nonce, completed.stderr))
    except (TimeLimitError, UnreachableError, ValueError) as error:
        return _unread(str(error))
    lines = completed.stderr.decode("utf-8", "replace").strip().splitlines()
    ended = f"signal {-completed.status}" if completed.status < 0 else f"status {completed.status}"
    last = f": {lines[-1][:200]}" if lines else ""
    return _unread(f"it ended with {ended} while its libraries were imported{last}")


def _unread(reason: str) -> list[Fact]:
    return [gap(section, "unread", f"--deep: {reason}") for section in SECTIONS]


def together(files: Iterable[Fact], running: Iterable[Fact]) -> Iterator[Fact]:
    """
    The facts of both: a library that is installed and loaded is one, of basis `loaded`; a distribution of which a
    module or a library is loaded says so, and which loaded files of it are not those that were installed.
    """
    running = list(running)
    told = {fact["path"]: fact for fact in running if fact["kind"] == "native-library"}
    owners = {fact["owner"] for fact in running if fact["kind"] == "module"}
    owners |= {fact["owner"] for fact in told.values() if fact["owner_kind"] == "wheel"}
    altered: dict[str, list[str]] = {}
    for fact in running:
        if fact["kind"] == "altered":
            altered.setdefault(fact["location"], []).append(fact["path"])
    asked = any(fact.get("section") == "modules" for fact in running if fact["kind"] == "section")
    for fact in files:
        if fact["kind"] == "native-library" and fact["path"] in told:
            yield {**fact, **{key: value for key, value in told.pop(fact["path"]).items() if value}}
        elif fact["kind"] == "distribution" and asked:
            winner = not fact.get("shadowed") and not fact.get("vendored_in")
            yield {**fact, "loaded": fact["name"] in owners and winner, **_modified(fact, altered)}
        else:
            yield fact
    yield from (fact for fact in running if fact["kind"] not in {"native-library", "altered"})
    yield from told.values()


_REWRITES = frozenset({"conda", "debian"})
"""Installers that change files after RECORD was written: prefixes that are put in, symbols that are taken out."""


def _modified(fact: Fact, altered: dict[str, list[str]]) -> dict[str, list[str]]:
    """What was found changed, with what `--verify-files` had found before."""
    paths = altered.get(os.path.realpath(fact["location"])) if altered and fact.get("location") else None
    if not paths or fact.get("installer") in _REWRITES or fact["location"].startswith("/usr/lib/python3/"):
        return {}
    return {"modified": sorted({*(fact.get("modified") or ()), *paths})}


def inside() -> list[Fact]:
    """What is loaded in this very process, envparity itself left out; any failure is a gap, never an error."""
    try:
        from envparity.collectors.loaded import loaded
        from envparity.collectors.seeds import seeds

        return [*loaded(("envparity",)), *seeds(sys.modules)]
    except Exception as error:  # noqa: BLE001 - a training must not end here, whatever its libraries do
        reason = f"its collector failed: {type(error).__name__}: {str(error)[:200]}"
        return [gap(section, "unread", reason) for section in SECTIONS]


def importable(modules: Iterable[str]) -> tuple[str, ...]:
    """Those of the modules that a model refers to which can be imported by name."""
    kept = {name for name in modules if name not in {"__main__", "builtins"}}
    return tuple(sorted(name for name in kept if all(part.isidentifier() for part in name.split("."))))
