"""The knowledge base that ships: every rule is shown at work, on its own example and beside it."""

from __future__ import annotations

import re

import pytest

from envparity.compare import compare
from envparity.knowledge import Direction, Rule, judge, load_general, load_rules
from envparity.knowledge.loader import example_difference, rules_about
from envparity.knowledge.match import fits
from envparity.values import SECTIONS, Change, Distribution, Environment, Origin, Severity

RULES = load_rules()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_fires_on_its_example_and_is_silent_on_its_counterexample(rule: Rule) -> None:
    assert fits(rule.when, example_difference(rule, rule.example))
    assert not fits(rule.when, example_difference(rule, rule.counterexample))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_follows_its_direction(rule: Rule) -> None:
    example = rule.example
    if example.change is not Change.CHANGED:
        return
    turned = example_difference(rule, type(example)(before=example.after, after=example.before))

    assert fits(rule.when, turned) == (rule.when.direction is Direction.EITHER)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_can_be_read_by_someone_who_does_not_program(rule: Rule) -> None:
    assert rule.reason.endswith(".")
    assert rule.title[0].isupper() or rule.title.startswith(("numpy", "torch", "glibc"))
    assert rule.fix or rule.safe
    assert not re.search(r"\{(?!before\}|after\}|item\})", rule.fix)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_class_is_written_as_a_pickle_names_it(rule: Rule) -> None:
    for name in rule.model_refers_to + rule.only_these:
        assert re.fullmatch(r"[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*)?", name)


def test_there_is_a_rule_for_each_of_the_known_silent_changes() -> None:
    silent = {rule.id for rule in RULES if rule.severity is Severity.CRITICAL and rule.effect == "silent-numeric"}

    assert {"sklearn-tfidf-idf-lost", "sklearn-adaboost-samme", "pandas-3-datetime-resolution"} <= silent


def test_some_rules_say_that_nothing_changes() -> None:
    assert len([rule for rule in RULES if rule.safe]) >= 3


def test_the_general_order_has_a_word_for_everything() -> None:
    general = load_general()
    levels = set(general.levels)

    assert all(set(role.severities) == levels for role in general.roles.values())
    assert all(fact.section in {*SECTIONS, "needs", ""} for fact in general.facts)
    assert general.facts[-1].section == ""


@pytest.mark.parametrize(("greater", "lesser"), [("major", "minor"), ("minor", "patch"), ("removed", "added")])
def test_a_greater_change_is_never_judged_more_mildly(greater: str, lesser: str) -> None:
    for role in load_general().roles.values():
        assert role.severities[greater].at_least(role.severities[lesser])


def test_what_the_model_refers_to_comes_first() -> None:
    roles = load_general().roles
    for level in load_general().levels:
        ranks = [roles[name].severities[level].rank for name in ("referred", "compiled-beside", "pure-beside")]
        assert ranks == sorted(ranks, reverse=True)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_is_found_by_what_it_speaks_of_though_only_a_few_files_are_parsed(rule: Rule) -> None:
    assert rule in rules_about([example_difference(rule, rule.example)])


def test_a_comparison_parses_few_files_and_says_what_all_rules_would() -> None:
    before, after = (
        Environment(
            origin=Origin(kind="test"),
            distributions=tuple(Distribution(name=name, version=version) for name in ("scikit-learn", "requests")),
        )
        for version in ("1.4.2", "1.5.2")
    )
    differences = compare(before, after)

    assert judge(before, after, differences) == judge(before, after, differences, rules=load_rules())
    assert 0 < len(rules_about(differences)) < len(load_rules()) / 2
    assert rules_about(()) == ()
