"""What goes into an image: the options of a build, and the plan that puts everything into layers."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from envparity.values.environment import SCHEMA
from envparity.values.lock import LockedModel
from envparity.values.scalars import Sha256, Variable


class Options(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    What a build adds to its lock. It changes the configuration and the layers of model and app, nothing else, and
    stands in a label of the image, so that `verify` can assemble the same image again.

    `app` is the digest of the application folder's content. `user` is `UID:GID`, by number. An empty
    `workdir` is that of the application, or the root where there is none. `serve` names the server that lies in
    the image, and `server` is the digest of its files.
    """

    schema: int = SCHEMA
    entrypoint: tuple[str, ...] = ("/opt/env/bin/python",)
    env: tuple[Variable, ...] = ()
    labels: tuple[Variable, ...] = ()
    user: str = "10001:10001"
    workdir: str = ""
    ports: tuple[int, ...] = ()
    models: tuple[LockedModel, ...] = ()
    app: Sha256 | None = None
    serve: str = ""
    server: Sha256 | None = None


class Step(StrEnum):
    """What one layer is made of."""

    BASE = "base"
    INTERPRETER = "interpreter"
    CONDA = "conda"
    WHEELS = "wheels"
    MODEL = "model"
    APP = "app"
    SERVER = "server"
    PAPERS = "papers"


class PlannedLayer(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    Which bytes go in one layer. `inputs` are the digests of everything that decides its content, in order, so that two
    layers with equal `key` have equal bytes.
    """

    step: Step
    title: str
    inputs: tuple[str, ...]


class Plan(Struct, frozen=True, kw_only=True):
    """The layers of an image, from the lowest to the highest, and the options that its configuration is made with."""

    platform: str
    options: Options
    layers: tuple[PlannedLayer, ...]
