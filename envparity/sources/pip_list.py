"""What `pip list` prints: its table, and `--format json`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from envparity import codec
from envparity.codec.trusted import trusted_text
from envparity.errors import MalformedError
from envparity.sources.documents import shaped
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin
from envparity.values import Environment

TITLE = "what `pip list` prints"


class _Row(Struct, frozen=True):
    name: str
    version: str
    editable_project_location: str = ""


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that `pip list` saw.

    Raises:
        MalformedError: not UTF-8, a line that `pip list` does not write, one distribution twice.
    """
    text = trusted_text(data, f"`{name}`")
    rows = list(_json(data, name) if text.lstrip().startswith("[") else _table(text, name))
    facts: list[Fact] = []
    seen = set()
    for row in rows:
        normalised = re.sub(r"[-_.]+", "-", row.name).lower()
        if normalised in seen:
            raise MalformedError(f"`{name}` lists `{normalised}` twice")
        seen.add(normalised)
        editable = bool(row.editable_project_location)
        facts.append({"kind": "distribution", "name": normalised, "version": row.version, "editable": editable})
    unknown = not_recorded(all_but("distributions"), "`pip list` does not print it")
    section = {"kind": "section", "section": "distributions"}
    return codec.environment([section, *facts, *unknown], origin("pip-list", name))


def _json(data: bytes, name: str) -> Iterator[_Row]:
    for index, body in enumerate(codec.load_json(data, f"`{name}`")):
        yield shaped(body, _Row, name, f"{TITLE}, [{index}]")


def _table(text: str, name: str) -> Iterator[_Row]:
    lines = [line.rstrip() for line in re.split(r"\r\n|\n|\r", text)]
    for number, line in enumerate(lines, start=1):
        if number == 1 or not line or re.fullmatch(r"[- ]+", line) or line.startswith(("[notice]", "WARNING:")):
            continue
        found = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*) +(\S+)(?: +(\S.*))?", line)
        if not found:
            raise MalformedError(f"not a line that `pip list` prints: `{line[:80]}`", where=f"{name}:{number}")
        yield _Row(found[1], found[2], found[3] or "")
