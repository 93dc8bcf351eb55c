"""Wheels as members of a layer: real ones equal what an installer makes of them, hostile ones are refused by name."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from envparity.collectors.records import record_digest
from envparity.errors import IntegrityError, MalformedError, RefusedError, UnreachableError, UnsupportedError
from envparity.image import zips
from envparity.image.wheels import (
    conflicts,
    merged,
    record_sha256,
    startup_code,
    tag_floor,
    venv_entries,
    wheel_entries,
)
from envparity.oci.entries import Entry
from tests.wheels import content, pack, real_wheel, record_hash

SITE = "opt/env/lib/python3.11/site-packages"
INFO = f"{SITE}/demo-1.0.dist-info"
DEMO = {"demo/__init__.py": b"VALUE = 1\n"}
MARKUPSAFE = ("markupsafe", "3.0.2", "cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64")


def laid_out(wheel: Path, **options: str) -> dict[str, Entry]:
    return {entry.path: entry for entry in wheel_entries(wheel, **options)}  # type: ignore[arg-type]


def own_record(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        return archive.read(name).decode()


@pytest.mark.parametrize("wanted", [("joblib", "1.4.2"), ("threadpoolctl", "3.5.0"), ("click", "8.1.7"), MARKUPSAFE])
def test_the_record_in_the_image_proves_the_same_wheel_as_in_training(wanted: tuple[str, ...]) -> None:
    """`verify` compares these digests; a rewritten RECORD that normalises to another one would fail every image."""
    wheel = real_wheel(*wanted)
    entries = laid_out(wheel)
    (record,) = (path for path in entries if path.endswith(".dist-info/RECORD"))

    assert record_digest(content(entries[record]).decode()) == record_digest(own_record(wheel))


def test_every_file_in_the_image_is_in_its_record_with_its_hash() -> None:
    entries = laid_out(real_wheel(*MARKUPSAFE))
    (record,) = (path for path in entries if path.endswith(".dist-info/RECORD"))
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(content(entries[record]).decode()))}

    assert list(rows) == sorted(rows)
    assert {f"{SITE}/{path}" for path in rows} == set(entries)
    for path, (digest, size) in rows.items():
        data = content(entries[f"{SITE}/{path}"])
        assert (digest, size) == (("", "") if f"{SITE}/{path}" == record else (record_hash(data), str(len(data))))


def test_entries_say_their_size_and_are_sorted_and_plain() -> None:
    entries = wheel_entries(real_wheel(*MARKUPSAFE))

    assert [entry.path for entry in entries] == sorted(entry.path for entry in entries)
    assert {entry.kind for entry in entries} == {"file"}
    assert {entry.mode for entry in entries} <= {0o644, 0o755}
    assert all(entry.size_bytes == len(content(entry)) for entry in entries)


def test_the_same_wheel_under_another_name_and_twice_gives_the_same_entries(tmp_path: Path) -> None:
    """In the cache a wheel is called by its digest."""
    wheel = real_wheel("click", "8.1.7")
    blob = tmp_path / "0123abcd"
    blob.write_bytes(wheel.read_bytes())

    def bytes_of(entries: list[Entry]) -> list[tuple[str, int, bytes]]:
        return [(entry.path, entry.mode, content(entry)) for entry in entries]

    assert bytes_of(wheel_entries(wheel)) == bytes_of(wheel_entries(blob, file_name=wheel.name))
    assert bytes_of(wheel_entries(wheel)) == bytes_of(wheel_entries(wheel))


def test_each_scheme_has_its_place(tmp_path: Path) -> None:
    entries = laid_out(
        pack(
            tmp_path,
            {
                "demo.py": b"",
                "demo-1.0.data/purelib/pure.py": b"",
                "demo-1.0.data/platlib/plat.so": b"",
                "demo-1.0.data/scripts/run": b"#!/bin/sh\n",
                "demo-1.0.data/headers/demo.h": b"",
                "demo-1.0.data/data/share/demo/table.csv": b"",
                "demo-1.0.data/data/lib64/demo.txt": b"",
            },
        ),
        prefix="opt/env",
        python_xy="3.12",
    )
    site = "opt/env/lib/python3.12/site-packages"

    assert {path for path in entries if ".dist-info" not in path} == {
        f"{site}/demo.py",
        f"{site}/pure.py",
        f"{site}/plat.so",
        "opt/env/bin/run",
        "opt/env/include/site/python3.12/demo/demo.h",
        "opt/env/share/demo/table.csv",
        "opt/env/lib/demo.txt",
    }
    record = content(entries[f"{site}/demo-1.0.dist-info/RECORD"]).decode()
    assert "\n../../../bin/run,sha256=" in f"\n{record}"
    assert record_digest(record) == record_digest(own_record(tmp_path / "demo-1.0-py3-none-any.whl"))


def test_scripts_begin_with_the_interpreter_of_the_image(tmp_path: Path) -> None:
    binary = b"\x7fELF" + bytes(100)
    entries = laid_out(
        pack(
            tmp_path,
            {
                "demo-1.0.data/scripts/placeholder": b"#!python -u\nprint(1)\n",
                "demo-1.0.data/scripts/windowed": b"#!pythonw\r\nprint(1)\r\n",
                "demo-1.0.data/scripts/shell": b"#!/bin/sh\necho python\n",
                "demo-1.0.data/scripts/native": binary,
                "demo-1.0.data/scripts/empty": b"",
                "demo-1.0.dist-info/entry_points.txt": (
                    b"[console_scripts]\ndemo = demo.cli:main.run [extra]\n"
                    b"[gui_scripts]\nDemoGui=demo:gui\n[other]\nx = y\n"
                ),
            },
        )
    )
    scripts = {path.rpartition("/")[2]: entry for path, entry in entries.items() if path.startswith("opt/env/bin/")}

    assert {entry.mode for entry in scripts.values()} == {0o755}
    assert content(scripts["placeholder"]) == b"#!/opt/env/bin/python\nprint(1)\n"
    assert content(scripts["windowed"]) == b"#!/opt/env/bin/python\r\nprint(1)\r\n"
    assert content(scripts["shell"]) == b"#!/bin/sh\necho python\n"
    assert content(scripts["native"]) == binary
    assert content(scripts["empty"]) == b""
    assert content(scripts["demo"]).startswith(b"#!/opt/env/bin/python\n")
    assert b"from demo.cli import main\n" in content(scripts["demo"])
    assert b"sys.exit(main.run())" in content(scripts["demo"])
    assert set(scripts) == {"placeholder", "windowed", "shell", "native", "empty", "demo", "DemoGui"}


def test_what_only_an_installer_or_a_compiler_writes_is_not_taken_from_the_wheel(tmp_path: Path) -> None:
    entries = laid_out(
        pack(
            tmp_path,
            {
                **DEMO,
                "demo/__pycache__/__init__.cpython-311.pyc": b"\0",
                "demo/sourceless.pyc": b"\0",
                "demo-1.0.dist-info/INSTALLER": b"conda\n",
                "demo-1.0.dist-info/REQUESTED": b"",
                "demo-1.0.dist-info/direct_url.json": b"{}",
            },
        )
    )

    assert set(entries) == {
        f"{SITE}/demo/__init__.py",
        f"{SITE}/demo/sourceless.pyc",
        *(f"{INFO}/{name}" for name in ("INSTALLER", "METADATA", "RECORD", "WHEEL")),
    }
    assert content(entries[f"{INFO}/INSTALLER"]) == b"envparity\n"
    assert "__pycache__" not in content(entries[f"{INFO}/RECORD"]).decode()


def test_only_the_bit_for_execution_of_a_mode_is_kept(tmp_path: Path) -> None:
    modes = {"demo/tool": stat.S_IFREG | 0o4777, "demo/plain": stat.S_IFREG | 0o666, "demo/none": 0}
    entries = laid_out(pack(tmp_path, dict.fromkeys(modes, b""), modes=modes))

    assert {path.rpartition("/")[2]: entries[f"{SITE}/{path}"].mode for path in modes} == {
        "tool": 0o755,
        "plain": 0o644,
        "none": 0o644,
    }


def test_a_content_that_is_not_what_record_promises_fails_while_it_is_read(tmp_path: Path) -> None:
    """The wheel's own hash was checked when it was fetched; this finds one that was made wrong, or a damaged disk."""
    wrong = record_hash(b"VALUE = 2\n")
    info = "demo-1.0.dist-info"
    rows = [f"demo/__init__.py,{wrong},10", f"{info}/METADATA,{wrong},", f"{info}/WHEEL,{wrong},", f"{info}/RECORD,,"]
    entries = laid_out(pack(tmp_path, DEMO, record="\n".join(rows).encode()))

    with pytest.raises(IntegrityError, match=r"`demo/__init__\.py`.*does not have the sha256 that RECORD promises"):
        content(entries[f"{SITE}/demo/__init__.py"])


