"""A lock for several platforms: what each of them gets is what a lock for it alone would give it."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.pylock import Pylock
from packaging.tags import Tag

from envparity import codec, platforms
from envparity.errors import MalformedError, UsageError
from envparity.values import MACHINES, Lock, LockedDistribution, LockedWheel
from tests.values import SOME_SHA256, a_lock

PLATFORMS = ("linux/amd64", "linux/arm64")


def a_wheel(name: str, tag: str) -> LockedWheel:
    file = f"{name}-1.0-{tag}.whl"
    return LockedWheel(name=file, url=f"https://files.example/{file}", size_bytes=9, sha256=SOME_SHA256)


def a_distribution(name: str, platform: str = "", state: str = "proven", **more: Any) -> LockedDistribution:
    """Pure where no platform is named, else native and of that one."""
    machine = MACHINES[platform.partition("/")[2]] if platform else ""
    tag = f"cp311-cp311-manylinux_2_17_{machine}" if platform else "py3-none-any"
    return LockedDistribution(name=name, version="1.0", wheels=(a_wheel(name, tag),), state=state, **more)


def lock_for(platform: str, *distributions: LockedDistribution) -> Lock:
    lock = a_lock()
    target = msgspec.structs.replace(lock.targets[0], platform=platform)
    return a_lock(distributions=distributions, targets=(target,), environments=(platforms.condition(platform),))


def both() -> Lock:
    """numpy is native, click is pure, and triton is for amd64 alone."""
    amd64 = [a_distribution("numpy", "linux/amd64"), a_distribution("triton", "linux/amd64")]
    return platforms.joined(
        [
            lock_for("linux/amd64", a_distribution("click"), *amd64),
            lock_for("linux/arm64", a_distribution("click"), a_distribution("numpy", "linux/arm64", "counterpart")),
        ]
    )


@st.composite
def of_one_snapshot(draw: st.DrawFn) -> list[Lock]:
    """Locks of one snapshot for two platforms, the first of which may be where the model was trained."""
    kinds = {name: draw(st.sampled_from(["pure", "native", "first", "second"])) for name in "abcdef"}
    foreign = draw(st.booleans())

    def one(platform: str) -> Lock:
        first = platform == PLATFORMS[0]
        of_platform = "proven" if first and not foreign else "counterpart"
        found = []
        for name, kind in kinds.items():
            if kind == "pure":
                found.append(a_distribution(name))
            elif kind == "native" or (kind == "first") == first:
                found.append(a_distribution(name, platform, of_platform))
        return lock_for(platform, *found)

    return [one(platform) for platform in PLATFORMS]


@given(of_one_snapshot())
def test_each_platform_gets_what_a_lock_for_it_alone_gives_it(alone: list[Lock]) -> None:
    """Also when it was written to a file and read back in between."""
    lock = platforms.joined(alone)
    read = codec.load_lock(codec.dump_lock(lock).encode(), "it")

    assert read == lock
    assert [platforms.selected(read, platform) for platform in PLATFORMS] == alone


def test_what_is_selected_is_selected_already() -> None:
    arm64 = platforms.selected(both(), "linux/arm64")

    assert platforms.selected(arm64, "linux/arm64") == arm64


def test_the_state_is_that_of_the_training_and_the_other_wheel_has_a_mark() -> None:
    """Who reads the lock must not take the arm64 wheel for what trained the model."""
    lock = both()
    numpy = next(item for item in lock.distributions if item.name == "numpy")

    assert numpy.state == "proven"
    assert [(mark.platform, mark.wheel) for mark in numpy.counterparts] == [("linux/arm64", numpy.wheels[1].name)]
    assert {item.name: item.state for item in platforms.selected(lock, "linux/arm64").distributions} == {
        "click": "proven",
        "numpy": "counterpart",
    }


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_standard_s_own_selection_is_ours(platform: str) -> None:
    """pip and uv choose by tags and markers, and know nothing of our marks."""
    machine = MACHINES[platform.partition("/")[2]]
    tags = [Tag("cp311", "cp311", f"manylinux_2_17_{machine}"), Tag("py3", "none", "any")]
    environment: Any = {
        **dict.fromkeys(("implementation_name", "implementation_version", "platform_python_implementation"), ""),
        **dict.fromkeys(("platform_release", "platform_version", "platform_system", "os_name"), ""),
        "python_version": "3.11",
        "python_full_version": "3.11.7",
        "sys_platform": "linux",
        "platform_machine": machine,
    }
    document = Pylock.from_dict(tomllib.loads(codec.dump_lock(both())))
    chosen = {(package.name, file.name) for package, file in document.select(environment=environment, tags=tags)}

    assert chosen == {(item.name, item.wheel.name) for item in platforms.selected(both(), platform).distributions}


def test_a_platform_that_is_not_locked_is_a_usage_error_that_names_those_that_are() -> None:
    with pytest.raises(UsageError, match="linux/s390x; it has: linux/amd64, linux/arm64"):
        platforms.meant(both(), "linux/s390x", "linux/amd64", "pylock.toml")
    with pytest.raises(UsageError, match="not linux/s390x: linux/amd64, linux/arm64"):
        platforms.meant(both(), "", "linux/s390x", "pylock.toml")


def test_of_several_the_one_of_this_machine_is_meant_and_of_one_that_one() -> None:
    assert platforms.meant(both(), "", "linux/arm64", "pylock.toml") == "linux/arm64"
    assert platforms.meant(lock_for("linux/arm64"), "", "linux/amd64", "pylock.toml") == "linux/arm64"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('platform = "linux/arm64", wheel', 'platform = "linux/s390x", wheel'), "a platform of the lock"),
        (("counterparts", "count"), "all but the first must be the counterparts"),
        (('wheel = "numpy', 'wheel = "nump'), "all but the first must be the counterparts"),
        (('wheel = "numpy', 'wheel = "../numpy'), "counterparts"),
    ],
)
def test_a_mark_that_was_edited_is_refused(change: tuple[str, str], words: str) -> None:
    text = codec.dump_lock(both())
    assert change[0] in text, text

    with pytest.raises(MalformedError, match=words):
        codec.load_lock(text.replace(*change, 1).encode(), "lock `pylock.toml`")
