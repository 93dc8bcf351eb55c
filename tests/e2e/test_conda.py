"""A conda environment from its snapshot to an image that runs: real packages of a channel of our own."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from envparity import codec
from envparity.image import conda
from envparity.oci.entries import Entry
from envparity.sources import read
from envparity.values import Lock
from tests.commands import envparity
from tests.condas import demo_channel, installed, subdir
from tests.tools import answer_of, needs_uv


@dataclass(frozen=True)
class Trained:
    """Where everything lies, and what was locked."""

    folder: Path
    prefix: Path
    channel: Path
    lock: Lock


@pytest.fixture(scope="module")
def trained() -> Iterator[Trained]:
    """An environment of conda packages with one distribution of pip beside them: recorded, locked and built."""
    # Of the prefix that it gets a package says how long it may be.
    folder = Path(tempfile.mkdtemp(prefix="e-", dir="/tmp"))
    try:
        channel = demo_channel(folder / "channel")
        prefix = installed(channel, folder / "p", "where-demo")
        subprocess.run(
            [needs_uv(), "pip", "install", "-q", "--python", prefix / "bin/python", "six==1.17.0"], check=True
        )
        snapshot, lock, image = folder / "m.env.json", folder / "pylock.toml", folder / "image"
        for command in (
            ("snapshot", f"conda:{prefix}", "-o", snapshot),
            ("lock", snapshot, "-o", lock),
            ("build", lock, "--output", f"oci:{image}"),
        ):
            envparity(*command)
        yield Trained(folder, prefix, channel, codec.load_lock(lock.read_bytes(), "it"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_every_package_is_proven_and_what_conda_brought_is_not_looked_up_on_an_index(trained: Trained) -> None:
    (target,) = trained.lock.targets

    assert [(item.name, item.state) for item in target.conda_packages] == [
        ("libdemo", "proven"),
        ("python", "proven"),
        ("where-demo", "proven"),
    ]
    assert [item.name for item in trained.lock.distributions] == ["six"]
    assert (target.interpreter.kind, target.interpreter.executable[:20]) == ("conda", "/opt/env/bin/python3")
    assert any(text.startswith("__glibc=") for text in target.virtual_packages)


@pytest.mark.parametrize("against", ["pylock.toml", "m.env.json"])
def test_the_image_is_verified_against_lock_and_snapshot(trained: Trained, against: str) -> None:
    done = envparity("verify", f"oci:{trained.folder}/image", "--against", trained.folder / against)

    assert "VERIFIED" in done.stdout


def test_a_program_of_a_package_runs_in_the_image_and_finds_its_library(trained: Trained) -> None:
    """The prefix that the library was built in is nowhere on any machine."""
    done = envparity("run", f"oci:{trained.folder}/image", "--", "/opt/env/bin/where-demo")

    assert done.stdout == "/opt/env/share/demo\n", done.stderr


def test_a_second_build_has_the_same_bytes(trained: Trained) -> None:
    again = trained.folder / "again"
    envparity("build", trained.folder / "pylock.toml", "--output", f"oci:{again}")

    assert (again / "index.json").read_bytes() == (trained.folder / "image" / "index.json").read_bytes()


def test_what_is_put_into_the_image_is_what_rattler_installs(trained: Trained) -> None:
    """Rattler is what the environment was made with: the same files, bytes and rights, but for conda's own records."""
    (target,) = trained.lock.targets
    python = ".".join(target.interpreter.version.split(".")[:2])
    place = trained.prefix.as_posix().lstrip("/")
    for item in target.conda_packages:
        package = trained.channel / item.subdir / item.file_name
        entries = conda.package_entries(item, package, conda.Spool(), prefix=place, python_xy=python)
        different = [entry.path for entry in entries if "/conda-meta/" not in entry.path and not is_there(entry)]

        assert different == []
        assert len(entries) > 1


def edited(trained: Trained, name: str, *changes: tuple[str, str]) -> Path:
    """The snapshot with other words in it, as if it had been taken so."""
    text = (trained.folder / "m.env.json").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (trained.folder / name).write_text(re.sub(r',\s*"content_digest": ?"[^"]*"', "", text))
    return trained.folder / name


def is_there(entry: Entry) -> bool:
    path = Path("/", entry.path)
    content = entry.content if isinstance(entry.content, bytes) else entry.content().read() if entry.content else b""
    if entry.path.endswith("/bin/where-demo"):  # of an entry point each installer has its own text
        return path.stat().st_mode & 0o777 == entry.mode | 0o022 & path.stat().st_mode
    return path.read_bytes() == content and path.stat().st_mode & 0o111 == entry.mode & 0o111


