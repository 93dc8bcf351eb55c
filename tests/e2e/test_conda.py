"""A conda environment from its snapshot to an image that runs: real packages of a channel of our own."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from envparity import codec
from envparity.image import conda
from envparity.oci.entries import Entry
from envparity.oci.places import open_image
from envparity.oci.tree import merge
from envparity.sources import read
from envparity.values import Lock
from tests.commands import envparity, refused
from tests.condas import OTHER, demo_channel, indexed, installed, old_six, other_machine, subdir
from tests.e2e.tampering import layer_with, tampered
from tests.small_indexes import small_index
from tests.tools import answer_of, needs_uv

pytestmark = pytest.mark.xdist_group("conda")  # one worker makes what all of them read


@dataclass(frozen=True)
class Trained:
    """Where everything lies, and what was locked."""

    folder: Path
    prefix: Path
    channel: Path
    lock: Lock


@pytest.fixture(scope="module")
def trained() -> Iterator[Trained]:
    """
    An environment of conda packages with one distribution of pip beside them, in the place of one that conda brought:
    recorded, locked and built.
    """
    # Of the prefix that it gets a package says how long it may be.
    folder = Path(tempfile.mkdtemp(prefix="e-", dir="/tmp"))
    try:
        channel = demo_channel(folder / "channel")
        old_six(channel / "noarch")
        prefix = installed(channel, folder / "p", "where-demo", "six")
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
        ("six", "proven"),
        ("where-demo", "proven"),
    ]
    assert [item.name for item in trained.lock.distributions] == ["six"]
    assert (target.interpreter.kind, target.interpreter.executable[:20]) == ("conda", "/opt/env/bin/python3")
    assert any(text.startswith("__glibc=") for text in target.virtual_packages)


def test_what_pip_put_in_the_place_of_a_conda_distribution_is_told_from_it(trained: Trained) -> None:
    """pip removed the files of conda's, and conda's record still lists them: two of one name would be importable."""
    (six,) = (item for item in trained.lock.targets[0].conda_packages if item.name == "six")
    done = envparity("lock", trained.folder / "m.env.json", "-o", trained.folder / "pylock.again.toml")
    code = "import importlib.metadata as m, six; print(six.__version__, len([*m.distributions(name='six')]))"
    runs = envparity("run", f"oci:{trained.folder}/image", "--", "python", "-c", code)

    assert [(one.name, one.version) for one in six.replaced] == [("six", "1.16.0")]
    assert six.distributions == ()
    assert "left out: six 1.16.0 of the conda package six: pip replaced or removed it" in done.stderr
    assert runs.stdout == "1.17.0 1\n", runs.stderr


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
        assert len(entries) > (item.name != "six"), "nothing is left of what pip replaced, but conda's record"


@pytest.fixture(scope="module")
def stripped(trained: Trained) -> Path:
    """The same image without what serves nobody, made by a cache that knows the byte code of the whole one."""
    image = trained.folder / "stripped"
    envparity("build", trained.folder / "pylock.toml", "--strip", "all", "--output", f"oci:{image}")
    return image


@pytest.mark.parametrize("against", ["pylock.toml", "m.env.json"])
def test_what_is_left_out_of_conda_packages_is_said_and_the_rest_is_proven(
    trained: Trained, stripped: Path, against: str
) -> None:
    done = envparity("verify", f"oci:{stripped}", "--against", trained.folder / against)

    assert "VERIFIED" in done.stdout
    assert "left out of the wheels and conda packages (tests, docs, static, debug): 3 files" in " ".join(
        done.stdout.split()
    )


def test_a_stripped_image_runs_and_holds_none_of_it_not_even_as_byte_code(stripped: Path) -> None:
    runs = envparity("run", f"oci:{stripped}", "--", "/opt/env/bin/where-demo")
    paths = {node.path for node in merge(open_image(f"oci:{stripped}")).walk()}

    assert runs.stdout == "/opt/env/share/demo\n", runs.stderr
    assert not [path for path in paths if "test_where" in path or path.endswith((".a", "demo.1"))]
    assert [path for path in paths if "/where_demo/__pycache__/__init__" in path]
    assert {path.rpartition("/")[2] for path in paths if path.startswith("/usr/share/envparity/stripped/")} == {
        "libdemo-1.2-h1_0.csv",
        "where_demo-1.0.csv",
    }


def test_the_plan_says_what_could_be_left_out_of_conda_packages(trained: Trained) -> None:
    told = json.loads(envparity("build", trained.folder / "pylock.toml", "--plan", "--format", "json").stdout)

    assert told["unserved_bytes"] == {"tests": 29, "docs": 9, "static": 8, "debug": 0}
    assert told["conda_packages_not_looked_into"] == 0


def test_an_image_that_only_says_that_it_was_stripped_of_more_is_drift(trained: Trained, stripped: Path) -> None:
    """Whoever removes a module must not get away with calling it a test."""
    module = "opt/env/lib/python{}.{}/site-packages/where_demo/__init__.py".format(*sys.version_info[:2])
    layer = layer_with(stripped, module)
    changed = tampered(stripped, trained.folder / "less", {layer: lambda all: [it for it in all if it.path != module]})
    for against in ("pylock.toml", "m.env.json"):
        done = envparity("verify", changed, "--against", trained.folder / against, status=5)

        assert "where_demo/__init__.py" in done.stdout


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
    assert len(addresses) == 4
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


@pytest.fixture(scope="module")
def files_of_others(trained: Trained) -> Path:
    """The same environment as a `conda-lock.yml`, and as a `pixi.lock` that rattler, which Pixi is made of, writes."""
    exported(trained, "conda-lock", "conda-lock.yml")
    rattler: Any = importlib.import_module("rattler")
    place, channel = rattler.LockPlatform(subdir()), trained.channel.as_uri()
    lock = rattler.LockFile([place])
    lock.set_channels("default", [rattler.LockChannel(channel)])
    records = (rattler.PrefixRecord.from_path(path) for path in (trained.prefix / "conda-meta").glob("*.json"))
    for record in records:
        lock.add_conda_package("default", place, record)
    (six,) = trained.lock.distributions
    lock.add_pypi_package("default", place, "six", six.version, six.wheel.url)
    lock.to_path(trained.folder / "pixi.lock")
    return trained.folder


@pytest.mark.parametrize("name", ["conda-lock.yml", "pixi.lock"])
def test_locks_of_other_tools_give_the_packages_that_they_pin(
    trained: Trained, files_of_others: Path, name: str
) -> None:
    """conda's by their files in the channel, pip's from the index; what conda brings is not looked up there."""
    own = files_of_others / f"pylock.{name.partition('.')[0]}.toml"
    envparity("lock", files_of_others / name, "-o", own)

    made = codec.load_lock(own.read_bytes(), "it")
    (target,) = made.targets
    assert {item.state for item in (*made.distributions, *target.conda_packages)} == {"declared"}
    known = trained.lock.targets[0].conda_packages
    assert [(it.name, it.sha256, it.depends) for it in target.conda_packages] == [
        (it.name, it.sha256, it.depends) for it in known
    ]
    assert [it.distributions for it in target.conda_packages] == [it.distributions for it in known]
    assert [len(it.replaced) for it in target.conda_packages] == [len(it.replaced) for it in known]
    assert [item.wheel for item in made.distributions] == [item.wheel for item in trained.lock.distributions]


def test_a_lock_of_pixi_becomes_an_image_that_runs(files_of_others: Path) -> None:
    own = files_of_others / "pylock.image.toml"
    envparity("lock", files_of_others / "pixi.lock", "-o", own)
    envparity("build", own, "--output", f"oci:{files_of_others}/pixi")
    done = envparity("verify", f"oci:{files_of_others}/pixi", "--against", own)
    runs = envparity(
        "run", f"oci:{files_of_others}/pixi", "--", "python", "-c", "import six, where_demo as it; it.main()"
    )

    assert "VERIFIED" in done.stdout
    assert runs.stdout == "/opt/env/share/demo\n", runs.stderr


def test_what_is_added_is_resolved_beside_what_conda_brings(trained: Trained) -> None:
    """An agent requires what a conda package brings: that stays as it is, and no wheel comes in its place."""
    added, image = trained.folder / "pylock.added.toml", f"oci:{trained.folder}/added"
    with small_index({"agent 1.0": ["where-demo>=1.0", "helper"], "helper 1.0": [], "where-demo 2.0": []}) as index:
        own = ("--index", f"own={index.root}")
        envparity("lock", trained.folder / "m.env.json", *own, "--add", "agent", "-o", added)
        envparity("build", added, "--output", image)
        moved = ("lock", added, *own, "--add", "where-demo>=2")
        conflict = envparity(*moved, status=1)
    runs = envparity("run", image, "--", "python", "-c", "import agent, where_demo as it; it.main()")

    locked = codec.load_lock(added.read_bytes(), "it").distributions
    assert {item.name: item.state for item in locked} == {"agent": "added", "helper": "added", "six": "matched"}
    assert "where-demo 1.0 would move" in conflict.stderr
    assert "where-demo can be moved by conda alone" in conflict.stderr
    assert runs.stdout == "/opt/env/share/demo\n", runs.stderr


def test_what_conda_brings_is_moved_by_conda_alone(trained: Trained) -> None:
    """A wheel in the place of a conda package is another build of everything in it."""
    refused("lock", trained.folder / "m.env.json", "--update", "where-demo", status=2, says="a conda package brings")


def for_two(path: Path, channel: Path) -> Path:
    """The `conda-lock.yml` of this machine's platform, for the other one too."""
    document = yaml.safe_load(path.read_text())
    here, there = subdir(), OTHER[subdir()]
    others = json.loads(json.dumps(document["package"]).replace(f'"{here}"', f'"{there}"'))
    for package in others:
        if f"/{here}/" in package["url"]:
            (file,) = (channel / there).glob(f"{package['name']}-{package['version']}-*")
            data = file.read_bytes()
            package["url"] = file.as_uri()
            package["hash"] = {kind: hashlib.new(kind, data).hexdigest() for kind in ("md5", "sha256")}
    document["package"] += others
    document["metadata"]["platforms"].append(there)
    document["metadata"]["content_hash"][there] = "0" * 64
    two = path.with_name("two.conda-lock.yml")
    two.write_text(yaml.safe_dump(document, sort_keys=False))
    return two


