"""
What a `pyproject.toml` declares: dependencies, extras and groups
(https://packaging.python.org/specifications/pyproject-toml/, PEP 735), or Poetry's own tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from envparity import codec, markers
from envparity.collectors.tree import gap
from envparity.errors import MalformedError
from envparity.sources.documents import python, shaped
from envparity.sources.poetry_lock import python_range
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin, without_secrets
from envparity.sources.requirements import facts_of
from envparity.values import Environment

TITLE = "a pyproject.toml"


class _Project(Struct, frozen=True, rename="kebab"):
    requires_python: str = ""
    dependencies: tuple[str, ...] | None = None
    optional_dependencies: dict[str, tuple[str, ...]] = {}
    dynamic: tuple[str, ...] = ()


class _Group(Struct, frozen=True):
    dependencies: dict[str, Any] = {}


class _Poetry(Struct, frozen=True, rename="kebab"):
    dependencies: dict[str, Any] = {}
    dev_dependencies: dict[str, Any] = {}
    group: dict[str, _Group] = {}
    extras: dict[str, tuple[str, ...]] = {}


class _Tool(Struct, frozen=True):
    poetry: _Poetry | None = None


class _File(Struct, frozen=True, rename="kebab"):
    project: _Project | None = None
    dependency_groups: dict[str, tuple[str | dict[str, str], ...]] = field(default_factory=dict)
    tool: _Tool = field(default_factory=_Tool)


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that a `pyproject.toml` declares; what belongs to an extra or a group has that as its condition.

    Raises:
        MalformedError: not TOML, another shape, a requirement that is none, groups that include each other.
    """
    file = shaped(codec.load_toml(data, f"`{name}`"), _File, name, TITLE)
    folder = (options.base_dir / name).parent
    project, poetry = file.project or _Project(), file.tool.poetry
    facts: list[Fact] = [{"kind": "section", "section": "distributions"}]
    facts += facts_of(project.dependencies or (), f"{name} (project.dependencies)", folder)
    for extra, lines in project.optional_dependencies.items():
        marker = markers.in_extras(_name(extra))
        facts += facts_of(lines, f"{name} (project.optional-dependencies.{extra})", folder, marker=marker)
    facts += _groups(file, name, folder)
    if poetry is not None:
        facts += _poetry(poetry, bool(project.dependencies), name)
    facts += _dynamic(project)
    if file.project is None and poetry is None and not file.dependency_groups:
        facts.append(gap("distributions", "not-recorded", "it has neither [project] nor [dependency-groups]"))
    asked = python(project.requires_python) or _python_of(poetry)
    known = ("distributions", *(["python"] if asked else []))
    unknown = not_recorded(all_but(*known), "a pyproject.toml cannot carry it")
    return codec.environment([*facts, *asked, *unknown], origin("pyproject", name), open=True)


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def _dynamic(project: _Project) -> Iterator[Fact]:
    for field_name in ("dependencies", "optional-dependencies"):
        if field_name in project.dynamic:
            reason = f"`{field_name}` is dynamic: it is made when the project is built"
            yield gap("distributions", "not-recorded", reason, f"project.{field_name}")


def _groups(file: _File, name: str, folder: Path) -> Iterator[Fact]:
    """
    PEP 735: a group is a list of requirements, and of the groups that it includes.

    What several groups ask for in the same words is one requirement, under a condition that names them all.
    """
    groups = {_name(group): items for group, items in file.dependency_groups.items()}
    if len(groups) != len(file.dependency_groups):
        raise MalformedError(f"`{name}` has two groups of one name", where="dependency-groups")
    asked: dict[str, list[str]] = {}
    for group in groups:
        for line in _lines(group, groups, (), name):
            asked.setdefault(line, []).append(group)
    for line, members in asked.items():
        marker = markers.either(map(markers.in_groups, dict.fromkeys(members)))
        yield from facts_of([line], f"{name} (dependency-groups.{members[0]})", folder, marker=marker)


def _lines(
    group: str, groups: Mapping[str, tuple[str | dict[str, str], ...]], above: tuple[str, ...], name: str
) -> Iterator[str]:
    if group in above:
        raise MalformedError(
            f"groups include each other in a circle: {' -> '.join((*above, group))}", where=f"dependency-groups.{group}"
        )
    if group not in groups:
        raise MalformedError(f"the group `{group}` is included, and not there", where=f"dependency-groups.{above[-1]}")
    for item in groups[group]:
        if isinstance(item, str):
            yield item
        elif set(item) == {"include-group"}:
            yield from _lines(_name(item["include-group"]), groups, (*above, group), name)
        else:
            raise MalformedError(
                "an entry that is neither a requirement nor a group", where=f"dependency-groups.{group}"
            )


def _python_of(poetry: _Poetry | None) -> list[Fact]:
    stated = poetry.dependencies.get("python") if poetry is not None else None
    return python(python_range(stated)) if isinstance(stated, str) else []


def _poetry(poetry: _Poetry, standard: bool, name: str) -> Iterator[Fact]:
    """Poetry's own tables. Where the standard's are there too, those of the main group only add where it comes from."""
    by_extra: dict[str, list[str]] = {}
    for extra, members in poetry.extras.items():
        for member in members:
            by_extra.setdefault(_name(re.split(r"[\s\[(<>=!~;]", member)[0]), []).append(_name(extra))
    tables = [] if standard else [("", poetry.dependencies)]
    tables += [("dev", poetry.dev_dependencies)]
    tables += [(_name(group), table.dependencies) for group, table in poetry.group.items()]
    for group, table in tables:
        for key, value in table.items():
            if key == "python":
                continue
            for item in value if isinstance(value, list) else [value]:
                where = f"tool.poetry.{f'group.{group}.' if group else ''}dependencies.{key}"
                yield _dependency(key, item, group, by_extra.get(_name(key), []), where)


def _dependency(key: str, value: Any, group: str, extras: list[str], where: str) -> Fact:
    table = {"version": value} if isinstance(value, str) else value
    if not isinstance(table, dict):
        raise MalformedError("neither a version nor a table", where=where)
    stated = str(table.get("version", ""))
    specifier = python_range(stated)
    if stated not in {"", "*"} and not specifier:
        return gap(
            "distributions", "not-recorded", f"it is asked for as `{stated[:80]}`, which PEP 440 cannot say", _name(key)
        )
    condition = markers.either(map(markers.in_extras, extras)) if table.get("optional") and extras else ""
    of_python = str(table.get("python", ""))
    return {
        "kind": "distribution",
        "basis": "declared",
        "name": _name(key),
        "specifier": specifier,
        "marker": markers.both(
            markers.valid(str(table.get("markers", "")), where),
            " and ".join(
                f"python_version {found[0]} '{found[1]}'"
                for found in re.findall(r"([<>=!~]+)([\d.]+)", python_range(of_python))
            ),
            condition,
            markers.in_groups(group) if group else "",
        ),
        "extras": sorted(_name(str(extra)) for extra in table.get("extras", ())),
        "direct_url": without_secrets(str(table.get("git") or table.get("url") or table.get("path") or "")),
        "editable": bool(table.get("develop", False)),
    }
