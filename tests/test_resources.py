"""What ships with the package is found from a checkout and from an install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from envparity import resources
from tests.tools import needs_uv


def test_data_is_found_by_its_name() -> None:
    assert b"debian:bookworm" in resources.data("archives.toml")


def test_data_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        resources.data("no-such-file")


def test_templates_are_found_from_a_checkout(checkout: Path) -> None:
    """An editable install may hold a stale copy of them: the checkout itself is asked first."""
    assert resources.templates() == checkout / "templates"


def test_templates_are_found_from_an_install(checkout: Path, tmp_path: Path) -> None:
    uv = needs_uv()
    subprocess.run([uv, "build", "-q", "--no-config", "--wheel", "--out-dir", tmp_path, checkout], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    install = [uv, "pip", "install", "-q", "--no-config", "--no-deps", "--python", sys.executable]
    subprocess.run([*install, "--target", tmp_path / "site", wheel], check=True)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "from envparity import resources\n"
        "print(resources.templates(), *sorted(item.name for item in resources.templates().iterdir()))"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert done.stdout.split()[0] == str(tmp_path / "site" / "envparity" / "templates")
    assert done.stdout.split()[1:] == sorted(path.name for path in (checkout / "templates").iterdir())
