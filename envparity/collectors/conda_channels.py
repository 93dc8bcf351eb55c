"""The channels of a conda environment, in the order in which they count: what it says of that itself."""

from __future__ import annotations

import re
from typing import Iterator

from envparity.collectors.urls import public_url

_MOST_CHANNELS = 100
_LONGEST = 4096
_COMMAND = re.compile(r"^#\s*cmd:(.*)$", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*(?:/[\w.-]+)*")
_TOKEN_OF_NAME = re.compile(r"^t/[^/]+")
_CHANNELS = re.compile(r"^channels?[ \t]*:[ \t]*(.*)$")
_ENTRY = re.compile(r"^[ \t]*-[ \t]+(.+)$")


def settings_of(prefix: str) -> list[str]:
    """
    Where conda's settings of an environment may lie, what outranks the others first: its own, and those of the
    installation in whose `envs` it lies
    (https://docs.conda.io/projects/conda/en/stable/user-guide/configuration/use-condarc.html). A user's own are the
    user's, and not the environment's.
    """
    prefix = prefix.rstrip("/")
    root, mark, name = prefix.rpartition("/envs/")
    places = [prefix, root] if mark and root and "/" not in name else [prefix]
    return [place + "/" + name for place in places for name in ("condarc", ".condarc")]


def channels_in_order(history: str, settings: list[str]) -> list[str]:
    """
    The channels that commands and settings name, the first one first, each once and without any login.

    What a command names outranks the settings, as it did when it ran, and a later command an earlier one. `history` is
    the text of `conda-meta/history`, `settings` are those of the files of `settings_of`, in that order.
    """
    commands = [found.split() for found in reversed(_COMMAND.findall(history))]
    named = [name for words in commands for name in _of_command(words)]
    named += [name for text in settings for name in _of_settings(text)]
    return list(dict.fromkeys(filter(None, map(_as_recorded, named))))[:_MOST_CHANNELS]


def _of_command(words: list[str]) -> Iterator[str]:
    """What stands behind `-c` and `--channel`; mamba takes several at once, with commas between them."""
    follows = False
    for word in words:
        text = word if follows else ""
        follows = not follows and word in ("-c", "--channel")
        if not text and not follows:
            if word.startswith("--channel="):
                text = word[len("--channel=") :]
            elif word.startswith("-c"):
                text = word[2:].lstrip("=")
        yield from text.split(",") if "://" not in text else [text]


def _of_settings(text: str) -> Iterator[str]:
    """The list `channels` of a condarc, in either of the two forms that YAML has for one; nothing of any other form."""
    lines = iter(text.split("\n"))
    for line in lines:
        found = _CHANNELS.match(_uncommented(line))
        if found is None:
            continue
        rest = found.group(1)
        if rest.startswith("["):
            while "]" not in rest:
                more = next(lines, None)
                if more is None:
                    return
                rest += " " + _uncommented(more)
            yield from rest[1 : rest.index("]")].split(",")
            return
        for below in lines:
            entry = _ENTRY.match(_uncommented(below))
            if entry is not None:
                yield entry.group(1)
            elif _uncommented(below):
                return


def _uncommented(line: str) -> str:
    """A line without its comment, which begins after a space, since addresses may hold the mark."""
    return re.sub(r"(^|[ \t])#.*", "", line).rstrip()


def _as_recorded(name: str) -> str:
    """A channel by name, address or absolute folder; empty where it is none of these, or may be a secret as a whole."""
    name = name.strip()
    if name[:1] in ("'", '"') and len(name) > 1 and name[-1] == name[0]:
        name = name[1:-1]
    name = name.rstrip("/")
    if len(name) > _LONGEST or any(character.isspace() for character in name):
        return ""
    if "://" in name:
        address = public_url(name)
        return "" if address.endswith("***") else address
    if name.startswith("/"):
        return name
    name = _TOKEN_OF_NAME.sub("t/***", name)
    return name if _NAME.fullmatch(name.replace("t/***/", "", 1)) and not name.endswith("***") else ""
