"""Packages of Alpine and of rpm: each database is read by itself, and what is wrong with one is said."""

import sqlite3
import struct

import pytest

from envparity.collectors.dpkg import os_packages
from envparity.collectors.tree import LocalTree

RPMDB = "/var/lib/rpm/rpmdb.sqlite"
FROM_BYTES = hasattr(sqlite3.Connection, "deserialize")


def of_kind(facts, kind):
    return [fact for fact in facts if fact["kind"] == kind]


def named(facts):
    return [(fact["name"], fact["version"], fact["manager"]) for fact in of_kind(facts, "os-package")]


def package(name, version, manager, source):
    fact = {"kind": "os-package", "name": name, "version": version, "architecture": "x86_64"}
    return dict(fact, manager=manager, source=source)


def reasons(facts):
    return [fact["reason"] for fact in of_kind(facts, "gap")]


APK = b"""C:Q1abc=
P:musl
V:1.2.5-r0
A:x86_64
o:musl
F:lib
R:ld-musl-x86_64.so.1
Z:Q1def=

C:Q1ghi=
P:libcrypto3
V:3.3.2-r1
A:x86_64
o:openssl
"""


def test_packages_of_alpine_are_read(tree_of):
    facts = list(os_packages(tree_of({"/lib/apk/db/installed": APK})))

    assert facts == [
        package("musl", "1.2.5-r0", "apk", "musl"),
        package("libcrypto3", "3.3.2-r1", "apk", "openssl"),
        {"kind": "section", "section": "os_packages"},
    ]


@pytest.mark.parametrize("cut", range(APK.index(b"\n\n"), len(APK) - 12, 3))
def test_a_cut_database_of_alpine_never_says_less_without_a_gap(tree_of, cut):
    """Where the cut falls into a stanza's own name or version, it must not be passed over."""
    facts = list(os_packages(tree_of({"/lib/apk/db/installed": APK[:cut]})))

    second = APK[:cut].partition(b"\n\n")[2].strip()
    assert ("musl", "1.2.5-r0", "apk") in named(facts)
    assert len(named(facts)) + len(reasons(facts)) == (2 if second else 1)


def test_one_database_at_two_paths_is_read_once(tree_of):
    tree = tree_of({"/usr/lib/apk/db/installed": APK, "/lib": "usr/lib"})

    assert len(named(os_packages(tree))) == 2


# rpm.


def header(cut=0, **tags):
    """A header as rpm keeps it: an index of (tag, type, offset, count), then the data."""
    numbers = {"name": 1000, "version": 1001, "release": 1002, "epoch": 1003, "arch": 1022, "source": 1044}
    index, store = b"", b""
    for name, value in tags.items():
        if isinstance(value, int):
            store += bytes(-len(store) % 4)
            index += struct.pack(">IIII", numbers[name], 4, len(store), 1)
            store += struct.pack(">I", value)
        else:
            index += struct.pack(">IIII", numbers[name], 6, len(store), 1)
            store += value.encode() + b"\0"
    return (struct.pack(">II", len(tags), len(store)) + index + store)[: cut or None]


BASH = header(name="bash", version="5.1.8", release="9.el9", arch="x86_64", source="bash-5.1.8-9.el9.src.rpm")
OPENSSL = header(name="openssl-libs", epoch=1, version="3.0.7", release="27.el9", arch="x86_64")
KEY = header(name="gpg-pubkey", version="fd431d51", release="4ae0493b")


