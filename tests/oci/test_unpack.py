from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import itertools
import lzma
from collections.abc import Callable
from typing import BinaryIO

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from envparity.errors import EnvparityError, IntegrityError, MalformedError, UnsupportedError
from envparity.oci.spec import OCI_LAYER, Descriptor
from envparity.oci.unpack import UnpackLimits, codec_of, open_layer
from tests.oci.hostile import digest


class One:
    """A place with one blob."""

    def __init__(self, blob: bytes) -> None:
        self.blob = blob

    def open_blob(self, digest: str) -> BinaryIO:
        return io.BytesIO(self.blob)


def unpacked(
    blob: bytes,
    tar: bytes,
    *,
    claimed: bytes | None = None,
    limits: UnpackLimits | None = None,
    media_type: str = OCI_LAYER,
) -> bytes:
    promise = blob if claimed is None else claimed
    descriptor = Descriptor(media_type=media_type, digest=digest(promise), size_bytes=len(promise))
    name = "oci:x@sha256:12 layer 3/7"
    options = {"limits": limits} if limits else {}
    with open_layer(One(blob), descriptor, digest(tar), name=name, **options) as stream:
        return stream.read()


TAR = b"tar " * 5000
ZSTD = zstandard.ZstdCompressor().compress(TAR)
GZIP = gzip.compress(TAR, mtime=0)


@pytest.mark.parametrize(
    "blob",
    [
        TAR,
        GZIP,
        gzip.compress(TAR[:1000], mtime=0) + gzip.compress(b"") + gzip.compress(TAR[1000:]),
        ZSTD,
        b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc" + ZSTD,
        zstandard.ZstdCompressor().compress(TAR[:999]) + zstandard.ZstdCompressor().compress(TAR[999:]),
        lzma.compress(TAR),
        lzma.compress(TAR[:999]) + bytes(8) + lzma.compress(TAR[999:]) + bytes(4),
        bz2.compress(TAR),
        bz2.compress(TAR[:999]) + bz2.compress(TAR[999:]),
    ],
    ids=[
        "none",
        "gzip",
        "gzip members",
        "zstd",
        "zstd skippable",
        "zstd frames",
        "xz",
        "xz streams",
        "bzip2",
        "bzip2 streams",
    ],
)
def test_the_compression_is_found_by_looking(blob: bytes) -> None:
    assert unpacked(blob, TAR) == TAR


