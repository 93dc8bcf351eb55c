"""What a policy does to findings: what it names, and nothing else."""

from __future__ import annotations

import datetime
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envparity.compare import compare
from envparity.diff import across, between
from envparity.knowledge import judge, load_rules
from envparity.policy import accept, apply, load_baseline, parse_policy, write_baseline
from envparity.policy.apply import matches
from envparity.policy.loader import entries
from envparity.values import Change, Distribution, Effect, Environment, Finding, Origin, Severity
from tests.strategies import environments

RULES = {rule.id for rule in load_rules()}
TODAY = datetime.date(2026, 11, 26)
WHY = "reason: it draws bars, owner: ml, until: '2027-01-31'"


def environment(**versions: str) -> Environment:
    items = tuple(Distribution(name=name.replace("_", "-"), version=version) for name, version in versions.items())
    return Environment(origin=Origin(kind="venv", reference="x"), distributions=items)


BEFORE = environment(scikit_learn="1.4.2", numpy="1.26.4", tqdm="4.66.1")
AFTER = environment(scikit_learn="1.5.2", numpy="2.1.3", tqdm="4.67.0")


def policy(text: str):
    return parse_policy(text.encode(), "parity.yaml", RULES)


def report(text: str, target: str = "prod", **more):
    return between(BEFORE, AFTER, labels=("dev", target), policy=policy(text), today=TODAY, **more)


def of(findings, item: str) -> Finding:
    return next(finding for finding in findings if finding.difference.item == item)


def test_an_ignored_finding_stays_and_says_who_set_it_aside_why_and_until_when() -> None:
    told = report(f"ignore: [{{rule: sklearn-tfidf-idf-lost, {WHY}}}]")

    found = of(told.findings, "scikit-learn")
    assert (found.severity, found.was) == (Severity.INFO, Severity.HIGH)
    assert found.policy == "ignored until 2027-01-31 by ml: it draws bars"
    assert told.status == 0
    assert len(told.findings) == len(between(BEFORE, AFTER).findings)


def test_an_exception_lowers_to_what_it_says_and_never_raises() -> None:
    told = report(f"lower: [{{distribution: scikit-learn, to: low, {WHY}}}, {{distribution: tqdm, to: high, {WHY}}}]")

    assert of(told.findings, "scikit-learn").severity is Severity.LOW
    assert of(told.findings, "tqdm") == of(between(BEFORE, AFTER).findings, "tqdm")


def test_a_finding_that_is_raised_fails() -> None:
    told = report("raise: [{distribution: Tqdm, to: critical, reason: it is forbidden to draw}]")

    assert told.findings[0].difference.item == "tqdm"
    assert (told.findings[0].severity, told.findings[0].was) == (Severity.CRITICAL, Severity.LOW)
    assert told.status == 1


def test_where_one_entry_raises_and_another_lowers_it_is_raised_and_said() -> None:
    told = report(
        f"raise: [{{section: distributions, to: critical, reason: r}}]\nignore: [{{distribution: tqdm, {WHY}}}]"
    )

    assert of(told.findings, "tqdm").severity is Severity.CRITICAL
    assert told.notes == ("distributions tqdm version is both raised and lowered (ignore[0]): it was raised",)


def test_an_exception_that_has_ended_changes_nothing_and_is_a_finding_itself() -> None:
    text = "ignore: [{distribution: scikit-learn, reason: r, owner: ml, until: '2026-11-25'}]"
    told = report(text)

    assert of(told.findings, "scikit-learn").severity is Severity.HIGH
    ended = of(told.findings, "ignore[0]")
    assert (ended.difference.section, ended.severity) == ("policy", Severity.MEDIUM)
    assert "ended on 2026-11-25; what it covered counts again" in ended.reason
    assert told.status == 1
    assert report(text.replace("2026-11-25", "2026-11-26")).status == 0, "it holds on its last day"


def test_an_entry_that_matches_nothing_is_named() -> None:
    told = report(f"ignore: [{{distribution: pandas, {WHY}}}, {{distribution: numpy, target: staging, {WHY}}}]")

    assert told.unused == ("ignore[0] (distribution pandas)",)


def test_an_entry_is_unused_only_where_no_target_used_it() -> None:
    text = f"ignore: [{{distribution: numpy, {WHY}}}, {{distribution: pandas, {WHY}}}]"
    one = report(text)
    other = between(BEFORE, BEFORE, labels=("dev", "staging"), policy=policy(text), today=TODAY)

    assert [len(told.unused) for told in (one, other)] == [1, 2]
    assert [told.unused for told in across([one, other])] == [one.unused, one.unused]


