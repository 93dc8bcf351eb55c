"""
From a lock and what lies on this machine to the bytes of an image: what `build` packs and `verify` holds against.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from envparity.errors import IntegrityError, UnreachableError, UnsupportedError, UsageError
from envparity.fetch import Fetcher, Wanted
from envparity.files import translated
from envparity.image import app
from envparity.image.contents import LAYOUT, Supplies
from envparity.oci.entries import shown
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

Mirrors = Callable[[LockedOsPackage], tuple[str, ...]]
"""Where a package may be fetched from; mirrors are configuration, and never part of a lock."""


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


def completed(options: Options, models: Sequence[Path], application: Path | None, lock: Lock) -> Options:
    """
    The options with the digests of what lies on this machine: models and application.

    Raises:
        IntegrityError: a model is not one that the lock's snapshot knew.
        UsageError: a model is no file, two have one name, or a recorded one has another name.
    """
    read = tuple(_read_model(path) for path in models)
    known = {model.name: model for model in lock.models}
    by_content = {model.sha256: model.name for model in lock.models}
    for model in read:
        if model.name not in known and model.sha256 in by_content:
            raise UsageError(
                f"model `{model.name}` was called `{by_content[model.sha256]}` when the snapshot was taken, and the"
                " image holds it under that name",
                hint=f"name the file `{by_content[model.sha256]}`, or take the snapshot of `{model.name}` and lock it",
            )
        promised = known.get(model.name)
        if lock.models and (promised is None or promised.sha256 != model.sha256):
            found = f": its sha256 is {model.sha256}, and {promised.sha256} was recorded" if promised else ""
            raise IntegrityError(
                f"model `{model.name}` is not the one that the lock's snapshot knew{found}",
                hint=f"build with the recorded one ({', '.join(sorted(known))}), or lock a snapshot of this one",
            )
    if len({model.name for model in read}) != len(read):
        raise UsageError("two models have the same file name, and a model lies in the image under its name")
    digest = app.app_digest(application) if application is not None else None
    return msgspec.structs.replace(options, models=read, app=digest)


def _read_model(path: Path) -> LockedModel:
    if not path.name.isprintable():  # a byte that is no UTF-8 is not printable either
        raise UsageError(f"model `{shown(str(path))}` has a name that no image can carry", hint="rename the file")
    try:
        if not path.is_file():
            fault = "is a folder" if path.is_dir() else "does not exist"
            raise UsageError(f"model `{path}` {fault}", hint="name the model's file with `--model`")
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return LockedModel(name=path.name, size_bytes=stream.tell(), sha256=digest)
    except OSError as error:
        raise translated(error, f"read the model `{path}`") from error


def wheel_wanted(item: LockedDistribution) -> Wanted:
    """The wheel of a locked distribution that an index serves, as something to fetch."""
    return Wanted(item.wheel.name, (item.wheel.url,), item.wheel.sha256, item.wheel.size_bytes)


def conda_wanted(item: LockedCondaPackage) -> Wanted:
    """The file of a locked conda package, as something to fetch."""
    return Wanted(item.file_name, (item.url,), item.sha256, item.size_bytes)


def package_wanted(item: LockedOsPackage, mirrors: Mirrors) -> Wanted:
    """A locked package of the base, as something to fetch."""
    return Wanted(f"{item.name} {item.version}", mirrors(item), item.sha256, item.size_bytes)


def supply(
    lock: Lock,
    lock_bytes: bytes,
    artifacts: Path,
    *,
    fetcher: Fetcher,
    mirrors: Mirrors,
    models: Mapping[str, Path] | None = None,
    application: Path | None = None,
) -> Supplies:
    """
    Every byte that the lock promises, at hand and checked: from the cache, its place, or the folder of artifacts.

    Raises:
        UnreachableError: something cannot be had. IntegrityError: something is not what was locked.
    """
    target = the_target(lock)
    wanted = {item.beside: package_wanted(item, mirrors) for item in target.os_packages}
    wanted |= {item.beside: conda_wanted(item) for item in target.conda_packages}
    wanted |= {item.wheel.name: wheel_wanted(item) for item in lock.distributions if item.repacked is None}
    lying = [name for name in wanted if (artifacts / name).exists()] if lock.bundled else []
    files = {wanted[name].sha256: _checked(artifacts / name, wanted[name]) for name in lying}
    fetched = [item for name, item in wanted.items() if name not in lying]
    files |= dict(zip((item.sha256 for item in fetched), fetcher.blobs(fetched), strict=True))
    made_here = [item.wheel for item in lock.distributions if item.repacked is not None]
    for artifact in (lock.snapshot, target.interpreter.artifact, *made_here):
        if artifact is not None:
            files[artifact.sha256] = artifact_in(artifacts, artifact)
    return Supplies(lock, target, lock_bytes, files, models or {}, application)


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
