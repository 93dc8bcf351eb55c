"""
Wheels -> members of a layer, with no intermediate tree.

What goes where: https://packaging.python.org/specifications/binary-distribution-format/, laid out as a virtual
environment. What RECORD says: https://packaging.python.org/specifications/recording-installed-packages/.
"""

from __future__ import annotations

__all__ = [
    "RECORD",
    "conflicts",
    "merged",
    "record_sha256",
    "script_text",
    "startup_code",
    "tag_floor",
    "venv_entries",
    "wheel_entries",
]

import base64
import binascii
import configparser
import csv
import functools
import hashlib
import io
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from envparity.collectors.records import record_digest
from envparity.errors import IntegrityError, MalformedError, RefusedError, UnsupportedError
from envparity.image import stripping, zips
from envparity.oci.entries import Entry
from envparity.values import glibc_floor

if TYPE_CHECKING:
    from envparity.image.zips import Member

_HASHES = {"sha256": 32, "sha384": 48, "sha512": 64}
"""Hash algorithms that RECORD may use ("sha256 or better"), and the bytes of a digest."""

RECORD = re.compile(r"[^/]+\.dist-info/RECORD")
"""The name of the one file that lists all others."""

_INSTALLERS_OWN = ("INSTALLER", "REQUESTED", "direct_url.json")
"""Files of a dist-info folder that only an installer writes; a wheel that carries them does not decide about them."""

_SIGNATURES = ("RECORD.jws", "RECORD.p7s")
"""RECORD "cannot contain hashes of" its own signatures (binary distribution format)."""

_ENTRY_POINT = re.compile(r"\s*([\w.]+)\s*:\s*([\w.]+)\s*(?:\[.*\])?\s*")
_IN_MEMORY_BYTES = 64 << 20
_SHOWN = 20


@dataclass(frozen=True)
class _Wheel:
    """A wheel that has been looked through. `stem` is the `NAME-VERSION` of its own folders."""

    file_name: str
    stem: str
    members: tuple[Member, ...]
    rows: dict[str, tuple[str, str]]

    def in_info(self, name: str) -> str:
        return f"{self.stem}.dist-info/{name}"


def wheel_entries(
    wheel: Path,
    *,
    file_name: str = "",
    prefix: str = "opt/env",
    python_xy: str = "3.11",
    interpreter: str = "/opt/env/bin/python",
    strip: Collection[str] = (),
) -> list[Entry]:
    """
    The files that a wheel puts into a virtual environment, in the order of their paths.

    Nothing is unpacked: each content is inflated when its turn comes, and checked against RECORD while it is read.
    Console scripts are written for `interpreter`; `__pycache__` is left out (byte-compiling is the lock's to decide);
    RECORD is written anew, sorted, and normalises to the digest of the wheel's own. Folders are not listed.

    Args:
        wheel: the archive; in a cache it has any name.
        file_name: its name as a wheel, which says what it must hold; that of `wheel` if this is empty.
        prefix: the environment's folder in the image, without a leading slash.
        python_xy: the interpreter's version, which is part of the path.
        interpreter: the absolute path that scripts begin with.
        strip: what is left out (`stripping.KINDS`); the rows that RECORD had of it are then one file more.

    Raises:
        MalformedError: it is no wheel, or hostile (`zips.members` says how), or holds what another one should.
        IntegrityError: here, where RECORD gives another size than the archive; while a content is read, where its hash
            is not that of RECORD.
        UnsupportedError: a wheel of a later format.
        UnreachableError: the file cannot be read.
    """
    opened = _open(wheel, file_name or wheel.name)
    site = f"{prefix}/lib/python{python_xy}/site-packages"
    places = _Places(opened, prefix, python_xy, site)
    entries: dict[str, Entry] = {}
    # Some build tools list folders too. No file stands for such a row, and every installer keeps it, so it stays.
    rows = {name: row for name, row in opened.rows.items() if name.endswith("/") and ".data/" not in name}

    def put(entry: Entry, row: tuple[str, str]) -> None:
        if entry.path in entries:
            raise MalformedError(f"wheel `{opened.file_name}` puts two files in one place: `/{entry.path}`")
        entries[entry.path] = entry
        rows[listed(entry.path)] = row

    def listed(path: str) -> str:
        return path[len(site) + 1 :] if path.startswith(f"{site}/") else posixpath.relpath(path, site)

    kinds = stripping.found(opened.members) if strip else {}
    left: list[tuple[str, str, str]] = []
    ours = {opened.in_info(name) for name in (*_INSTALLERS_OWN, "RECORD")}
    for member in opened.members:
        if member.name in ours or "__pycache__" in member.name.split("/"):
            continue
        path, is_script = places.of(member.name)
        row = opened.rows.get(member.name, ("", ""))
        if kinds.get(member.name) in strip:
            left.append((listed(path), *row))
            continue
        expected = _expected(row[0], member.name, opened.file_name) if row[0] else None
        rewritten = _script(member, interpreter, expected) if is_script else None
        if rewritten is not None:
            put(_file(path, rewritten, 0o755), _row(rewritten))
            continue
        mode = 0o755 if is_script or member.executable else 0o644
        content = zips.Content(member, expected) if member.deflated else functools.partial(member.open, expected)
        put(Entry(path=path, kind="file", mode=mode, size_bytes=member.size_bytes, content=content), row)
    for name, data in _console_scripts(opened, interpreter):
        places.refuse_reserved(f"{prefix}/bin/{name}")
        put(_file(f"{prefix}/bin/{name}", data, 0o755), _row(data))
    put(_file(f"{site}/{opened.in_info('INSTALLER')}", b"envparity\n", 0o644), _row(b"envparity\n"))
    rows[opened.in_info("RECORD")] = ("", "")
    record = _record(rows)
    entries[f"{site}/{opened.in_info('RECORD')}"] = _file(f"{site}/{opened.in_info('RECORD')}", record, 0o644)
    if left:
        path = f"{stripping.PLACE}/{opened.stem}.csv"
        entries[path] = _file(path, stripping.sheet(left), 0o644)
    return [entries[path] for path in sorted(entries)]


