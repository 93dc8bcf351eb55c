"""Where an output cannot be written: a full disk, a read-only one, no folder there. Nothing half is ever left."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.cli.conftest import World, write_lock
from tests.commands import envparity, refused
from tests.serving import plain, serving
from tests.tools import needs_tool, not_here
from tests.wheels import pack

DRIVER = Path(__file__).with_name("small_disk.py")
EARLIER = b"the earlier one"


@dataclass(frozen=True)
class Told:
    """How a command ended on a small disk, and the files (with their sha256) that it left there."""

    status: int
    stdout: str
    stderr: str
    left: dict[str, str]

    def is_full(self, *kept: str) -> bool:
        """Whether it ended as on a full disk, with nothing there but these files, as they were."""
        return (
            self.status == 3
            and self.stderr.count("error: ") == 1
            and "No space left" in self.stderr
            and "hint: " in self.stderr
            and "Traceback" not in self.stderr
            and self.left == dict.fromkeys(kept, hashlib.sha256(EARLIER).hexdigest())
        )


def on_a_small_disk(
    disk: Path, size: str, *arguments: str | Path, mode: str = "rw", program: tuple[str, ...] = ("-m", "envparity")
) -> Told:
    command = [sys.executable, DRIVER, disk, size, mode, sys.executable, *program, *arguments]
    checkout = str(Path(__file__).parents[2])
    done = subprocess.run(
        [needs_tool("unshare"), "--map-root-user", "--mount", *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": checkout},
    )
    if (
        "Operation not permitted" in done.stderr
        or "unshare failed" in done.stderr
        or "permission denied" in done.stderr
    ):
        not_here("this machine allows no mount namespace")
    assert done.returncode == 0, done.stderr
    return Told(**json.loads(done.stdout))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


def test_a_snapshot_on_a_full_disk_leaves_the_earlier_one(world: World, disk: Path, tmp_path: Path) -> None:
    document = json.loads(world.snapshot.read_text())
    del document["content_digest"]
    document["os_packages"] = [
        {"name": f"lib{number}", "version": "1.0", "architecture": "amd64"} for number in range(5000)
    ]
    (tmp_path / "large.env.json").write_text(json.dumps(document))
    (disk / "model.env.json").write_bytes(EARLIER)

    told = on_a_small_disk(disk, "64k", "snapshot", tmp_path / "large.env.json", "-o", disk / "model.env.json")

    assert told.is_full("model.env.json"), told
    assert "model.env.json" in told.stderr


def test_a_lock_on_a_full_disk_leaves_the_earlier_one(world: World, disk: Path) -> None:
    """The lock and the folder beside it: an artifact that does not fit is gone again, and the old lock is whole."""
    (disk / "pylock.toml").write_bytes(EARLIER)
    program = (
        "import sys; from pathlib import Path; from envparity import lockfile, errors\n"
        "lock, _ = lockfile.read(Path(sys.argv[1]))\n"
        "try: lockfile.write(lockfile.Recovered(lock, {'large': bytes(1 << 20)}), Path(sys.argv[2]))\n"
        "except errors.DiskFullError as error: print('error: ' + str(error), file=sys.stderr); sys.exit(3)\n"
    )

    told = on_a_small_disk(disk, "256k", world.lock, disk / "pylock.toml", program=("-c", program))

    assert told.status == 3, told
    assert set(told.left) - {".pylock.toml.lock"} == {"pylock.toml"}  # what keeps two that write at once apart stays
    assert told.left["pylock.toml"] == hashlib.sha256(EARLIER).hexdigest()


def test_a_lock_on_a_disk_that_may_not_be_written_is_refused_and_the_earlier_one_stays(
    world: World, disk: Path
) -> None:
    (disk / "pylock.toml").write_bytes(EARLIER)
    program = (
        "import sys; from pathlib import Path; from envparity import lockfile, errors\n"
        "lock, _ = lockfile.read(Path(sys.argv[1]))\n"
        "try: lockfile.write(lockfile.Recovered(lock, {'x': b'x'}), Path(sys.argv[2]))\n"
        "except errors.EnvparityError as error: print(f'error: {error}', file=sys.stderr); sys.exit(error.status)\n"
    )

    told = on_a_small_disk(disk, "64k", world.lock, disk / "pylock.toml", mode="ro", program=("-c", program))

    assert told.status == 3, told
    assert "Read-only file system" in told.stderr
    assert told.left == {"pylock.toml": hashlib.sha256(EARLIER).hexdigest()}


FILLING = """
import json, sys
from pathlib import Path
from envparity import errors, lockfile
from tests.test_lockfile import recovered, repacked

folder, page = Path(sys.argv[1]), 4096
path, ballast = folder / "pylock.toml", folder / "ballast"
older = repacked(b"older" * 3000)
lockfile.write(older, path)
before = {str(place): place.read_bytes() for place in folder.rglob("*") if place.is_file()}
told = []
for free in range(0, 40):
    ballast.write_bytes(b"")
    with ballast.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(page))
        except OSError:
            pass
        stream.truncate(max(stream.tell() - free * page, 0))
    try:
        lockfile.write(repacked(b"newer" * 3000), path)
        told.append("written")
    except errors.DiskFullError:
        after = {str(place): place.read_bytes() for place in folder.rglob("*") if place.is_file()}
        after.pop(str(ballast))
        told.append("full" if after == before else sorted(after.keys() ^ before.keys()) or "changed")
    ballast.unlink()
    if told[-1] == "written":
        break
