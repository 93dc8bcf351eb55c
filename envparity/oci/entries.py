"""What one member of a layer is, and the normal form of its path."""

from __future__ import annotations

__all__ = ["Deflated", "Entry", "Kind", "content_sha256", "normal", "shown"]

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from envparity.errors import MalformedError

Kind = Literal["file", "folder", "link", "hardlink", "other"]


class Deflated(ABC):
    """The content of a file that lies as a raw deflate stream (RFC 1951) in an archive."""

    @abstractmethod
    def __call__(self) -> BinaryIO:
        """Open it inflated, as any content."""

    @abstractmethod
    def pieces(self) -> Iterator[tuple[bytes, bytes]]:
        """
        What it inflates to beside the bytes of the stream, piece by piece, each side in its order. Raises at its end
        where the two do not belong to each other.
        """


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One member of a layer.

    Args:
        path: relative to the root, no leading slash, no `.` or `..`; the root itself is `""`. Bytes that are not UTF-8
            are kept by `surrogateescape`.
        kind: `link` is a symbolic link; `other` a device, FIFO or socket, which is noted and never created.
        mode: the permission bits with setuid, setgid and sticky (`0o7777`), without the file type.
        target: where a link points (as written), or the path of the member that a hard link repeats.
        content: the bytes of a file, or what opens them when their turn comes; then `size_bytes` says how many.
    """

    path: str
    kind: Kind
    mode: int
    uid: int = 0
    gid: int = 0
    size_bytes: int = 0
    target: str = ""
    content: bytes | Callable[[], BinaryIO] | None = None


def content_sha256(entry: Entry) -> str:
    """The digest of a file's content; "" for what has none."""
    if entry.kind != "file":
        return ""
    digest = hashlib.sha256()
    if isinstance(entry.content, bytes):
        digest.update(entry.content)
    elif entry.content is not None:
        with entry.content() as stream:
            while chunk := stream.read(1 << 18):
                digest.update(chunk)
    return digest.hexdigest()


def normal(name: str) -> str:
    """
    The path that a name in an archive stands for, below a virtual root: `./a//b/` and `/a/b` are both `a/b`.

    Raises:
        MalformedError: the name is empty, holds a NUL, or leads out of the root.
    """
    if not name or "\0" in name:
        raise MalformedError(f"the name {shown(name)!r} is empty or holds a NUL byte")
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                raise MalformedError(f"the path `{shown(name)}` leads out of the image")
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


def shown(text: str, limit: int = 200) -> str:
    """The text as a terminal may print it: control, bidirectional and undecodable characters escaped, and cut."""
    if len(text) > limit:
        text = text[:limit] + "…"
    if text.isprintable():
        return text
    safe = (c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)
    return "".join(safe)
