"""
What no index serves, packed: a wheel of the files that lie where the model was trained, or of an editable project.

The wheel is a pure function of those files: members in order, one time, two modes, and stored as they are, since two
releases of zlib deflate to different bytes (layers are compressed anyway).
"""

from __future__ import annotations

__all__ = ["ALL", "ask", "made_of", "pack"]

import base64
import configparser
import csv
import hashlib
import io
import posixpath
import re
import stat
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from envparity.collectors.metadata import decoded
from envparity.collectors.records import RECORD_LIMIT, WRITTEN_LATER, Record, record_rows
from envparity.collectors.tree import LocalTree
from envparity.collectors.verification import check_files
from envparity.errors import UsageError
from envparity.files import replacing, translated
from envparity.resolvers.index import Problem
from envparity.values import Distribution, LockedDistribution, LockedWheel, Python, RecordRow, Repacked

if TYPE_CHECKING:
    from packaging.tags import Tag

ALL = "all"

_AGAIN = "run `envparity lock` on the machine, and as the user, that took the snapshot; or take the snapshot again"
_VERIFY = "install it again; or, if it is what trained the model, take the snapshot again with --verify-files"
_SETTLE = "install it again from a wheel where the model is trained, and take a new snapshot"
_OLDEST = (1980, 1, 1, 0, 0, 0)
_BIG = 1 << 31
_PIECE = 1 << 20
_STRONG = ("sha256", "sha384", "sha512")

# What installers make of a first line `#!python`: the path, or, where that is too long or relative, a shell in between.
_PYTHON = re.compile(rb"#!\S*/bin/pythonw?[\d.]*t?[ \t]*\r?\n")
_SHELL = re.compile(rb"#!/bin/sh\n'''exec' [^\n]*python[^\n]*\n' '''\n")


