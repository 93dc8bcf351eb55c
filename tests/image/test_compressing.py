"""A model that does not compress is stored as it is: by its bytes alone, whatever it is called."""

from __future__ import annotations

import hashlib
import random
import zlib
from pathlib import Path

import pytest

from envparity.image import model
from envparity.image.compressing import LEAST_BYTES, fitting
from envparity.oci.pack import current_packer
from envparity.values import PlannedLayer, Step

NOISE = random.Random(1).randbytes(3 << 20)
TEXT = b" ".join(random.Random(2).choices([b"%d" % (number**5) for number in range(5000)], k=400_000))


def codec_of(place: Path, codec: str = "gzip") -> str:
    layer = PlannedLayer(step=Step.MODEL, title="m", inputs=model.inputs(model.units(model.read(place))))
    return fitting(layer, {place.name: place}, current_packer(codec)).codec


@pytest.mark.parametrize(
    ("data", "codec"),
    [
        (TEXT, "gzip"),
        (NOISE, "none"),
        (zlib.compress(TEXT, 6), "none"),
        (bytes(2 << 20), "gzip"),
        (NOISE[: LEAST_BYTES - 1], "gzip"),
        (b"", "gzip"),
    ],
    ids=["text", "noise", "compressed", "zeros", "small", "empty"],
)
def test_what_does_not_compress_is_stored(data: bytes, codec: str, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(data)

    assert codec_of(tmp_path / "model.bin") == codec
    assert codec_of(tmp_path / "model.bin", "zstd") == codec.replace("gzip", "zstd")
    assert codec_of(tmp_path / "model.bin", "none") == "none"


def test_of_a_folder_all_files_count(tmp_path: Path) -> None:
    """Its small text files say nothing of its weights."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_bytes(TEXT[:100_000])
    (tmp_path / "m" / "weights").write_bytes(NOISE)

    assert codec_of(tmp_path / "m") == "none"


def test_other_layers_are_packed_as_the_image_is() -> None:
    layer = PlannedLayer(step=Step.APP, title="application", inputs=(hashlib.sha256().hexdigest(),))

    assert fitting(layer, {}, current_packer("zstd")) == current_packer("zstd")
