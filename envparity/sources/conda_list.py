"""What `conda list` prints: its table, `--json` and `--export`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from envparity import codec
from envparity.codec.trusted import trusted_text
from envparity.collectors.tree import gap
from envparity.errors import MalformedError
from envparity.sources.conda_specs import NO_DISTRIBUTIONS, PLATFORMS, python_of, system_of
from envparity.sources.documents import shaped
from envparity.sources.reading import Options, all_but, not_recorded, origin, without_secrets
from envparity.values import Environment

TITLE = "the output of `conda list`"


class _Row(Struct, frozen=True):
    name: str
    version: str
    build_string: str = ""
    channel: str = ""
    platform: str = ""


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that `conda list` saw. What pip installed there stands among the distributions.

    Raises:
        MalformedError: not UTF-8, a line that `conda list` does not write, one package twice.
    """
    text = trusted_text(data, f"`{name}`")
    rows = list(_json(data, name) if text.lstrip().startswith("[") else _lines(text, name))
    _refuse_twice(rows, name)
    facts = [_fact(row) for row in rows]
    conda = [fact for fact in facts if fact["kind"] == "conda-package"]
    declared = re.search(r"(?m)^# platform:[ \t]*(\S+)", text)
    subdirs = {row.platform for row in rows if row.platform not in {"", "noarch", "pypi"}}
    subdir = declared[1] if declared else subdirs.pop() if len(subdirs) == 1 else ""
    python = list(python_of(conda))
    known = ["conda_packages", "distributions", *(["python"] if python else []), *(["system"] if subdir else [])]
    return codec.environment(
        [
            {"kind": "section", "section": "conda_packages"},
            {"kind": "section", "section": "distributions"},
            *facts,
            *python,
            *(system_of(subdir) if subdir else ()),
            gap("distributions", "not-recorded", NO_DISTRIBUTIONS),
            *not_recorded(all_but(*known), "`conda list` does not print it"),
        ],
        origin("conda-list", name),
    )


def _json(data: bytes, name: str) -> Iterator[_Row]:
    for index, body in enumerate(codec.load_json(data, f"`{name}`")):
        yield shaped(body, _Row, name, f"{TITLE}, [{index}]")


def _lines(text: str, name: str) -> Iterator[_Row]:
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if "=" in line:
            words = line.strip().split("=")
            if len(words) == 3 and words[2].startswith("pypi"):
                words.append("pypi")
        if not 3 <= len(words) <= 4 and not (len(words) == 2 and "=" not in line):
            raise MalformedError(f"not a line that `conda list` prints: `{line[:80]}`", where=f"{name}:{number}")
        name_, version, build, channel = (*words, "", "")[:4]
        yield _Row(name_, version, build, channel)


def _refuse_twice(rows: Iterable[_Row], name: str) -> None:
    seen = set()
    for row in rows:
        key = (row.name, row.channel == "pypi")
        if key in seen:
            raise MalformedError(f"`{name}` lists `{row.name}` twice")
        seen.add(key)


def _fact(row: _Row) -> dict[str, Any]:
    if row.channel == "pypi" or row.platform == "pypi":
        normalised = re.sub(r"[-_.]+", "-", row.name).lower()
        return {"kind": "distribution", "basis": "installed", "name": normalised, "version": row.version}
    return {
        "kind": "conda-package",
        "basis": "installed",
        "name": row.name,
        "version": row.version,
        "build": row.build_string,
        "channel": without_secrets(row.channel),
        "subdir": row.platform if PLATFORMS.fullmatch(row.platform) else "",
    }
