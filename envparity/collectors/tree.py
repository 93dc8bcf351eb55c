"""The local file system as a Tree, and the gap that a collector yields for what it could not read."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO, Callable

from envparity.collectors.shapes import Fact

CHUNK = 256 << 10
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
_MOST_LINKS = 40
_MOST_PARTS = 4096


def gap(section: str, kind: str, reason: str, item: str = "") -> Fact:
    """A fact that says what is not known; `kind` is `unread` or `not-recorded`."""
    return {"kind": "gap", "section": section, "gap": kind, "reason": reason, "item": item}


def why(error: BaseException) -> str:
    """The cause of an error in a few words, without the path that the gap names anyway."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)


def follow(path: str, readlink: Callable[[str], str | None]) -> str:
    """
    The path with every link followed, `..` taken where it leads to, and nothing outside the root.

    `readlink` gives the target of a link as written, and None for what is no link or is not there. Raises OSError
    (ELOOP) for more than 40 links, as Linux has it (path_resolution(7)).
    """
    done: list[str] = []
    ahead = [part for part in reversed(path.split("/")) if part]
    links = 0
    while ahead:
        part = ahead.pop()
        if part == ".":
            continue
        if part == "..":
            del done[-1:]
            continue
        done.append(part)
        target = readlink("/" + "/".join(done))
        if target is not None:
            links += 1
            if links > _MOST_LINKS or len(ahead) > _MOST_PARTS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            del done[0 if target.startswith("/") else len(done) - 1 :]
            ahead.extend(part for part in reversed(target.split("/")) if part)
    return "/" + "/".join(done)


class LocalTree:
    """
    The file system below `root`, read-only. With another root than `/`, links are followed as if it were `/`, so that
    no link and no `..` leads out of it.
    """

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.realpath(root)

    def entries(self, path: str) -> list[str]:
        """The sorted names in a folder."""
        return sorted(os.listdir(self._real(path)))

    def kind(self, path: str) -> str | None:
        """`file`, `folder`, `other`, or None for what is not there and for a link that leads nowhere."""
        try:
            mode = os.stat(self._real(path)).st_mode
        except ValueError:
            return None
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise
        return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "other"

    def is_link(self, path: str) -> bool:
        """Whether the path itself is a symbolic link."""
        if self.root == "/":
            return os.path.islink(path.rstrip("/"))
        folder, name = os.path.split(path.rstrip("/"))
        try:
            return os.path.islink(os.path.join(self._real(folder or "/"), name))
        except OSError:
            return False

    def read(self, path: str, limit: int = 16 << 20) -> bytes:
        """A regular file's bytes; OSError with EFBIG over the limit."""
        handle = self._opened(path)
        try:
            pieces, left = [], limit + 1
            while left > 0:
                piece = os.read(handle, min(left, CHUNK))
                if not piece:
                    break
                pieces.append(piece)
                left -= len(piece)
        finally:
            os.close(handle)
        if left <= 0:
            raise OSError(errno.EFBIG, "larger than %d bytes" % limit, path)
        return b"".join(pieces)

    def size(self, path: str) -> int:
        """A regular file's size in bytes."""
        with self.open(path) as file:
            return os.fstat(file.fileno()).st_size

    def sha256(self, path: str) -> str:
        """A regular file's digest, in lower-case hexadecimal."""
        import hashlib

        handle = self._opened(path)
        try:
            digest = hashlib.sha256()
            piece = os.read(handle, CHUNK)
            digest.update(piece)
            if len(piece) == CHUNK:
                # One buffer for all of a large file: what was just copied into it is still in the cache.
                view = memoryview(bytearray(CHUNK))
                with open(handle, "rb", buffering=0, closefd=False) as file:
                    for count in iter(lambda: file.readinto(view), 0):
                        digest.update(view[:count])
            elif piece:
                for piece in iter(lambda: os.read(handle, CHUNK), b""):
                    digest.update(piece)
            return digest.hexdigest()
        finally:
            os.close(handle)

    def open(self, path: str) -> BinaryIO:
        """A regular file, to be read in pieces; OSError for anything else, which is never opened for long."""
        return open(self._opened(path), "rb", 16 << 10)

    def _opened(self, path: str) -> int:
        # O_NONBLOCK: a FIFO that takes the file's place would otherwise hang us before fstat can refuse it.
        handle = os.open(self._real(path), os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.EINVAL, "not a regular file", path)
        return handle

    def resolve(self, path: str) -> str:
        """The path with every link in it followed, inside the root."""
        if self.root == "/":
            return os.path.realpath(path)
        return follow(path, self._link)

    def _link(self, path: str) -> str | None:
        real = self.root + path
        return os.readlink(real) if os.path.islink(real) else None

    def _real(self, path: str) -> str:
        if self.root == "/":
            return path
        return self.root + self.resolve(path)
