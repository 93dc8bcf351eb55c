"""The rules as a reader wants them: found by words, and told as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from envparity.knowledge.schema import Rule


def search(rules: Iterable[Rule], words: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """The rules in which every word stands, letters large or small, worst first; each as `told` has it."""
    wanted = [word.casefold() for word in words]
    found = [rule for rule in rules if all(word in _text(rule) for word in wanted)]
    return tuple(told(rule) for rule in sorted(found, key=lambda rule: (-rule.severity.rank, rule.id)))


def _text(rule: Rule) -> str:
    when = rule.when
    speaks_of = (when.distribution, when.section, when.item, when.field)
    names = (*speaks_of, *rule.model_refers_to, *rule.only_these, *(proof.kind for proof in rule.evidence))
    return "\n".join((rule.id, rule.title, rule.reason, rule.fix, rule.severity, rule.effect, *names)).casefold()


def told(rule: Rule) -> dict[str, Any]:
    """A rule as plain data, with every key."""
    value: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(rule))
    return value
