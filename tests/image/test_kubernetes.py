"""The manifest for Kubernetes: valid by its published schema, and of just that image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import kubernetes_validate
import pytest
import yaml

from envparity.errors import UsageError
from envparity.image import serving
from envparity.image.kubernetes import by_curl, image_of, manifest, require_asked
from envparity.values import LockedModel, Options, Variable

DIGEST = f"sha256:{'a' * 64}"
IMAGE = f"registry.example.com:5000/team/Churn_Model:1.2@{DIGEST}"


def documents(
    image: str = IMAGE,
    pull: str = "",
    platforms: Sequence[str] = ("linux/amd64",),
    server: str = "fastapi",
    size_bytes: int = 1000,
    **more: Any,
) -> tuple[Any, Any]:
    """Deployment and Service of an image with a model of this size, after both were held against their schema."""
    model = LockedModel(name="m", size_bytes=size_bytes, sha256="b" * 64, files=2)
    options = serving.with_server(Options(models=(model,), **more), server)
    found = list(yaml.safe_load_all(manifest(options, image, pull, platforms)))
    for document in found:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    deployment, service = found
    return deployment, service


def test_it_runs_the_image_by_digest_as_its_user_on_a_disk_that_cannot_be_written_to() -> None:
    deployment, service = documents()

    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert deployment["metadata"]["name"] == service["metadata"]["name"] == "churn-model"
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["runAsUser"] == container["securityContext"]["runAsGroup"] == 10001
    assert container["ports"] == [{"name": "http", "containerPort": 8080}]
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": "http"}
    assert container["resources"]["requests"]["memory"] == "512Mi"
    assert pod["nodeSelector"]["kubernetes.io/arch"] == "amd64"
    assert "imagePullPolicy" not in container


def test_what_the_image_was_built_with_stands_in_it() -> None:
    deployment, _ = documents(
        "churn:1",
        "IfNotPresent",
        ("linux/amd64", "linux/arm64"),
        "mlflow",
        size_bytes=300 << 20,
        user="0:0",
        env=(Variable("SERVE_PORT", "9000"), Variable("SERVE_STOP_SECONDS", "60")),
    )

    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("churn:1", "IfNotPresent")
    assert container["ports"][0]["containerPort"] == 9000
    assert container["livenessProbe"]["httpGet"]["path"] == "/ping"
    assert container["securityContext"]["runAsNonRoot"] is False
    assert container["resources"]["limits"]["memory"] == "2304Mi"
    assert pod["terminationGracePeriodSeconds"] == 70
    assert "nodeSelector" not in pod


@pytest.mark.parametrize(
    ("env", "opened"),
    [
        ((), {"http": 8080, "grpc": 8081, "metrics": 8082}),
        ((Variable("MLSERVER_METRICS_ENDPOINT", ""),), {"http": 8080, "grpc": 8081}),
        (
            (Variable("MLSERVER_GRPC_PORT", "9001"), Variable("SERVE_PORT", "9000")),
            {"http": 9000, "grpc": 9001, "metrics": 8082},
        ),
    ],
)
def test_a_cluster_reaches_every_port_that_mlserver_opens_and_no_other(
    env: tuple[Variable, ...], opened: dict[str, int]
) -> None:
    """A client that asks by gRPC is told of no port otherwise, and nobody collects the metrics."""
    model = LockedModel(name="m.joblib", size_bytes=1, sha256="b" * 64)
    options = serving.with_server(Options(models=(model,), env=env), "mlserver")
    deployment, service = documents(server="mlserver", env=env)

    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {each["name"]: each["containerPort"] for each in container["ports"]} == opened
    assert options.ports == tuple(sorted(opened.values()))
    usual = {"http": 80, "grpc": 8081, "metrics": 8082}
    assert [(each["name"], each["port"], each["targetPort"]) for each in service["spec"]["ports"]] == [
        (name, usual[name], name) for name in opened
    ]


@pytest.mark.parametrize(
    ("outputs", "name", "found"),
    [
        (("oci:image", "registry:h:5000/a/b:1"), "x:1", (f"h:5000/a/b:1@{DIGEST}", "")),
        (("docker:a/b",), "x:1", ("a/b:latest", "IfNotPresent")),
        (("docker-archive:image.tar",), "x:1", ("x:1", "IfNotPresent")),
    ],
)
def test_a_cluster_finds_the_image_by_the_name_that_it_has_there(
    outputs: tuple[str, ...], name: str, found: tuple[str, str]
) -> None:
    assert image_of(outputs, name, DIGEST) == found


def test_an_image_without_a_name_or_a_server_is_refused_with_what_to_add() -> None:
    with pytest.raises(UsageError, match="pulls from a registry") as unnamed:
        image_of(("oci:image",), "")
    with pytest.raises(UsageError, match="can ask whether it is well") as silent:
        require_asked("", ())

    assert "--output registry:" in unnamed.value.hint
    assert "`--serve fastapi`" in silent.value.hint
    assert "`--health CMD`" in silent.value.hint


@pytest.mark.parametrize(
    ("image", "name"),
    [("a/UPPER--x_y.z:1", "upper-x-y-z"), ("h:5000/7model:1", "model-7model"), ("x/" + "a" * 80, "a" * 63)],
)
def test_the_service_has_a_name_that_kubernetes_takes(image: str, name: str) -> None:
    assert documents(image)[1]["metadata"]["name"] == name


def test_the_command_that_asks_what_a_model_takes_is_of_a_server_that_knows() -> None:
    model = LockedModel(name="my model.ubj", size_bytes=1, sha256="b" * 64)
    options = serving.with_server(Options(models=(model,), ports=(9000,)), "fastapi")

    assert by_curl(options) == "curl http://127.0.0.1:9000/v2/models/my%20model"
    assert by_curl(serving.with_server(Options(models=(model,)), "mlserver")) == ""


def test_a_health_check_of_ones_own_is_what_a_cluster_asks_and_a_service_takes_a_port() -> None:
    command = ("/opt/env/bin/python", "-c", "print('{{ not: filled in }}', $HOME)")

    def of(**more: Any) -> list[Any]:
        found = list(yaml.safe_load_all(manifest(Options(health=command, **more), IMAGE, "", ["linux/amd64"])))
        for document in found:
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
        return found

    deployment, service = of(ports=(9000,))
    (alone,) = of()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]

    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["exec"] == {"command": list(command)}
        assert container[probe]["timeoutSeconds"] == 5
    assert container["ports"] == [{"name": "http", "containerPort": 9000}]
    assert service["spec"]["ports"][0]["targetPort"] == "http"
    assert "ports" not in alone["spec"]["template"]["spec"]["containers"][0]


def test_a_health_check_of_ones_own_outranks_that_of_the_server() -> None:
    deployment, _ = documents(health=("/opt/app/well",))

    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["exec"] == {"command": ["/opt/app/well"]}
    assert container["ports"] == [{"name": "http", "containerPort": 8080}]
