"""Several threads read one file at once, and nobody is told that it stayed the same when it did not."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envparity.errors import IntegrityError
from envparity.oci.extent import Extent


@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 60), st.integers(1, 70))
def test_an_extent_is_that_part_of_the_file_and_ends_where_it_ends(data: bytes, at: int, size: int, piece: int) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        path = Path(file.name)
        size = min(size, max(len(data) - at, 0))
        expected = data[at : at + size]
        with Extent(path.open("rb"), at, size) as extent:
            again = extent.again()
            assert b"".join(iter(lambda: extent.read(piece), b"")) == expected
            assert b"".join(extent.at(start, piece) for start in range(0, size + 1, piece)) == expected
            with again:
                assert again.read() == expected


def test_an_extent_without_a_size_is_the_rest_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")

    with Extent((tmp_path / "file").open("rb"), 4) as extent:
        assert (extent.size_bytes, extent.read()) == (6, b"456789")


def test_another_file_under_the_same_name_is_not_read(tmp_path: Path) -> None:
    """Who puts another file there while one is read must not have it taken for the one that was hashed."""
    path = tmp_path / "file"
    path.write_bytes(b"the first")
    with Extent(path.open("rb")) as extent:
        (tmp_path / "other").write_bytes(b"the other")
        (tmp_path / "other").replace(path)

        with extent.again() as again:
            assert again.read() == b"the first"


def test_a_file_that_is_written_to_is_not_the_one_that_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    os.utime(path, (1, 1))
    with Extent(path.open("rb")) as extent, extent.again() as again:
        extent.require_unchanged("layer 1/1")
        path.write_bytes(b"behind")

        for one in (extent, again):
            with pytest.raises(IntegrityError, match="layer 1/1 changed while it was read"):
                one.require_unchanged("layer 1/1")
