"""The first command of the README, where nothing but Python is: the file that starts everything else starts itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools import not_here

PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
TOO_OLD = [str(path) for n in (8, 10) for path in sorted(PYENV.glob(f"versions/3.{n}.*/bin/python"))[:1]]


@pytest.fixture
def fresh(tmp_path: Path, checkout: Path) -> Path:
    """What `noxfile.py` reads of a checkout, without what an earlier start made."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("noxfile.py", "pyproject.toml"):
        shutil.copy(checkout / name, folder)
    (tmp_path / "home" / ".config" / "pip").mkdir(parents=True)
    return folder


def listed(folder: Path, *python: str) -> subprocess.CompletedProcess[str]:
    """`python noxfile.py -l` with a home of its own and no program on PATH; how the index is reached stays."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTP", "http"))}
    return subprocess.run(
        [*python, "noxfile.py", "-l"],
        cwd=folder,
        env={**kept, "HOME": str(folder.with_name("home")), "PATH": str(folder.with_name("home"))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_nox_and_uv_it_makes_them_once_whatever_pip_is_told_here(fresh: Path) -> None:
    """
    `user = true` is right for whoever set it, and lets pip install nothing in a virtual environment. What lies there of
    an installation that was stopped is no environment.
    """
    (fresh.with_name("home") / ".config" / "pip" / "pip.conf").write_text("[install]\nuser = true\n")
    (fresh / ".nox-venv" / "bin").mkdir(parents=True)
    (fresh / ".nox-venv" / "bin" / "python").symlink_to(sys.executable)
    bare = (str(getattr(sys, "_base_executable", sys.executable)), "-S")  # its own libraries may have nox

    first = listed(fresh, *bare)
    if "cannot make a virtual environment" in first.stderr:
        not_here("the Python below this one has no `venv` or no `ensurepip`")
    if "No matching distribution found for nox" in first.stderr.rpartition("trying without")[2]:
        pytest.skip("nox and uv come from the index, which cannot be reached")
    second = listed(fresh, *bare)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "trying without configuration" in first.stderr
    assert (fresh / ".nox-venv" / "bin" / "uv").exists()
    assert "making" not in second.stderr
    for name in ("quickstart", "tests", "coverage", "lint", "types"):
        assert f"{name} -> " in first.stdout
    assert second.stdout == first.stdout


@pytest.mark.parametrize("python", TOO_OLD)
def test_a_python_that_is_too_old_is_told_so_in_one_line(fresh: Path, python: str) -> None:
    done = listed(fresh, python)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: envparity needs Python 3.11 or newer, and ")
    assert "\nhint: " in done.stderr
    assert not (fresh / ".nox-venv").exists()
