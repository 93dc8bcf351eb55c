"""Data by its content: files, folders, links, and what only points to data elsewhere."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from envparity.errors import MalformedError, UsageError
from envparity.lineage.data import data


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read(*paths: str | Path, folder: Path = Path()) -> tuple[dict[str, Any], dict[str, tuple[str, str]]]:
    """The artifacts by name, and the gaps by item."""
    facts = list(data(paths, folder))
    gaps = {fact["item"]: (fact["gap"], fact["reason"]) for fact in facts if fact["kind"] == "gap"}
    return {fact["name"]: fact for fact in facts if fact["kind"] == "artifact"}, gaps


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with folders in it, a large file, an empty one, and a name that has to be escaped."""
    folder = tmp_path / "images"
    for name, content in {
        "cats/1.png": b"cat" * 1000,
        "dogs/1.png": b"dog" * 1_000_000,
        "empty": b"",
        "line\nfeed\\name": b"odd",
        ".hidden/x": b"x",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_file_is_its_digest_and_its_size(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(b"a,b\n1,2\n")

    artifacts, gaps = read("train.csv", folder=tmp_path)

    assert artifacts["train.csv"] == {
        "kind": "artifact",
        "artifact": "data",
        "name": "train.csv",
        "size_bytes": 8,
        "sha256": sha256(b"a,b\n1,2\n"),
        "path": str(tmp_path / "train.csv"),
        "files": None,
        "pointer": "",
    }
    assert gaps == {}


def test_the_digest_of_a_folder_is_what_everybody_s_tools_say(images: Path) -> None:
    """So anybody can check it, years later, without envparity."""
    command = "find . -type f -printf '%P\\0' | xargs -0 sha256sum | LC_ALL=C sort | sha256sum"
    said = subprocess.run(["sh", "-c", command], cwd=images, capture_output=True, text=True, check=True).stdout

    artifacts, gaps = read(images)

    assert artifacts["images"]["sha256"] == said.split()[0]
    assert (artifacts["images"]["files"], artifacts["images"]["size_bytes"]) == (5, 3004 + 3_000_000)
    assert gaps == {}


def test_more_files_than_are_hashed_at_once_all_count(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"{number}.txt").write_text(str(number))
    lines = sorted(f"{sha256(str(number).encode())}  {number}.txt\n" for number in range(1000))

    (artifact,) = read(tmp_path)[0].values()

    assert (artifact["files"], artifact["sha256"]) == (1000, sha256("".join(lines).encode()))


def test_a_change_anywhere_changes_the_digest(images: Path) -> None:
    digests = {read(images)[0]["images"]["sha256"]}
    (images / "cats" / "1.png").rename(images / "cats" / "2.png")
    digests.add(read(images)[0]["images"]["sha256"])
    (images / ".hidden" / "x").write_bytes(b"y")
    digests.add(read(images)[0]["images"]["sha256"])
    (images / "empty").unlink()
    digests.add(read(images)[0]["images"]["sha256"])

    assert len(digests) == 4


def test_a_link_is_followed_inside_the_folder_and_never_out_of_it(images: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"canary")
    (images / "again.png").symlink_to("cats/1.png")
    (images / "more").symlink_to("dogs")
    (images / "loop").symlink_to(".")
    whole, gaps = read(images)
    assert (whole["images"]["files"], gaps) == (6, {})

    (images / "out").symlink_to(tmp_path / "secret")
    (images / "beside").symlink_to("../images-of-others")
    (images / "nowhere").symlink_to("absent")
    artifacts, gaps = read(images)

    assert {item: kind for item, (kind, _) in gaps.items()} == {
        "images/out": "unread",
        "images/beside": "unread",
        "images/nowhere": "unread",
    }
    assert "leads out of the folder" in gaps["images/out"][1]
    assert artifacts["images"]["files"] == 6
    assert artifacts["images"]["sha256"] != whole["images"]["sha256"]


def test_a_link_that_somebody_names_is_what_it_leads_to(images: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(images)
    (tmp_path / "one.png").symlink_to(images / "cats" / "1.png")

    artifacts, gaps = read(tmp_path / "link", tmp_path / "one.png")

    assert artifacts["link"]["sha256"] == read(images)[0]["images"]["sha256"]
    assert artifacts["one.png"]["sha256"] == sha256(b"cat" * 1000)
    assert gaps == {}


def test_what_is_no_file_is_not_opened_and_unread(images: Path) -> None:
    os.mkfifo(images / "pipe")

    _, gaps = read(images)

    assert gaps == {"images/pipe": ("unread", "it is neither a file nor a folder")}


def test_many_problems_are_named_once_each_up_to_a_limit(images: Path) -> None:
    for number in range(30):
        (images / f"link{number}").symlink_to("/etc/hostname")

    _, gaps = read(images)

    assert len(gaps) == 21
    assert gaps["images"] == ("unread", "10 more could not be read")


def test_two_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    """And no more of a path than that: a name goes where the path of this host may not."""
    for name in ("train/images", "test/images", "labels"):
        (tmp_path / name).mkdir(parents=True)

    artifacts, _ = read("train/images", "test/images/", "labels", folder=tmp_path)

    assert sorted(artifacts) == ["labels", "test/images", "train/images"]


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 123456789\n"


def test_a_pointer_of_git_lfs_states_the_digest_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(LFS % (b"a" * 64))

    artifacts, _ = read(tmp_path / "model.bin")

    found = artifacts["model.bin"]
    assert (found["sha256"], found["size_bytes"], found["pointer"]) == ("a" * 64, 123456789, "git-lfs")


def test_a_folder_of_pointers_has_the_digest_of_the_folder_of_data(tmp_path: Path) -> None:
    for name, content in (("data", b"large" * 1000), ("pointers", b"")):
        (tmp_path / name).mkdir()
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 5000\n"
        (tmp_path / name / "x").write_bytes(content or pointer % sha256(b"large" * 1000).encode())

    artifacts, _ = read(tmp_path / "data", tmp_path / "pointers")

    assert artifacts["data"]["sha256"] == artifacts["pointers"]["sha256"]
    assert artifacts["data"]["size_bytes"] == artifacts["pointers"]["size_bytes"]
    assert (artifacts["data"]["pointer"], artifacts["pointers"]["pointer"]) == ("", "git-lfs")


@pytest.mark.parametrize("content", [LFS % (b"g" * 64), LFS % (b"a" * 64) + b"x", b"version https://x.example\n"])
def test_what_only_looks_like_a_pointer_is_a_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)

    assert (read(tmp_path / "x")[0]["x"]["sha256"], read(tmp_path / "x")[0]["x"]["pointer"]) == (sha256(content), "")


DVC = b"""outs:
- md5: 22a1a2931c8370d3aeedd7183606fd7f.dir
  size: 14445097
  nfiles: 800
  hash: md5
  path: images
"""
DVC_LOCK = b"""schema: '2.0'
stages:
  prepare:
    cmd: python prepare.py --password canary
    deps:
    - path: s3://ada:canary@bucket/raw
      md5: 00000000000000000000000000000ab1
      size: 7
    - path: prepare.py
      md5: 00000000000000000000000000000ab2
      size: 1000
    outs:
    - path: images
      hash: md5
      md5: 22a1a2931c8370d3aeedd7183606fd7f.dir
      size: 14445097
      nfiles: 800
  train:
    cmd: python train.py
    deps:
    - path: images
      hash: md5
      md5: 22a1a2931c8370d3aeedd7183606fd7f.dir
      size: 14445097
      nfiles: 800
    outs:
    - path: /home/ada/model.pkl
      etag: abc
"""


def test_what_dvc_points_to_is_named_with_its_own_sum(tmp_path: Path) -> None:
    (tmp_path / "images.dvc").write_bytes(DVC)
    (tmp_path / "dvc.lock").write_bytes(DVC_LOCK)

    (one,) = read(tmp_path / "images.dvc")[0].values()
    several, gaps = read(tmp_path / "dvc.lock")

    assert (one["name"], one["files"], one["size_bytes"], one["pointer"]) == ("images", 800, 14445097, "dvc")
    assert one["properties"] == [["md5", "22a1a2931c8370d3aeedd7183606fd7f.dir"]]
    assert one["sha256"] == sha256(b"md5:22a1a2931c8370d3aeedd7183606fd7f.dir")
    assert several["images"] == one
    assert sorted(several) == ["images", "prepare.py", "s3://bucket/raw"]
    assert gaps == {"model.pkl": ("not-recorded", "DVC knows no sum of it")}
    assert "canary" not in str(several) + str(gaps)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"outs: 7\n", b"outs:\n- md5: x\n", b"stages:\n  a:\n    outs: [7]\n", b"a: b: c\n"]
)
def test_a_broken_file_of_dvc_is_malformed(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.dvc").write_bytes(content)

    with pytest.raises(MalformedError):
        read(tmp_path / "x.dvc")


def test_two_sums_of_one_path_are_said(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_bytes(DVC_LOCK.replace(b"22a1", b"22a2", 1))

    _, gaps = read(tmp_path / "dvc.lock")

    assert gaps["images"] == ("not-recorded", "`dvc.lock` states two sums of it")


@pytest.mark.parametrize(
    ("paths", "says"), [(("absent",), "there is no data at"), (("x", "./x"), "named twice"), (("pipe",), "neither")]
)
def test_what_makes_no_sense_is_a_usage_error(paths: tuple[str, ...], says: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(UsageError, match=says):
        read(*paths, folder=tmp_path)
