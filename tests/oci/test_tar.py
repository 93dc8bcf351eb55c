from __future__ import annotations

import contextlib
import io
import random
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from envparity.errors import IntegrityError, MalformedError, RefusedError
from envparity.oci.entries import Entry, normal, shown
from envparity.oci.extent import Extent
from envparity.oci.tar import Limits, header_of, read_layer, write_layer
from tests.oci import hostile
from tests.tools import needs_tool


def written(*entries: Entry, **options: object) -> bytes:
    sink = io.BytesIO()
    write_layer(sink, entries, **options)  # type: ignore[arg-type]
    return sink.getvalue()


def read(data: bytes, **options: object) -> dict[str, tuple[Entry, bytes]]:
    found = {}
    for raw in read_layer(io.BytesIO(data), **options):  # type: ignore[arg-type]
        found[raw.entry.path] = (raw.entry, raw.reader.read())
    return found


def file(path: str, content: bytes = b"", mode: int = 0o644) -> Entry:
    return Entry(path, "file", mode, content=content)


names = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=60).filter(
    lambda name: name not in {".", ".."} and not name.startswith(".wh.")
)
paths = st.lists(names, min_size=1, max_size=4).map("/".join)


@given(st.dictionaries(paths, st.binary(max_size=1100), max_size=6), st.randoms())
def test_what_is_written_is_read_back_and_the_order_given_does_not_matter(
    contents: dict[str, bytes], luck: random.Random
) -> None:
    contents = {path: data for path, data in contents.items() if not any(o.startswith(path + "/") for o in contents)}
    entries = [file(path, data) for path, data in contents.items()]

    layer = written(*entries)

    luck.shuffle(entries)
    assert written(*entries) == layer
    assert {path: data for path, (entry, data) in read(layer).items() if entry.kind == "file"} == contents
    with tarfile.open(fileobj=io.BytesIO(layer)) as other:
        assert {member.name for member in other if member.isfile()} == set(contents)


def test_a_parent_takes_its_header_from_the_layer_below() -> None:
    """A generic 0755 parent would make /tmp of the base 0755 root, and the image's user could no longer write there."""
    base = {"tmp": Entry("tmp", "folder", 0o1777), "home/app": Entry("home/app", "folder", 0o700, 10001, 10001)}

    found = read(written(file("tmp/a"), file("home/app/b"), file("opt/env/c"), folders=base))

    assert {path: (entry.mode, entry.uid) for path, (entry, _) in found.items() if entry.kind == "folder"} == {
        "tmp": (0o1777, 0),
        "home": (0o755, 0),
        "home/app": (0o700, 10001),
        "opt": (0o755, 0),
        "opt/env": (0o755, 0),
    }


def test_a_folder_that_is_an_entry_of_its_own_is_written_once() -> None:
    found = list(read_layer(io.BytesIO(written(file("a/b"), Entry("a", "folder", 0o700)))))
    assert [(raw.entry.path, raw.entry.mode) for raw in found] == [("a", 0o700), ("a/b", 0o644)]


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ((file("a", b"1"), file("a", b"22")), "a file of 1 bytes and a file of 2 bytes"),
        ((file("a"), file("a/b")), "which is a file"),
        ((Entry("lib", "link", 0o777, target="usr/lib"), file("lib/x")), "which is a link"),
        ((file("../x"),), "leads out of the image"),
        ((file("/x"),), "normal form"),
        ((file("a//x"),), "normal form"),
        ((file("a/.wh.x"),), "reads as a deletion"),
        ((Entry("dev/null", "other", 0o666),), "device"),
        ((Entry("l", "link", 0o777),), "no target"),
        ((Entry("h", "hardlink", 0o644, target="l"), Entry("l", "folder", 0o755)), "no file of this layer"),
        ((Entry("", "file", 0o644),), "the root of an image"),
        ((Entry("a", "file", 0o100644),), "out of range"),
    ],
)
def test_what_engines_would_read_differently_is_not_written(entries: tuple[Entry, ...], says: str) -> None:
    with pytest.raises((RefusedError, MalformedError), match=says):
        written(*entries)