@pytest.fixture(scope="module")
def elsewhere(trained: Trained) -> str:
    """The other processor as a platform of images; the channel has its packages too."""
    other_machine(trained.channel)
    indexed(trained.channel)
    return {"linux-64": "linux/amd64", "linux-aarch64": "linux/arm64"}[OTHER[subdir()]]


def test_another_processor_gets_the_same_versions_and_the_very_files_that_are_for_all(
    trained: Trained, elsewhere: str
) -> None:
    own = trained.folder / "pylock.elsewhere.toml"
    done = envparity("lock", trained.folder / "m.env.json", "--platform", elsewhere, "-o", own)
    no = ("lock", trained.folder / "m.env.json", "--platform", elsewhere, "--require", "matched", "-o", own)

    (target,) = codec.load_lock(own.read_bytes(), "it").targets
    assert {item.name: item.state for item in target.conda_packages} == {
        "libdemo": "counterpart",
        "python": "counterpart",
        "six": "proven",
        "where-demo": "proven",
    }
    (before,) = trained.lock.targets
    assert [(item.name, item.version) for item in target.conda_packages] == [
        (item.name, item.version) for item in before.conda_packages
    ]
    assert [len(item.replaced) for item in target.conda_packages] == [0, 0, 1, 0]
    assert f"2 conda packages of the same versions for {elsewhere}" in " ".join(done.stderr.split())
    assert "libdemo (conda) 1.2 is counterpart" in envparity(*no, status=1).stderr


