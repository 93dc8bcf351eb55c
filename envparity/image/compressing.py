"""Whether compressing a model is worth it: decided by its bytes alone, so that every machine packs it alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from envparity.files import translated
from envparity.image import model
from envparity.oci.pack import current_packer, shrunk
from envparity.values import Packer, PlannedLayer, Step

LEAST_BYTES = 1 << 20
"""What is smaller is compressed, whatever that saves."""

WORTH = 0.9
"""A model whose samples stay larger than this share of what they were is stored as it is."""

_SAMPLES, _SAMPLE_BYTES = 16, 1 << 16


def fitting(layer: PlannedLayer, models: Mapping[str, Path], packer: Packer) -> Packer:
    """The packer for one layer: none for a model that does not compress, else the one of the image."""
    if layer.step is not Step.MODEL or packer.codec == "none" or model.size_bytes(layer) < LEAST_BYTES:
        return packer
    return packer if worth(layer, models) else current_packer("none")


def worth(layer: PlannedLayer, places: Mapping[str, Path]) -> bool:
    """
    Whether samples of planned models compress, taken at equal distances from all of its bytes, file after file.
    Weights of neural networks save some percent and what is compressed nothing, and gigabytes of them cost minutes.
    """
    entries = model.entries(layer, places)
    total = sum(entry.size_bytes for entry in entries)
    wanted = [total * number // _SAMPLES for number in range(_SAMPLES)]
    before = after = begin = 0
    try:
        for entry in entries:
            inside = [at - begin for at in wanted if begin <= at < begin + entry.size_bytes]
            begin += entry.size_bytes
            if inside and callable(entry.content):
                with entry.content() as stream:
                    for at in inside:
                        stream.seek(at)
                        piece = stream.read(_SAMPLE_BYTES)
                        before += len(piece)
                        after += shrunk(piece)
    except OSError as error:
        raise translated(error, f"read the models of `{layer.title}`") from error
    return after < WORTH * before