def test_a_parent_that_is_a_link_below_is_refused() -> None:
    """Docker's overlay hides the link behind a new folder, umoci follows it: two images out of one layer."""
    with pytest.raises(RefusedError, match=r"`lib/x` lies below `lib`, which is a link"):
        written(file("lib/x"), folders={"lib": Entry("lib", "link", 0o777, target="usr/lib")})


@pytest.mark.parametrize("content", [b"short", b"far too long"])
def test_a_file_that_is_not_as_long_as_its_entry_says_is_an_integrity_error(content: bytes) -> None:
    entry = Entry("a", "file", 0o644, size_bytes=8, content=lambda: io.BytesIO(content))
    with pytest.raises(IntegrityError, match="should have 8 bytes"):
        written(entry)


def test_content_is_opened_when_its_turn_comes_and_closed_again() -> None:
    open_now: list[str] = []
    most: list[int] = []

    class Content(io.BytesIO):
        def __init__(self, name: str) -> None:
            super().__init__(b"x")
            self.label = name
            open_now.append(name)
            most.append(len(open_now))

        def close(self) -> None:
            if self.label in open_now:
                open_now.remove(self.label)
            super().close()

    written(*(Entry(name, "file", 0o644, size_bytes=1, content=lambda name=name: Content(name)) for name in "abc"))

    assert (max(most), open_now) == (1, [])


def test_what_ustar_cannot_hold_goes_into_pax_records_and_comes_back() -> None:
    entries = {
        "n" * 101: Entry("n" * 101, "file", 0o644, content=b"1"),
        "d" * 150 + "/" + "f" * 90: Entry("d" * 150 + "/" + "f" * 90, "file", 0o644, content=b"2"),
        "ümläut": Entry("ümläut", "link", 0o777, target="ü" * 60),
        "raw\udcff": Entry("raw\udcff", "file", 0o4755, uid=4_000_000_000, gid=2**21, content=b"3"),
    }
    layer = written(*entries.values())

    found = read(layer)

    for path, entry in entries.items():
        got = found[path][0]
        assert (got.kind, got.mode, got.uid, got.gid, got.target) == (
            entry.kind, entry.mode, entry.uid, entry.gid, entry.target
        )  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(layer)) as other:
        assert set(entries) <= {member.name for member in other}


def test_gnu_tar_reads_what_we_write(tmp_path: Path) -> None:
    tool = needs_tool("tar")
    (tmp_path / "x.tar").write_bytes(written(file("a" * 90 + "/" + "b" * 90, b"hi"), file("ü/x")))
    done = subprocess.run([tool, "-tf", tmp_path / "x.tar", "--quoting-style=literal"], capture_output=True, check=True)
    assert done.stderr == b""
    assert done.stdout.decode().split() == ["a" * 90 + "/", "a" * 90 + "/" + "b" * 90, "ü/", "ü/x"]


def test_the_bytes_are_those_of_the_first_release() -> None:
    """Another header byte would be another digest for everybody's image: that is a new `Packer.layout`, not a patch."""
    layer = written(
        file("usr/bin/x", b"hi", 0o755), Entry("lib", "link", 0o777, target="usr/lib"), file("ü"), file("a" * 101)
    )
    assert hostile.digest(layer) == "sha256:5f6f34363960a3afe72a2cf6fb597ce0ffe4c63b763082d21866090d18af292d"


# Reading.


