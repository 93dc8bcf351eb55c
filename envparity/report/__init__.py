"""
One file for each thing that is shown: a value in, a text for people or for programs out. Nothing is printed here.

`FORMATS` says, for each kind of value, which formats there are and which function renders each.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envparity.report.text import Style

FORMATS: dict[str, dict[str, str]] = {
    "diff": {
        "text": "diff:text",
        "json": "diff:json",
        "markdown": "markdown:markdown",
        "html": "html:html",
        "sarif": "sarif:sarif",
        "junit": "junit:junit",
        "github": "github:github",
    },
    "matrix": {
        "text": "matrix:text",
        "json": "diff:jsons",
        "markdown": "markdown:several",
        "html": "html:several",
        "sarif": "sarif:several",
        "junit": "junit:several",
        "github": "github:several",
    },
    "many": {"text": "many:text", "json": "many:json"},
    "verdict": {"text": "verdict:text", "json": "verdict:json"},
    "environment": {"text": "environment:text", "json": "environment:json"},
    "attached": {"text": "attached:text", "json": "attached:json"},
    "plan": {"text": "plan:text", "json": "plan:json"},
    "proofs": {"text": "proofs:text", "json": "proofs:json"},
    "rules": {"text": "rules:several", "json": "rules:json"},
    "rule": {"text": "rules:one", "json": "rules:json"},
}
"""
Kind of value -> format -> `file:function`; a function takes the value, a `Style` and `verbose`. The value of
`matrix` is several Reports, one for each target; it has every format that `diff` has.
"""

LOCATED = frozenset({"sarif", "github"})
"""The formats that point at a line of a file, where a Report has a `place`."""


def rendered(kind: str, form: str, value: object, style: Style, *, verbose: bool = False) -> str:
    """The value in the format that was asked for; its file is loaded only now."""
    module, _, function = FORMATS[kind][form].partition(":")
    text: str = getattr(importlib.import_module(f"envparity.report.{module}"), function)(value, style, verbose=verbose)
    return text
