"""Where the data that ships with envparity lies: in a checkout, in an editable install and in a wheel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def data(name: str) -> bytes:
    """The content of a file below `envparity/data/`, by its path relative to that folder."""
    from importlib.resources import files  # it brings tempfile and logging, and most commands read no data

    return files("envparity").joinpath("data", *name.split("/")).read_bytes()


def templates() -> Traversable:
    """
    The folder of templates.

    A wheel carries them as `envparity/templates`; in a checkout, and so in an editable install, they lie beside the
    package, at the top level. The checkout is asked first: an editable install may hold a stale copy.
    """
    from importlib.resources import files

    beside = Path(__file__).resolve().parent.parent / "templates"
    if beside.is_dir() and (beside.parent / "pyproject.toml").is_file():
        return beside
    return files("envparity").joinpath("templates")