@pytest.mark.parametrize(
    ("name", "path"),
    [("./a", "a"), ("/abs/x", "abs/x"), ("a/../b", "b"), ("C:\\x", "C:\\x"), ("..\\x", "..\\x"), ("a//b/./c", "a/b/c")],
)
def test_a_path_is_brought_into_its_normal_form(name: str, path: str) -> None:
    assert list(read(hostile.tar(hostile.file(name)))) == [path]


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([hostile.file("../x")], "leads out of the image"),
        ([hostile.file("a/../../x")], "leads out of the image"),
        ([hostile.file("")], "is empty"),
        ([hostile.link(".", "/etc")], "replaces the root"),
        ([hostile.hardlink("a", "../../etc/passwd")], "leads out of the image"),
        ([hostile.header(b"a", b"2")], "without a target"),
        ([hostile.gnu_long(b"n" * 5000), hostile.file("x")], "name of 5001 bytes|name of 5000 bytes"),
        ([hostile.gnu_long(b"d/" * 100_000), hostile.file("x")], "the limit is 4096"),
        ([hostile.header(b"././@LongLink", b"L", 2 << 20)], "extended header of 2097152 bytes"),
        ([hostile.gnu_long(b"one"), hostile.pax(path=b"two"), hostile.file("x")], "two names"),
        ([hostile.pax(path=b"one"), hostile.pax(path=b"two"), hostile.file("x")], "two extended headers"),
        ([hostile.gnu_long(b"one"), hostile.gnu_long(b"two"), hostile.file("x")], "two long names"),
        ([hostile.gnu_long(b"one", b"K"), hostile.gnu_long(b"two", b"K"), hostile.link("x", "y")], "two long link"),
        ([hostile.pax(path=b"a\0b"), hostile.file("x")], "NUL"),
        ([hostile.pax(linkpath=b"a\0b"), hostile.link("x", "y")], "NUL"),
        ([hostile.pax(size=b"1024"), hostile.file("x", b"12")], "two sizes"),
        ([hostile.pax(size=b"-1"), hostile.file("x")], "size is not a number"),
        ([hostile.pax(uid=b"1e9"), hostile.file("x")], "uid is not a number"),
        ([hostile.pax(GNU__sparse__map=b"0,1," * 9), hostile.file("x")], "sparse"),
        ([hostile.header(b"x", b"S")], "sparse"),
        ([hostile.header(b"x", b"Z")], "unknown type"),
        ([hostile.header(b"x", b"0", b"\xff" * 12)], "size is negative"),
        ([hostile.header(b"x", b"0", b"99999999999\0")], "not a number"),
        ([hostile.header(b"x", b"0", b"\x80" + b"\xff" * 11)], "out of range"),
        ([hostile.header(b"x", b"0", b"\x80" + bytes(4) + b"\xff" * 7)], "out of range|cut short"),
        ([hostile.header(b"x", b"0", b"\x80" + bytes(5) + b"\xff" * 6)], "is cut short"),
        ([hostile.header(b"x", b"0", 4096)], "is cut short"),
        ([hostile.header(b"x", checksum=b"000000\0 ")], "wrong checksum"),
        ([b"not a tar at all".ljust(512)], "not a number|wrong checksum"),
        ([hostile.pax(path=b"x")], "belongs to no member"),
        ([hostile.header(b"./PaxHeader", b"x", 8) + hostile.padded(b"99 a=b\n\n"), hostile.file("x")], "well formed"),
        ([hostile.pax(path=b"x").replace(b"./PaxHeader", b"./PaxHeadeR")], "wrong checksum"),
        ([bytes(1024), hostile.file("hidden", b"x")], "data after its end"),
        ([bytes(512), hostile.file("hidden", b"x")], "data after its end"),
    ],
)  # fmt: skip
def test_a_hostile_member_is_refused_and_the_layer_named(members: list[bytes], says: str) -> None:
    with pytest.raises(MalformedError, match=says) as caught:
        read(hostile.tar(*members), layer="oci:x@sha256:1234 layer 3/7")
    assert "oci:x@sha256:1234 layer 3/7" in str(caught.value)


def test_a_global_header_may_carry_a_comment_and_nothing_else() -> None:
    """`git archive` writes one. Docker ignores such headers, GNU tar applies them to every member."""
    body = b"52 comment=0123456789012345678901234567890123456789\n"
    harmless = hostile.header(b"pax_global_header", b"g", len(body)) + hostile.padded(body)
    assert list(read(hostile.tar(harmless, hostile.file("x")))) == ["x"]

    body = b"12 path=abc\n"
    moving = hostile.header(b"pax_global_header", b"g", len(body)) + hostile.padded(body)
    with pytest.raises(MalformedError, match="global header"):
        read(hostile.tar(moving, hostile.file("x")))


@pytest.mark.parametrize("at", [100, 512, 700, 1023, 1500])
def test_a_layer_that_is_cut_names_the_place(at: int) -> None:
    layer = hostile.tar(hostile.file("a", b"x" * 600), hostile.file("b", b"y" * 600))[:at]
    with pytest.raises(MalformedError, match=r"cut short"):
        read(layer)