def test_a_reader_that_counts_bytes_and_never_asks_for_the_end_is_told_too(tmp_path: Path) -> None:
    wheel = pack(tmp_path, DEMO)
    (member,) = (each for each in zips.members(wheel) if each.name == "demo/__init__.py")

    with pytest.raises(IntegrityError), member.open(("sha256", bytes(32))) as stream:
        stream.read(member.size_bytes)


def test_stored_bytes_that_were_altered_are_found_without_a_record(tmp_path: Path) -> None:
    wheel = pack(tmp_path, {"demo/data": bytes(range(256)) * 40})
    (member,) = (each for each in zips.members(wheel) if each.name == "demo/data")
    data = bytearray(wheel.read_bytes())
    data[member.start + member.stored_bytes // 2] ^= 0xFF
    wheel.write_bytes(data)

    with pytest.raises(IntegrityError, match="demo/data"), member.open() as stream:
        stream.read()


@pytest.mark.parametrize("size", [10_000, 700_000])
def test_the_stream_that_a_wheel_holds_is_given_with_what_it_inflates_to(tmp_path: Path, size: int) -> None:
    """Whoever stores the stream as it is says of it only what was checked: size, digest, and that nothing follows."""
    data = b"".join(struct.pack("<L", number * number % 99_991) for number in range(size // 4))
    wheel = pack(tmp_path, {"demo/data": data})
    (member,) = (each for each in zips.members(wheel) if each.name == "demo/data")
    right = zips.Content(member, ("sha256", hashlib.sha256(data).digest()))
    pieces = list(right.pieces())

    assert b"".join(given for given, _ in pieces) == data
    stream = b"".join(stored for _, stored in pieces)
    assert stream == wheel.read_bytes()[member.start : member.start + member.stored_bytes]
    assert zlib.decompress(stream, wbits=-15) == data
    longer = dataclasses.replace(member, stored_bytes=member.stored_bytes + 1)
    for wrong in (
        zips.Content(member, ("sha256", bytes(32))),
        zips.Content(longer),
        zips.Content(dataclasses.replace(member, crc=member.crc ^ 1)),
        zips.Content(dataclasses.replace(member, size_bytes=size - 4)),
    ):
        with pytest.raises(IntegrityError):
            list(wrong.pieces())


def refused(wheel: Path, message: str, file_name: str = "") -> None:
    with pytest.raises(MalformedError, match=message):
        wheel_entries(wheel, file_name=file_name)


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "demo/../../evil.py",
        "/etc/passwd",
        "C:/evil.py",
        "demo\\..\\evil",
        "a//b",
        "./a",
        "a\nb",
        "a\x1b[2J",
    ],
)
def test_a_name_that_leads_out_or_cannot_be_printed_is_refused(tmp_path: Path, name: str) -> None:
    refused(pack(tmp_path, DEMO, extra=[(name, b"")]), "leads out of it or cannot be printed")


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    """CVE-2021-29136: a link, then a file written through it."""
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFDIR):
        refused(
            pack(tmp_path, DEMO, extra=[("demo/link", b"/etc")], modes={"demo/link": kind | 0o777}),
            "`demo/link`, which is neither a file nor a folder",
        )


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_and_a_file_that_is_a_folder_are_refused(tmp_path: Path) -> None:
    """CVE-2025-54368: two readers take different ones of the two."""
    refused(pack(tmp_path, DEMO, extra=[("demo/__init__.py", b"evil()")]), r"`demo/__init__\.py` twice")
    refused(pack(tmp_path, DEMO, extra=[("demo", b"")]), "`demo` as a file and as a folder")