def test_a_package_that_was_replaced_under_its_name_is_an_integrity_error(trained: Trained) -> None:
    """A file that was built again, and pushed under the same name, did not train the model."""
    (item,) = [item for item in trained.lock.targets[0].conda_packages if item.name == "libdemo"]
    changed = edited(trained, "changed.env.json", (item.sha256, "ab" * 32), (item.md5, "cd" * 16))
    done = envparity("lock", changed, "-o", trained.folder / "pylock.changed.toml", status=5)

    assert "libdemo-1.2-h1_0.tar.bz2" in done.stderr


def test_packages_that_left_their_channel_are_named_all_at_once(trained: Trained) -> None:
    builds = (("libdemo-1.2-h1_0", "libdemo-1.2-h2_0"), ("where-demo-1.0-pyh1", "where-demo-1.0-pyh2"))
    gone = edited(trained, "gone.env.json", *builds)
    done = envparity("lock", gone, "-o", trained.folder / "pylock.gone.toml", status=1)

    assert all(word in done.stderr for word in ("2 conda packages", "libdemo (conda) 1.2", "where-demo (conda) 1.0"))


def test_a_channel_that_is_gone_is_named_without_its_token(trained: Trained) -> None:
    nowhere = edited(trained, "nowhere.env.json", (f"file://{trained.channel}", "http://127.0.0.1:9/t/canary/main"))
    done = envparity("lock", nowhere, "-o", trained.folder / "pylock.nowhere.toml", status=3)

    assert "http://127.0.0.1:9/main" in done.stderr
    assert "canary" not in done.stdout + done.stderr


def exported(trained: Trained, form: str, name: str) -> Path:
    path = trained.folder / name
    envparity("export", trained.folder / "pylock.toml", "--format", form, "-o", path)
    return path


@pytest.mark.parametrize("form", ["conda-lock", "conda-lock-v2"])
def test_conda_lock_accepts_the_file_and_renders_the_same_explicit_list(trained: Trained, form: str) -> None:
    path = exported(trained, form, f"{form}.conda-lock.yml")
    script = Path(__file__).parents[1] / "data" / "conda_lock" / "rendered.py"
    lines = answer_of("conda-lock>=3", script, path, subdir()).splitlines()
    explicit = exported(trained, "conda-explicit", "explicit.txt").read_text().splitlines()
    addresses = [line.partition("#")[0] for line in explicit[explicit.index("@EXPLICIT") + 1 :]]

    assert [line.partition("#")[0] for line in lines if line.startswith("file:")] == addresses
    assert len(addresses) == 3
    assert [line.rpartition("#")[2] for line in lines if line.startswith("# pip six ")] == [
        f"sha256={trained.lock.distributions[0].wheel.sha256}"
    ]


@pytest.mark.parametrize(("form", "name"), [("conda-lock", "back.conda-lock.yml"), ("conda-explicit", "back.txt")])
def test_what_was_exported_reads_as_the_packages_of_the_snapshot(trained: Trained, form: str, name: str) -> None:
    environment = read(str(exported(trained, form, name)))
    had = read(str(trained.folder / "m.env.json"))

    assert {(item.name, item.build, item.sha256) for item in environment.conda_packages or ()} == {
        (item.name, item.build, item.sha256) for item in had.conda_packages or () if not item.virtual
    }


def test_an_environment_made_of_the_export_is_the_one_of_the_snapshot(trained: Trained) -> None:
    """Rattler solves for what `environment.yml` names, and pip's part goes beside it, by its hashes."""
    said = yaml.safe_load(exported(trained, "environment", "environment.yml").read_text())
    named = [spec.split("=") for spec in said["dependencies"] if isinstance(spec, str) and spec != "pip"]
    specs = [f"{name} =={version} {build}" for name, version, build in named]
    (pip,) = [part["pip"] for part in said["dependencies"] if isinstance(part, dict)]
    requirements = trained.folder / "requirements.txt"
    requirements.write_text("\n".join(pip))
    again = installed(trained.channel, trained.folder / "q", *specs)
    command = [needs_uv(), "pip", "install", "-q", "--python", again / "bin" / "python", "--require-hashes"]
    subprocess.run([*command, "-r", requirements], check=True)

    done = envparity("diff", trained.folder / "m.env.json", f"conda:{again}", status=None)

    assert done.returncode == 0, done.stdout
    (target,) = trained.lock.targets
    solved = read(f"conda:{again}").conda_packages or ()
    assert {(item.name, item.sha256) for item in solved if not item.virtual} == {
        (item.name, item.sha256) for item in target.conda_packages
    }