def test_a_cut_is_noticed_in_a_file_that_is_skipped_by_seeking(tmp_path: Path) -> None:
    layer = hostile.tar(hostile.file("big", b"x" * (1 << 20)))
    (tmp_path / "cut").write_bytes(layer[: 1 << 19])
    with (tmp_path / "cut").open("rb") as stream, pytest.raises(MalformedError, match="cut short inside `big`"):
        list(read_layer(stream))


def test_an_archive_may_end_without_the_two_blocks_of_zeros() -> None:
    assert list(read(hostile.file("a", b"1"))) == ["a"]


def test_the_number_of_members_is_limited() -> None:
    with pytest.raises(MalformedError, match="more than 3 members"):
        read(hostile.tar(*(hostile.file(f"{n}") for n in range(4))), limits=Limits(entries=3))


@pytest.mark.parametrize(
    ("members", "limits", "says"),
    [
        ([hostile.file("a/" * 300 + "x")], Limits(), "more than 256 folders deep"),
        ([hostile.file("abc"), hostile.file("defg")], Limits(text_bytes=6), "more than 6 bytes of names"),
        ([hostile.pax(SCHILY__xattr__user__x=b"1" * 90), hostile.file("a")], Limits(text_bytes=80), "and attributes"),
    ],
)
def test_what_a_reader_must_remember_is_limited(members: list[bytes], limits: Limits, says: str) -> None:
    """A layer of small members can fill the memory with their names alone."""
    name = hostile.gnu_long(b"a/" * 300 + b"x")
    members = [name, *members] if len(members) == 1 else members
    with pytest.raises(MalformedError, match=says):
        read(hostile.tar(*members), limits=limits)


def test_devices_and_attributes_are_noted_and_nothing_more() -> None:
    layer = hostile.tar(
        hostile.header(b"dev/null", b"3"),
        hostile.header(b"pipe", b"6"),
        hostile.pax(SCHILY__xattr__security__capability=b"\1\0"),
        hostile.file("ping", mode=0o4755, uid=b"\x80\0\0\0\xee\x6b\x28\0"),
    )
    found = list(read_layer(io.BytesIO(layer)))
    assert [(raw.entry.path, raw.entry.kind) for raw in found] == [
        ("dev/null", "other"), ("pipe", "other"), ("ping", "file")
    ]  # fmt: skip
    assert (found[2].entry.mode, found[2].entry.uid) == (0o4755, 4_000_000_000)
    assert found[2].xattrs == (("security.capability", b"\1\0"),)


def test_every_record_that_nothing_else_is_read_from_is_noted() -> None:
    """A file's rights may stand in any of them, and an engine that knows the record gives them."""
    records = {
        "SCHILY__acl__access": b"user::rwx,user:10001:rwx",
        "LIBARCHIVE__xattr__security__capability": b"AQAAAg",
        "SCHILY__xattr__user__x": b"",
        "SCHILY__fflags": b"nodump",
        "anything": b"1",
        **dict.fromkeys(("uname", "gname", "atime", "ctime", "mtime", "uid", "gid", "comment"), b"1"),
        "hdrcharset": b"BINARY",
        "path": b"p",
        "size": b"0",
    }
    (raw,) = read_layer(io.BytesIO(hostile.tar(hostile.pax(**records), hostile.file("x"))))
    assert raw.xattrs == (
        ("LIBARCHIVE.xattr.security.capability", b"AQAAAg"),
        ("SCHILY.acl.access", b"user::rwx,user:10001:rwx"),
        ("SCHILY.fflags", b"nodump"),
        ("anything", b"1"),
        ("user.x", b""),
    )


