"""Which files of a large model share a layer: each once, small ones together, large ones in a few parts of one size."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from envparity.image import model
from envparity.image.model import LEAST_BYTES, MOST_PARTS, PART_BYTES
from envparity.values import PlannedLayer, Step

GB = 1 << 30

folders = st.dictionaries(
    st.text("ab/", min_size=1, max_size=8), st.one_of(st.integers(0, LEAST_BYTES), st.integers(0, 50 * GB)), max_size=40
)


@given(folders)
def test_every_file_is_in_one_part_and_there_are_few(files: dict[str, int]) -> None:
    parts = model.parted(list(files.items()))

    assert len(parts) <= MOST_PARTS
    assert not parts or sorted(item for part in parts for item in part) == sorted(files.items())
    assert all(part for part in parts)


@given(folders, st.integers(0, LEAST_BYTES - 1))
def test_a_small_file_more_moves_no_large_one(files: dict[str, int], size_bytes: int) -> None:
    """A note beside the weights of a fine-tuned model must not send 40 GB again."""

    def large(files: dict[str, int]) -> list[list[tuple[str, int]]]:
        return [part for part in model.parted(list(files.items())) if part[0][1] >= LEAST_BYTES]

    before, after = large({**files, "a/a": 0}), large({**files, "a/a": 0, "README": size_bytes})
    assert before == after


def test_forty_gigabytes_are_some_layers_and_one_file_is_one() -> None:
    shards = [(f"model-{number:05}-of-00009.safetensors", 4_600_000_000) for number in range(9)]
    parts = model.parted([*shards, ("config.json", 700), ("tokenizer.json", 9_000_000)])

    assert [len(part) for part in parts] == [2, 2, 2, 2, 2, 1]
    assert model.parted([("model.gguf", 40 * GB), ("config.json", 700)]) == []
    assert model.parted([("a", PART_BYTES // 4), ("b", PART_BYTES // 4)]) == []


def test_a_layer_of_models_says_what_it_holds_and_reads_it_where_it_lies(tmp_path: Path) -> None:
    """Names are people's own: with spaces, and numbers before them."""
    (tmp_path / "1 2 3 a model").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b").write_bytes(b"yz")
    places = {place.name: place for place in tmp_path.iterdir()}
    read = [model.read(place) for place in sorted(places.values())]
    units = [unit for item in read for unit in model.units(item)]
    layer = PlannedLayer(step=Step.MODEL, title="both", inputs=model.inputs(units))

    assert model.held(layer) == [unit.held for unit in units]
    assert [entry.path for entry in model.entries(layer, places)] == ["opt/model/1 2 3 a model", "opt/model/folder/b"]
    assert model.size_bytes(layer) == 3
