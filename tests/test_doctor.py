"""The doctor: every failure is a line with what to do, and nothing waits for long or tells a secret."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from envparity.cache import Cache
from envparity.doctor import QUESTIONS, Check, Machine, State, examine
from envparity.errors import UsageError
from tests.commands import envparity


def one(name: str, machine: Machine, patience_s: float = 8.0) -> Check:
    (check,) = examine(machine, questions=[row for row in QUESTIONS if row.name == name], patience_s=patience_s)
    return check


@contextmanager
def answering(status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "state", "said"),
    [
        (200, State.OK, "without a login"),
        (401, State.WARN, "no login for it"),
        (404, State.FAIL, "not as a registry"),
        (503, State.FAIL, "503"),
    ],
)
def test_a_registry_is_what_it_answers(status: int, state: State, said: str, tmp_path: Path) -> None:
    with answering(status) as host:
        check = one("registry", Machine({"DOCKER_CONFIG": str(tmp_path)}, Cache(tmp_path), host))

    assert (check.state, said in check.said) == (state, True), check
    assert state is State.OK or check.hint


def test_a_registry_that_never_answers_costs_no_more_than_the_patience(tmp_path: Path) -> None:
    """A person asks the doctor just when something hangs."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        check = one("registry", Machine({}, Cache(tmp_path), f"127.0.0.1:{silent.getsockname()[1]}"), patience_s=0.3)

    assert (check.state, check.said) == (State.FAIL, "no answer within 0.3 s")


def test_what_is_no_host_is_usage(tmp_path: Path) -> None:
    for wrong in ("https://registry.example.com", "name", "user:password@host.example"):
        with pytest.raises(UsageError, match="not given as a host") as caught:
            examine(Machine({}, Cache(tmp_path), wrong))
        assert "password" not in str(caught.value) + caught.value.hint


def test_a_cache_that_others_can_write_is_a_failure_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)

    check = one("cache", Machine({}, Cache(tmp_path / "cache")))

    assert (check.state, "chmod go-w" in check.hint) == (State.FAIL, True)


def test_an_engine_and_a_resolver_that_are_missing_are_no_failure(tmp_path: Path) -> None:
    """Neither is needed on the main path; a pipeline must not stop for them."""
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock", "PATH": str(tmp_path)}

    assert one("engine", Machine(nowhere, Cache(tmp_path))).state is State.WARN
    assert one("resolver", Machine(nowhere, Cache(tmp_path))).state is not State.FAIL


def test_an_active_environment_without_its_python_is_a_failure(tmp_path: Path) -> None:
    check = one("python", Machine({"VIRTUAL_ENV": str(tmp_path)}, Cache(tmp_path)))

    assert (check.state, "make it again" in check.hint) == (State.FAIL, True)


def test_offline_asks_nobody_and_the_status_is_0_unless_something_fails(tmp_path: Path) -> None:
    quiet = {"ENVPARITY_CACHE_DIR": str(tmp_path / "cache"), "VIRTUAL_ENV": ""}
    told = envparity("doctor", "--offline", **quiet).stdout
    found = json.loads(envparity("doctor", "--offline", "--format", "json", **quiet).stdout)["checks"]

    assert max(len(line) for line in told.splitlines() if str(tmp_path) not in line) <= 80
    assert [check["said"] for check in found if check["name"] in {"index", "archive"}] == ["not asked: --offline"] * 2
    envparity("doctor", "--offline", status=3, **{**quiet, "VIRTUAL_ENV": str(tmp_path)})


def test_no_secret_of_the_configuration_is_told(tmp_path: Path) -> None:
    secrets = {
        "PIP_INDEX_URL": "https://user:canary-1@127.0.0.1:1/simple/",
        "DOCKER_HOST": "tcp://user:canary-2@127.0.0.1:1",
        "ENVPARITY_CACHE_DIR": str(tmp_path / "cache"),
    }

    done = envparity("doctor", "--format", "json", status=None, **secrets)

    assert "canary" not in done.stdout + done.stderr
