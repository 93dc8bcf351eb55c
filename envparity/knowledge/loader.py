"""Reads the rules and the general order that ship beside this module, and checks the laws between them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

import msgspec

from envparity.codec import document
from envparity.compare import first_of
from envparity.errors import MalformedError
from envparity.knowledge.match import fits
from envparity.knowledge.schema import Direction, Example, General, Rule, RuleFile
from envparity.knowledge.versions import LEVELS, specifiers
from envparity.values import Change, Difference, Severity

_GENERAL = "general.yaml"


@lru_cache(maxsize=1)
def load_rules() -> tuple[Rule, ...]:
    """Every rule that ships, in the order of files and lines."""
    rules = tuple(rule for file in _shelf() for rule in _rules_in(file.name))
    _unique((rule.id for rule in rules), "the knowledge base")
    return rules


def rules_about(differences: Iterable[Difference]) -> tuple[Rule, ...]:
    """
    Of the rules that ship, all that may speak of one of these differences, and some others: only files in which one of
    their names stands are parsed.
    """
    distributions: set[str] = set()
    sections: set[str] = set()
    for difference in differences:
        if difference.change not in {Change.UNKNOWN, Change.SATISFIED}:
            sections.add(difference.section)
            if difference.section == "distributions":
                distributions |= {difference.item, first_of(difference.item)}
    wanted = [file.name for file in _shelf() if file.distributions & distributions or file.sections & sections]
    return tuple(rule for name in wanted for rule in _rules_in(name))


class _File(NamedTuple):
    """A file of rules that ships: its bytes, and the names that stand in it where a rule says what it speaks of."""

    name: str
    data: bytes
    distributions: frozenset[str]
    sections: frozenset[str]


_SPEAKS_OF = re.compile(rb"\b(distribution|section): *[\"']?([\w.-]+)")


@lru_cache(maxsize=1)
def _shelf() -> tuple[_File, ...]:
    found = []
    for entry in sorted(files("envparity.knowledge").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".yaml") and entry.name != _GENERAL:
            data = entry.read_bytes()
            named = [(key.decode(), name.decode()) for key, name in _SPEAKS_OF.findall(data)]
            of_key = (frozenset(name for key, name in named if key == wanted) for wanted in ("distribution", "section"))
            found.append(_File(entry.name, data, *of_key))
    return tuple(found)


@cache
def _rules_in(name: str) -> tuple[Rule, ...]:
    return parse_rules(next(file.data for file in _shelf() if file.name == name), name)


def with_own(rules: tuple[Rule, ...], documents: Iterable[tuple[str, bytes]]) -> tuple[Rule, ...]:
    """
    The rules, and a team's own ones after them; each document has a name and its bytes.

    Raises:
        MalformedError: what `parse_rules` raises; or an id that there is already, which nobody may redefine.
    """
    for name, data in documents:
        rules += parse_rules(data, name)
    _unique((rule.id for rule in rules), "the knowledge base, with your own rules,")
    return rules


@lru_cache(maxsize=1)
def load_general() -> General:
    """The order for what no rule names."""
    return document(files("envparity.knowledge").joinpath(_GENERAL).read_bytes(), _GENERAL, General)


def parse_rules(data: bytes, what: str) -> tuple[Rule, ...]:
    """
    The rules of one file.

    Raises:
        MalformedError: not the schema (the place is named: `rules[3].when.before`), or a rule that breaks a law.
    """
    file = document(data, what, RuleFile)
    rules = tuple(_with_sets(rule, file.sets, f"rules[{index}]", what) for index, rule in enumerate(file.rules))
    _unique((rule.id for rule in rules), what)
    for index, rule in enumerate(rules):
        fault = _fault(rule)
        if fault:
            raise MalformedError(f"{what} is not valid: rule `{rule.id}` {fault}", where=f"rules[{index}]")
    return rules


def _with_sets(rule: Rule, sets: dict[str, tuple[str, ...]], where: str, what: str) -> Rule:
    """The rule, with the classes of a set in the place of its name."""
    if not any(name.startswith("@") for name in rule.only_these):
        return rule
    found: list[str] = []
    for name in rule.only_these:
        if name.startswith("@") and name[1:] not in sets:
            raise MalformedError(f"{what} is not valid: it has no set `{name[1:]}`", where=f"{where}.only_these")
        found += sets[name[1:]] if name.startswith("@") else (name,)
    return msgspec.structs.replace(rule, only_these=tuple(found))


def _unique(ids: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for identity in ids:
        if identity in seen:
            raise MalformedError(f"{what} has two rules with the id `{identity}`")
        seen.add(identity)


def example_difference(rule: Rule, example: Example) -> Difference:
    """The difference that an example stands for."""
    when = rule.when
    return Difference(
        section=when.section or "distributions",
        item=when.distribution or when.item or when.section,
        field=when.field or ("version" if when.distribution else ""),
        change=example.change,
        before=example.before,
        after=example.after,
    )


def _fault(rule: Rule) -> str:
    """The law that a rule breaks, or nothing."""
    when = rule.when
    if bool(when.distribution) == bool(when.section):
        return "must speak of a distribution or of a section, and not of both"
    if any(specifiers(text) is None for text in (when.before, when.after)):
        return "has a version range that is none"
    if when.changed_by and when.changed_by not in LEVELS:
        return f"asks for a change by `{when.changed_by}`, which is none of {', '.join(LEVELS)}"
    if when.direction is not Direction.EITHER and not (when.distribution or when.field.endswith("version")):
        return "has a direction, and what it speaks of has no versions"
    if rule.safe and rule.model_refers_to:
        return "says SAFE for a model that refers to one of a list; it must refer to nothing else (only_these)"
    for lesser in (rule.without_model, rule.elsewhere):
        if lesser is not None and (not rule.model_refers_to or not rule.severity.at_least(lesser)):
            return "is worse for a model that it does not concern than for one that it does"
    if rule.unverified and (rule.safe or not Severity.LOW.at_least(rule.severity)):
        return "is unverified, and then it must rank low"
    if any(proof.kind == "cited" and not proof.url for proof in rule.evidence):
        return "cites something without an address"
    if any(bool(proof.cell) != bool(proof.digest) or (proof.cell and proof.kind == "cited") for proof in rule.evidence):
        return "has a proof with half of a measurement: a cell of the lab and its digest belong together"
    if not fits(when, example_difference(rule, rule.example)):
        return "does not fire on its own example"
    if fits(when, example_difference(rule, rule.counterexample)):
        return "fires on its counterexample"
    return ""
