"""Whatever compresses a pickle, it is read through; what nothing here can unpack is not recorded, and not damage."""

import pickle
import sys

import pytest


def test_lz4_of_joblib_is_read(made, seen):
    found = seen(made("pipeline.lz4.joblib"))

    assert (found.form, found.unread) == ("joblib+lz4", [])
    assert "sklearn.pipeline:Pipeline" in found.classes


FRAME = b"\x04\x22\x4d\x18\x60\x40\x82"


def lz4(block, stored=False):
    return FRAME + (len(block) | (1 << 31 if stored else 0)).to_bytes(4, "little") + block + b"\0\0\0\0"


def test_lz4_copies_what_came_before_even_where_the_copy_overlaps_itself():
    from envparity.collectors.formats.compressed import unpacked

    # Four literals "abcd", then 20 bytes from 2 back, then the last literal.
    block = b"\x4fabcd\x02\x00\x01" + b"\x10e"

    assert b"".join(unpacked(iter([lz4(block)]), "lz4")) == b"abcd" + b"cd" * 10 + b"e"


def test_blocks_of_lz4_that_are_stored_are_read(seen):
    assert seen(lz4(pickle.dumps({1: 2}), stored=True)).form == "pickle+lz4"


@pytest.mark.parametrize(
    "data",
    [
        FRAME[:5],
        FRAME,
        lz4(b"\x4fabcd\x09\x00\x01\x10e"),
        lz4(b"\xf0"),
        lz4(b"\x4fabcd\x02\x00" + b"\xff" * 300 + b"\0\x10e"),
        b"\x04\x22\x4d\x18\x00\x40\x82",
        FRAME + b"\xff\xff\xff\x7f",
    ],
)
def test_damaged_lz4_is_unread(data, seen):
    assert seen(data, "m.joblib").unread


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="the standard library unpacks it")
def test_zstd_is_not_recorded_where_python_cannot_unpack_it(seen):
    found = seen(b"\x28\xb5\x2f\xfd rest", "m.joblib")

    assert (found.form, found.unread) == ("pickle+zstd", [])
    assert found.not_recorded == ["it is compressed with zstd, which this Python cannot unpack"]