def test_an_entry_for_one_target_holds_for_no_other() -> None:
    text = f"ignore: [{{distribution: scikit-learn, target: staging, {WHY}}}]"

    assert [report(text, target).status for target in ("staging", "prod")] == [0, 1]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("forbid: [{distribution: numpy, versions: '>=2', reason: pickles}]", "forbids numpy >=2: pickles"),
        ("forbid: [{distribution: TQDM, reason: bars}]", "forbids tqdm: bars"),
        ("require: [{distribution: numpy, versions: '<2', reason: pickles}]", "requires numpy <2: pickles"),
        ("require: [{distribution: opentelemetry-api, reason: traces}]", "requires opentelemetry-api: traces"),
        ("forbid: [{distribution: numpy, versions: '<2', reason: r}]", ""),
        ("forbid: [{distribution: numpy, target: staging, reason: r}]", ""),
        ("require: [{distribution: numpy, versions: '>=2', reason: r}]", ""),
    ],
)
def test_what_is_served_must_be_what_the_policy_demands(text: str, found: str) -> None:
    told = report(text, fail_on=Severity.CRITICAL)

    said = [finding.reason for finding in told.findings if finding.difference.section == "policy"]
    assert said == ([f"The policy {found}"] if found else [])
    assert told.status == bool(found)


def test_a_demand_on_a_version_that_nobody_knows_is_not_met() -> None:
    declared = Environment(
        origin=Origin(kind="requirements", reference="r"), distributions=(Distribution(name="numpy", specifier=">=1"),)
    )
    text = "forbid: [{distribution: numpy, versions: '>=2', reason: r}]"
    for served in (declared, Environment(origin=Origin(kind="image", reference="i"), system=None)):
        found = apply(policy(text), (), before=BEFORE, after=served, target="prod", today=TODAY).findings
        assert [finding.reason.endswith("what is served is not known.") for finding in found] == [True]


def test_what_a_baseline_accepts_passes_and_what_is_new_or_worse_fails() -> None:
    found = between(BEFORE, AFTER, labels=("dev", "prod"))
    baseline = load_baseline(write_baseline({"prod": found.findings}, TODAY), "b.json")

    accepted = between(BEFORE, AFTER, labels=("dev", "prod"), baseline=baseline)
    assert accepted.status == 0
    assert of(accepted.findings, "numpy").policy == "accepted in the baseline of 2026-11-26"
    newer = environment(scikit_learn="1.6.1", numpy="2.1.3", tqdm="4.67.0")
    assert between(BEFORE, newer, labels=("dev", "prod"), baseline=baseline).status == 1
    worse = policy("raise: [{distribution: tqdm, to: critical, reason: r}]")
    told = between(BEFORE, AFTER, labels=("dev", "prod"), baseline=baseline, policy=worse, today=TODAY)
    assert [finding.difference.item for finding in told.findings if finding.severity.at_least(Severity.LOW)] == ["tqdm"]


def test_a_baseline_of_another_target_accepts_nothing_and_says_so() -> None:
    found = between(BEFORE, AFTER, labels=("dev", "prod"))
    baseline = load_baseline(write_baseline({"prod": found.findings}, TODAY), "b.json")
    told = between(BEFORE, AFTER, labels=("dev", "staging"), baseline=baseline)

    assert told.status == 1
    assert told.notes == ("the baseline knows no target `staging`: nothing was accepted",)


def test_what_a_baseline_holds_and_nobody_finds_any_more_is_said() -> None:
    found = between(BEFORE, AFTER, labels=("dev", "prod"))
    baseline = load_baseline(write_baseline({"prod": found.findings}, TODAY), "b.json")

    assert accept(baseline, (), "prod")[1] == ("3 of the baseline are not found any more: write it again",)


def test_a_baseline_never_accepts_what_the_policy_found() -> None:
    told = report("forbid: [{distribution: numpy, reason: r}]")
    written = json.loads(write_baseline({"prod": told.findings}, TODAY))

    assert {entry["section"] for entry in written["targets"]["prod"]} == {"distributions"}


NAMED = st.fixed_dictionaries(
    {},
    optional={
        "distribution": st.sampled_from(["numpy", "scikit-learn", "pandas"]),
        "effect": st.sampled_from([str(effect) for effect in Effect]),
        "severity": st.sampled_from([str(severity) for severity in Severity]),
        "section": st.sampled_from(["distributions", "python", "cpu", "settings"]),
    },
).filter(lambda named: named and not ("distribution" in named and "section" in named))


@given(
    environments(),
    environments(),
    NAMED,
    st.sampled_from(list(Severity)),
    st.sampled_from(["ignore", "lower", "raise"]),
)
def test_a_policy_changes_what_it_names_and_nothing_else(a, b, named, to, kind) -> None:
    entry = {**named, "reason": "r"}
    entry |= {"to": str(to)} if kind != "ignore" else {}
    entry |= {"owner": "o", "until": "2027-01-31"} if kind != "raise" else {}
    decided = policy(json.dumps({kind: [entry]}))
    findings = judge(a, b, compare(a, b))

    applied = apply(decided, findings, before=a, after=b, target="prod", today=TODAY)

    assert len(applied.findings) == len(findings), "none vanishes and none is made up"
    (_, parsed), *_ = entries(decided)
    for old, new in zip(findings, applied.findings, strict=True):
        assert new.difference == old.difference
        if old.difference.change is Change.UNKNOWN or not matches(parsed, old):
            assert new == old
        elif kind == "raise":
            assert new.severity is max(old.severity, to, key=lambda severity: severity.rank)
        else:
            least = Severity.INFO if kind == "ignore" else to
            assert new.severity is min(old.severity, least, key=lambda severity: severity.rank)
