"""What the bytes of a locked wheel say: what its native files expect, and the names that a model may use."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import msgspec

from envparity.collectors.metadata import headers_of
from envparity.collectors.records import Record, record_rows
from envparity.errors import DiskFullError, MalformedError, UnreachableError
from envparity.fetch import Fetcher, Wanted
from envparity.image import native, wheel_end, zips
from envparity.image.native import Native
from envparity.image.supply import wheel_wanted
from envparity.values import Artifact, Distribution, LockedDistribution, LockedWheel

T = TypeVar("T")


def of_all(
    distributions: Sequence[LockedDistribution],
    *,
    fetcher: Fetcher,
    installed: Mapping[str, Distribution],
    places: Mapping[str, Path],
    told: Mapping[str, Native] = MappingProxyType({}),
) -> tuple[dict[str, Native], dict[str, Path]]:
    """
    What the native files of each of these need, by its name; and the wheels that had to be fetched to tell.

    It follows from the bytes of the wheel, so it is noted by its digest, and the same wherever it is read: from the
    note, from the wheel where it lies in `places`, from the installed files where they are still here as the snapshot
    saw them, and else from the wheel, which is fetched for it. `told` has by the digest of a wheel what `tell` said.
    """
    known: dict[str, Native] = {}
    for item in distributions:
        found = told.get(item.wheel.sha256) or tell(item, fetcher, installed.get(item.name), places.get(item.name))
        if found is not None:
            known[item.name] = found
    left = [item for item in distributions if item.name not in known]
    files = fetcher.blobs([wheel_wanted(item) for item in left], "wheels with native files") if left else []
    for item, file in zip(left, files, strict=True):
        known[item.name] = _note(fetcher, _key(item), native.of_wheel(file, file_name=item.wheel.name))
    return known, {item.name: file for item, file in zip(left, files, strict=True)}


def tell(
    item: LockedDistribution, fetcher: Fetcher, installed: Distribution | None, place: Path | None = None
) -> Native | None:
    """What can be told without a fetch."""
    if item.wheel.name.endswith("-none-any.whl"):
        return Native()
    noted = fetcher.cache.note(_key(item), Native)
    if noted is not None:
        return noted
    if place is not None:
        return _note(fetcher, _key(item), native.of_wheel(place, file_name=item.wheel.name))
    found = native.of_installed(installed) if installed is not None else None
    return None if found is None else _note(fetcher, _key(item), found)


def with_short_names(
    item: LockedDistribution, modules: Iterable[str], artifacts: Iterable[Artifact]
) -> LockedDistribution:
    """
    The same, with the short names under which a model refers to its extension modules: Cython gives a class of
    `sklearn._loss._loss` the module `_loss`, and registers that name once the package is imported.
    """
    short = {module for artifact in artifacts for module in artifact.modules if "." not in module}
    stems = {name.rpartition(".")[2] for name in modules if "." in name}
    added = (short & stems) - set(item.import_names)
    if not added:
        return item
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
        return [*names, "", *_requires(found["METADATA"])]

    key = f"inside-1-{item.wheel.sha256}"
    noted = fetcher.cache.note(key, list[str])
    if noted is None:
        noted = _note(fetcher, key, read())
    end = noted.index("")
    return Inside(tuple(noted[:end]), tuple(noted[end + 1 :]))


_WORTH_BYTES = 256 << 10
"""Of a wheel: below that, all of it is fetched as fast as its parts."""


def inside_from_afar(fetcher: Fetcher, item: LockedDistribution, metadata_sha256: str) -> Inside | None:
    """
    The same of a wheel without a native file, where nobody needs the rest of it: METADATA as the index serves it beside
    the wheel (PEP 658), by the sha256 that its page promises, and RECORD by a range of the wheel.

    `None` where the index has no METADATA of it, where the wheel is small, and where ranges do not give a RECORD that
    says the same of METADATA: then the wheel itself is read.

    Raises:
        IntegrityError: what is served as METADATA is not what the page promises.
    """
    wheel = item.wheel
    if not (metadata_sha256 and wheel.name.endswith("-none-any.whl") and wheel.size_bytes > _WORTH_BYTES):
        return None
    if fetcher.cache.blob(wheel.sha256) is not None:
        return None
    key = f"inside-afar-1-{wheel.sha256}-{metadata_sha256}"
    noted = fetcher.cache.note(key, list[list[str]])
    if noted is None:
        found = _from_afar(fetcher, wheel, metadata_sha256)
        if found is None:
            return None
        noted = _note(fetcher, key, [list(found.import_names), list(found.requires)])
    names, requires = noted
    return Inside(tuple(names), tuple(requires))


def _from_afar(fetcher: Fetcher, wheel: LockedWheel, metadata_sha256: str) -> Inside | None:
    text = wheel_end.record(wheel, client=fetcher.client)
    promised = base64.urlsafe_b64encode(bytes.fromhex(metadata_sha256)).rstrip(b"=").decode()
    rows = record_rows(text or "")
    if not any(re.fullmatch(r"[^/]+\.dist-info/METADATA", row[0]) and row[1] == f"sha256={promised}" for row in rows):
        return None
    beside = Wanted(f"METADATA of {wheel.name}", (f"{wheel.url}.metadata",), metadata_sha256, None)
    try:
        (place,) = fetcher.blobs([beside], beside.title)
    except UnreachableError:
        return None  # promised, and not there: some mirrors copy the page alone
    return Inside(tuple(Record(text or "").import_names()), _requires(place.read_text("utf-8", "surrogateescape")))


def _requires(metadata: str) -> tuple[str, ...]:
    return tuple(value for key, value in headers_of(metadata) if key == "requires-dist")


def _key(item: LockedDistribution) -> str:
    return f"native-2-{item.wheel.sha256}"


def _note(fetcher: Fetcher, key: str, found: T) -> T:
    with suppress(DiskFullError):  # it is found out again
        fetcher.cache.write_note(key, found)
    return found
