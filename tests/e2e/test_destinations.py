"""An image goes where it will run: to a registry and into an engine, by our own hand, and is the same there."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.commands import envparity
from tests.e2e.pipeline import Pipeline
from tests.tools import needs_tool, own_name


def test_a_built_image_lies_in_the_registry_and_predicts_in_the_engine(
    little: Pipeline, registry: str, engine: str, tmp_path: Path
) -> None:
    """One build, two places beside each other; what is pulled back and what was loaded are one image."""
    name = f"{own_name('envparity-tests/destinations')}:1"
    there = f"registry:{registry}/{name}"
    done = envparity(
        *("build", little.lock, "--model", little.model, "--output", there, "--output", f"docker:{name}"),
        DOCKER_HOST=engine,
    )
    digest = done.stdout.strip()
    again = envparity("build", little.lock, "--model", little.model, "--output", there).stdout.strip()
    assert again == digest

    docker = [needs_tool("docker"), "-H", engine]
    try:
        subprocess.run([*docker, "pull", "-q", f"{there.removeprefix('registry:')}"], check=True, capture_output=True)
        ids = [
            subprocess.run(
                [*docker, "image", "inspect", "-f", "{{.Id}}", image], check=True, capture_output=True, text=True
            ).stdout
            for image in (name, there.removeprefix("registry:"))
        ]
        assert ids[0] == ids[1]
        said = subprocess.run(
            [*docker, "run", "--rm", "-i", "--network", "none", "--read-only", name, "-", "/opt/model/model.joblib"],
            input=little.predicting,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert said.strip() == little.predictions.strip()
    finally:
        for image in (name, there.removeprefix("registry:")):
            subprocess.run([*docker, "rmi", "-f", image], check=False, capture_output=True)
    checked = envparity("verify", f"{there}", "--against", little.lock)
    assert digest in checked.stdout
