from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from envparity.errors import IntegrityError, MalformedError, UnsupportedError, UsageError
from envparity.oci.archive import write_archive
from envparity.oci.check import check, require_valid
from envparity.oci.places import open_image, write_image
from envparity.oci.tree import merge
from tests.oci import hostile
from tests.oci.made import built, file

TAR = hostile.tar(hostile.file("etc/x", b"1"))
CONFIG = json.dumps(
    {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [hostile.digest(TAR)]}}
).encode()
NAME = hashlib.sha256(CONFIG).hexdigest()


def docker(path: Path, members: dict[str, bytes], lines: object, *raw: bytes) -> str:
    """What `docker save` writes, or almost."""
    manifest = json.dumps(lines).encode()
    named = [hostile.file(name, data) for name, data in {**members, "manifest.json": manifest}.items()]
    path.write_bytes(hostile.tar(*named, *raw))
    return f"docker-archive:{path}"


def line(config: str = f"{NAME}.json", layers: tuple[str, ...] = ("a/layer.tar",), *names: str) -> dict[str, object]:
    return {"Config": config, "RepoTags": list(names) or None, "Layers": list(layers)}


GOOD = {f"{NAME}.json": CONFIG, "a/layer.tar": TAR}


def test_our_archive_is_read_back_and_has_one_form(tmp_path: Path) -> None:
    image = built(tmp_path / "1", (file("a", b"1"),), (file("b", b"2"),))
    write_archive(tmp_path / "x.tar", image, "team/model:v1")
    write_archive(tmp_path / "y.tar", built(tmp_path / "2", (file("a", b"1"),), (file("b", b"2"),)), "team/model:v1")

    assert (tmp_path / "x.tar").read_bytes() == (tmp_path / "y.tar").read_bytes()
    found = open_image(f"docker-archive:{tmp_path}/x.tar:team/model:v1")
    assert found.digest == image.digest
    assert require_valid(f"docker-archive:{tmp_path}/x.tar").images == 1


def test_it_is_a_layout_and_what_docker_loads_in_one(tmp_path: Path) -> None:
    image = built(tmp_path / "1", (file("a", b"1"),))
    write_image(f"docker-archive:{tmp_path}/x.tar", image, "team/model:v1")
    with tarfile.open(tmp_path / "x.tar") as archive:
        (entry,) = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        archive.extractall(tmp_path / "layout", filter="data")
    assert entry["RepoTags"] == ["team/model:v1"]
    assert entry["Config"] == f"blobs/sha256/{image.config_digest[7:]}"
    assert entry["Layers"] == [f"blobs/sha256/{image.layers[0][0].digest[7:]}"]
    assert open_image(f"oci:{tmp_path}/layout").digest == image.digest


@pytest.mark.parametrize("name", ["Model:v1", "model", "a b:v1", "-x:v1", "x:-", "x:" + "t" * 129])
def test_a_name_that_no_engine_takes_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not a name for an image"):
        write_archive(tmp_path / "x.tar", built(tmp_path / "1", (file("a"),)), name)
    assert not (tmp_path / "x.tar").exists()


def test_a_blob_that_changed_leaves_no_archive(tmp_path: Path) -> None:
    image = built(tmp_path / "1", (file("a"),))
    image.layers[0][1].write_bytes(b"something else")
    (tmp_path / "x.tar").write_bytes(b"the one before")
    with pytest.raises(IntegrityError, match="not what was promised"):
        write_archive(tmp_path / "x.tar", image)
    assert (tmp_path / "x.tar").read_bytes() == b"the one before"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["x.tar"]


def test_what_docker_saved_is_read(tmp_path: Path) -> None:
    reference = docker(tmp_path / "x.tar", GOOD, [line()])
    found = open_image(reference)
    assert found.layers()[0].descriptor.digest == found.layers()[0].diff_id == hostile.digest(TAR)
    assert merge(found).read("/etc/x") == b"1"
    assert check(found).valid


def test_a_layer_that_is_a_link_to_another_one_is_read(tmp_path: Path) -> None:
    """Docker before 25 saves a layer once, and links to it from the folder of every other image."""
    reference = docker(
        tmp_path / "x.tar", GOOD, [line(layers=("b/layer.tar",))], hostile.link("b/layer.tar", "../a/layer.tar")
    )
    assert merge(open_image(reference)).read("/etc/x") == b"1"