def test_an_environment_file_is_locked_by_the_builds_that_rattler_chooses_in_its_channels(trained: Trained) -> None:
    """What pip is asked for beside is resolved under what conda's packages bring."""
    lines = (f"channels: [{trained.channel.as_uri()}]", "dependencies:", "- python", "- where-demo=1.0", "- six>=1.16")
    source, own = trained.folder / "environment.yml", trained.folder / "pylock.environment.toml"
    source.write_text("\n".join((*lines, "- pip: [where-demo, markupsafe==3.0.2]\n")))
    done = envparity("lock", source, "-o", own)

    made = codec.load_lock(own.read_bytes(), "it")
    (target,), (before,) = made.targets, trained.lock.targets
    assert [(it.name, it.sha256) for it in target.conda_packages] == [
        (it.name, it.sha256) for it in before.conda_packages
    ]
    assert {item.state for item in target.conda_packages} == {"resolved"}
    assert [(item.name, item.state) for item in made.distributions] == [("markupsafe", "declared")]
    assert "resolved: 4 conda packages that nobody pins: libdemo 1.2, " in " ".join(done.stderr.split())


def test_a_conda_lock_of_two_platforms_becomes_an_image_of_each(
    trained: Trained, elsewhere: str, files_of_others: Path
) -> None:
    """One file and one lock; the image of this machine's processor runs, and nothing of the other's is in it."""
    two = for_two(files_of_others / "conda-lock.yml", trained.channel)
    platforms = ("--platform", "linux/amd64", "--platform", "linux/arm64")
    own, here, there = (
        files_of_others / "pylock.two.toml",
        f"oci:{files_of_others}/here",
        f"oci:{files_of_others}/there",
    )
    envparity("lock", two, *platforms, "-o", own)
    envparity("build", own, "--output", here)
    envparity("build", own, "--platform", elsewhere, "--output", there)
    runs = envparity("run", here, "--", "python", "-c", "import six, where_demo as it; it.main()")

    locked = {target.platform: target.conda_packages for target in codec.load_lock(own.read_bytes(), "it").targets}
    builds = {name: {item.name: f"{item.version} {item.build}" for item in each} for name, each in locked.items()}
    assert builds["linux/amd64"].keys() == builds["linux/arm64"].keys() == {"libdemo", "python", "six", "where-demo"}
    assert {text.partition(" ")[0] for each in builds.values() for text in each.values()} == {
        item.version for item in trained.lock.targets[0].conda_packages
    }
    assert builds["linux/amd64"]["libdemo"] != builds["linux/arm64"]["libdemo"]
    assert "VERIFIED" in envparity("verify", there, "--against", own).stdout
    assert runs.stdout == "/opt/env/share/demo\n", runs.stderr


def test_a_package_that_is_pinned_and_left_its_channel_is_named(files_of_others: Path) -> None:
    text = (files_of_others / "conda-lock.yml").read_text().replace("libdemo-1.2-h1_0", "libdemo-1.2-h9_0")
    (files_of_others / "gone.conda-lock.yml").write_text(text)
    gone = ("lock", files_of_others / "gone.conda-lock.yml", "-o", files_of_others / "pylock.gone.toml")
    done = envparity(*gone, status=1)

    assert "libdemo (conda) 1.2: `libdemo-1.2-h9_0.tar.bz2` is not in the channel" in done.stderr


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
