"""
One file for each format that a lock can be handed on in: `Contents` in, a text for another tool out.

`FORMATS` says which there are and which function writes each. What a format cannot carry is never passed over in
silence: it is named beside the text.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from envparity.errors import UnsupportedError

if TYPE_CHECKING:
    from envparity.writers.contents import Contents, Exported

FORMATS: dict[str, str] = {
    "requirements": "requirements:requirements",
    "constraints": "requirements:constraints",
    "environment": "environment_yml:environment",
    "cyclonedx": "cyclonedx:cyclonedx",
    "spdx": "spdx:spdx",
}
"""Format -> `file:function`; a function takes `Contents`."""

LATER = ("conda-lock", "conda-explicit")
"""Formats that hold conda packages alone, and no lock holds any yet."""

WITH_REQUIRED = frozenset({"cyclonedx", "spdx"})
"""The formats that say what requires what, which only the snapshot beside a lock knows."""

WITH_MARKERS = frozenset({"requirements", "constraints"})
"""The formats whose lines may have a condition."""


def check_format(form: str) -> None:
    """Raises UnsupportedError where a format of the contract cannot be written yet."""
    if form in LATER:
        raise UnsupportedError(
            f"`--format {form}` is not supported yet: it lists conda packages, and no lock holds any yet",
            hint=f"these can be written: {', '.join(FORMATS)}",
        )


def written(form: str, contents: Contents) -> Exported:
    """The contents of a lock in a format; its file is loaded only now."""
    module, _, function = FORMATS[form].partition(":")
    exported: Exported = getattr(importlib.import_module(f"envparity.writers.{module}"), function)(contents)
    return exported
