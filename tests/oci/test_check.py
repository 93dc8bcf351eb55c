from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envparity.errors import ExitStatus, IntegrityError, MalformedError, UsageError
from envparity.oci.check import check, require_valid
from envparity.oci.layout import write_layout
from envparity.oci.places import open_image
from tests.oci import hostile
from tests.oci.hostile import Blobs, file, tar
from tests.oci.made import built
from tests.oci.made import file as entry

ONE, TWO = tar(file("a", b"1")), tar(file("b", b"2"))


def problems(reference: str) -> list[tuple[int, str]]:
    return [(int(problem.status), problem.message) for problem in check(reference).problems]


def test_a_good_image_has_no_problem_and_everything_was_looked_at(tmp_path: Path) -> None:
    write_layout(tmp_path / "x", built(tmp_path / "1", (entry("a"),), (entry("b"),)), "v1")
    report = check(f"oci:{tmp_path}/x:v1")
    assert (report.valid, report.images, report.blobs) == (True, 1, 3)
    assert require_valid(open_image(f"oci:{tmp_path}/x:v1")).valid


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    write_layout(tmp_path / "x", built(tmp_path / "1", (entry("a", b"1"),)), "v1")
    for blob in sorted((tmp_path / "x" / "blobs" / "sha256").iterdir()):
        good = blob.read_bytes()
        for at in range(0, len(good), 7):
            blob.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            with pytest.raises(IntegrityError):
                require_valid(f"oci:{tmp_path}/x:v1")
        for changed in (good[:-1], good + b"\n", b""):
            blob.write_bytes(changed)
            with pytest.raises(IntegrityError):
                require_valid(f"oci:{tmp_path}/x:v1")
        blob.write_bytes(good)
    require_valid(f"oci:{tmp_path}/x:v1")


def image(path: Path, change: dict[str, Any], *, suffix: str = "") -> str:
    blobs = Blobs(path)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [hostile.digest(ONE), hostile.digest(TWO)]},
        **change,
    }
    layers = [blobs.add(blob, hostile.LAYER + suffix) for blob in (ONE, TWO)]
    return blobs.index(blobs.manifest(layers, config, platform={"architecture": "amd64", "os": "linux"}))


@pytest.mark.parametrize(
    ("change", "suffix", "says"),
    [
        ({"rootfs": {"type": "layers", "diff_ids": [hostile.digest(ONE)]}}, "", (5, "its config 1 diffIDs")),
        ({"rootfs": {"type": "layers", "diff_ids": [hostile.digest(TWO)] * 2}}, "", (5, "not what the config says")),
        ({"history": [{"created_by": "x"}]}, "", (5, "2 layers, and a history of 1")),
        ({"architecture": "arm64"}, "", (5, "is listed for linux/amd64, and its config says linux/arm64")),
        ({"config": {"Env": ["A"]}}, "", (4, "expected NAME=VALUE")),
        ({}, "+gzip", (4, "announced as gzip, and compressed with none")),
    ],
)  # fmt: skip
def test_each_promise_of_an_image_is_checked(
    tmp_path: Path, change: dict[str, Any], suffix: str, says: tuple[int, str]
) -> None:
    assert problems(image(tmp_path / "good", {})) == []
    found = problems(image(tmp_path / "x", change, suffix=suffix))
    assert [status for status, message in found if says[1] in message][:1] == [says[0]]


def test_empty_steps_of_a_history_are_not_counted(tmp_path: Path) -> None:
    steps = [{"created_by": "1"}, {"created_by": "ENV", "empty_layer": True}, {"created_by": "2"}]
    assert problems(image(tmp_path / "x", {"history": steps})) == []


def test_a_path_twice_and_a_link_to_nothing_are_problems(tmp_path: Path) -> None:
    (found,) = problems(hostile.image(tmp_path / "x", tar(file("a"), file("./a"))))
    assert found[0] == ExitStatus.MALFORMED
    assert "layer 1/1 has `/a` more than once" in found[1]
    (found,) = problems(hostile.image(tmp_path / "y", tar(hostile.hardlink("h", "no"))))
    assert "is a hard link to `no`" in found[1]


def test_all_problems_are_listed_and_the_worst_one_leads(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "x")
    good = blobs.image([ONE])
    twice = blobs.image([tar(file("a"), file("a"))])
    broken = blobs.image([TWO])
    (tmp_path / "x" / "blobs" / "sha256" / hostile.digest(TWO)[7:]).write_bytes(b"")
    reference = blobs.index(twice, good, broken)
    report = check(reference)
    assert (report.images, len(report.problems)) == (3, 2)
    with pytest.raises(IntegrityError, match="should have") as caught:
        require_valid(reference)
    assert len(caught.value.details) == 1
    assert "more than once" in caught.value.details[0]


def test_nothing_checked_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match="holds nothing that could be checked"):
        require_valid(Blobs(tmp_path / "x").index())
    with pytest.raises(UsageError):
        require_valid(f"oci:{tmp_path}/nowhere")


def test_what_hangs_on_an_image_is_checked_too(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "x")
    sbom = blobs.add(b"{}", "application/spdx+json")
    reference = blobs.index(blobs.image([ONE]), sbom)
    assert check(reference).valid
    (tmp_path / "x" / "blobs" / "sha256" / sbom["digest"][7:]).write_bytes(b"[]")
    with pytest.raises(IntegrityError, match="the blob is not what its digest says"):
        require_valid(reference)


def test_a_damaged_document_of_one_image_is_a_problem_of_its_own(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "x")
    good = blobs.image([ONE])
    both = json.dumps({"schemaVersion": 2, "manifests": [], "config": good, "layers": [good]}).encode()
    reference = blobs.index(good, blobs.add(both, hostile.MANIFEST), blobs.add(both, hostile.INDEX))
    assert [status for status, _ in problems(reference)] == [4, 4]
    assert check(reference).images == 1
