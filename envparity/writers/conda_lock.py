"""A `conda-lock.yml` (https://conda.github.io/conda-lock/output/), in both versions that conda-lock reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from envparity.closure import conda_order
from envparity.errors import MalformedError
from envparity.values import LockedCondaPackage, LockedDistribution
from envparity.writers.conda_explicit import left_out, subdir
from envparity.writers.contents import Contents, Exported, is_served, require_conda


def conda_lock(contents: Contents) -> Exported:
    """Version 1, the one that conda-lock itself writes: each package has one `category`."""
    return _written(contents, 1)


def conda_lock_v2(contents: Contents) -> Exported:
    """Version 2, which conda-lock reads: each package has several `categories`."""
    return _written(contents, 2)


def _written(contents: Contents, version: int) -> Exported:
    """
    Every package of the target, conda's and pip's. It is YAML whose every value is JSON, which YAML reads alike.

    Raises:
        MalformedError: a package has no md5, which the format demands.
    """
    require_conda(contents, "conda-lock")
    platform = subdir(contents)
    served = [item for item in contents.lock.distributions if is_served(item.wheel)]
    beside = [item for item in contents.lock.distributions if item not in served]
    channels = sorted({item.channel for item in contents.target.conda_packages})
    metadata = {
        # conda-lock compares it with a hash of its sources, of which there are none here.
        "content_hash": {platform: contents.sha256},
        "channels": [{"url": channel, "used_env_vars": []} for channel in channels],
        "platforms": [platform],
        "sources": [],
        "custom_metadata": {"made-by": "envparity export"},
    }
    known = {item.name for item in contents.target.conda_packages}
    entries = [
        *(_conda(item, platform, known) for item in conda_order(contents.target.conda_packages)),
        *(_pip(item, platform, contents) for item in served),
    ]
    lines = [
        f"# Made by `envparity export` of the lock with the sha256 {contents.sha256}",
        "# To install it: conda-lock install --prefix DIR FILE",
        f"version: {version}",
        "metadata:",
        *(f"  {key}: {_json(value)}" for key, value in metadata.items()),
        "package:" if entries else "package: []",
        *(line for entry in entries for line in _entry(entry, version)),
    ]
    pip = (f"{item.name}=={item.version} ({contents.beside(item.wheel.name)})" for item in beside)
    return Exported("".join(f"{line}\n" for line in lines), (*pip, *left_out(contents)))


def _entry(fields: dict[str, Any], version: int) -> Iterator[str]:
    groups = {"category": "main"} if version == 1 else {"categories": ["main"]}
    optional = {"optional": False} if version == 1 else {}
    for number, (key, value) in enumerate({**fields, **groups, **optional}.items()):
        yield f"{'- ' if number == 0 else '  '}{key}: {_json(value)}"


def _conda(item: LockedCondaPackage, platform: str, known: set[str]) -> dict[str, Any]:
    if not item.md5:
        raise MalformedError(
            f"`{item.file_name}` has no md5 in the lock, and a conda-lock demands one",
            hint="its channel does not say it; `--format conda-explicit` needs the sha256 alone",
        )
    pairs = (re.split(r"[ =<>!~\[]", text.strip(), maxsplit=1) for text in item.depends)
    requires = {pair[0]: text.strip()[len(pair[0]) :].strip() for pair, text in zip(pairs, item.depends, strict=True)}
    return {
        "name": item.name,
        "version": item.version,
        "manager": "conda",
        "platform": platform,
        "dependencies": {name: spec for name, spec in sorted(requires.items()) if name in known or name[:2] == "__"},
        "url": item.url,
        "hash": {"md5": item.md5, "sha256": item.sha256},
        "build": item.build,
    }


def _pip(item: LockedDistribution, platform: str, contents: Contents) -> dict[str, Any]:
    names = {one.name for one in contents.lock.distributions if is_served(one.wheel)}
    required = (contents.required or {}).get(item.name, ())
    return {
        "name": item.name,
        "version": item.version,
        "manager": "pip",
        "platform": platform,
        "dependencies": dict.fromkeys(sorted(set(required) & names), "*"),
        "url": item.wheel.url,
        "hash": {"sha256": item.wheel.sha256},
    }


def _json(value: Any) -> str:
    """JSON that YAML reads alike: what YAML takes for a line break is escaped by `ensure_ascii`."""
    return json.dumps(value)
