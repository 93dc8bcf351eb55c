"""The directory of a ZIP is read in bounded memory, and each member is held against its checksum."""

import io
import warnings
import zipfile

import pytest


def zipped(*members, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as archive:
        warnings.simplefilter("ignore")
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def opened(data):
    from envparity.collectors.formats.found import Limits
    from envparity.collectors.formats.streams import Anywhere
    from envparity.collectors.formats.zips import members, opened

    file = Anywhere(len(data), io.BytesIO(data))
    return {name: b"".join(opened(file, member, Limits()).rest()) for name, member in members(file).items()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_what_zipfile_wrote(method):
    content = {"a": b"", "b/c": b"text" * 100_000, "\xe9": bytes(range(256))}

    assert opened(zipped(*content.items(), method=method)) == content


def test_sizes_over_4_gib_are_read_from_the_extra_field():
    """`force_zip64` writes the form that a model of 5 GiB has, at the size of a test."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, archive.open("big", "w", force_zip64=True) as member:
        member.write(b"weights")

    assert opened(file.getvalue()) == {"big": b"weights"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-30], "it is cut short: the directory at its end is missing"),
        (lambda data: data.replace(b"PK\x01\x02", b"PK\x01\x03"), "its directory of members is damaged"),
        (lambda data: data.replace(b"weights", b"Weights"), "a member of it is not what its checksum says"),
        (lambda data: b"PK\x03\x05" + data[4:], "a member of it does not begin where its directory says"),
    ],
)
def test_a_damaged_zip_says_what_is_wrong(change, reason):
    from envparity.collectors.formats.found import Unreadable

    with pytest.raises(Unreadable) as caught:
        opened(change(zipped(("a", b"weights"), method=zipfile.ZIP_STORED)))

    assert str(caught.value) == reason


def test_two_members_of_one_name_are_refused():
    """Two readers would take different ones."""
    from envparity.collectors.formats.found import Unreadable

    with pytest.raises(Unreadable, match="two members of one name"):
        opened(zipped(("a", b"1"), ("a", b"2")))


def test_a_method_that_asks_for_much_memory_is_not_read():
    from envparity.collectors.formats.found import Unreadable

    with pytest.raises(Unreadable, match="compressed by method 14"):
        opened(zipped(("a", b"1"), method=zipfile.ZIP_LZMA))


def test_an_encrypted_member_is_unread():
    from envparity.collectors.formats.found import Unreadable

    data = bytearray(zipped(("a", b"1")))
    data[data.index(b"PK\x01\x02") + 8] |= 1

    with pytest.raises(Unreadable, match="encrypted"):
        opened(bytes(data))


def test_a_directory_without_end_is_refused_before_it_is_read():
    from envparity.collectors.formats.found import Unreadable

    data = bytearray(zipped(("a", b"1")))
    end = data.index(b"PK\x05\x06")
    data[end + 10 : end + 16] = b"\xfe\xff\xfe\xff\xff\xff"

    with pytest.raises(Unreadable, match="over the limit"):
        opened(bytes(data))
