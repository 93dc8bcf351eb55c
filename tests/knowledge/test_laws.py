"""The laws between rules: none contradicts another, none is said without a source that can be read, none vanishes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from importlib.resources import files
from itertools import islice
from pathlib import Path

import pytest

from envparity.knowledge import Rule, load_rules, parse_rules
from envparity.knowledge.loader import example_difference
from envparity.knowledge.match import Shelf, fits
from envparity.knowledge.schema import Example

RULES = load_rules()
RELEASED = Path(__file__).parent.parent / "data" / "knowledge" / "released-rules.txt"


def versions(rule: Rule) -> set[str]:
    """The bounds of what a rule speaks of, and what lies right beside them."""
    found = set()
    for text in (rule.when.before, rule.when.after, rule.example.before, rule.example.after):
        for number in re.findall(r"[0-9]+(?:\.[0-9]+)*", text):
            parts = [int(part) for part in number.split(".")]
            found |= {number, f"{number}.1", ".".join(map(str, [*parts[:-1], parts[-1] + 1]))}
            found |= {".".join(map(str, [*parts[:-1], parts[-1] - 1, 9999]))} if parts[-1] else set()
    return found


def pairs_of(one: Rule, other: Rule) -> Iterator[tuple[str, str]]:
    """The pairs of versions of which both rules speak, among those where one of them begins or ends."""
    numbers = sorted(versions(one) | versions(other))
    for before in numbers:
        for after in numbers:
            example = Example(before=before, after=after)
            if fits(one.when, example_difference(one, example)) and fits(other.when, example_difference(one, example)):
                yield before, after


def concern_one_model(safe: Rule, harmful: Rule) -> bool:
    """Whether a model that the one calls safe is one that the other warns of."""
    if not safe.only_these or not harmful.model_refers_to or harmful.elsewhere is not None:
        return True
    modules = {name.partition(":")[0] for name in safe.only_these}
    return any(
        prefix in safe.only_these
        or (":" not in prefix and any(name == prefix or name.startswith(f"{prefix}.") for name in modules))
        for prefix in harmful.model_refers_to
    )


def contradictions(rules: tuple[Rule, ...]) -> list[tuple[str, str, tuple[str, str]]]:
    """Every rule that says SAFE with one that does not, where both speak of one model and one pair of versions."""
    found = []
    shelf = Shelf(rules)
    for safe in (rule for rule in rules if rule.safe):
        for other in shelf.of(example_difference(safe, safe.example)):
            if not other.safe and concern_one_model(safe, other):
                found += [(safe.id, other.id, pair) for pair in islice(pairs_of(safe, other), 1)]
    return found


def test_no_two_rules_contradict_for_one_pair_of_versions() -> None:
    assert contradictions(RULES) == []


RULE = """
rules:
  - id: {id}
    title: A rule
    when: {{distribution: {name}, direction: either, before: "{before}", after: "{after}"}}
    effect: behaviour
    severity: {severity}
    reason: It changes.
    evidence: [{{kind: measured, read_on: "2026-11-26", gist: seen}}]
    example: {{before: "{start}", after: "{end}"}}
    counterexample: {{before: "{end}", after: "{end}"}}
    {more}
"""


def rule(identity: str, severity: str, start: str, end: str, *, name: str = "sklearn", more: str = "") -> Rule:
    """A rule for the step from one release line to another."""
    before, after = (f"=={number}.*" for number in (start, end))
    text = RULE.format(
        id=identity, name=name, severity=severity, before=before, after=after, start=start, end=end, more=more
    )
    return parse_rules(text.encode(), "mine.yaml")[0]


FOREST, SCALER = "sklearn.ensemble._forest:RandomForestClassifier", "sklearn.preprocessing._data:StandardScaler"
SAFE = rule("all-is-well", "info", "1.0", "2.0", more=f'only_these: ["{FOREST}"]')


@pytest.mark.parametrize("more", ["", f'model_refers_to: ["{FOREST}"]', "model_refers_to: [sklearn.ensemble]"])
def test_what_is_called_safe_and_harmful_for_one_model_is_a_contradiction(more: str) -> None:
    harmful = rule("all-is-lost", "high", "1.0", "2.0", more=more)

    assert [found[:2] for found in contradictions((harmful, SAFE))] == [("all-is-well", "all-is-lost")]


@pytest.mark.parametrize(
    "other",
    [
        rule("another-library", "high", "1.0", "2.0", name="pandas"),
        rule("other-versions", "high", "1.1", "2.0"),
        rule("another-class", "high", "1.0", "2.0", more=f'model_refers_to: ["{SCALER}"]'),
        rule("as-mild", "info", "1.0", "2.0"),
    ],
    ids=lambda other: other.id,
)
def test_a_rule_of_something_else_contradicts_nothing(other: Rule) -> None:
    assert contradictions((SAFE, other)) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_what_a_rule_cites_can_be_looked_up(rule: Rule) -> None:
    """Whoever must decide by a rule asks where it is from, and how old that is."""
    for proof in rule.evidence:
        assert date.fromisoformat(proof.read_on) >= date(2026, 1, 1)
        assert len(proof.gist) >= 20
        if proof.kind == "cited":
            assert re.fullmatch(r"https://[a-z0-9.-]+\.[a-z]+/\S+", proof.url)


def test_an_id_is_given_once_over_all_files() -> None:
    folder = files("envparity.knowledge")
    texts = [entry.read_text("utf-8") for entry in folder.iterdir() if entry.name.endswith(".yaml")]
    ids = [found for text in texts for found in re.findall(r"(?m)^ *- id: *(\S+)$", text)]

    assert sorted(ids) == sorted({rule.id for rule in RULES})


def test_the_id_of_a_rule_that_was_released_never_vanishes() -> None:
    """Policies name rules by their ids: one that vanished would leave an exception that excuses nothing."""
    lines = RELEASED.read_text("utf-8").splitlines()
    released = [line for line in lines if line and not line.startswith("#")]

    assert len(released) == len(set(released))
    assert set(released) <= {rule.id for rule in RULES}
