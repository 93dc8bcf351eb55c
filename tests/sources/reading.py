"""Reading a text as a file of some name, as every test of a reader does it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from envparity.sources import Options, read
from envparity.values import Distribution, Environment


def read_text(name: str, text: str | bytes, folder: Path | None = None, **target: Any) -> Environment:
    """What a file of this name with this content is read as. `folder` holds what lies beside it."""
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        (place / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return read(name, options=Options(base_dir=place, **target))


def rows(environment: Environment) -> list[tuple[str, str, str]]:
    """Name, version or specifier, and condition of each distribution."""
    return [(item.name, item.version or item.specifier, item.marker) for item in environment.distributions or ()]


def found(environment: Environment, name: str) -> Distribution:
    """The one distribution of this name."""
    (item,) = (item for item in environment.distributions or () if item.name == name)
    return item


def conda(environment: Environment) -> list[tuple[str, str, str]]:
    """Name, version or specifier, and build of each conda package."""
    return [(item.name, item.version or item.specifier, item.build) for item in environment.conda_packages or ()]


def reasons(environment: Environment, section: str) -> dict[str, str]:
    """The gaps of a section: item and reason."""
    return {gap.item: gap.reason for gap in environment.gaps if gap.section == section}
