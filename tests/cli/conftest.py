"""A small environment, its snapshot, lock and image: made once, without a network, and read by every test here."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from envparity import codec, lockfile
from envparity.oci.pack import current_packer
from envparity.values import (
    Distribution,
    Lock,
    LockedArtifact,
    LockedDistribution,
    LockedInterpreter,
    LockedWheel,
    Target,
)
from tests.commands import envparity
from tests.values import training
from tests.wheels import pack


@dataclass(frozen=True)
class World:
    """Where everything lies. Nothing here is changed by a test; `copy` gives it a copy that may be."""

    venv: Path
    wheel: Path
    snapshot: Path
    lock: Path
    image: Path
    archive: Path
    cache: Path

    @staticmethod
    def copy(place: Path, to: Path) -> Path:
        if place.is_dir():
            return Path(shutil.copytree(place, to / place.name, symlinks=True))
        return Path(shutil.copy2(place, to))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    wheel = pack(folder, {"demo/__init__.py": b"answer = 42\n"})
    made = World(
        make_venv(folder / "train", wheel),
        wheel,
        folder / "model.env.json",
        folder / "pylock.toml",
        folder / "image",
        folder / "image.tar",
        folder / "cache",
    )
    envparity("snapshot", f"venv:{made.venv}", "-q", "-o", made.snapshot)
    keep(made.cache, wheel)
    write_lock(made.lock, wheel)
    outputs = ("--output", f"oci:{made.image}", "--output", f"docker-archive:{made.archive}")
    envparity("build", made.lock, *outputs, ENVPARITY_CACHE_DIR=str(made.cache))
    return made


@pytest.fixture(autouse=True)
def own_cache(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test reads or fills the cache of whoever runs it, and no setting of theirs reaches a command."""
    monkeypatch.setenv("ENVPARITY_CACHE_DIR", str(world.cache))
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    return iter([None])


@pytest.fixture
def drift(tmp_path: Path) -> tuple[Path, Path]:
    """What trained a model, and what serves it: a pair that a rule calls high."""
    (tmp_path / "trained.txt").write_text("scikit-learn==1.4.2\ndemo==1.0\n")
    (tmp_path / "served.txt").write_text("scikit-learn==1.5.2  # größer\ndemo==1.0\n")
    return tmp_path / "trained.txt", tmp_path / "served.txt"


def make_venv(folder: Path, wheel: Path) -> Path:
    """A virtual environment with one distribution, as an installer would have left it."""
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (packages / "demo-1.0.dist-info" / "INSTALLER").write_text("pip\n")
    return folder


def keep(cache: Path, wheel: Path) -> None:
    """Put a file into a cache, as a download would have."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    place = cache / "blobs" / "sha256" / digest[:2] / digest
    place.parent.mkdir(parents=True)
    shutil.copy2(wheel, place)


def write_lock(path: Path, wheel: Path, url: str = "http://127.0.0.1:9/") -> Lock:
    """A lock of one wheel and no OS packages: what it builds runs nowhere, and is an image all the same."""
    data = wheel.read_bytes()
    environment = training(
        distributions=(Distribution(name="demo", version="1.0", wheel_tags=("py3-none-any",)),), artifacts=None
    )
    content = codec.content_bytes(environment)
    digest = codec.content_digest(environment).removeprefix("sha256:")
    snapshot = LockedArtifact(name=f"snapshot-{digest[:12]}.env.json", size_bytes=len(content), sha256=digest)
    lock = Lock(
        requires_python="==3.11.*",
        distributions=(
            LockedDistribution(
                name="demo",
                version="1.0",
                wheels=(
                    LockedWheel(
                        name=wheel.name,
                        url=url + wheel.name,
                        size_bytes=len(data),
                        sha256=hashlib.sha256(data).hexdigest(),
                    ),
                ),
                state="matched",
                import_names=("demo",),
            ),
        ),
        targets=(
            Target(
                platform="linux/amd64",
                base="debian:bookworm",
                interpreter=LockedInterpreter(kind="base", version="3.11.2", executable="/usr/bin/python3.11"),
            ),
        ),
        snapshot=snapshot,
        packer=current_packer(),
    )
    lockfile.write(lockfile.Recovered(lock, {snapshot.name: content}), path)
    return lock
