"""
Whether this container is what the image was locked as: an orchestrator can set variables, mount folders over code and
put other folders on the path, and none of that changes the image's digest.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from typing import Any, Iterator

ABSENT = "none"
MOST_SHOWN = 20

STARTED = dict(os.environ)
"""The variables as they were before a library of the model set some for itself, as scikit-learn and joblib do."""


def drifts(locked: dict[str, Any]) -> Iterator[str]:
    """
    What differs from `locked`: its `python`, the effective version of each of its `distributions`, and its `settings`,
    variables that decide how numbers are made. One whose name starts as one of `numeric` does is a difference too, if
    it is neither locked nor was `chosen` when the image was built. A line each.
    """
    yield from _drift("Python", locked.get("python"), platform.python_version())
    for name, version in sorted(locked.get("distributions", {}).items()):
        yield from _drift(name, version, _version(name))
    for name, value in sorted(locked.get("settings", {}).items()):
        yield from _drift(name, value, STARTED.get(name, ABSENT))
    expected = {*locked.get("settings", {}), *locked.get("chosen", [])}
    for name in sorted(set(STARTED) - expected):
        if name.startswith(tuple(locked.get("numeric", []))):
            yield from _drift(name, ABSENT, STARTED[name])


def of_predictions(model: str, recorded: Any, answered: bytes) -> Iterator[str]:
    """A line where the answer to the recorded example is not the recorded one, to the last bit."""
    found = json.loads(answered)["predictions"]
    if found != recorded:
        yield f"the predictions of `{model}` for the recorded example are not the recorded ones"


def _drift(name: str, locked: Any, found: str) -> Iterator[str]:
    if locked is not None and locked != found:
        yield f"{name}: locked {locked}, found {found}"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ABSENT
