"""The server of an image that was built with `--serve`: its files, its settings, and what of it the lock must have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from envparity import resources
from envparity.errors import RefusedError, UsageError
from envparity.image import app
from envparity.oci.entries import Entry, content_sha256
from envparity.oci.tree import ImageTree
from envparity.values import Lock, Options

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

PLACE = "opt/serve"
PORT = 8080
ENTRYPOINT = ("/opt/env/bin/python", f"/{PLACE}/start.py")
SETTINGS = f"{PLACE}/serving.json"

NEEDED = {"fastapi": ("fastapi", "uvicorn")}
"""The servers, and the distributions that each needs."""

# "Healthcheck" of https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md; times are in nanoseconds.
HEALTH_CHECK = {
    "Test": ["CMD", "/opt/env/bin/python", f"/{PLACE}/health.py"],
    "Interval": 10_000_000_000,
    "Timeout": 5_000_000_000,
    "StartPeriod": 60_000_000_000,
    "Retries": 3,
}


def check_lock(server: str, lock: Lock, path: str) -> None:
    """
    Refuse a lock without the server's distributions.

    Raises:
        RefusedError: with the command that adds them under the pins of the training.
    """
    locked = {item.name for item in lock.distributions}
    locked |= {each.name for target in lock.targets for item in target.conda_packages for each in item.distributions}
    missing = [name for name in NEEDED.get(server, ()) if name not in locked]
    if missing:
        raise RefusedError(
            f"the lock `{path}` has no {' and no '.join(missing)}, which `--serve {server}` starts",
            hint="lock them too: `envparity lock SNAPSHOT "
            + " ".join(f"--add {name}" for name in NEEDED[server])
            + f" -o {path}`",
        )


def with_server(options: Options, server: str) -> Options:
    """
    Options that start the server, where nothing else was asked for: its entry point and its port. To be called when
    models and application are known.

    Raises:
        UsageError: there is no model to serve.
    """
    if not server:
        return options
    if not options.models:
        raise UsageError(f"`--serve {server}` serves a model, and none is named", hint="name it: `--model FILE`")
    plain = Options()
    return msgspec.structs.replace(
        options,
        serve=server,
        server=app.digest_of((files := list(_files())), {entry.path: content_sha256(entry) for entry in files}),
        entrypoint=ENTRYPOINT if options.entrypoint == plain.entrypoint else options.entrypoint,
        ports=options.ports or (PORT,),
    )


def settings(options: Options) -> str:
    """What the server reads first: the models by digest, and where the application lies. One line of JSON."""
    models = [{"name": item.name, "sha256": item.sha256} for item in options.models]
    place = f"/{app.PLACE}" if options.app is not None else None
    return json.dumps({"models_folder": "/opt/model", "models": models, "app": place}, sort_keys=True)


def server_entries(said: str) -> list[Entry]:
    """The server's files, and its settings as `settings` wrote them."""
    data = f"{said}\n".encode()
    return [*_files(), Entry(SETTINGS, "file", 0o644, size_bytes=len(data), content=data)]


def is_ours(tree: ImageTree) -> bool:
    """Whether an image holds the server's files as this version ships them, their settings, and no other."""
    held = {node.path[1:]: node.sha256 for node in tree.walk() if node.path.startswith(f"/{PLACE}/")}
    wanted = {entry.path: content_sha256(entry) for entry in _files()}
    folders = {path.rpartition("/")[0] for path in wanted}
    return {path: sha256 for path, sha256 in held.items() if path not in {*folders, SETTINGS}} == wanted


def _files() -> Iterator[Entry]:
    yield from _below(resources.templates().joinpath("serve"), PLACE)


def _below(folder: Traversable, place: str) -> Iterator[Entry]:
    for item in sorted(folder.iterdir(), key=lambda each: each.name):
        if item.is_dir() and item.name != "__pycache__":
            yield from _below(item, f"{place}/{item.name}")
        elif item.name.endswith(".py"):
            data = item.read_bytes()
            yield Entry(f"{place}/{item.name}", "file", 0o644, size_bytes=len(data), content=data)
