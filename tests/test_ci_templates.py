"""The pipelines that ship: valid by the schema of their service, and their scripts do what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from envparity import codec, resources
from envparity.values import Distribution, Environment, Origin

TEMPLATES = Path(str(resources.templates())) / "ci"
MODEL = Environment(origin=Origin(kind="venv"), distributions=(Distribution(name="numpy", version="1.26.4"),))


def loaded(name: str) -> Any:
    return yaml.safe_load((TEMPLATES / name).read_text("utf-8"))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A model that was trained with numpy 1.26.4, and what is served says numpy 2.1.0."""
    (tmp_path / "model.env.json").write_bytes(codec.dump_environment(MODEL))
    (tmp_path / "requirements.txt").write_text("# what is served\nnumpy==2.1.0\n", "utf-8")
    return tmp_path


def bash(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A script, as a runner starts it: it stops at the first command that fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("action.yml", "vendor.github-actions"),
        ("envparity.gitlab-ci.yml", "vendor.gitlab-ci"),
        ("image.github.yml", "vendor.github-workflows"),
        ("image.gitlab-ci.yml", "vendor.gitlab-ci"),
    ],
)
def test_it_is_valid_by_the_schema_of_its_service_and_a_damaged_one_is_not(
    name: str, schema: str, tmp_path: Path
) -> None:
    damaged = tmp_path / name
    damaged.write_text((TEMPLATES / name).read_text("utf-8").replace("steps:", "stops:").replace("script:", "scrap:"))

    checks = [
        subprocess.run(
            [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, path],
            capture_output=True,
            check=False,
        )
        for path in (TEMPLATES / name, damaged)
    ]

    assert [check.returncode for check in checks] == [0, 1], checks[0].stdout


def test_the_hook_is_a_manifest_that_pre_commit_accepts() -> None:
    manifest = TEMPLATES / "pre-commit-hooks.yaml"

    done = subprocess.run([sys.executable, "-m", "pre_commit", "validate-manifest", manifest], check=False)

    assert done.returncode == 0


def compare_step() -> dict[str, Any]:
    (step,) = (step for step in loaded("action.yml")["runs"]["steps"] if step.get("id") == "compare")
    return dict(step)


def test_the_action_annotates_sums_up_and_fails_after_every_report_is_there(repository: Path) -> None:
    summary = repository / "summary.md"
    inputs = {"BEFORE": "model.env.json", "AFTER": "requirements.txt", "FAIL_ON": "medium"}
    assert compare_step()["env"].keys() == inputs.keys()

    done = bash(compare_step()["run"], repository, GITHUB_STEP_SUMMARY=str(summary), **inputs)

    assert done.returncode == 1, done.stderr
    assert "file=requirements.txt,line=2,title=" in done.stdout
    assert summary.read_text("utf-8").startswith("### ❌ DIFFERENT")
    assert (repository / "envparity.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert msgspec.json.decode((repository / "envparity.sarif").read_bytes())["version"] == "2.1.0"


def test_the_action_keeps_the_exit_status_of_parity_and_of_an_error(repository: Path) -> None:
    script, summary = compare_step()["run"], str(repository / "summary.md")
    same = {"BEFORE": "model.env.json", "AFTER": "model.env.json", "FAIL_ON": "high"}

    assert bash(script, repository, GITHUB_STEP_SUMMARY=summary, **same).returncode == 0
    assert bash(script, repository, GITHUB_STEP_SUMMARY=summary, **(same | {"AFTER": "absent.txt"})).returncode == 2


def test_no_input_of_the_action_is_spliced_into_a_script() -> None:
    """`${{ inputs.after }}` in a script runs whatever a pull request wrote there."""
    scripts = [step.get("run", "") for step in loaded("action.yml")["runs"]["steps"]]

    assert not [script for script in scripts if "${{" in script]


def test_an_input_that_looks_like_a_command_is_a_name(repository: Path) -> None:
    inputs = {"BEFORE": "model.env.json", "AFTER": "$(touch pwned); touch pwned", "FAIL_ON": "high"}

    done = bash(compare_step()["run"], repository, GITHUB_STEP_SUMMARY=str(repository / "summary.md"), **inputs)

    assert done.returncode == 2
    assert not (repository / "pwned").exists()


def test_the_job_of_gitlab_writes_the_reports_that_it_keeps(repository: Path) -> None:
    job = loaded("envparity.gitlab-ci.yml")["envparity"]
    variables = {name: str(value) for name, value in job["variables"].items()} | {"ENVPARITY_FAIL_ON": "medium"}

    done = bash("\n".join(job["script"]), repository, **variables)

    assert done.returncode == 1, done.stderr
    assert "numpy 1.26.4 → 2.1.0" in done.stdout
    kept = [*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]]
    assert [name for name in kept if not (repository / name).exists()] == []


def test_the_hook_runs_in_a_repository_and_fails_on_what_hurts(repository: Path) -> None:
    hooks = loaded("pre-commit-hooks.yaml")
    hooks[0]["args"] += ["--fail-on", "medium"]
    config = {"repos": [{"repo": "local", "hooks": hooks}]}
    (repository / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    home = {"PRE_COMMIT_HOME": str(repository / "cache"), "GIT_CONFIG_GLOBAL": os.devnull}

    done = bash(f"git init -q . && git add . && {sys.executable} -m pre_commit run", repository, **home)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "numpy 1.26.4 → 2.1.0" in done.stdout
    (repository / "requirements.txt").write_text("numpy==1.26.4\n", "utf-8")
    assert bash(f"git add . && {sys.executable} -m pre_commit run", repository, **home).returncode == 0
