"""Reads a policy, and refuses one that says something else than it seems to."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterator
from typing import Any

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from envparity.codec import document
from envparity.errors import MalformedError
from envparity.policy.schema import Demand, Exemption, Matcher, Policy
from envparity.values import SECTIONS

_LISTS = {"ignore": "ignore", "lower": "lower", "raise": "raise_", "forbid": "forbid", "require": "require"}


def parse_policy(data: bytes, what: str, rules: Collection[str]) -> Policy:
    """
    One `parity.yaml`.

    Args:
        data: the document.
        what: what errors call it.
        rules: the ids that there are.

    Raises:
        MalformedError: it is not the schema (the place is named: `lower[0].until`), of a newer version, names a rule
            that there is not, matches everything, or decides one thing twice.
    """
    policy = document(data, what, Policy)
    for where, entry in entries(policy):
        fault = _of_demand(entry) if isinstance(entry, Demand) else _of_matcher(entry, rules)
        if fault:
            raise MalformedError(f"{what} is not valid: {fault[0]}", where=where, hint=fault[1])
    _contradictions(policy, what)
    return policy


def entries(policy: Policy) -> Iterator[tuple[str, Any]]:
    """Every entry, with its place in the document."""
    for key, attribute in _LISTS.items():
        for index, entry in enumerate(getattr(policy, attribute)):
            yield f"{key}[{index}]", entry


def _of_matcher(entry: Matcher, rules: Collection[str]) -> tuple[str, str] | None:
    named = {name: getattr(entry, name) for name in Matcher.__struct_fields__}
    if not any(value for name, value in named.items() if name != "target"):
        return (
            "it names nothing, and would match every finding",
            "name a rule, a distribution, a section, an effect or a severity",
        )
    if entry.rule and entry.rule not in rules:
        near = _nearest(entry.rule, rules)
        return f"there is no rule `{entry.rule}`", f"did you mean `{near}`?" if near else "`envparity rules` lists them"
    if entry.section and entry.section not in (*SECTIONS, "policy"):
        near = _nearest(entry.section, SECTIONS)
        return f"there is no section `{entry.section}`", f"did you mean `{near}`?" if near else ", ".join(SECTIONS)
    if entry.distribution and (entry.section not in {"", "distributions"} or entry.item):
        return "a distribution is named, and something else too", "remove `section` and `item`"
    if isinstance(entry, Exemption):
        try:
            datetime.date.fromisoformat(entry.until)
        except ValueError:
            return f"there is no day {entry.until}", "write it as 2027-01-31"
    return None


def _of_demand(entry: Demand) -> tuple[str, str] | None:
    try:
        SpecifierSet(entry.versions)
    except InvalidSpecifier:
        return f"`{entry.versions}` is no range of versions", 'such as ">=1.26,<2"'
    return None


def _nearest(name: str, known: Collection[str]) -> str:
    import difflib

    return next(iter(difflib.get_close_matches(name, list(known), 1)), "")


def _contradictions(policy: Policy, what: str) -> None:
    seen: dict[tuple[Any, ...], str] = {}
    for where, entry in entries(policy):
        if isinstance(entry, Demand):
            kind = where.partition("[")[0]
            key: tuple[Any, ...] = (kind, entry.distribution, entry.versions, entry.target)
        else:
            key = tuple(getattr(entry, name) for name in Matcher.__struct_fields__)
        if key in seen:
            raise MalformedError(
                f"{what} is not valid: it speaks of the same findings as {seen[key]}",
                where=where,
                hint="keep one of the two",
            )
        seen[key] = where


def as_text(entry: Matcher | Demand) -> str:
    """What an entry speaks of: `rule numpy-nep50, target prod`."""
    told = msgspec.structs.asdict(entry)
    names = Demand.__struct_fields__ if isinstance(entry, Demand) else Matcher.__struct_fields__
    return ", ".join(f"{name} {told[name]}" for name in names if told[name] and name not in {"reason", "owner"})
