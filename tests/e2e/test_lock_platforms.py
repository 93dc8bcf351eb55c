"""
One lock for two processors, and snapshots of hosts that no image can be made of: real wheels of every platform, real
bases, from this machine.

The hosts are folders into which uv installed what their own interpreters would load, and a system section that they
would have recorded.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import msgspec
import pytest

from envparity import codec, lockfile, platforms
from envparity.elf import is_elf
from envparity.oci import places
from envparity.oci.entries import Entry
from envparity.oci.tree import merge
from envparity.values import System
from tests import once
from tests.commands import envparity
from tests.e2e.tampering import tampered
from tests.emulated import emulator, packed_by
from tests.tools import needs_tool, needs_uv, own_name

XY = f"{sys.version_info.major}.{sys.version_info.minor}"
BASE = {"3.11": "debian:bookworm", "3.13": "debian:trixie"}.get(XY, "")
PINS = ("click==8.1.8", "markupsafe==3.0.2", "sqlalchemy==2.0.40", "typing-extensions==4.13.2")
GREENLET = "greenlet==3.2.3"

PACKING = {"deflate", "isal", "msgspec", "zstandard", "packaging", "click"}

MAC = System(os="darwin", machine="arm64", id="macos", version_id="14.5", name="macOS 14.5")
WINDOWS = System(os="windows", machine="AMD64", id="windows", version_id="11", name="Windows 11")
ALPINE = System(os="linux", machine="x86_64", id="alpine", name="Alpine Linux v3.20", libc="musl", libc_version="1.2.5")
RHEL = System(os="linux", machine="x86_64", id="rhel", name="RHEL 9.4", libc="glibc", libc_version="2.34")

pytestmark = pytest.mark.skipif(not BASE, reason=f"no base of both processors has Python {XY}")


def a_host(folder: Path, platform: str, system: System | None, *pins: str) -> Path:
    """The snapshot of an environment with these, installed as on that platform."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "train"], check=True)
    site = folder / "train" / "lib" / f"python{XY}" / "site-packages"
    own = folder / "train" / "bin" / "python"
    place = ["--python", own] if not platform else ["--python", sys.executable, "--target", site]
    wanted = ["--python-platform", platform, "--python-version", XY] if platform else []
    command = [needs_uv(), "pip", "install", "-q", "--no-config", "--no-deps", "--only-binary", ":all:", *wanted]
    subprocess.run([*command, *place, *pins], check=True)
    path = folder / "model.env.json"
    envparity("snapshot", f"venv:{folder / 'train'}", "-o", path)
    if system is not None:
        taken = codec.load_environment(path.read_bytes(), "it")
        assert taken.python is not None
        kept = taken.python if system is RHEL else msgspec.structs.replace(
            taken.python, version=f"{XY}.1", executable=None, libpython=None, platform_tags=()
        )  # fmt: skip
        told = msgspec.structs.replace(taken, system=system, python=kept, os_packages=None)
        path.write_bytes(codec.dump_environment(told))
    return path


