"""
The list of files that conda, mamba and rattler install without solving
(https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-environments.html#building-identical-conda-environments).
"""

from __future__ import annotations

from envparity.closure import conda_order
from envparity.writers.contents import Contents, Exported, counted, os_packages, require_conda


def conda_explicit(contents: Contents) -> Exported:
    """Each conda package by its address and sha256, after what it requires; pip's part has no place there."""
    require_conda(contents, "conda-explicit")
    lines = [
        f"# Made by `envparity export` of the lock with the sha256 {contents.sha256}",
        "# To install it: conda create --prefix DIR --file FILE",
        f"# platform: {subdir(contents)}",
        "@EXPLICIT",
        *(f"{item.url}#sha256:{item.sha256}" for item in conda_order(contents.target.conda_packages)),
    ]
    beside = (f"{item.name}=={item.version} (pip)" for item in contents.lock.distributions)
    return Exported("".join(f"{line}\n" for line in lines), (*beside, *left_out(contents)))


def subdir(contents: Contents) -> str:
    """What conda calls the platform of a target."""
    return SUBDIRS.get(contents.target.platform, contents.target.platform.replace("/", "-"))


def left_out(contents: Contents) -> tuple[str, ...]:
    """What no format of conda's carries."""
    lock = contents.lock
    return (*os_packages(contents), *counted(len(lock.settings), "setting"), *counted(len(lock.models), "model"))


SUBDIRS = {"linux/amd64": "linux-64", "linux/arm64": "linux-aarch64"}
