"""The folder of `envparity dockerfile` in a real engine, by both of its builders, held against what was locked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from envparity import build, dockerfile, preparation, verify
from envparity.errors import ExitStatus
from envparity.image.configuration import runtime
from envparity.oci.places import open_image
from envparity.oci.tree import merge
from tests.commands import envparity
from tests.e2e.pipeline import Pipeline, predictions
from tests.e2e.test_engines import HARDENED, docker
from tests.image.test_against_rebuilt import on_image
from tests.oci import hostile
from tests.test_build import offline
from tests.test_dockerfile import NASTY, a_request
from tests.tools import needs_tool, own_name

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
"""`cap_net_raw=ep`, as `setcap` writes it."""


def client_of(builder: str, engine: str) -> str:
    """A client that can ask for this builder: BuildKit is a part of some; of others a plugin, which may be missing."""
    if builder == "classic":
        return needs_tool("docker")
    for client in filter(None, (shutil.which("docker"), shutil.which("docker", path="/usr/bin"))):
        told = subprocess.run(
            [client, "build", "--help"], env=environ(builder, engine), capture_output=True, check=False
        )
        if told.returncode == 0 and b"--secret" in told.stdout:
            return client
    pytest.skip("no client here has BuildKit")


def environ(builder: str, engine: str) -> dict[str, str]:
    return {**os.environ, "DOCKER_BUILDKIT": "1" if builder == "buildkit" else "0", "DOCKER_HOST": engine}


def built(folder: Path, name: str, builder: str, engine: str) -> None:
    """Without a network: what is vendored is whole."""
    command = [client_of(builder, engine), "build", "--quiet", "--network", "none", "-t", name, folder]
    done = subprocess.run(command, env=environ(builder, engine), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("builder", ["classic", "buildkit"])
def test_both_builders_read_the_configuration_as_build_writes_it(builder: str, engine: str, tmp_path: Path) -> None:
    """Quotes, `$` and backslashes of a value are the builder's to read, and each has its own parser."""
    request = a_request(tmp_path, *NASTY, "END=\\\\'\\")
    dockerfile.write(request, tmp_path / "docker", vendor=True, fetcher=offline(tmp_path / "cache"))
    name = own_name("dockerfile-config")
    built(tmp_path / "docker", name, builder, engine)
    ours = json.loads(docker(engine, "image", "inspect", name))[0]["Config"]
    docker(engine, "image", "rm", name)

    ready = preparation.prepared(request, fetcher=offline(tmp_path / "cache"))
    wanted: dict[str, Any] = runtime(ready.lock, ready.target, ready.options, ready.lock_sha256)
    assert {key: ours[key] for key in wanted if key != "Labels" and wanted[key]} == {
        key: value for key, value in wanted.items() if key != "Labels" and value
    }
    assert ours["Labels"] == {**wanted["Labels"], "envparity.builder": "dockerfile"}


@pytest.mark.parametrize("builder", ["classic", "buildkit"])
def test_a_base_that_lies_in_a_folder_is_what_its_layers_give_together(
    builder: str, engine: str, tmp_path: Path
) -> None:
    """What a layer took away, owners, rights, links and attributes are what `verify` holds the image against."""
    name = "a" * 60 + "/" + "b" * 90
    lock = on_image(
        tmp_path / "lock",
        hostile.folder("var/mail", 0o2775, uid=8),
        hostile.file("usr/bin/su", b"su", mode=0o4755),
        hostile.hardlink("usr/bin/su-too", "usr/bin/su"),
        hostile.link("bin", "usr/bin"),
        hostile.pax(SCHILY__xattr__security__capability=CAPABILITY) + hostile.file("usr/bin/ping", b"ping"),
        hostile.pax(path=f"{name}é".encode()) + hostile.file("x", b"long", uid=1000),
    )
    dockerfile.write(build.Request(lock), tmp_path / "docker", vendor=True, fetcher=offline(tmp_path / "cache"))
    built(tmp_path / "docker", f"dockerfile-folder-{builder}:1", builder, engine)
    docker(engine, "save", "-o", tmp_path / "image.tar", f"dockerfile-folder-{builder}:1")
    docker(engine, "image", "rm", f"dockerfile-folder-{builder}:1")

    verdict = verify.against(
        verify.Request(f"docker-archive:{tmp_path / 'image.tar'}", str(lock)), fetcher=offline(tmp_path / "cache")
    )
    assert verdict.status is ExitStatus.OK, verdict.findings
    (node,) = (it for it in merge(open_image(f"docker-archive:{tmp_path / 'image.tar'}")).walk() if "ping" in it.path)
    assert (dict(node.xattrs)["security.capability"], node.mtime) == (CAPABILITY, 1)


def test_the_vendored_folder_becomes_the_locked_image(little: Pipeline, engine: str, tmp_path: Path) -> None:
    """
    Its layers are not those of `build`: each file of it is held against the lock, pip's own and byte code too, and what
    was left out of it leads back to the training.
    """
    name, place, archive = (
        own_name("dockerfile-tickets"),
        tmp_path / "docker",
        f"docker-archive:{tmp_path / 'image.tar'}",
    )
    envparity("dockerfile", little.lock, "--model", little.model, "--vendor", "--strip", "all", "-o", place)
    built(place, name, "buildkit", engine)
    served = docker(engine, "run", "--rm", *HARDENED, name, "-c", little.predicting, "/opt/model/model.joblib")
    docker(engine, "save", "-o", tmp_path / "image.tar", name)
    docker(engine, "image", "rm", name)
    lint = subprocess.run([needs_tool("hadolint"), place / "Dockerfile"], capture_output=True, check=False)

    assert predictions(served) == predictions(little.predictions)
    assert (lint.stdout, lint.returncode) == (b"", 0)
    for against in (little.lock, little.snapshot):
        assert envparity("verify", archive, "--against", against).stdout.startswith("VERIFIED")
    assert sorted(path.name for path in (place / "stripped").glob("*.csv")) == ["joblib-1.4.2.csv"]
