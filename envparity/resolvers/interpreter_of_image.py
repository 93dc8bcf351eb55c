"""The files of an interpreter out of an image, so that it can be captured where it does not lie itself."""

from __future__ import annotations

__all__ = ["IMAGES", "brought", "is_image"]

import posixpath
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from envparity.errors import RefusedError
from envparity.fetch import Fetcher
from envparity.files import translated
from envparity.values import File, Python

if TYPE_CHECKING:
    from envparity.oci.access import Access
    from envparity.oci.tree import ImageTree

IMAGES = ("oci", "docker-archive", "docker", "registry", "container")
"""Schemes of sources whose interpreter lies in an image. That of a container is looked for in the image of it."""

_MOST_BYTES = 2 << 30
_LEFT = frozenset({"dist-packages", "site-packages", "test"})
"""Folders of a standard library that no capture takes, and that are large."""


def is_image(reference: str) -> bool:
    """Whether a source is an image, or a container of one."""
    return reference.partition(":")[0] in IMAGES and ":" in reference


def brought(python: Python, reference: str, folder: Path, *, fetcher: Fetcher, environ: Mapping[str, str]) -> Python:
    """
    The same interpreter, as it lies below `folder` once its files were read out of the image. Nothing of it runs.

    Raises:
        RefusedError: it is not in the image. And what opening and reading an image raises.
    """
    from envparity.oci import places
    from envparity.oci.access import Access
    from envparity.oci.tree import merge

    reach = Access(fetcher.client, fetcher.cache, environ)
    image = places.open_image(_image_of(reference, reach), access=reach)
    prefix = posixpath.normpath(python.base_prefix or "/")
    tree = merge(image, keep=lambda path: False, progress=fetcher.progress)
    wanted = list(dict.fromkeys(_paths(python, prefix, tree)))
    for found, what in ((python.executable, "executable"), (python.libpython, "libpython")):
        if found is not None and tree.kind(found.path) != "file":
            raise RefusedError(
                f"the {what} that the snapshot saw is not in `{reference}`: `{found.path}`",
                hint="name the image that it came from with `--python`, or lock where it lies",
            )
    if sum(tree.size(path) for path in wanted) > _MOST_BYTES:
        raise RefusedError(f"the interpreter in `{reference}` is larger than the limit of {_MOST_BYTES:,} bytes")
    try:
        for path, stream in tree.contents(wanted):
            place = folder / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as output:
                shutil.copyfileobj(stream, output)
    except OSError as error:
        raise translated(error, f"read the interpreter out of `{reference}`") from error
    return _below(python, folder)


def _image_of(reference: str, reach: Access) -> str:
    scheme, _, name = reference.partition(":")
    if scheme != "container":
        return reference
    from envparity.oci.engine import connected

    with connected(reach) as engine:
        return f"docker:{engine.container(name).image}"


def _paths(python: Python, prefix: str, tree: ImageTree) -> Iterator[str]:
    """Its program and libpython, the standard library, and the shared libraries beside that."""
    for found in (python.executable, python.libpython):
        if found is not None:
            yield found.path
    stdlib = posixpath.normpath(python.stdlib or "/")
    if stdlib == "/" or not stdlib.startswith(f"{prefix.rstrip('/')}/"):
        return
    yield from _files(tree, stdlib, 0)
    for name in _entries(tree, f"{prefix}/lib"):
        if re.search(r"\.so(\.|\Z)", name) and tree.kind(f"{prefix}/lib/{name}") == "file":
            yield f"{prefix}/lib/{name}"


def _files(tree: ImageTree, folder: str, depth: int) -> Iterator[str]:
    for name in _entries(tree, folder):
        path = f"{folder}/{name}"
        if name == "__pycache__" or (not depth and name in _LEFT) or depth > _DEEPEST:
            continue
        kind = tree.kind(path)
        if kind == "file":
            yield path
        elif kind == "folder" and not tree.is_link(path):
            yield from _files(tree, path, depth + 1)


_DEEPEST = 40


def _entries(tree: ImageTree, folder: str) -> list[str]:
    return tree.entries(folder) if tree.kind(folder) == "folder" else []


def _below(python: Python, folder: Path) -> Python:
    def at(path: str) -> str:
        return f"{folder}{posixpath.normpath(path)}" if path else ""

    def file(found: File | None) -> File | None:
        return None if found is None else msgspec.structs.replace(found, path=at(found.path))

    return msgspec.structs.replace(
        python,
        executable=file(python.executable),
        libpython=file(python.libpython),
        base_prefix=at(python.base_prefix),
        stdlib=at(python.stdlib),
    )
