"""From a virtual environment to an answer over HTTP: recorded, locked with a server, built, and run by an engine."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import once
from tests.commands import envparity, refused
from tests.e2e.pipeline import Pipeline
from tests.tools import needs_tool

TEXTS = ["cannot log in", "refund please", "my parcel is lost and late", "again charged twice", ""]
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
        envparity("lock", pipeline.snapshot, "--add", "fastapi", "--add", "uvicorn", "-o", lock)
        archive = f"docker-archive:{folder / 'image.tar'}"
        more = ("--serve", "fastapi", "--output", archive, "-t", "served:1")
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
    with urllib.request.urlopen(f"http://{address}", data, timeout=20) as answer:
        return json.load(answer)


def wait_for(address: str) -> Any:
    for _ in range(300):
        try:
            return asked(f"{address}/v2/health/ready")
        except OSError:
            time.sleep(0.2)
    raise AssertionError("it never became ready")


def test_the_container_answers_what_training_predicted_to_the_last_bit(
    pipeline: Pipeline, served: Served, engine: str
) -> None:
    """As nobody, on a disk that cannot be written to; and it ends by itself when it is asked to."""
    wanted = json.loads(pipeline.predictions.strip().splitlines()[-1])[: len(TEXTS)]
    docker(engine, "load", "-i", served.archive)
    container = docker(engine, "run", "-d", *HARDENED, "-p", "127.0.0.1::8080", "served:1")
    try:
        address = docker(engine, "port", container, "8080/tcp").splitlines()[0]
        wait_for(address)
        tensor = {"name": "texts", "shape": [len(TEXTS)], "datatype": "BYTES", "data": TEXTS}
        request = {"inputs": [tensor], "outputs": [{"name": "predict_proba"}]}
        (output,) = asked(f"{address}/v2/models/model/infer", request)["outputs"]
        told = asked(f"{address}/invocations", {"instances": TEXTS, "params": {"method": "predict_proba"}})
        user = docker(engine, "exec", container, "/opt/env/bin/python", "-c", "import os; print(os.getuid())")
        docker(engine, "exec", container, "/opt/env/bin/python", "/opt/serve/health.py")
        docker(engine, "stop", "-t", "30", container)
        status = docker(engine, "inspect", "--format", "{{.State.ExitCode}}", container)
    finally:
        docker(engine, "rm", "-f", container)

    assert output["shape"] == [len(TEXTS), 3]
    assert [float(value).hex() for value in output["data"]] == [text for row in wanted for text in row]
    assert [[float(value).hex() for value in row] for row in told["predictions"]] == wanted
    assert user == "10001"
    assert status == "0"


def test_an_image_that_serves_is_verified_like_any_other(pipeline: Pipeline, served: Served) -> None:
    image = f"docker-archive:{served.archive}"

    assert "VERIFIED" in envparity("verify", image, "--against", served.lock).stdout
    assert "VERIFIED" in envparity("verify", image, "--against", pipeline.snapshot).stdout


def test_a_lock_without_the_server_is_refused_with_the_command_that_adds_it(pipeline: Pipeline) -> None:
    arguments = ("build", pipeline.lock, "--model", pipeline.model, "--serve", "fastapi", "--output", "oci:nowhere")

    told = refused(*arguments, status=1, says="has no fastapi and no uvicorn, which `--serve fastapi` starts")

    assert "--add fastapi --add uvicorn" in told.stderr
