"""
What only development needs (`--dev-exclude`): test runners, notebooks, linters, and whatever nothing else requires.

It is named by distribution, or by a `pyproject.toml` and one of its groups (PEP 735: groups "are not included in built
distributions"); of what a group asks for, that stays which something else needs.
"""

from __future__ import annotations

__all__ = ["REASON", "unneeded", "without"]

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from envparity import closure, markers
from envparity.errors import RefusedError, UsageError
from envparity.files import read_bytes
from envparity.values import Distribution, Environment, LeftOut

REASON = "only development needs it"


@dataclass
class _Named:
    """Distributions that are left out whatever they are; those of groups; and what the project itself requires."""

    strictly: set[str] = field(default_factory=set)
    by_groups: set[str] = field(default_factory=set)
    runtime: set[str] = field(default_factory=set)


def without(
    environment: Environment,
    chosen: Sequence[Distribution],
    marker_env: Mapping[str, str],
    excluded: Iterable[str],
    needed: Collection[str] = (),
) -> tuple[list[Distribution], list[LeftOut]]:
    """
    The chosen distributions less those that only the excluded ones need, and these with the reason.

    Args:
        excluded: names, and `pyproject.toml` (all of its groups) or `pyproject.toml:GROUP`.
        needed: names of what stays in any case, with what it requires.

    Raises:
        RefusedError: the model, the project or something that stays needs one that was named; all of them are listed.
        UsageError: a name is not there to be left out; there is no such group.
    """
    named = _named(excluded, chosen)
    wanted = named.strictly | named.by_groups
    if not wanted:
        return list(chosen), []
    below = closure.required_by(chosen, wanted, marker_env)
    referred = _referred(environment, chosen)
    asked = {item.name for item in chosen if item.name in below - wanted and item.requested and item.installer != "uv"}
    roots = ({item.name for item in chosen} - below) | named.runtime | referred | asked | set(needed)
    stay = closure.required_by(chosen, roots, marker_env)
    refused = sorted(named.strictly & stay)
    if refused:
        raise RefusedError(
            f"{len(refused)} of what is to be left out is needed",
            hint="leave out what needs it too, or keep it",
            details=tuple(_why(name, chosen, stay, named.runtime, referred, needed, marker_env) for name in refused),
        )
    taken = [item for item in chosen if item.name in stay]
    others = [item for item in chosen if item.name not in stay]
    return taken, [LeftOut(kind="distribution", name=it.name, version=it.version, reason=REASON) for it in others]


def unneeded(environment: Environment, names: Collection[str]) -> frozenset[str]:
    """Those of some names that by the snapshot itself nothing else requires, and that no model refers to."""
    installed = [item for item in environment.distributions or () if item.importable and not item.tooling]
    if environment.python is None:
        return frozenset()
    roots = {item.name for item in installed} - set(names) | _referred(environment, installed)
    marker_env = closure.marker_environment(environment.python, environment.system)
    return frozenset(names) - closure.required_by(installed, roots, marker_env)


def _named(excluded: Iterable[str], chosen: Sequence[Distribution]) -> _Named:
    from packaging.utils import canonicalize_name

    found = _Named()
    names = [item.name for item in chosen]
    for text in excluded:
        path, _, group = text.partition(".toml")
        if path != text:
            _of_project(Path(f"{path}.toml"), group.removeprefix(":"), names, found)
            continue
        name = canonicalize_name(text)
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3)
            raise UsageError(
                f"`--dev-exclude {text}`: there is no distribution of this name to leave out",
                hint=f"is it {' or '.join(f'`{each}`' for each in near)}?" if near else "`envparity show` lists them",
            )
        found.strictly.add(name)
    return found


def _of_project(path: Path, group: str, names: Collection[str], found: _Named) -> None:
    from packaging.utils import canonicalize_name

    from envparity.sources import Options, pyproject  # they bring the readers of every kind of file

    declared = pyproject.parse(read_bytes(path, limit=16 << 20, what="pyproject.toml"), str(path), Options())
    groups: dict[str, set[str]] = {}
    for item in declared.distributions or ():
        members = [name for kind, name in markers.named(item.marker) if kind == "dependency_groups"]
        for member in members:
            groups.setdefault(member, set()).add(item.name)
        if not members and item.name in names:
            found.runtime.add(item.name)
    if group and canonicalize_name(group) not in groups:
        raise UsageError(
            f"`{path}` has no group `{group}`", hint=f"it has {', '.join(sorted(groups)) or 'none'} (dependency-groups)"
        )
    for name in [canonicalize_name(group)] if group else groups:
        found.by_groups |= groups[name] & set(names)


def _referred(environment: Environment, installed: Iterable[Distribution]) -> set[str]:
    models = [item for item in environment.artifacts or () if item.kind == "model"]
    providers = closure.providers_of((module for model in models for module in model.modules), installed)
    return {name for names in providers.values() for name in names}


def _why(
    name: str,
    chosen: Sequence[Distribution],
    stay: Collection[str],
    runtime: Collection[str],
    referred: Collection[str],
    needed: Collection[str],
    marker_env: Mapping[str, str],
) -> str:
    direct = closure.direct([item for item in chosen if item.name in stay], marker_env)
    owners = [owner for owner, required in direct.items() if name in required]
    if owners:
        return f"{name} is required by {', '.join(owners)}"
    if name in referred:
        return f"{name} is what the model refers to"
    if name in needed:
        return f"{name} is needed by what is added"
    return f"{name} is required by the project" if name in runtime else f"{name} was asked for by itself"
