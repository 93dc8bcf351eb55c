"""Images that stand on an image of somebody else: a real Debian in a real registry, run by a real engine."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from envparity import lockfile
from envparity.cache import Cache
from envparity.network import Client
from envparity.oci.access import Access
from envparity.oci.entries import Entry
from envparity.oci.image import BuiltImage
from envparity.oci.places import open_image, write_image
from tests.bases import debian_image
from tests.commands import envparity
from tests.e2e.tampering import tampered
from tests.oci.made import file
from tests.tools import needs_tool, needs_uv, own_name

CODE = """
import getpass, os, pwd, sys, ssl
from markupsafe._speedups import _escape_inner
print(sys.version.split()[0], _escape_inner("<"), open("/srv/of-the-base").read().split()[0])
print(getpass.getuser(), os.path.expanduser("~"), pwd.getpwnam("team").pw_uid)
"""
USERS = b"root:x:0:0:root:/root:/bin/bash\nteam:x:1000:1000::/home/team:/bin/sh\n"


ALONE = """
import os, pwd, ssl, zoneinfo
from markupsafe._speedups import _escape_inner
told = [pwd.getpwuid(os.getuid()).pw_name, len(ssl.create_default_context().get_ca_certs()) > 100]
print(*told, zoneinfo.ZoneInfo("Europe/Paris"), os.path.exists("/bin/sh"), _escape_inner("<"))
"""


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> BuiltImage:
    """Debian 12 without a Python, and with a layer that no other image has."""
    mark = file("srv/of-the-base", f"here {uuid.uuid4()}".encode())
    return debian_image(tmp_path_factory.mktemp("debian"), (mark, file("etc/passwd", USERS)))


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with a native module and little else."""
    folder = tmp_path_factory.mktemp("trained")
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([needs_uv(), "venv", "-q", "--no-config", "-p", base, folder / "train"], check=True)
    install = [needs_uv(), "pip", "install", "-q", "--no-config", "--python", folder / "train" / "bin" / "python"]
    subprocess.run([*install, "markupsafe==3.0.2"], check=True)
    envparity("snapshot", f"venv:{folder / 'train'}", "-o", folder / "model.env.json")
    return folder / "model.env.json"


def test_an_image_stands_on_another_one_of_its_registry(
    snapshot: Path, debian: BuiltImage, registry: str, engine: str, tmp_path: Path
) -> None:
    """Its layers are the base's own, which nobody downloads again, and what was recorded runs on them."""
    base, lock = f"registry:{registry}/{own_name('tests/debian')}:12", tmp_path / "pylock.toml"
    with Client() as client:
        digest = write_image(base, debian, access=Access(client))
    own = debian.layers[1][0].digest.removeprefix("sha256:")

    envparity("lock", snapshot, "--base", base, "-o", lock)
    (target,) = lockfile.read(lock)[0].targets
    assert target.base == f"{base}@{digest}"
    assert target.image is not None
    assert target.image.release == "debian:bookworm"

    there = f"registry:{registry}/{own_name('tests/model')}:1"
    envparity("build", lock, "--output", there)
    assert Cache().blob(own) is None
    with Client() as client:
        image = open_image(there, access=Access(client))
    assert [layer.digest for layer in image.manifest.layers[:2]] == [item.digest for item, _ in debian.layers]
    assert json.loads(image.config_bytes)["history"][:2] == json.loads(debian.config_bytes)["history"]
    assert image.variables["PATH"] == "/opt/env/bin:/usr/local/bin:/usr/bin:/bin"
    assert image.variables["TEAM"] == "bases"
    assert (image.manifest.annotations or {})["org.opencontainers.image.base.digest"] == digest

    docker, name = [needs_tool("docker"), "-H", engine], there.removeprefix("registry:")
    try:
        command = [*docker, "run", "--rm", "--network", "none", "--read-only", name, "-c", CODE]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert said.split() == [sys.version.split()[0], "&lt;", "here", "app", "/home/app", "1000"]
    finally:
        subprocess.run([*docker, "rmi", "-f", name], check=False, capture_output=True)
    for against in (lock, snapshot):
        assert "VERIFIED" in envparity("verify", there, "--against", against).stdout

    # Elsewhere the layers come along, and one that was changed there is found.
    copied = tmp_path / "copied"
    assert envparity("build", lock, "--output", f"oci:{copied}").stdout.strip() == image.digest

    def alter(entries: list[Entry]) -> list[Entry]:
        return [*entries, file("usr/local/bin/python", b"#!/bin/sh\n", 0o755)]

    false = tampered(copied, tmp_path / "false", {1: alter})
    told = envparity("verify", false, "--against", lock, status=5).stdout
    assert "/usr/local/bin/python" in told


def test_from_scratch_there_is_no_shell_and_python_runs(snapshot: Path, engine: str, tmp_path: Path) -> None:
    """Certificates, users and time zones are there all the same."""
    lock, name = tmp_path / "pylock.toml", f"{own_name('envparity-tests/scratch')}:1"
    envparity("lock", snapshot, "--base", "scratch", "-o", lock)
    image = f"oci:{tmp_path / 'image'}"
    envparity("build", lock, "--output", f"docker:{name}", "--output", image, DOCKER_HOST=engine)
    docker = [needs_tool("docker"), "-H", engine]
    try:
        command = [*docker, "run", "--rm", "--network", "none", "--read-only"]
        said = subprocess.run([*command, name, "-c", ALONE], check=True, capture_output=True, text=True).stdout
        assert said.split() == ["app", "True", "Europe/Paris", "False", "&lt;"]
        shell = subprocess.run(
            [*command, "--entrypoint", "/bin/sh", name, "-c", "ls"], check=False, capture_output=True
        )
        assert b"no such file" in shell.stderr
    finally:
        subprocess.run([*docker, "rmi", "-f", name], check=False, capture_output=True)
    for against in (lock, snapshot):
        assert "VERIFIED" in envparity("verify", image, "--against", against, "--fail-on", "medium").stdout
