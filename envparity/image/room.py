"""How many bytes a build will fetch and make, and whether the disk of the cache has room for them."""

from __future__ import annotations

__all__ = ["check_room", "forecast"]

import os
from collections.abc import Callable, Container
from pathlib import Path

from envparity.errors import DiskFullError
from envparity.values import Lock, Target

_BYTE_CODE = 1.4
"""Layers of wheels with byte code beside layers of the wheels alone; 1.3 was measured for scikit-learn's."""


def forecast(lock: Lock, target: Target, left: Container[str], is_here: Callable[[str], object]) -> tuple[int, int]:
    """
    Bytes that are fetched, and bytes of the blobs that are made of them, which compress as the files did.

    Args:
        left: the sha256 of each file that a layer is still to be made of.
        is_here: whether the file of a sha256 need not be fetched.
    """
    sizes = {item.wheel.sha256: item.wheel.size_bytes for item in lock.distributions if item.repacked is None}
    sizes |= {item.sha256: item.size_bytes for item in target.os_packages}
    sizes |= {item.sha256: item.size_bytes for item in target.conda_packages}
    wanted = {sha256: size for sha256, size in sizes.items() if sha256 in left}
    made = sum(wanted.values())
    fetched = sum(size for sha256, size in wanted.items() if not is_here(sha256))
    return fetched, int(made * _BYTE_CODE) if lock.bytecode != "none" else made


def check_room(fetched: int, made: int, folder: Path, free_bytes: int | None = None) -> None:
    """
    Refuse a build that cannot end, before anything is downloaded.

    Raises:
        DiskFullError: the disk of `folder`, which need not exist yet, has less room than both together.
    """
    if free_bytes is None:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        try:
            found = os.statvfs(folder)
        except OSError:
            return  # what cannot be looked at will say so when it is used
        free_bytes = found.f_bavail * found.f_frsize
    if fetched + made > free_bytes:
        raise DiskFullError(
            f"the build would fetch {fetched / 1e6:,.0f} MB and make layers of about {made / 1e6:,.0f} MB, and the disk"
            f" of the cache `{folder}` has {free_bytes / 1e6:,.0f} MB left",
            hint="free some space (`envparity cache prune`), or name a folder of a larger disk in ENVPARITY_CACHE_DIR",
        )