def test_bytes_before_after_or_between_the_members_are_refused(tmp_path: Path) -> None:
    """Whoever reads from the front sees another archive than whoever reads from the end."""
    wheel = pack(tmp_path, DEMO)
    good = wheel.read_bytes()
    second = good.index(b"PK\x03\x04", 4)
    start = struct.unpack("<L", good[-6:-2])[0]
    moved = good[:-6] + struct.pack("<L", start + 3) + good[-2:]

    wheel.write_bytes(b"#!x" + good)
    refused(wheel, "holds data before its first member")
    wheel.write_bytes(b"#!x" + moved)
    refused(wheel, "otherwise in its directory")
    wheel.write_bytes(b"#!x")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("demo.py", b"")
    refused(wheel, "gap or an overlap before its member")
    wheel.write_bytes(good + b"x")
    refused(wheel, "cut short, or data or a comment follow it")
    wheel.write_bytes(good[:-2] + b"\1\0!")
    refused(wheel, "cut short, or data or a comment follow it")
    wheel.write_bytes(good[: len(good) // 2])
    refused(wheel, "cut short, or data or a comment follow it")
    wheel.write_bytes(b"PK")
    refused(wheel, "it has 2 bytes")
    wheel.write_bytes(moved[:start] + b"gap" + moved[start:])
    refused(wheel, "data between its last member and its directory")
    altered = bytearray(good)
    altered[second + 30] ^= 1
    wheel.write_bytes(altered)
    refused(wheel, "otherwise in its directory")


def test_a_damaged_directory_is_malformed(tmp_path: Path) -> None:
    wheel = pack(tmp_path, DEMO)
    wheel.write_bytes(wheel.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x03"))

    refused(wheel, "is not a zip archive that can be read: Bad magic number")


def test_a_zip64_end_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    """CVE-2025-8291: zipfile follows the locator wherever it points."""
    wheel = pack(tmp_path, DEMO)
    good = wheel.read_bytes()
    end = len(good) - 22
    count, length, start = struct.unpack("<HLL", good[end + 10 : end + 20])

    def with_zip64(record_at: int, record_start: int) -> bytes:
        record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, length, record_start)
        return good[:end] + record + struct.pack("<4sLQL", b"PK\x06\x07", 0, record_at, 1) + good[end:]

    wheel.write_bytes(with_zip64(end, start))
    assert len(wheel_entries(wheel)) == 5
    wheel.write_bytes(with_zip64(end - 10, start))
    refused(wheel, "zip64 end that does not fit")
    wheel.write_bytes(with_zip64(end, start + 1))
    refused(wheel, "two different directories")


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (24, b"\x0b", "another size or CRC in its directory"),
        (16, b"\0\0\0\0", "another size or CRC in its directory"),
        (20, b"\xff\xff", "gap or an overlap|between its last member"),
        (42, b"\1", "otherwise in its directory|gap or an overlap"),
    ],
)
def test_two_headers_that_disagree_are_refused(tmp_path: Path, at: int, value: bytes, message: str) -> None:
    wheel = pack(tmp_path, DEMO)
    data = bytearray(wheel.read_bytes())
    header = data.rindex(b"PK\x01\x02", 0, data.index(b"demo/__init__.py", data.index(b"PK\x01\x02")))
    data[header + at : header + at + len(value)] = value
    wheel.write_bytes(data)

    refused(wheel, message)


