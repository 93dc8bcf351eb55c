from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from envparity.errors import IntegrityError, MalformedError, UnsupportedError, UsageError
from envparity.oci.check import check_layout, require_valid
from envparity.oci.layout import write_layout
from envparity.oci.places import open_image, parse_reference, write_image
from tests.oci import hostile
from tests.oci.made import built, file

ONE = hostile.tar(hostile.file("a", b"1"))


def tags(folder: Path) -> dict[str, str]:
    lines = json.loads((folder / "index.json").read_text())["manifests"]
    return {line["annotations"]["org.opencontainers.image.ref.name"]: line["digest"] for line in lines}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_written_is_found_again(tmp_path: Path) -> None:
    image = built(tmp_path / "blobs", (file("a", b"1"),), (file("b", b"2"),), config={"Env": ["A=1"], "User": "10001"})

    found_digest = write_layout(tmp_path / "x", image, "v1")

    found = open_image(f"oci:{tmp_path}/x:v1", platform="linux/amd64")
    assert (found.digest, found.manifest_bytes, found.config_bytes) == (
        found_digest, image.manifest_bytes, image.config_bytes
    )  # fmt: skip
    assert found.config.config is not None
    assert (found.config.config.env, found.config.config.user) == (("A=1",), "10001")
    assert [layer.number for layer in found.layers()] == [1, 2]
    assert require_valid(f"oci:{tmp_path}/x").blobs == 4


def test_history_has_one_line_a_layer_and_all_times_are_the_same(tmp_path: Path) -> None:
    config = json.loads(built(tmp_path, (file("a"),), (file("b"),)).config_bytes)
    assert [step["created_by"] for step in config["history"]] == ["a layer", "a layer"]
    assert {config["created"], *(step["created"] for step in config["history"])} == {"1970-01-01T00:00:01Z"}


def test_two_builds_are_one_image(tmp_path: Path) -> None:
    one = built(tmp_path / "1", (file("a", b"1"), file("b")), config={"Labels": {"x": "1", "y": "2"}})
    two = built(tmp_path / "2", (file("b"), file("a", b"1")), config={"Labels": {"y": "2", "x": "1"}, "Cmd": []})
    assert one.digest == two.digest
    write_layout(tmp_path / "x", one, "t")
    write_layout(tmp_path / "y", two, "t")
    assert contents(tmp_path / "x") == contents(tmp_path / "y")


def test_other_tags_stay_and_a_tag_can_be_moved(tmp_path: Path) -> None:
    one, two = built(tmp_path / "1", (file("a", b"1"),)), built(tmp_path / "2", (file("a", b"2"),))
    write_layout(tmp_path / "x", one, "v1")
    write_layout(tmp_path / "x", one, "latest")

    write_layout(tmp_path / "x", two, "latest")

    assert tags(tmp_path / "x") == {"v1": one.digest, "latest": two.digest}
    assert require_valid(f"oci:{tmp_path}/x").images == 2


def test_what_others_wrote_into_the_index_stays(tmp_path: Path) -> None:
    blobs = hostile.Blobs(tmp_path / "x")
    other = blobs.image([ONE], annotations={hostile_ref: "theirs", "org.example": "kept"})
    blobs.index(other)

    write_layout(tmp_path / "x", built(tmp_path / "1", (file("a"),)), "ours")

    assert json.loads((tmp_path / "x" / "index.json").read_text())["manifests"][0] == other


hostile_ref = "org.opencontainers.image.ref.name"


