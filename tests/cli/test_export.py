"""`envparity export`, and pip and `envparity diff` over what it wrote."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from envparity import codec, lockfile
from envparity.values import LockedDistribution, LockedWheel
from envparity.writers.requirements import requirements
from tests.cli.conftest import World, make_venv, write_lock
from tests.commands import envparity, refused
from tests.tools import not_here
from tests.wheels import LocalIndex, local_index, pack
from tests.writers.samples import contents

FILES = {
    "demo-1.0-py3-none-any.whl": {
        "demo/__init__.py": b"answer = 42\n",
        "demo-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Dist: helper\n",
    },
    "helper-2.0-py3-none-any.whl": {"helper/__init__.py": b"half = 21\n"},
}


@pytest.fixture
def index() -> Iterator[LocalIndex]:
    with local_index() as served:
        yield served


@pytest.fixture
def lock(index: LocalIndex, tmp_path: Path) -> Path:
    """A lock of two wheels that an index serves."""
    wheels = [pack(tmp_path, files, file_name=name) for name, files in FILES.items()]
    (tmp_path / "locked").mkdir()
    path = tmp_path / "locked" / "pylock.toml"
    first = write_lock(path, wheels[0])
    (artifact,) = (path.parent / "pylock.artifacts").iterdir()
    distributions = tuple(served(index, wheel) for wheel in wheels)
    whole = msgspec.structs.replace(first, distributions=distributions)
    lockfile.write(lockfile.Recovered(whole, {artifact.name: artifact.read_bytes()}), path)
    return path


def served(index: LocalIndex, wheel: Path) -> LockedDistribution:
    """A wheel as the index has it, and as a lock names it."""
    data = wheel.read_bytes()
    name, version = wheel.name.split("-")[:2]
    digest = hashlib.sha256(data).hexdigest()
    url = f"{index.address}/files/{wheel.name}"
    index.file(f"/files/{wheel.name}", data)
    index.project(name, {"filename": wheel.name, "url": url, "hashes": {"sha256": digest}}, versions=[version])
    locked = LockedWheel(name=wheel.name, url=url, size_bytes=len(data), sha256=digest)
    return LockedDistribution(name=name, version=version, wheels=(locked,), state="proven", index=index.root)


def pip(venv: Path, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """pip of the tests, at work in another environment, with no configuration of whoever runs them."""
    if importlib.util.find_spec("pip") is None:
        not_here("`pip` is not installed")
    command = [sys.executable, "-m", "pip", "--isolated", "--python", venv / "bin" / "python", "install"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return subprocess.run(
        [*map(str, command), "--no-cache-dir", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**kept, "PIP_CONFIG_FILE": os.devnull},
    )


def trained(tmp_path: Path) -> Path:
    """The environment that was locked: both wheels, as an installer would have left them."""
    venv = make_venv(tmp_path / "train", tmp_path / "demo-1.0-py3-none-any.whl")
    (packages,) = venv.glob("lib/python3*/site-packages")
    shutil.unpack_archive(tmp_path / "helper-2.0-py3-none-any.whl", packages, "zip")
    (packages / "helper-2.0.dist-info" / "INSTALLER").write_text("pip\n")
    return venv


def differing(report: str) -> list[tuple[str, str, str, str]]:
    """What differs, of a report in JSON that compared something; what only one side knows is no difference."""
    document = json.loads(report)
    assert document["compared"] >= 2
    found = [item for item in document["findings"] if item["change"] != "unknown"]
    return [(item["section"], item["item"], item["before"], item["after"]) for item in found]


def empty(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder


def test_pip_makes_the_same_environment_of_the_requirements(lock: Path, tmp_path: Path) -> None:
    envparity("export", lock, "--format", "requirements", "-o", tmp_path / "requirements.txt")
    served_in = empty(tmp_path / "serve")

    done = pip(served_in, "--require-hashes", "--no-deps", "-r", tmp_path / "requirements.txt")

    assert done.returncode == 0, done.stderr
    told = envparity("diff", f"venv:{trained(tmp_path)}", f"venv:{served_in}", "--format", "json", status=0)
    assert differing(told.stdout) == []
    swapped = served_in / "lib" / f"python3.{sys.version_info[1]}" / "site-packages" / "helper-2.0.dist-info"
    (swapped / "RECORD").write_text("helper/__init__.py,sha256=other,1\n")
    told = envparity("diff", f"venv:{tmp_path / 'train'}", f"venv:{served_in}", "--format", "json", status=None)
    assert [name for _, name, *_ in differing(told.stdout)] == ["helper"]


def test_pip_finds_wheels_by_address_and_beside_the_lock(index: LocalIndex, tmp_path: Path) -> None:
    (tmp_path / "pylock.artifacts").mkdir()
    first, second = (served(index, pack(tmp_path, files, file_name=name)) for name, files in FILES.items())
    (tmp_path / second.wheel.name).rename(tmp_path / "pylock.artifacts" / second.wheel.name)
    beside = msgspec.structs.replace(second, index="", wheels=(msgspec.structs.replace(second.wheel, url=""),))
    given = contents(msgspec.structs.replace(first, index=""), beside)
    (tmp_path / "requirements.txt").write_text(requirements(given).text)
    arguments = ("--require-hashes", "--no-deps", "--no-index", "-r", tmp_path / "requirements.txt")

    done = pip(empty(tmp_path / "serve"), *arguments, cwd=tmp_path)

    assert "Successfully installed demo-1.0 helper-2.0" in done.stdout, done.stderr


def test_pip_refuses_another_file_of_the_same_name(lock: Path, index: LocalIndex, tmp_path: Path) -> None:
    """An index that swaps a wheel is what the hashes are there for."""
    envparity("export", lock, "--format", "requirements", "-o", tmp_path / "requirements.txt")
    (tmp_path / "swapped").mkdir()
    served(index, pack(tmp_path / "swapped", {"demo/__init__.py": b"answer = 43\n"}))

    done = pip(empty(tmp_path / "serve"), "--require-hashes", "--no-deps", "-r", tmp_path / "requirements.txt")

    assert done.returncode != 0
    assert "demo==1.0" in done.stderr


def test_constraints_hold_what_a_requirement_brings_along(lock: Path, index: LocalIndex, tmp_path: Path) -> None:
    envparity("export", lock, "--format", "constraints", "-o", tmp_path / "constraints.txt")
    newer = {
        "helper/__init__.py": b"",
        "helper-3.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: helper\nVersion: 3.0\n",
    }
    (tmp_path / "newer").mkdir()
    files = [
        tmp_path / "helper-2.0-py3-none-any.whl",
        pack(tmp_path / "newer", newer, file_name="helper-3.0-py3-none-any.whl"),
    ]
    for file in files:
        index.file(f"/files/{file.name}", file.read_bytes())
    pages = [{"filename": file.name, "url": f"{index.address}/files/{file.name}", "hashes": {}} for file in files]
    index.project("helper", *pages, versions=["2.0", "3.0"])
    given = ("--dry-run", "--index-url", index.root, "demo")

    held = pip(empty(tmp_path / "serve"), *given, "-c", tmp_path / "constraints.txt")

    assert "Would install demo-1.0 helper-2.0" in held.stdout, held.stderr
    assert "helper-3.0" in pip(tmp_path / "serve", *given).stdout


@pytest.mark.parametrize("form", ["cyclonedx", "spdx", "requirements"])
def test_a_diff_of_a_lock_and_its_export_finds_the_same_distributions(form: str, lock: Path, tmp_path: Path) -> None:
    place = tmp_path / ("requirements.txt" if form == "requirements" else "sbom.json")
    envparity("export", lock, "--format", form, "-o", place)

    assert differing(envparity("diff", lock, place, "--format", "json", status=0).stdout) == []
    place.write_text(place.read_text().replace("helper@2.0", "helper@2.1").replace("helper==2.0", "helper==2.1"))
    told = envparity("diff", lock, place, "--format", "json", status=None).stdout
    assert differing(told) == [("distributions", "helper", "2.0", "2.1")]


def test_what_is_left_out_is_one_warning_and_the_text_alone_is_on_standard_output(world: World) -> None:
    done = envparity("export", world.lock, "--format", "requirements")

    assert done.stderr.startswith("warning: left out, since requirements cannot carry it: Python 3.11.2")
    assert done.stdout.splitlines()[-1].startswith("demo @ http://127.0.0.1:9/demo-1.0-py3-none-any.whl --hash=sha256:")
    assert max(map(len, done.stderr.splitlines())) <= 80
    quiet = envparity("export", world.lock, "--format", "requirements", "-o", "-", "-q")
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "")


def test_a_snapshot_that_is_not_there_is_a_warning_of_its_own(lock: Path) -> None:
    (artifact,) = (lock.parent / "pylock.artifacts").iterdir()
    artifact.unlink()

    told = envparity("export", lock, "--format", "spdx").stderr

    assert told.startswith("warning: not known: what requires what")


def test_the_time_in_an_sbom_is_the_stated_one(world: World) -> None:
    arguments = ("export", world.lock, "--format", "cyclonedx")

    made = json.loads(envparity(*arguments, SOURCE_DATE_EPOCH="1700000000").stdout)

    assert made["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    assert "timestamp" not in json.loads(envparity(*arguments, SOURCE_DATE_EPOCH="").stdout)["metadata"]


@pytest.mark.parametrize("text", ["yesterday", "-1", "1.5", "٣", "9" * 30])
def test_a_time_that_is_none_is_refused(text: str, world: World, tmp_path: Path) -> None:
    arguments = ("export", world.lock, "--format", "spdx", "-o", tmp_path / "sbom.json")

    refused(*arguments, status=2, says="SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH=text)
    assert not (tmp_path / "sbom.json").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ((), 2, "no format is named"),
        (("--format", "pdf"), 2, "pdf"),
        (("--format", "conda-lock"), 2, "no conda package"),
        (("--format", "conda-explicit"), 2, "no conda package"),
        (("--format", "spdx", "--markers"), 2, "--markers"),
        (("--format", "spdx", "-o", "absent/sbom.json"), 2, "absent"),
    ],
)
def test_what_cannot_be_written_is_said(
    arguments: tuple[str, ...], status: int, says: str, world: World, tmp_path: Path
) -> None:
    refused("export", world.lock, *arguments, status=status, says=says, cwd=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_what_is_no_lock_is_refused_and_an_older_export_stays(world: World, tmp_path: Path) -> None:
    place = tmp_path / "requirements.txt"
    place.write_text("older\n")
    (tmp_path / "pylock.toml").write_text("<<<<<<< ours\n")

    refused("export", tmp_path / "pylock.toml", "--format", "requirements", "-o", place, status=4, says="pylock.toml")
    refused("export", world.snapshot, "--format", "requirements", "-o", place, status=2, says="not called as a lock")
    refused("export", tmp_path / "pylock.gone.toml", "--format", "spdx", "-o", place, status=2, says="does not exist")
    assert place.read_text() == "older\n"


def test_a_snapshot_beside_the_lock_that_is_another_one_is_status_5(lock: Path, world: World) -> None:
    (artifact,) = (lock.parent / "pylock.artifacts").iterdir()
    artifact.write_bytes(codec.content_bytes(codec.load_environment(world.snapshot.read_bytes(), "it")))

    refused("export", lock, "--format", "cyclonedx", status=5, says="not the snapshot that was locked")
