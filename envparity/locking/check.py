"""
Whether a lock still is what it was made of (`--check`): asked of its own file, the artifacts beside it and the
snapshot that it names, and of no network.
"""

from __future__ import annotations

__all__ = ["Checked", "check"]

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from envparity import codec, lockfile
from envparity.compare.versions import same_version
from envparity.errors import EnvparityError, ExitStatus, UnsupportedError, worst
from envparity.files import read_bytes, translated
from envparity.values import Basis, Distribution, Environment, Lock, LockedArtifact, LockedWheel

_SHOWN = 20
_SECTIONS = (
    ("python", "Python"),
    ("system", "the system"),
    ("os_packages", "OS packages"),
    ("conda_packages", "conda packages"),
    ("native_libraries", "native libraries"),
    ("settings", "settings"),
    ("cpu", "the processor"),
    ("accelerators", "accelerators"),
    ("artifacts", "models"),
    ("gaps", "what could not be read"),
)


@dataclass(frozen=True)
class Checked:
    """What a check found: lines for a person, and the exit status that they add up to."""

    lines: tuple[str, ...]
    status: ExitStatus


def check(path: Path, environment: Environment | None = None, reference: str = "") -> Checked:
    """
    Hold a lock against the artifacts beside it, and against its snapshot: this one, or the one that it keeps.

    Status 1 says that the snapshot is another one by now, 3 that an artifact is missing, 5 that one is not the file
    that was locked.

    Raises:
        MalformedError: the lock was cut or edited. UsageError: it is no lock of ours. UnsupportedError: `environment`
        is no snapshot.
    """
    lock, _ = lockfile.read(path)
    if environment is not None and (environment.python is None or environment.python.basis is not Basis.INSTALLED):
        raise UnsupportedError(
            f"`{reference}` is no snapshot, and --check holds a lock against one",
            hint="name a saved snapshot or a live environment; or the lock alone: `envparity lock pylock.toml --check`",
        )
    folder = lockfile.artifacts_folder(path)
    faults = [fault for artifact in lockfile.artifacts(lock) if (fault := _fault(folder, artifact)) is not None]
    broken = {name for name, _, _ in faults}
    kept = None if lock.snapshot.name in broken else _kept(folder / lock.snapshot.name)
    if environment is not None:
        differences = list(_since(lock, kept, environment, reference))
    else:
        differences = list(_within(lock, kept)) if kept is not None else []
    statuses = [status for _, _, status in faults]
    if differences:
        statuses.append(ExitStatus.FINDINGS)
    lines = [*(line for _, line, _ in faults), *differences[:_SHOWN]]
    if len(differences) > _SHOWN:
        lines.append(f"and {len(differences) - _SHOWN} more")
    status = worst(*statuses)
    return Checked((_verdict(path, lock, status, reference), *(f"  {line}" for line in lines)), status)


def _verdict(path: Path, lock: Lock, status: ExitStatus, reference: str) -> str:
    if status is ExitStatus.OK:
        count = len(list(lockfile.artifacts(lock)))
        against = f"`{reference}`" if reference else f"its snapshot {lock.snapshot.sha256[:12]}"
        return (
            f"{path} matches {against}: {len(lock.distributions)} distributions,"
            f" {count} {'artifact' if count == 1 else 'artifacts'} beside it"
        )
    if status is ExitStatus.FINDINGS:
        return f"{path} does not match {f'`{reference}`' if reference else 'its snapshot'} any more"
    return f"{path} is not whole"


def _fault(folder: Path, artifact: LockedArtifact | LockedWheel) -> tuple[str, str, ExitStatus] | None:
    place = folder / artifact.name
    if place.is_symlink():
        return artifact.name, f"{place}: is a symbolic link, which is not followed", ExitStatus.INTEGRITY
    if not place.is_file():
        return artifact.name, f"{place}: is missing; copy it along with the lock", ExitStatus.UNFINISHED
    try:
        with place.open("rb") as stream:
            size_bytes = place.stat().st_size
            if size_bytes != artifact.size_bytes:
                line = f"{place}: has {size_bytes:,} bytes, and {artifact.size_bytes:,} were locked"
                return artifact.name, line, ExitStatus.INTEGRITY
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise translated(error, f"read the artifact `{place}`") from error
    if digest != artifact.sha256:
        line = f"{place}: is not the file that was locked: sha256 {digest[:12]}…, and {artifact.sha256[:12]}… is due"
        return artifact.name, line, ExitStatus.INTEGRITY
    return None


def _kept(place: Path) -> Environment | None:
    try:
        return codec.load_environment(read_bytes(place, what="snapshot"), f"`{place}`")
    except EnvparityError:
        return None  # a later version wrote it; its digest was right, and that is what counts


def _since(lock: Lock, kept: Environment | None, environment: Environment, reference: str) -> Iterator[str]:
    """What is different in a snapshot from the one that was locked."""
    digest = codec.content_digest(environment).removeprefix("sha256:")
    if digest == lock.snapshot.sha256:
        return
    yield f"the snapshot that was locked is {lock.snapshot.sha256[:12]}, and `{reference}` is {digest[:12]}"
    if kept is None:
        return
    content = codec.content(environment)
    before, after = _by_name(kept), _by_name(content)
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield f"{name} {before[name].version} was removed since"
        elif name not in before:
            yield f"{name} {after[name].version} was added since"
        elif before[name].version != after[name].version:
            yield f"{name} {before[name].version} -> {after[name].version}"
        elif before[name] != after[name]:
            yield f"{name} {after[name].version} is not the same build or has not the same files"
    for section, words in _SECTIONS:
        if section == "artifacts" and kept.artifacts and not content.artifacts:
            yield f"models: `{reference}` names none, and the lock has some; `--model` names them"
        elif getattr(kept, section) != getattr(content, section):
            yield f"{words}: not as when it was locked (`envparity diff` says what)"


def _within(lock: Lock, kept: Environment) -> Iterator[str]:
    """Where a lock and the snapshot that it keeps contradict each other, and nothing in the lock says why."""
    if kept.python is None or kept.python.basis is not Basis.INSTALLED:
        return
    recorded = _by_name(kept)
    declared = {item.name for target in lock.targets for item in target.left_out}
    declared |= {each.name for target in lock.targets for item in target.conda_packages for each in item.distributions}
    locked = {item.name: item for item in lock.distributions}
    for name, item in locked.items():
        if item.added is not None:
            continue
        if name not in recorded:
            yield f"{name} {item.version} is locked, and its snapshot has none"
        elif not same_version(recorded[name].version, item.version):  # a lock writes `2024.05.06` as `2024.5.6`
            yield f"{name} {item.version} is locked, and its snapshot has {recorded[name].version}"
    for name in sorted(recorded.keys() - locked.keys() - declared):
        yield f"{name} {recorded[name].version} is in its snapshot, and not locked"


def _by_name(environment: Environment) -> Mapping[str, Distribution]:
    return {item.name: item for item in environment.distributions or () if item.importable and not item.tooling}