@pytest.mark.parametrize(
    ("stored", "size", "message"),
    [
        (b"0123456789", 5, "is longer than the archive declares"),
        (b"0123456789", 12, "is shorter than the archive declares"),
        (b"0123456789", 10, "does not have the CRC"),
    ],
)
def test_a_content_of_another_length_than_declared_is_never_passed_on(
    tmp_path: Path, stored: bytes, size: int, message: str
) -> None:
    """Both headers may lie in the same way; only the inflated bytes tell."""
    packed = zlib.compress(stored, wbits=-15)
    place = tmp_path / "stored"

    def read(data: bytes, deflated: bool) -> bytes:
        place.write_bytes(data)
        return zips.read(zips.Member(place, "demo", size, len(data), 0, deflated, 0, False))

    with pytest.raises(IntegrityError, match=message):
        read(packed, True)
    with pytest.raises(IntegrityError, match=message):
        read(stored, False)
    if size == len(stored):
        with pytest.raises(IntegrityError, match="bytes that belong to nothing"):
            read(packed + b"more", True)
        with pytest.raises(IntegrityError, match="cannot be inflated"):
            read(b"\xff\xff" + packed, True)


def test_metadata_that_is_too_large_to_be_read_is_refused(tmp_path: Path) -> None:
    refused(pack(tmp_path, {"demo-1.0.dist-info/METADATA": bytes(17 << 20)}), "over the limit of 16,777,216")


