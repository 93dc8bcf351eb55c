"""The services that the end-to-end tests stand on: they are real, they answer, and they are ours."""

from __future__ import annotations

import subprocess
import urllib.request

from tests.tools import needs_tool


def test_the_engine_is_one_that_holds_no_image_of_somebody_else(engine: str) -> None:
    """A layer that the engine already has is not read again, so a damaged one would pass."""
    listed = subprocess.run(
        [needs_tool("docker"), "-H", engine, "info", "--format", "{{.DockerRootDir}}"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert listed.stdout.strip() != "/var/lib/docker"


def test_the_registry_speaks_the_distribution_api(registry: str) -> None:
    """Without this header, a client takes the place for a web server and says so."""
    with urllib.request.urlopen(f"http://{registry}/v2/", timeout=10) as answer:
        headers = answer.headers

    assert headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_a_program_starts_in_the_namespace(namespace: tuple[str, ...]) -> None:
    """Running an image without an engine begins here."""
    inside = subprocess.run([*namespace, "/", "id", "-u"], capture_output=True, text=True, check=True)

    assert inside.stdout.strip() == "0"
