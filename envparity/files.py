"""
The only place that writes. An output appears whole or not at all: it is written beside its place, synced and renamed.

Reading of files that a user named is here too, so that the same mistake always gets the same answer.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from envparity.errors import DiskFullError, EnvparityError, MalformedError, UnreachableError, UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT}


def translated(error: OSError, doing: str) -> EnvparityError:
    """What the system said about a file, as an error of ours."""
    cause = error.strerror or str(error)
    if error.errno in _FULL:
        return DiskFullError(f"cannot {doing}: {cause}", hint="free some space, or write to another disk")
    if error.errno in {errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG}:
        return UsageError(f"cannot {doing}: {cause}", hint="name another place")
    if error.errno == errno.ENOENT:
        return UsageError(f"cannot {doing}: {cause}", hint="make the folder first, or name another place")
    return UnreachableError(
        f"cannot {doing}: {cause}", hint="check who may read and write there, or name another place"
    )


def finished(error: OSError) -> EnvparityError:
    """What the system said, where nobody knows any more what it was about."""
    about = f"use `{error.filename}`" if isinstance(error.filename, str) else "finish"
    if error.errno in _FULL:
        return translated(error, about)
    return UnreachableError(f"cannot {about}: {error.strerror or error}", hint="--debug shows where")


def read_bytes(path: str | Path, *, limit: int = 256 << 20, what: str = "file") -> bytes:
    """
    The whole content of a regular file that a user named.

    Raises:
        UsageError: there is no such file, or it is a folder.
        UnreachableError: it may not be read.
        MalformedError: it is larger than `limit` bytes.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise UsageError(f"{what} `{path}` is a folder, and a file is due here", hint="name a file")
        if not path.exists():
            raise UsageError(f"{what} `{path}` does not exist", hint="check the name")
        if not path.is_file():
            raise UsageError(f"{what} `{path}` is not a regular file", hint="copy its content into one")
        with path.open("rb") as stream:
            # Asked for `limit` bytes, Python would set aside as many for the smallest file.
            data = stream.read() if os.fstat(stream.fileno()).st_size <= limit else None
    except OSError as error:
        raise translated(error, f"read {what} `{path}`") from error
    if data is None or len(data) > limit:
        raise MalformedError(f"{what} `{path}` is larger than the limit of {limit:,} bytes")
    return data


def read_text(path: str | Path, *, limit: int = 64 << 20, what: str = "file") -> str:
    """The same as text. Only UTF-8 (with or without a mark at its beginning) is read; anything else is malformed."""
    return decoded(read_bytes(path, limit=limit, what=what), f"{what} `{path}`")


def decoded(data: bytes, what: str) -> str:
    """UTF-8 text of some bytes, or a MalformedError that names the encoding it seems to have and the line."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        looks = " (it looks like UTF-16)" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise MalformedError(
            f"{what} is not UTF-8{looks}: byte 0x{data[error.start]:02x} in line {line}", hint="save it as UTF-8"
        ) from error


@contextmanager
def replacing(path: str | Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """
    A binary file beside `path`, which takes its place when the block ends well and vanishes when it does not.

    A symbolic link at `path` is followed, so that the file it names is replaced and the link stays. A device or FIFO
    (`/dev/null`) is written to, and never replaced. `mode` is subject to the umask.
    """
    if _is_stream(path):
        try:
            with Path(path).open("wb") as stream:
                yield stream
        except OSError as error:
            raise translated(error, f"write `{path}`") from error
        return
    try:
        place = Path(os.path.realpath(path))  # a relative one fails where the working directory was removed
        if place.is_dir():
            raise UsageError(f"cannot write `{path}`: it is a folder", hint="name a file in it, or another place")
        handle, temporary = tempfile.mkstemp(prefix=f".{place.name[:100]}.", suffix=".part", dir=place.parent)
    except OSError as error:
        raise translated(error, f"write `{path}`") from error
    try:
        try:
            with os.fdopen(handle, "wb") as stream:
                yield stream
                stream.flush()
                os.fchmod(stream.fileno(), mode & ~_UMASK)
                os.fsync(stream.fileno())
            Path(temporary).replace(place)
            _sync_folder(place.parent)
        except OSError as error:
            raise translated(error, f"write `{path}`") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def check_target(path: str | Path) -> None:
    """
    Refuse a place where no file can be written, before the work whose result would go there.

    Raises:
        UsageError: it is a folder, or the folder around it does not exist.
    """
    place = Path(path)
    try:
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(place.stat().st_mode):
                raise UsageError(f"cannot write `{path}`: it is a folder", hint="name a file in it")
    except OSError as error:
        raise translated(error, f"write `{path}`") from error
    if not place.parent.is_dir():
        raise UsageError(f"cannot write `{path}`: the folder around it does not exist", hint="make it first")


def write_bytes(path: str | Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a whole file, or leave what was there untouched."""
    with replacing(path, mode=mode) as stream:
        stream.write(data)