def venv_entries(python_xy: str, home: str, version: str, *, prefix: str = "opt/env") -> list[Entry]:
    """
    The frame of a virtual environment (PEP 405): `pyvenv.cfg`, the links to the interpreter, and `lib64`.

    Args:
        python_xy: `3.11`.
        home: the absolute folder in the image that holds the interpreter `python3.11`.
        version: the exact version of that interpreter.
        prefix: the environment's folder in the image, without a leading slash.
    """
    settings = f"home = {home}\ninclude-system-site-packages = false\nversion = {version}\n".encode()
    links = {
        "bin/python": f"{home}/python{python_xy}",
        "bin/python3": "python",
        f"bin/python{python_xy}": "python",
        "lib64": "lib",
    }
    site = Entry(path=f"{prefix}/lib/python{python_xy}/site-packages", kind="folder", mode=0o755)
    entries = [
        _file(f"{prefix}/pyvenv.cfg", settings, 0o644),
        site,
        *(Entry(path=f"{prefix}/{path}", kind="link", mode=0o777, target=target) for path, target in links.items()),
    ]
    return sorted(entries, key=lambda entry: entry.path)


def conflicts(owned: Sequence[tuple[str, Sequence[Entry]]]) -> None:
    """
    Refuse owners (distributions, the environment's frame) that would write different things to one path.

    An installer lets the last one win, silently. Files that are equal byte for byte do no harm (`nvidia/__init__.py` of
    several wheels); `merged` gives one of them.

    Raises:
        RefusedError: naming the owners and the paths, all at once.
    """
    first: dict[str, tuple[str, Entry]] = {}
    clashes: dict[tuple[str, str], list[str]] = {}
    for owner, entries in owned:
        for entry in entries:
            if entry.kind == "folder":
                continue
            before = first.setdefault(entry.path, (owner, entry))
            if before[1] is not entry and not _equal(before[1], entry):
                clashes.setdefault((before[0], owner), []).append(entry.path)
    for path, (owner, _) in first.items():
        parent = posixpath.dirname(path)
        while parent:
            if parent in first:
                clashes.setdefault((first[parent][0], owner), []).append(parent)
            parent = posixpath.dirname(parent)
    if clashes:
        raise RefusedError(
            "two distributions write different things to one path, so their image would depend on an order",
            hint="uninstall one of them where the model is trained, and take a new snapshot",
            details=tuple(
                f"{one} and {other}: {len(set(paths))} path(s), first `/{min(paths)}`"
                for (one, other), paths in sorted(clashes.items())
            )[:_SHOWN],
        )


