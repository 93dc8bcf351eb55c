"""
The only place that writes. An output appears whole or not at all: it is written beside its place, synced and renamed.
What is being written is locked; so what a killed process left can be told from it, and goes with the next write.

Reading of files that a user named is here too, so that the same mistake always gets the same answer.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
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
    if error.errno == errno.EIO:
        return UnreachableError(
            f"cannot {doing}: {cause}", hint="the disk fails: see the system's log, and name a place on another one"
        )
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
def replacing(
    path: str | Path, *, mode: int = 0o644, inside: Path | None = None, synced: bool = True
) -> Iterator[BinaryIO]:
    """
    A binary file beside `path`, which takes its place when the block ends well and vanishes when it does not. What was
    left of one whose process was killed vanishes too.

    A symbolic link at `path` is followed, so that the file it names is replaced and the link stays. A device or FIFO
    (`/dev/null`) is written to, and never replaced. `mode` is subject to the umask. `inside` is a folder of the same
    disk where that file lies, if nothing else may lie beside `path`. One that need not be `synced` is not waited for
    until it is on the disk: after a power cut it may be there and not whole.
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
        remove_abandoned(inside or place.parent, place.name)
        handle, temporary = _begun(place.name, inside or place.parent)
    except OSError as error:
        raise translated(error, f"write `{path}`") from error
    try:
        try:
            with os.fdopen(handle, "wb") as stream:
                yield stream
                stream.flush()
                os.fchmod(stream.fileno(), mode & ~_UMASK)
                if synced:
                    os.fsync(stream.fileno())
                Path(temporary).replace(place)  # before it is closed, and nobody's to see
            if synced:
                _sync_folder(place.parent)
        except OSError as error:
            raise translated(error, f"write `{path}`") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def _begun(name: str, folder: Path) -> tuple[int, str]:
    """A new file in a folder, for what will have a name, locked while it is open."""
    while True:
        handle, temporary = tempfile.mkstemp(prefix=f".{name[:100]}.", suffix=".part", dir=folder)
        with suppress(OSError):  # not every file system has locks, and one without keeps what was left
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, temporary
        os.close(handle)  # taken for an abandoned one before it was locked


def remove_abandoned(folder: Path, name: str = "") -> None:
    """
    Remove from a folder what processes that were killed left half written: of one output, or of any. What cannot be
    looked at, or is another user's, stays.
    """
    begun = re.compile(rf"\.{re.escape(name[:100]) if name else '.+'}\.[a-z0-9_]{{8}}\.part", re.DOTALL)
    try:
        with os.scandir(folder) as entries:
            left = [entry.path for entry in entries if begun.fullmatch(entry.name)]
    except OSError:
        return
    for path in left:
        with suppress(OSError):
            handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                state = os.fstat(handle)
                if stat.S_ISREG(state.st_mode) and state.st_uid == os.geteuid():
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    Path(path).unlink()
            finally:
                os.close(handle)


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


def write_bytes(path: str | Path, data: bytes, *, mode: int = 0o644, inside: Path | None = None) -> None:
    """Write a whole file, or leave what was there untouched. As `replacing` has it."""
    with replacing(path, mode=mode, inside=inside) as stream:
        stream.write(data)


def put(path: Path, data: bytes) -> None:
    """
    The same for what can be found out again, in a folder of our own: nobody waits for the disk, so that after a power
    cut the file may be there and empty.
    """
    folder, name = os.path.split(path)
    temporary = f"{folder}/.{name[:100]}.{os.getpid()}-{os.urandom(6).hex()}.part"
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(handle, left) :]
            os.replace(temporary, path)  # noqa: PTH105 (by thousands, where a Path takes as long as the call)
        except BaseException:
            os.unlink(temporary)  # noqa: PTH108
            raise
        finally:
            os.close(handle)
    except OSError as error:
        raise translated(error, f"write `{path}`") from error


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
        raise translated(error, f"make a temporary folder{f' in `{inside}`' if inside else ''}") from error
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
