"""A baseline as a file."""

from __future__ import annotations

import datetime
import json

import pytest

from envparity.errors import MalformedError
from envparity.policy import load_baseline, write_baseline

EMPTY = json.loads(write_baseline({"prod": ()}, datetime.date(2026, 11, 26)))


def test_a_baseline_of_nothing_is_a_document_that_says_so() -> None:
    assert EMPTY == {"kind": "baseline", "schema": 1, "targets": {"prod": []}, "written_on": "2026-11-26"}


@pytest.mark.parametrize(
    ("change", "where", "says"),
    [
        ({"schema": 2}, "schema", "knows 1"),
        ({"kind": "diff"}, "", "no baseline"),
        ({"targets": {"prod": [{"section": "python"}]}}, "targets", "item"),
        ({"more": 1}, "", "more"),
    ],
)
def test_what_is_no_baseline_is_refused_with_the_place(change: dict[str, object], where: str, says: str) -> None:
    with pytest.raises(MalformedError) as caught:
        load_baseline(json.dumps(EMPTY | change).encode(), "b.json")

    assert caught.value.where.startswith(where)
    assert says in str(caught.value)


def test_a_baseline_that_was_cut_is_refused() -> None:
    with pytest.raises(MalformedError):
        load_baseline(json.dumps(EMPTY).encode()[:-3], "b.json")