@pytest.mark.parametrize(
    ("record", "field", "seconds"),
    [
        (None, hostile.octal(1700000000, 12), 1700000000),
        (None, b"\xff" * 11 + b"\xfe", -2),
        (None, b"\x80" + (2**40).to_bytes(11, "big"), 2**40),
        (b"1700000000.987654321", hostile.octal(5, 12), 1700000000),
        (b"-3.5", b"\xff" * 12, -3),
        (b"7.", hostile.octal(5, 12), 7),
        (b"", hostile.octal(5, 12), 5),
    ],
)
def test_the_time_of_a_member_is_read_in_whole_seconds(record: bytes | None, field: bytes, seconds: int) -> None:
    block = hostile.header(b"x")
    block = block[:136] + field + b" " * 8 + block[156:]
    block = block[:148] + b"%06o\0 " % sum(block) + block[156:]
    before = [] if record is None else [hostile.pax(mtime=record)]
    (raw,) = read_layer(io.BytesIO(hostile.tar(*before, block)))
    assert raw.mtime == seconds


@pytest.mark.parametrize("record", [b"now", b"1.x", b"+1", b"1e9", b"9" * 19, b".5"])
def test_a_time_that_is_no_number_is_refused(record: bytes) -> None:
    with pytest.raises(MalformedError, match="mtime is not a number"):
        read(hostile.tar(hostile.pax(mtime=record), hostile.file("x")))


def test_old_and_gnu_headers_are_read() -> None:
    old_folder = hostile.header(b"old/", b"\0", magic=bytes(8))
    star = hostile.header(b"s", prefix=b"p" * 10)
    layer = hostile.tar(old_folder, hostile.gnu_long(b"g" * 300), hostile.file("g" * 100, b"1"), star)
    assert [(path, entry.kind) for path, (entry, _) in read(layer).items()] == [
        ("old", "folder"), ("g" * 300, "file"), ("p" * 10 + "/s", "file")
    ]  # fmt: skip


def test_a_name_that_is_no_text_is_kept_and_shown_escaped() -> None:
    raw = b"x\xff\n\x1b[31m\xe2\x80\xae"
    (path,) = read(hostile.tar(hostile.file(raw)))
    assert path.encode("utf-8", "surrogateescape") == raw
    assert shown(path) == "x\\udcff\\n\\x1b[31m\\u202e"