@pytest.mark.parametrize(
    ("config", "layers", "raw", "says"),
    [
        ("../../etc/passwd", ("a/layer.tar",), (), "leads out of the image"),
        ("/etc/passwd", ("a/layer.tar",), (), "which is not in it"),
        (f"{NAME}.json", ("../x",), (), "leads out of the image"),
        (f"{NAME}.json", ("x",), (hostile.link("x", "/etc/passwd"),), "which is not in it"),
        (f"{NAME}.json", ("x",), (hostile.link("x", "../../etc/passwd"),), "leads out of the image"),
        (f"{NAME}.json", ("x",), (hostile.link("x", "y"), hostile.link("y", "x")), "is no file"),
        (f"{NAME}.json", ("x",), (hostile.folder("x"),), "is no file"),
        ("manifest.json", ("a/layer.tar",), (), "config of"),
        (f"{NAME}.json", ("a/layer.tar",), (hostile.file("a/layer.tar", b"other"),), "twice"),
    ],
)
def test_a_manifest_that_points_elsewhere_is_refused(
    tmp_path: Path, config: str, layers: tuple[str, ...], raw: tuple[bytes, ...], says: str
) -> None:
    """CVE-2024-24579: the path of a layer led out of the folder that the archive was unpacked to."""
    with pytest.raises(MalformedError, match=says):
        open_image(docker(tmp_path / "x.tar", GOOD, [line(config, layers)], *raw))


@pytest.mark.parametrize(
    "lines",
    [
        {},
        [],
        [1],
        [{"Config": 1, "Layers": []}],
        [{"Config": "x", "Layers": "y"}],
        [{**line(), "RepoTags": [1]}],
        [{**line(), "config": "other"}],
        [{**line(), "LAYERS": []}],
        [{**line(), "Other": 1}],
    ],
)
def test_a_manifest_of_another_shape_is_malformed(tmp_path: Path, lines: object) -> None:
    with pytest.raises(MalformedError, match=r"manifest\.json of"):
        open_image(docker(tmp_path / "x.tar", GOOD, lines))


def test_a_config_that_is_not_what_its_name_says_is_an_integrity_error(tmp_path: Path) -> None:
    members = {f"{'0' * 64}.json": CONFIG, "a/layer.tar": TAR}
    with pytest.raises(IntegrityError, match="not what its name says"):
        open_image(docker(tmp_path / "x.tar", members, [line(f"{'0' * 64}.json")]))
    with pytest.raises(IntegrityError, match="2 layers, and its config 1 diffIDs"):
        open_image(docker(tmp_path / "x.tar", GOOD, [line(layers=("a/layer.tar", "a/layer.tar"))]))


def test_a_layer_that_is_not_its_diff_id_is_an_integrity_error(tmp_path: Path) -> None:
    other = {**GOOD, "a/layer.tar": hostile.tar(hostile.file("etc/x", b"2"))}
    with pytest.raises(IntegrityError, match="is not what its digest says"):
        merge(open_image(docker(tmp_path / "x.tar", other, [line()])))


def test_several_images_are_listed(tmp_path: Path) -> None:
    reference = docker(tmp_path / "x.tar", GOOD, [line(f"{NAME}.json", ("a/layer.tar",), "a:1"), line()])
    with pytest.raises(UsageError, match="several images") as caught:
        open_image(reference)
    assert caught.value.hint == "there is: a:1"
    assert open_image(f"{reference}:a:1").platform == "linux/amd64"
    with pytest.raises(UsageError, match="no image of that name"):
        open_image(f"{reference}:b:1")
    with pytest.raises(UsageError, match="the image there is sha256:"):
        open_image(f"{reference}:a:1@sha256:{'0' * 64}")
    with pytest.raises(UsageError, match="no image for linux/arm64"):
        open_image(f"{reference}:a:1", platform="linux/arm64")


OTHER = CONFIG.replace(b"{", b'{"author": "another", ', 1)


