"""
One file for each format that a lock can be handed on in: `Contents` in, a text for another tool out.

`FORMATS` says which there are and which function writes each. What a format cannot carry is never passed over in
silence: it is named beside the text.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envparity.writers.contents import Contents, Exported

FORMATS: dict[str, str] = {
    "requirements": "requirements:requirements",
    "constraints": "requirements:constraints",
    "conda-lock": "conda_lock:conda_lock",
    "conda-lock-v2": "conda_lock:conda_lock_v2",
    "conda-explicit": "conda_explicit:conda_explicit",
    "environment": "environment_yml:environment",
    "cyclonedx": "cyclonedx:cyclonedx",
    "spdx": "spdx:spdx",
}
"""Format -> `file:function`; a function takes `Contents`."""

WITH_REQUIRED = frozenset({"conda-lock", "conda-lock-v2", "cyclonedx", "spdx"})
"""The formats that say what requires what, which only the snapshot beside a lock knows."""

WITH_MARKERS = frozenset({"requirements", "constraints"})
"""The formats whose lines may have a condition."""


def written(form: str, contents: Contents) -> Exported:
    """The contents of a lock in a format; its file is loaded only now."""
    module, _, function = FORMATS[form].partition(":")
    exported: Exported = getattr(importlib.import_module(f"envparity.writers.{module}"), function)(contents)
    return exported
