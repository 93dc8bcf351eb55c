"""Versions as rules see them."""

from __future__ import annotations

import pytest

from envparity.knowledge.versions import direction, level, may_lie_in, upstream


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("1.26.4", "2.0.0", "major"),
        ("1.4.2", "1.5.2", "minor"),
        ("1.5.1", "1.5.2", "patch"),
        ("2.1.0", "2.1.0+cu121", "build"),
        ("0.19.0", "0.20.0", "major"),
        ("0.19.0", "0.19.1", "minor"),
        ("2024.1", "2026.1", "minor"),
        ("1!1.0", "1.0", "major"),
        ("2004d", "1.0", "major"),
        ("1.26.4", ">=2,<3", "major"),
        ("3.11.7", "3.11", "patch"),
    ],
)
def test_the_part_that_differs(before: str, after: str, expected: str) -> None:
    assert level(before, after) == expected


@pytest.mark.parametrize(
    ("text", "bounds", "expected"),
    [
        ("1.4.2", "<1.5", True),
        ("1.5.0rc1", "<1.5", False),
        (">=1.5,<1.6", ">=1.5", True),
        (">=1.5,<1.6", "<1.5", False),
        (">1.4.2", ">=1.5", True),
        ("==1.5.*", ">=1.5", True),
        ("", "<1.5", False),
        ("", "", True),
        ("unknown", "<1.5", False),
    ],
)
def test_a_version_or_a_declared_range_may_lie_in_a_range(text: str, bounds: str, expected: bool) -> None:
    assert may_lie_in(text, bounds) is expected


def test_up_and_down() -> None:
    assert direction("1.4.2", "1.5.2") == 1
    assert direction("1.5.2", "1.4.2") == -1
    assert direction("1.5.2", "unknown") == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2.36-9+deb12u7", "2.36"),
        ("1:1.2.13.dfsg-1", "1.2.13.dfsg"),
        ("12.4+deb12u5", "12.4"),
        ("3.134", "3.134"),
        ("2.35-0ubuntu3.8", "2.35"),
    ],
)
def test_the_upstream_part_of_a_debian_version(text: str, expected: str) -> None:
    assert upstream(text) == expected
