"""What the bytes of a locked wheel say: the shared objects that it expects, and the names that a model may use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from envparity.collectors.metadata import headers_of
from envparity.collectors.records import Record
from envparity.errors import MalformedError
from envparity.fetch import Fetcher
from envparity.image import wheels, zips
from envparity.values import Artifact, LockedDistribution


def with_short_names(item: LockedDistribution, file: Path, artifacts: Iterable[Artifact]) -> LockedDistribution:
    """
    The same, with the short names under which a model refers to its extension modules: Cython gives a class of
    `sklearn._loss._loss` the module `_loss`, and registers that name once the package is imported.
    """
    short = {module for artifact in artifacts for module in artifact.modules if "." not in module}
    if not short or item.wheel.name.endswith("-none-any.whl"):
        return item
    stems = {name.rpartition(".")[2] for name in wheels.extension_modules(file) if "." in name}
    added = (short & stems) - set(item.import_names)
    return msgspec.structs.replace(item, import_names=tuple(sorted({*item.import_names, *added})))


@dataclass(frozen=True)
class Inside:
    """What a wheel says of itself: the names that it can be imported by, and its `Requires-Dist`, as they stand."""

    import_names: tuple[str, ...]
    requires: tuple[str, ...]


def inside(fetcher: Fetcher, item: LockedDistribution, file: Path) -> Inside:
    """
    What RECORD and METADATA of a wheel say, for a distribution that was installed nowhere; noted by its digest.

    Raises:
        MalformedError: the wheel is damaged, or lacks one of them.
    """

    def read() -> list[str]:
        found = {}
        for member in zips.members(file, item.wheel.name):
            folder, _, name = member.name.rpartition("/")
            if name in {"RECORD", "METADATA"} and folder.endswith(".dist-info") and "/" not in folder:
                with member.open() as stream:
                    found[name] = stream.read().decode("utf-8", "surrogateescape")
        if len(found) != 2:
            raise MalformedError(f"`{item.wheel.name}` has no {'METADATA' if 'RECORD' in found else 'RECORD'}")
        names = Record(found["RECORD"]).import_names()
        requires = [value for key, value in headers_of(found["METADATA"]) if key == "requires-dist"]
        return [*names, "", *requires]

    noted = _noted(fetcher, f"inside-1-{item.wheel.sha256}", read)
    end = noted.index("")
    return Inside(tuple(noted[:end]), tuple(noted[end + 1 :]))


def needs(fetcher: Fetcher, item: LockedDistribution, file: Path) -> tuple[frozenset[str], str]:
    """
    The shared objects that a wheel expects of the base, and the oldest glibc that its native files run with; noted by
    its digest, since they follow from its bytes.
    """
    if item.wheel.name.endswith("-none-any.whl"):
        return frozenset(), ""

    def read() -> list[str]:
        found = wheels.native_needs(file, file_name=item.wheel.name)
        return [found.glibc_floor, *sorted(found.sonames)]

    floor, *sonames = _noted(fetcher, f"native-1-{item.wheel.sha256}", read)
    return frozenset(sonames), floor


def _noted(fetcher: Fetcher, key: str, compute: Callable[[], list[str]]) -> list[str]:
    noted = fetcher.cache.note(key, list[str])
    if noted is not None:
        return noted
    value = compute()
    fetcher.cache.write_note(key, value)
    return value
