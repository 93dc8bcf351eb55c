"""Which wheel fits a target: held against the packaging library, asked of the machine that the test runs on."""

from __future__ import annotations

import platform

import pytest
from packaging.tags import parse_tag, sys_tags
from packaging.utils import parse_wheel_filename

from envparity.resolvers import fitting


def chosen(*names: str, python: str = "3.11.2", machine: str = "x86_64", glibc: str = "2.36") -> list[str]:
    wheels = [(name, *parse_wheel_filename(name)[2:]) for name in names]
    return list(fitting.best(wheels, fitting.ranks(python, machine=machine, glibc=glibc)))


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or platform.machine() != "x86_64",
    reason="packaging answers for this machine, which is no x86_64 with glibc",
)
def test_the_tags_of_a_target_are_those_that_packaging_finds_there_in_the_same_order() -> None:
    """Another order would choose another wheel than pip does: another compiler, other numbers."""
    ours = fitting.ranks(platform.python_version(), machine="x86_64", glibc=platform.libc_ver()[1])

    assert list(ours) == list(sys_tags())


def test_a_wheel_that_needs_a_newer_glibc_than_the_base_has_does_not_fit() -> None:
    newer, older = "a-1-cp311-cp311-manylinux_2_38_x86_64.whl", "a-1-cp311-cp311-manylinux2014_x86_64.whl"

    assert chosen(newer, older) == [older]
    assert chosen(newer, older, glibc="2.39") == [newer, older]


def test_the_most_telling_tag_wins_then_the_later_build() -> None:
    pure, abi3 = "a-1-py3-none-any.whl", "a-1-cp38-abi3-manylinux1_x86_64.whl"
    exact = "a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"

    assert chosen(pure, abi3, exact) == [exact, abi3, pure]
    assert chosen("a-1-1-py3-none-any.whl", "a-1-2-py3-none-any.whl", pure)[0] == "a-1-2-py3-none-any.whl"


def test_nothing_of_another_processor_python_or_system_fits() -> None:
    assert not chosen(
        "a-1-cp311-cp311-manylinux2014_aarch64.whl",
        "a-1-cp310-cp310-manylinux2014_x86_64.whl",
        "a-1-cp311-cp311t-manylinux2014_x86_64.whl",
        "a-1-cp311-cp311-musllinux_1_2_x86_64.whl",
        "a-1-cp311-cp311-macosx_11_0_arm64.whl",
        "a-1-cp311-cp311-win_amd64.whl",
    )


def test_other_processors_begin_where_their_manylinux_does() -> None:
    accepted = fitting.platforms("aarch64", "2.36")

    assert (accepted[1], accepted[-2:]) == (
        "manylinux_2_36_aarch64",
        ("manylinux_2_17_aarch64", "manylinux2014_aarch64"),
    )
    assert set(parse_tag("py3-none-manylinux1_x86_64")) <= set(fitting.ranks("3.13.5", machine="x86_64", glibc="2.41"))
