"""Locks as writers are given them."""

from __future__ import annotations

from typing import Any

import msgspec

from envparity.values import Lock, LockedDistribution, LockedWheel, System
from envparity.writers.contents import Contents
from tests.values import SOME_SHA256, a_lock

INDEX = "https://index.example/simple/"


def pinned(name: str, version: str = "1.0", *, index: str = INDEX, url: str | None = None, **more: Any) -> Any:
    file = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    url = f"https://files.example/{file}" if url is None else url
    wheel = LockedWheel(name=file, url=url, size_bytes=3, sha256=SOME_SHA256)
    return LockedDistribution(name=name, version=version, wheels=(wheel,), state="proven", index=index, **more)


def contents(*distributions: LockedDistribution, lock: dict[str, Any] | None = None, **more: Any) -> Contents:
    """The sample lock, with these distributions where some are named, and whatever else is said of it."""
    changes = {"distributions": distributions} if distributions else {}
    whole: Lock = a_lock(**changes, **(lock or {}))
    given = {
        "lock": whole,
        "target": whole.targets[0],
        "sha256": SOME_SHA256,
        "name": "pylock",
        "folder": "pylock.artifacts",
        "system": System(id="debian", version_id="12", codename="bookworm"),
        **more,
    }
    return Contents(**given)


def with_packages(*names: tuple[str, str, str]) -> Contents:
    """The sample lock with OS packages of these names, versions and architectures."""
    lock = a_lock()
    (one,) = lock.targets[0].os_packages
    packages = tuple(
        msgspec.structs.replace(one, name=name, version=version, architecture=architecture)
        for name, version, architecture in names
    )
    target = msgspec.structs.replace(lock.targets[0], os_packages=packages)
    return contents(lock={"targets": (target,)})