class _CannotBePacked(Exception):
    """Why, and what to do."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.reason, self.advice = reason, advice


@dataclass(frozen=True)
class _Member:
    """One file of a wheel: its name in it, its bytes or where they lie, and its row in the installed RECORD."""

    name: str
    source: Path | bytes
    executable: bool
    row: RecordRow | None = None


def ask(names: Collection[str], chosen: Iterable[Distribution]) -> tuple[frozenset[str], bool]:
    """
    The distributions that are packed in any case, by their normalised names, and whether all others are packed that
    the index does not serve.

    Raises:
        UsageError: a name is not among those that go into the lock.
    """
    from packaging.utils import canonicalize_name

    known = {item.name for item in chosen}
    everything = ALL in names
    named = frozenset(canonicalize_name(name) for name in names if name != ALL)
    if named - known:
        listed = ", ".join(f"`{name}`" for name in sorted(named - known))
        raise UsageError(
            f"--repack names {listed}, and no such distribution goes into the lock",
            hint="`envparity show` lists what the snapshot holds; `--repack all` packs what the index does not serve",
        )
    return named, everything


def pack(
    items: Sequence[Distribution],
    folder: Path,
    *,
    python: Python,
    taken_at: str = "",
    environ: Mapping[str, str] = {},
) -> tuple[LockedDistribution | Problem, ...]:
    """
    For each distribution a wheel in `folder`, and how it is locked; or why there is none.

    An editable one is built from its project by its own build backend; of every other one the installed files are
    taken as they are, for they trained the model. They must be those of the snapshot:

    1. The metadata lies where the snapshot saw it, with the RECORD that it saw.
    2. The files that differ from that RECORD are those of which `--verify-files` said so, and no others; and none of
       them was written after the snapshot was taken, which does not know what it held.

    Args:
        taken_at: when the snapshot was taken.
        environ: the variables of our own process; a build backend is started with them.

    Raises:
        UnreachableError: neither uv nor pip is there to build a project; or of reading.
        DiskFullError: of writing.
    """

    def packed(item: Distribution) -> LockedDistribution | Problem:
        try:
            if item.editable:
                return _built(item, folder, python, environ)
            return _packed(item, folder, taken_at)
        except _CannotBePacked as error:
            return Problem(item.name, item.version, error.reason, error.advice, _state(item))
        except OSError as error:
            raise translated(error, f"pack {item.name}, at `{error.filename}`") from error

    return tuple(map(packed, items))


def made_of(item: LockedDistribution) -> str:
    """Of what a repacked wheel was made, in words."""
    made = item.repacked
    assert made is not None
    if made.origin == "editable":
        at = f" at commit {made.commit[:12]}" if made.commit else ", of no commit that is known"
        at += ", with changes that are in no commit" if made.commit and made.dirty else ""
        return f"{item.name} {item.version}, built from its project{at}"
    text = f"{item.name} {item.version}, of the installed files"
    if made.changed:
        text += f", {len(made.changed)} of which had been changed"
    return text


def _state(item: Distribution) -> str:
    """As what it is refused, where it cannot be packed."""
    if item.editable or item.direct_url:
        return "local-build"
    return "modified" if item.modified or item.missing else "unmatched"


# --- From installed files -----------------------------------------------------------------------------------------


def _packed(item: Distribution, folder: Path, taken_at: str) -> LockedDistribution:
    if item.installer == "conda":
        raise _CannotBePacked(
            "was installed by conda, and may need libraries of conda's that no wheel has",
            "install it with pip or uv from a wheel, and take a new snapshot",
        )
    text = _recorded(item)
    rows = [RecordRow(path=path, hash=digest, size=size) for path, digest, size in record_rows(text)]
    site, _, info = item.location.rpartition("/")
    differing = _differing(item, site, info, rows)
    members, folders = _members(item, site, info, rows, differing, taken_at)
    name = _file_name(item)
    written = _write(folder / name, members, f"{info}/RECORD", folders)
    for row in written.changed:
        if row.hash.partition("=")[0] in _STRONG and row.path not in differing:
            raise _CannotBePacked(f"its file `{row.path}` was changed while it was packed", "lock again")
    missing = [row for row in rows if row.path in differing and row.path in (item.missing or ())]
    changed = tuple(sorted({*written.changed, *(row for row in missing if not _outside(row.path))}))
    vcs = re.match(r"(git|hg|bzr|svn)\+(?P<url>.+?)(@(?P<commit>[0-9a-fA-F]+))?(#.*)?\Z", item.direct_url)
    origin = Repacked(origin="installed", changed=changed)
    if vcs:
        url = "" if vcs["url"].startswith(("file:", "/")) else vcs["url"]  # a lock names no place of this machine
        origin = Repacked(origin="vcs", url=url, commit=vcs["commit"] or "", changed=changed)
    return _locked(item, folder / name, origin, item.import_names)


def _recorded(item: Distribution) -> str:
    """The text of its RECORD, which is the one that the snapshot saw."""
    if not item.record_sha256 or item.form != "dist-info" or not item.location.endswith(".dist-info"):
        raise _CannotBePacked("has no RECORD in the snapshot that says which files are its own", _SETTLE)
    place = Path(item.location) / "RECORD"
    if not place.is_file():
        raise _CannotBePacked(f"does not lie here any more: there is no `{place}`", _AGAIN)
    try:
        text = decoded(LocalTree().read(str(place), RECORD_LIMIT))[0]
        digest = Record(text).digest()
    except ValueError as error:
        raise _CannotBePacked(f"has a RECORD that cannot be read: {error}", _SETTLE) from error
    if digest != item.record_sha256:
        raise _CannotBePacked("was installed anew since the snapshot was taken: its RECORD is another one", _AGAIN)
    return text


def _differing(item: Distribution, site: str, info: str, rows: list[RecordRow]) -> frozenset[str]:
    """The rows whose files are gone or have another content, which must be those that the snapshot knows of."""
    found = check_files(LocalTree(), site, [(row.path, row.hash, row.size) for row in rows], info)
    for key, what in (("outside", "lies outside of the environment"), ("linked", "is a link that leads out of it")):
        if found[key]:
            raise _CannotBePacked(f"its file `{found[key][0]}` {what}", _SETTLE)
    if found["unread"]:
        raise _CannotBePacked(f"its file `{found['unread'][0]}` cannot be read", _AGAIN)
    differing = frozenset([*found["modified"], *found["missing"]])
    known = frozenset([*(item.modified or ()), *(item.missing or ())])
    if item.modified is None and differing:
        raise _CannotBePacked(
            f"{len(differing)} of its files are not those that were installed (`{min(differing)}`), and the snapshot"
            " does not say whether they were when the model was trained",
            _VERIFY,
        )
    if item.modified is not None and differing != known:
        path = min(differing ^ known)
        raise _CannotBePacked(f"its file `{path}` was changed since the snapshot was taken", _AGAIN)
    return differing


def _members(
    item: Distribution, site: str, info: str, rows: list[RecordRow], differing: frozenset[str], taken_at: str
) -> tuple[list[_Member], list[RecordRow]]:
    """The members of the wheel, and the rows of RECORD that stand for folders."""
    prefix = posixpath.dirname(posixpath.dirname(posixpath.dirname(site)))
    data = f"{info.removesuffix('.dist-info')}.data"
    programs = _programs(Path(item.location) / "entry_points.txt")
    members: dict[str, _Member] = {}
    folders = []
    for row in rows:
        first, _, rest = row.path.partition("/")
        if (first == info and rest in WRITTEN_LATER) or "__pycache__" in row.path.split("/"):
            continue
        if row.path.endswith("/"):
            folders.append(row)
            continue
        if row.path in differing and row.path in (item.missing or ()):
            continue
        place = posixpath.normpath(posixpath.join(site, row.path))
        if not row.path.isprintable() or (not row.path.startswith(("/", "../")) and ".." in row.path.split("/")):
            raise _CannotBePacked(f"its RECORD has a path that no wheel can hold: {row.path!r}", _SETTLE)
        if row.path in differing and _written_at(place) > _seconds(taken_at):
            raise _CannotBePacked(f"its file `{row.path}` was written after the snapshot was taken", _AGAIN)
        if place.startswith(f"{site}/"):
            name, source = place.removeprefix(f"{site}/"), Path(place)
            members[name] = _Member(name, source, _executable(place), row)
            continue
        below = place.removeprefix(f"{prefix}/")
        if below.startswith("bin/") and below.removeprefix("bin/") in programs:
            if row.path in differing:
                raise _CannotBePacked(
                    f"its program `{below}` was changed, and whoever installs a wheel writes that anew",
                    "put the change into a file of its own; or install it again, and take a new snapshot",
                )
            continue
        member = _outside_member(data, below, place)
        members[member.name] = member
    return list(members.values()), folders


def _outside_member(data: str, below: str, place: str) -> _Member:
    """A file of the environment that is not in its site-packages, in the folder that a wheel has for it."""
    if below.startswith("bin/"):
        return _Member(f"{data}/scripts/{below.removeprefix('bin/')}", _script(Path(place)), True)
    header = re.fullmatch(r"include/site/python[^/]+/[^/]+/(.+)", below)
    name = f"{data}/headers/{header[1]}" if header else f"{data}/data/{below}"
    return _Member(name, Path(place), _executable(place))


def _outside(path: str) -> bool:
    return path.startswith(("../", "/"))


def _programs(place: Path) -> frozenset[str]:
    """The names of the programs that an installer writes by itself."""
    if not place.is_file():
        return frozenset()
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(place.read_text("utf-8"))
    except (configparser.Error, UnicodeDecodeError) as error:
        raise _CannotBePacked(f"its entry_points.txt cannot be read: {error}", _SETTLE) from error
    sections = [name for name in ("console_scripts", "gui_scripts") if parser.has_section(name)]
    return frozenset(name for section in sections for name, _ in parser.items(section))


def _script(place: Path) -> Path | bytes:
    """A script with the first line that a wheel has for "the interpreter of wherever this is installed"."""
    with place.open("rb") as stream:
        if stream.read(2) != b"#!":
            return place
        data = b"#!" + stream.read()
    found = _SHELL.match(data) or _PYTHON.match(data)
    return b"#!python\n" + data[found.end() :] if found else place


def _executable(place: str) -> bool:
    # The owner's bit alone: the others' depend on the umask of whoever installed.
    return bool(Path(place).stat().st_mode & stat.S_IXUSR)


def _written_at(place: str) -> float:
    return Path(place).stat().st_mtime


def _seconds(taken_at: str) -> float:
    """The end of the second in which a snapshot was taken; of one that does not say it, the end of time."""
    try:
        return datetime.fromisoformat(taken_at).timestamp() + 1
    except ValueError:
        return float("inf")


def _file_name(item: Distribution) -> str:
    """
    `NAME-VERSION-TAGS.whl` with the tags that its WHEEL says.

    "compressed tag sets … py2.py3" stand for every combination of their parts (platform compatibility tags).
    """
    from packaging.tags import parse_tag
    from packaging.version import InvalidVersion, Version

    if not item.wheel_tags:
        raise _CannotBePacked("records no wheel that it came from", _SETTLE)
    tags: frozenset[Tag] = frozenset().union(*(parse_tag(line) for line in item.wheel_tags if line.count("-") == 2))
    parts = [sorted({getattr(tag, part) for tag in tags}) for part in ("interpreter", "abi", "platform")]
    text = "-".join(".".join(part) for part in parts)
    if not tags or parse_tag(text) != tags:
        raise _CannotBePacked("has tags that no name of a wheel can say", _SETTLE)
    try:
        version = str(Version(item.version))
    except InvalidVersion as error:
        raise _CannotBePacked("has a version that PEP 440 does not allow", "give it one") from error
    return f"{item.name.replace('-', '_')}-{version}-{text}.whl"


# --- From a project -----------------------------------------------------------------------------------------------


def _built(item: Distribution, folder: Path, python: Python, environ: Mapping[str, str]) -> LockedDistribution:
    """The wheel that a project's own backend makes, written anew in the one form."""
    from envparity.resolvers import project  # it brings git and processes, which only this needs

    if item.record_sha256 is not None:
        _recorded(item)  # it is still installed here, as the snapshot saw it
    try:
        built = project.build(item, python, environ)
        with built as (wheel, source):
            members, record, folders = _of_archive(wheel)
            found = _write(folder / wheel.name, members, record, folders)
    except project.BuildError as error:
        raise _CannotBePacked(error.reason, error.advice) from error
    names = Record(found.record).import_names()
    repository = Repacked(origin="editable", url=source.url, commit=source.commit, dirty=source.dirty)
    return _locked(item, folder / wheel.name, repository, tuple(names))