@pytest.fixture(scope="session")
def linux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A lock for both processors of a snapshot of this machine, and its images: for the other one in `arm64`, and in
    `here` that for this machine.
    """

    def make(folder: Path) -> None:
        a_host(folder, "", None, *PINS, GREENLET)
        both = ("--platform", "linux/amd64", "--platform", "linux/arm64", "--base", BASE)
        envparity("lock", "model.env.json", *both, cwd=folder)
        envparity("build", "pylock.toml", "--platform", "linux/arm64", "--output", "oci:arm64", cwd=folder)
        envparity("build", "pylock.toml", "--output", "oci:here", cwd=folder)

    return once.made_once(once.of_the_run(tmp_path_factory) / "platforms", make)


def states_of(path: Path, platform: str) -> dict[str, str]:
    lock, _ = lockfile.read(path)
    return {item.name: item.state for item in platforms.selected(lock, platform).distributions}


def test_a_lock_for_two_holds_what_a_lock_for_each_would(linux: Path) -> None:
    whole, _ = lockfile.read(linux / "pylock.toml")
    for platform in ("linux/amd64", "linux/arm64"):
        envparity("lock", "model.env.json", "--platform", platform, "--base", BASE, "-o", "pylock.one.toml", cwd=linux)

        assert platforms.selected(whole, platform) == lockfile.read(linux / "pylock.one.toml")[0]


def test_the_other_processor_s_wheels_are_counterparts_and_no_proof(linux: Path) -> None:
    states = states_of(linux / "pylock.toml", "linux/arm64")

    assert {name for name, state in states.items() if state == "counterpart"} == {
        "greenlet",
        "markupsafe",
        "sqlalchemy",
    }
    assert "counterpart" not in states_of(linux / "pylock.toml", "linux/amd64").values()
    done = envparity(
        *("lock", "model.env.json", "--platform", "linux/arm64", "--base", BASE, "--require", "matched"),
        *("-o", "pylock.no.toml"),
        status=1,
        cwd=linux,
    )
    assert "markupsafe 3.0.2 is counterpart" in done.stderr


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_uv_installs_from_the_one_file_what_each_processor_gets(machine: str, linux: Path, tmp_path: Path) -> None:
    command = [needs_uv(), "pip", "install", "-q", "--no-config", "--python", sys.executable]
    place = ["--python-platform", f"{machine}-manylinux_2_36", "--target", tmp_path, "-r", "pylock.toml"]
    subprocess.run([*command, *place], cwd=linux, check=True)

    natives = [path for path in tmp_path.rglob("*.so") if is_elf(path.read_bytes()[:4])]
    assert natives
    assert all(machine in path.name for path in natives)


def test_an_image_for_the_other_processor_is_built_here_and_verifies(linux: Path) -> None:
    """Without an emulator: nothing of it is run. Every program and library in it is for that processor."""
    told = json.loads(subprocess.check_output([needs_tool("skopeo"), "inspect", "oci:arm64"], cwd=linux))
    done = envparity("verify", "oci:arm64", "--against", "pylock.toml", cwd=linux)
    tree = merge(places.open_image(f"oci:{linux / 'arm64'}"), keep=lambda path: path.startswith("/opt/env/"))
    heads = [tree.read(node.path, 64 << 20)[:20] for node in tree.walk() if node.path.endswith(".so")
             and node.path.startswith("/opt/env/")]  # fmt: skip

    assert (told["Os"], told["Architecture"]) == ("linux", "arm64")
    assert done.stdout.startswith("VERIFIED")
    assert heads
    assert {int.from_bytes(head[18:20], "little") for head in heads} == {183}, "EM_AARCH64"


@pytest.fixture(scope="session")
def arm(linux: Path) -> tuple[Path, list[str], dict[str, str]]:
    """The root of the image for the other processor, as others unpack it, and how its Python is started here."""
    emulated, umoci = emulator("aarch64"), needs_tool("umoci")

    def make(folder: Path) -> None:
        command = [umoci, "unpack", "--rootless", "--image", f"{linux / 'arm64'}:latest", folder / "bundle"]
        subprocess.run(command, check=True, capture_output=True)

    root = once.made_once(linux.parent / "arm64-unpacked", make) / "bundle" / "rootfs"
    return root, [emulated, "-L", str(root), str(root / f"usr/bin/python{XY}")], {"PYTHONHOME": str(root / "usr")}


def test_what_was_built_for_the_other_processor_runs_on_it(arm: tuple[Path, list[str], dict[str, str]]) -> None:
    root, python, environ = arm
    asked = (
        "import platform, sys; sys.path.insert(0, sys.argv[1]); import greenlet, markupsafe._speedups;"
        "from sqlalchemy.cyextension import collections;"
        "print(platform.machine(), greenlet.greenlet(lambda: 7).switch(), markupsafe._speedups._escape_inner('<'))"
    )
    site = root / f"opt/env/lib/python{XY}/site-packages"
    told = subprocess.run([*python, "-c", asked, site], env=environ, capture_output=True, text=True, check=True)

    assert told.stdout.split() == ["aarch64", "7", "&lt;"]


def test_the_other_processor_packs_the_same_bytes(arm: tuple[Path, list[str], dict[str, str]], tmp_path: Path) -> None:
    """What it needs is installed for it, in the very versions that pack here: another one may compress otherwise."""
    _, python, environ = arm
    pins = [f"{item.name}=={item.version}" for item in distributions() if item.name in PACKING]
    assert len(pins) == len(PACKING)
    command = [needs_uv(), "pip", "install", "-q", "--no-config", "--no-deps", "--only-binary", ":all:", *pins]
    place = ["--target", tmp_path, "--python", sys.executable, "--python-version", XY]
    subprocess.run([*command, *place, "--python-platform", "aarch64-manylinux_2_36"], check=True)

    libraries = [path for path in sys.path if path.endswith("-packages")]
    assert packed_by(python, [tmp_path], environ) == packed_by([sys.executable], libraries)


def test_against_the_snapshot_each_counterpart_is_named_and_none_is_called_a_forgery(linux: Path) -> None:
    """They are not what trained the model, which is for a person to weigh; nobody tampered with anything."""
    done = envparity("verify", "oci:arm64", "--against", "model.env.json", "--format", "json", status=1, cwd=linux)

    found = [item for item in json.loads(done.stdout)["findings"] if item["section"] == "files"]
    assert {item["severity"] for item in found} == {"high"}
    assert len(found) == 3


def test_the_caller_s_own_lock_declares_counterparts_and_proves_them(linux: Path, tmp_path: Path) -> None:
    """What was decided when locking fails no pipeline, is always shown, and is proven by more than the image's word."""
    path, body = f"opt/env/lib/python{XY}/site-packages/greenlet/__init__.py", b"version = 'forged'\n"
    forged = tampered(linux / "arm64", tmp_path / "forged", {}, more=[[Entry(path, "file", 0o644, content=body)]])
    both = ("--against", "model.env.json", "--lock", "pylock.toml")

    done = envparity("verify", "oci:arm64", *both, cwd=linux)
    refused = envparity("verify", forged, *both, status=5, cwd=linux)

    assert done.stdout.startswith("VERIFIED: oci:arm64 against model.env.json, as pylock.toml")
    assert "another platform's wheels, which did not train the model: greenlet," in done.stdout
    assert "machine x86_64" in done.stdout, "what is different is found all the same"
    assert "outside of the recorded distributions" not in done.stdout
    assert refused.stdout.startswith("NOT VERIFIED")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--against", "pylock.toml", "--lock", "pylock.toml"), "is a lock already"),
        (("--against", "model.env.json", "--lock", "model.env.json"), "is no lock of envparity"),
        (("--against", "other.env.json", "--lock", "pylock.toml"), "was made of another snapshot"),
    ],
)
def test_a_lock_that_says_nothing_of_the_snapshot_is_refused(
    arguments: tuple[str, ...], says: str, linux: Path, tmp_path: Path
) -> None:
    taken = codec.load_environment((linux / "model.env.json").read_bytes(), "it")
    other = msgspec.structs.replace(taken, distributions=(taken.distributions or ())[1:])
    (tmp_path / "other.env.json").write_bytes(codec.dump_environment(other))
    places_of = {"other.env.json": tmp_path, "model.env.json": linux, "pylock.toml": linux}

    given = [places_of[word] / word if word in places_of else word for word in arguments]
    assert says in envparity("verify", "oci:none", *given, status=2).stderr


