"""Writing: whole or not at all. Reading: the same mistake gets the same answer."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from envparity import files
from envparity.errors import DiskFullError, MalformedError, UnreachableError, UsageError
from tests.tools import by_nobody, needs_tool, not_here


@pytest.mark.parametrize("synced", [True, False])
def test_a_block_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, synced: bool) -> None:
    place = tmp_path / "model.env.json"
    place.write_bytes(b"old")

    def half_way() -> None:
        with files.replacing(place, synced=synced) as stream:
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
    program = "import sys; from envparity import files; files.write_bytes(sys.argv[1], b'')"
    subprocess.run([sys.executable, "-c", program, tmp_path / "out"], umask=0o027, check=True)

    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o640


def test_writing_in_many_threads_leaves_the_umask_alone(tmp_path: Path) -> None:
    """To read the umask it has to be set: two threads that do so at once would leave the process with the wrong one."""
    program = (
        "import os, sys; from concurrent.futures import ThreadPoolExecutor; from pathlib import Path\n"
        "from envparity import files; sys.setswitchinterval(1e-6)\n"
        "def write(n): files.write_bytes(Path(sys.argv[1], str(n)), b'')\n"
        "with ThreadPoolExecutor(8) as pool: list(pool.map(write, range(50)))\n"
        "print(oct(os.umask(0)))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, umask=0o027, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "0o27"
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


def device(place: Path, minor: int) -> Path:
    """A device of its own (`null` is 3, `full` is 7): a fault would replace that of the machine."""
    try:
        os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        place.write_bytes(b"")
    except OSError as error:
        not_here(f"this user makes no devices: {error}")
    return place


def test_what_a_killed_writer_left_goes_with_the_next_write_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    """Nothing of ours runs after SIGKILL; and whoever writes an archive of gigabytes must not lose it to another."""
    place = tmp_path / "image.tar"
    program = "import os, signal, sys; from envparity import files\nwith files.replacing(sys.argv[1]) as stream:\n"
    killed = f"{program}    stream.write(b'half'); stream.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", killed, place], check=False)
    (abandoned,) = tmp_path.iterdir()
    (tmp_path / ".image.tar.part").write_bytes(b"of somebody else")

    with files.replacing(place) as slow:
        slow.write(b"slow")
        (begun,) = {*tmp_path.iterdir()} - {abandoned, tmp_path / ".image.tar.part"}
        files.write_bytes(place, b"quick")
        files.remove_abandoned(tmp_path)
        assert begun.exists()
    files.remove_abandoned(tmp_path)

    assert place.read_bytes() == b"slow"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".image.tar.part", "image.tar"]


def test_a_device_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    """Root may replace `/dev/null` by a file; every program of the machine would then fill it."""
    files.write_bytes(device(tmp_path / "null", 3), b"gone")

    assert (tmp_path / "null").is_char_device()
    assert [path.name for path in tmp_path.iterdir()] == ["null"]


def test_a_fifo_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write_bytes(tmp_path / "fifo", b"content")
        assert os.read(reader, 100) == b"content"
    finally:
        os.close(reader)

    assert (tmp_path / "fifo").is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["fifo"]


def test_a_full_device_is_said_as_such(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="No space left"):
        files.write_bytes(device(tmp_path / "full", 7), b"x")


def test_a_private_folder_that_cannot_be_made_is_told_with_its_place(tmp_path: Path) -> None:
    """A cache on a disk that is read only: whoever reads of a temporary folder looks in /tmp."""
    (tmp_path / "incoming").touch()

    with pytest.raises(UsageError, match=f"a temporary folder in `{tmp_path}/incoming`"):  # noqa: SIM117
        with files.private_folder(tmp_path / "incoming"):
            pass


def test_a_private_folder_is_gone_even_if_it_holds_folders_that_may_not_be_written() -> None:
    def use(folder: Path) -> bool:
        with files.private_folder(folder) as private:
            (private / "a" / "b").mkdir(parents=True)
            (private / "a" / "b" / "file").touch()
            (private / "a" / "b").chmod(0o555)
            (private / "a").chmod(0)
        return private.exists()

    assert by_nobody(use) == "False"


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
        not_here("this machine allows no mount namespace")

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


def test_a_copy_of_a_file_that_is_not_there_leaves_what_was_in_its_place(tmp_path: Path) -> None:
    place = tmp_path / "kept"
    place.write_bytes(b"old")

    with pytest.raises(UsageError, match="cannot read"):
        files.copy(tmp_path / "gone", place)

    assert place.read_bytes() == b"old"


def test_a_copy_has_the_content_and_a_mode_of_its_own(tmp_path: Path) -> None:
    source = tmp_path / "private"
    source.write_bytes(b"x" * 3_000_000)
    source.chmod(0o600)

    files.copy(source, tmp_path / "copy")

    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o644 & ~files._UMASK


def test_a_file_that_cannot_be_renamed_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot rename"):
        files.move(tmp_path / "gone", tmp_path / "here")
