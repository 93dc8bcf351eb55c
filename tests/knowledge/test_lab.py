"""The rules and the lab say the same: a rule that was measured names a cell of `docs/lab/`, and agrees with its row."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from envparity.knowledge import Rule, judge, load_general, load_rules
from envparity.knowledge.match import fits
from envparity.values import Artifact, Change, Difference, Distribution, Environment, Finding, Origin, Severity
from tests.lab.written import Cell, cells, digest_of, digest_of_all

FOLDER = Path(__file__).parents[2] / "docs" / "lab"
LIBRARIES = sorted(path.stem for path in FOLDER.glob("*.json"))
HARMFUL = {"silent change", "fails at load", "fails at predict"}
NOT_THERE = "not there"


class Cited(NamedTuple):
    """A cell that a rule names."""

    rule: Rule
    library: str
    case: str
    before: str
    after: str
    digest: str


def cited() -> Iterator[Cited]:
    for rule in load_rules():
        for proof in rule.evidence:
            if proof.cell:
                library, case, pair = proof.cell.split("/")
                before, _, after = pair.partition("->")
                yield Cited(rule, library, case, before, after, proof.digest)


CITED = list(cited())
RULES = list({item.rule.id: item for item in CITED}.values())


def named(item: Cited) -> str:
    return f"{item.rule.id}:{item.case}"


@lru_cache
def data(library: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{library}.json").read_text(encoding="utf-8"))


@lru_cache
def measured(library: str) -> dict[tuple[str, str, str], Cell]:
    return cells(data(library))


@lru_cache
def references(library: str, case: str, release: str) -> frozenset[str]:
    """What the pickle of a case names, where this release writes it."""
    classes = data(library)["cases"][case]["classes"]
    return frozenset(name for name, releases in classes.items() if releases == "*" or release in releases)


def changed(distribution: str, before: str, after: str) -> Difference:
    return Difference(
        section="distributions", item=distribution, field="version", change=Change.CHANGED, before=before, after=after
    )


def speaks_of(rule: Rule, before: str, after: str) -> bool:
    return fits(rule.when, changed(rule.when.distribution, before, after))


def pairs_of(rule: Rule, library: str) -> list[tuple[str, str]]:
    """The measured pairs of releases that lie in the range of a rule."""
    releases = list(data(library)["environments"])
    pairs = ((before, after) for before in releases for after in releases if before != after)
    return [pair for pair in pairs if speaks_of(rule, *pair)]


def in_range(item: Cited) -> Iterator[Cell]:
    """Every measured cell of the case that lies in the range of the rule."""
    cases = data(item.library)["cases"] if item.case == "*" else [item.case]
    for before, after in pairs_of(item.rule, item.library):
        yield from (measured(item.library)[case, before, after] for case in cases)


def import_names(distribution: str) -> tuple[str, ...]:
    return load_general().import_names.get(distribution, (distribution.replace("-", "_"),))


@pytest.mark.parametrize("item", CITED, ids=named)
def test_a_rule_that_was_measured_names_a_cell_that_is_there_and_has_its_digest(item: Cited) -> None:
    """Whoever measures again and finds something else must look at the rule again."""
    if item.case == "*":
        found = digest_of_all(data(item.library))
        assert any(key[1:] == (item.before, item.after) for key in measured(item.library))
    else:
        found = digest_of(data(item.library), item.case)
        assert (item.case, item.before, item.after) in measured(item.library)

    assert found.startswith(item.digest)
    assert speaks_of(item.rule, item.before, item.after)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_case_that_does_not_agree_with_itself_proves_nothing(library: str) -> None:
    """Last digits may move by writing and reading alone; a case that moves more depends on chance."""
    for name, case in data(library)["cases"].items():
        if any("last bits" not in line for line in case["unsteady"]):
            assert not [item.rule.id for item in CITED if (item.library, item.case) == (library, name)]


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_data_name_nothing_of_the_machine_that_measured(library: str) -> None:
    text = (FOLDER / f"{library}.json").read_text(encoding="utf-8")

    assert not re.search(r"site-packages/|/(tmp|home|root|work|workspace)/|\b0x[0-9a-f]{8,}", text)


@pytest.mark.parametrize("item", CITED, ids=named)
def test_a_rule_says_what_was_measured_in_its_whole_range(item: Cited) -> None:
    words = {cell.word for cell in in_range(item)} - {NOT_THERE}

    if item.rule.safe:
        assert words == {"identical"}
    elif item.rule.severity is Severity.LOW:
        assert words <= {"identical", "last bits"}
    else:
        assert words
        assert words <= HARMFUL


@pytest.mark.parametrize("item", CITED, ids=named)
def test_the_effect_of_a_rule_is_the_outcome_of_its_cell(item: Cited) -> None:
    fitting = {
        "silent change": {"silent-numeric", "behaviour"},
        "last bits": {"silent-numeric"},
        "identical": {"cosmetic"},
        "fails at load": {"load-failure", "behaviour"},
        "fails at predict": {"load-failure", "behaviour"},
    }
    first = next(other for other in CITED if other.rule.id == item.rule.id)
    if first.case == "*":
        return

    word = measured(first.library)[first.case, first.before, first.after].word

    assert item.rule.effect in fitting[word]


@pytest.mark.parametrize("item", [item for item in RULES if item.rule.only_these], ids=named)
def test_a_rule_says_safe_for_no_model_that_was_measured_to_differ(item: Cited) -> None:
    """And each class that it lists was seen in a model that is wholly of these classes, and identical."""
    listed, tops = set(item.rule.only_these), import_names(item.rule.when.distribution)
    shown: set[str] = set()
    for before, after in pairs_of(item.rule, item.library):
        for case in data(item.library)["cases"]:
            found = {
                name for name in references(item.library, case, before) if name.split(":")[0].split(".")[0] in tops
            }
            if found and found <= listed:
                word = measured(item.library)[case, before, after].word
                assert word in ("identical", NOT_THERE), (case, before, after)
                shown |= found

    assert listed <= shown | {name for name in listed if name.split(":")[0].split(".")[0] not in tops}


@pytest.mark.parametrize("item", [item for item in RULES if item.rule.model_refers_to], ids=named)
def test_every_class_that_a_rule_names_is_written_by_a_release_in_its_range(item: Cited) -> None:
    """A class that no pickle names makes a rule that never speaks. A rule about code has a word for `elsewhere`."""
    rule = item.rule
    if rule.elsewhere is not None:
        assert all(name.partition(".")[0] in import_names(rule.when.distribution) for name in rule.model_refers_to)
        return
    pairs = pairs_of(rule, item.library)
    writers = {before for before, _ in pairs}
    of_all = {
        name
        for case in data(item.library)["cases"]
        for release in writers
        for name in references(item.library, case, release)
    }
    modules = {name.partition(":")[0] for name in of_all}
    if not of_all:  # its cases are files of another form than a pickle
        return

    for name in rule.model_refers_to:
        assert name in of_all or (":" not in name and any(f"{module}.".startswith(f"{name}.") for module in modules)), (
            name
        )


def judged(library: str, case: str, before: str, after: str) -> Finding:
    """What a diff says of the library, for the model of a case: only it differs."""
    distribution = data(library)["distribution"]

    def side(release: str, **sections: Any) -> Environment:
        one = Distribution(
            name=distribution,
            version=release,
            import_names=import_names(distribution),
            wheel_tags=("cp311-cp311-linux",),
        )
        return Environment(origin=Origin(kind="test"), distributions=(one,), **sections)

    classes = tuple(sorted(references(library, case, before)))
    modules = tuple(sorted({name.partition(":")[0] for name in classes}))
    model = Artifact(kind="model", name="m.pkl", size_bytes=1, sha256="a" * 64, classes=classes, modules=modules)
    left, right = side(before, artifacts=(model,)), side(after)
    (finding,) = judge(left, right, [changed(distribution, before, after)])
    return finding


def models(library: str) -> list[tuple[tuple[str, str, str], Cell]]:
    """The cells whose model names a class of the library."""
    tops = import_names(data(library)["distribution"])
    return [
        (key, cell)
        for key, cell in measured(library).items()
        if any(name.split(":")[0].split(".")[0] in tops for name in references(library, *key[:2]))
    ]


@pytest.mark.parametrize("library", LIBRARIES)
def test_nothing_that_was_measured_to_do_harm_ranks_below_high(library: str) -> None:
    """But for harm by a setting that no class tells: there a rule that fits names the very case."""
    named_by = {(item.rule.id, item.case) for item in CITED}
    found = [(key, judged(library, *key)) for key, cell in models(library) if cell.word in HARMFUL]

    mild = [(key, finding) for key, finding in found if not finding.severity.at_least(Severity.HIGH)]
    untold = [key for key, one in mild if not any((rule, key[0]) in named_by for rule in (one.rule, *one.also))]

    assert untold == []


@pytest.mark.parametrize("library", ["scikit-learn"])
def test_what_was_measured_identical_seldom_ranks_above_low(library: str) -> None:
    """
    A rule names classes, and a class can do harm with one setting only: so a few are warned of without need. One cell
    of five is looked at.
    """
    identical = [key for key, cell in models(library) if cell.word == "identical"][::5]

    loud = [key for key in identical if judged(library, *key).severity.at_least(Severity.MEDIUM)]

    assert len(loud) <= len(identical) * 0.05
