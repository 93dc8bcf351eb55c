"""A policy that says something else than it seems to is refused, with the place of the mistake."""

from __future__ import annotations

import pytest

from envparity.errors import MalformedError
from envparity.policy import parse_policy
from envparity.settings import POLICY
from envparity.values import Severity

RULES = {"numpy-2-promotion", "sklearn-tfidf-idf-lost"}
WHY = "reason: r, owner: o, until: '2027-01-31'"


def parsed(text: str):
    return parse_policy(text.encode(), "parity.yaml", RULES)


def test_the_policy_that_init_begins_changes_nothing() -> None:
    policy = parsed(POLICY)

    assert policy.fail_on is Severity.HIGH
    assert not any((policy.ignore, policy.lower, policy.raise_, policy.forbid, policy.require, policy.baseline))
    assert parsed("") == parse_policy(b"schema: 1", "parity.yaml", RULES)


def test_the_examples_in_the_policy_that_init_begins_are_valid() -> None:
    lines = POLICY.splitlines()
    kept = [line.removeprefix("# ").removeprefix("#") if line[:3] in {"# -", "#  "} else line for line in lines]
    text = "\n".join(line.replace(": []", ":") for line in kept).replace("  # or distribution", "  # ")

    policy = parsed(text)

    counts = [len(entries) for entries in (policy.ignore, policy.lower, policy.raise_, policy.forbid, policy.require)]
    assert counts == [1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        (f"ignore: [{{distribtion: numpy, {WHY}}}]", "ignore[0]", "distribtion"),
        (f"ignore: [{{rule: numpy-2-promotoin, {WHY}}}]", "ignore[0]", "there is no rule `numpy-2-promotoin`"),
        (f"ignore: [{{{WHY}}}]", "ignore[0]", "would match every finding"),
        (f"ignore: [{{target: prod, {WHY}}}]", "ignore[0]", "would match every finding"),
        (f"ignore: [{{effect: silent, {WHY}}}]", "ignore[0].effect", "silent"),
        (f"ignore: [{{section: distribution, {WHY}}}]", "ignore[0]", "there is no section `distribution`"),
        (f"ignore: [{{distribution: numpy, section: cpu, {WHY}}}]", "ignore[0]", "something else too"),
        ("ignore: [{distribution: numpy, reason: r, owner: o}]", "ignore[0]", "until"),
        ("ignore: [{distribution: numpy, reason: r, owner: '', until: '2027-01-31'}]", "ignore[0].owner", ">= 1"),
        ("ignore: [{distribution: numpy, reason: r, owner: o, until: 2027-02-31}]", "ignore[0]", "no day 2027-02-31"),
        ("ignore: [{distribution: numpy, reason: r, owner: o, until: soon}]", "ignore[0].until", "regex"),
        (f"lower: [{{distribution: numpy, {WHY}}}]", "lower[0]", "to"),
        ("raise: [{distribution: numpy, to: worst, reason: r}]", "raise[0].to", "worst"),
        ("forbid: [{distribution: numpy, versions: new, reason: r}]", "forbid[0]", "no range of versions"),
        ("require: [{distribution: numpy, versions: 1.26, reason: r}]", "require[0].versions", "number 1.26"),
        ("fail-on: high", "", "fail-on"),
        ("fail_on: worst", "fail_on", "worst"),
        ("schema: 2", "schema", "knows 1"),
        ("- a", "", "array"),
        (
            f"ignore: [{{distribution: numpy, {WHY}}}]\nraise: [{{distribution: numpy, to: high, reason: r}}]",
            "raise[0]",
            "same findings as ignore[0]",
        ),
        ("forbid: [{distribution: a, reason: r}, {distribution: a, reason: s}]", "forbid[1]", "as forbid[0]"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, where: str, says: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parsed(text)

    assert caught.value.where.startswith(where)
    assert says in str(caught.value)


def test_a_rule_that_is_almost_right_is_suggested() -> None:
    with pytest.raises(MalformedError) as caught:
        parsed(f"ignore: [{{rule: numpy-2-promotoin, {WHY}}}]")

    assert caught.value.hint == "did you mean `numpy-2-promotion`?"