def hybrid(path: Path, lines: list[dict[str, object]], *extra: bytes, images: dict[str, bytes] | None = None) -> str:
    """A layout with these configs by their tag, and what Docker loads beside it."""
    layer = {"mediaType": hostile.LAYER, "digest": hostile.digest(TAR), "size": len(TAR)}
    members = {blob(TAR): TAR, blob(OTHER): OTHER, "oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    entries = []
    for tag, data in (images or {"": CONFIG}).items():
        config = {"mediaType": hostile.CONFIG, "digest": hostile.digest(data), "size": len(data)}
        manifest = json.dumps({"schemaVersion": 2, "config": config, "layers": [layer]}).encode()
        entry = {"mediaType": hostile.MANIFEST, "digest": hostile.digest(manifest), "size": len(manifest)}
        entries.append({**entry, "annotations": {"org.opencontainers.image.ref.name": tag}} if tag else entry)
        members |= {blob(data): data, blob(manifest): manifest}
    members["index.json"] = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    return docker(path, {**GOOD, **members}, lines, *extra)


def blob(data: bytes) -> str:
    return f"blobs/sha256/{hostile.digest(data)[7:]}"


def test_an_archive_that_is_two_different_images_is_refused(tmp_path: Path) -> None:
    """Docker would run the one of manifest.json, everything else the one of index.json."""
    same = line(blob(CONFIG), (blob(TAR),), "a:1")
    assert open_image(hybrid(tmp_path / "same.tar", [same]) + ":a:1").platform == "linux/amd64"
    with pytest.raises(MalformedError, match="two images in one"):
        open_image(hybrid(tmp_path / "other.tar", [line(blob(CONFIG), ("a/layer.tar",))]))


@pytest.mark.parametrize("names", [(), ("a:1",), ("b:1",)])
def test_every_line_that_docker_loads_must_be_in_the_index(tmp_path: Path, names: tuple[str, ...]) -> None:
    """The first line agrees, and Docker loads the second one over it: what was verified would not be what runs."""
    same, other = line(blob(CONFIG), (blob(TAR),)), line(blob(OTHER), (blob(TAR),), *names)
    for lines in ([same, other], [other, same], [other]):
        for suffix in ("", ":a:1"):
            with pytest.raises(MalformedError, match="two images in one"):
                open_image(hybrid(tmp_path / "x.tar", lines, images={"a:1": CONFIG}) + suffix)


def test_a_name_must_be_the_same_image_for_docker_and_for_the_index(tmp_path: Path) -> None:
    images = {"a:1": CONFIG, "b:1": OTHER}
    one, two = (line(blob(data), (blob(TAR),), name) for name, data in images.items())
    reference = hybrid(tmp_path / "x.tar", [one, two], images=images)
    assert open_image(f"{reference}:b:1").config_bytes == OTHER

    swapped = [line(blob(OTHER), (blob(TAR),), "docker.io/library/a:1"), line(blob(CONFIG), (blob(TAR),), "b:1")]
    with pytest.raises(MalformedError, match="two images in one"):
        open_image(hybrid(tmp_path / "y.tar", swapped, images=images) + ":a:1")


def test_a_name_that_only_docker_gives_is_found(tmp_path: Path) -> None:
    """`docker save` since 25 writes the tag alone into the index, which several names may share."""
    lines = [line(blob(CONFIG), (blob(TAR),), "a:latest"), line(blob(OTHER), (blob(TAR),), "b:latest")]
    reference = hybrid(tmp_path / "x.tar", lines, images={"x": CONFIG, "y": OTHER})
    found = open_image(f"{reference}:b:latest")
    assert found.config_bytes == OTHER
    assert open_image(f"{reference}:docker.io/library/b:latest").digest == found.digest
    with pytest.raises(UsageError, match="several images"):
        open_image(reference)
    assert open_image(f"{reference}@{found.digest}").digest == found.digest


@pytest.mark.parametrize("name", ["a:1", "docker.io/library/a:1", "index.docker.io/a:1", "library/a:1"])
@pytest.mark.parametrize("make", [docker, hybrid])
def test_a_name_on_two_lines_is_refused(tmp_path: Path, make: Callable[..., str], name: str) -> None:
    """Docker loads one line after the other, and the last one keeps the name."""
    lines = [line(blob(CONFIG), (blob(TAR),), "a:1"), line(blob(CONFIG), (blob(TAR),), name)]
    members = {blob(CONFIG): CONFIG, blob(TAR): TAR}
    reference = docker(tmp_path / "x.tar", members, lines) if make is docker else hybrid(tmp_path / "x.tar", lines)
    with pytest.raises(MalformedError, match="two images the name"):
        open_image(reference + ":a:1")


def test_a_platform_that_docker_did_not_save_is_no_fault(tmp_path: Path) -> None:
    """It saves the index of a multi-platform image whole, and the blobs of those platforms only that it has."""
    here = json.dumps({"schemaVersion": 2, "config": descriptor(CONFIG, hostile.CONFIG), "layers": [
        descriptor(TAR, hostile.LAYER)]}).encode()  # fmt: skip
    entries = [
        {**descriptor(here, hostile.MANIFEST), "platform": {"os": "linux", "architecture": "amd64"}},
        {**descriptor(b"gone", hostile.MANIFEST), "platform": {"os": "linux", "architecture": "arm64"}},
    ]
    members = {blob(data): data for data in (CONFIG, TAR, here)} | {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": entries}).encode(),
    }
    reference = docker(tmp_path / "x.tar", members, [line(blob(CONFIG), (blob(TAR),), "a:1")])
    assert open_image(reference, platform="linux/amd64").config_bytes == CONFIG
    with pytest.raises(IntegrityError, match="is missing"):
        open_image(reference, platform="linux/arm64")


def descriptor(data: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": hostile.digest(data), "size": len(data)}


@pytest.mark.parametrize(
    "members",
    [
        (hostile.link("other", "blobs"), hostile.file("other/sha256/x", b"1")),
        (hostile.file("other/sha256/x", b"1"), hostile.link("other", "blobs")),
        (hostile.link("other", "blobs"), hostile.folder("other")),
        (hostile.file("other", b""), hostile.file("other/x", b"1")),
    ],
)
def test_a_member_that_would_be_unpacked_through_a_link_is_refused(tmp_path: Path, members: tuple[bytes, ...]) -> None:
    """Docker unpacks what it loads: the member would take the place of another one, which we read."""
    with pytest.raises(MalformedError, match=r"no folder|as a folder and as something else"):
        open_image(hybrid(tmp_path / "x.tar", [line(blob(CONFIG), (blob(TAR),))], *members))


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"\x1f\x8b\x08rest", UnsupportedError, "compressed with gzip"),
        (hostile.tar(hostile.file("repositories", b"{}")), UnsupportedError, "older than 1.10"),
        (hostile.tar(hostile.file("readme", b"hi")), MalformedError, "is a tar, but no image"),
        (b"no tar".ljust(600), MalformedError, "not a tar|not a number"),
        (hostile.tar(hostile.file("manifest.json", b"{"))[:600], MalformedError, "cut short"),
        (hostile.tar(hostile.file("manifest.json", b"{")), MalformedError, "ends too early"),
        (hostile.tar(hostile.file("manifest.json", b" " * (5 << 20))), MalformedError, "the limit is 4194304"),
    ],
)
def test_what_is_no_archive_is_said(tmp_path: Path, data: bytes, error: type[Exception], says: str) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(error, match=says):
        open_image(f"docker-archive:{tmp_path}/x.tar")


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        open_image(f"docker-archive:{tmp_path}/x.tar")
    with pytest.raises(UsageError, match="not a regular file") as caught:
        open_image(f"docker-archive:{tmp_path}")
    assert caught.value.hint == "a folder is read as `oci:DIR`"


def test_a_blob_that_is_missing_in_an_archive_is_named(tmp_path: Path) -> None:
    image = built(tmp_path / "1", (file("a"),))
    write_archive(tmp_path / "x.tar", image)
    out = io.BytesIO()
    gone = image.layers[0][0].digest
    with tarfile.open(tmp_path / "x.tar") as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            if gone[7:] not in member.name:
                new.addfile(member, old.extractfile(member) if member.isfile() else None)
    (tmp_path / "x.tar").write_bytes(out.getvalue())
    with pytest.raises(IntegrityError, match=f"blob {gone} is missing"):
        require_valid(f"docker-archive:{tmp_path}/x.tar")
