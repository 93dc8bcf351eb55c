"""A folder has one digest, whatever place it lies in; links do not lead out of it."""

import hashlib

import pytest


def test_the_digest_of_a_folder_is_that_of_its_sorted_lines():
    from envparity.collectors.folders import digest

    lines = f"{'1' * 64}  a\n{'0' * 64}  b/c\n"
    expected = hashlib.sha256("".join(sorted(lines.splitlines(True))).encode()).hexdigest()

    assert digest([("b/c", "0" * 64), ("a", "1" * 64)]) == expected


def names(path):
    from envparity.collectors.folders import files_of
    from envparity.collectors.tree import LocalTree

    return [(item.name, item.leads_out) for item in files_of(LocalTree(), str(path))]


def test_a_link_that_leads_out_is_named_and_not_followed(tmp_path):
    """A model from a stranger must not make us hash, let alone ship, the key of the one who builds."""
    (tmp_path / "secret").write_text("key")
    (tmp_path / "model/sub").mkdir(parents=True)
    (tmp_path / "model/a").write_text("a")
    (tmp_path / "model/link").symlink_to(tmp_path / "secret")
    (tmp_path / "model/sub/inside").symlink_to("../a")
    (tmp_path / "model/sub/loop").symlink_to("..")
    (tmp_path / "model/broken").symlink_to("nowhere")

    assert names(tmp_path / "model") == [("a", False), ("broken", True), ("link", True), ("sub/inside", False)]


def test_a_snapshot_of_the_hugging_face_cache_is_links_to_its_blobs(tmp_path):
    (tmp_path / "models--x/blobs").mkdir(parents=True)
    (tmp_path / "models--x/snapshots/abc").mkdir(parents=True)
    (tmp_path / "models--x/blobs/f00").write_text("{}")
    (tmp_path / "models--x/snapshots/abc/config.json").symlink_to("../../blobs/f00")

    assert names(tmp_path / "models--x/snapshots/abc") == [("config.json", False)]


def test_a_folder_of_too_many_files_is_refused(tree_of):
    from envparity.collectors.folders import files_of

    with pytest.raises(OSError, match="more than 3 files"):
        list(files_of(tree_of({f"/m/{number}": b"" for number in range(5)}), "/m", most_files=3))


def test_a_fifo_is_passed_over(tree_of):
    from envparity.collectors.folders import files_of

    assert [item.name for item in files_of(tree_of({"/m/a": b"", "/m/pipe": None}), "/m")] == ["a"]
