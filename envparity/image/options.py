"""The options of a build from what a person typed. Each has a grammar; nothing is ever pasted into a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from envparity.errors import UsageError, excerpt
from envparity.values import Options, Variable

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_USER = re.compile(r"[0-9]{1,9}(:[0-9]{1,9})?")


def options(
    *,
    entrypoint: str | None = None,
    health: str | None = None,
    env: Sequence[str] = (),
    labels: Sequence[str] = (),
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
    for text in (entrypoint or "", health or "", *env, *labels, workdir):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"the text {excerpt(text)!r} is not UTF-8, and no image can carry it") from error
    plain = Options()
    return Options(
        entrypoint=_words("--entrypoint", entrypoint, _STARTS) if entrypoint is not None else plain.entrypoint,
        health=_words("--health", health, _SERVES) if health is not None else (),
        env=_pairs("--env", env, _NAME),
        labels=_unreserved(_pairs("--label", labels, _LABEL)),
        user=user if ":" in user else f"{user}:{user}",
        workdir=workdir,
        ports=tuple(sorted(set(ports))),
    )


_STARTS = "an image starts `python` by default"
_SERVES = "a server has its own, and any other image has none"


def _words(option: str, text: str, otherwise: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(
            f"{option} takes a command as a shell would, and `{text}` is none: {error}", hint="close the quotation"
        ) from error
    if not words or not words[0]:
        raise UsageError(f"{option} names no command", hint=f"leave it out: {otherwise}")
    if any("\0" in word for word in words):
        raise UsageError(f"{option} holds a NUL byte", hint="leave it out")
    return words


def _pairs(option: str, texts: Sequence[str], grammar: re.Pattern[str]) -> tuple[Variable, ...]:
    """Sorted by name; of a name that is given twice the last one counts, as engines have it."""
    pairs = {pair.name: pair for pair in (_pair(option, text, grammar) for text in texts)}
    return tuple(sorted(pairs.values()))


def _unreserved(labels: tuple[Variable, ...]) -> tuple[Variable, ...]:
    for name in (label.name for label in labels):
        if name.startswith(("envparity.", "org.opencontainers.image.base.")):
            raise UsageError(
                f"--label `{name}` is what envparity itself says of an image", hint="give it a name of your own"
            )
    return labels


def _pair(option: str, text: str, grammar: re.Pattern[str]) -> Variable:
    name, equals, value = text.partition("=")
    if not equals or not grammar.fullmatch(name) or "\0" in value:
        raise UsageError(f"{option} takes NAME=VALUE, and got `{text}`")
    return Variable(name, value)
