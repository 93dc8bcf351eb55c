"""Images that are damaged, hostile or ambiguous, and archives that are none."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import World
from tests.commands import envparity, refused


def blobs(layout: Path) -> list[Path]:
    """Smallest first: the manifest and the config are among the smaller ones."""
    return sorted((layout / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)


def manifest(layout: Path) -> Path:
    (line,) = json.loads((layout / "index.json").read_text())["manifests"]
    return layout / "blobs" / "sha256" / line["digest"].partition(":")[2]


def layer(layout: Path) -> Path:
    line = json.loads(manifest(layout).read_text())["layers"][-1]
    return layout / "blobs" / "sha256" / line["digest"].partition(":")[2]


def flip(place: Path) -> None:
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 1
    place.write_bytes(data)


def linked(place: Path) -> None:
    aside = place.with_name("aside")
    place.rename(aside)
    place.symlink_to(aside)


def cut(place: Path) -> None:
    place.write_bytes(place.read_bytes()[:-7])


def longer(place: Path) -> None:
    place.write_bytes(place.read_bytes() + b"\n")


def remove(place: Path) -> None:
    place.unlink()


@pytest.mark.parametrize(
    ("which", "harm"),
    [(manifest, flip), (manifest, linked), (manifest, longer), (layer, flip), (layer, linked), (layer, cut),
     (layer, longer), (layer, remove)],
)  # fmt: skip
def test_a_blob_that_is_not_what_was_promised_is_an_integrity_error(
    world: World, which: Callable[[Path], Path], harm: Callable[[Path], None], tmp_path: Path
) -> None:
    layout = world.copy(world.image, tmp_path)
    place = which(layout)
    harm(place)

    done = refused("verify", f"oci:{layout}", "--against", world.lock, status=5, says=str(layout))
    assert which.__name__ in done.stderr or place.name[:12] in done.stderr


def test_show_and_diff_say_so_too(world: World, tmp_path: Path) -> None:
    layout = world.copy(world.image, tmp_path)
    flip(layer(layout))

    refused("show", f"oci:{layout}", status=5, says=layer(layout).name[:12])
    refused("diff", world.snapshot, f"oci:{layout}", status=5, says=layer(layout).name[:12])


def test_a_folder_that_is_no_layout_is_named(world: World, tmp_path: Path) -> None:
    layout = world.copy(world.image, tmp_path)
    (layout / "index.json").unlink()

    refused("show", f"oci:{layout}", status=2, says="index.json")
    (tmp_path / "empty").mkdir()
    refused("verify", f"oci:{tmp_path}/empty", "--against", world.lock, status=2, says="not an OCI layout")


def test_of_two_tags_none_is_chosen_silently(world: World, tmp_path: Path) -> None:
    place = tmp_path / "image"
    for tag, user in (("v1", "1000"), ("v2", "2000")):
        envparity("build", world.lock, "--output", f"oci:{place}:{tag}", "--user", user, "-q")

    done = refused("show", f"oci:{place}", status=2, says="several images")
    assert "v1" in done.stderr
    assert "v2" in done.stderr
    refused("show", f"oci:{place}:v3", status=2, says="tag")
    envparity("show", f"oci:{place}:v2", status=0)


@pytest.mark.parametrize(
    ("content", "status"), [(b"", 4), (b"no tar at all\n" * 100, 4), (b"\x1f\x8b\x08\x00cut", 2), (b"PK\x03\x04", 4)]
)
def test_an_archive_that_is_no_tar_is_malformed(content: bytes, status: int, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(content)

    refused("show", f"docker-archive:{tmp_path}/image.tar", status=status, says="image.tar")


def test_an_archive_that_was_cut_is_not_a_smaller_image(world: World, tmp_path: Path) -> None:
    data = world.archive.read_bytes()
    for part in (1, 2, 3):
        (tmp_path / "image.tar").write_bytes(data[: len(data) * part // 4])

        done = envparity("show", f"docker-archive:{tmp_path}/image.tar", status=None)

        assert done.returncode in {4, 5}
        assert "Traceback" not in done.stderr


def test_a_tar_of_something_else_is_not_an_image(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "backup.tar", "w") as archive:
        archive.add(__file__, "notes.txt")

    refused("show", f"docker-archive:{tmp_path}/backup.tar", status=4, says="no image")
    refused("show", f"oci:{tmp_path}/backup.tar", status=2, says="backup.tar")
    refused("show", f"docker-archive:{tmp_path}", status=2, says="not a regular file")


def test_a_place_that_cannot_be_one_is_said_before_any_work(world: World) -> None:
    refused("build", world.lock, "--output", "registry:tickets:1", status=2, says="names no registry")
    refused("build", world.lock, "--output", "registry:localhost:5000/Tickets:1", status=2, says="could have")
    refused("build", world.lock, "--output", "docker:Tickets:1", status=2, says="not a name that an engine takes")
    refused("build", world.lock, "--output", "image.tar", status=2, says="not a reference to an image")


def test_a_command_that_the_image_does_not_have_is_named(world: World) -> None:
    """The helper that starts it would say so in its own words, with a status that means findings."""
    refused("run", f"oci:{world.image}", "--", "nosuchcommand", status=2, says="no `nosuchcommand` on its PATH")
    refused("run", f"oci:{world.image}", "--", "/nowhere/x\x1b[31m", status=2, says="/nowhere/x\\x1b[31m")


def test_an_output_that_cannot_be_written_is_said_before_the_work(world: World, tmp_path: Path) -> None:
    """Hours of downloads, and then: it is a folder."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    build = ("build", world.lock, "--offline", "--output")
    nothing = {"ENVPARITY_CACHE_DIR": str(tmp_path / "empty")}

    refused(*build, f"docker-archive:{tmp_path / 'folder'}", status=2, says="a folder is there", **nothing)
    refused(*build, f"oci:{tmp_path / 'file'}", status=2, says="a file is there", **nothing)
    refused(*build, f"oci:{tmp_path / 'a' / 'b'}", status=2, says="does not exist", **nothing)
    refused(*build, f"oci:{tmp_path / 'x'}", "-t", "bad tag", status=2, says="not a name for an image", **nothing)
    assert sorted(place.name for place in tmp_path.iterdir()) == ["file", "folder"]


def test_the_snapshot_to_verify_against_may_come_over_standard_input(world: World) -> None:
    """It is read as the one that is named: this image has nothing of what it records."""
    for against, given in ((str(world.snapshot), ""), ("-", world.snapshot.read_text())):
        done = envparity("verify", f"oci:{world.image}", "--against", against, stdin=given, status=3)

        assert "it shares no recorded distribution with the snapshot" in done.stderr