def test_eight_writers_at_once_lose_no_tag(tmp_path: Path) -> None:
    images = [built(tmp_path / str(number), (file("a", b"%d" % number),)) for number in range(8)]
    writers = [
        threading.Thread(target=write_layout, args=(tmp_path / "x", image, f"t{number}"))
        for number, image in enumerate(images)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert tags(tmp_path / "x") == {f"t{number}": image.digest for number, image in enumerate(images)}


def test_a_blob_that_changed_before_it_was_written_leaves_the_layout_as_it_was(tmp_path: Path) -> None:
    image = built(tmp_path / "1", (file("a", b"1"),))
    write_layout(tmp_path / "x", image, "v1")
    before = contents(tmp_path / "x")
    other = built(tmp_path / "2", (file("a", b"2"),))
    other.layers[0][1].write_bytes(b"something else")

    with pytest.raises(IntegrityError, match="not what was promised"):
        write_layout(tmp_path / "x", other, "v2")

    after = contents(tmp_path / "x")
    assert {name: after[name] for name in before} == before
    assert set(after) == set(before)


def test_a_damaged_blob_of_an_earlier_run_is_written_again(tmp_path: Path) -> None:
    image = built(tmp_path / "1", (file("a", b"1"),))
    write_layout(tmp_path / "x", image, "v1")
    for blob in (tmp_path / "x" / "blobs" / "sha256").iterdir():
        blob.write_bytes(bytes(blob.stat().st_size))
    write_layout(tmp_path / "x", image, "v1")
    require_valid(f"oci:{tmp_path}/x:v1")


@pytest.mark.parametrize("tag", ["-x", "a b", "a//b", "ü", "a/../b"])
def test_a_tag_that_cannot_be_one_is_refused(tmp_path: Path, tag: str) -> None:
    with pytest.raises(UsageError, match="cannot be a tag"):
        write_layout(tmp_path / "x", built(tmp_path / "1", (file("a"),)), tag)
    assert not (tmp_path / "x").exists()


def test_the_lock_lies_beside_the_layout_and_not_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layout is published as it is: it holds nothing of ours."""
    image = built(tmp_path / "1", (file("a"),))
    write_layout(tmp_path / "x", image, "v1")
    assert {path.name for path in (tmp_path / "x").iterdir()} == {"blobs", "index.json", "oci-layout"}
    assert (tmp_path / ".x.lock").exists()

    (tmp_path / "y").mkdir()
    monkeypatch.chdir(tmp_path / "y")
    write_layout(".", image, "v1")
    assert {path.name for path in (tmp_path / "y").iterdir()} == {"blobs", "index.json", "oci-layout"}


def test_a_layout_that_an_older_version_wrote_its_lock_into_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / ".envparity.lock").touch()
    write_layout(tmp_path / "x", built(tmp_path / "1", (file("a"),)), "v1")
    assert "v1" in tags(tmp_path / "x")


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="holds something else"):
        write_layout(tmp_path / "x", built(tmp_path / "1", (file("a"),)))
    (tmp_path / "f").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        write_layout(tmp_path / "f", built(tmp_path / "1", (file("a"),)))


def test_a_damaged_index_is_left_alone(tmp_path: Path) -> None:
    image = built(tmp_path / "1", (file("a"),))
    write_layout(tmp_path / "x", image, "v1")
    (tmp_path / "x" / "index.json").write_text("{")
    with pytest.raises(MalformedError, match="is not JSON: it ends too early"):
        write_layout(tmp_path / "x", image, "v2")
    assert (tmp_path / "x" / "index.json").read_text() == "{"


@pytest.mark.parametrize("part", ["blobs", "blobs/sha256", "index.json", "blob"])
def test_nothing_is_written_through_a_link_in_a_layout(tmp_path: Path, part: str) -> None:
    image = built(tmp_path / "1", (file("a"),))
    write_layout(tmp_path / "x", image, "v1")
    if part == "blob":
        part = f"blobs/sha256/{image.digest[7:]}"
    (tmp_path / "x" / part).rename(tmp_path / "elsewhere")
    (tmp_path / "x" / part).symlink_to(tmp_path / "elsewhere")
    with pytest.raises((IntegrityError, MalformedError), match="symbolic link"):
        write_layout(tmp_path / "x", image, "v1")


# Reading what others made.


def test_a_symbolic_link_for_a_blob_is_not_followed(tmp_path: Path) -> None:
    """The link could name any file of this host, and its content would end up in a report."""
    reference = hostile.image(tmp_path / "x", ONE)
    blob = tmp_path / "x" / "blobs" / "sha256" / hostile.digest(ONE)[7:]
    blob.rename(tmp_path / "secret")
    blob.symlink_to(tmp_path / "secret")
    with pytest.raises(IntegrityError, match="is a symbolic link"):
        require_valid(reference)


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
def test_a_fifo_is_not_waited_for(tmp_path: Path, name: str) -> None:
    reference = hostile.image(tmp_path / "x", ONE)
    (tmp_path / "x" / name).unlink()
    os.mkfifo(tmp_path / "x" / name)
    with pytest.raises(MalformedError, match="no regular file"):
        open_image(reference)


def test_a_missing_blob_is_named(tmp_path: Path) -> None:
    reference = hostile.image(tmp_path / "x", ONE)
    (tmp_path / "x" / "blobs" / "sha256" / hostile.digest(ONE)[7:]).unlink()
    with pytest.raises(IntegrityError, match=f"blob {hostile.digest(ONE)} is missing"):
        require_valid(reference)


def test_several_images_are_listed_and_none_is_chosen(tmp_path: Path) -> None:
    blobs = hostile.Blobs(tmp_path / "x")
    other = hostile.tar(hostile.file("b"))
    reference = blobs.index(
        blobs.image([ONE], annotations={hostile_ref: "v1"}), blobs.image([other], annotations={hostile_ref: "v2"})
    )
    with pytest.raises(UsageError, match="several images") as caught:
        open_image(reference)
    assert f"{reference}:v1, {reference}:v2" in caught.value.hint
    with pytest.raises(UsageError, match="does not exist") as caught:
        open_image(f"{reference}:v3")
    assert caught.value.hint == "there is: v1, v2"
    assert open_image(f"{reference}:v2").layers()[0].diff_id == hostile.digest(other)


def multi(path: Path) -> str:
    """An image for two platforms as BuildKit writes it: an index in the index, and an attestation for each."""
    blobs = hostile.Blobs(path)
    platforms = []
    for architecture in ("amd64", "arm64"):
        tar = hostile.tar(hostile.file(architecture))
        platform = {"architecture": architecture, "os": "linux"}
        platforms.append(blobs.image([tar], config={"architecture": architecture}, platform=platform))
        unknown = {"architecture": "unknown", "os": "unknown"}
        proof = blobs.add(architecture.encode(), "application/vnd.in-toto+json")
        config = {**unknown, "rootfs": {"type": "layers", "diff_ids": [proof["digest"]]}}
        platforms.append(blobs.manifest([proof], config, platform=unknown))
    nested = {"schemaVersion": 2, "mediaType": hostile.INDEX, "manifests": platforms}
    return blobs.index(blobs.add_json(nested, hostile.INDEX, annotations={hostile_ref: "v1"}))


def test_a_platform_is_chosen_by_name_only(tmp_path: Path) -> None:
    reference = multi(tmp_path / "x")
    with pytest.raises(UsageError, match="several images") as caught:
        open_image(f"{reference}:v1")
    assert caught.value.hint == "its platforms: linux/amd64, linux/arm64; name one: `--platform`"
    with pytest.raises(UsageError, match="no image for linux/s390x") as caught:
        open_image(reference, platform="linux/s390x")
    assert caught.value.hint == "its platforms: linux/amd64, linux/arm64"

    assert open_image(f"{reference}:v1", platform="linux/arm64").platform == "linux/arm64"
    assert check_layout(str(tmp_path / "x")).valid


def test_an_image_for_another_platform_than_asked_is_refused(tmp_path: Path) -> None:
    reference = hostile.image(tmp_path / "x", ONE)
    with pytest.raises(UsageError, match="no image for linux/arm64"):
        open_image(reference, platform="linux/arm64")


def test_an_image_can_be_named_by_its_digest(tmp_path: Path) -> None:
    reference = multi(tmp_path / "x")
    wanted = open_image(reference, platform="linux/arm64").digest
    assert open_image(f"{reference}@{wanted}").digest == wanted
    with pytest.raises(UsageError, match="nothing there has that digest"):
        open_image(f"{reference}@sha256:{'0' * 64}")


def test_indexes_are_followed_to_a_limit(tmp_path: Path) -> None:
    blobs = hostile.Blobs(tmp_path / "x")
    line = blobs.image([ONE])
    for _ in range(12):
        line = blobs.add_json({"schemaVersion": 2, "manifests": [line]}, hostile.INDEX)
    reference = blobs.index(line)
    with pytest.raises(MalformedError, match="nested more than 8 deep"):
        open_image(reference)
    assert not check_layout(str(tmp_path / "x")).valid


def test_what_is_no_image_is_said(tmp_path: Path) -> None:
    blobs = hostile.Blobs(tmp_path / "chart")
    config = blobs.add(b"{}", "application/vnd.cncf.helm.config.v1+json")
    layer = blobs.add(b"x", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
    manifest = {"schemaVersion": 2, "config": config, "layers": [layer]}
    reference = blobs.index(blobs.add_json(manifest, hostile.MANIFEST))
    with pytest.raises(UnsupportedError, match=r"artifact of type `application/vnd\.cncf\.helm\.config"):
        open_image(reference)
    assert check_layout(str(tmp_path / "chart")).valid

    with pytest.raises(UnsupportedError, match="image for Windows"):
        open_image(hostile.image(tmp_path / "win", ONE, config={"os": "windows"}))
    with pytest.raises(UnsupportedError, match="holds no image: nothing"):
        open_image(hostile.Blobs(tmp_path / "empty").index())


def test_sizes_are_looked_at_before_a_byte_is_read(tmp_path: Path) -> None:
    blobs = hostile.Blobs(tmp_path / "x")
    huge = {"mediaType": hostile.MANIFEST, "digest": hostile.digest(b"x"), "size": 10 << 30}
    with pytest.raises(MalformedError, match="claims 10737418240 bytes; the limit is 4194304"):
        open_image(blobs.index(huge))


@pytest.mark.parametrize("change", [{"size": 1}, {"size": 10_000}, {"digest": hostile.digest(b"other")}])
def test_a_manifest_that_is_not_what_was_promised_is_an_integrity_error(
    tmp_path: Path, change: dict[str, object]
) -> None:
    blobs = hostile.Blobs(tmp_path / "x")
    line = blobs.image([ONE])
    blobs.add(b"other", "x")
    with pytest.raises(IntegrityError):
        open_image(blobs.index({**line, **change}))


def test_media_types_must_agree(tmp_path: Path) -> None:
    blobs = hostile.Blobs(tmp_path / "x")
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    line = blobs.image([ONE], manifest={"mediaType": docker})
    with pytest.raises(MalformedError, match="calls itself"):
        open_image(blobs.index(line))
    assert not check_layout(str(tmp_path / "x")).valid


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("alpine", "not a reference"),
        ("http://x", "not a reference"),
        ("oci:", "names no folder"),
        ("docker-archive:", "names no file"),
    ],
)
def test_a_reference_that_means_nothing_is_a_usage_error(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        open_image(text)


def test_a_reference_is_taken_apart_and_put_together() -> None:
    for text in ("oci:dir", "oci:/a/b:v1", f"oci:d:name/x:v1@sha256:{'0' * 64}", "oci:me@home/x"):
        assert str(parse_reference(text)) == text
    assert parse_reference("oci:me@home/x:v1").path == "me@home/x"


def test_places_that_do_not_exist_or_are_no_layout_are_usage_errors(tmp_path: Path) -> None:
    for place in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(UsageError):
            open_image(f"oci:{place}")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="not an OCI layout"):
        open_image(f"oci:{tmp_path}/file")


def test_writing_needs_a_place_that_can_be_written(tmp_path: Path) -> None:
    image = built(tmp_path / "1", (file("a"),))
    with pytest.raises(UsageError, match="folder around it"):
        write_image(f"oci:{tmp_path}/no/where/x", image)
    with pytest.raises(UsageError, match="names a digest"):
        write_image(f"oci:{tmp_path}/x@{image.digest}", image)
    write_image(f"oci:{tmp_path}/x", image, "team/model:v3")
    assert tags(tmp_path / "x") == {"v3": image.digest}


def test_an_unknown_layout_version_is_malformed(tmp_path: Path) -> None:
    reference = hostile.image(tmp_path / "x", ONE)
    (tmp_path / "x" / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}')
    with pytest.raises(MalformedError, match="imageLayoutVersion"):
        open_image(reference)
    assert not check_layout(str(tmp_path / "x")).valid