def database(
    path, *headers, schema="CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)"
):
    """What rpm's sqlite backend makes; with a log, as rpm has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(str(path))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(schema)
    if headers:
        connection.executemany("INSERT INTO Packages (blob) VALUES (?)", [(blob,) for blob in headers])
    connection.commit()
    connection.close()
    return path.read_bytes()


def both(tmp_path, tree_of, *headers, **more):
    """The facts of one database, read live and, where this Python can, from an image."""
    data = database(tmp_path / RPMDB[1:], *headers, **more)
    live = list(os_packages(LocalTree(str(tmp_path))))
    if FROM_BYTES:
        assert list(os_packages(tree_of({RPMDB: data}))) == live
    return live


def test_packages_of_rpm_are_read_and_nothing_is_left_beside_them(tmp_path, tree_of):
    facts = both(tmp_path, tree_of, BASH, KEY, OPENSSL)

    assert facts == [
        package("bash", "5.1.8-9.el9", "rpm", "bash"),
        package("openssl-libs", "1:3.0.7-27.el9", "rpm", ""),
        {"kind": "section", "section": "os_packages"},
    ]
    assert [path.name for path in (tmp_path / "var/lib/rpm").iterdir()] == ["rpmdb.sqlite"]


@pytest.mark.skipif(FROM_BYTES, reason="this Python reads a database from bytes")
def test_an_old_python_says_that_it_cannot_read_a_database_of_an_image(tmp_path, tree_of):
    data = database(tmp_path / "db", BASH)

    assert reasons(os_packages(tree_of({RPMDB: data}))) == ["Python 3.11 or newer is needed to read it from an image"]


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (b"", "a header that is damaged"),
        (BASH[:40], "it is cut short"),
        (b"\xff" * 64, "it is cut short"),
        (header(name="bash"), "a header without version"),
        (header(version="1"), "a header without name"),
        (struct.pack(">II", 1, 4) + struct.pack(">IIII", 1000, 6, 1 << 31, 1) + b"abcd", "a header that is damaged"),
        (struct.pack(">II", 1, 4) + struct.pack(">IIII", 1000, 6, 0, 1) + b"abcd", "a header that is damaged"),
    ],
)
def test_a_damaged_header_does_not_hide_the_others(tmp_path, tree_of, blob, reason):
    facts = both(tmp_path, tree_of, BASH, blob, OPENSSL)

    assert [item[0] for item in named(facts)] == ["bash", "openssl-libs"]
    assert len(reasons(facts)) == 1
    assert reason in reasons(facts)[0]


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE TABLE Names (hnum INTEGER)",
        "CREATE VIEW Packages AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
        "SELECT x AS blob, x AS hnum FROM n",
    ],
)
def test_a_database_with_another_table_or_a_program_in_its_place_is_a_gap(tmp_path, tree_of, schema):
    facts = both(tmp_path, tree_of, schema=schema)

    assert named(facts) == []
    assert reasons(facts) == ["sqlite cannot read it: it has no table `Packages`"]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: b"\0" * 5000,
        lambda data: data[:3000],
        lambda data: b"SQLite format 3\0" + b"\xff" * 4096,
    ],
)
def test_a_damaged_database_is_a_gap_and_the_others_are_still_read(tmp_path, tree_of, change):
    data = change(database(tmp_path / "db", *[BASH] * 50))
    place = tmp_path / "root" / RPMDB[1:]
    place.parent.mkdir(parents=True)
    place.write_bytes(data)
    apk = tmp_path / "root/lib/apk/db/installed"
    apk.parent.mkdir(parents=True)
    apk.write_bytes(APK)

    facts = list(os_packages(LocalTree(str(tmp_path / "root"))))

    assert [item[0] for item in named(facts)][:2] == ["musl", "libcrypto3"]
    assert [reason for reason in reasons(facts) if "sqlite cannot read it" in reason]


def test_changes_that_are_not_merged_yet_are_a_gap(tmp_path):
    """rpm was killed: what it wrote last stands in the log, which a reader that writes nothing cannot merge."""
    database(tmp_path / RPMDB[1:], BASH)
    (tmp_path / (RPMDB[1:] + "-wal")).write_bytes(b"x")

    facts = list(os_packages(LocalTree(str(tmp_path))))

    assert named(facts) == [("bash", "5.1.8-9.el9", "rpm")]
    assert reasons(facts) == ["its log holds changes that are not merged yet"]


@pytest.mark.parametrize(("name", "form"), [("Packages", "Berkeley DB"), ("Packages.db", "ndb")])
def test_the_older_forms_are_named(tree_of, name, form):
    assert reasons(os_packages(tree_of({"/var/lib/rpm/" + name: b"x"}))) == [
        "the database of rpm is in the form of " + form + ", which is not read"
    ]
