"""The cache: what lies in it is trusted, so nobody else may write there, and damage is a miss and never a crash."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from envparity.cache import Cache
from envparity.errors import UnreachableError, UsageError
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


def test_a_cache_that_cannot_be_made_says_how_to_name_another_place(tmp_path: Path) -> None:
    """A home that nobody can write in is the usual one of a container, and its user never chose that place."""
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")

    for folder, says in ((tmp_path / "file" / "cache", "use the cache"), (tmp_path / "link", "make the folder")):
        with pytest.raises(UsageError, match=says) as caught:
            Cache(folder).write_note("key", 1)
        assert "ENVPARITY_CACHE_DIR" in caught.value.hint


def test_a_cache_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        not_here("only root gives a folder away")
    kept(tmp_path / "cache")
    os.chown(tmp_path / "cache", 65534, 65534)

    with pytest.raises(UnreachableError, match="belongs to another user"):
        Cache(tmp_path / "cache").blob(DIGEST)


@pytest.mark.parametrize("damage", [b"", b"{", b'"text"', b"\xff", b"[1", b"[2]"])
def test_a_damaged_note_is_a_miss(damage: bytes, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    cache.write_note("key", [1])
    (tmp_path / "cache" / "notes" / "key.json").write_bytes(damage)

    assert cache.note("key", list[int]) is None

    cache.write_note("key", [2])
    assert cache.note("key", list[int]) == [2]


def test_a_note_of_which_one_bit_flipped_is_a_miss(tmp_path: Path) -> None:
    """Many of them are other valid JSON: of a digest of a layer, an image that nobody can pull."""
    cache, place = Cache(tmp_path / "cache"), tmp_path / "cache" / "notes" / "key.json"
    cache.write_note("key", {"digest": DIGEST, "size": 17})
    data = place.read_bytes()
    assert cache.note("key", dict[str, object]) == {"digest": DIGEST, "size": 17}

    for bit in range(0, 8 * len(data), 5):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        place.write_bytes(flipped)
        assert cache.note("key", object) is None, flipped
    for end in range(0, len(data), 5):
        place.write_bytes(data[:end])
        assert cache.note("key", object) is None


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    place = kept(tmp_path / "cache")
    for taken in (place, tmp_path / "cache" / "notes" / "key.json"):
        taken.unlink(missing_ok=True)
        taken.mkdir(parents=True)

    assert cache.checked_blob(DIGEST) is None
    assert cache.note("key", int) is None
    with pytest.raises(UnreachableError, match=DIGEST) as of_a_blob:
        kept(tmp_path / "cache")
    with pytest.raises(UnreachableError, match=r"key\.json") as of_a_note:
        cache.write_note("key", 1)
    assert of_a_blob.value.hint == of_a_note.value.hint == "remove it"


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


def several(folder: Path, *contents: bytes) -> list[Path]:
    """Blobs that nobody uses any more, each used a day after the one before."""
    places = []
    for days, content in enumerate(reversed(contents), 1):
        digest = hashlib.sha256(content).hexdigest()
        places.append(Cache(folder).adopt([content], sha256=digest, size_bytes=None, what="thing"))
        used_at = places[-1].stat().st_mtime - days * 86400
        os.utime(places[-1], (used_at, used_at))
    return places[::-1]


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    oldest, middle, newest = several(tmp_path / "cache", b"1" * 10, b"2" * 10, b"3" * 10)
    Cache(tmp_path / "cache").blob(oldest.name)

    done = Cache(tmp_path / "cache").prune(most_bytes=20)

    assert [place.exists() for place in (oldest, middle, newest)] == [True, False, True]
    assert (done.removed, done.removed_bytes, done.left, done.left_bytes) == (1, 10, 2, 20)


def test_what_was_not_used_for_long_goes_notes_too(tmp_path: Path) -> None:
    old, new = several(tmp_path / "cache", b"old", b"new")
    cache = Cache(tmp_path / "cache")
    cache.write_note("key", 1)
    note = tmp_path / "cache" / "notes" / "key.json"
    os.utime(note, (0, 0))

    cache.prune(older_than_s=1.5 * 86400)

    assert (old.exists(), new.exists(), note.exists()) == (False, True, False)


_USER = """
import sys
from pathlib import Path
from envparity.cache import Cache
cache = Cache(Path(sys.argv[1]))
cache.blob(sys.argv[2])
with cache.writing() as blob, cache.workplace() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_what_a_running_process_uses_or_writes_is_not_removed_until_it_is_dead(tmp_path: Path) -> None:
    """A build whose wheels vanish under it fails with an error that nobody can explain."""
    used, unused = several(tmp_path / "cache", b"used", b"unused")
    argv = [sys.executable, "-c", _USER, str(tmp_path / "cache"), used.name]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            workplace = Path(process.stdout.readline().strip())
            done = Cache(tmp_path / "cache").prune(most_bytes=0)
            alive = (used.exists(), unused.exists(), workplace.exists(), len(list(workplace.parent.iterdir())))
        finally:
            process.kill()
    Cache(tmp_path / "cache").prune(most_bytes=0)

    assert (alive, done.in_use) == ((True, False, True, 2), 1)
    assert not used.exists()
    assert not list((tmp_path / "cache" / "incoming").iterdir())
    assert not list((tmp_path / "cache" / "users").iterdir())