def test_a_lock_for_several_is_built_for_this_machine_where_nothing_else_is_said(linux: Path) -> None:
    image = places.open_image(f"oci:{linux / 'here'}")
    assert image.platform == platforms.here()


def test_a_windows_snapshot_is_served_on_linux_and_every_difference_is_declared(tmp_path: Path) -> None:
    a_host(tmp_path, "x86_64-pc-windows-msvc", WINDOWS, *PINS, GREENLET, "colorama==0.4.6")
    done = envparity("lock", "model.env.json", cwd=tmp_path)
    envparity("build", "pylock.toml", "--output", "oci:image", cwd=tmp_path)
    verdict = envparity("verify", "oci:image", "--against", "pylock.toml", cwd=tmp_path)

    lock, _ = lockfile.read(tmp_path / "pylock.toml")
    (target,) = lock.targets
    states = {item.name: item.state for item in lock.distributions}
    assert (states["click"], states["markupsafe"]) == ("matched", "counterpart")
    assert [(item.kind, item.before) for item in target.substituted] == [("base", "Windows 11"), ("python", f"{XY}.1")]
    assert [item.name for item in target.left_out if item.kind == "distribution"] == ["colorama"]
    assert f"Windows 11 -> {BASE}" in done.stderr
    assert verdict.stdout.startswith("VERIFIED")


