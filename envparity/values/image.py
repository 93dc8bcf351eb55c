"""What goes into an image: the options of a build, and the plan that puts everything into layers."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from msgspec import Struct

from envparity.values.environment import SCHEMA
from envparity.values.lock import LockedModel
from envparity.values.scalars import Sha256, Variable


class Options(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    What a build adds to its lock. It changes the configuration and the layers of model and app, nothing else, and
    stands in a label of the image, so that `verify` can assemble the same image again.

    `health` is the command that an engine asks whether the image is well, by its words; without one it is the server's.
    `ca_bundle` is the digest of the certificate authorities of one's own. `app` is the digest of the application
    folder's content. `user` is `UID:GID`, by number. An empty `workdir` is that of the application, or the root where
    there is none. `serve` names the server that lies in the image, and `server` is the digest of its files. `strip`
    says what is left out of wheels and conda packages.
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
    health: tuple[str, ...] = ()
    serve: str = ""
    server: Sha256 | None = None
    ca_bundle: Sha256 | None = None
    strip: tuple[Literal["tests", "docs", "static", "debug"], ...] = ()


class Step(StrEnum):
    """
    What one layer is made of. `IMAGE` is a layer of a base that is an image, `PACKAGES` what is put on top of these.
    """

    BASE = "base"
    IMAGE = "image"
    PACKAGES = "packages"
    INTERPRETER = "interpreter"
    CONDA = "conda"
    AUTHORITIES = "authorities"
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


class Attachment(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    A document that lies beside an image: its kind (an artifact type), the digest of its manifest, and the digest, size
    and name of its file. `what` is the word that people use for it, where there is one.
    """

    what: str = ""
    kind: str
    digest: str
    file_digest: str
    size_bytes: int
    title: str = ""


class LayerTold(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    One layer of a plan, for a person. Sizes in bytes; `None` where nobody knows. `packed_bytes` is that of the blob
    where this machine made the layer before (`made`), else that of the files that it is made of, which is much the
    same. `holds` are the names of these files.
    """

    step: Step
    title: str
    why: str
    codec: str = "gzip"
    unpacked_bytes: int | None = None
    packed_bytes: int | None = None
    made: bool = False
    holds: tuple[str, ...] = ()


class PlanTold(Struct, frozen=True, kw_only=True):
    """
    A plan with its sizes and reasons. `unserved` are the unpacked bytes of what trained and serves nobody, by kind
    (`image.stripping`), in the wheels and conda packages that are at hand; `unseen` and `conda_unseen` are how many are
    not. `strip` are those of the kinds that are left out. `serve` names the server, and `by_lock` is whether the lock
    was made for that one.
    """

    platform: str
    layers: tuple[LayerTold, ...]
    most_layers: int
    unserved: tuple[tuple[str, int], ...]
    unseen: int
    strip: tuple[str, ...] = ()
    serve: str = ""
    by_lock: bool = False
    conda_unseen: int = 0