@given(st.binary(max_size=3000))
def test_no_bytes_whatever_end_in_another_error(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        read(data)


@given(st.integers(0, 3071), st.integers(1, 255))
def test_no_flipped_byte_of_a_layer_ends_in_another_error(at: int, flip: int) -> None:
    layer = bytearray(
        hostile.tar(hostile.pax(path=b"ab"), hostile.file("x", b"1"), hostile.link("l", "x"), hostile.file("y"))
    )
    layer[at] ^= flip
    with contextlib.suppress(MalformedError):
        read(bytes(layer))


def test_the_normal_form_of_a_normal_path_is_itself() -> None:
    assert normal("a/b") == "a/b"
    assert normal("./") == ""


MIXED = hostile.tar(
    hostile.folder("a"),
    hostile.file("a/b", b"1" * 700),
    hostile.pax(path=b"long", mtime=b"12.5"),
    hostile.file("x", b"2"),
    hostile.gnu_long(b"n" * 120),
    hostile.file("n", b"3" * 512),
    hostile.link("l", "a/b"),
    hostile.hardlink("h", "a/b"),
    hostile.file("z", b"4" * 5),
)


def outcome(stream: BinaryIO, ask: int) -> object:
    """All that a reader learns of a layer who asks for the content of one member in `ask`; or that it is refused."""
    found = []
    try:
        for number, raw in enumerate(read_layer(stream)):
            content = raw.reader.read() if number % ask == 0 else b""
            found.append((raw.entry, raw.offset, raw.mtime, raw.xattrs, content))
    except MalformedError:
        return "refused"
    return found


@given(st.integers(0, len(MIXED)), st.integers(0, len(MIXED) - 1), st.integers(0, 255), st.integers(1, 3))
def test_a_layer_on_disk_is_what_it_is_as_a_stream(cut: int, at: int, flip: int, ask: int) -> None:
    """Passing over what nobody asks for must not make a cut or damaged layer look whole."""
    layer = bytearray(MIXED)
    layer[at] ^= flip
    layer = layer[: cut or len(layer)]
    with tempfile.TemporaryFile() as file:
        file.write(b"before" + layer + b"behind")
        file.flush()
        extent = Extent(cast(BinaryIO, file), 6, len(layer))

        assert outcome(cast(BinaryIO, extent), ask) == outcome(io.BytesIO(layer), ask)


PIECES = st.sampled_from([b"a", b"/", b"b/", b"./", b"../", b".", b"//", b"/./", b"/../", b"\xff", b"\0x"])


@given(
    st.lists(PIECES, min_size=1, max_size=5).map(b"".join),
    st.sampled_from([b"0", b"5", b"0", b"5", b"2", b"1", b"\0", b"7"]),
    st.sampled_from([b"ustar\00000", b"ustar  \0", bytes(8)]),
    st.sampled_from([b"", b"", b"p", b"p/../.."]),
    st.sampled_from([0o644, 0o100644, 0o4755]),
    st.sampled_from([0, 0, 3]),
    st.lists(st.tuples(st.integers(100, 511), st.integers(0, 255)), max_size=1),
)
@example(b"a/./b", b"0", b"ustar\00000", b"", 0o644, 0, [])
@example(b"a/../b", b"5", b"ustar  \0", b"", 0o644, 0, [])
def test_however_its_sum_is_spelled_a_header_says_the_same(
    name: bytes, kind: bytes, magic: bytes, prefix: bytes, mode: int, size: int, changes: list[tuple[int, int]]
) -> None:
    """The usual spelling is read by the quick way, another by the careful one: they must agree about every header."""
    block = bytearray(hostile.header(name, kind, size, target=b"t", magic=magic, prefix=prefix, mode=mode))
    for at, value in changes:
        block[at] = value
    block[148:156] = b" " * 8
    total = sum(block)
    found = []
    for spelled in (b"%06o\0 " % total, b"%07o\0" % total):
        block[148:156] = spelled
        found.append(outcome(io.BytesIO(bytes(block) + hostile.padded(b"x" * size) + bytes(1024)), 1))

    assert found[0] == found[1]


def test_a_sum_that_is_wrong_is_noticed_in_either_half_of_the_header() -> None:
    good = hostile.header(b"name", b"0")
    for at in (0, 99, 255, 256, 300, 511):
        bad = bytearray(good)
        bad[at] ^= 1
        with pytest.raises(MalformedError, match="wrong checksum"):
            read(bytes(bad) + bytes(1024))


def test_content_that_nobody_asks_for_is_not_read_where_a_layer_lies_on_disk(tmp_path: Path) -> None:
    """Seven files of 7 GiB each: to read them would take minutes."""
    size = 7 << 30
    at = 0
    with (tmp_path / "layer").open("wb") as file:
        for number in range(7):
            at = file.write(hostile.header(b"big%d" % number, b"0", size)) + at + size
            file.seek(at)
        file.write(hostile.file("small", b"here") + bytes(1024))

    with Extent((tmp_path / "layer").open("rb")) as extent:
        found = {raw.path: raw.reader.read() for raw in read_layer(cast(BinaryIO, extent)) if raw.size_bytes < 10}

    assert found == {"small": b"here"}


def test_content_is_good_until_the_next_member_is_asked_for() -> None:
    """Bytes of another file under this one's name would be worse than none."""
    members = read_layer(io.BytesIO(hostile.tar(hostile.file("a", b"1"), hostile.file("b", b"2"))))
    reader = next(members).reader
    next(members)

    with pytest.raises(ValueError, match="next member"):
        reader.read()


@pytest.mark.parametrize("size", [0, 1, (8 << 30) - 1, 8 << 30, 40 << 30])
@pytest.mark.parametrize("name", ["weights", "w" * 200])
def test_a_header_says_how_much_follows_it_whatever_carries_that(name: str, size: int) -> None:
    """From 8 GiB on an extended header does; whoever goes on too early reads weights as headers."""
    sink = io.BytesIO()
    with contextlib.suppress(IntegrityError):  # of what follows there is nothing here
        write_layer(sink, [Entry(name, "file", 0o644, size_bytes=size, content=io.BytesIO)])
    header = sink.getvalue() if size else sink.getvalue()[:-1024]

    assert header_of(header) == (size, "" if len(name) > 100 else f"/{name}")
