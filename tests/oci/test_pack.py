from __future__ import annotations

import gzip
import hashlib
import io
import struct
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envparity.errors import UnsupportedError
from envparity.oci.pack import current_packer, pack
from envparity.values import Packer


def packed(data: bytes, packer: Packer, pieces: int = 1 << 16, threads: int | None = None) -> tuple[bytes, object]:
    sink = io.BytesIO()

    def write(tar: BinaryIO) -> None:
        for at in range(0, len(data), pieces):
            tar.write(data[at : at + pieces])

    found = pack(write, packer, sink, threads=threads)
    assert found.digest == f"sha256:{hashlib.sha256(sink.getvalue()).hexdigest()}"
    assert found.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert found.size_bytes == len(sink.getvalue())
    return sink.getvalue(), found


DATA = b"".join(struct.pack("<Q", n * n)[:4] for n in range(700_000))


def test_the_bytes_depend_neither_on_threads_nor_on_the_pieces() -> None:
    packer = current_packer()
    blobs = {packed(DATA, packer, pieces, threads)[0] for pieces, threads in ((1 << 20, 1), (99_991, 2), (3 << 20, 7))}
    assert len(blobs) == 1
    assert gzip.decompress(blobs.pop()) == DATA


def test_members_are_independent_and_carry_no_time() -> None:
    blob, _ = packed(DATA, current_packer())
    members, rest = [], blob
    while rest:
        import zlib

        inflate = zlib.decompressobj(31)
        members.append(inflate.decompress(rest))
        rest = inflate.unused_data
    assert [len(member) for member in members] == [1 << 20, 1 << 20, len(DATA) - (2 << 20)]
    assert blob[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"


@given(st.binary(max_size=200_000).map(lambda data: data * 2), st.integers(1, 70_000))
def test_any_tar_comes_back(data: bytes, pieces: int) -> None:
    blob, _ = packed(data, Packer(member_bytes=1 << 16), pieces)
    assert gzip.decompress(blob) == data


def test_none_stores_the_tar_as_it_is() -> None:
    blob, found = packed(b"x" * 5000, current_packer("none"))
    assert blob == b"x" * 5000
    assert found.media_type == "application/vnd.oci.image.layer.v1.tar"  # type: ignore[attr-defined]


def test_the_packer_names_the_library_that_decides_the_bytes() -> None:
    packer = current_packer()
    assert (packer.codec, packer.library, packer.level, packer.member_bytes) == ("gzip", "libdeflate", 1, 1 << 20)
    assert packer.library_version.startswith("deflate-")


@pytest.mark.parametrize(
    "packer", [Packer(codec="zstd"), Packer(library="isal"), Packer(level=0), Packer(member_bytes=1)]
)
def test_another_packer_is_not_supported(packer: Packer) -> None:
    """Packing with something else than the lock says would give another digest, and no hint why."""
    with pytest.raises(UnsupportedError):
        packed(b"x", packer)
    with pytest.raises(UnsupportedError):
        current_packer("zstd")


def test_an_error_of_the_writer_comes_through() -> None:
    def write(tar: BinaryIO) -> None:
        tar.write(bytes(3 << 20))
        raise ValueError("the wheel is gone")

    with pytest.raises(ValueError, match="the wheel is gone"):
        pack(write, current_packer(), io.BytesIO())
