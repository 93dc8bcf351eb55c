"""Rules, listed and explained."""

from __future__ import annotations

import json

import msgspec
import pytest

from envparity.knowledge import load_rules, search, told
from envparity.report import rules as report
from envparity.report.text import Style, cells
from envparity.values import Severity

RULES = load_rules()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_can_be_explained_in_80_columns_with_its_evidence(rule) -> None:
    text = report.one(told(rule))

    # An address is kept in one piece.
    assert max(cells(line) for line in text.splitlines() if "https://" not in line) <= 80
    assert rule.id in text
    flat = " ".join(text.split())
    assert all(" ".join(proof.gist.split()) in flat for proof in rule.evidence)


def test_a_rule_that_nobody_has_verified_says_so() -> None:
    rule = next(rule for rule in RULES if rule.severity is Severity.LOW)
    careful = "nobody has looked up yet what this says"

    assert careful in report.one(told(msgspec.structs.replace(rule, unverified=True)))
    assert careful not in report.one(told(rule))


def test_the_list_is_worst_first_and_counts_itself() -> None:
    lines = report.several(search(RULES, ())).splitlines()

    order = ["critical", "high", "medium", "low", "info"]
    ranks = [order.index(line.split()[0]) for line in lines[:-1]]
    assert ranks == sorted(ranks)
    assert lines[-1].startswith(f"{len(RULES)} rules, ")
    assert max(map(cells, lines)) <= 80


def test_every_word_of_a_query_must_stand_in_a_rule() -> None:
    found = {rule["id"] for rule in search(RULES, ("TFIDF", "critical"))}

    assert "sklearn-tfidf-idf-lost" in found
    assert all("tfidf" in json.dumps(rule).casefold() for rule in search(RULES, ("tfidf",)))
    assert search(RULES, ("tfidf", "no-such-word")) == ()


def test_for_a_program_it_is_the_data_itself() -> None:
    assert json.loads(report.json(told(RULES[0]))) == told(RULES[0])
    assert [rule["id"] for rule in json.loads(report.json(search(RULES, ())))] == [r["id"] for r in search(RULES, ())]


def test_a_style_with_colour_changes_no_letter() -> None:
    plain = report.several(search(RULES, ()), Style())
    coloured = report.several(search(RULES, ()), Style(colour=True))

    import re

    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
