"""A condition is asked of a described place; what is not known there stays not known."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker

from envparity import markers
from envparity.errors import MalformedError

LINUX = markers.of_place(version="3.11.7", implementation="CPython", system="linux", machine="x86_64")


@pytest.mark.parametrize(
    ("marker", "known", "answer"),
    [
        ("python_version < '3.9'", LINUX, False),
        ("python_version >= '3.9'", LINUX, True),
        ("sys_platform == 'win32'", {}, None),
        ("sys_platform == 'win32' and python_version < '3.9'", {"python_version": "3.11"}, False),
        ("sys_platform == 'win32' or python_version < '3.9'", {"python_version": "3.11"}, None),
        ("sys_platform == 'win32' or python_version >= '3.9'", {"python_version": "3.11"}, True),
        ("(sys_platform == 'win32' or python_version < '3.9') and os_name == 'nt'", {"os_name": "posix"}, False),
        ("python_full_version < '3.10'", {"python_version": "3.11"}, False),
        ("python_full_version < '3.11.4'", {"python_version": "3.11"}, None),
        ("platform_python_implementation != 'PyPy'", LINUX, True),
        ("extra == 'gpu'", LINUX, False),
        ("platform_release == '6'", LINUX, None),
        ("no marker", LINUX, None),
        ("((python_version >= '3.9')", LINUX, None),
        ("python_version >= '3.9' or", LINUX, None),
    ],
)
def test_unknown_is_neither_yes_nor_no(marker: str, known: dict[str, str], answer: bool | None) -> None:
    assert markers.holds(marker, known) is answer


@pytest.mark.parametrize(
    ("marker", "extras", "groups", "answer"),
    [
        ("'gpu' in extras", None, None, None),
        ("'gpu' in extras", (), None, False),
        ("'gpu' in extras", ("gpu",), None, True),
        ("'gpu' in extras", None, ("gpu",), None),
        ("'dev' in dependency_groups and 'gpu' not in extras", (), ("dev",), True),
        ("'dev' in dependency_groups or python_version >= '3'", None, None, True),
    ],
)
def test_extras_and_groups_are_decided_by_who_asks(
    marker: str, extras: tuple[str, ...] | None, groups: tuple[str, ...] | None, answer: bool | None
) -> None:
    assert markers.holds(marker, LINUX, extras=extras, groups=groups) is answer


ATOMS = st.sampled_from(["python_version >= '3.9'", "sys_platform == 'win32'", "os_name == 'posix'", "'3' in os_name"])
TREES = st.recursive(
    ATOMS, lambda inner: st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map(lambda t: f"({''.join(t)})")
)


@given(TREES)
def test_where_everything_is_known_the_answer_is_that_of_packaging(marker: str) -> None:
    assert markers.holds(marker, LINUX) is Marker(marker).evaluate({**LINUX, "extra": ""})


@given(TREES)
def test_an_answer_holds_whatever_the_unknown_turns_out_to_be(marker: str) -> None:
    """Yes and no are promises: no value of what was not known may break them."""
    answer = markers.holds(marker, {"python_version": "3.11"})
    worlds = [
        {"python_version": "3.11", "sys_platform": platform, "os_name": name, "extra": ""}
        for platform, name in itertools.product(("win32", "linux"), ("nt", "posix", "os3"))
    ]

    if answer is not None:
        assert {Marker(marker).evaluate(world) for world in worlds} == {answer}


@given(TREES, TREES)
def test_joined_markers_mean_both_or_either(left: str, right: str) -> None:
    each = (markers.holds(left, LINUX), markers.holds(right, LINUX))

    assert markers.holds(markers.both(left, right), LINUX) is all(each)
    assert markers.holds(markers.either([left, right]), LINUX) is any(each)


def test_no_condition_joined_with_one() -> None:
    assert markers.both("", "os_name == 'nt'", "") == "os_name == 'nt'"
    assert markers.either(["os_name == 'nt'", ""]) == ""
    assert markers.either([]) == ""


@pytest.mark.parametrize(
    "marker",
    ["python_version", "nonsense == 'x'", "(" * 5000 + "os_name == 'nt'" + ")" * 5000, "os_name == 'nt' or " * 9000],
)
def test_what_is_no_marker_is_refused_with_its_place(marker: str) -> None:
    with pytest.raises(MalformedError) as caught:
        markers.valid(marker, "package[3].marker")

    assert caught.value.where == "package[3].marker"
    assert len(caught.value.message) < 200


def test_a_marker_of_ten_thousand_terms_is_no_marker_that_is_read() -> None:
    """Ten thousand terms cost nobody more than a look at their length."""
    marker = " or ".join(["os_name == 'nt'"] * 10_000)

    assert markers.holds(marker, LINUX) is None


def test_the_names_that_a_marker_asks_for() -> None:
    marker = "'gpu' in extras or ('dev' in dependency_groups and \"a b\" not in extras)"

    assert set(markers.named(marker)) == {("extras", "gpu"), ("dependency_groups", "dev"), ("extras", "a b")}
