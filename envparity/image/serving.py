"""The server of an image that was built with `--serve`: its files, its settings, and what of it the lock must have."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from envparity import resources
from envparity.errors import RefusedError, UsageError
from envparity.image import app
from envparity.image.bytecode import source_of
from envparity.image.model import PLACE as MODELS
from envparity.oci.entries import Entry, content_sha256
from envparity.oci.tree import ImageTree
from envparity.values import NUMERIC_SETTINGS, Lock, LockedModel, Options, Target, Variable

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

PLACE = "opt/serve"
PORT = 8080
ENTRYPOINT = ("/opt/env/bin/python", f"/{PLACE}/start.py")
SETTINGS = f"{PLACE}/serving.json"


class Port(NamedTuple):
    """
    A port that a server opens besides that of HTTP: its name, its number unless the variable `moved_by` says another,
    and the variable that closes it where it is set to nothing, if there is one.
    """

    name: str
    number: int
    moved_by: str
    closed_by: str = ""


class Server(NamedTuple):
    """
    A server that an image can start. `needs` are the distributions, each with others that do as well; the first is the
    one that is added. `ready` and `live` are the paths that say so, with status 200; `tells` is whether it knows what a
    model takes. `others` are the ports that it opens besides that of HTTP.
    """

    needs: tuple[tuple[str, ...], ...]
    ready: str = "/v2/health/ready"
    live: str = "/v2/health/live"
    tells: bool = False
    others: tuple[Port, ...] = ()


# https://docs.seldon.ai/mlserver/reference/settings
_MLSERVER_PORTS = (
    Port("grpc", 8081, "MLSERVER_GRPC_PORT"),
    Port("metrics", 8082, "MLSERVER_METRICS_PORT", "MLSERVER_METRICS_ENDPOINT"),
)

SERVERS = {
    "fastapi": Server((("fastapi",), ("uvicorn",)), tells=True),
    "mlserver": Server((("mlserver",),), others=_MLSERVER_PORTS),
    "mlflow": Server((("mlflow", "mlflow-skinny"),), "/ping", "/ping"),
}

# https://docs.seldon.ai/mlserver/inference-runtimes
_RUNTIMES = {
    "sklearn": ("mlserver-sklearn", "mlserver_sklearn.SKLearnModel"),
    "xgboost": ("mlserver-xgboost", "mlserver_xgboost.XGBoostModel"),
    "lightgbm": ("mlserver-lightgbm", "mlserver_lightgbm.LightGBMModel"),
    "mlflow": ("mlserver-mlflow", "mlserver_mlflow.MLflowRuntime"),
}
"""Of MLServer: the distribution of each, and its class."""

FLOORS = dict.fromkeys(("mlserver", *(name for name, _ in _RUNTIMES.values())), ">=1.7") | {"uvicorn": ">=0.22"}
"""The oldest versions that are added: a resolver would rather take one of years ago than call it a conflict."""

_RUNTIME_OF = {
    **dict.fromkeys((".joblib", ".pkl", ".pickle"), "sklearn"),
    **dict.fromkeys((".ubj", ".json", ".xgb"), "xgboost"),
    **dict.fromkeys((".txt", ".lgb"), "lightgbm"),
}

# "Healthcheck" of https://github.com/moby/docker-image-spec/blob/v1.3.1/spec.md; times are in nanoseconds.
_HEALTH = ("/opt/env/bin/python", f"/{PLACE}/health.py")
_HOW_OFTEN = {
    "Interval": 10_000_000_000,
    "Timeout": 5_000_000_000,
    "StartPeriod": 60_000_000_000,
    "Retries": 3,
}


def health_check(options: Options) -> dict[str, Any]:
    """How an engine asks whether an image is well: as its builder says, else its server; {} where it has neither."""
    words = options.health or (_HEALTH if options.serve else ())
    return {"Test": ["CMD", *words], **_HOW_OFTEN} if words else {}


def needed(server: str, models: Iterable[LockedModel]) -> tuple[tuple[str, ...], ...]:
    """
    The distributions that a server needs for these models, each with what does as well.

    Raises:
        UsageError: it does not serve one of them, or two would be asked by one name.
    """
    if server not in SERVERS:
        return ()
    listed = tuple(models)
    _require_names(listed)
    for model in listed:
        _require_servable(server, model, len(listed))
    runtimes = {(_RUNTIMES[_runtime(model)][0],) for model in listed} if server == "mlserver" else set()
    return (*SERVERS[server].needs, *sorted(runtimes))


def requirements(server: str, models: Iterable[LockedModel], present: Collection[str]) -> tuple[str, ...]:
    """What a server needs, by name: of several that do, the one that is present. Raises as `needed` does."""
    return tuple(next((name for name in names if name in present), names[0]) for names in needed(server, models))


def _require_names(models: Iterable[LockedModel]) -> None:
    """Of two with one name, a server would answer with either."""
    named: dict[str, str] = {}
    for model in models:
        name = served_as(model)
        if name in named:
            raise UsageError(
                f"`{named[name]}` and `{model.name}` would both be asked as `{name}`",
                hint="rename one of the files, and lock it again",
            )
        named[name] = model.name


def _require_servable(server: str, model: LockedModel, count: int) -> None:
    if server == "mlserver" and not _runtime(model):
        raise UsageError(
            f"MLServer has no runtime here for `{model.name}`: {', '.join(sorted(_RUNTIME_OF))}, or a folder of MLflow",
            hint="serve it with `--serve fastapi`",
        )
    if server == "mlflow" and (not model.files or count > 1):
        raise UsageError(
            f"MLflow's server serves the folder of one model that MLflow saved, and `{model.name}` "
            + ("is a file" if not model.files else f"is one of {count}"),
            hint="name that folder, with its `MLmodel`; or serve it with `--serve fastapi`",
        )


def _runtime(model: LockedModel) -> str:
    return "mlflow" if model.files else _RUNTIME_OF.get(PurePosixPath(model.name).suffix.lower(), "")


def check_lock(server: str, lock: Lock, path: str, models: Iterable[LockedModel]) -> None:
    """
    Refuse a lock without the distributions that a server needs for these models.

    Raises:
        RefusedError: with the command that adds them under the pins of the training.
    """
    locked = {item.name for item in lock.distributions}
    locked |= {each.name for target in lock.targets for item in target.conda_packages for each in item.distributions}
    missing = [name for name in requirements(server, models, locked) if name not in locked]
    if missing:
        known = server != "mlserver" or lock.models
        what = f"--serve {server}" if known else " ".join(f"--add {name}" for name in missing)
        raise RefusedError(
            f"the lock `{path}` has no {' and no '.join(missing)}, which `--serve {server}` starts",
            hint=f"`envparity lock {path} {what}` adds what is missing, and moves nothing that trained the model",
        )


def with_server(options: Options, server: str) -> Options:
    """
    Options that start the server, where nothing else was asked for: its entry point and its ports. That of HTTP is the
    one that was named, where it is one. To be called when models and application are known.

    Raises:
        UsageError: there is no model to serve, or not by this server; a variable names a port that is none, or two the
            same one.
    """
    if not server:
        return options
    if not options.models:
        raise UsageError(
            f"`--serve {server}` serves a model, and none is named",
            hint="name it: `--model FILE`; `--serve none` makes an image without a server",
        )
    needed(server, options.models)
    plain = Options()
    env, stated = options.env, _stated_port(options, "SERVE_PORT")
    if len(options.ports) == 1 and not stated:
        env = tuple(sorted([*env, Variable("SERVE_PORT", str(options.ports[0]))]))
    serving = msgspec.structs.replace(options, env=env, serve=server)
    opened = _require_apart(serving)
    http = opened.pop("http")
    return msgspec.structs.replace(
        serving,
        server=app.digest_of((files := list(_files())), {entry.path: content_sha256(entry) for entry in files}),
        entrypoint=ENTRYPOINT if options.entrypoint == plain.entrypoint else options.entrypoint,
        ports=tuple(sorted({*options.ports, http, *opened.values()})),
    )


def ports(options: Options) -> dict[str, int]:
    """
    The ports that the server of these options opens, by the name of each; that of HTTP is the first.

    Raises:
        UsageError: a variable names a port that is none.
    """
    opened = {"http": _stated_port(options, "SERVE_PORT") or PORT}
    empty = {item.name for item in options.env if not item.value}
    for port in SERVERS[options.serve].others:
        if port.closed_by not in empty:
            opened[port.name] = _stated_port(options, port.moved_by) or port.number
    return opened


def _require_apart(options: Options) -> dict[str, int]:
    """`ports`, where no two are the same: such an image would be made, pushed, and end each time that it starts."""
    opened = ports(options)
    for port in SERVERS[options.serve].others:
        number = opened.get(port.name)
        if other := next((name for name, each in opened.items() if each == number and name != port.name), ""):
            raise UsageError(
                f"`--serve {options.serve}` would open port {number} twice, for {other} and for {port.name}",
                hint=f"move one of them: `--port N`, or `--env {port.moved_by}=N`",
            )
    if options.serve == "mlserver" and any(item.name == "MLSERVER_HTTP_PORT" for item in options.env):
        raise UsageError(
            "`--env MLSERVER_HTTP_PORT` moves the server away from where its health check asks",
            hint="say `--port N`, which both take",
        )
    return opened


def is_started(options: Options) -> bool:
    """Whether the image starts its server, by itself or through what `--entrypoint` names."""
    return any(ENTRYPOINT[-1] in word for word in options.entrypoint)


def require_loadable(server: str, folders: Iterable[Path], application: Path | None) -> None:
    """
    Refuse a folder that no server loads by itself, as each start of the image would.

    Raises:
        UsageError: MLflow did not write it, and no application loads it.
    """
    custom = server == "fastapi" and application is not None and (application / "app.py").is_file()
    for folder in folders if not custom else ():
        if not (folder / "MLmodel").is_file():
            own = "give the image an `app.py` with `load(path)` and `predict(model, rows)`: `--app DIR`"
            raise UsageError(
                f"`--serve {server}` loads no folder but one that MLflow wrote, and `{folder}` has no `MLmodel`",
                hint=own if server == "fastapi" else f"with `--serve fastapi`, {own}",
            )


def _stated_port(options: Options, variable: str) -> int:
    """The port that a variable states, which is where the server listens; 0 where nobody set it."""
    said = next((item.value for item in options.env if item.name == variable), None)
    if said is None:
        return 0
    if not re.fullmatch("[1-9][0-9]{0,4}", said) or int(said) > _MOST_PORT:
        otherwise = "; or say `--port N`" if variable == "SERVE_PORT" else ""
        raise UsageError(f"`--env {variable}={said}` names no port", hint=f"1 to {_MOST_PORT}{otherwise}")
    return int(said)


_MOST_PORT = 65_535


def settings(lock: Lock, target: Target, options: Options) -> str:
    """
    What the server reads first: the models by digest, where the application lies, and what it compares itself with when
    it starts. One line of JSON.
    """
    models = [
        {"name": item.name, "sha256": item.sha256, **({"files": item.files} if item.files else {})}
        for item in options.models
    ]
    place = f"/{app.PLACE}" if options.app is not None else None
    chosen = {item.name for item in options.env}
    versions = {each.name: each.version for item in target.conda_packages for each in item.distributions}
    versions |= {item.name: item.version for item in lock.distributions}
    locked = {
        "python": target.interpreter.version,
        "distributions": versions,
        "settings": {item.name: item.value for item in lock.settings if item.name not in chosen},
        "numeric": NUMERIC_SETTINGS,
        "chosen": sorted(chosen),
    }
    said = {"models_folder": f"/{MODELS}", "models": models, "app": place, "locked": locked}
    return json.dumps(said | {"server": options.serve, "ready": SERVERS[options.serve].ready}, sort_keys=True)


def server_entries(said: str) -> list[Entry]:
    """The server's files, its settings as `settings` wrote them, and what follows from these."""
    written = {SETTINGS: f"{said}\n".encode(), **_for_mlserver(json.loads(said))}
    return [*_files(), *(_entry(path, data) for path, data in written.items())]


