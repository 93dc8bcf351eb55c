"""
What of a conda package may be left out: the rules of `stripping`, in a prefix of conda's.

A package is of any language, and only Python's modules are looked into: so of folders of tests and documentation those
in site-packages count, and elsewhere what belongs into `share/doc`, `man` and `info`. The package `python` stays whole,
as every interpreter does.
"""

from __future__ import annotations

__all__ = ["kinds", "without"]

import base64
import dataclasses
import io
import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from envparity.collectors.records import RECORD_LIMIT, record_rows
from envparity.errors import MalformedError
from envparity.image import stripping
from envparity.image.bytecode import source_of
from envparity.oci.entries import Entry, content_sha256, shown

_HEAD = 256


@dataclass(frozen=True)
class _Member:
    """A file of a package as `stripping` wants it: by its path from site-packages, as RECORD has it."""

    name: str
    entry: Entry

    def open(self) -> BinaryIO:
        """What it holds."""
        content = self.entry.content
        return content() if callable(content) else io.BytesIO(content or b"")


def kinds(entries: Mapping[str, Entry], site: str, entry_points: Iterable[str] = ()) -> dict[str, str]:
    """
    The files and links of a package that are of a kind, by their places in the prefix, with that kind.

    Nothing that a module, a script or an entry point imports is among them, and nothing that a link leads to which
    stays.

    Args:
        entries: all of the package, by their places.
        site: where its modules lie in the prefix.
        entry_points: what the package says of itself beside its files, as `NAME = MODULE:FUNCTION`.
    """
    files = {place: _followed(place, entries) for place in entries}
    members = {_listed(place, site): place for place in entries}
    held = [_Member(name, files[place]) for name, place in members.items()]
    found = stripping.found([*held, *_naming(files, site, entry_points)], outside=False)
    of_kind = {members[name]: kind for name, kind in found.items() if name in members}
    while True:
        led_to = {_target(place, entry) for place, entry in entries.items() if place not in of_kind} - {""}
        kept = {place for place in of_kind if any(place == end or place.startswith(f"{end}/") for end in led_to)}
        if not kept:
            return of_kind
        of_kind = {place: kind for place, kind in of_kind.items() if place not in kept}


def without(
    entries: Mapping[str, Entry],
    site: str,
    entry_points: Iterable[str],
    strip: Collection[str],
    stem: str,
) -> tuple[dict[str, Entry], list[Entry]]:
    """
    The entries that are left, and the files of the image that say what went.

    A RECORD that listed something of it is written anew, and its rows are in the sheet of its distribution, with which
    it is the one of the training again. What no RECORD listed is in the sheet of the package, `stem`, by its place.

    Raises:
        MalformedError: a RECORD cannot be read.
    """
    gone = {place for place, kind in kinds(entries, site, entry_points).items() if kind in strip}
    if not gone:
        return dict(entries), []
    left = {place: entry for place, entry in entries.items() if place not in gone}
    sheets = {}
    unlisted = set(gone)
    for place, entry in list(left.items()):
        folder, _, name = place.rpartition("/")
        info = folder.removeprefix(f"{site}/")
        if name != "RECORD" or entry.kind != "file" or "/" in info or not info.endswith(".dist-info"):
            continue
        kept, went = _divided(_rows(entry), site, gone)
        if went:
            sheets[info.removesuffix(".dist-info")] = stripping.sheet(went)
            data = stripping.sheet(kept)
            left[place] = dataclasses.replace(entry, size_bytes=len(data), content=data)
            unlisted -= {_placed(path, site) for path, _, _ in went}
    if unlisted:
        sheets[stem] = stripping.sheet(_row(place, entries[place]) for place in unlisted)
    paths = {f"{stripping.PLACE}/{name}.csv": data for name, data in sheets.items()}
    return left, [
        Entry(path, "file", 0o644, size_bytes=len(data), content=data) for path, data in sorted(paths.items())
    ]


def _listed(place: str, site: str) -> str:
    return place.removeprefix(f"{site}/") if place.startswith(f"{site}/") else posixpath.relpath(place, site)


def _placed(path: str, site: str) -> str:
    return posixpath.normpath(f"{site}/{path}")


def _target(place: str, entry: Entry) -> str:
    """Where a link leads in the prefix; empty of anything else, and of one that leads out."""
    if entry.kind != "link" or entry.target.startswith("/"):
        return ""
    end = posixpath.normpath(posixpath.join(posixpath.dirname(place), entry.target))
    return "" if end.startswith("../") else end


def _followed(place: str, entries: Mapping[str, Entry]) -> Entry:
    """What is read where a link of a package stands: the file of the same package that it leads to, else nothing."""
    entry = entries[place]
    for _ in range(8):
        if entry.kind != "link":
            return entry
        place = _target(place, entry)
        if place not in entries:
            break
        entry = entries[place]
    return Entry(place, "file", 0o644, content=b"")


def _naming(files: Mapping[str, Entry], site: str, entry_points: Iterable[str]) -> Iterator[_Member]:
    """
    What may import a test without being a module: entry points that stand in no `.dist-info`, and scripts, each as what
    is looked into like that.
    """
    lists = ["\n".join(["[console_scripts]", *entry_points]).encode()]
    for place, entry in files.items():
        if place.startswith(f"{site}/") and place.endswith(".egg-info/entry_points.txt"):
            lists.append(_Member(place, entry).open().read())
        elif place.startswith("bin/") and not place.endswith(".py"):
            with _Member(place, entry).open() as stream:
                head = stream.read(_HEAD)
            if head.startswith(b"#!") and b"python" in head.partition(b"\n")[0]:
                yield _Member(f"{_listed(place, site)}.py", entry)
    for number, data in enumerate(lists):
        path = f"{number}.dist-info/entry_points.txt"
        yield _Member(path, Entry(path, "file", 0o644, size_bytes=len(data), content=data))


def _rows(entry: Entry) -> list[tuple[str, str, str]]:
    try:
        with _Member("", entry).open() as stream:
            return record_rows(stream.read(RECORD_LIMIT).decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise MalformedError(f"`{shown(entry.path)}` cannot be read: {error}") from error


def _divided(
    rows: Iterable[tuple[str, str, str]], site: str, gone: Collection[str]
) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
    """The rows of what stays and of what went; those of its byte code, which is made anew, are in neither."""
    kept, went = [], []
    for row in rows:
        place = _placed(row[0], site)
        if place in gone:
            went.append(row)
        elif source_of(place) not in gone:
            kept.append(row)
    return kept, went


def _row(place: str, entry: Entry) -> tuple[str, str, str]:
    if entry.kind == "link":
        return place, "", ""
    digest = base64.urlsafe_b64encode(bytes.fromhex(content_sha256(entry))).rstrip(b"=").decode()
    return place, f"sha256={digest}", str(entry.size_bytes)
