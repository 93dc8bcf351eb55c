"""conda-lock itself has the last word on its locks: the same packages of each platform, of the same archives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envparity.sources import Options, read
from envparity.sources.target import platform_of
from tests.corpus import FOLDER
from tests.sources.samples import CONDA_LOCK, conda_entry
from tests.tools import answer_of

MADE = {
    "first.conda-lock.yml": CONDA_LOCK
    + conda_entry("ruff", "0.4.4", category="dev")
    + conda_entry("python", "3.11.9", category="dev"),
    "second.conda-lock.yml": CONDA_LOCK.replace("version: 1\n", "version: 2\n", 1)
    .replace("  category: main", "  categories:\n  - dev\n  - main", 1)
    .replace("  category: main", "  categories: [main]")
    .replace("  optional: false\n", ""),
}
"""Both versions of the format, several platforms, and packages of two categories, where a real lock has one."""


@pytest.fixture(scope="module")
def locks(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, list[dict[str, Any]]]:
    """Each lock, and what conda-lock finds in it."""
    folder = tmp_path_factory.mktemp("locks")
    for name, text in MADE.items():
        (folder / name).write_text(text)
    paths = [*sorted(folder.iterdir()), *sorted((FOLDER / "conda-lock").glob("*.yml"))]
    script = Path(__file__).parents[1] / "data" / "conda_lock" / "packages.py"
    return dict(zip(paths, json.loads(answer_of("conda-lock>=3", script, *paths)), strict=True))


def asked(packages: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The platforms and categories that a lock can be read for."""
    pairs = {(package["platform"], category) for package in packages for category in package["categories"]}
    return iter(sorted(pairs))


def theirs(packages: list[dict[str, Any]], platform: str, category: str) -> set[tuple[object, ...]]:
    """Those that `conda-lock install` takes: main, and the category that was asked for."""
    return {
        (item["manager"], item["name"], item["version"], item["sha256"], item["md5"] or "", item["url"])
        if item["manager"] == "conda"
        else (item["manager"], item["name"], item["version"], item["sha256"])
        for item in packages
        if item["platform"] == platform and {"main", category} & set(item["categories"])
    }


def ours(path: Path, platform: str, category: str) -> set[tuple[object, ...]]:
    options = Options(base_dir=path.parent, platform=platform_of(platform), groups=(category,))
    environment = read(path.name, options=options)
    packages = {
        ("conda", item.name, item.version, item.sha256, item.md5, item.url) for item in environment.conda_packages or ()
    }
    proofs = {
        item: [text[7:] for text in item.hashes if text[:7] == "sha256:"] for item in environment.distributions or ()
    }
    return packages | {("pip", item.name, item.version, *proof) for item, proof in proofs.items()}


def test_each_platform_has_the_packages_that_conda_lock_would_install(
    locks: dict[Path, list[dict[str, Any]]],
) -> None:
    """Of a lock for four platforms, one package of the wrong one is an environment that nobody can install."""
    compared = 0
    for path, packages in locks.items():
        for platform, category in asked(packages):
            assert ours(path, platform, category) == theirs(packages, platform, category), (path.name, platform)
            compared += 1

    assert compared >= 7
