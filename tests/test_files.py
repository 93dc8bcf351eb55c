"""Writing: whole or not at all. Reading: the same mistake gets the same answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from envparity import files
from envparity.errors import DiskFullError, MalformedError, UnreachableError, UsageError
from tests.tools import needs_tool


def test_a_block_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    place = tmp_path / "model.env.json"
    place.write_bytes(b"old")

    def half_way() -> None:
        with files.replacing(place) as stream:
            stream.write(b"new, and half of it")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        half_way()

    assert place.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [place]


def test_a_symbolic_link_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_bytes(b"old")
    (tmp_path / "link.json").symlink_to("real.json")

    files.write_bytes(tmp_path / "link.json", b"new")

    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_bytes() == b"new"


def test_outputs_obey_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        files.write_bytes(tmp_path / "out", b"")
    finally:
        os.umask(old)

    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o640


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "stale").write_bytes(b"")

    with files.replacing_folder(tmp_path / "out") as folder:
        (folder / "fresh").write_bytes(b"")

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["fresh"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("absent", UsageError, "does not exist"),
        ("folder", UsageError, "is a folder"),
        ("fifo", UsageError, "not a regular"),
    ],
)
def test_what_is_no_file_is_named_as_what_it_is(tmp_path: Path, name: str, error: type, words: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(error, match=words):
        files.read_bytes(tmp_path / name)


def test_a_file_over_the_limit_is_refused_before_it_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(11))

    with pytest.raises(MalformedError, match="limit of 10 bytes"):
        files.read_bytes(tmp_path / "large", limit=10)


def test_a_full_disk_is_said_as_such() -> None:
    handle = os.open("/dev/full", os.O_WRONLY)
    try:
        os.write(handle, b"x")
    except OSError as error:
        said = files.translated(error, "write `out`")
    finally:
        os.close(handle)

    assert isinstance(said, DiskFullError)
    assert "No space left" in said.message


def test_a_disk_that_fills_up_while_writing_keeps_the_old_file(tmp_path: Path) -> None:
    """The real thing: a file system of 1 MiB, in a mount namespace of its own."""
    unshare = needs_tool("unshare")
    program = (
        "import sys; from pathlib import Path\n"
        "from envparity import files; from envparity.errors import DiskFullError\n"
        "place = Path(sys.argv[1]) / 'out'; files.write_bytes(place, b'old')\n"
        "try: files.write_bytes(place, bytes(2 << 20))\n"
        "except DiskFullError: print('full', place.read_bytes().decode(), len(list(place.parent.iterdir())))\n"
    )
    script = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1"'
    command = [unshare, "--map-root-user", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "Operation not permitted" in done.stderr or "unshare failed" in done.stderr:
        pytest.skip("this machine allows no mount namespace")

    assert done.stdout.split() == ["full", "old", "1"], done.stderr


def test_a_place_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="absent"):
        files.write_bytes(tmp_path / "absent" / "out", b"")
    with pytest.raises(UsageError, match="is a folder"):
        files.write_bytes(tmp_path, b"")


def test_a_lock_that_somebody_holds_is_waited_for_and_then_named(tmp_path: Path) -> None:
    program = "import sys; from filelock import FileLock\nwith FileLock(sys.argv[1]): print(flush=True); input()"
    command = [sys.executable, "-c", program, str(tmp_path / "lock")]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()

    with (
        pytest.raises(UnreachableError, match="held by another process"),
        files.locked(tmp_path / "lock", timeout_s=0.1),
    ):
        pass

    holder.communicate(b"\n", timeout=30)


def _nothing() -> BinaryIO:
    return Path(os.devnull).open("rb")


def test_a_hostile_tree_cannot_be_written_through_its_own_link(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    members = [
        files.Member("link", "link", 0o777, target=str(outside)),
        files.Member("link/file", "file", 0o644, open=_nothing),
    ]

    with pytest.raises((UsageError, UnreachableError)):
        files.populate(root, members)

    assert list(outside.iterdir()) == []
