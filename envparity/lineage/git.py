"""
git, asked so that nothing runs which a repository brings.

A repository's own configuration can name programs: a file system monitor, hooks, diff drivers, text converters, clean
filters, helpers that fetch what is missing (https://git-scm.com/docs/git-config). Each is switched off by what outranks
that configuration: the environment and the command line. The user's own configuration is not taken over either, but for
what says which folders are trusted and how lines end: it would make the same difference another text.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from envparity.errors import EnvparityError
from envparity.process import Command, run

LIMIT_S = 30.0

_OFF = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "core.pager": "cat",
    "core.sshCommand": "false",
    "credential.helper": "",
    # git diff writes the index anew where only times differ, whatever GIT_OPTIONAL_LOCKS says.
    "diff.autoRefreshIndex": "false",
    "diff.external": "",
    "diff.suppressBlankEmpty": "false",
    "log.showSignature": "false",
    "protocol.allow": "never",
    "status.submoduleSummary": "false",
    "submodule.recurse": "false",
}
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    # The index is not written, so no hook is due and nothing of the repository changes.
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "GIT_NO_LAZY_FETCH": "1",
    # It overrides every `protocol.*.allow`, `ext::` included.
    "GIT_ALLOW_PROTOCOL": "none",
}
_KEPT = ("HOME", "XDG_CONFIG_HOME", "SUDO_UID")
_TRUSTED_SCOPES = {"system", "global"}
_OWN_SCOPES = {"local", "worktree"}
_TAKEN_OVER = ("core.autocrlf", "core.eol", "core.excludesfile")
_DRIVER = re.compile(r"(filter|diff)\.(.+)\.(clean|smudge|process|required|command|textconv)", re.DOTALL)
_HARMLESS = {"required": "false"}


class GitError(Exception):
    """git could not, or would not, answer; `refused` is whether it does not trust the owner of the folder."""

    def __init__(self, reason: str, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


def executable(environ: Mapping[str, str]) -> str:
    """
    The git on PATH; empty where there is none. A relative entry of PATH is passed over: it could be a folder of the
    repository.
    """
    folders = [folder for folder in environ.get("PATH", os.defpath).split(os.pathsep) if folder.startswith("/")]
    return shutil.which("git", path=os.pathsep.join(folders) or os.devnull) or ""


@dataclass(frozen=True)
class Git:
    """One repository to ask: the program, the folder, its environment, and what the repository itself configures."""

    program: str
    folder: Path
    env: Mapping[str, str]
    settings: Mapping[str, str]

    @classmethod
    def opened(cls, program: str, folder: Path, environ: Mapping[str, str]) -> Git:
        """
        Read all configuration (which runs nothing), and switch off what it names.

        Raises:
            GitError: git cannot be started, is too old to be asked safely, or did not answer in time.
        """
        own = {name: environ[name] for name in _KEPT if name in environ}
        plain = cls(program, folder, {**own, "LC_ALL": "C"}, {})
        listed = plain.ask("config", "--list", "--null", "--show-scope", "--includes")
        scopes = _pairs(listed)
        local = {key: value for scope, key, value in scopes if scope in _OWN_SCOPES}
        switches = [*_OFF.items()]
        for key in local:
            found = _DRIVER.fullmatch(key)
            if found:
                switches.append((key, _HARMLESS.get(found[3], "")))
        if any(key.startswith("filter.") for key, _ in switches):
            plain.require((2, 31))
        for scope, key, value in scopes:
            if scope in _TRUSTED_SCOPES and (
                key == "safe.directory" or (key in _TAKEN_OVER and key not in local and value)
            ):
                switches.append((key, value))
        # As variables, since a name on the command line ends at its first `=`.
        env = {**own, **_ENVIRONMENT, "GIT_CONFIG_COUNT": str(len(switches))}
        for number, (key, value) in enumerate(switches):
            env[f"GIT_CONFIG_KEY_{number}"], env[f"GIT_CONFIG_VALUE_{number}"] = key, value
        return cls(program, folder, env, local)

    def ask(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """What git prints."""
        pieces: list[bytes] = []
        self.stream(pieces.append, *arguments, stdin=stdin)
        return b"".join(pieces)

    def stream(self, sink: Callable[[bytes], object], *arguments: str, stdin: bytes = b"") -> None:
        """Hand to `sink` what git prints, piece by piece."""
        # The fixed ones again on the command line: a git that is older than GIT_CONFIG_COUNT obeys these.
        fixed = [word for key, value in _OFF.items() for word in ("-c", f"{key}={value}")]
        argv = (self.program, "--no-pager", *fixed, *arguments)
        command = Command(argv, stdin=stdin, env=self.env, cwd=self.folder, timeout_s=LIMIT_S)
        try:
            completed = run(command, sink)
        except EnvparityError as error:
            raise GitError(error.message) from error
        if completed.status != 0:
            raise _failure(completed.status, completed.stderr)

    def require(self, version: tuple[int, int]) -> None:
        """Raise GitError where this git is older."""
        words = self.ask("version").decode("ascii", "replace").split()
        found = re.match(r"(\d+)\.(\d+)", words[2] if len(words) > 2 else "")
        if not found or (int(found[1]), int(found[2])) < version:
            reason = "its filters cannot be switched off: that takes git {}.{} or newer".format(*version)
            raise GitError(reason)


def _pairs(listed: bytes) -> list[tuple[str, str, str]]:
    words = listed.decode("utf-8", "surrogateescape").split("\0")
    pairs = (entry.partition("\n") for entry in words[1::2])
    return [(scope, key, value) for scope, (key, _, value) in zip(words[::2], pairs, strict=False)]


def _failure(status: int, stderr: bytes) -> GitError:
    lines = [line for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[0] if lines else "")
    said = "".join(character for character in said if character.isprintable())[:200]
    reason = f"git ended with status {status}" + (f": {said}" if said else "")
    return GitError(reason, refused="dubious ownership" in said or "unsafe repository" in said)
