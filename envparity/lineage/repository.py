"""The repository that code lies in: its commit, and what was changed on top of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envparity.collectors.shapes import Fact
from envparity.collectors.tree import gap, why
from envparity.collectors.urls import public_url
from envparity.lineage.git import Git, GitError, executable

_MOST_CHANGES = 100_000
_MOST_LEFT_OUT = 1000

_STATUS = (
    *("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all"),
    *("--ignore-submodules=dirty", "--no-renames", "--no-ahead-behind"),
)
# One text for one difference, whatever the configuration says.
_DIFF = (
    *("diff", "--binary", "--full-index", "--no-color", "--no-renames", "--no-ext-diff", "--no-textconv"),
    *("--ignore-submodules=dirty", "--submodule=short", "--src-prefix=a/", "--dst-prefix=b/", "--unified=3"),
    *("--inter-hunk-context=0", "--diff-algorithm=myers", "--no-indent-heuristic", "--no-relative", "-O/dev/null"),
)


def repository(folder: Path, environ: Mapping[str, str]) -> Iterator[Fact]:
    """
    Observe the git repository that a folder lies in.

    `diff_sha256` is the digest of `git diff HEAD --binary`. Three things are not looked into, and have a gap where they
    occur: changes inside a submodule, changes of files that pass through a filter (a program, which would have to run),
    and the content of untracked files (they are counted).

    Yields:
        One `{"kind": "source-code", ...}`. Or one gap: not recorded where there is no repository or no git, and where
        git does not trust the owner of the folder; unread where the repository is damaged or takes too long.
    """
    try:
        root = _root(folder)
    except OSError as error:  # the working directory was removed
        yield gap("source_code", "not-recorded", f"the folder of the code is gone: {why(error)}")
        return
    if root is None:
        yield gap("source_code", "not-recorded", "the code lies in no git repository")
        return
    program = executable(environ)
    if not program:
        yield gap("source_code", "not-recorded", "git is not installed")
        return
    try:
        yield from _facts(Git.opened(program, root, environ), root)
    except GitError as error:
        if error.refused:
            reason = "git does not trust the owner of its repository: `git config --global --add safe.directory DIR`"
            yield gap("source_code", "not-recorded", reason)
        else:
            yield gap("source_code", "unread", str(error))
    except OSError as error:
        yield gap("source_code", "unread", why(error))


def _root(folder: Path) -> Path | None:
    folder = folder.absolute()
    return next((place for place in (folder, *folder.parents) if _is_there(place / ".git")), None)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


@dataclass
class _Status:
    """What `git status --porcelain=v2 -z` prints, as far as it came."""

    commit: str = ""
    branch: str = ""
    changed: list[str] = field(default_factory=list)
    untracked: int = 0
    rest: bytes = b""

    def take(self, piece: bytes) -> None:
        *entries, self.rest = (self.rest + piece).split(b"\0")
        for entry in entries:
            kind = entry[:1]
            if kind == b"?":
                self.untracked += 1
            elif kind in {b"1", b"u"} and len(self.changed) <= _MOST_CHANGES:
                # "1 XY sub mH mI mW hH hI path"; of an unmerged one, three stages
                path = entry.split(b" ", 8 if kind == b"1" else 10)[-1]
                self.changed.append(path.decode("utf-8", "surrogateescape"))
            elif entry.startswith(b"# branch.oid ") and re.fullmatch(rb"[0-9a-f]{40,64}", entry[13:]):
                self.commit = entry[13:].decode()
            elif entry.startswith(b"# branch.head ") and entry[14:] != b"(detached)":
                self.branch = entry[14:].decode("utf-8", "surrogateescape")


def _facts(git: Git, root: Path) -> Iterator[Fact]:
    status = _Status()
    git.stream(status.take, *_STATUS)
    fact: dict[str, Any] = {
        "kind": "source-code",
        "commit": status.commit,
        "branch": status.branch,
        "remote": remote(git.settings, status.branch),
        "untracked": status.untracked,
    }
    if not status.commit:
        yield fact
        yield gap("source_code", "not-recorded", "the repository has no commit yet", "commit")
        return
    filtered = _filtered(git, status.changed)
    left = [path for path in status.changed if path not in filtered]
    if filtered:
        names = ", ".join(sorted({filtered[path] for path in filtered}))
        reason = (
            f"whether {len(filtered)} files were changed is not known: they pass through {names}, a program that"
            " nothing runs to read"
        )
        yield gap("source_code", "not-recorded", reason, "diff_sha256")
    if (root / ".gitmodules").is_file():
        reason = "changes inside submodules are not looked for, only which commit each is at"
        yield gap("source_code", "not-recorded", reason, "submodules")
    if len(status.changed) > _MOST_CHANGES or len(filtered) > _MOST_LEFT_OUT:
        fact["dirty"] = True if left else None
        yield fact
        yield gap("source_code", "unread", "more files were changed than are looked at", "diff_sha256")
        return
    fact["dirty"] = bool(left) or (None if filtered else False)
    if left:
        digest = hashlib.sha256()
        excluded = (f":(exclude,top,literal){path}" for path in filtered)
        git.stream(digest.update, *_DIFF, "HEAD", "--", *excluded)
        if digest.digest() == hashlib.sha256().digest():
            # The file is another one and its content, as git stores it, is the same.
            fact["dirty"] = None if filtered else False
        else:
            fact["diff_sha256"] = digest.hexdigest()
    yield fact


def _filtered(git: Git, paths: list[str]) -> dict[str, str]:
    """Those of the paths that pass through a filter, and which: their files are not what git stores of them."""
    if not paths:
        return {}
    asked = "\0".join(paths).encode("utf-8", "surrogateescape")
    words = git.ask("check-attr", "-z", "--stdin", "filter", stdin=asked).decode("utf-8", "surrogateescape").split("\0")
    named = zip(words[::3], words[2::3], strict=False)
    return {path: name for path, name in named if name not in {"unspecified", "unset", "set"}}


def remote(settings: Mapping[str, str], branch: str) -> str:
    """
    The address that a branch is kept in step with, without credentials: its own remote's, else that of `origin`, else
    of the only remote.
    """
    names = {key[7:-4] for key in settings if key.startswith("remote.") and key.endswith(".url")}
    own = settings.get(f"branch.{branch}.remote", "")
    name = own if own in names else "origin" if "origin" in names else next(iter(names)) if len(names) == 1 else ""
    return public_remote(settings.get(f"remote.{name}.url", ""))


def public_remote(address: str) -> str:
    """
    An address of git as it may be recorded (https://git-scm.com/docs/git-clone#_git_urls). `git@host:path` stays; a
    helper's own address (`ext::…`) can be a command, of which nothing is kept but the helper's name.
    """
    helper = re.match(r"([A-Za-z0-9]+)::", address)
    if helper:
        return f"{helper[1]}::***"
    if "://" in address:
        return public_url(address)
    user, at, _ = address.partition("@")
    return "***" if at and ":" in user else address