_WRITER = """
import pathlib, sys
print(flush=True)
while True:
    for path in map(pathlib.Path, sys.argv[1:]):
        path.touch()
        path.unlink(missing_ok=True)
"""


def test_what_its_writer_takes_away_meanwhile_ends_no_pruning(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    kept(tmp_path / "cache")
    places = [tmp_path / "cache" / "incoming" / name for name in "abcd"]
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, *places], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    try:
        left = {cache.prune(older_than_s=3600).left for _ in range(1000)}
    finally:
        writer.kill()
        writer.communicate()

    assert left == {1}


def test_the_next_use_removes_what_a_killed_one_left_half_written(tmp_path: Path) -> None:
    """A model of gigabytes is packed there: whoever is killed for memory, again and again, must not fill the disk."""
    place = Cache(tmp_path / "cache").adopt([b"content"], sha256=DIGEST, size_bytes=7, what="thing")
    Cache(tmp_path / "cache").bound()
    program = (
        "import os, sys; from pathlib import Path; from envparity.cache import Cache\nwith Cache(Path(sys.argv[1]))"
    )
    killed = f"{program}.workplace() as place: (place / 'layer').write_bytes(b'half'); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", killed, tmp_path / "cache"], check=False)
    (left,) = (tmp_path / "cache" / "incoming").iterdir()

    next_one = Cache(tmp_path / "cache")
    with next_one.workplace() as own:
        next_one.bound()
        assert [*own.parent.iterdir()] == [own]

    assert left != own
    assert place.exists()


def test_damage_is_found_where_it_is_looked_for(tmp_path: Path) -> None:
    good, bad = several(tmp_path / "cache", b"good", b"bad")
    bad.write_bytes(b"other")
    Cache(tmp_path / "cache").write_note("key", 1)
    (tmp_path / "cache" / "notes" / "key.json").write_bytes(b"{")

    done = Cache(tmp_path / "cache").prune(check=True)

    assert (good.exists(), bad.exists(), done.damaged, done.left) == (True, False, 2, 1)


def test_a_note_that_a_killed_process_did_not_finish_goes_with_any_pruning(tmp_path: Path) -> None:
    """It may be whole, and lacks its name: nothing would ever find it damaged, or use it."""
    Cache(tmp_path / "cache").write_note("key", 1)
    note = tmp_path / "cache" / "notes" / "key.json"
    note.rename(note.with_name(f".{note.name}.17-0123.part"))

    Cache(tmp_path / "cache").prune()

    assert list(note.parent.iterdir()) == []


def test_a_folder_that_is_no_cache_of_ours_is_left_alone(tmp_path: Path) -> None:
    """A wrong ENVPARITY_CACHE_DIR must not empty somebody's folder."""
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine").touch()
    tmp_path.chmod(0o700)

    with pytest.raises(UsageError, match="is not a cache of envparity"):
        Cache(tmp_path).prune(most_bytes=0)
    Cache(tmp_path).bound(0)

    assert [place.name for place in tmp_path.iterdir()] == ["notes"]
    assert (tmp_path / "notes" / "mine").exists()


def test_a_cache_is_bounded_once_a_day(tmp_path: Path) -> None:
    first, second = several(tmp_path / "cache", b"first", b"second")
    Cache(tmp_path / "cache").bound(6)
    assert (first.exists(), second.exists()) == (False, True)

    Cache(tmp_path / "cache").bound(0)
    assert second.exists()
    os.utime(tmp_path / "cache" / "pruned", (0, 0))

    Cache(tmp_path / "cache").bound(0)
    assert not second.exists()


def test_a_cache_that_is_not_there_is_empty(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "none")

    assert (cache.size(), cache.prune(most_bytes=0).left, cache.blob(DIGEST)) == ((0, 0), 0, None)
    assert not cache.folder.exists()