def test_a_wrong_or_too_great_number_of_members_and_too_long_names_are_refused(tmp_path: Path) -> None:
    refused(pack(tmp_path, DEMO, extra=[("a" * 5000, b"")]), "a name of more than 4,096 bytes")
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo.py", b"")
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    directory = data[start:-22]

    def saying(count: int) -> bytes:
        record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(directory), start)
        locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, start + len(directory), 1)
        end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(directory), start, 0)
        return data[:start] + directory + record + locator + end

    path.write_bytes(saying(200_001))
    refused(path, "200,001 members, over the limit of 200,000")
    path.write_bytes(saying(2))
    refused(path, "says that it has 2 members, and lists 1")


def test_a_folder_with_content_and_a_name_of_unknown_encoding_are_refused(tmp_path: Path) -> None:
    refused(pack(tmp_path, DEMO, extra=[("demo/sub/", b"x")]), "folder `demo/sub/` with content")
    wheel = pack(tmp_path, {"demo/é.py": b""})
    assert any(entry.path.endswith("é.py") for entry in wheel_entries(wheel))
    data = bytearray(wheel.read_bytes())
    name = "demo/é.py".encode()
    local, listed = data.index(name), data.rindex(name)
    data[local - 30 + 7] = data[listed - 46 + 9] = 0  # the high byte of the flags: the name is UTF-8
    wheel.write_bytes(data)
    refused(wheel, "does not say how the name 'demo/├⌐.py' is encoded")


