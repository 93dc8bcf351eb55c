"""Locks of Pipenv: what is always installed, and what only a category needs."""

from __future__ import annotations

import pytest

from envparity.errors import MalformedError
from tests.sources.reading import found, read_text, rows
from tests.sources.samples import PIPFILE


def test_what_several_categories_lock_alike_is_one_distribution() -> None:
    environment = read_text("Pipfile.lock", PIPFILE)

    assert rows(environment) == [
        ("numpy", "1.26.4", ""),
        ("ours", "", ""),
        ("pytest", "8.2.0", "python_version >= '3.8' and 'develop' in dependency_groups"),
    ]
    assert (found(environment, "ours").editable, found(environment, "ours").direct_url) == (True, ".")
    assert environment.python is not None
    assert environment.python.specifier == "==3.11.*"


def test_two_categories_that_disagree_are_two_entries() -> None:
    text = PIPFILE.replace('"index": "pypi", "version": "==1.26.4"', '"index": "pypi", "version": "==1.25.0"')

    assert rows(read_text("Pipfile.lock", text))[:2] == [
        ("numpy", "1.25.0", ""),
        ("numpy", "1.26.4", "'develop' in dependency_groups"),
    ]


def test_a_category_selects() -> None:
    assert [name for name, _, _ in rows(read_text("Pipfile.lock", PIPFILE, groups=("default",)))] == ["numpy", "ours"]
    assert len(rows(read_text("Pipfile.lock", PIPFILE, groups=("develop",), python_version="3.11"))) == 3


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"==8.2.0"', '">=8"', "not one version"),
        ('"develop": {', '"develop": [], "x": {', "`develop` is no table"),
        ("\"python_version >= '3.8'\"", '"python_version"', "condition"),
        ('"_meta": {', '"meta": {', "_meta"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, told: str) -> None:
    assert old in PIPFILE

    with pytest.raises(MalformedError, match=told):
        read_text("Pipfile.lock", PIPFILE.replace(old, new))
