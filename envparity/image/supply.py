"""
From a lock and what lies on this machine to the bytes of an image: what `build` packs and `verify` holds against.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from envparity import platforms
from envparity.cache import Cache
from envparity.errors import IntegrityError, UnreachableError, UnsupportedError, UsageError
from envparity.fetch import Fetcher, Wanted
from envparity.files import translated
from envparity.image.layout import LAYOUT
from envparity.values import (
    Lock,
    LockedArtifact,
    LockedCondaPackage,
    LockedDistribution,
    LockedModel,
    LockedOsPackage,
    LockedWheel,
    Options,
    Target,
)

if TYPE_CHECKING:
    from envparity.image.bytecode import Bytecode
    from envparity.image.contents import Supplies

Mirrors = Callable[[Target, LockedOsPackage, Mapping[str, str]], Wanted]
"""A package of a target as something to fetch, with the mirrors that are configured: they are no part of a lock."""


def the_target(lock: Lock) -> Target:
    """
    The one target of a lock that was `platforms.selected`, and that this version can make an image of.

    Raises:
        UnsupportedError: it was made for other rules of what goes where.
    """
    if lock.packer.layout != LAYOUT:
        raise UnsupportedError(
            f"the lock is for layout {lock.packer.layout} of an image, and this version lays out by {LAYOUT}",
            hint="lock again with this version, or build with the version that locked",
        )
    (target,) = lock.targets
    return target


def completed(
    options: Options, models: Sequence[Path], application: Path | None, recorded: Mapping[str, LockedModel] = {}
) -> Options:
    """
    The options with the digests of what lies on this machine: models and application. `recorded` models are those of
    the lock, by name.

    Raises:
        UsageError: a model is neither file nor folder, or two have one name.
    """
    from envparity.image import app, model

    read = tuple(model.read(path, recorded.get(path.name)) for path in models)
    if len({item.name for item in read}) != len(read):
        raise UsageError("two models have the same file name, and a model lies in the image under its name")
    digest = app.app_digest(application) if application is not None else None
    return msgspec.structs.replace(options, models=read, app=digest)


def check_models(read: Sequence[LockedModel], lock: Lock) -> None:
    """
    Hold the models on this machine against those that the lock's snapshot knew.

    Raises:
        IntegrityError: one is not among them. UsageError: a recorded one has another name.
    """
    known = {item.name: item for item in lock.models}
    by_content = {item.sha256: item.name for item in lock.models}
    for item in read:
        if item.name not in known and item.sha256 in by_content:
            raise UsageError(
                f"model `{item.name}` was called `{by_content[item.sha256]}` when the snapshot was taken, and the"
                " image holds it under that name",
                hint=f"name it `{by_content[item.sha256]}`, or take the snapshot of `{item.name}` and lock it",
            )
        promised = known.get(item.name)
        if lock.models and (promised is None or promised.sha256 != item.sha256):
            found = f": its sha256 is {item.sha256}, and {promised.sha256} was recorded" if promised else ""
            raise IntegrityError(
                f"model `{item.name}` is not the one that the lock's snapshot knew{found}",
                hint=f"build with the recorded one ({', '.join(sorted(known))}), or lock a snapshot of this one",
            )


def wheel_wanted(item: LockedDistribution) -> Wanted:
    """The wheel of a locked distribution that an index serves, as something to fetch."""
    hint = f"ask who keeps that place for it; or lock again: `--repack {item.name}` packs it from where it is installed"
    return Wanted(item.wheel.name, (item.wheel.url,), item.wheel.sha256, item.wheel.size_bytes, hint=hint)


def conda_wanted(item: LockedCondaPackage) -> Wanted:
    """The file of a locked conda package, as something to fetch."""
    return Wanted(item.file_name, (item.url,), item.sha256, item.size_bytes)


def supply(
    lock: Lock,
    lock_bytes: bytes,
    artifacts: Path,
    *,
    fetcher: Fetcher,
    mirrors: Mirrors,
    models: Mapping[str, Path] | None = None,
    application: Path | None = None,
    first: Callable[[str], bool] = lambda sha256: True,
    path: Sequence[str] = (),
    compiled_by: str = "",
) -> Supplies:
    """
    Every byte that the lock promises, at hand and checked: from the cache, its place, or the folder of artifacts.

    Args:
        first: says of each sha256 whether its file is fetched at once; any other is when it is asked for.
        path: folders in which a Python may lie that can byte-compile (PATH).
        compiled_by: the version of the Python that byte-compiles, where no other will do.

    Raises:
        UnreachableError: something cannot be had. IntegrityError: something is not what was locked.
    """
    from envparity.image.contents import Supplies

    target = the_target(lock)
    wanted = {item.beside: mirrors(target, item, fetcher.mirrors) for item in target.os_packages}
    wanted |= {item.beside: conda_wanted(item) for item in target.conda_packages}
    wanted |= {item.wheel.name: wheel_wanted(item) for item in lock.distributions if item.repacked is None}
    lines = _lines(lock_bytes)
    wanted = {name: dataclasses.replace(item, where=lines.get(item.sha256, "")) for name, item in wanted.items()}
    lying = [name for name in wanted if (artifacts / name).exists()] if lock.bundled else []
    fetched = {item.sha256: item for name, item in wanted.items() if name not in lying}
    beside: dict[str, Callable[[], Path]] = {
        wanted[name].sha256: functools.partial(_checked, artifacts / name, wanted[name]) for name in lying
    }
    made_here = [item.wheel for item in lock.distributions if item.repacked is not None]
    for artifact in (lock.snapshot, target.interpreter.artifact, *made_here):
        if artifact is not None:
            beside[artifact.sha256] = functools.partial(artifact_in, artifacts, artifact)
    files = _Files(fetcher, fetched, beside)
    files.take(first)
    bytecode = compiler(lock, target, fetcher.cache, path, compiled_by)
    return Supplies(lock, target, lock_bytes, files, models or {}, application, bytecode=bytecode)


def _lines(lock_bytes: bytes) -> dict[str, str]:
    """In which line of a lock each sha256 stands."""
    found: dict[str, str] = {}
    line, counted = 1, 0
    for match in re.finditer(rb'"([0-9a-f]{64})"', lock_bytes):
        line += lock_bytes.count(b"\n", counted, match.start())
        counted = match.start()
        found.setdefault(match[1].decode(), f"line {line} of the lock")
    return found


def compiler(lock: Lock, target: Target, cache: Cache, path: Sequence[str], compiled_by: str = "") -> Bytecode | None:
    """
    What byte-compiles for a target, where its lock asks for that; by its own Python too, where that runs here. With
    `compiled_by`, a Python of that version and no other.
    """
    if lock.bytecode == "none":
        return None
    from envparity.image.bytecode import Bytecode

    version = target.interpreter.version
    return Bytecode(
        cache,
        compiled_by or version,
        path=path,
        executable=target.interpreter.executable,
        architecture=target.platform.partition("/")[2],
        # Of a base that is an image no file is at hand.
        starts=target.platform == platforms.here() and compiled_by in ("", version),
        exact=bool(compiled_by),
    )


class _Files(Mapping[str, Path]):
    """The file of each sha256, checked when it is taken, and fetched where it has to be."""

    def __init__(
        self, fetcher: Fetcher, fetched: Mapping[str, Wanted], beside: Mapping[str, Callable[[], Path]]
    ) -> None:
        self._fetcher = fetcher
        self._fetched = fetched
        self._beside = beside
        self._taken: dict[str, Path] = {}
        self._taking = threading.Lock()

    def take(self, wanted: Callable[[str], bool]) -> None:
        """Several at once, which takes less time than one after the other."""
        self._taken |= {sha256: take() for sha256, take in self._beside.items() if wanted(sha256)}
        items = [item for sha256, item in self._fetched.items() if wanted(sha256)]
        self._taken |= dict(zip((item.sha256 for item in items), self._fetcher.blobs(items), strict=True))

    def __getitem__(self, sha256: str) -> Path:
        if sha256 not in self._fetched and sha256 not in self._beside:
            raise KeyError(sha256)
        with self._taking:
            if sha256 not in self._taken:
                self.take(sha256.__eq__)
            return self._taken[sha256]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._fetched, **self._beside})

    def __len__(self) -> int:
        return len({**self._fetched, **self._beside})


def artifact_in(folder: Path, artifact: LockedArtifact | LockedWheel) -> Path:
    """
    The file of an artifact in the folder beside a lock, checked.

    Raises:
        UnreachableError: it is not there. IntegrityError: it is a link, or not the file that was locked.
    """
    if Path(artifact.name).name != artifact.name:
        raise IntegrityError(f"the artifact `{artifact.name}` is not a plain file name")
    return _checked(folder / artifact.name, artifact)


def _checked(path: Path, artifact: LockedArtifact | LockedWheel | Wanted) -> Path:
    if path.is_symlink():
        raise IntegrityError(f"`{path}` is a symbolic link, which is not followed", hint="copy the file itself there")
    if not path.is_file():
        raise UnreachableError(
            f"`{path.name}` is missing: it should lie in `{path.parent}`",
            hint="copy the folder of artifacts along with the lock, or make both again with `envparity lock`",
        )
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise translated(error, f"read the artifact `{path}`") from error
    if digest != artifact.sha256:
        raise IntegrityError(
            f"`{path}` is not the file that was locked: expected sha256 {artifact.sha256}, got {digest}"
        )
    return path
