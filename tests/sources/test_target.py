"""A target is stated, or that of the other side; what it does not decide stays undecided."""

from __future__ import annotations

from pathlib import Path

import pytest

from envparity.compare import compare
from envparity.errors import TargetNeededError, UsageError
from envparity.sources import Options, read, read_sides, target
from envparity.values import Change, Distribution, Environment, Origin, Python, System
from tests.sources.reading import read_text
from tests.sources.samples import CONDA_LOCK, UV

HERE = Environment(
    origin=Origin(kind="live"),
    python=Python(version="3.11.7", implementation="CPython"),
    system=System(os="linux", machine="x86_64"),
    distributions=(Distribution(name="tqdm", version="4.66.4"),),
)


@pytest.mark.parametrize("stated", [{"platform": "linux"}, {"platform": "amiga/68k"}, {"python_version": "three"}])
def test_a_target_that_is_none_is_a_usage_error(stated: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        read_text("requirements.txt", "six\n", **stated)


@pytest.mark.parametrize(
    ("platform", "system", "machine"),
    [
        ("linux/amd64", "linux", "x86_64"),
        ("linux/arm64", "linux", "aarch64"),
        ("linux/ppc64le", "linux", "ppc64le"),
        ("darwin/arm64", "darwin", "arm64"),
        ("windows/amd64", "windows", "AMD64"),
    ],
)
def test_a_platform_has_the_machine_that_python_says_there(platform: str, system: str, machine: str) -> None:
    assert target.system_and_machine(platform) == (system, machine)


def test_requirements_and_pylocks_are_selected_too() -> None:
    text = "a; sys_platform == 'win32'\nb; python_version < '3.9'\nc; platform_release == '6'\n"

    environment = read_text("requirements.txt", text, platform="linux/amd64", python_version="3.11")

    assert [(item.name, item.marker) for item in environment.distributions or ()] == [
        ("c", 'platform_release == "6"'),
    ]


def test_an_extra_of_a_file_that_has_none_is_refused_unless_it_is_meant_for_another() -> None:
    with pytest.raises(UsageError, match="no extra `gpu`; it has: none"):
        read_text("requirements.txt", "six\n", extras=("gpu",))
    assert read_text("requirements.txt", "six\n", extras=("gpu",), shared=True).distributions


def test_beside_another_side_its_place_is_the_target() -> None:
    options = target.beside(Options(), HERE)

    assert (options.platform, options.python_version, options.implementation) == ("linux/amd64", "3.11.7", "CPython")
    assert target.beside(Options(platform="linux/arm64"), HERE).platform == "linux/arm64"
    assert target.beside(Options(), Environment(origin=Origin(kind="requirements"))).platform == ""


@pytest.mark.parametrize("order", ["lock first", "lock last"])
def test_a_lock_of_many_platforms_is_read_for_that_of_the_other_side(order: str, tmp_path: Path) -> None:
    from envparity import codec

    (tmp_path / "here.env.json").write_bytes(codec.dump_environment(HERE))
    (tmp_path / "conda-lock.yml").write_text(CONDA_LOCK)
    left, right = ("conda-lock.yml", "here.env.json") if order == "lock first" else ("here.env.json", "conda-lock.yml")

    ((before, after),) = read_sides(left, [right], options=Options(base_dir=tmp_path, shared=True))

    lock = before if order == "lock first" else after
    assert lock.system is not None
    assert lock.system.machine == "x86_64"


def test_two_locks_of_many_platforms_must_be_told(tmp_path: Path) -> None:
    (tmp_path / "conda-lock.yml").write_text(CONDA_LOCK)
    sides = read_sides("conda-lock.yml", ["conda-lock.yml"], options=Options(base_dir=tmp_path))

    with pytest.raises(TargetNeededError):
        next(sides)


def test_in_a_comparison_a_group_that_nobody_asked_for_is_unknown_and_never_removed(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text(UV)
    lock = read("uv.lock", options=target.beside(Options(base_dir=tmp_path), HERE))

    changes = {item.item: item.change for item in compare(HERE, lock) if item.section == "distributions"}

    assert changes["tool"] is Change.UNKNOWN
    assert changes["ours"] is Change.ADDED
    lock = read("uv.lock", options=target.beside(Options(base_dir=tmp_path, groups=("main",)), HERE))
    assert "tool" not in {item.item for item in compare(HERE, lock)}


def test_a_distribution_that_a_conda_package_may_bring_is_unknown_and_never_removed() -> None:
    """conda calls torch pytorch: "torch is gone" would send somebody to install it a second time."""
    lock = read_text("conda-lock.yml", CONDA_LOCK, platform="linux/amd64")

    changes = {item.item: item.change for item in compare(HERE, lock) if item.section == "distributions"}

    assert changes == {"tqdm": Change.UNKNOWN, "six": Change.ADDED}


@pytest.mark.parametrize("stated", ["3.8", "3.10.13", "2.7"])
def test_a_python_that_a_lock_is_not_for_is_refused(stated: str, tmp_path: Path) -> None:
    """Its conditions would answer all the same, with an environment that its own tool refuses to install."""
    (tmp_path / "uv.lock").write_text(UV)

    with pytest.raises(UsageError, match=f"is for Python >=3.11, and not for {stated}"):
        read("uv.lock", options=Options(base_dir=tmp_path, python_version=stated))


@pytest.mark.parametrize("stated", ["3.11", "3.11.7", "3.13"])
def test_a_python_that_a_lock_is_for_is_a_target_of_it(stated: str, tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text(UV)

    assert read("uv.lock", options=Options(base_dir=tmp_path, python_version=stated)).distributions


def test_a_python_of_which_only_some_releases_fit_is_a_target() -> None:
    text = "[project]\nname='x'\nversion='1'\nrequires-python='>=3.11.4,<3.11.6'\ndependencies=['six']\n"

    assert read_text("pyproject.toml", text, python_version="3.11").distributions
    with pytest.raises(UsageError, match=r"and not for 3\.11\.7"):
        read_text("pyproject.toml", text, python_version="3.11.7")


def test_beside_a_side_of_another_python_the_difference_is_told_and_nothing_refused(tmp_path: Path) -> None:
    from envparity import codec

    old = Environment(origin=Origin(kind="live"), python=Python(version="3.9.1"), distributions=())
    (tmp_path / "old.env.json").write_bytes(codec.dump_environment(old))
    (tmp_path / "uv.lock").write_text(UV)

    ((before, after),) = read_sides("old.env.json", ["uv.lock"], options=Options(base_dir=tmp_path))

    changed = {item.section: item.change for item in compare(before, after)}
    assert changed["python"] is Change.CHANGED
