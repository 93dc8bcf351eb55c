"""
A Lock as `pylock.toml` (https://packaging.python.org/specifications/pylock-toml/), and back.

What that standard does not cover stands under `[tool.envparity]`, which other installers ignore. A file cut at a line
boundary is still TOML: so the number of locked things stands at the beginning and in the last line.
"""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec

from envparity import __version__
from envparity.codec.environment import converted
from envparity.errors import MalformedError, UsageError
from envparity.files import decoded
from envparity.values import SCHEMA, Lock, LockedDistribution

MOST_BYTES = 64 << 20
LOCK_VERSION = "1.0"

_CREATED_BY = "envparity"
_CUT = "it was cut short; make it again with `envparity lock`"
_OWN = ("bytecode", "packer", "snapshot", "settings", "models")


def dump_lock(lock: Lock) -> str:
    """The text of `pylock.toml`: packages by name, one order of keys, so that equal locks are equal bytes."""
    import tomli_w
    from packaging.pylock import Pylock

    own: dict[str, Any] = {"schema": lock.schema, "count": _count(lock)}
    own |= {name: value for name in _OWN if (value := msgspec.to_builtins(getattr(lock, name)))}
    own["target"] = {
        target.platform: {key: value for key, value in msgspec.to_builtins(target).items() if key != "platform"}
        for target in lock.targets
    }
    own["end"] = {"count": _count(lock)}
    document = {
        "lock-version": LOCK_VERSION,
        "environments": list(lock.environments),
        "requires-python": lock.requires_python,
        "created-by": _CREATED_BY,
        "packages": [_package(item) for item in sorted(lock.distributions, key=lambda item: item.name)],
        "tool": {"envparity": own},
    }
    checked = Pylock.from_dict(document)
    checked.validate()
    return tomli_w.dumps(dict(checked.to_dict()), multiline_strings=False)


def _count(lock: Lock) -> int:
    locked = len(lock.distributions) + len(lock.models) + len(lock.settings)
    return locked + sum(
        len(target.os_packages) + len(target.substituted) + len(target.left_out) + 1 for target in lock.targets
    )


def _package(item: LockedDistribution) -> dict[str, Any]:
    wheel = item.wheel
    package: dict[str, Any] = {"name": item.name, "version": item.version}
    if item.requires_python:
        package["requires-python"] = item.requires_python
    if item.index:
        package["index"] = item.index
    package["wheels"] = [
        {"name": wheel.name, "url": wheel.url, "size": wheel.size_bytes, "hashes": {"sha256": wheel.sha256}}
    ]
    own: dict[str, Any] = {"state": item.state}
    if item.import_names:
        own["import-names"] = list(item.import_names)
    if item.yanked is not None:
        own["yanked"] = item.yanked
    package["tool"] = {"envparity": own}
    return package


def load_lock(data: bytes, what: str) -> Lock:
    """
    Read what `dump_lock` wrote.

    Raises:
        MalformedError: not TOML, not a pylock, cut short, of a newer schema; the place is named.
        UsageError: a valid `pylock.toml` of another tool: it has no base, no interpreter and no proof of its origin.
    """
    document = load_pylock(data, what)
    own = document.get("tool", {}).get("envparity")
    if own is None and document.get("created-by") == _CREATED_BY:
        raise MalformedError(f"{what} ends too early: the table [tool.envparity] is missing", hint=_CUT)
    if own is None:
        raise UsageError(
            f"{what} was not made by envparity: it locks distributions, and neither a base nor an interpreter",
            hint="make one with `envparity lock model.env.json -o pylock.toml`",
        )
    schema = own.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise MalformedError(
            f"{what} has schema {schema}, and this envparity ({__version__}) knows schemas up to {SCHEMA}",
            hint="read it with a newer envparity",
            where="tool.envparity.schema",
        )
    if "end" not in own:
        raise MalformedError(f"{what} ends too early: its last table is missing", hint=_CUT, where="tool.envparity")
    body = {
        "schema": schema,
        "requires_python": document.get("requires-python", ""),
        "environments": document.get("environments", []),
        "distributions": [_distribution(package) for package in document["packages"]],
        "targets": [{"platform": platform, **target} for platform, target in own.get("target", {}).items()],
        "packer": {},  # written only where it is not the plain one
        **{name: own[name] for name in _OWN if name in own},
    }
    try:
        lock: Lock = converted(body, Lock, "")
    except MalformedError as error:
        error.message = f"{what} is not a valid lock: {error.message}"
        raise
    if {own.get("count"), own["end"].get("count")} != {_count(lock)}:
        raise MalformedError(
            f"{what} locks {_count(lock)} things, and says that it locks {own.get('count')}: it was cut or edited",
            hint="make it again with `envparity lock`",
            where="tool.envparity.count",
        )
    return lock


def _distribution(package: dict[str, Any]) -> dict[str, Any]:
    own = package.get("tool", {}).get("envparity", {})
    wheels = package.get("wheels") or [{}]
    wheel = wheels[0]
    return {
        "name": package["name"],
        "version": package.get("version", ""),
        "index": package.get("index", ""),
        "requires_python": package.get("requires-python", ""),
        "wheel": {
            "name": wheel.get("name"),
            "url": wheel.get("url"),
            "size_bytes": wheel.get("size"),
            "sha256": wheel.get("hashes", {}).get("sha256"),
        },
        "state": own.get("state", ""),
        "import_names": own.get("import-names", []),
        "yanked": own.get("yanked"),
    }


def load_pylock(data: bytes, what: str) -> dict[str, Any]:
    """
    Any tool's `pylock.toml`, validated by the standard's own reader.

    Raises:
        MalformedError: not UTF-8, not TOML, not a valid pylock of a known version, or one package twice.
    """
    from packaging.pylock import Pylock, PylockUnsupportedVersionError, PylockValidationError

    if len(data) > MOST_BYTES:
        raise MalformedError(f"{what} is larger than the limit of {MOST_BYTES:,} bytes")
    text = decoded(data, what)
    conflict = next((number for number, line in enumerate(text.splitlines(), 1) if line.startswith("<<<<<<< ")), None)
    if conflict is not None:
        raise MalformedError(f"{what} holds a merge conflict", hint="resolve it first", where=f"line {conflict}")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MalformedError(f"{what} is not TOML: {error}", hint="it was edited or cut; make it again") from error
    except (RecursionError, ValueError) as error:
        raise MalformedError(f"{what} is not TOML that can be trusted: {error}") from error
    try:
        Pylock.from_dict(document).validate()
    except PylockUnsupportedVersionError as error:
        raise MalformedError(f"{what} has a lock-version that is not known: {error}", where="lock-version") from error
    except PylockValidationError as error:
        raise MalformedError(f"{what} is not a valid pylock: {error}") from error
    except RecursionError as error:
        raise MalformedError(f"{what} is nested too deeply") from error
    return document
