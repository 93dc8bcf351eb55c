"""A `Pipfile.lock` of Pipenv (pipfile-spec 6; https://pipenv.pypa.io/en/latest/pipfile.html)."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct, field

from envparity import codec, markers
from envparity.errors import MalformedError, UnsupportedError
from envparity.sources.documents import locked, of_python, once_each, places_of, shaped
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin
from envparity.values import Environment

TITLE = "a lock of Pipenv"
SPEC = 6


class _Requires(Struct, frozen=True):
    python_version: str = ""
    python_full_version: str = ""


class _Meta(Struct, frozen=True, rename="kebab"):
    pipfile_spec: int
    requires: _Requires = field(default_factory=_Requires)


class _Entry(Struct, frozen=True):
    version: str = ""
    hashes: tuple[str, ...] = ()
    markers: str = ""
    extras: tuple[str, ...] = ()
    editable: bool = False
    git: str = ""
    hg: str = ""
    svn: str = ""
    ref: str = ""
    subdirectory: str = ""
    path: str = ""
    file: str = ""


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that a `Pipfile.lock` fixes: the category `default`, and the others as groups (`develop`).

    Raises:
        UnsupportedError: a pipfile-spec that is not known. MalformedError: not JSON, another shape.
    """
    document = codec.load_json(data, f"`{name}`")
    if not isinstance(document, dict) or not isinstance(document.get("_meta"), dict):
        raise MalformedError(f"`{name}` is not {TITLE}: it has no `_meta`")
    meta = shaped(document["_meta"], _Meta, name, TITLE)
    if meta.pipfile_spec != SPEC:
        raise UnsupportedError(
            f"`{name}` has pipfile-spec {meta.pipfile_spec}, and {SPEC} is known",
            hint="`pipenv requirements --hash` prints a file that is read",
        )
    found: list[Fact] = [{"kind": "section", "section": "distributions"}]
    categories = {key: value for key, value in document.items() if key != "_meta"}
    groups: dict[tuple[str, str], list[str]] = {}
    tables = {category: _table(entries, category, name) for category, entries in categories.items()}
    for category, entries in tables.items():
        for key, value in entries:
            groups.setdefault((key, str(value.get("version"))), []).append(category)
    for category, entries in tables.items():
        for key, value in entries:
            members = groups[key, str(value.get("version"))]
            if members[0] == category:  # what several categories lock alike is one, under a condition that names them
                entry = shaped(value, _Entry, name, f"{TITLE}, `{category}.{key}`")
                found += _entry(key, entry, members, f"{category}.{key}")
    found = once_each(found, name)
    asked = of_python(meta.requires.python_full_version or meta.requires.python_version)
    known = ("distributions", *(["python"] if asked else []))
    unknown = not_recorded(all_but(*known), "a Pipfile.lock cannot carry it")
    return codec.environment([*found, *([asked] if asked else []), *unknown], origin("pipfile-lock", name))


def _table(entries: Any, category: str, name: str) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        raise MalformedError(f"`{name}` is not {TITLE}: `{category}` is no table of packages", where=category)
    return list(entries.items())


def _entry(key: str, entry: _Entry, groups: list[str], where: str) -> list[Fact]:
    exact = re.fullmatch(r"===?\s*(\S+)", entry.version)
    if entry.version and entry.version != "*" and not exact:
        raise MalformedError(f"`{entry.version[:80]}` is not one version", where=f"{where}.version")
    condition = "" if "default" in groups else markers.either(map(markers.in_groups, groups))
    place = {"git": entry.git, "hg": entry.hg, "svn": entry.svn, "path": entry.path, "file": entry.file}
    place |= {"commit": entry.ref, "subdirectory": entry.subdirectory}
    return locked(
        key,
        exact[1] if exact else "",
        where,
        given=entry.hashes,
        marker=markers.both(markers.valid(entry.markers, where), condition),
        place=places_of(place),
        editable=entry.editable,
        extras=sorted(entry.extras),
    )
