"""For which platform, base and Python a snapshot is locked; where no base is made of its system, the nearest."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity.cache import Cache
from envparity.errors import RefusedError, UnsupportedError, UsageError
from envparity.fetch import Fetcher
from envparity.locking import targets
from envparity.locking.asked import Asked
from envparity.network import Client
from envparity.values import Distribution, File, OsPackage, Python, Substituted, System
from tests.values import training

RHEL = System(
    os="linux", machine="x86_64", id="rhel", version_id="9.4", name="RHEL 9.4", libc="glibc", libc_version="2.34"
)


@pytest.fixture
def here() -> Python:
    """An interpreter that lies on this machine, so that it can be captured."""
    path = Path(os.path.realpath(sys.executable))
    python = training().python
    assert python is not None
    file = File(str(path), hashlib.sha256(path.read_bytes()).hexdigest())
    return msgspec.structs.replace(python, executable=file)


def goals(tmp_path: Path, python: Python, system: System, *tags: str, **asked: Any) -> tuple[targets.Goal, ...]:
    """Without a network: only what follows from the snapshot itself can be told."""
    chosen = [Distribution(name=f"d{number}", version="1", wheel_tags=(tag,)) for number, tag in enumerate(tags)]
    with Fetcher(Client(offline=True), Cache(tmp_path / "cache")) as fetcher:
        return targets.goals(python, system, chosen, asked=Asked(**asked), fetcher=fetcher)


def test_on_a_release_with_a_base_everything_is_the_training_s_own(here: Python, tmp_path: Path) -> None:
    system = training().system
    assert system is not None

    (goal,) = goals(tmp_path, here, system)

    assert (goal.platform, goal.place.base, goal.own, goal.substituted) == ("linux/amd64", "debian:bookworm", True, ())
    assert goal.python == here


@pytest.mark.parametrize(
    ("libc", "tag", "base"),
    [
        ("2.34", "py3-none-any", "ubuntu:jammy"),
        ("2.28", "py3-none-any", "ubuntu:jammy"),
        ("2.38", "py3-none-any", "ubuntu:noble"),
        ("2.40", "py3-none-any", "debian:trixie"),
        ("2.42", "py3-none-any", "debian:trixie"),
        ("2.36", "cp311-cp311-manylinux_2_36_x86_64", "debian:bookworm"),
        ("2.34", "cp311-cp311-manylinux_2_38_x86_64", "ubuntu:noble"),
    ],
)
def test_another_linux_gets_the_base_whose_glibc_is_the_nearest_that_its_wheels_run_with(
    libc: str, tag: str, base: str, here: Python, tmp_path: Path
) -> None:
    (goal,) = goals(tmp_path, here, msgspec.structs.replace(RHEL, libc_version=libc), tag)

    assert goal.place.base == base
    assert goal.own
    assert goal.python == here, "it lies here, so it is captured"
    assert goal.substituted == (
        Substituted(kind="base", name="system", before="RHEL 9.4", after=base, reason="no base is made of that system"),
    )


def test_a_base_that_was_asked_for_is_said_too(here: Python, tmp_path: Path) -> None:
    system = training().system
    assert system is not None

    (goal,) = goals(tmp_path, here, system, base="debian:trixie")

    assert [(item.kind, item.after, item.reason) for item in goal.substituted] == [
        ("base", "debian:trixie", "it was asked for")
    ]


def test_wheels_that_no_base_can_carry_are_refused(here: Python, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=r"need glibc 2\.99") as caught:
        goals(tmp_path, here, RHEL, "cp311-cp311-manylinux_2_99_x86_64")

    assert "debian:trixie 2.41" in caught.value.hint


@pytest.mark.parametrize(
    "system",
    [
        System(os="darwin", machine="arm64", name="macOS 14.5"),
        System(os="windows", machine="AMD64", name="Windows 11"),
        System(os="linux", machine="x86_64", id="alpine", libc="musl"),
    ],
)
def test_a_python_that_no_base_has_is_refused_where_none_can_be_captured(system: System, tmp_path: Path) -> None:
    python = msgspec.structs.replace(training().python, version="3.9.18")

    with pytest.raises(RefusedError, match=r"no base has Python 3\.9") as caught:
        goals(tmp_path, python, system)

    assert "--python-version" in caught.value.hint


@pytest.mark.parametrize("platform", ["linux/s390x", "darwin/arm64", "windows/amd64", "linux", "linux/arm64/v8"])
def test_a_platform_that_no_base_is_made_for_is_not_supported(platform: str, here: Python, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=platform):
        goals(tmp_path, here, RHEL, platforms=(platform,))


def test_a_processor_that_no_base_is_made_for_says_what_to_name(here: Python, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="ppc64le") as caught:
        goals(tmp_path, here, msgspec.structs.replace(RHEL, machine="ppc64le"))

    assert "--platform linux/amd64" in caught.value.hint


def test_a_platform_is_named_once(here: Python, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="twice"):
        goals(tmp_path, here, RHEL, platforms=("linux/amd64", "linux/amd64"))


def test_os_packages_of_another_architecture_have_the_same_versions(here: Python, tmp_path: Path) -> None:
    (goal,) = goals(tmp_path, here, RHEL)
    foreign = dataclasses.replace(goal.place, machine="aarch64")
    arm64 = targets.Goal("linux/arm64", foreign, here, {}, None, False, ())
    packages = [OsPackage(name=name, version="1", architecture=text) for name, text in (("a", "amd64"), ("b", "all"))]

    assert [item.architecture for item in arm64.installed(packages, RHEL)] == ["arm64", "all"]


def test_from_scratch_is_said_with_the_release_that_it_is_made_of(here: Python, tmp_path: Path) -> None:
    """The lock names what it holds: libraries of that very release, so the system is no other one."""
    system = training().system
    assert system is not None

    (goal,) = goals(tmp_path, here, system, base="scratch")
    assert (goal.place.base, goal.place.glibc, goal.substituted) == ("scratch:debian:bookworm", "2.36", ())
    (goal,) = goals(tmp_path, here, RHEL, base="scratch")
    assert goal.place.base == "scratch:ubuntu:jammy"
    (goal,) = goals(tmp_path, here, system, base="scratch:debian:trixie")
    assert [item.after for item in goal.substituted] == ["scratch:debian:trixie"]