@given(st.binary(max_size=5000), st.lists(st.integers(0, 5000), max_size=4))
def test_a_file_of_many_members_is_one_stream(data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    blob = b"".join(gzip.compress(data[a:b], mtime=0) for a, b in itertools.pairwise(places))
    assert unpacked(blob, data) == data


def test_what_no_image_may_use_is_named() -> None:
    with pytest.raises(UnsupportedError, match="layer 3/7 is compressed with lz4"):
        unpacked(b"\x04\x22\x4d\x18rest", TAR)


@pytest.mark.parametrize("pack", [lzma.compress, bz2.compress], ids=["xz", "bzip2"])
@given(data=st.binary(max_size=5000), cuts=st.lists(st.integers(0, 5000), max_size=4))
def test_a_file_of_many_streams_is_one_stream(pack: Callable[[bytes], bytes], data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    blob = b"".join(pack(data[a:b]) for a, b in itertools.pairwise(places))
    assert unpacked(blob, data) == data


@pytest.mark.parametrize("pack", [lzma.compress, bz2.compress], ids=["xz", "bzip2"])
def test_damage_and_bombs_are_noticed_in_every_compression(pack: Callable[[bytes], bytes]) -> None:
    blob = pack(TAR)
    for damaged in (blob[:-10], blob[:20], flipped(blob, 12), blob + b"garbage"):
        with pytest.raises(IntegrityError):
            unpacked(damaged, TAR, claimed=blob)  # damaged on the way
        with pytest.raises((IntegrityError, MalformedError)):
            unpacked(damaged, TAR)  # made so
    with pytest.raises(MalformedError, match="decompression bomb"):
        unpacked(pack(bytes(3 << 20)), bytes(3 << 20), limits=UnpackLimits(ratio=400, ratio_from_bytes=1 << 20))


def test_an_xz_layer_that_wants_too_much_memory_is_refused() -> None:
    """The dictionary is memory of whoever unpacks, and its size is what a stranger wrote."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
    with pytest.raises(IntegrityError, match="Memory usage"):
        unpacked(lzma.compress(TAR, filters=filters), TAR)


def test_an_encrypted_layer_is_named() -> None:
    with pytest.raises(UnsupportedError, match="is encrypted"):
        unpacked(GZIP, TAR, media_type=f"{OCI_LAYER}+gzip+encrypted")


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("blob", "claimed", "says"),
    [
        (GZIP[:-20], GZIP, "should have"),
        (flipped(GZIP, 30), GZIP, "not what its digest says"),
        (flipped(GZIP, len(GZIP) - 6), GZIP, "not what its digest says"),
        (GZIP + b"x", GZIP, "has more"),
        (b"", GZIP, "should have"),
        (flipped(TAR, 7), TAR, "not what its digest says"),
        (flipped(ZSTD, 20), ZSTD, "not what its digest says"),
        # A right digest of wrong data.
        (flipped(GZIP, len(GZIP) - 6), None, "gzip data is damaged"),
        (GZIP[:-20], None, "gzip data is cut short"),
        (gzip.compress(b"another tar", mtime=0), None, "its tar is not what the config says"),
    ],
)
def test_wrong_bytes_are_an_integrity_error_that_names_the_layer(blob: bytes, claimed: bytes | None, says: str) -> None:
    with pytest.raises(IntegrityError, match=says) as caught:
        unpacked(blob, TAR, claimed=claimed)
    assert "oci:x@sha256:12 layer 3/7" in str(caught.value)


@pytest.mark.parametrize("tail", [b"x", bytes(10), b"\x1f\x8c" + bytes(20)])
def test_data_behind_the_last_member_is_refused(tail: bytes) -> None:
    with pytest.raises(MalformedError, match="data behind its last gzip member"):
        unpacked(GZIP + tail, TAR)


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_bomb_is_refused_before_it_has_grown(codec: str) -> None:
    """256 MiB of zeros fit into 261 KB of gzip."""
    zeros = bytes(256 << 20)
    blob = gzip.compress(zeros, 6, mtime=0) if codec == "gzip" else zstandard.ZstdCompressor().compress(zeros)
    descriptor = Descriptor(media_type=OCI_LAYER, digest=digest(blob), size_bytes=len(blob))
    with open_layer(One(blob), descriptor, digest(b"")) as stream:
        with pytest.raises(MalformedError, match=r"decompression bomb.*limit `ratio` 400"):
            stream.read()
        assert stream.size_bytes < 128 << 20


def test_a_few_megabytes_that_pack_well_are_no_bomb() -> None:
    zeros = bytes(20 << 20)
    assert unpacked(gzip.compress(zeros, mtime=0), zeros) == zeros


def test_the_total_is_limited() -> None:
    with pytest.raises(MalformedError, match="unpacks to more than 4096 bytes"):
        unpacked(GZIP, TAR, limits=UnpackLimits(total_bytes=4096))


def test_a_digest_that_cannot_be_checked_opens_nothing() -> None:
    descriptor = Descriptor(media_type=OCI_LAYER, digest="md5:abc", size_bytes=1)
    with pytest.raises(MalformedError, match="not a digest that can be checked"):
        open_layer(One(b""), descriptor, digest(b""))


def test_sha512_is_checked_too() -> None:
    found = f"sha512:{hashlib.sha512(TAR).hexdigest()}"
    descriptor = Descriptor(media_type=OCI_LAYER, digest=found, size_bytes=len(TAR))
    with open_layer(One(TAR), descriptor, found) as stream:
        assert stream.read() == TAR


@given(st.binary(max_size=200), st.sampled_from([b"", GZIP[:12], ZSTD[:12], GZIP, ZSTD]))
def test_no_bytes_whatever_end_in_another_error(data: bytes, start: bytes) -> None:
    with contextlib.suppress(EnvparityError):
        unpacked(start + data, TAR)


def test_codecs_are_told_by_their_first_bytes() -> None:
    assert [codec_of(data) for data in (b"", b"\x1f", b"\x1f\x8b\x08", ZSTD, TAR)] == [
        "none", "none", "gzip", "zstd", "none"
    ]  # fmt: skip
