"""Names that are no UTF-8: Linux allows any bytes, and JSON does not. They are escaped, and nothing breaks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from envparity.oci.layout import write_layout
from tests.cli.conftest import World
from tests.commands import envparity, refused
from tests.oci.made import built, file


@pytest.fixture
def odd(world: World, tmp_path: Path) -> Path:
    """The small environment in a folder whose name is no text."""
    place = tmp_path / os.fsdecode(b"v\xff")
    world.copy(world.venv, tmp_path).rename(place)
    return place


def test_folders_models_and_variables_may_have_any_bytes(odd: Path, tmp_path: Path) -> None:
    model = tmp_path / os.fsdecode(b"m\xff.pkl")
    model.write_bytes(b"\x80\x04K\x01.")
    variables = {"OMP_NUM_THREADS": os.fsdecode(b"\xff"), os.fsdecode(b"ODD\xff"): "1"}

    done = envparity("snapshot", f"venv:{odd}", "-q", "--model", model, "-o", tmp_path / "odd.env.json", **variables)

    assert done.stderr == ""
    document = json.loads((tmp_path / "odd.env.json").read_text("utf-8"))
    assert document["origin"]["reference"].endswith("v\\xff")
    assert document["artifacts"][0]["name"] == "m\\xff.pkl"
    assert {"name": "OMP_NUM_THREADS", "value": "\\xff"} in document["settings"]["variables"]
    assert "ODD\\xff" in document["settings"]["names_only"]
    envparity("diff", tmp_path / "odd.env.json", f"venv:{odd}", status=None)


def test_half_a_character_in_one_package_does_not_hide_the_others(odd: Path, tmp_path: Path) -> None:
    (info,) = odd.glob("lib/python3*/site-packages/demo-1.0.dist-info")
    (info / "direct_url.json").write_text('{"url": "https://x.example/\\ud800", "archive_info": {}}')

    document = json.loads(envparity("snapshot", f"venv:{odd}", "-q").stdout)

    assert "demo" in [item["name"] for item in document["distributions"]]
    (tmp_path / "half.env.json").write_text(json.dumps({**document, "content_digest": None, "open": "\ud800"}))
    refused("show", tmp_path / "half.env.json", status=4, says="half of a character")


def test_files_of_an_image_may_have_any_bytes(tmp_path: Path) -> None:
    image = built(tmp_path / "blobs", (file(os.fsdecode(b"opt/model/m\xff.pkl"), b"\x80\x04K\x01."),))
    write_layout(tmp_path / "image", image)

    document = json.loads(envparity("show", f"oci:{tmp_path}/image", "--format", "json").stdout)

    assert document["artifacts"][0]["name"] == "m\\xff.pkl"


def test_what_a_model_refers_to_moves_no_cursor(world: World, tmp_path: Path) -> None:
    """A model is a file from anywhere, and its words reach the terminal of whoever takes the snapshot."""
    model = tmp_path / "model.pkl"
    model.write_bytes(b"\x80\x02c\x1b[2Jelsewhere\x7f\nThing\nq\x00.")

    done = envparity("snapshot", world.snapshot, "--model", model, "-o", tmp_path / "out.env.json")

    assert "elsewhere?" in done.stderr
    assert not {"\x1b", "\x7f"} & set(done.stderr)
