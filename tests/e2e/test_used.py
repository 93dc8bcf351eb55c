"""Only what was used goes through lock, build and verify; and nothing that an image says of itself is taken for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from envparity import lockfile
from tests.commands import envparity
from tests.tools import needs_uv
from tests.wheels import local_index, pack, serve

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
