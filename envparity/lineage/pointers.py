"""Files that stand for data which lies elsewhere: git-lfs pointers, DVC's `.dvc` files and its `dvc.lock`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from envparity.codec import load_yaml
from envparity.collectors.shapes import Fact
from envparity.collectors.tree import gap
from envparity.collectors.urls import public_url
from envparity.errors import MalformedError

LARGEST_LFS = 1024
"""A pointer is smaller than this (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md)."""

MOST = 10_000

_LFS = re.compile(
    rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\n"
    rb"(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,15})\n"
)
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")


def lfs(data: bytes) -> tuple[str, int] | None:
    """The sha256 and the size that a git-lfs pointer states; None for anything else."""
    found = _LFS.fullmatch(data) if len(data) <= LARGEST_LFS else None
    return (found[1].decode(), int(found[2])) if found else None


def dvc(data: bytes, name: str) -> Iterator[Fact]:
    """
    Observe what a `.dvc` file or a `dvc.lock` points to (https://dvc.org/doc/user-guide/project-structure): one
    artifact an output or dependency, named by its path. DVC states md5 sums, so that `sha256` is that of the text
    `md5:SUM`: equal where DVC's own sum is. Its commands are not read.

    Raises:
        MalformedError: it is none of the two.
    """
    document = load_yaml(data, f"`{name}`", foreign=True)
    if not isinstance(document, dict):
        raise MalformedError(f"`{name}` is not a file of DVC", hint="name the data itself")
    found: dict[str, tuple[str, int, int | None]] = {}
    for entry in _entries(document, name):
        path, said = _said(entry, name)
        if said is None:
            yield gap("artifacts", "not-recorded", "DVC knows no sum of it", path)
        elif found.setdefault(path, said) != said:
            yield gap("artifacts", "not-recorded", f"`{name}` states two sums of it", path)
    if len(found) > MOST:
        raise MalformedError(f"`{name}` speaks of {len(found):,} files, and the limit is {MOST:,}")
    for path, (md5, size, files) in found.items():
        yield {
            "kind": "artifact",
            "artifact": "data",
            "name": path,
            "size_bytes": size,
            "sha256": hashlib.sha256(f"md5:{md5}".encode()).hexdigest(),
            "files": files,
            "pointer": "dvc",
            "properties": [["md5", md5]],
        }


def _entries(document: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    stages = document.get("stages")
    groups = list(stages.values()) if isinstance(stages, dict) else [document]
    kinds = ("deps", "outs") if isinstance(stages, dict) else ("outs",)
    if not isinstance(stages, dict) and not isinstance(document.get("outs"), list):
        raise MalformedError(f"`{name}` is not a file of DVC: it has neither `outs` nor `stages`")
    for group in groups:
        for kind in kinds:
            entries = group.get(kind) if isinstance(group, dict) else None
            for entry in entries if isinstance(entries, list) else ():
                if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
                    raise MalformedError(f"`{name}` is not a file of DVC: one of its `{kind}` has no `path`")
                yield entry


def _said(entry: dict[str, Any], name: str) -> tuple[str, tuple[str, int, int | None] | None]:
    path = entry["path"]
    if "://" in path:
        path = public_url(path)
    elif path.startswith("/"):
        path = PurePosixPath(path).name  # a place of this host, which no name holds
    md5, size, files = entry.get("md5"), entry.get("size"), entry.get("nfiles")
    if not isinstance(md5, str) or not _MD5.fullmatch(md5):
        return path, None
    if not isinstance(size, int) or not 0 <= size <= 2**53:
        size = 0
    return path, (md5, size, files if isinstance(files, int) and files >= 0 else None)
