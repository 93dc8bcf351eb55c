"""
The packages of a conda environment: which they are, the file of each, and which distributions they bring.

A distribution that conda brought is not looked up on an index: another build of it lies there. What pip put in the
place of one of conda's is pip's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from envparity.errors import RefusedError, UnsupportedError
from envparity.fetch import Fetcher
from envparity.image import conda
from envparity.image.plan import PREFIX
from envparity.image.supply import conda_wanted
from envparity.locking.asked import Asked
from envparity.resolvers import conda as channels
from envparity.resolvers import debian, interpreter, states
from envparity.resolvers.problems import Problem
from envparity.values import (
    BroughtDistribution,
    CondaPackage,
    Distribution,
    Environment,
    LockedCondaPackage,
    LockedInterpreter,
    OsPackage,
    Python,
    glibc_key,
)


@dataclass(frozen=True)
class Conda:
    """
    The conda packages of a lock, what stood for the machine, what their native files need of a base, and the oldest
    glibc that they run with. Without any, the snapshot's Python is none of conda's.
    """

    packages: tuple[LockedCondaPackage, ...] = ()
    virtual: tuple[str, ...] = ()
    sonames: frozenset[str] = field(default_factory=frozenset)
    provided: frozenset[str] = field(default_factory=frozenset)
    glibc_floor: str = ""


def installed(environment: Environment, python: Python) -> tuple[CondaPackage, ...]:
    """
    The conda packages that the snapshot's Python lies among; none where a virtual environment lies between (of that the
    interpreter alone is conda's, and it is captured like any other).
    """
    packages = tuple(item for item in environment.conda_packages or () if not item.virtual)
    is_own = python.prefix == python.base_prefix and any(item.name == "python" for item in packages)
    return packages if is_own else ()


def require_unasked(asked: Asked) -> None:
    """
    Refuse what a resolver of distributions would decide: it does not know what conda brought.

    Raises:
        UnsupportedError: something of that kind was asked for.
    """
    for options, flag in ((asked.added, "--add"), (asked.updated, "--update")):
        if options:
            raise UnsupportedError(
                f"`{flag}` is not supported yet for a conda environment",
                hint="install it there, by conda or pip, and take a new snapshot",
            )


def without_brought(
    distributions: Iterable[Distribution], packages: Iterable[CondaPackage]
) -> tuple[Distribution, ...]:
    """The distributions that no conda package brings: those of pip, editable ones, what lies on the path otherwise."""
    brought = {(name, _plain(version)) for item in packages for name, version in item.distributions}
    return tuple(item for item in distributions if not _is_brought(item, brought))


def _is_brought(item: Distribution, brought: set[tuple[str, str]]) -> bool:
    by_conda = item.installer in {"", "conda"} and not item.direct_url.startswith(("http", "git+"))
    return not item.editable and by_conda and ((item.name, _plain(item.version)) in brought or not brought)


def _plain(version: str) -> str:
    """A version as the name of a folder has it: "`-` … replaced with `_`" (recording installed packages)."""
    return version.replace("-", "_").lower()


def recovered(
    environment: Environment, packages: tuple[CondaPackage, ...], *, asked: Asked, fetcher: Fetcher, workplace: Path
) -> Conda:
    """
    The file of each package in its channel.

    Raises:
        RefusedError: of one or more there is none, or its state is below what was asked for; all of them are listed.
        IntegrityError: a channel has other bytes under the same name. UnreachableError: of channels and files.
        UnsupportedError: rattler is not installed.
    """
    if not packages:
        return Conda()
    found = channels.locked(packages, channels.channels(packages, workplace / "channels"))
    problems = [item for item in found if isinstance(item, Problem)]
    if problems:
        asked.explain(states.proofs(found))
        counted = "1 conda package" if len(problems) == 1 else f"{len(problems)} conda packages"
        raise RefusedError(
            f"{counted} cannot be locked",
            hint="settle each of them where the model is trained, and take the snapshot again",
            details=tuple(map(str, problems)),
        )
    matched = sorted((item for item in found if isinstance(item, LockedCondaPackage)), key=lambda item: item.name)
    states.require(states.proofs(matched), asked.require, asked.explain)
    files = fetcher.blobs([conda_wanted(item) for item in matched], "conda packages")
    natives = [_native(fetcher, item, file) for item, file in zip(matched, files, strict=True)]
    provided = frozenset[str]().union(*(native.provided for native in natives))
    importable = {item.name: item.import_names for item in environment.distributions or () if item.importable}
    return Conda(
        packages=tuple(_with_names(item, importable) for item in matched),
        virtual=tuple(sorted(_virtual(item) for item in environment.conda_packages or () if item.virtual)),
        sonames=frozenset[str]().union(*(native.needed for native in natives)) - provided,
        provided=provided,
        glibc_floor=max((native.glibc_floor for native in natives), key=glibc_key),
    )


def decided(
    python: Python,
    found: Conda,
    *,
    base: str,
    architecture: str,
    os_packages: Iterable[OsPackage],
    sonames: frozenset[str],
    add: Iterable[str],
    fetcher: Fetcher,
) -> interpreter.Decided:
    """
    The interpreter that a conda package brings, and a base with what no conda package does: the C library, drivers.

    Raises:
        RefusedError: the base is too old for a conda package. And what `debian.resolve_base` raises.
    """
    index = debian.read_index(base, fetcher, architecture=architecture)
    if glibc_key(found.glibc_floor) > glibc_key(index.release.glibc):
        raise RefusedError(
            f"the conda packages need glibc {found.glibc_floor}, and {base} has {index.release.glibc}",
            hint=f"name a newer base with --base: {', '.join(debian.BASES)}",
        )
    needed = (sonames | found.sonames) - found.provided
    own = debian.resolve_base(base, index=index, installed=os_packages, needed_sonames=needed, add=add)
    xy = ".".join(python.version.split(".")[:2])
    kind = LockedInterpreter(kind="conda", version=python.version, executable=f"/{PREFIX}/bin/python{xy}")
    return interpreter.Decided(kind, own.os_packages, own.substituted, own.left_out)


def _virtual(item: CondaPackage) -> str:
    return f"{item.name}={item.version}={item.build}"


def _with_names(item: LockedCondaPackage, importable: dict[str, tuple[str, ...]]) -> LockedCondaPackage:
    brought = tuple(
        BroughtDistribution(name=one.name, version=one.version, import_names=importable.get(one.name, ()))
        for one in item.distributions
    )
    return msgspec.structs.replace(item, distributions=brought)


def _native(fetcher: Fetcher, item: LockedCondaPackage, file: Path) -> conda.Native:
    """What its native files need; noted by its digest, since it follows from its bytes."""
    key = f"conda-native-1-{item.sha256}"
    noted = fetcher.cache.note(key, tuple[tuple[str, ...], tuple[str, ...], str])
    if noted is not None:
        return conda.Native(frozenset(noted[0]), frozenset(noted[1]), noted[2])
    found = conda.native_needs(file, item.file_name)
    fetcher.cache.write_note(key, (tuple(sorted(found.needed)), tuple(sorted(found.provided)), found.glibc_floor))
    return found
