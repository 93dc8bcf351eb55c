"""
Whether a lock is as it was written: a digest over what it says, and a mark for each of its parts that tells which one
is not. Comments, white space, the order of keys and the tables of other tools are people's own.

It is no signature: whoever wants to deceive can make another one. It tells a slip of the hand, or of a merge, from a
lock that a command wrote.
"""

from __future__ import annotations

__all__ = ["broken", "sealed"]

import hashlib
import json
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any

_MARK = 4
"""Hexadecimal digits of a mark. That the whole is right the digest says; a mark only says where it is not."""

_ON_A_LINE = 8

_LISTS = ("conda_packages", "os_packages", "substituted", "left_out")

Part = tuple[str, str, Any]
"""The path of a part in the document, what to call it, and what it holds."""


def sealed(document: dict[str, Any]) -> dict[str, Any]:
    """
    What `[tool.envparity.end]` holds of a document: the marks of its parts in their order, some on a line so that a
    part which changes changes one of these lines, and the digest.
    """
    texts = [_text(value) for _, _, value in _parts(document)]
    marks = [hashlib.sha256(text).hexdigest()[:_MARK] for text in texts]
    lines = ["".join(marks[at : at + _ON_A_LINE]) for at in range(0, len(marks), _ON_A_LINE)]
    return {"marks": lines, "sha256": hashlib.sha256(b"\n".join(texts)).hexdigest()}


def broken(document: dict[str, Any], end: dict[str, Any]) -> list[tuple[str, str]]:
    """
    Where a document is not as it was written: the path of each place, and what became of it; nothing where it is, or
    where it was written without a seal.
    """
    if not {"marks", "sha256"} & end.keys():
        return []
    here = sealed(document)
    if end.get("sha256") == here["sha256"]:
        return []
    parts = list(_parts(document))
    lines = end.get("marks", ())
    before = _split("".join(map(str, lines)) if isinstance(lines, list | str) else "")
    after = _split("".join(here["marks"]))
    found: list[tuple[str, str]] = []
    for kind, first, last, start, stop in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        if kind == "replace" and last - first == stop - start:
            found += [(path, f"{name} was changed") for path, name, _ in parts[start:stop]]
            continue
        found += [(path, f"{name} was added or changed") for path, name, _ in parts[start:stop]]
        if kind == "delete":
            path, name, _ = parts[min(start, len(parts) - 1)]
            count = last - first
            found.append((path, f"{'something' if count == 1 else f'{count} things'} before {name} was taken out"))
    return found or [("tool.envparity.end", "the seal itself was changed")]


def _split(marks: str) -> list[str]:
    return [marks[at : at + _MARK] for at in range(0, len(marks), _MARK)]


def _text(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()


def _parts(document: dict[str, Any]) -> Iterator[Part]:
    own = document.get("tool", {}).get("envparity", {})
    yield from (_part(f"packages[{at}]", item) for at, item in enumerate(document.get("packages", ())))
    targets = own.get("target", {})
    for platform, target in sorted(targets.items()):
        path = f'tool.envparity.target."{platform}"'
        plain = {key: value for key, value in target.items() if key not in _LISTS}
        yield path, f"what the target `{platform}` says of its base and interpreter", [platform, plain]
        for key in _LISTS:
            yield from (_part(f"{path}.{key}[{at}]", item) for at, item in enumerate(target.get(key, ())))
    for key, value in sorted(own.items()):
        if key not in {"target", "end", "count"}:
            yield f"tool.envparity.{key}", f"`{key}`", [key, value]
    head = {key: value for key, value in document.items() if key not in {"packages", "tool"}}
    for key, value in sorted(head.items()):
        yield key, f"`{key}`", [key, value]


def _part(path: str, item: dict[str, Any]) -> Part:
    name = f"`{item.get('name', '?')}`"
    if "tool" in item:
        tool = item["tool"]
        item = {**item, "tool": {key: value for key, value in tool.items() if key == "envparity"}}
    return path, name, item
