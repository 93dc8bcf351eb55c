"""What a user installs: the same files whether the wheel was made from the tree or from the sdist, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools import needs_uv


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Path:
    """The sdist and the wheel that is made from it, and in `tree/` the wheel that is made without it."""
    folder = tmp_path_factory.mktemp("dist")
    for argv in (["--out-dir", str(folder)], ["--wheel", "--out-dir", str(folder / "tree")]):
        built = subprocess.run(
            [needs_uv(), "build", "--quiet", "--python", sys.executable, *argv, str(checkout)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "SOURCE_DATE_EPOCH": "1577836800"},
        )
        if "error sending request" in built.stderr or "dns error" in built.stderr:
            pytest.skip("the build needs hatchling from the index, which cannot be reached")
        assert built.returncode == 0, built.stderr
    return folder


def files(checkout: Path, folder: str) -> Iterator[str]:
    """Every file below a folder of the checkout, without the caches that tools leave there."""
    for path in (checkout / folder).rglob("*"):
        name = path.relative_to(checkout)
        if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in name.parts):
            yield name.as_posix()


def members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_from_the_sdist_equals_the_wheel_from_the_tree(dist: Path) -> None:
    """A file that the sdist forgets is missing for everybody who builds from it, and for nobody who develops."""
    (from_sdist,) = dist.glob("*.whl")
    (from_tree,) = (dist / "tree").glob("*.whl")

    assert members(from_sdist) == members(from_tree)


def test_the_wheel_holds_the_package_its_data_and_the_templates_and_nothing_else(dist: Path, checkout: Path) -> None:
    """A rule or a template that is not in the wheel works in the checkout only."""
    (wheel,) = dist.glob("*.whl")
    expected = set(files(checkout, "envparity")) | {f"envparity/{name}" for name in files(checkout, "templates")}

    held = {name for name in members(wheel) if ".dist-info/" not in name}

    assert held == expected
    assert any(name.startswith("envparity/templates/") for name in held)
    assert any(name.startswith("envparity/data/") for name in held)
    assert any(name.startswith("envparity/knowledge/") and name.endswith(".yaml") for name in held)


def test_the_sdist_can_be_tested_and_tells_its_licence(dist: Path) -> None:
    """A distribution that packages us starts from the sdist, runs the tests and looks for the licence."""
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}

    assert {"LICENSE", "README.md", "pyproject.toml", "noxfile.py", "tests/test_packaging.py"} <= held
    assert not [name for name in held if name.startswith((".ci", ".nox", "quickstart/", "dist/"))]


def test_an_installed_wheel_finds_its_templates_and_starts(dist: Path, tmp_path: Path) -> None:
    """In a checkout the templates lie beside the package; a user has no checkout."""
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            archive.extract(name, tmp_path)
    program = "from envparity.resources import templates; print(sorted(t.name for t in templates().iterdir())[0])"

    # Its libraries come from the environment of the tests, the package itself from the folder that was unpacked.
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {program}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert found.returncode == 0, found.stderr
    assert (tmp_path / "envparity" / "templates" / found.stdout.strip()).exists()
