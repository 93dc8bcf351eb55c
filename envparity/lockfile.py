"""A lock on disk: `pylock.toml`, and the folder of bytes that no index serves beside it."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from envparity import codec
from envparity.errors import MalformedError, RefusedError, UsageError
from envparity.files import check_target, copy, locked, make_folder, move, read_bytes, remove, translated, write_bytes
from envparity.values import Lock, LockedArtifact, LockedCondaPackage, LockedOsPackage, LockedWheel


@dataclass(frozen=True)
class Recovered:
    """
    A lock, and the bytes that lie beside it, by the name under which they lie. `before` are the bytes of the lock that
    it was made of, where it is a change of one.
    """

    lock: Lock
    artifacts: dict[str, Path | bytes]
    before: bytes | None = None


def artifacts_folder(lock_path: Path) -> Path:
    """Where the bytes that no index serves lie: `pylock.artifacts/` beside `pylock.toml`."""
    return lock_path.with_name(f"{lock_path.stem}.artifacts")


def write(recovered: Recovered, path: Path) -> None:
    """
    Write a lock and its artifacts. The artifacts come first, under names that carry their digest, so that an older lock
    at the same place stays whole until the new one takes its name; then what only that one named is removed. A wheel
    or a package has no digest in its name: one of the same bytes stays as it lies there; where another one lies there
    the new one waits beside it, and the two change places just before the lock does; the older is put back if anything
    fails, and by the next lock if the process was killed.

    Of two that write at once one waits for the other, by the hidden file `.pylock.toml.lock` beside the lock. It is
    empty and stays: whoever removed it would let a third one in beside a second that still waits for it.
    """
    check_name(path)
    check_target(path)
    folder = artifacts_folder(path)
    was_there = folder.exists()
    made = _with_paths(recovered.lock, folder.name)
    new = codec.dump_lock(made)
    with locked(path.with_name(f".{path.name}.lock")):
        make_folder(folder)
        older, data = _lock_at(path, made, new)
        _settle(folder, path, older)
        held = {place.name for place in folder.iterdir() if not place.is_symlink()}  # a link is nobody's artifact
        needed = {name: source for name, source in recovered.artifacts.items() if not _holds(folder / name, source)}
        waiting = [name for name in needed if name in held and name.endswith(_NO_DIGEST)]
        try:
            for name, source in needed.items():
                place = folder / (f".{name}{_NEW}" if name in waiting else name)
                if place.is_symlink():
                    remove(place)
                if isinstance(source, bytes):
                    write_bytes(place, source)
                else:
                    copy(source, place)
            text = _text(path, made, new, older, data, recovered.before)
            for name in waiting:
                move(folder / name, folder / f".{name}{_BEFORE}")
                move(folder / f".{name}{_NEW}", folder / name)
            write_bytes(path, text.encode())
        except BaseException:
            for name in waiting:
                if (folder / f".{name}{_BEFORE}").exists():
                    move(folder / f".{name}{_BEFORE}", folder / name)
                remove(folder / f".{name}{_NEW}")
            for name in recovered.artifacts.keys() - held:
                remove(folder / name)
            if not was_there:
                with suppress(OSError):
                    folder.rmdir()
            raise
        replaced = {artifact.name for artifact in artifacts(older)} if older is not None else set()
        for name in (*(replaced - recovered.artifacts.keys()), *(f".{name}{_BEFORE}" for name in waiting)):
            remove(folder / name)


_NO_DIGEST = (".whl", ".deb", ".conda", ".tar.bz2")
"""The ends of names that say nothing of the content."""

_NEW, _BEFORE = ".new", ".before"
_PART = re.compile(r"\..+\.[a-z0-9_]{8}\.part\Z")
"""What `files.replacing` writes before it takes its name."""


def _holds(place: Path, wanted: Path | bytes) -> bool:
    """Whether a regular file with these bytes lies there."""
    if place.is_symlink() or not place.is_file():
        return False
    try:
        if isinstance(wanted, Path):
            return _are_equal(place, wanted)
        return place.stat().st_size == len(wanted) and place.read_bytes() == wanted
    except OSError:
        return False  # it is written anew, and what stands in the way is told then


def _are_equal(left: Path, right: Path) -> bool:
    """Whether two files have the same bytes. `filecmp` reads 8 KiB at a time, and takes three times as long."""
    if left.stat().st_size != right.stat().st_size:
        return False
    with left.open("rb") as one, right.open("rb") as other:
        while (block := one.read(_BLOCK_BYTES)) == other.read(_BLOCK_BYTES):
            if not block:
                return True
    return False


_BLOCK_BYTES = 1 << 20


def _settle(folder: Path, path: Path, lock: Lock | None) -> None:
    """
    Bring what a killed process left to the state in which it found it: half files go, and a wheel that had been set
    aside comes back, unless the lock that lies there already is the one of the new wheel.
    """
    known = {artifact.name: artifact.sha256 for artifact in artifacts(lock)} if lock is not None else {}
    for place in list(folder.iterdir()):
        name = place.name
        if not name.startswith(".") or place.is_symlink() or not place.is_file():
            continue
        if name.endswith(_BEFORE) and name.removesuffix(_BEFORE).endswith(_NO_DIGEST):
            wheel = folder / name[1 : -len(_BEFORE)]
            if wheel.is_file() and known.get(wheel.name) == _sha256(wheel):
                remove(place)
            else:
                move(place, wheel)
        elif (name.endswith(_NEW) and name.removesuffix(_NEW).endswith(_NO_DIGEST)) or _PART.match(name):
            remove(place)
    for place in path.parent.glob(f".{glob.escape(path.name)}.????????.part"):
        remove(place)


def _sha256(place: Path) -> str:
    try:
        with place.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise translated(error, f"read `{place}`") from error


def _text(path: Path, made: Lock, new: str, there: Lock | None, data: bytes, before: bytes | None) -> str:
    """
    The text of a lock (`new`), with the comments that people wrote into the one that lies there.

    Raises:
        RefusedError: they were written into another layout, so that nobody knows where they belong; or the file is not
            the one any more that the lock was made of.
    """
    if there is None:
        return new
    if before is not None and data != before and there.snapshot == made.snapshot:
        raise RefusedError(f"`{path}` was changed meanwhile", hint="start the command again")
    text = data.decode()
    if text == new or "#" not in text:
        return new
    from envparity.codec.merged import merged

    found = merged(text, codec.dump_lock(there), new)
    if found is not None and codec.load_lock(found.encode(), f"lock `{path}`") == made:
        return found
    if any(line.lstrip().startswith("#") for line in text.splitlines()):
        raise RefusedError(
            f"`{path}` was laid out by hand, so its comments cannot be kept",
            hint="write to another file with `-o`, and bring the comments over",
        )
    return new


def _with_paths(lock: Lock, folder: str) -> Lock:
    """The same, with the place of each wheel that lies beside it, so that uv and pip find it too."""
    replace = msgspec.structs.replace
    return replace(
        lock,
        distributions=tuple(
            replace(item, wheels=tuple(replace(wheel, path=f"{folder}/{wheel.name}") for wheel in item.wheels))
            if item.repacked is not None or lock.bundled
            else item
            for item in lock.distributions
        ),
    )


def _lock_at(path: Path, made: Lock, new: str) -> tuple[Lock | None, bytes]:
    """
    The lock that lies there, with its bytes; none where it is not there, or is no lock of ours. It is parsed only where
    its text is not that of the new one.
    """
    if _holds(path, new.encode()):
        return made, new.encode()
    try:
        return read(path)
    except (MalformedError, UsageError):
        return None, b""


def artifacts(lock: Lock) -> Iterator[LockedArtifact | LockedWheel]:
    """
    What lies beside a lock, each once: what no index serves, and of one that is bundled everything that it names.
    """
    yield from dict.fromkeys(_artifacts(lock))  # two platforms share what is for all of them


def _artifacts(lock: Lock) -> Iterator[LockedArtifact | LockedWheel]:
    yield lock.snapshot
    for target in lock.targets:
        if target.interpreter.artifact is not None:
            yield target.interpreter.artifact
        if target.image is not None and (lock.bundled or not target.lies_in_registry):
            yield from (layer.artifact for layer in target.image.layers)
    for item in lock.distributions:
        if item.repacked is not None or lock.bundled:
            yield from item.wheels
    if lock.bundled:
        os_packages = [item for target in lock.targets for item in target.os_packages]
        conda_packages = [item for target in lock.targets for item in target.conda_packages]
        yield from map(_beside, os_packages)
        yield from map(_beside, conda_packages)


def _beside(item: LockedOsPackage | LockedCondaPackage) -> LockedArtifact:
    return LockedArtifact(name=item.beside, size_bytes=item.size_bytes, sha256=item.sha256)


def check_name(path: Path) -> None:
    """
    Refuse a name that the standard does not allow, and that uv and pip would not read.

    "The file name MUST be named pylock.toml or match the regular expression ^pylock\\.([^.]+)\\.toml$"
    (https://packaging.python.org/specifications/pylock-toml/#file-name).
    """
    if not is_lock_name(path):
        raise UsageError(
            f"a lock cannot be called `{path.name}`",
            hint="call it `pylock.toml`, or `pylock.NAME.toml` without dots in NAME",
        )


def is_lock_name(path: Path) -> bool:
    """Whether the standard, and so uv and pip, take a file of this name for a lock."""
    from packaging.pylock import is_valid_pylock_path

    return bool(is_valid_pylock_path(path))


def read(path: Path) -> tuple[Lock, bytes]:
    """A lock from its file, with the bytes of that file."""
    data = read_bytes(path, limit=64 << 20, what="lock")
    if not is_lock_name(path):
        raise UsageError(
            f"`{path}` is not called as a lock is: pylock.toml, or pylock.NAME.toml",
            hint=f"lock it first: `envparity lock {path.name} -o pylock.toml`",
        )
    return codec.load_lock(data, f"lock `{path}`"), data