def copy(source: Path, path: str | Path) -> None:
    """Write a whole file with the content of another one, of any size, or leave what was there untouched."""
    try:
        stream = source.open("rb")
    except OSError as error:
        raise translated(error, f"read `{source}`") from error
    with stream, replacing(path) as sink:
        shutil.copyfileobj(stream, sink, 1 << 20)


def move(source: Path, path: Path) -> None:
    """Give a file another name in its folder, in the place of whatever has that name."""
    try:
        source.replace(path)
    except OSError as error:
        raise translated(error, f"rename `{source}`") from error


@contextmanager
def private_folder(inside: Path | None = None) -> Iterator[Path]:
    """A folder that only this user can enter, for what need not outlive the block: a temporary one, or in `inside`."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="envparity-", dir=inside))
    except OSError as error:
        raise translated(error, "make a temporary folder") from error
    try:
        yield folder
    finally:
        _make_removable(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _make_removable(folder: Path) -> None:
    # What lies in a folder that may not be written (an image has such) can be removed by nobody but root.
    if os.geteuid() != 0:
        for parent, folders, _ in os.walk(folder):
            for place in (Path(parent, name) for name in folders):
                with suppress(OSError):
                    if not place.is_symlink():
                        place.chmod(0o700)


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise translated(error, f"remove `{path}`") from error


def make_folder(path: str | Path, *, mode: int = 0o777) -> Path:
    """A folder that exists afterwards, with its parents."""
    place = Path(path)
    try:
        place.mkdir(mode=mode, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(
            f"cannot make the folder `{path}`: a file is in its place", hint="name another place"
        ) from error
    except OSError as error:
        raise translated(error, f"make the folder `{path}`") from error
    return place


@dataclass(frozen=True)
class Member:
    """One member of a tree that `populate` makes: a file, folder or link, by its relative path in normal form."""

    path: str
    kind: str
    mode: int
    target: str = ""
    open: Callable[[], BinaryIO] | None = None


def populate(root: Path, members: Iterable[Member]) -> None:
    """
    Make a tree of files below an empty folder of ours.

    Symbolic links come last, so that nothing can be written through one, wherever it points; modes of folders come
    after them, so that a folder that may not be written can still be filled.
    """
    links, folders = [], []
    try:
        for member in members:
            place = root / member.path
            if member.kind == "link":
                links.append(member)
                continue
            if member.kind == "folder":
                place.mkdir(parents=True, exist_ok=True)
                folders.append(member)
                continue
            assert member.open is not None
            place.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as sink, member.open() as source:
                shutil.copyfileobj(source, sink, 1 << 20)
                os.fchmod(sink.fileno(), member.mode & 0o777)
        for member in links:
            place = root / member.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(member.target)
        for member in sorted(folders, key=lambda item: item.path, reverse=True):
            (root / member.path).chmod(member.mode & 0o1777)
    except OSError as error:
        raise translated(error, f"unpack into `{root}`") from error


@contextmanager
def locked(path: str | Path, *, timeout_s: float = 60.0) -> Iterator[None]:
    """Hold a lock among processes. The lock belongs to the operating system: a dead process holds none."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(str(path), timeout=timeout_s):
            yield
    except Timeout as error:
        raise UnreachableError(
            f"`{path}` is held by another process for more than {timeout_s:.0f} s",
            hint="wait for the other envparity to finish",
        ) from error
    except OSError as error:
        raise translated(error, f"lock `{path}`") from error


def _is_stream(path: str | Path) -> bool:
    try:
        mode = Path(path).stat().st_mode  # not of the resolved path: `/dev/stdout` leads to a pipe that has no path
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


# There is no call that only reads it, and to set it and set it back while other threads make files lets them make them
# with the wrong mode: so it is read once, before there are any.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


def _sync_folder(folder: Path) -> None:
    # "Calling fsync() does not necessarily ensure that the entry in the directory containing the file has also
    # reached disk. For that an explicit fsync() on a file descriptor for the directory is also needed." (fsync(2))
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # a folder that may be written and not read cannot be synced; its content is in place all the same
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(handle)
