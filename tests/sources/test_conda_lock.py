"""Locks of conda-lock: one platform is selected, or asked for; never all of them at once."""

from __future__ import annotations

import pytest

from envparity.errors import MalformedError, TargetNeededError, UsageError
from tests.sources.reading import conda, found, read_text, reasons, rows
from tests.sources.samples import CONDA_LOCK, MD5, A, conda_entry

LINUX = {"platform": "linux/amd64"}


def test_one_platform_is_read_with_its_system_and_its_python() -> None:
    environment = read_text("conda-lock.yml", CONDA_LOCK, **LINUX)

    assert conda(environment) == [("numpy", "1.26.4", "h1_0"), ("python", "3.11.9", "h1_0")]
    assert rows(environment) == [("six", "1.16.0", "")]
    assert environment.python is not None
    assert environment.python.version == "3.11.9"
    assert environment.system is not None
    assert (environment.system.os, environment.system.machine) == ("linux", "x86_64")
    numpy = (environment.conda_packages or ())[0]
    assert (numpy.md5, numpy.sha256, numpy.subdir) == (MD5, A, "linux-64")
    assert numpy.channel == "https://conda.anaconda.org/conda-forge"


def test_the_platform_may_be_named_as_conda_does() -> None:
    environment = read_text("conda-lock.yml", CONDA_LOCK, platform="osx-arm64")

    assert environment.system is not None
    assert (environment.system.os, environment.system.machine) == ("darwin", "arm64")
    assert rows(environment) == []


def test_without_a_platform_it_asks_and_names_them() -> None:
    with pytest.raises(TargetNeededError, match="linux/amd64, darwin/arm64") as caught:
        read_text("conda-lock.yml", CONDA_LOCK)

    assert "--platform" in caught.value.hint


def test_a_lock_without_the_platform_names_those_that_it_has() -> None:
    with pytest.raises(UsageError, match="no platform `linux/arm64`; it has: linux/amd64, darwin/arm64"):
        read_text("conda-lock.yml", CONDA_LOCK, platform="linux/arm64")


def test_a_lock_of_one_platform_needs_no_telling() -> None:
    text = CONDA_LOCK.replace("  - osx-arm64\n", "")

    assert len(conda(read_text("conda-lock.yml", text))) == 2


def test_the_distributions_of_conda_packages_are_not_known() -> None:
    """conda calls torch pytorch: that no distribution `torch` is listed does not mean that it is not there."""
    environment = read_text("conda-lock.yml", CONDA_LOCK, **LINUX)

    assert "conda packages" in reasons(environment, "distributions")[""]


def test_categories_are_asked_for() -> None:
    text = CONDA_LOCK + conda_entry("ruff", "0.4.4", category="dev")

    with pytest.raises(TargetNeededError, match="several categories: dev, main"):
        read_text("conda-lock.yml", text, **LINUX)
    assert len(conda(read_text("conda-lock.yml", text, groups=("main",), **LINUX))) == 2
    assert len(conda(read_text("conda-lock.yml", text, groups=("dev",), **LINUX))) == 3
    with pytest.raises(UsageError, match="`docs`; it has: dev, main"):
        read_text("conda-lock.yml", text, groups=("docs",), **LINUX)


def test_version_2_has_several_categories_an_entry() -> None:
    text = CONDA_LOCK.replace("version: 1\n", "version: 2\n").replace("  category: main", "  categories: [main, dev]")

    assert len(conda(read_text("conda-lock.yml", text, groups=("dev",), **LINUX))) == 2


def test_a_virtual_package_stands_for_the_machine_and_its_file_is_nobodys_business() -> None:
    entry = conda_entry("__glibc", "2.17").replace(f"md5: {MD5}", "md5: ''").replace(f"sha256: {A}", "sha256: null")
    environment = read_text("conda-lock.yml", CONDA_LOCK + entry, **LINUX)

    virtual = next(item for item in environment.conda_packages or () if item.name == "__glibc")
    assert (virtual.virtual, virtual.url) == (True, "")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("manager: pip", "manager: cargo", "neither conda nor pip"),
        ("numpy-1.26.4-h1_0.conda", "numpy-1.26.3-h1_0.conda", "comes from an archive"),
        ("numpy-1.26.4-h1_0.conda", "numpy.zip", "not the address of a conda package"),
        (f"    md5: {MD5}\n    sha256: {A}\n", "    crc: 1\n", "no hash"),
    ],
)
def test_what_is_wrong_in_an_entry_is_named(old: str, new: str, told: str) -> None:
    with pytest.raises(MalformedError, match=told):
        read_text("conda-lock.yml", CONDA_LOCK.replace(old, new, 1), **LINUX)


def test_two_versions_of_one_package_on_one_platform_are_refused_with_both() -> None:
    with pytest.raises(MalformedError, match=r"twice, as 1\.26\.4 and as 2\.0\.0"):
        read_text("conda-lock.yml", CONDA_LOCK + conda_entry("numpy", "2.0.0"), **LINUX)


def test_what_a_conda_package_requires_and_is_not_there_was_cut_off() -> None:
    text = CONDA_LOCK.replace("{python: '>=3.11', __glibc", "{blas: '*', __glibc")

    with pytest.raises(MalformedError, match="ends too early: `blas`, which `numpy` requires"):
        read_text("conda-lock.yml", text, **LINUX)


def test_what_a_pip_package_requires_and_is_not_there_is_unread() -> None:
    text = CONDA_LOCK.replace(
        "  dependencies: {}\n  url: https://files", "  dependencies: {gone: '*'}\n  url: https://files"
    )
    environment = read_text("conda-lock.yml", text, **LINUX)

    assert not environment.complete
    assert "`six` requires it" in reasons(environment, "distributions")["gone"]
    assert found(environment, "six").hashes