def merged(owned: Sequence[tuple[str, Sequence[Entry]]]) -> list[Entry]:
    """
    The entries of several owners as those of one layer: each path once, in the order of the paths.

    Raises:
        RefusedError: as `conflicts` does.
    """
    conflicts(owned)
    once = {entry.path: entry for _, entries in owned for entry in entries}
    return [once[path] for path in sorted(once)]


def startup_code(entries: Iterable[Entry]) -> tuple[str, ...]:
    """
    The paths of files that run code whenever the interpreter starts: `.pth` files with `import` lines, `sitecustomize`.

    They are allowed, since editable installs and coverage tools live by them, and worth a person's look.
    """
    found = []
    for entry in entries:
        folder, name = posixpath.split(entry.path)
        if not folder.endswith("/site-packages") or entry.kind != "file":
            continue
        if name in {"sitecustomize.py", "usercustomize.py"}:
            found.append(entry.path)
        elif name.endswith(".pth"):
            with _opened(entry) as stream:
                # site.addpackage: a line that starts with "import" and a space or tab is executed.
                if any(line.startswith((b"import ", b"import\t")) for line in stream.read(1 << 20).splitlines()):
                    found.append(entry.path)
    return tuple(sorted(found))


def record_sha256(wheel: Path, *, file_name: str = "") -> str:
    """
    The digest of a wheel's normalised RECORD, which is that of what an installer made of it.

    Raises:
        MalformedError: the archive is damaged, or holds no RECORD.
    """
    shown = file_name or wheel.name
    member = next((each for each in zips.members(wheel, shown) if RECORD.fullmatch(each.name)), None)
    if member is None:
        raise MalformedError(f"`{shown}` has no RECORD")
    try:
        with member.open() as stream:
            return record_digest(stream.read().decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise MalformedError(f"`{shown}`: {error}") from error


def tag_floor(file_name: str) -> str:
    """The oldest glibc that a wheel says it runs on, from the tags in its name (`2.17`); empty if it says nothing."""
    return glibc_floor(file_name.removesuffix(".whl").rpartition("-")[2].split("."))


@dataclass(frozen=True)
class _Places:
    """Where each member of one wheel goes."""

    wheel: _Wheel
    prefix: str
    python_xy: str
    site: str

    def of(self, name: str) -> tuple[str, bool]:
        """The path in the image, and whether it is a script."""
        top, _, below = name.partition("/")
        if not (top.endswith(".data") and below):
            return f"{self.site}/{name}", False
        if top != f"{self.wheel.stem}.data":
            raise MalformedError(f"wheel `{self.wheel.file_name}` holds `{top}`, which belongs to another distribution")
        scheme, _, below = below.partition("/")
        distribution = self.wheel.stem.partition("-")[0]
        folders = {
            "purelib": self.site,
            "platlib": self.site,
            "scripts": f"{self.prefix}/bin",
            "headers": f"{self.prefix}/include/site/python{self.python_xy}/{distribution}",
            "data": self.prefix,
        }
        if scheme not in folders or not below:
            raise MalformedError(f"wheel `{self.wheel.file_name}` holds `{name}`: there is no scheme `{scheme}`")
        if scheme == "data" and below.startswith("lib64/"):
            below = below.replace("lib64/", "lib/", 1)  # lib64 is a link there, and nothing is written through links
        path = f"{folders[scheme]}/{below}"
        self.refuse_reserved(path)
        return path, scheme == "scripts"

    def refuse_reserved(self, path: str) -> None:
        """A wheel may replace neither the interpreter, nor the environment's frame, nor another's metadata."""
        inside = path.removeprefix(f"{self.site}/").partition("/")[0] if path.startswith(f"{self.site}/") else ""
        foreign = inside.endswith((".dist-info", ".egg-info")) and inside != f"{self.wheel.stem}.dist-info"
        frame = re.fullmatch(r"pyvenv\.cfg|lib64|bin/(pythonw?|pypy)[\d.]*t?", path.removeprefix(f"{self.prefix}/"))
        if foreign or frame:
            raise MalformedError(
                f"wheel `{self.wheel.file_name}` would write `/{path}`, which is not its own",
                hint="do not use it; report it to the index that serves it",
            )


def _open(wheel: Path, file_name: str) -> _Wheel:
    """Look a wheel through: is it what its name says, is every file in its RECORD, is there nothing else?"""
    name, version = _named(file_name)
    members = zips.members(wheel, file_name)
    by_name = {member.name: member for member in members}
    infos = sorted({top for top in (each.partition("/")[0] for each in by_name) if top.endswith(".dist-info")})
    if len(infos) != 1:
        held = ", ".join(f"`{each}`" for each in infos) or "none"
        raise MalformedError(f"wheel `{file_name}` must hold one .dist-info folder, and holds {held}")
    stem = infos[0].removesuffix(".dist-info")
    if _identity(*stem.partition("-")[::2]) != (name, version):
        raise MalformedError(f"wheel `{file_name}` holds the metadata of another one: `{infos[0]}`")
    opened = _Wheel(file_name=file_name, stem=stem, members=members, rows={})
    for needed in ("METADATA", "WHEEL", "RECORD"):
        if opened.in_info(needed) not in by_name:
            raise MalformedError(f"wheel `{file_name}` has no {needed}")
    metadata = _headers(zips.read(by_name[opened.in_info("METADATA")]))
    if _identity(metadata.get("name", ""), metadata.get("version", "")) != (name, version):
        raise MalformedError(
            f"wheel `{file_name}` calls itself {metadata.get('name', '')} {metadata.get('version', '')} in its METADATA"
        )
    format_version = _headers(zips.read(by_name[opened.in_info("WHEEL")])).get("wheel-version", "")
    # "warn if the minor version is greater, and fail if the major version is greater" (binary distribution format)
    if format_version.partition(".")[0] != "1":
        raise UnsupportedError(f"wheel `{file_name}` is of format {format_version or 'unknown'}; supported is 1.x")
    rows = _rows(zips.read(by_name[opened.in_info("RECORD")], 64 << 20), file_name)
    _covered(opened, by_name, rows)
    return _Wheel(file_name=file_name, stem=stem, members=members, rows=rows)


def _named(file_name: str) -> tuple[str, str]:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        name, version, _, _ = parse_wheel_filename(file_name)
    except InvalidWheelFilename as error:
        raise MalformedError(f"`{file_name}` is not the name of a wheel: {error}") from error
    return _identity(name, str(version))


def _identity(name: str, version: str) -> tuple[str, str]:
    """Name and version in the one form in which two spellings are equal."""
    from packaging.utils import canonicalize_name, canonicalize_version

    # "Escaping and Unicode" of the format: a `-` in a version is `_` in the names of files and folders.
    return canonicalize_name(name), canonicalize_version(version.replace("_", "-"))


def _headers(data: bytes) -> dict[str, str]:
    """The first of each header of an e-mail-like file, up to the empty line that ends them; names in lower case."""
    headers: dict[str, str] = {}
    for line in data.decode("utf-8", "replace").splitlines():
        if not line.strip():
            break
        name, colon, value = line.partition(":")
        if colon and not line[0].isspace():
            headers.setdefault(name.strip().lower(), value.strip())
    return headers


def _rows(data: bytes, file_name: str) -> dict[str, tuple[str, str]]:
    """RECORD's rows: path -> hash and size as written."""
    rows: dict[str, tuple[str, str]] = {}
    try:
        for number, row in enumerate(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")), 1):
            if not row:
                continue
            if len(row) != 3 or not zips.safe(row[0].removesuffix("/")):
                raise MalformedError(f"RECORD of wheel `{file_name}` is not valid: {row}", where=f"line {number}")
            if rows.setdefault(row[0], (row[1], row[2])) != (row[1], row[2]):
                raise MalformedError(f"RECORD of wheel `{file_name}` names `{row[0]}` twice", where=f"line {number}")
    except (UnicodeDecodeError, csv.Error) as error:
        raise MalformedError(f"RECORD of wheel `{file_name}` cannot be read: {error}") from error
    return rows


def _covered(wheel: _Wheel, by_name: dict[str, Member], rows: dict[str, tuple[str, str]]) -> None:
    """RECORD and the archive list the same files: no file without a hash, no row without a file."""
    excepted = {wheel.in_info(name) for name in ("RECORD", *_SIGNATURES)}
    for name, member in by_name.items():
        if name in excepted:
            continue
        if not rows.get(name, ("", ""))[0]:
            raise MalformedError(f"wheel `{wheel.file_name}` holds `{name}`, which its RECORD does not vouch for")
        size = rows[name][1]
        if size and size != str(member.size_bytes):
            raise IntegrityError(
                f"wheel `{wheel.file_name}`: `{name}` has {member.size_bytes:,} bytes, and RECORD says {size}",
                hint="the archive is damaged or was altered; do not use it",
            )
    for name in rows.keys() - by_name.keys() - excepted:
        if not name.endswith(("/", ".pyc")):
            raise MalformedError(f"wheel `{wheel.file_name}` lacks `{name}`, which its RECORD lists")


def _expected(text: str, name: str, file_name: str) -> tuple[str, bytes]:
    """`sha256=<urlsafe base64 without padding>` -> algorithm and digest."""
    algorithm, _, encoded = text.partition("=")
    try:
        digest = base64.urlsafe_b64decode(encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4))
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != _HASHES.get(algorithm, -1):
        raise MalformedError(f"RECORD of wheel `{file_name}` has no usable hash of `{name}`: {text!r}")
    return algorithm, digest


def _script(member: Member, interpreter: str, expected: tuple[str, bytes] | None) -> bytes | None:
    """
    The script with its first line rewritten, or None where that line is not the placeholder.

    "If the first line of a file in scripts/ starts with exactly b'#!python', rewrite to point to the correct
    interpreter" (binary distribution format). Other first lines, and native programs, stay as they are.
    """
    with member.open(expected) as stream:
        if stream.read(8) != b"#!python":
            return None
    with member.open(expected) as stream:
        line, newline, rest = stream.read(_IN_MEMORY_BYTES).partition(b"\n")
    if len(line) > 4096 or member.size_bytes > _IN_MEMORY_BYTES:
        raise MalformedError(f"`{member.name}` in `{member.archive.name}` begins with `#!python` and is no script")
    carriage = b"\r" if line.endswith(b"\r") else b""
    return b"#!" + interpreter.encode() + carriage + newline + rest


def script_text(name: str, module: str, function: str, interpreter: str) -> bytes:
    """The text of a program that calls a function of a module."""
    from installer.scripts import Script

    return bytes(Script(name, module, function, "console").generate(interpreter, "posix")[1])


def _console_scripts(wheel: _Wheel, interpreter: str) -> Iterator[tuple[str, bytes]]:
    """The programs that `entry_points.txt` asks for, by name, with their text."""
    from installer.scripts import Script

    member = next((each for each in wheel.members if each.name == wheel.in_info("entry_points.txt")), None)
    if member is None:
        return
    # https://packaging.python.org/specifications/entry-points/: names are case sensitive, "=" is the only delimiter.
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(zips.read(member).decode("utf-8"))
    except (configparser.Error, UnicodeDecodeError) as error:
        raise MalformedError(f"entry_points.txt of wheel `{wheel.file_name}` cannot be read: {error}") from error
    wanted: dict[str, bytes] = {}
    for section, kind in (("console_scripts", "console"), ("gui_scripts", "gui")):
        for name, value in parser.items(section) if parser.has_section(section) else ():
            target = _ENTRY_POINT.fullmatch(value or "")
            if not target or not zips.safe(name) or "/" in name:
                raise MalformedError(
                    f"wheel `{wheel.file_name}` asks for a program {name!r} = {value!r}, which is not valid"
                )
            script = Script(name, target[1], target[2], "console" if kind == "console" else "gui")
            wanted[name] = script.generate(interpreter, "posix")[1]
    yield from sorted(wanted.items())


def _record(rows: dict[str, tuple[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows((path, *rows[path]) for path in sorted(rows))
    return text.getvalue().encode()


def _row(data: bytes) -> tuple[str, str]:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"sha256={digest}", str(len(data))


def _file(path: str, data: bytes, mode: int) -> Entry:
    return Entry(path=path, kind="file", mode=mode, size_bytes=len(data), content=data)


def _opened(entry: Entry) -> BinaryIO:
    content = entry.content
    return io.BytesIO(content or b"") if content is None or isinstance(content, bytes) else content()


def _equal(one: Entry, other: Entry) -> bool:
    """Whether two entries of one path would be the same file."""
    if (one.kind, one.mode, one.size_bytes, one.target) != (other.kind, other.mode, other.size_bytes, other.target):
        return False
    with _opened(one) as left, _opened(other) as right:
        while chunk := left.read(1 << 18):
            if chunk != right.read(1 << 18):
                return False
    return True
