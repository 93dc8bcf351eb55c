"""
A manifest for Kubernetes of an image that serves: a Deployment, and a Service before it
(https://kubernetes.io/docs/reference/kubernetes-api/). The image is named by digest, and runs as its user, on a disk
that cannot be written to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

from envparity import resources
from envparity.errors import UsageError
from envparity.image.serving import SERVERS, ports, served_as
from envparity.oci.places import parse_reference
from envparity.values import Options

_MIB = 1 << 20
_LEAST_MIB = 512
_STEP_MIB = 128
_STOP_S = 20
_SERVICE_PORT = 80
_MARGIN_S = 10
"""What ends before the server stops (the hook of the manifest), and a moment more."""


def image_of(outputs: Sequence[str], name: str, digest: str = "") -> tuple[str, str]:
    """
    How a cluster names the image: of a registry with its digest; one that is only in an engine, or loaded from an
    archive, by its tag. And where the cluster shall not ask a registry for it, the policy that says so.

    Raises:
        UsageError: no cluster could find it.
    """
    parsed = [parse_reference(output) for output in outputs]
    for place in parsed:
        if place.scheme == "registry":
            tag = f":{place.tag}" if place.tag else ""
            return f"{place.path}{tag}" + (f"@{digest}" if digest else ""), ""
    for place in parsed:
        if place.scheme == "docker":
            return f"{place.path}:{place.tag or 'latest'}", "IfNotPresent"
    if name:
        return name, "IfNotPresent"
    raise UsageError(
        "a cluster pulls from a registry, and `--kubernetes` has no name for the image",
        hint="`--output registry:HOST/NAME:TAG`; or `-t NAME:TAG`, if you load the image into the cluster yourself",
    )


def by_docker(output: str, options: Options) -> str:
    """What to type to start the image, where it is in an engine; else nothing."""
    place = parse_reference(output)
    if place.scheme != "docker":
        return ""
    port = ports(options)["http"]
    return f"docker run --rm --read-only -p 127.0.0.1:{port}:{port} {place.path}:{place.tag or 'latest'}"


def by_curl(options: Options) -> str:
    """What to type to be told what the first model of an image takes, where its server can tell; else nothing."""
    if not SERVERS[options.serve].tells:
        return ""
    return f"curl http://127.0.0.1:{ports(options)['http']}/v2/models/{quote(served_as(options.models[0]), safe='')}"


def require_asked(server: str, health: Sequence[str]) -> None:
    """
    Refuse an image of which nothing is known that a cluster could ask.

    Raises:
        UsageError: it serves nothing, and has no health check.
    """
    if not server and not health:
        raise UsageError(
            "`--kubernetes` is of an image that a cluster can ask whether it is well",
            hint="add `--serve fastapi`; or `--health CMD`, if you bring the server",
        )


def manifest(options: Options, image: str, pull: str, platforms: Sequence[str]) -> str:
    """
    The text of the manifest.

    Args:
        options: those that the image was built with.
        image, pull: as `image_of` gives them. platforms: what it is for, as `linux/amd64`.
    """
    from jinja2 import Environment, StrictUndefined, select_autoescape

    environment = Environment(
        autoescape=select_autoescape(),  # of HTML; here every text is one of JSON, a name, or of a table of ours
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = resources.templates().joinpath("serve", "kubernetes.yaml.j2").read_text(encoding="utf-8")
    variables = {item.name: item.value for item in options.env}
    user, _, group = options.user.partition(":")
    return environment.from_string(text).render(
        name=_label(image),
        image=image,
        pull=pull,
        architecture=platforms[0].split("/")[1] if len(platforms) == 1 else "",
        ports=_ports(options),
        ready=SERVERS[options.serve].ready if options.serve else "",
        live=SERVERS[options.serve].live if options.serve else "",
        health=list(options.health),
        user=int(user),
        group=int(group or user),
        stop_s=_number(variables.get("SERVE_STOP_SECONDS", ""), _STOP_S) + _MARGIN_S,
        memory_mib=_memory_mib(sum(model.size_bytes for model in options.models)),
    )


def _ports(options: Options) -> list[tuple[str, int, int]]:
    """Of each port its name, the container's number and the Service's, which stays when the container's is moved."""
    if not options.serve:
        return [("http", port, _SERVICE_PORT) for port in options.ports[:1]]
    usual = {"http": _SERVICE_PORT, **{port.name: port.number for port in SERVERS[options.serve].others}}
    return [(name, number, usual[name]) for name, number in ports(options).items()]


def _number(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default


def _memory_mib(model_bytes: int) -> int:
    """A model takes about twice its file once it is loaded; the libraries of most take less than half a gigabyte."""
    wanted = _LEAST_MIB + 2 * model_bytes // _MIB
    return -(-wanted // _STEP_MIB) * _STEP_MIB


def _label(image: str) -> str:
    """The last part of the image's name as that of a Service may be written (RFC 1035)."""
    last = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    text = re.sub(r"[^a-z0-9]+", "-", last.lower()).strip("-")
    return (text if text[:1].isalpha() else f"model-{text}")[:63].strip("-")
