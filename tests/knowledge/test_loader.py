"""A file of rules that is not what it should be is refused, with the place in it."""

from __future__ import annotations

import pytest

from envparity.errors import MalformedError
from envparity.knowledge import parse_rules
from envparity.knowledge.match import fits
from envparity.values import Change, Difference

GOOD = """
rules:
  - id: numpy-two
    title: A rule
    when: {distribution: numpy, direction: upgrade, before: "<2", after: ">=2"}
    effect: behaviour
    severity: high
    reason: It changes.
    evidence: [{kind: measured, read_on: "2026-11-23", gist: seen}]
    example: {before: "1.26.4", after: "2.0"}
    counterexample: {before: "2.0", after: "2.1"}
"""


def refused(text: str) -> MalformedError:
    with pytest.raises(MalformedError) as caught:
        parse_rules(text.encode(), "mine.yaml")
    return caught.value


def test_a_good_file_is_read() -> None:
    (rule,) = parse_rules(GOOD.encode(), "mine.yaml")

    assert rule.id == "numpy-two"


def test_a_version_without_quotes_is_refused_and_the_fix_is_named() -> None:
    """YAML reads 3.10 as the number 3.1: a rule for Python 3.1 that nobody wrote."""
    error = refused(GOOD.replace('before: "1.26.4"', "before: 3.10"))

    assert error.where == "rules[0].example.before"
    assert "found the number 3.1" in error.message
    assert error.hint == 'quote it: "3.1"'


def test_a_truth_value_where_a_text_is_due_is_refused() -> None:
    assert "truth value" in refused(GOOD.replace("reason: It changes.", "reason: no")).message


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rules:\n", "schema: 2\nrules:\n", "has the schema 2, and this envparity knows 1"),
        ("title: A rule", "title: A rule\n    colour: red", "unknown field `colour`"),
        ("    severity: high\n", "", "missing required field `severity`"),
        ("severity: high", "severity: awful", "awful"),
        ("id: numpy-two", "id: Numpy two", "rules[0].id"),
        ("2026-11-23", "yesterday", "rules[0].evidence[0].read_on"),
        ('before: "1.26.4", after: "2.0"', 'before: "2.0", after: "2.1"', "does not fire on its own example"),
        ('counterexample: {before: "2.0"', 'counterexample: {before: "1.0"', "fires on its counterexample"),
        ('before: "<2"', 'before: "older"', "a version range that is none"),
        ("distribution: numpy", "distribution: numpy, section: cpu", "not of both"),
        ("distribution: numpy, direction: upgrade", "section: cpu, direction: upgrade", "has no versions"),
        ("kind: measured", "kind: cited", "without an address"),
        ("severity: high", "severity: low\n    elsewhere: high", "worse for a model"),
        ("severity: high", "severity: info\n    model_refers_to: [numpy]", "says SAFE"),
        ("direction: upgrade", "direction: upgrade, changed_by: epoch", "none of major"),
        ("severity: high", "severity: medium\n    unverified: true", "unverified, and then it must rank low"),
        ("severity: high", "severity: info\n    unverified: true", "unverified, and then it must rank low"),
        ("gist: seen", "gist: seen, cell: numpy/sort/1.26.4->2.0.2", "half of a measurement"),
        ("gist: seen", "gist: seen, cell: sort, digest: 0123456789ab", "rules[0].evidence[0].cell"),
        ("gist: seen", "gist: seen, cell: a/b/1->2, digest: xyz", "rules[0].evidence[0].digest"),
        ("severity: high", "severity: info\n    only_these: ['@arrays']", "it has no set `arrays`"),
    ],
)
def test_a_rule_that_breaks_a_law_is_refused(old: str, new: str, said: str) -> None:
    assert said in str(refused(GOOD.replace(old, new)))


def test_a_rule_that_nobody_has_verified_may_rank_low() -> None:
    (rule,) = parse_rules(GOOD.replace("severity: high", "severity: low\n    unverified: true").encode(), "mine.yaml")

    assert rule.unverified


def test_an_item_may_stand_for_several() -> None:
    text = GOOD.replace("distribution: numpy", 'section: native_libraries, item: "openblas of *", field: version')
    (rule,) = parse_rules(text.encode(), "mine.yaml")
    seen = [item for item in ("openblas of numpy", "mkl of numpy") if fits(rule.when, difference(item))]

    assert seen == ["openblas of numpy"]


def difference(item: str) -> Difference:
    return Difference(
        section="native_libraries", item=item, field="version", change=Change.CHANGED, before="1.26.4", after="2.0"
    )


def test_the_classes_of_a_set_stand_in_the_place_of_its_name() -> None:
    rule = "severity: info\n    only_these: ['@arrays', 'numpy:dtype']"
    sets = "sets:\n  arrays: ['numpy:ndarray', 'numpy._core.multiarray:_reconstruct']\n"

    (read,) = parse_rules((sets + GOOD.lstrip().replace("severity: high", rule)).encode(), "mine.yaml")

    assert read.only_these == ("numpy:ndarray", "numpy._core.multiarray:_reconstruct", "numpy:dtype")


def test_two_rules_of_one_id_are_refused() -> None:
    assert "two rules with the id" in refused(GOOD + GOOD.partition("rules:")[2]).message