found = lockfile.read(path)[0]
whole = all((lockfile.artifacts_folder(path) / item.name).stat().st_size == item.size_bytes
            for item in lockfile.artifacts(found))
print(json.dumps([told, whole]))
"""


def test_wherever_the_disk_is_full_the_earlier_lock_keeps_all_that_it_names(disk: Path) -> None:
    """Page by page: in the folder, in each artifact, in the lock itself."""
    done = on_a_small_disk(disk, "512k", disk, program=("-c", FILLING))

    assert done.status == 0, done
    told, whole = json.loads(done.stdout)
    assert told[-1] == "written"
    assert len(told) > 4
    assert set(told[:-1]) == {"full"}
    assert whole


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder to ship that no codec makes small."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(Random(0).randbytes(1 << 20))
    return folder


def test_an_archive_on_a_full_disk_leaves_the_earlier_one(world: World, disk: Path, app: Path) -> None:
    (disk / "image.tar").write_bytes(EARLIER)

    told = on_a_small_disk(
        disk, "512k", "build", world.lock, "--app", app, "--output", f"docker-archive:{disk}/image.tar"
    )

    assert told.is_full("image.tar"), told


def test_a_layout_on_a_full_disk_names_no_image_that_is_not_whole(world: World, disk: Path, app: Path) -> None:
    told = on_a_small_disk(disk, "512k", "build", world.lock, "--app", app, "--output", f"oci:{disk}/image")

    assert told.status == 3, told
    assert "No space left" in told.stderr
    assert "Traceback" not in told.stderr
    assert "image/index.json" not in told.left
    assert all(name.startswith("image/blobs/sha256/") for name in told.left)
    assert all(name.endswith(digest) for name, digest in told.left.items()), "half a blob has a name"


def test_a_cache_on_a_full_disk_keeps_no_half_file(
    world: World, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = pack(tmp_path, {"demo/weights.bin": Random(0).randbytes(1 << 20)})
    monkeypatch.setenv("ENVPARITY_CACHE_DIR", str(disk))
    with serving({f"/{wheel.name}": [plain(wheel.read_bytes())]}) as served:
        write_lock(tmp_path / "pylock.toml", wheel, f"{served.url}/")

        told = on_a_small_disk(disk, "256k", "build", tmp_path / "pylock.toml", "--output", f"oci:{tmp_path}/image")

    assert told.status == 3, told
    assert f"the disk of the cache `{disk}`" in told.stderr
    assert set(told.left) <= {"CACHEDIR.TAG", "gate.lock"}
    assert not (tmp_path / "image").exists()


def test_a_disk_that_may_not_be_written_is_named(world: World, disk: Path) -> None:
    (disk / "model.env.json").write_bytes(EARLIER)
    program = (
        "import subprocess, sys; command, place = [sys.executable, '-m', 'envparity'], sys.argv[3]\n"
        "first = subprocess.run([*command, 'snapshot', sys.argv[1], '-o', place + '/model.env.json'])\n"
        "second = subprocess.run([*command, 'build', sys.argv[2], '--output', 'oci:' + place + '/image'])\n"
        "print(first.returncode, second.returncode)"
    )

    told = on_a_small_disk(disk, "64k", world.snapshot, world.lock, disk, mode="ro", program=("-c", program))

    assert told.stdout.split() == ["3", "3"]
    assert (
        told.stderr.count("error: ") == told.stderr.count("Read-only file system") == told.stderr.count("hint: ") == 2
    )
    assert told.stderr.count(str(disk)) == 2
    assert "Traceback" not in told.stderr
    assert set(told.left) == {"model.env.json"}


def test_a_folder_or_no_folder_where_a_file_is_due(world: World, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "pylock.toml").mkdir()
    (tmp_path / "file").write_bytes(EARLIER)
    for output, says in (("taken", "is a folder"), ("absent/model.env.json", "does not exist"), ("file/x", "file/x")):
        refused("snapshot", world.snapshot, "-q", "-o", output, status=2, says=says, cwd=tmp_path)
    for output in ("oci:file", "oci:absent/image", "docker-archive:taken", "oci:."):
        refused("build", world.lock, "--output", output, status=2, says=output.partition(":")[2], cwd=tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "pylock.toml", "taken"]
    assert (tmp_path / "file").read_bytes() == EARLIER


def test_a_name_that_is_too_long_is_a_usage_error(world: World, tmp_path: Path) -> None:
    refused("snapshot", world.snapshot, "-o", f"{'x' * 300}.json", status=2, says="too long", cwd=tmp_path)
    refused("show", f"{'x' * 300}.json", status=2, says="too long", cwd=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_with_values_of_variables_is_for_its_owner_alone(world: World, tmp_path: Path) -> None:
    envparity("snapshot", f"venv:{world.venv}", "-q", "-o", tmp_path / "mine.env.json", OMP_NUM_THREADS="2")

    assert (tmp_path / "mine.env.json").stat().st_mode & 0o777 == 0o600
