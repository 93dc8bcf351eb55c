"""What only development needs is left out, and nothing that the model or the project needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from envparity.errors import RefusedError, UsageError
from envparity.locking import development
from envparity.values import Artifact, Distribution
from tests.values import SOME_SHA256, training

INSTALLED = (
    Distribution(name="model", version="1", requires=("sums", "plots; extra == 'all'"), import_names=("model",)),
    Distribution(name="sums", version="1", import_names=("sums",)),
    Distribution(name="tests", version="1", requires=("runner", "sums")),
    Distribution(name="runner", version="1", requires=("colour",)),
    Distribution(name="colour", version="1"),
    Distribution(name="pickles", version="1", requires=("colour",), import_names=("pickles",)),
)
ENVIRONMENT = training(
    distributions=INSTALLED,
    artifacts=(Artifact(kind="model", name="m.pkl", size_bytes=9, sha256=SOME_SHA256, modules=("pickles.core",)),),
)


def left_out(*excluded: str) -> list[str]:
    taken, others = development.without(ENVIRONMENT, INSTALLED, {}, excluded)
    names = {item.name for item in taken} | {item.name for item in others}
    assert names == {item.name for item in INSTALLED}
    assert {item.reason for item in others} <= {development.REASON}
    return [item.name for item in others]


def refused(*excluded: str) -> tuple[str, ...]:
    with pytest.raises(RefusedError) as caught:
        left_out(*excluded)
    return caught.value.details


def test_what_nothing_else_needs_goes_with_it() -> None:
    """`colour` is needed by the model's own library, and `sums` by the model."""
    assert left_out("tests") == ["tests", "runner"]
    assert left_out() == []


def test_what_something_that_stays_requires_is_refused_with_its_owner() -> None:
    assert refused("runner") == ("runner is required by tests",)
    assert refused("sums", "runner") == ("runner is required by tests", "sums is required by model, tests")


def test_what_the_model_refers_to_is_never_left_out() -> None:
    assert refused("pickles") == ("pickles is what the model refers to",)


def test_what_is_added_needs_stays_and_is_refused_where_it_was_named(tmp_path: Path) -> None:
    """Else it would come in as something new, in its newest version."""
    path = tmp_path / "pyproject.toml"
    path.write_text('[dependency-groups]\ndev = ["tests", "runner"]\n')
    taken, others = development.without(ENVIRONMENT, INSTALLED, {}, [f"{path}:dev"], {"runner"})
    with pytest.raises(RefusedError) as caught:
        development.without(ENVIRONMENT, INSTALLED, {}, ["tests", "runner"], {"runner"})

    assert "runner" in {item.name for item in taken}
    assert [item.name for item in others] == ["tests"]
    assert caught.value.details == ("runner is needed by what is added",)


def test_a_group_of_a_project_leaves_what_the_project_requires(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(
        '[project]\nname = "x"\nversion = "1"\ndependencies = ["model", "runner"]\n'
        '[dependency-groups]\ndev = ["tests", "not-installed", {include-group = "lint"}]\nlint = ["colour", "sums"]\n'
    )

    assert left_out(f"{path}:dev") == ["tests"]
    assert left_out(f"{path}:lint") == []
    assert left_out(str(path)) == ["tests"]


def test_a_group_or_a_name_that_is_not_there_is_a_mistake_with_the_near_ones(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text('[dependency-groups]\ndev = ["tests"]\n')

    with pytest.raises(UsageError) as caught:
        left_out(f"{path}:devel")
    assert "it has dev" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        left_out("test")
    assert "`tests`" in caught.value.hint


def test_a_snapshot_excuses_only_what_nothing_in_it_needs() -> None:
    """The word of an image's own lock would leave out whatever an attacker likes."""
    assert development.unneeded(ENVIRONMENT, {"tests", "runner"}) == {"tests", "runner"}
    assert development.unneeded(ENVIRONMENT, {"runner", "sums", "pickles"}) == frozenset()
