"""
Content-addressed blobs on disk. Nothing gets its name before its digest was checked, so what has a name is whole.

Layout: `blobs/sha256/ab/abcdef…` for bytes, `notes/KEY.json` for small results by key. Safe for concurrent processes:
a blob is written beside its place and renamed, and two writers of one blob write the same bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

from envparity.errors import IntegrityError, UnreachableError, UsageError
from envparity.files import make_folder, private_folder, replacing, translated, write_bytes

T = TypeVar("T")

_MARK = "Signature: 8a477f597d28d172789f06886806bc55\n# This file is a cache directory tag of envparity.\n"


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

    def blob(self, sha256: str) -> Path | None:
        """The file with these bytes, if it is here. It was checked when it came; `checked_blob` checks it again."""
        self._require_own()
        place = self._place(sha256)
        return place if place.is_file() else None

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

    @contextmanager
    def writing(self) -> Iterator[Unnamed]:
        """Write bytes whose digest is known at the end: `.stream` takes them, `.name(sha256)` keeps them."""
        incoming = self._folder("incoming") / f"{os.getpid()}-{os.urandom(8).hex()}"
        unnamed = Unnamed()
        try:
            with replacing(incoming) as stream:
                unnamed.stream = stream
                yield unnamed
            if unnamed.sha256:
                place = self._place(unnamed.sha256)
                make_folder(place.parent)
                incoming.replace(place)
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
        try:
            return msgspec.json.decode((self.folder / "notes" / f"{key}.json").read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def write_note(self, key: str, value: object) -> None:
        """Note a small JSON value."""
        write_bytes(self._folder("notes") / f"{key}.json", msgspec.json.encode(value, order="sorted"))

    def _place(self, sha256: str) -> Path:
        return self.folder / "blobs" / "sha256" / sha256[:2] / sha256

    def _require_own(self) -> None:
        # What lies in the cache is trusted, notes more than blobs: nobody else may put something there.
        try:
            found = self.folder.stat()
        except FileNotFoundError:
            return
        except OSError as error:
            raise translated(error, f"use the cache `{self.folder}`") from error
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            fault = "belongs to another user" if found.st_uid != os.geteuid() else "can be written by other users"
            raise UnreachableError(
                f"the cache `{self.folder}` {fault}, so what lies in it cannot be trusted",
                hint="name a folder of your own in ENVPARITY_CACHE_DIR, or take the right from others: chmod go-w",
            )

    def _folder(self, name: str) -> Path:
        self._require_own()
        if not self.folder.is_dir():
            make_folder(self.folder, mode=0o700)
            write_bytes(self.folder / "CACHEDIR.TAG", _MARK.encode())
        return make_folder(self.folder / name)


class Unnamed:
    """Bytes on their way into the cache."""

    stream: BinaryIO
    sha256 = ""

    def name(self, sha256: str) -> None:
        """Keep what was written, under its digest."""
        self.sha256 = sha256