def test_an_archive_that_inflates_beyond_reason_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    """CVE-2019-9674."""
    wheel = pack(tmp_path, DEMO)
    data = bytearray(wheel.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<L", 2 << 30)
    wheel.write_bytes(data)

    refused(wheel, "would inflate to 2,147,48")


def test_an_encrypted_or_oddly_packed_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("demo.py", b"")
    refused(path, "packs `demo.py` by method 14")

    wheel = pack(tmp_path, DEMO)
    data = bytearray(wheel.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    wheel.write_bytes(data)
    refused(wheel, "encrypted")


def test_a_file_that_record_does_not_vouch_for_is_refused(tmp_path: Path) -> None:
    refused(pack(tmp_path, DEMO, extra=[("demo/extra.py", b"")]), "`demo/extra.py`, which its RECORD does not vouch")
    refused(pack(tmp_path, DEMO, extra=[("demo-1.0.dist-info/RECORD.txt", b"")]), "does not vouch")
    assert wheel_entries(pack(tmp_path, DEMO, extra=[("demo-1.0.dist-info/RECORD.jws", b"")]))


def test_a_record_that_is_not_valid_is_refused(tmp_path: Path) -> None:
    info = "demo-1.0.dist-info"
    good = [
        f"demo/__init__.py,{record_hash(DEMO['demo/__init__.py'])},10",
        f"{info}/METADATA,sha256={'A' * 43},",
        f"{info}/WHEEL,sha256={'A' * 43},",
    ]

    def with_rows(*rows: str) -> Path:
        return pack(tmp_path, DEMO, record="\n".join([*good, *rows, ""]).encode())

    assert wheel_entries(with_rows("demo/,,", "demo/old.pyc,,"))
    refused(with_rows("demo/gone.py,sha256=x,1"), "lacks `demo/gone.py`")
    refused(with_rows("../../../bin/sh,sha256=x,1"), r"RECORD of wheel .* is not valid.*line 4")
    refused(with_rows("demo/a"), "is not valid")
    refused(with_rows("demo/__init__.py,sha256=x,10"), "twice")
    refused(pack(tmp_path, DEMO, record=b"\xff\xfe"), "cannot be read")
    for weak in ("md5=AAAAAAAAAAAAAAAAAAAAAA", "sha256=short", "sha256=!", "sha256"):
        rows = [f"demo/__init__.py,{weak},10", *good[1:]]
        refused(pack(tmp_path, DEMO, record="\n".join(rows).encode()), "no usable hash of `demo/__init__.py`")
    with pytest.raises(IntegrityError, match="has 10 bytes, and RECORD says 11"):
        wheel_entries(pack(tmp_path, DEMO, record="\n".join([good[0][:-2] + "11", *good[1:]]).encode()))


def test_the_name_the_folder_and_the_metadata_must_agree(tmp_path: Path) -> None:
    wheel = pack(tmp_path, DEMO)

    assert wheel_entries(wheel, file_name="demo-1.0.0-py3-none-any.whl")
    refused(wheel, "holds the metadata of another one: `demo-1.0.dist-info`", "other-1.0-py3-none-any.whl")
    refused(wheel, "holds the metadata of another one", "demo-1.1-py3-none-any.whl")
    refused(wheel, "is not the name of a wheel", "0123abcd")
    refused(
        pack(tmp_path, {"demo-1.0.dist-info/METADATA": b"Name: other\nVersion: 1.0\n\nName: demo\n"}),
        "calls itself other 1.0 in its METADATA",
    )


def test_two_metadata_folders_or_none_are_refused(tmp_path: Path) -> None:
    refused(pack(tmp_path, {"other-2.0.dist-info/METADATA": b""}), "holds `demo-1.0.dist-info`, `other-2.0.dist-info`")
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo.py", b"")
    refused(path, "must hold one .dist-info folder, and holds none")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo-1.0.dist-info/METADATA", b"Name: demo\nVersion: 1.0\n")
    refused(path, "has no WHEEL")


def test_a_wheel_of_a_later_format_is_not_supported(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"of format 2\.0"):
        wheel_entries(pack(tmp_path, {"demo-1.0.dist-info/WHEEL": b"Wheel-Version: 2.0\n"}))


@pytest.mark.parametrize(
    "name",
    [
        "demo-1.0.data/data/pyvenv.cfg",
        "demo-1.0.data/scripts/python",
        "demo-1.0.data/data/bin/python3.11",
        "demo-1.0.data/data/lib64",
        "demo-1.0.data/data/lib/python3.11/site-packages/other-1.0.dist-info/METADATA",
        "demo-1.0.data/purelib/other-1.0.dist-info/RECORD",
    ],
)
def test_a_wheel_may_not_replace_the_interpreter_or_the_metadata_of_others(tmp_path: Path, name: str) -> None:
    refused(pack(tmp_path, {name: b""}), "which is not its own")


@pytest.mark.parametrize(
    "line",
    [b"../../../bin/sh = demo:main", b"a/b = demo:main", b"x = demo", b"x = demo:main; import os", b"x = os:a\n\tb"],
)
def test_a_program_that_leaves_its_folder_or_is_code_is_refused(tmp_path: Path, line: bytes) -> None:
    """GHSA-4gg8-gxpx-9rph: an entry point's name was used as a path."""
    name = "demo-1.0.dist-info/entry_points.txt"
    refused(pack(tmp_path, {name: b"[console_scripts]\n" + line + b"\n"}), "asks for a program")


def test_entry_points_that_cannot_be_read_or_replace_the_interpreter_are_refused(tmp_path: Path) -> None:
    name = "demo-1.0.dist-info/entry_points.txt"

    refused(pack(tmp_path, {name: b"nonsense\n"}), "entry_points.txt of wheel .* cannot be read")
    refused(pack(tmp_path, {name: b"\xff"}), "cannot be read")
    refused(pack(tmp_path, {name: b"[console_scripts]\npython = demo:main\n"}), "`/opt/env/bin/python`")


def test_a_placeholder_line_without_an_end_is_no_script(tmp_path: Path) -> None:
    refused(pack(tmp_path, {"demo-1.0.data/scripts/run": b"#!python" + b"x" * 5000}), "is no script")


def test_data_of_another_distribution_and_unknown_schemes_are_refused(tmp_path: Path) -> None:
    refused(pack(tmp_path, {"other-1.0.data/purelib/x.py": b""}), "belongs to another distribution")
    refused(pack(tmp_path, {"demo-1.0.data/stdlib/os.py": b""}), "there is no scheme `stdlib`")
    refused(pack(tmp_path, {"demo.py": b"", "demo-1.0.data/purelib/demo.py": b""}), "two files in one place")


def test_a_wheel_that_cannot_be_read_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"cannot read `demo-1\.0-py3-none-any\.whl`"):
        wheel_entries(tmp_path / "demo-1.0-py3-none-any.whl")


def test_two_owners_of_one_path_are_both_named(tmp_path: Path) -> None:
    """pip lets the last one win; which one that is depends on an order that nobody wrote down."""
    one = wheel_entries(pack(tmp_path, {"cv2/__init__.py": b"one", "cv2/a.py": b""}))
    other = wheel_entries(
        pack(tmp_path, {"cv2/__init__.py": b"two", "cv2/a.py": b""}, file_name="other-1.0-py3-none-any.whl")
    )
    third = wheel_entries(pack(tmp_path, {"cv2.py": b"", "cv2/a.py/b": b""}, file_name="third-1.0-py3-none-any.whl"))

    conflicts([("one", one), ("environment", venv_entries("3.11", "/usr/bin", "3.11.2"))])
    with pytest.raises(RefusedError) as caught:
        conflicts([("one", one), ("other", other), ("third", third)])

    assert caught.value.details == (
        f"one and other: 1 path(s), first `/{SITE}/cv2/__init__.py`",
        f"one and third: 1 path(s), first `/{SITE}/cv2/a.py`",
    )


def test_files_that_are_equal_byte_for_byte_do_no_harm(tmp_path: Path) -> None:
    """The wheels of one CUDA release all bring the same empty `nvidia/__init__.py`."""
    one = wheel_entries(pack(tmp_path, {"nvidia/__init__.py": b""}, file_name="one-1.0-py3-none-any.whl"))
    two = wheel_entries(pack(tmp_path, {"nvidia/__init__.py": b""}, file_name="two-1.0-py3-none-any.whl"))

    paths = [entry.path for entry in merged([("one", one), ("two", two)])]

    assert len(paths) == len(one) + len(two) - 1
    assert paths == sorted(set(paths))


def test_a_virtual_environment_is_its_settings_and_four_links() -> None:
    entries = {entry.path: entry for entry in venv_entries("3.11", "/opt/python/bin", "3.11.7")}

    assert {path: entry.target for path, entry in entries.items() if entry.kind == "link"} == {
        "opt/env/bin/python": "/opt/python/bin/python3.11",
        "opt/env/bin/python3": "python",
        "opt/env/bin/python3.11": "python",
        "opt/env/lib64": "lib",
    }
    assert content(entries["opt/env/pyvenv.cfg"]).decode() == (
        "home = /opt/python/bin\ninclude-system-site-packages = false\nversion = 3.11.7\n"
    )
    assert entries[SITE].kind == "folder"


def test_code_that_runs_whenever_python_starts_is_reported(tmp_path: Path) -> None:
    """The litellm wheel of 24 March 2026 carried a .pth file that stole credentials."""
    entries = wheel_entries(
        pack(
            tmp_path,
            {
                "evil.pth": b"# a comment\nimport os; os.system('x')\n",
                "tab.pth": b"import\tos\n",
                "paths.pth": b"/srv/lib\nimportant\n",
                "demo/inner.pth": b"import os\n",
                "sitecustomize.py": b"",
            },
        )
    )

    assert startup_code(entries) == (f"{SITE}/evil.pth", f"{SITE}/sitecustomize.py", f"{SITE}/tab.pth")


def test_the_record_of_a_wheel_is_that_of_its_installation(tmp_path: Path) -> None:
    """What proves that an index still serves the wheel which trained the model."""
    wheel = real_wheel(*MARKUPSAFE)
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (record,) = site.glob("*.dist-info/RECORD")
    record.write_text(record.read_text() + f"{record.parent.name}/INSTALLER,sha256=x,4\nmarkupsafe/x.pyc,,\n")

    assert record_sha256(wheel) == record_digest(record.read_text())
    record.write_text(record.read_text().replace("sha256=", "sha256=A", 1))
    assert record_sha256(wheel) != record_digest(record.read_text())


def test_a_wheel_without_a_record_is_malformed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "demo-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("demo/__init__.py", "")

    with pytest.raises(MalformedError, match="no RECORD"):
        record_sha256(tmp_path / "demo-1.0-py3-none-any.whl")


@pytest.mark.parametrize(
    ("file_name", "floor"),
    [
        ("numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "2.17"),
        ("scipy-1.17.1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", "2.27"),
        ("old-1.0-cp36-cp36m-manylinux1_x86_64.whl", "2.5"),
        ("demo-1.0-py3-none-any.whl", ""),
        ("demo-1.0-cp311-cp311-musllinux_1_2_x86_64.whl", ""),
    ],
)
def test_the_oldest_glibc_that_a_name_promises(file_name: str, floor: str) -> None:
    assert tag_floor(file_name) == floor
