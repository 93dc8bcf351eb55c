"""The options of a build from what a person typed. Each has a grammar; nothing is ever pasted into a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from envparity.errors import UsageError
from envparity.values import Options, Variable

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_USER = re.compile(r"[0-9]{1,9}(:[0-9]{1,9})?")


def options(
    *,
    entrypoint: str | None = None,
    env: Iterable[str] = (),
    labels: Iterable[str] = (),
    user: str,
    workdir: str = Options().workdir,
    ports: Iterable[int] = (),
) -> Options:
    """
    Checked options.

    Raises:
        UsageError: one of them does not have its form.
    """
    if not _USER.fullmatch(user):
        raise UsageError(f"--user takes numbers, `UID` or `UID:GID`, and got `{user}`")
    if workdir and (not workdir.startswith("/") or "\0" in workdir):
        raise UsageError(f"--workdir takes an absolute path, and got `{workdir}`")
    plain = Options()
    return Options(
        entrypoint=_words(entrypoint) if entrypoint else plain.entrypoint,
        env=tuple(sorted(_pair("--env", text, _NAME) for text in env)),
        labels=tuple(sorted(_pair("--label", text, _LABEL) for text in labels)),
        user=user if ":" in user else f"{user}:{user}",
        workdir=workdir,
        ports=tuple(sorted(set(ports))),
    )


def _words(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(
            f"--entrypoint takes a command as a shell would, and `{text}` is none: {error}", hint="close the quotation"
        ) from error
    if any("\0" in word for word in words):
        raise UsageError("--entrypoint holds a NUL byte", hint="leave it out")
    return words


def _pair(option: str, text: str, grammar: re.Pattern[str]) -> Variable:
    name, equals, value = text.partition("=")
    if not equals or not grammar.fullmatch(name) or "\0" in value:
        raise UsageError(f"{option} takes NAME=VALUE, and got `{text}`")
    return Variable(name, value)