def test_what_linux_needs_and_the_mac_had_not_is_asked_for(tmp_path: Path) -> None:
    """SQLAlchemy requires greenlet where the processor is called aarch64, and macOS calls it arm64."""
    a_host(tmp_path, "aarch64-apple-darwin", MAC, *PINS)
    done = envparity("lock", "model.env.json", status=1, cwd=tmp_path)
    both = ("--platform", "linux/amd64", "--platform", "linux/arm64")
    envparity("lock", "model.env.json", *both, "--add", GREENLET, cwd=tmp_path)

    assert "sqlalchemy 2.0.40 requires greenlet>=1 on linux/arm64" in done.stderr
    for platform in ("linux/amd64", "linux/arm64"):
        states = states_of(tmp_path / "pylock.toml", platform)
        assert (states["click"], states["markupsafe"], states["greenlet"]) == ("matched", "counterpart", "added")


def test_wheels_of_musl_are_matched_anew_for_a_base_with_glibc(tmp_path: Path) -> None:
    a_host(tmp_path, "x86_64-unknown-linux-musl", ALPINE, *PINS, GREENLET)
    envparity("lock", "model.env.json", cwd=tmp_path)

    lock, _ = lockfile.read(tmp_path / "pylock.toml")
    files = [item.wheel.name for item in lock.distributions]
    assert not [name for name in files if "musllinux" in name]
    assert [name for name in files if "manylinux" in name]


def test_another_linux_keeps_its_wheels_and_interpreter_on_the_nearest_base(tmp_path: Path) -> None:
    a_host(tmp_path, "", RHEL, *PINS, GREENLET)
    envparity("lock", "model.env.json", cwd=tmp_path)
    envparity("build", "pylock.toml", "--output", "oci:image", cwd=tmp_path)
    done = envparity("verify", "oci:image", "--against", "model.env.json", cwd=tmp_path)

    lock, _ = lockfile.read(tmp_path / "pylock.toml")
    (target,) = lock.targets
    assert {item.state for item in lock.distributions} == {"matched"}
    assert (target.interpreter.kind, target.interpreter.version) == ("captured", sys.version.split()[0])
    assert [(item.kind, item.before) for item in target.substituted] == [("base", "RHEL 9.4")]
    assert done.stdout.startswith("VERIFIED")


def test_both_are_one_index_and_each_image_is_what_it_is_alone(linux: Path, registry: str) -> None:
    skopeo, target = needs_tool("skopeo"), f"{registry}/{own_name('envparity/several')}:1"
    outputs = ("--output", "oci:several:1", "--output", f"registry:{target}")
    digest = envparity("build", "pylock.toml", "--platform", "all", *outputs, cwd=linux).stdout.strip()
    refused_by = envparity(
        "build", "pylock.toml", "--platform", "all", "--output", "docker:several:1", status=2, cwd=linux
    )

    assert "write to `oci:DIR`" in refused_by.stderr
    inside = ("--", "python", "-c", "import greenlet; print(greenlet.__version__)")
    assert envparity("run", "oci:several:1", *inside, cwd=linux).stdout.strip() == GREENLET.partition("==")[2]
    refused_by = envparity("run", "oci:arm64", *inside, status=2, cwd=linux)
    assert "has no image for linux/amd64" in refused_by.stderr
    assert "its platforms: linux/arm64" in refused_by.stderr
    for architecture, place, alone in (
        ("amd64", f"registry:{target}", "here"),
        ("arm64", "oci:several:1", "arm64"),
    ):
        platform = f"linux/{architecture}"
        verify = envparity("verify", place, "--against", "pylock.toml", "--platform", platform, cwd=linux)
        name = place.replace("registry:", "docker://")
        command = [skopeo, "inspect", "--tls-verify=false", f"--override-arch={architecture}", name]
        told = json.loads(subprocess.check_output(command, cwd=linux))
        assert verify.stdout.startswith("VERIFIED")
        assert places.open_image(f"oci:{linux / alone}").digest in verify.stdout.split()
        assert (told["Architecture"], told["Digest"]) == (architecture, digest)
