from __future__ import annotations

import fnmatch

from hypothesis import given
from hypothesis import strategies as st

from envparity.oci.table import one_of

PARTS = st.text("ab/.*?[]!", max_size=6)


@given(st.lists(PARTS, max_size=4), st.text("ab/.", max_size=8))
def test_a_path_fits_one_of_many_patterns_if_the_shell_says_so_of_one(patterns: list[str], path: str) -> None:
    assert one_of(patterns)(path) == any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
