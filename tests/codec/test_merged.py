"""Comments of people survive, and one changed pin changes its own lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from envparity.codec.merged import merged

BASE = 'name = "a"\nversion = "1"\n\n[[packages]]\nname = "b"\n'
TEXT = '# ours\nname = "a"\nversion = "1"  # until March\n\n\n# b is Ada\'s\n[[packages]]\nname = "b"\n# the end\n'


def test_a_comment_stays_above_its_line_and_one_behind_it_too() -> None:
    new = BASE.replace('"1"', '"2"')

    assert merged(TEXT, BASE, new) == TEXT.replace('"1"', '"2"')


def test_what_is_new_comes_between_and_what_goes_leaves_its_comments() -> None:
    more = BASE.replace("[[packages]]\n", '[[packages]]\nname = "aa"\n\n[[packages]]\n')
    grown = merged(TEXT, BASE, more)

    assert grown is not None
    assert [line for line in grown.splitlines() if "#" in line] == [line for line in TEXT.splitlines() if "#" in line]
    assert merged(grown, more, BASE) == TEXT


def test_line_ends_of_windows_stay() -> None:
    assert merged(TEXT.replace("\n", "\r\n"), BASE, BASE) == TEXT.replace("\n", "\r\n")


def test_a_layout_of_ones_own_is_not_guessed_at() -> None:
    assert merged(TEXT.replace('"a"', "'a'"), BASE, BASE) is None
    assert merged("", BASE, BASE) is None


LINES = st.lists(st.sampled_from(["a = 1", "b = 2", "c = 3", "[t]", ""]), max_size=12)


@given(LINES, LINES, st.data())
def test_every_comment_survives_every_change(before: list[str], after: list[str], data: st.DataObject) -> None:
    base, new = ("\n".join(lines) + "\n" for lines in (before, after))
    text: list[str] = []
    for number, line in enumerate(before):
        if data.draw(st.booleans()):
            text.append(f"# {number}")
        text.append(line + (f"  # behind {number}" if line and data.draw(st.booleans()) else ""))
    found = merged("\n".join(text) + "\n", base, new)

    assert found is not None
    comments = [line.partition("#")[2] for line in text if "#" in line]
    assert [line.partition("#")[2] for line in found.splitlines() if "#" in line] == comments
    kept = [line.partition("#")[0].rstrip() for line in found.splitlines() if not line.startswith("#")]
    assert kept == new.splitlines()
