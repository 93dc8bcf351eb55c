"""How a message names several things, and counts them."""

from __future__ import annotations

from envparity.words import counted, listed


def test_a_long_list_ends_with_a_count() -> None:
    assert listed("abcdef", 2) == "a, b and 4 more"


def test_one_is_counted_as_one_and_a_plural_of_its_own_is_taken() -> None:
    assert [counted(number, "finding") for number in (0, 1, 2)] == ["0 findings", "1 finding", "2 findings"]
    assert counted(12_345, "library", "libraries") == "12,345 libraries"
