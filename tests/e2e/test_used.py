"""Only what was used goes through lock, build and verify; and nothing that an image says of itself is taken for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from envparity import lockfile
from tests.commands import envparity
from tests.tools import needs_tool, needs_uv, not_here
from tests.wheels import local_index, pack, serve

pytestmark = pytest.mark.xdist_group("used")  # one worker makes what all of them read

MODEL = b"cscorer\nScorer\n."
"""The whole pickle of a class of the module `scorer`, in protocol 0."""

SCORER = b"import plain\n\nclass Scorer:\n    answer = plain.answer\n"
METADATA = b"Metadata-Version: 2.1\nName: scorer\nVersion: 1.0\nRequires-Dist: plain\n"


@dataclass(frozen=True)
class Served:
    """A model that was made where more was installed than it needs, and its image."""

    folder: Path
    index: str

    @property
    def path(self) -> Path:
        return self.folder / "pylock.toml"

    @property
    def image(self) -> str:
        return f"oci:{self.folder / 'image'}"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("used")
    uv, python = needs_uv(), folder / "train" / "bin" / "python"
    base = getattr(sys, "_base_executable", sys.executable)
    made = [
        pack(folder, {"plain/__init__.py": b"answer = 42\n"}, file_name="plain-1.0-py3-none-any.whl"),
        pack(
            folder,
            {"scorer.py": SCORER, "scorer-1.0.dist-info/METADATA": METADATA},
            file_name="scorer-1.0-py3-none-any.whl",
        ),
        pack(folder, {"notebook/__init__.py": b"x = 1\n" * 500}, file_name="notebook-7.0-py3-none-any.whl"),
    ]
    subprocess.run([uv, "venv", "-q", "--no-config", "-p", base, folder / "train"], check=True)
    (folder / "model.pkl").write_bytes(MODEL)
    subprocess.run([uv, "pip", "install", "-q", "--no-config", "--no-index", "--python", python, *made], check=True)
    for info in folder.glob("train/lib/python3*/site-packages/*.dist-info/direct_url.json"):
        info.unlink()  # as if they had been installed from the index
    with local_index() as index:
        for wheel in made:
            serve(index, wheel)
        snapshot = ("snapshot", f"venv:{folder / 'train'}", "--model", folder / "model.pkl")
        envparity(*snapshot, "--deep", "-o", folder / "model.env.json")
        envparity(*snapshot, "-o", folder / "outside.env.json")
        found = Served(folder, index.root)
        lock = ("lock", folder / "model.env.json", "--index", index.root, "--only-used", "--add-os", "tini")
        (folder / "said.txt").write_text(envparity(*lock, "-o", found.path).stderr)
        envparity("build", found.path, "--model", folder / "model.pkl", "--output", found.image)
        yield found


def test_what_the_model_needs_is_locked_and_the_rest_is_declared(served: Served) -> None:
    lock, _ = lockfile.read(served.path)
    said = (served.folder / "said.txt").read_text()

    assert [item.name for item in lock.distributions] == ["plain", "scorer"]
    (target,) = lock.targets
    assert {item.name for item in target.left_out if item.kind == "distribution"} >= {"notebook"}
    assert "left out, used by neither the model nor its training: 1 distributions: notebook" in " ".join(said.split())
    assert "0.0 MB as installed" in said


def test_an_os_package_that_was_asked_for_is_there_and_recorded(served: Served) -> None:
    (target,) = lockfile.read(served.path)[0].targets

    assert target.added_os == ("tini",)
    assert "tini" in {item.name for item in target.os_packages}


@pytest.mark.parametrize("against", ["model.env.json", "pylock.toml"])
def test_the_image_is_what_was_recorded_less_what_was_declared(served: Served, against: str) -> None:
    done = envparity("verify", served.image, "--against", served.folder / against)

    assert ("left out by the lock, since nothing used it: notebook" in done.stdout) is (against == "model.env.json")


def test_a_lock_in_an_image_excuses_nothing_that_the_snapshot_does_not_know(served: Served) -> None:
    """Otherwise whoever makes an image decides what it may lack."""
    done = envparity("verify", served.image, "--against", served.folder / "outside.env.json", status=1)

    assert "notebook 7.0 → gone" in done.stdout


def test_the_model_answers_inside_as_it_did_outside(served: Served, namespace: tuple[str, ...]) -> None:
    code = "import pickle; print(pickle.load(open('/opt/model/model.pkl', 'rb')).answer)"

    assert envparity("run", served.image, "--", "python", "-c", code).stdout.split() == ["42"]
    assert envparity("run", served.image, "--", "/usr/bin/tini", "--version").stdout.startswith("tini version")


def test_from_outside_of_the_training_nothing_can_be_left_out(served: Served, tmp_path: Path) -> None:
    outside = served.folder / "outside.env.json"
    arguments = ("lock", outside, "--index", served.index, "--only-used", "-o", tmp_path / "pylock.toml")

    done = envparity(*arguments, status=1)

    assert json.loads(outside.read_text()).get("modules") is None
    assert "nothing is known from inside the training process" in done.stderr
    assert list(tmp_path.iterdir()) == []


def as_somebody_else(folder: Path) -> list[str]:
    """The words before a command that give it another host name, one CPU, and another user where this one may."""
    words = ["sh", "-c", 'hostname elsewhere && umask 077 && exec "$@"', "sh"]
    taskset = [needs_tool("taskset"), "-c", str(min(os.sched_getaffinity(0)))]
    if os.geteuid() != 0:
        return [needs_tool("unshare"), "--map-root-user", "--uts", *words, *taskset]
    for place in (folder, *folder.rglob("*")):
        os.chown(place, 12345, 12345)
    # It may read what belongs to others, since this interpreter may lie in the home of one; and no more.
    reading = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    other = [needs_tool("setpriv"), "--reuid", "12345", "--regid", "12345", "--clear-groups", *reading]
    return [needs_tool("unshare"), "--uts", *words, *taskset, *other]


def test_somebody_else_makes_the_same_lock_byte_for_byte(served: Served, tmp_path: Path) -> None:
    """A lock is reviewed by its difference: whatever their machine is called, and whatever they have downloaded."""
    shutil.copy(served.folder / "model.env.json", tmp_path)
    elsewhere = {"HOME": tmp_path, "TMPDIR": tmp_path, "ENVPARITY_CACHE_DIR": tmp_path / "cache"}
    strange = {"TZ": "Asia/Kathmandu", "LC_ALL": "de_DE.UTF-8", "LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "77"}
    lock = ["lock", "model.env.json", "--index", served.index, "--only-used", "--add-os", "tini", "-q"]
    done = subprocess.run(
        [*as_somebody_else(tmp_path), sys.executable, "-m", "envparity", *lock],
        cwd=tmp_path,
        env={**os.environ, **{name: str(place) for name, place in elsewhere.items()}, **strange},
        capture_output=True,
        text=True,
        check=False,
    )
    if "Operation not permitted" in done.stderr or "unshare failed" in done.stderr:
        not_here("this machine allows no name space of its own")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pylock.toml").read_bytes() == served.path.read_bytes()
    folders = (lockfile.artifacts_folder(served.path), lockfile.artifacts_folder(tmp_path / "pylock.toml"))
    mine, theirs = ({place.name: place.read_bytes() for place in folder.iterdir()} for folder in folders)
    assert theirs == mine


def test_of_two_that_lock_at_once_one_is_there_whole(served: Served, tmp_path: Path) -> None:
    lock = [sys.executable, "-m", "envparity", "lock", served.folder / "model.env.json", "--index", served.index]
    both = [
        subprocess.Popen([*lock, *more, "-q", "-o", tmp_path / "pylock.toml"], stderr=subprocess.PIPE)
        for more in ((), ("--only-used",))
    ]
    ended = [(process.communicate()[1], process.returncode) for process in both]

    assert ended == [(b"", 0)] * 2
    assert len(lockfile.read(tmp_path / "pylock.toml")[0].distributions) in {2, 3}
    envparity("lock", tmp_path / "pylock.toml", "--check")
    assert sorted(place.name for place in tmp_path.iterdir()) == [
        ".pylock.toml.lock",
        "pylock.artifacts",
        "pylock.toml",
    ]