def _for_mlserver(said: Mapping[str, Any]) -> dict[str, bytes]:
    """The settings of each model, where it is MLServer that serves them."""
    found = {}
    for item in said["models"] if said["server"] == "mlserver" else ():
        model = LockedModel(name=item["name"], size_bytes=0, sha256=item["sha256"], files=item.get("files", 0))
        document = {
            "name": served_as(model),
            "implementation": _RUNTIMES[_runtime(model)][1],
            "parameters": {"uri": f"/{MODELS}/{model.name}"},
        }
        place = f"{PLACE}/mlserver/{served_as(model)}/model-settings.json"
        found[place] = f"{json.dumps(document, indent=2)}\n".encode()
    return found


def served_as(model: LockedModel) -> str:
    """The name by which a model is asked."""
    return model.name if model.files else PurePosixPath(model.name).stem


def is_ours(tree: ImageTree) -> bool:
    """
    Whether an image holds the server's files as this version ships them, their settings, what follows from these, and
    no other. Of byte code only that it has a source: what it holds is looked at where all of it is.
    """
    held = {
        node.path[1:]: node.sha256
        for node in tree.walk()
        if node.path.startswith(f"/{PLACE}/") and node.kind != "folder"
    }
    try:
        said = tree.read(f"/{SETTINGS}", _MOST_SETTINGS).decode()
        wanted = {entry.path: content_sha256(entry) for entry in server_entries(said.removesuffix("\n"))}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, msgspec.ValidationError):
        return False
    compiled = {path for path in held if source_of(path) != path and source_of(path) in wanted}
    return {path: sha256 for path, sha256 in held.items() if path not in compiled} == wanted


_MOST_SETTINGS = 1 << 20


def _files() -> Iterator[Entry]:
    yield from _below(resources.templates().joinpath("serve"), PLACE)


def _below(folder: Traversable, place: str) -> Iterator[Entry]:
    for item in sorted(folder.iterdir(), key=lambda each: each.name):
        if item.is_dir() and item.name != "__pycache__":
            yield from _below(item, f"{place}/{item.name}")
        elif item.name.endswith(".py"):
            yield _entry(f"{place}/{item.name}", item.read_bytes())


def _entry(path: str, data: bytes) -> Entry:
    return Entry(path, "file", 0o644, size_bytes=len(data), content=data)
