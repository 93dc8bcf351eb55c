"""The pipelines from training to a verified image: what a runner would start, started here."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from envparity import resources
from tests.e2e.pipeline import Pipeline
from tests.tools import own_name

TEMPLATES = Path(str(resources.templates())) / "ci"


def loaded(name: str) -> Any:
    return yaml.safe_load((TEMPLATES / name).read_text("utf-8"))


def of_gitlab() -> list[str]:
    found: list[str] = loaded("image.gitlab-ci.yml")["envparity-image"]["script"]
    return found


def test_both_services_run_the_same_commands() -> None:
    steps = loaded("image.github.yml")["jobs"]["image"]["steps"]
    scripts = [line for step in steps[-3:-1] for line in step["run"].splitlines() if not line.startswith("export")]

    assert scripts == of_gitlab()


def test_no_expression_of_the_workflow_is_spliced_into_a_script() -> None:
    steps = loaded("image.github.yml")["jobs"]["image"]["steps"]

    assert not [step["run"] for step in steps if "${{" in step.get("run", "")]


def test_the_job_ends_with_a_verified_image_in_the_registry(little: Pipeline, registry: str, tmp_path: Path) -> None:
    """The job's Python is the one that trained; envparity lies elsewhere, and the login where the job puts it."""
    job = loaded("image.gitlab-ci.yml")["envparity-image"]
    variables = {
        "TRAIN": f"cp {little.model} model.joblib",
        "MODEL": job["variables"]["MODEL"],
        "IMAGE": f"{registry}/{own_name('ci/model')}:1",
        "CI_REGISTRY": "registry.example.org",
        "CI_REGISTRY_USER": "job",
        "CI_REGISTRY_PASSWORD": "hunter2:$%",
    }
    (tmp_path / ".envparity").mkdir()
    path = os.pathsep.join([str(little.python.parent), os.environ["PATH"], str(Path(sys.executable).parent)])
    script = "\n".join([*job["before_script"][2:], *job["script"]])

    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run(
        [bash, "-eo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={**os.environ, **variables, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "VERIFIED" in done.stdout
    assert all((tmp_path / name).exists() for name in job["artifacts"]["paths"])
    login = json.loads((tmp_path / ".envparity" / "config.json").read_text())["auths"]["registry.example.org"]["auth"]
    assert base64.b64decode(login) == b"job:hunter2:$%"
    assert "hunter2" not in done.stdout + done.stderr