def _of_archive(wheel: Path) -> tuple[list[_Member], str, list[RecordRow]]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            record = next((i.filename for i in infos if re.fullmatch(r"[^/]+\.dist-info/RECORD", i.filename)), "")
            members = [
                _Member(info.filename, archive.read(info), bool(info.external_attr >> 16 & stat.S_IXUSR))
                for info in infos
                if info.filename != record and not info.filename.endswith((".dist-info/RECORD.jws", "/RECORD.p7s"))
            ]
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise _CannotBePacked(f"its build backend made no wheel that can be read: {error}", "look at it") from error
    if not record:
        raise _CannotBePacked("its build backend made a wheel without a RECORD", "look at its build backend")
    return members, record, []


# --- The wheel ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Written:
    """The text of the RECORD that was made, and the installed rows that differ from it."""

    record: str
    changed: tuple[RecordRow, ...]


def _write(path: Path, members: list[_Member], record: str, folders: list[RecordRow]) -> _Written:
    """Write a wheel. A row of the installed RECORD that its file still has is kept as it is written there."""
    rows = [(row.path, row.hash, row.size) for row in folders]
    changed = []
    with replacing(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for member in sorted(members, key=lambda each: each.name):
            algorithm = member.row.hash.partition("=")[0] if member.row else ""
            hasher = hashlib.new(algorithm if algorithm in _STRONG else "sha256")
            size = 0
            with _opened(member.source) as source, _entry(archive, member) as sink:
                while piece := source.read(_PIECE):
                    hasher.update(piece)
                    size += sink.write(piece)
            text = base64.urlsafe_b64encode(hasher.digest()).rstrip(b"=").decode()
            row = (member.name, f"{hasher.name}={text}", str(size))
            if member.row is not None and row[1] == member.row.hash.rstrip("=") and member.row.path == member.name:
                row = (member.name, row[1], member.row.size)
            elif member.row is not None:
                changed.append(member.row)
            rows.append(row)
        rows.append((record, "", ""))
        sheet = io.StringIO(newline="")
        csv.writer(sheet, lineterminator="\n").writerows(sorted(set(rows)))
        with _entry(archive, _Member(record, b"", False)) as sink:
            sink.write(sheet.getvalue().encode())
    return _Written(sheet.getvalue(), tuple(changed))


def _opened(source: Path | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _entry(archive: zipfile.ZipFile, member: _Member) -> IO[bytes]:
    info = zipfile.ZipInfo(member.name, _OLDEST)
    info.create_system = 3  # Unix, whose modes follow
    info.external_attr = (stat.S_IFREG | (0o755 if member.executable else 0o644)) << 16
    large = isinstance(member.source, Path) and member.source.stat().st_size >= _BIG
    return archive.open(info, "w", force_zip64=large)


def _locked(item: Distribution, wheel: Path, repacked: Repacked, names: tuple[str, ...]) -> LockedDistribution:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        requires_python = str(SpecifierSet(item.requires_python))
    except InvalidSpecifier:
        requires_python = ""  # PEP 751 carries only what is valid
    with wheel.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return LockedDistribution(
        name=item.name,
        version=item.version,
        wheels=(
            LockedWheel(
                name=wheel.name, path=f"pylock.artifacts/{wheel.name}", size_bytes=wheel.stat().st_size, sha256=digest
            ),
        ),
        state="repacked",
        requires_python=requires_python,
        import_names=names,
        repacked=repacked,
    )
