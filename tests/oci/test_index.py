"""Images for several platforms under one name: each is what it is alone, and whoever asks gets their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envparity.errors import IntegrityError, UsageError
from envparity.network import Client
from envparity.oci import check, places
from envparity.oci.access import Access
from envparity.oci.image import BuiltIndex, together
from envparity.oci.layout import write_layout
from tests.oci.made import built, file
from tests.oci.registry import Fake, serving


@pytest.fixture
def index(tmp_path: Path) -> BuiltIndex:
    """Of two platforms, with a layer that both have."""
    shared = (file("shared", b"s"),)
    return together(
        [
            built(tmp_path / name, shared, (file("own", name.encode()),), platform=f"linux/{name}")
            for name in ("amd64", "arm64")
        ]
    )


def test_in_a_layout_each_platform_finds_its_own_under_one_tag(index: BuiltIndex, tmp_path: Path) -> None:
    with places.writing(f"oci:{tmp_path / 'x'}:1") as writer:
        digest = writer.finish_index(index)

    assert digest == index.digest
    for image in index.images:
        assert places.open_image(f"oci:{tmp_path / 'x'}:1", platform=image.platform).digest == image.digest
    assert check.check_layout(str(tmp_path / "x")).valid
    with pytest.raises(UsageError, match="holds several images") as caught:
        places.open_image(f"oci:{tmp_path / 'x'}:1")
    assert "linux/amd64, linux/arm64" in caught.value.hint


def test_the_tag_moves_and_what_others_wrote_stays(index: BuiltIndex, tmp_path: Path) -> None:
    write_layout(tmp_path / "x", index.images[0], "1")
    write_layout(tmp_path / "x", index.images[0], "kept")
    for _ in range(2):
        with places.writing(f"oci:{tmp_path / 'x'}:1") as writer:
            writer.finish_index(index)

    lines = json.loads((tmp_path / "x" / "index.json").read_bytes())["manifests"]
    assert [line["digest"] for line in lines] == [index.images[0].digest, index.digest]
    assert places.open_image(f"oci:{tmp_path / 'x'}:kept").digest == index.images[0].digest


def test_an_index_whose_blob_is_another_is_not_written(index: BuiltIndex, tmp_path: Path) -> None:
    index.images[1].layers[1][1].write_bytes(b"something else")

    with (
        pytest.raises(IntegrityError, match="not what was promised"),
        places.writing(f"oci:{tmp_path / 'x'}:1") as writer,
    ):
        writer.finish_index(index)

    assert not (tmp_path / "x" / "index.json").exists()


def test_in_a_registry_the_tag_is_the_index_and_comes_last(index: BuiltIndex) -> None:
    with serving(Fake()) as fake, Client(attempts=2) as client:
        access = Access(client)
        with places.writing(fake.reference, access=access) as writer:
            assert writer.finish_index(index) == index.digest
        found = [places.open_image(fake.reference, platform=it.platform, access=access).digest for it in index.images]
        puts = [change.rpartition("/")[2] for change in fake.changes if change.startswith("PUT manifests/")]

    assert found == [image.digest for image in index.images]
    assert puts == [*found, "1"]
    assert fake.changes[-1] == "PUT manifests/1"


@pytest.mark.parametrize("reference", ["docker-archive:x.tar", "docker:x:1"])
def test_what_holds_one_image_takes_no_index(reference: str) -> None:
    with pytest.raises(UsageError, match="several are asked for") as caught:
        places.check_destination(reference, several=True)

    assert "oci:DIR" in caught.value.hint
