"""From a virtual environment to an answer over HTTP: recorded, locked with a server, built, and run by an engine."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import once
from tests.commands import envparity, refused
from tests.e2e.pipeline import Pipeline
from tests.tools import needs_tool, own_name

HARDENED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]


@dataclass(frozen=True)
class Served:
    """A lock with the server in it, and the image."""

    lock: Path
    archive: Path


@pytest.fixture(scope="session")
def served(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Served:
    def make(folder: Path) -> None:
        lock = folder / "pylock.toml"
        envparity("lock", pipeline.snapshot, "--serve", "fastapi", "-o", lock)
        archive = f"docker-archive:{folder / 'image.tar'}"
        more = ("--output", archive, "-t", "served:1", "--kubernetes", folder / "model.yaml")
        envparity("build", lock, "--model", pipeline.model, *more)

    folder = once.made_once(once.of_the_run(tmp_path_factory) / "served", make)
    return Served(folder / "pylock.toml", folder / "image.tar")


def docker(engine: str, *arguments: str | Path) -> str:
    command = [needs_tool("docker"), "-H", engine, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def asked(address: str, document: object = None) -> Any:
    data = None if document is None else json.dumps(document).encode()
    try:
        with urllib.request.urlopen(f"http://{address}", data, timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        error.add_note(error.read().decode("utf-8", "replace")[:500])
        raise


def wait_for(address: str) -> Any:
    for _ in range(600):
        try:
            return asked(f"{address}/v2/health/ready")
        except OSError:
            time.sleep(0.2)
    raise AssertionError("it never became ready")


MODELS = ("sklearn.joblib", "texts.joblib", "xgboost.ubj", "lightgbm.txt", "onnx.onnx")


def test_the_container_answers_what_training_predicted_to_the_last_bit(
    trained: Path, engine: str, tmp_path: Path
) -> None:
    """
    One image with a model of each library, as nobody, on a disk that cannot be written to; and it ends by itself when
    it is asked to.
    """
    said = json.loads((trained / "said.json").read_text())
    models = [part for name in MODELS for part in ("--model", trained / name)]
    lock, archive, name = tmp_path / "pylock.toml", tmp_path / "image.tar", f"{own_name('models')}:1"
    source = ("lock", f"venv:{trained / 'venv'}", "--dev-exclude", "skl2onnx", "--bytecode", "none")
    envparity(*source, *models, "--serve", "fastapi", "-o", lock)
    place = ("--output", f"docker-archive:{archive}", "-t", name)
    envparity("build", lock, *models, "--serve", "fastapi", *place)
    docker(engine, "load", "-i", archive)
    container = docker(engine, "run", "-d", *HARDENED, "-p", "127.0.0.1::8080", name)
    try:
        address = docker(engine, "port", container, "8080/tcp").splitlines()[0]
        wait_for(address)
        told = {
            "sklearn": of_model(address, "sklearn", said["rows"], output="predict_proba"),
            "texts": of_model(address, "texts", said["words"], "BYTES", "predict_proba"),
            "xgboost": of_model(address, "xgboost", said["rows"]),
            "lightgbm": of_model(address, "lightgbm", said["rows"]),
            "onnx": of_model(address, "onnx", said["rows"], "FP32"),
        }
        user = docker(engine, "exec", container, "/opt/env/bin/python", "-c", "import os; print(os.getuid())")
        docker(engine, "exec", container, "/opt/env/bin/python", "/opt/serve/health.py")
        docker(engine, "stop", "-t", "30", container)
        status = docker(engine, "inspect", "--format", "{{.State.ExitCode}}", container)
    finally:
        docker(engine, "rm", "-f", container)
        docker(engine, "image", "rm", "-f", name)

    assert told == {name: flat(said[name]) for name in told}
    assert user == "10001"
    assert status == "0"


def of_model(address: str, name: str, rows: list[Any], datatype: str = "FP64", output: str = "predict") -> list[str]:
    """What a model answers over HTTP, as `flat` writes it."""
    shape = [len(rows), *([len(rows[0])] if isinstance(rows[0], list) else [])]
    tensor = {"name": "X", "shape": shape, "datatype": datatype, "data": rows}
    answer = asked(f"{address}/v2/models/{name}/infer", {"inputs": [tensor], "outputs": [{"name": output}]})
    return flat(answer["outputs"][-1]["data"])


def flat(values: list[Any]) -> list[str]:
    """All bits of each number, of a table row by row."""
    return [float(each).hex() for value in values for each in (value if isinstance(value, list) else [value])]


def test_an_image_that_serves_is_verified_like_any_other(pipeline: Pipeline, served: Served) -> None:
    image = f"docker-archive:{served.archive}"

    assert "VERIFIED" in envparity("verify", image, "--against", served.lock).stdout
    assert "VERIFIED" in envparity("verify", image, "--against", pipeline.snapshot).stdout


def test_the_manifest_names_the_image_as_it_is_called(served: Served) -> None:
    deployment, _ = yaml.safe_load_all(served.lock.with_name("model.yaml").read_text())

    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("served:1", "IfNotPresent")


def test_a_living_environment_is_locked_as_its_snapshot_is(pipeline: Pipeline, served: Served, tmp_path: Path) -> None:
    """One command less between a model and its image."""
    source = f"venv:{pipeline.python.parent.parent}"

    arguments = ("lock", source, "--model", pipeline.model, "--serve", "fastapi", "-o", "pylock.toml")
    envparity(*arguments, cwd=tmp_path)

    assert (tmp_path / "pylock.toml").read_text() == served.lock.read_text()


def test_a_lock_without_the_server_is_refused_with_the_command_that_adds_it(pipeline: Pipeline) -> None:
    arguments = ("build", pipeline.lock, "--model", pipeline.model, "--serve", "fastapi", "--output", "oci:nowhere")

    told = refused(*arguments, status=1, says="has no fastapi and no uvicorn, which `--serve fastapi` starts")

    assert "--serve fastapi` adds what is missing" in told.stderr
