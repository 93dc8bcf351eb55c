"""`envparity cache`: what a person sees of it, and what a script reads."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from envparity.cache import Cache
from tests.commands import envparity, refused


def filled(folder: Path) -> dict[str, str]:
    content = b"x" * 2_500_000
    sha256 = hashlib.sha256(content).hexdigest()
    Cache(folder).adopt([content], sha256=sha256, size_bytes=None, what="thing")
    return {"ENVPARITY_CACHE_DIR": str(folder)}


def test_where_and_how_large_it_is_and_then_it_is_empty(tmp_path: Path) -> None:
    env = filled(tmp_path / "cache")

    assert envparity("cache", "dir", **env).stdout == f"{tmp_path / 'cache'}\n"
    assert envparity("cache", "size", **env).stdout == "2.5 MB in 1 file\n"
    assert json.loads(envparity("cache", "size", "--format", "json", **env).stdout)["size_bytes"] == 2_500_000
    assert envparity("cache", "prune", **env).stdout == "removed 0 files, 0 bytes\n2.5 MB in 1 file left\n"
    told = envparity("cache", "prune", "--max-size", "2.4MB", **env).stdout
    assert told == "removed 1 file, 2.5 MB\n0 bytes in 0 files left\n"


@pytest.mark.parametrize("wrong", [("--max-size", "much"), ("--max-size", "-1"), ("--older-than", "30")])
def test_a_size_or_time_that_is_none_is_usage(wrong: tuple[str, str], tmp_path: Path) -> None:
    env = filled(tmp_path / "cache")

    assert "such as" in envparity("cache", "prune", *wrong, status=2, **env).stderr
    assert "2.5 MB" in envparity("cache", "size", **env).stdout


def test_looking_removes_nothing(tmp_path: Path) -> None:
    assert "are for `prune`" in envparity("cache", "size", "--max-size", "0", status=2, **filled(tmp_path)).stderr


@pytest.mark.parametrize("what", ["size", "prune"])
def test_a_file_in_the_place_of_the_cache_is_said_to_be_one(what: str, tmp_path: Path) -> None:
    """It is not an empty cache."""
    (tmp_path / "cache").write_text("mine")

    refused("cache", what, status=2, says="is not a folder", ENVPARITY_CACHE_DIR=str(tmp_path / "cache"))
