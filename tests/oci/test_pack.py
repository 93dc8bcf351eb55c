from __future__ import annotations

import gzip
import hashlib
import io
import os
import platform
import struct
import sys
from importlib.metadata import version
from typing import BinaryIO

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from envparity.errors import UnsupportedError
from envparity.oci.entries import Entry
from envparity.oci.pack import CODECS, current_packer, pack
from envparity.oci.tar import write_layer
from envparity.values import Packer
from tests.emulated import emulator, packed_by
from tests.image.deflated import Stored, deflated


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


def unpacked(blob: bytes, codec: str) -> bytes:
    if codec == "none":
        return blob
    if codec == "gzip":
        return gzip.decompress(blob)
    with zstandard.ZstdDecompressor().stream_reader(blob, read_across_frames=True) as stream:
        return stream.read()


@pytest.mark.parametrize(("codec", "carrier"), [("gzip", "deflate"), ("zstd", "zstandard")])
def test_a_packer_is_named_by_the_version_of_the_distribution_that_carries_it(codec: str, carrier: str) -> None:
    """It stands in locks that were made by the metadata of that; the library says it itself in a tenth of the time."""
    assert current_packer(codec).library_version == f"{carrier}-{version(carrier)}"


@pytest.mark.parametrize("codec", CODECS)
def test_the_bytes_depend_neither_on_threads_nor_on_the_pieces(codec: str) -> None:
    packer = current_packer(codec)
    data = DATA * 3
    blobs = {packed(data, packer, pieces, threads)[0] for pieces, threads in ((1 << 20, 1), (99_991, 2), (3 << 20, 7))}
    assert len(blobs) == 1
    assert unpacked(blobs.pop(), codec) == data


@pytest.mark.skipif(platform.machine() != "x86_64", reason="Nehalem is emulated on its own kind")
def test_a_processor_without_wide_registers_packs_the_same_bytes() -> None:
    """A library that looks at the processor would give a digest for each kind of it."""
    own = [os.path.realpath(sys.executable)]
    libraries = [path for path in sys.path if path.endswith("-packages")]

    assert packed_by([emulator("x86_64"), "-cpu", "Nehalem", *own], libraries) == packed_by(own, libraries)


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


contents = st.lists(
    st.tuples(st.booleans(), st.binary(max_size=3000) | st.sampled_from([DATA[:1_300_000]])), max_size=5
)


@given(contents, st.integers(1, 3))
def test_a_file_that_is_deflated_elsewhere_is_stored_as_it_is_there(
    given: list[tuple[bool, bytes]], threads: int
) -> None:
    """It was packed once, by whoever made the wheel: to do it again costs time, and the bytes would be more."""
    packer = Packer(member_bytes=1 << 16, reused_bytes=1000)
    entries = [
        Entry(f"{number}", "file", 0o644, size_bytes=len(data), content=deflated(data) if is_deflated else data)
        for number, (is_deflated, data) in enumerate(given)
    ]
    plain = io.BytesIO()
    write_layer(plain, entries)
    sink = io.BytesIO()

    found = pack(lambda tar: write_layer(tar, entries), packer, sink, threads=threads)

    assert gzip.decompress(sink.getvalue()) == plain.getvalue()
    assert found.diff_id == f"sha256:{hashlib.sha256(plain.getvalue()).hexdigest()}"
    assert found.digest == f"sha256:{hashlib.sha256(sink.getvalue()).hexdigest()}"
    assert found.unpacked_bytes == len(plain.getvalue())
    for entry in entries:
        if isinstance(entry.content, Stored):
            assert (entry.content.stream in sink.getvalue()) or entry.size_bytes < packer.reused_bytes


def test_a_lock_that_says_nothing_of_streams_is_packed_as_ever() -> None:
    """It was locked before there was that; its digest must not change."""
    entries = [Entry("a", "file", 0o644, size_bytes=len(DATA), content=deflated(DATA))]
    blobs = []
    for packer in (Packer(), current_packer()):
        sink = io.BytesIO()
        pack(lambda tar: write_layer(tar, entries), packer, sink)
        blobs.append(sink.getvalue())
    with_bytes = io.BytesIO()
    pack(lambda tar: write_layer(tar, [Entry("a", "file", 0o644, content=DATA)]), Packer(), with_bytes)

    assert blobs[0] == with_bytes.getvalue() != blobs[1]


def test_none_stores_the_tar_as_it_is() -> None:
    blob, found = packed(b"x" * 5000, current_packer("none"))
    assert blob == b"x" * 5000
    assert found.media_type == "application/vnd.oci.image.layer.v1.tar"  # type: ignore[attr-defined]


def test_the_packer_names_the_library_that_decides_the_bytes() -> None:
    packer = current_packer()
    assert (packer.codec, packer.library, packer.level, packer.member_bytes) == ("gzip", "libdeflate", 1, 1 << 20)
    assert packer.library_version.startswith("deflate-")


@pytest.mark.parametrize(
    "packer",
    [Packer(codec="zstd"), Packer(codec="xz"), Packer(library="isal"), Packer(level=0), Packer(member_bytes=1)],
)
def test_another_packer_is_not_supported(packer: Packer) -> None:
    """Packing with something else than the lock says would give another digest, and no hint why."""
    with pytest.raises(UnsupportedError):
        packed(b"x", packer)
    with pytest.raises(UnsupportedError):
        current_packer("xz")


def test_an_error_of_the_writer_comes_through() -> None:
    def write(tar: BinaryIO) -> None:
        tar.write(bytes(3 << 20))
        raise ValueError("the wheel is gone")

    with pytest.raises(ValueError, match="the wheel is gone"):
        pack(write, current_packer(), io.BytesIO())
