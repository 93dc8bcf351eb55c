"""The files and folders that a model was made of: their digests, counts and sizes."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from envparity import files
from envparity.collectors.shapes import Fact
from envparity.collectors.tree import gap, why
from envparity.errors import UsageError
from envparity.lineage import pointers

MOST_FILES = 1_000_000
_MOST_NAMED = 20
_CHUNK = 1 << 20
_BATCH = 64


def data(paths: Sequence[str | Path], folder: Path = Path()) -> Iterator[Fact]:
    """
    Observe data by its content. What only points to data elsewhere (git-lfs, DVC) is read as that, and says so.

    Of a folder the digest is that of its sorted lines `sha256  path`, as `sha256sum` writes them; so
    `find . -type f -printf '%P\\0' | xargs -0 sha256sum | LC_ALL=C sort | sha256sum` gives it too, where there are no
    links. A link inside the folder that leads to a file in it counts as that file, one to a folder in it as a link;
    what leads out of it is not followed, and is unread.

    Each is named by as much of the end of its path as tells it from the others, so that no name holds a place of this
    host.

    Raises:
        UsageError: there is no such file or folder, or it is named twice. MalformedError: a broken file of DVC.
        UnreachableError: it may not be read.
    """
    places = [(folder / path).absolute() for path in paths]
    for name, place in zip(_names(places), places, strict=True):
        try:
            if place.is_dir():
                yield from _folder(name, place)
            elif place.is_file():
                yield from _file(name, place)
            elif not place.exists():
                raise UsageError(f"there is no data at `{place}`", hint="check the path given to `--data`")
            else:
                raise UsageError(f"the data `{place}` is neither a regular file nor a folder")
        except OSError as error:
            raise files.translated(error, f"read the data `{place}`") from error


def _names(places: Sequence[Path]) -> list[str]:
    parts = [[part for part in PurePath(os.path.normpath(place)).parts if part != "/"] or ["/"] for place in places]
    names = []
    for own in parts:
        if parts.count(own) > 1:
            raise UsageError(f"the data `{'/'.join(own)}` is named twice", hint="name it once")
        length = next(
            length for length in range(1, len(own) + 1) if sum(p[-length:] == own[-length:] for p in parts) == 1
        )
        names.append("/".join(own[-length:]))
    return names


@dataclass(frozen=True)
class _Seen:
    """One file that was hashed: as the digest of its data, or of what it points to."""

    sha256: str
    size: int
    pointer: bool = False


def _file(name: str, place: Path) -> Iterator[Fact]:
    if place.name == "dvc.lock" or place.suffix == ".dvc":
        yield from pointers.dvc(files.read_bytes(place, what="file of DVC"), name)
        return
    seen = _hashed(os.path.realpath(place), threading.Event())
    yield _artifact(name, place, seen.sha256, seen.size, "git-lfs" if seen.pointer else "", None)


def _artifact(name: str, place: Path, sha256: str, size: int, pointer: str, count: int | None) -> Fact:
    return {
        "kind": "artifact",
        "artifact": "data",
        "name": name,
        "size_bytes": size,
        "sha256": sha256,
        "path": str(place),
        "files": count,
        "pointer": pointer,
    }


def _hashed(path: str, stop: threading.Event) -> _Seen:
    # O_NONBLOCK: a FIFO that takes the file's place would hang us before fstat can refuse it.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb", buffering=0) as file:
        before = os.fstat(handle)
        if not stat.S_ISREG(before.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", path)
        if before.st_size <= pointers.LARGEST_LFS:
            content = file.read(pointers.LARGEST_LFS + 1)
            stated = pointers.lfs(content)
            return _Seen(*stated, pointer=True) if stated else _Seen(hashlib.sha256(content).hexdigest(), len(content))
        digest, size, room = hashlib.sha256(), 0, memoryview(bytearray(_CHUNK))
        while (count := file.readinto(room)) and not stop.is_set():
            digest.update(room[:count])
            size += count
        after = os.fstat(handle)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise OSError(errno.EAGAIN, "it was changed while it was read", path)
        return _Seen(digest.hexdigest(), size)


@dataclass
class _Found:
    """What a walk through a folder finds: files to hash (name in the folder, and real path), links, and problems."""

    files: list[tuple[str, str]] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def fails(self, name: str, reason: str) -> None:
        """A part of the folder that is not known: it has a line, so that no digest passes for that of the whole."""
        self.problems.append((name, reason))
        self.lines.append(_line("unread", name))


def _folder(name: str, place: Path) -> Iterator[Fact]:
    root = os.path.realpath(place)
    found = _walked(root)
    if len(found.files) > MOST_FILES:
        reason = f"it holds more than {MOST_FILES:,} files: pack them, or name a list of their digests"
        yield gap("artifacts", "unread", reason, name)
        return
    size = pointing = count = 0
    for (inside, _), seen in zip(found.files, _all_hashed([path for _, path in found.files]), strict=True):
        if isinstance(seen, OSError):
            found.fails(inside, why(seen))
            continue
        found.lines.append(_line(seen.sha256, inside))
        size, pointing, count = size + seen.size, pointing + seen.pointer, count + 1
    digest = hashlib.sha256(b"".join(sorted(found.lines))).hexdigest()
    yield _artifact(name, place, digest, size, "git-lfs" if pointing else "", count)
    for inside, reason in sorted(found.problems)[:_MOST_NAMED]:
        yield gap("artifacts", "unread", reason, f"{name}/{inside}" if inside else name)
    if len(found.problems) > _MOST_NAMED:
        yield gap("artifacts", "unread", f"{len(found.problems) - _MOST_NAMED} more could not be read", name)


def _walked(root: str) -> _Found:
    found = _Found()
    start = len(root.rstrip("/")) + 1
    ahead = [root]
    while ahead and len(found.files) <= MOST_FILES:
        folder = ahead.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        ahead.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        found.files.append((entry.path[start:], entry.path))
                    elif entry.is_symlink():
                        _follow(Path(entry.path), entry.path[start:], root, found)
                    else:
                        found.fails(entry.path[start:], "it is neither a file nor a folder")
        except OSError as error:
            found.fails(folder[start:], why(error))
    return found


def _follow(link: Path, inside: str, root: str, found: _Found) -> None:
    target = Path(os.path.realpath(link))
    if not target.is_relative_to(root):
        found.fails(inside, "it is a link that leads out of the folder, which is not followed")
    elif target.is_file():
        found.files.append((inside, str(target)))
    elif target.is_dir():
        text = "-> " + os.path.relpath(target, link.parent)
        found.lines.append(_line(hashlib.sha256(os.fsencode(text)).hexdigest(), inside))
    else:
        found.fails(inside, "it is a link that leads to nothing")


def _line(sha256: str, inside: str) -> bytes:
    """A line as `sha256sum` writes it: with a backslash first where the name had to be escaped."""
    name = os.fsencode(inside)
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return (b"\\" if escaped != name else b"") + sha256.encode() + b"  " + escaped + b"\n"


def _all_hashed(paths: list[str]) -> Iterator[_Seen | OSError]:
    """Each file, hashed by as many threads as there are processors (hashing holds no lock), in the order of `paths`."""
    stop = threading.Event()

    def batch(start: int) -> list[_Seen | OSError]:
        return [_tried(_hashed, path, stop) for path in paths[start : start + _BATCH]]

    workers = min(8, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(workers) as pool:
        try:
            for results in pool.map(batch, range(0, len(paths), _BATCH)):
                yield from results
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _tried(read: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return read(*arguments)
    except OSError as error:
        return error
