"""A lock on disk: `pylock.toml`, and the folder of bytes that no index serves beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from envparity import codec
from envparity.codec.merged import merged
from envparity.errors import MalformedError, RefusedError, UsageError
from envparity.files import check_target, copy, locked, make_folder, move, read_bytes, remove, write_bytes
from envparity.values import Lock, LockedArtifact, LockedWheel


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
    has no digest in its name: where another one lies there it is set aside, and put back if anything fails.

    Of two that write at once one waits for the other, by the hidden file `.pylock.toml.lock` beside the lock. It is
    empty and stays: whoever removed it would let a third one in beside a second that still waits for it.
    """
    check_name(path)
    check_target(path)
    folder = artifacts_folder(path)
    was_there = folder.exists()
    with locked(path.with_name(f".{path.name}.lock")):
        make_folder(folder)
        replaced = _artifacts_of(path)
        held = {place.name for place in folder.iterdir()}
        set_aside = [name for name in recovered.artifacts if name in held and name.endswith(".whl")]
        try:
            for name in set_aside:
                move(folder / name, folder / f".{name}.before")
            for name, source in recovered.artifacts.items():
                if isinstance(source, bytes):
                    write_bytes(folder / name, source)
                else:
                    copy(source, folder / name)
            write_bytes(path, _text(path, _with_paths(recovered.lock, folder.name), recovered.before).encode())
        except BaseException:
            for name in set_aside:
                if (folder / f".{name}.before").exists():
                    move(folder / f".{name}.before", folder / name)
            for name in recovered.artifacts.keys() - held:
                remove(folder / name)
            if not was_there:
                with suppress(OSError):
                    folder.rmdir()
            raise
        for name in (*(replaced - recovered.artifacts.keys()), *(f".{name}.before" for name in set_aside)):
            remove(folder / name)


def _text(path: Path, lock: Lock, before: bytes | None) -> str:
    """
    The text of a lock, with the comments that people wrote into the one that lies there.

    Raises:
        RefusedError: they were written into another layout, so that nobody knows where they belong; or the file is not
            the one any more that the lock was made of.
    """
    new = codec.dump_lock(lock)
    try:
        there, data = read(path) if path.exists() else (None, b"")
    except (MalformedError, UsageError):
        return new
    if before is not None and there is not None and data != before and there.snapshot == lock.snapshot:
        raise RefusedError(f"`{path}` was changed meanwhile", hint="start the command again")
    text = data.decode()
    if there is None or "#" not in text:
        return new
    found = merged(text, codec.dump_lock(there), new)
    if found is not None and codec.load_lock(found.encode(), f"lock `{path}`") == lock:
        return found
    if any(line.lstrip().startswith("#") for line in text.splitlines()):
        raise RefusedError(
            f"`{path}` was laid out by hand, so its comments cannot be kept",
            hint="write to another file with `-o`, and bring the comments over",
        )
    return new


def _with_paths(lock: Lock, folder: str) -> Lock:
    """The same, with the place of each wheel that was made here, so that uv and pip find it too."""
    replace = msgspec.structs.replace
    return replace(
        lock,
        distributions=tuple(
            item
            if item.repacked is None
            else replace(item, wheels=tuple(replace(wheel, path=f"{folder}/{wheel.name}") for wheel in item.wheels))
            for item in lock.distributions
        ),
    )


def _artifacts_of(path: Path) -> set[str]:
    """The names of the artifacts of the lock that lies there; none where it is not there, or is no lock of ours."""
    try:
        lock, _ = read(path)
    except (MalformedError, UsageError):
        return set()
    return {artifact.name for artifact in artifacts(lock)}


def artifacts(lock: Lock) -> Iterator[LockedArtifact | LockedWheel]:
    """What lies beside a lock, since no index serves it."""
    yield lock.snapshot
    for target in lock.targets:
        if target.interpreter.artifact is not None:
            yield target.interpreter.artifact
    for item in lock.distributions:
        if item.repacked is not None:
            yield from item.wheels


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
            hint="make a lock of a snapshot first: `envparity lock model.env.json -o pylock.toml`",
        )
    return codec.load_lock(data, f"lock `{path}`"), data
