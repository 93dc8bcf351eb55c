"""An array of numbers needs numpy; an array of objects is a pickle, and needs what that names."""

import io
import zipfile

import pytest


def test_an_array_of_numbers_needs_numpy_alone(made, seen):
    found = seen(made("numbers.npy"))

    assert (found.form, found.modules, found.properties["dtype"]) == ("npy", {"numpy"}, "<f8")


def test_an_array_of_objects_is_walked_as_a_pickle(made, seen):
    assert "_pickle:Pickler" in seen(made("objects.npy")).classes


def test_every_array_of_an_npz_is_looked_at(made, seen):
    found = seen(made("arrays.npz"))

    assert (found.form, found.unread) == ("npz", [])
    assert "posix:getcwd" in found.classes


def npy(header, data=b"", version=b"\x01\0"):
    return b"\x93NUMPY" + version + len(header).to_bytes(2 if version[0] == 1 else 4, "little") + header + data


HEADER = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (npy(HEADER, b"x" * 15), "it is cut short, after 83 bytes"),
        (npy(HEADER, b"x" * 17), "bytes follow its end"),
        (npy(b"{'descr': __import__('os')}"), "it has an array header that cannot be read"),
        (npy(HEADER, version=b"\x09\0"), "it has an array header of version 9, 58 bytes long"),
        (npy(HEADER.replace(b"<f8", b"|O"), b"cos\nsystem\n"), "it is cut short, after 78 bytes"),
    ],
)
def test_a_damaged_array_says_what_is_wrong(data, reason, seen):
    assert seen(data).unread == [reason]


def test_an_array_of_records_is_no_object():
    from envparity.collectors.models import model

    data = npy(b"{'descr': [('a', '<i4'), ('b', '|S3')], 'fortran_order': False, 'shape': (1,), }", b"x" * 7)
    fact, *gaps = model(io.BytesIO(data), "m.npy")

    assert (fact["properties"], gaps) == ([["dtype", "records"]], [])


def test_a_zip_with_one_more_thing_than_arrays_is_no_npz(made, seen):
    file = io.BytesIO(made("packed.npz"))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("readme", "")

    assert seen(file.getvalue()).form == "zip"
