"""The cache: what lies in it is trusted, so nobody else may write there, and damage is a miss and never a crash."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from envparity.cache import Cache
from envparity.errors import UnreachableError
from tests.tools import by_nobody, not_here

DIGEST = hashlib.sha256(b"content").hexdigest()


def kept(folder: Path) -> Path:
    return Cache(folder).adopt([b"content"], sha256=DIGEST, size_bytes=7, what="thing")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_cache_that_others_can_write_is_refused(mode: int, tmp_path: Path) -> None:
    """Whoever can write there decides what goes into the images of everybody who uses it."""
    kept(tmp_path / "cache")
    (tmp_path / "cache").chmod(mode)
    cache = Cache(tmp_path / "cache")

    for use in (lambda: cache.checked_blob(DIGEST), lambda: cache.note("key", int), lambda: cache.write_note("key", 1)):
        with pytest.raises(UnreachableError, match="can be written by other users") as caught:
            use()
        assert "ENVPARITY_CACHE_DIR" in caught.value.hint


def test_a_cache_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        not_here("only root gives a folder away")
    kept(tmp_path / "cache")
    os.chown(tmp_path / "cache", 65534, 65534)

    with pytest.raises(UnreachableError, match="belongs to another user"):
        Cache(tmp_path / "cache").blob(DIGEST)


@pytest.mark.parametrize("damage", [b"", b"{", b'"text"', b"\xff", b"[1"])
def test_a_damaged_note_is_a_miss(damage: bytes, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    cache.write_note("key", [1])
    (tmp_path / "cache" / "notes" / "key.json").write_bytes(damage)

    assert cache.note("key", list[int]) is None

    cache.write_note("key", [2])
    assert cache.note("key", list[int]) == [2]


def test_a_blob_that_may_not_be_read_is_named() -> None:
    def use(folder: Path) -> object:
        kept(folder / "cache").chmod(0)
        return Cache(folder / "cache").checked_blob(DIGEST)

    assert by_nobody(use).startswith("UnreachableError: cannot use the cached")


def test_a_damaged_blob_that_cannot_be_removed_is_named() -> None:
    def use(folder: Path) -> object:
        place = kept(folder / "cache")
        place.write_bytes(b"damaged")
        place.parent.chmod(0o555)
        return Cache(folder / "cache").checked_blob(DIGEST)

    assert by_nobody(use).startswith("UnreachableError: cannot use the cached")


def test_a_cache_that_is_full_of_folders_that_may_not_be_written_is_named() -> None:
    def use(folder: Path) -> object:
        place = kept(folder / "cache")
        place.unlink()
        place.parent.chmod(0o555)
        return kept(folder / "cache")

    assert by_nobody(use).startswith("UnreachableError: cannot keep something in the cache")


def test_a_workplace_is_gone_after_its_block(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")

    with cache.workplace() as folder:
        (folder / "layer").write_bytes(b"x")
        assert folder.is_relative_to(cache.folder)

    assert list((cache.folder / "incoming").iterdir()) == []


def test_the_bytes_of_a_blob_are_those_of_its_digest_or_none(tmp_path: Path) -> None:
    place = kept(tmp_path / "cache")
    cache = Cache(tmp_path / "cache")
    assert cache.checked_bytes(DIGEST) == b"content"

    place.write_bytes(b"damaged")

    assert cache.checked_bytes(DIGEST) is None
    assert not place.exists()
    assert cache.checked_bytes(DIGEST) is None
