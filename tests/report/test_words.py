"""What people read in the place of the names that programs use."""

from __future__ import annotations

from envparity.report.words import ORDER, section, things
from envparity.values import SECTIONS


def test_every_section_has_words_for_people() -> None:
    """A new section would else be shown by the name of its field."""
    assert set(ORDER) == set(SECTIONS)


def test_no_word_is_the_name_of_a_field() -> None:
    assert not [name for name in SECTIONS if "_" in section(name) + things(name, 1) + things(name, 2)]


def test_one_is_told_from_several() -> None:
    assert things("distributions", 1) == "1 library"
    assert things("os_packages", 1_200) == "1,200 OS packages"
    assert things("of another time", 2) == "2 facts"
