"""
Content-addressed blobs on disk. Nothing gets its name before its digest was checked, so what has a name is whole.

Layout: `blobs/sha256/ab/abcdef…` for bytes, `notes/KEY.json` for small results by key, each with the digest of what it
says: a bit that flipped would make other valid JSON, of which images are made. Safe for concurrent processes: a blob is
written beside its place and renamed, and two writers of one blob write the same bytes.

What is used is touched, so that its time says when it was used last. Each process that uses the cache has a locked file
in `users/`, as old as its first use; `prune` removes nothing that was used since the oldest of them began. `gate.lock`
is shared while something is looked up and touched, and held alone while things are removed: no file goes between.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from envparity.errors import EnvparityError, IntegrityError, UnreachableError, UsageError
from envparity.files import make_folder, private_folder, put, replacing, translated, write_bytes

T = TypeVar("T")

_MARK = "Signature: 8a477f597d28d172789f06886806bc55\n# This file is a cache directory tag of envparity.\n"

USUAL_MOST_BYTES = 20 * 10**9
"""What a cache is brought down to where nobody says otherwise."""

_BEGUN = ".part"
"""How the name ends of what is being written."""

_PRUNED_EVERY_S = 24 * 3600.0


@dataclass(frozen=True)
class Pruned:
    """What a pruning did: files and bytes removed, those of them that were damaged, and what is left."""

    removed: int
    removed_bytes: int
    damaged: int
    in_use: int
    left: int
    left_bytes: int


@dataclass(frozen=True)
class _Kept:
    place: Path
    size_bytes: int
    used_at: float


class Cache:
    """A folder of blobs. Without one, the user's own cache folder (`platformdirs`)."""

    def __init__(self, folder: Path | None = None) -> None:
        if folder is None:
            from platformdirs import user_cache_path

            folder = user_cache_path("envparity")
            if not folder.is_absolute():
                raise UsageError(
                    "this user has no home, so there is no place for the cache", hint="name one in ENVPARITY_CACHE_DIR"
                )
        self.folder = folder
        self._registered = False

    def blob(self, sha256: str) -> Path | None:
        """The file with these bytes, if it is here. It was checked when it came; `checked_blob` checks it again."""
        self._require_own()
        place = self._place(sha256)
        self._register()
        with self._gate(fcntl.LOCK_SH):
            if not place.is_file():
                return None
            _touch(place)
            return place

    def checked_blob(self, sha256: str) -> Path | None:
        """The same, hashed again: a damaged file is removed, and `None` answered."""
        place = self.blob(sha256)
        if place is None:
            return None
        try:
            with place.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() == sha256:
                    return place
            place.unlink(missing_ok=True)
        except FileNotFoundError:
            return None  # another process found it damaged too, and was faster
        except OSError as error:
            raise translated(error, f"use the cached `{place}`") from error
        return None

    def checked_bytes(self, sha256: str) -> bytes | None:
        """The bytes themselves, hashed again; for what is small enough to be held. As `checked_blob` has it."""
        place = self.blob(sha256)
        if place is None:
            return None
        try:
            data = place.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise translated(error, f"use the cached `{place}`") from error
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
        self.checked_blob(sha256)
        return None

    def forget(self, sha256: str) -> None:
        """Remove what nobody asks for any more; who does all the same fetches it again."""
        with suppress(OSError):
            self._place(sha256).unlink(missing_ok=True)

    def adopt(self, chunks: Iterable[bytes], *, sha256: str, size_bytes: int | None, what: str) -> Path:
        """
        Keep bytes under their digest.

        Raises:
            IntegrityError: they are not the bytes that were promised; nothing is kept.
        """
        digest = hashlib.sha256()
        seen = 0
        with self.writing() as kept:
            for chunk in chunks:
                digest.update(chunk)
                seen += len(chunk)
                if size_bytes is not None and seen > size_bytes:
                    raise IntegrityError(f"{what} is larger than the {size_bytes:,} bytes that were promised")
                kept.stream.write(chunk)
            if size_bytes is not None and seen != size_bytes:
                raise IntegrityError(f"{what} has {seen:,} bytes, and {size_bytes:,} were promised")
            if digest.hexdigest() != sha256:
                raise IntegrityError(
                    f"{what} does not have the promised content: expected sha256 {sha256}, got {digest.hexdigest()}",
                    hint="the place or a proxy changed it, or the lock is wrong; nothing of it was kept",
                )
            kept.name(sha256)
        return self._place(sha256)

    def keep(self, data: bytes) -> str:
        """
        Keep bytes under their digest, and say which it is. Whoever asks for them again has them checked
        (`checked_blob`, `checked_bytes`): a power cut may leave them damaged.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        place = self._place(sha256)
        self._folder("blobs")
        put(_made(place.parent) / place.name, data)
        return sha256

    @contextmanager
    def writing(self, *, synced: bool = True) -> Iterator[Unnamed]:
        """
        Write bytes whose digest is known at the end: `.stream` takes them, `.name(sha256)` keeps them. What need not be
        `synced` is of the kind that `keep` keeps: whoever asks for it again has it checked.
        """
        incoming = self._folder("incoming") / f"{os.getpid()}-{os.urandom(8).hex()}"
        unnamed = Unnamed()
        try:
            with replacing(incoming, synced=synced) as stream:
                unnamed.stream = stream
                yield unnamed
            if unnamed.sha256:
                place = self._place(unnamed.sha256)
                make_folder(place.parent)
                incoming.replace(place)
        except IsADirectoryError as error:
            raise _in_the_way(self._place(unnamed.sha256)) from error
        except OSError as error:
            raise translated(error, f"keep something in the cache `{self.folder}`") from error
        finally:
            with suppress(OSError):
                incoming.unlink(missing_ok=True)

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """A folder on the cache's disk for what is large and not worth keeping; it is gone after the block."""
        with private_folder(self._folder("incoming")) as folder:
            yield folder

    def note(self, key: str, kind: type[T]) -> T | None:
        """What was noted under a key, or `None`: also where it is damaged, since it can be found out again."""
        self._require_own()
        place = self.folder / "notes" / f"{key}.json"
        try:
            said = _said(place.read_bytes())
            _touch(place)
            return msgspec.json.decode(said, type=kind) if said is not None else None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def write_note(self, key: str, value: object) -> None:
        """Note a small JSON value."""
        said = msgspec.json.encode(value, order="sorted")
        place = self._folder("notes") / f"{key}.json"
        try:
            put(place, _BEFORE % hashlib.sha256(said).hexdigest().encode() + said + b"}")
        except UsageError as error:
            raise (_in_the_way(place) if place.is_dir() else error) from error

    def _place(self, sha256: str) -> Path:
        return self.folder / "blobs" / "sha256" / sha256[:2] / sha256

    def _require_own(self) -> None:
        # What lies in the cache is trusted, notes more than blobs: nobody else may put something there.
        try:
            found = self.folder.stat()
        except FileNotFoundError:
            return
        except OSError as error:
            raise _elsewhere(translated(error, f"use the cache `{self.folder}`")) from error
        if not stat.S_ISDIR(found.st_mode):
            raise UsageError(
                f"the cache `{self.folder}` is not a folder, and one is due there",
                hint="name one in ENVPARITY_CACHE_DIR",
            )
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            fault = "belongs to another user" if found.st_uid != os.geteuid() else "can be written by other users"
            raise UnreachableError(
                f"the cache `{self.folder}` {fault}, so what lies in it cannot be trusted",
                hint="name a folder of your own in ENVPARITY_CACHE_DIR, or take the right from others: chmod go-w",
            )

    def _folder(self, name: str) -> Path:
        self._require_own()
        if not self.folder.is_dir():
            try:
                make_folder(self.folder, mode=0o700)
            except (UsageError, UnreachableError) as error:
                _elsewhere(error)
                raise
            write_bytes(self.folder / "CACHEDIR.TAG", _MARK.encode())
        self._register()
        return _made(self.folder / name)

    def size(self) -> tuple[int, int]:
        """How many files there are, and how many bytes they have."""
        kept = self._kept()
        return len(kept), sum(item.size_bytes for item in kept)

    def prune(self, *, most_bytes: int | None = None, older_than_s: float | None = None, check: bool = False) -> Pruned:
        """
        Remove what was not used for so long, then what was used least recently, until at most so many bytes are left.
        With `check`, every file is read, and a damaged one is removed too.

        What a running process uses or writes is never removed; what a dead one left half written is.

        Raises:
            UsageError: the folder is no cache of envparity.
            UnreachableError: it cannot be read, or something cannot be removed.
        """
        self._require_own()
        if not self.folder.exists():
            return Pruned(0, 0, 0, 0, 0, 0)
        if not self._is_ours():
            raise UsageError(
                f"`{self.folder}` is not a cache of envparity, so nothing in it is removed",
                hint="ENVPARITY_CACHE_DIR names the cache; `envparity cache dir` prints it",
            )
        try:
            damaged = {item.place for item in self._kept() if _damaged(item.place)} if check else set()
            with self._gate(fcntl.LOCK_EX, needed=True):
                return self._prune(self._in_use_since(), most_bytes, older_than_s, damaged)
        except OSError as error:
            raise translated(error, f"prune the cache `{self.folder}`") from error

    def bound(self, most_bytes: int = USUAL_MOST_BYTES) -> None:
        """
        Remove what dead processes left half written, and prune to so many bytes, that at most once a day; where it
        fails, the next run tries.
        """
        mark = self.folder / "pruned"
        with suppress(OSError, EnvparityError):
            if not self._is_ours():
                return
            if mark.exists() and 0 <= time.time() - mark.stat().st_mtime < _PRUNED_EVERY_S:
                if _listed(self.folder / "incoming"):
                    with self._gate(fcntl.LOCK_EX, needed=True):
                        self._sweep(self._in_use_since())
                return
            write_bytes(mark, b"")
            self.prune(most_bytes=most_bytes)

    def _prune(self, since: float, most_bytes: int | None, older_than_s: float | None, damaged: set[Path]) -> Pruned:
        kept = sorted(self._kept(), key=lambda item: item.used_at)
        left_bytes = sum(item.size_bytes for item in kept)
        oldest = time.time() - older_than_s if older_than_s is not None else None
        removed = removed_bytes = found_damaged = in_use = 0
        for item in kept:
            too_old = oldest is not None and item.used_at < oldest
            too_much = most_bytes is not None and left_bytes > most_bytes
            abandoned = item.place.name.endswith(_BEGUN)
            if not (too_old or too_much or abandoned or item.place in damaged):
                continue
            if item.used_at >= since:
                in_use += 1
                continue
            item.place.unlink(missing_ok=True)
            left_bytes -= item.size_bytes
            removed += 1
            removed_bytes += item.size_bytes
            found_damaged += item.place in damaged
        self._sweep(since)
        return Pruned(removed, removed_bytes, found_damaged, in_use, len(kept) - removed, left_bytes)

    def _sweep(self, since: float) -> None:
        """Remove what processes that are dead were writing; it may be gigabytes."""
        for place in _listed(self.folder / "incoming"):
            with suppress(FileNotFoundError):  # its writer was done meanwhile
                if place.lstat().st_mtime >= since:
                    continue
                if place.is_dir() and not place.is_symlink():
                    shutil.rmtree(place, ignore_errors=True)
                else:
                    place.unlink()

    def _kept(self) -> list[_Kept]:
        self._require_own()
        folders = [*_listed(self.folder / "blobs" / "sha256"), self.folder / "notes"]
        found = []
        for place in (place for folder in folders if not folder.is_symlink() for place in _listed(folder)):
            with suppress(FileNotFoundError):
                state = place.lstat()
                if not place.is_dir() or place.is_symlink():
                    found.append(_Kept(place, state.st_size, state.st_mtime))
        return found

    def _is_ours(self) -> bool:
        mark = self.folder / "CACHEDIR.TAG"
        return mark.is_file() and mark.read_bytes()[:200] == _MARK.encode()

    def _register(self) -> None:
        # A cache that cannot be written to is not pruned by this user either.
        if self._registered or not self.folder.is_dir():
            return
        self._registered = True
        with suppress(OSError), self._gate(fcntl.LOCK_SH):
            users = self.folder / "users"
            users.mkdir(exist_ok=True)
            place = users / f"{os.getpid()}-{os.urandom(8).hex()}"
            handle = os.open(place, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            weakref.finalize(self, _leave, handle, place, os.getpid())
            fcntl.flock(handle, fcntl.LOCK_SH)

    def _in_use_since(self) -> float:
        """When the oldest process that still uses the cache began to; the files of dead ones are removed."""
        since = float("inf")
        for place in _listed(self.folder / "users"):
            with suppress(FileNotFoundError):
                handle = os.open(place, os.O_RDWR | os.O_NOFOLLOW)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    place.unlink(missing_ok=True)
                except BlockingIOError:
                    since = min(since, os.fstat(handle).st_mtime)
                finally:
                    os.close(handle)
        return since

    @contextmanager
    def _gate(self, how: int, *, needed: bool = False) -> Iterator[None]:
        # Opened each time: of one that is open, all threads would share the lock.
        handle = None
        try:
            handle = os.open(self.folder / "gate.lock", os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(handle, how)
        except OSError:
            if needed:
                if handle is not None:
                    os.close(handle)
                raise
        try:
            yield
        finally:
            if handle is not None:
                os.close(handle)


def _in_the_way(place: Path) -> UnreachableError:
    return UnreachableError(f"`{place}` in the cache is a folder, where a file is due", hint="remove it")


def _elsewhere(error: EnvparityError) -> EnvparityError:
    """The same of a cache that cannot be there: who never chose its place must be told how to choose one."""
    error.hint = "name another place for the cache in ENVPARITY_CACHE_DIR"
    return error


def _made(folder: Path) -> Path:
    return folder if folder.is_dir() else make_folder(folder)


def _touch(place: Path) -> None:
    with suppress(OSError):
        os.utime(place)


def _leave(handle: int, place: Path, process: int) -> None:
    os.close(handle)
    if os.getpid() == process:  # a fork shares the lock, and its end is not ours
        with suppress(OSError):
            place.unlink(missing_ok=True)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _damaged(place: Path) -> bool:
    try:
        if place.is_symlink():
            return True
        if place.parent.name == "notes":
            return _said(place.read_bytes()) is None
        with place.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        return not re.fullmatch("[0-9a-f]{64}", place.name) or found != place.name
    except FileNotFoundError:
        return False


_BEFORE = b'{"sha256":"%s","value":'
_BEFORE_BYTES = len(_BEFORE) - 2 + 64


def _said(data: bytes) -> bytes | None:
    """What a note says, as JSON; None where it is not what was written."""
    said = data[_BEFORE_BYTES:-1]
    whole = data[:_BEFORE_BYTES] == _BEFORE % hashlib.sha256(said).hexdigest().encode() and data[-1:] == b"}"
    return said if whole else None


class Unnamed:
    """Bytes on their way into the cache."""

    stream: BinaryIO
    sha256 = ""

    def name(self, sha256: str) -> None:
        """Keep what was written, under its digest."""
        self.sha256 = sha256
