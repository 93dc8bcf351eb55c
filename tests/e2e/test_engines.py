"""The image in other people's tools: Docker, a registry, skopeo. What they refuse, no user can serve."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from envparity.oci.places import open_image
from tests.e2e.pipeline import Pipeline, envparity, predictions
from tests.e2e.tampering import copy_of
from tests.tools import needs_tool, not_here, own_name

HARDENED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none"]


def docker(engine: str, *arguments: str | Path) -> str:
    """What the client prints; a failure fails the test with what it said."""
    command = [needs_tool("docker"), "-H", engine, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def loaded(little: Pipeline, engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name by which the engine has the image, out of its archive."""
    name, place = f"{own_name('envparity-tests/tickets')}:1", tmp_path_factory.mktemp("archive") / "image.tar"
    envparity("build", little.lock, "--model", little.model, "--output", f"docker-archive:{place}", "-t", name)
    docker(engine, "load", "-q", "-i", place)
    place.unlink()
    yield name
    docker(engine, "image", "rm", "-f", name)


def test_docker_loads_the_archive_and_the_container_predicts_the_same(
    little: Pipeline, loaded: str, engine: str
) -> None:
    found = json.loads(docker(engine, "image", "inspect", loaded))[0]

    served = docker(engine, "run", "--rm", *HARDENED, loaded, "-c", little.predicting, "/opt/model/model.joblib")

    assert found["Id"] == open_image(f"oci:{little.image}").manifest.config.digest
    assert found["RootFS"]["Layers"] == list(open_image(f"oci:{little.image}").config.rootfs.diff_ids)
    assert predictions(served) == predictions(little.predictions)


def test_the_container_runs_as_nobody_in_particular(loaded: str, engine: str) -> None:
    code = "import os; print(os.getuid())"

    assert docker(engine, "run", "--rm", *HARDENED, loaded, "-c", code).strip() == "10001"


def test_a_registry_takes_it_and_an_engine_pulls_it_with_the_same_digest(
    little: Pipeline, engine: str, registry: str
) -> None:
    skopeo = needs_tool("skopeo")
    target = f"{registry}/{own_name('envparity/tickets')}:1"
    push = [skopeo, "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", f"oci:{little.image}:latest"]
    subprocess.run([*push, f"docker://{target}"], check=True)
    inspect = [skopeo, "inspect", "--tls-verify=false", f"docker://{target}"]
    told = json.loads(subprocess.run(inspect, check=True, capture_output=True, text=True).stdout)

    docker(engine, "pull", "--quiet", target)
    served = docker(engine, "run", "--rm", *HARDENED, target, "-c", little.predicting, "/opt/model/model.joblib")
    docker(engine, "image", "rm", "-f", target)

    assert told["Digest"] == open_image(f"oci:{little.image}").digest
    assert predictions(served) == predictions(little.predictions)


def test_what_came_back_from_an_engine_is_still_verified(
    little: Pipeline, loaded: str, engine: str, tmp_path: Path
) -> None:
    """`docker save` writes another archive of the same layers: they are compared by diffID, so nothing is lost."""
    docker(engine, "save", "-o", tmp_path / "saved.tar", loaded)

    envparity("verify", f"docker-archive:{tmp_path / 'saved.tar'}", "--against", little.lock)


def test_umoci_and_skopeo_accept_the_layout(little: Pipeline, tmp_path: Path) -> None:
    skopeo, umoci = needs_tool("skopeo"), needs_tool("umoci")
    copy = [skopeo, "copy", "--quiet", "--insecure-policy", f"oci:{little.image}:latest", f"oci:{tmp_path / 'c'}:x"]
    subprocess.run(copy, check=True)
    told = subprocess.run([umoci, "stat", "--image", f"{tmp_path / 'c'}:x"], check=True, capture_output=True, text=True)

    assert open_image(f"oci:{tmp_path / 'c'}:x").digest == open_image(f"oci:{little.image}").digest
    assert "envparity papers" in told.stdout


def test_a_file_changed_by_other_people_s_tools_is_found(little: Pipeline, tmp_path: Path) -> None:
    """umoci unpacks, somebody edits, umoci packs a further layer: every digest is right, and the image is another."""
    umoci = needs_tool("umoci")
    if os.geteuid() != 0:
        not_here("repacking with the owners of the files takes root")
    layout = tmp_path / "image"
    copy_of(little.image, layout)
    subprocess.run([umoci, "unpack", "--image", f"{layout}:latest", tmp_path / "bundle"], check=True)
    (target,) = (tmp_path / "bundle" / "rootfs" / "opt" / "env").glob("lib/python3*/site-packages/joblib/memory.py")
    target.write_text(target.read_text() + "\n# improved\n")
    subprocess.run([umoci, "repack", "--image", f"{layout}:edited", tmp_path / "bundle"], check=True)

    for against in (little.lock, little.snapshot):
        told = envparity("verify", f"oci:{layout}:edited", "--against", against, status=5).stdout
        assert "joblib/memory.py" in told
