"""
Values to and from bytes: Environments as JSON, locks as TOML.

What is read is checked against the types, and against limits on size and depth, before anything is made of it. What is
written has one stable order, so that equal values are equal bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envparity.codec.environment import (
    UnknownKeysWarning,
    content,
    content_bytes,
    content_digest,
    converted,
    dump_environment,
    environment,
    environment_schema,
    load_environment,
    names_a_place,
    with_artifacts,
)
from envparity.codec.shapes import document, require_known, shaped
from envparity.codec.strict_json import canonical, load_json
from envparity.codec.strict_toml import load_toml
from envparity.codec.strict_yaml import load_yaml

if TYPE_CHECKING:
    from envparity.codec.lock import dump_lock, load_lock

__all__ = [
    "UnknownKeysWarning",
    "canonical",
    "content",
    "content_bytes",
    "content_digest",
    "converted",
    "document",
    "dump_environment",
    "dump_lock",
    "environment",
    "environment_schema",
    "load_environment",
    "load_json",
    "load_lock",
    "load_toml",
    "load_yaml",
    "names_a_place",
    "require_known",
    "shaped",
    "with_artifacts",
]


def __getattr__(name: str) -> Any:
    # Locks bring a parser and resources, for which whoever reads an environment should not wait.
    if name not in {"dump_lock", "load_lock"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from envparity.codec import lock

    return getattr(lock, name)
