"""
RPM packages, from the sqlite form of rpm's database, without rpm.

The table `Packages` holds one header a package (https://rpm-software-management.github.io/rpm/manual/format_header.html),
which is taken apart here. The older forms, Berkeley DB and ndb, are a gap by name.
"""

from __future__ import annotations

import struct
from typing import Any, Iterator

from envparity.collectors.shapes import Fact, Tree
from envparity.collectors.tree import gap, why

RPM_FOLDERS = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
_RPM_LIMIT = 512 << 20
_RPM_STEPS = 2000
_RPM_OTHERS = (("Packages", "Berkeley DB"), ("Packages.db", "ndb"))
_RPM_TEXTS = {1000: "name", 1001: "version", 1002: "release", 1022: "architecture", 1044: "source"}
_RPM_EPOCH = 1003
# Of a header's index: int32, text, array of text, text in several languages.
_RPM_INT32, _RPM_TEXT_TYPES = 4, (6, 8, 9)


def rpm_packages(tree: Tree) -> Iterator[Fact]:
    """
    Observe the installed packages of rpm. Nothing is written, no lock is taken, and no SQL of the database's own runs.

    A database that is damaged, or has a log that was not merged yet, is named in a gap; what could be read is there.
    """
    seen = set()
    for folder in RPM_FOLDERS:
        path = folder + "/rpmdb.sqlite"
        try:
            if tree.kind(path) is None or tree.resolve(path) in seen:
                continue
            seen.add(tree.resolve(path))
            if tree.kind(path + "-wal") == "file" and tree.size(path + "-wal"):
                yield gap("os_packages", "unread", "its log holds changes that are not merged yet", path + "-wal")
            yield from _rpm_database(tree, path)
        except OSError as error:
            yield gap("os_packages", "unread", why(error), path)


def rpm_other_form(tree: Tree) -> tuple[str, str] | None:
    """The path and the form of a database of rpm that is not read; None where there is none."""
    for folder in RPM_FOLDERS:
        for name, form in _RPM_OTHERS:
            try:
                if tree.kind(folder + "/" + name) is not None:
                    return folder + "/" + name, form
            except OSError:
                continue
    return None


def _rpm_database(tree: Tree, path: str) -> Iterator[Fact]:
    try:
        import sqlite3
    except ImportError:
        yield gap("os_packages", "unread", "this Python has no sqlite3 to read it with", path)
        return
    with tree.open(path) as stream:
        connection = sqlite3.connect(":memory:")
        try:
            try:
                number = stream.fileno()
            except (AttributeError, OSError, ValueError):
                _rpm_loaded(connection, stream.read(_RPM_LIMIT))
            else:
                # In a live place the file itself: `immutable` keeps sqlite from making a lock or a log beside it.
                connection.close()
                connection = sqlite3.connect("file:/proc/self/fd/%d?mode=ro&immutable=1" % number, uri=True)
            for row in _rpm_headers(connection):
                yield from _rpm_package(row, path)
        except NotImplementedError:
            yield gap("os_packages", "unread", "Python 3.11 or newer is needed to read it from an image", path)
        except (sqlite3.Error, OverflowError, MemoryError) as error:
            yield gap("os_packages", "unread", "sqlite cannot read it: %s" % why(error), path)
        finally:
            connection.close()


def _rpm_loaded(connection: Any, data: bytes) -> None:
    load = getattr(connection, "deserialize", None)
    if load is None:
        raise NotImplementedError
    if data[18:20] == b"\2\2":
        # rpm writes with a log (https://www.sqlite.org/fileformat2.html, 1.3.3), which one in memory cannot have.
        data = data[:18] + b"\1\1" + data[20:]
    load(data)


def _rpm_headers(connection: Any) -> Iterator[bytes]:
    steps = [0]

    def still_waiting() -> bool:
        steps[0] += 1
        return steps[0] > _RPM_STEPS

    connection.set_progress_handler(still_waiting, 100000)
    connection.execute("PRAGMA trusted_schema = OFF")
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'Packages' AND type = 'table'").fetchall()
    # A view or a virtual table of that name would be a program that somebody else wrote.
    if len(rows) != 1 or not str(rows[0][0]).upper().startswith("CREATE TABLE"):
        raise OverflowError("it has no table `Packages`")
    for (blob,) in connection.execute("SELECT blob FROM Packages ORDER BY hnum"):
        yield blob if isinstance(blob, bytes) else b""


def _rpm_package(blob: bytes, path: str) -> Iterator[Fact]:
    try:
        found = _rpm_header(blob)
    except (struct.error, ValueError) as error:
        yield gap("os_packages", "unread", "a header that is damaged: %s" % error, path)
        return
    name, version, release = found.get("name", ""), found.get("version", ""), found.get("release", "")
    if name == "gpg-pubkey":
        return  # a key that packages are checked with, which rpm keeps as if it were one
    if not name or not version:
        yield gap("os_packages", "unread", "a header without %s" % ("version" if name else "name"), name or path)
        return
    yield {
        "kind": "os-package",
        "name": name,
        "version": found.get("epoch", "") + version + ("-" + release if release else ""),
        "architecture": found.get("architecture", ""),
        "manager": "rpm",
        # `bash-5.1.8-9.el9.src.rpm` is made of name, version and release.
        "source": found.get("source", "").rsplit("-", 2)[0],
    }


def _rpm_header(blob: bytes) -> dict[str, str]:
    """The few tags that are wanted of a header: counts, an index of (tag, type, offset, count), and the data."""
    entries, length = struct.unpack_from(">II", blob, 0)
    start = 8 + 16 * entries
    if start + length > len(blob):
        raise ValueError("it is cut short")
    found = {}
    for number in range(entries):
        tag, kind, offset, _ = struct.unpack_from(">IIII", blob, 8 + 16 * number)
        if tag == _RPM_EPOCH and kind == _RPM_INT32:
            found["epoch"] = "%d:" % struct.unpack_from(">I", blob, start + offset)[0]
        elif tag in _RPM_TEXTS and kind in _RPM_TEXT_TYPES:
            end = blob.index(b"\0", start + offset, start + length)
            found.setdefault(_RPM_TEXTS[tag], blob[start + offset : end].decode("utf-8", "replace"))
    return found
