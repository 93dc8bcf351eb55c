"""
The documents of an OCI image as frozen values: descriptor, manifest, index, config, layout.

They are parsed once, at the door, and strictly (https://github.com/opencontainers/image-spec, v1.1.1): media types,
digests, sizes and types of every field that envparity uses. A key that stands twice is an error, since readers differ
about which one wins; and so is one that differs from another, or from a known one, in case only, since engines written
in Go take it for the same (https://pkg.go.dev/encoding/json#Unmarshal). Docker's own media types (schema 2) are read as
well. Unknown fields are ignored, as the specification asks.
"""

from __future__ import annotations

__all__ = [
    "CONFIG_LIMIT",
    "EMPTY_TYPE",
    "INDEX_TYPES",
    "MANIFEST_LIMIT",
    "MANIFEST_TYPES",
    "NOTHING",
    "OCI_CONFIG",
    "OCI_INDEX",
    "OCI_LAYER",
    "OCI_MANIFEST",
    "REF_NAME",
    "Config",
    "Descriptor",
    "History",
    "Index",
    "Layout",
    "Manifest",
    "Platform",
    "RootFs",
    "Runtime",
    "Table",
    "blob_path",
    "digest_of",
    "parse_config",
    "parse_descriptor",
    "parse_index",
    "parse_layout",
    "parse_manifest",
    "parse_platform",
    "split_digest",
]

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct, field

from envparity.codec import load_json
from envparity.errors import IntegrityError, MalformedError, UsageError
from envparity.oci.entries import shown

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
CONFIG_TYPES = (OCI_CONFIG, DOCKER_CONFIG)

REF_NAME = "org.opencontainers.image.ref.name"

MANIFEST_LIMIT = 4 << 20
"""The distribution specification's limit for manifests (4 MiB), for indexes as well."""

CONFIG_LIMIT = 16 << 20
LAYER_COUNT_LIMIT = 4096
HISTORY_LIMIT = 65536
INDEX_COUNT_LIMIT = 65536

# RFC 6838, 4.2, as the specification's own schema writes it.
_MEDIA_TYPE = r"^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$"
# https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests
_DIGEST = r"^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$"
_REGISTERED = {
    "sha256": re.compile("[0-9a-f]{64}"),
    "sha512": re.compile("[0-9a-f]{128}"),
    "blake3": re.compile("[0-9a-f]{64}"),
}

MediaType = Annotated[str, Meta(pattern=_MEDIA_TYPE)]
AnyDigest = Annotated[str, Meta(pattern=_DIGEST, max_length=1024)]
BlobSize = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Table(Mapping[str, str]):
    """A frozen, hashable mapping of text to text: annotations, labels."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self._pairs = dict(pairs)

    def __getitem__(self, key: str) -> str:
        return self._pairs[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __hash__(self) -> int:
        return hash(frozenset(self._pairs.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and self._pairs == dict(other)

    def __repr__(self) -> str:
        return f"Table({self._pairs!r})"


class Names(tuple[str, ...]):
    """The keys of a JSON object whose values mean nothing (`Volumes`, `ExposedPorts`)."""

    __slots__ = ()


NOTHING = Table({})


class Platform(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a manifest of an index runs on."""

    architecture: str
    os: str
    variant: str = ""
    os_version: str = field(default="", name="os.version")

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Descriptor(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Where a blob is and what it must be: media type, digest, size in bytes."""

    media_type: MediaType = field(name="mediaType")
    digest: AnyDigest
    size_bytes: BlobSize = field(name="size")
    urls: tuple[str, ...] | None = None
    annotations: Table | None = None
    data: str | None = None
    platform: Platform | None = None
    artifact_type: MediaType | None = field(default=None, name="artifactType")


class Manifest(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One image for one platform: its config and its layers, the lowest first."""

    schema_version: Literal[2] = field(name="schemaVersion")
    media_type: MediaType | None = field(default=None, name="mediaType")
    artifact_type: MediaType | None = field(default=None, name="artifactType")
    config: Descriptor
    layers: Annotated[tuple[Descriptor, ...], Meta(min_length=1, max_length=LAYER_COUNT_LIMIT)]
    subject: Descriptor | None = None
    annotations: Table | None = None


class Index(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A list of manifests, or of further indexes."""

    schema_version: Literal[2] = field(name="schemaVersion")
    media_type: MediaType | None = field(default=None, name="mediaType")
    artifact_type: MediaType | None = field(default=None, name="artifactType")
    manifests: Annotated[tuple[Descriptor, ...], Meta(max_length=INDEX_COUNT_LIMIT)]
    subject: Descriptor | None = None
    annotations: Table | None = None


class RootFs(Struct, frozen=True, kw_only=True):
    """The digests of the uncompressed layers, the lowest first."""

    type: Literal["layers"]
    diff_ids: Annotated[tuple[AnyDigest, ...], Meta(max_length=LAYER_COUNT_LIMIT)]


class History(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How one layer came to be, or (`empty_layer`) a step that made none."""

    created: str | None = None
    author: str | None = None
    created_by: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


class Runtime(Struct, frozen=True, omit_defaults=True, kw_only=True, rename="pascal"):
    """What a container of this image starts with. Recorded as data; never given to a process of this host."""

    user: str | None = None
    env: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    working_dir: str | None = None
    labels: Table | None = None
    exposed_ports: Names | None = None
    volumes: Names | None = None
    stop_signal: str | None = None


class Config(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The image's configuration: platform, runtime settings, layer digests, history."""

    architecture: str
    os: str
    variant: str | None = None
    created: str | None = None
    author: str | None = None
    config: Runtime | None = None
    rootfs: RootFs
    history: Annotated[tuple[History, ...], Meta(max_length=HISTORY_LIMIT)] | None = None


class Layout(Struct, frozen=True, kw_only=True):
    """The marker file `oci-layout`."""

    image_layout_version: Literal["1.0.0"] = field(name="imageLayoutVersion")


# Fields that engines know and that are not read here (image-spec, config.md; the `image` and `container` types of
# https://github.com/moby/moby): a variant of their case would reach an engine all the same.
_OF_ENGINES: dict[type[Struct], tuple[str, ...]] = {
    Platform: ("os.features",),
    Config: ("os.version", "os.features", "id", "parent", "comment", "container", "container_config", "docker_version"),
    Runtime: (
        "ArgsEscaped",
        "AttachStderr",
        "AttachStdin",
        "AttachStdout",
        "CpuShares",
        "Domainname",
        "Healthcheck",
        "Hostname",
        "Image",
        "MacAddress",
        "Memory",
        "MemorySwap",
        "NetworkDisabled",
        "OnBuild",
        "OpenStdin",
        "Shell",
        "StdinOnce",
        "StopTimeout",
        "Tty",
    ),
}


def digest_of(data: bytes) -> str:
    """`sha256:…` of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def split_digest(digest: str) -> tuple[str, str]:
    """
    Algorithm and hexadecimal digits, of an algorithm that can be computed here.

    Raises:
        MalformedError: not a digest, or of another algorithm. So nothing else becomes part of a path (CVE-2024-3727).
    """
    algorithm, _, encoded = digest.partition(":")
    if algorithm not in {"sha256", "sha512"} or not _REGISTERED[algorithm].fullmatch(encoded):
        raise MalformedError(
            f"`{shown(digest)}` is not a digest that can be checked", hint="only sha256 and sha512 digests are read"
        )
    return algorithm, encoded


def blob_path(digest: str) -> str:
    """Where a layout keeps a blob: `blobs/sha256/<hex>`."""
    algorithm, encoded = split_digest(digest)
    return f"blobs/{algorithm}/{encoded}"


def parse_platform(text: str) -> Platform:
    """`linux/amd64` or `linux/arm64/v8`. Raises UsageError for anything else."""
    parts = text.split("/")
    if len(parts) not in {2, 3} or not all(re.fullmatch(r"[A-Za-z0-9_.-]+", part) for part in parts):
        raise UsageError(f"`{shown(text)}` is not a platform", hint="write it as `linux/amd64`")
    return Platform(os=parts[0], architecture=parts[1], variant=parts[2] if len(parts) == 3 else "")


def parse_manifest(data: bytes, *, what: str = "manifest") -> Manifest:
    """
    Raises:
        MalformedError: not a manifest, or one that another reader could take for an index (CVE-2021-41190).
    """
    document = load_json(data, f"the {what}", limit=MANIFEST_LIMIT)
    _one_kind(document, what, ("manifests", "fsLayers", "signatures"))
    manifest = _convert(document, Manifest, what)
    if manifest.media_type is not None and manifest.media_type not in MANIFEST_TYPES:
        raise MalformedError(
            f"the {what} is not valid: `{manifest.media_type}` is not the media type of a manifest", where="mediaType"
        )
    for where, descriptor in (("config", manifest.config), ("subject", manifest.subject)):
        if descriptor is not None:
            _descriptor_rules(descriptor, what, where)
    for number, descriptor in enumerate(manifest.layers):
        _descriptor_rules(descriptor, what, f"layers[{number}]")
    return manifest


def parse_index(data: bytes, *, what: str = "index") -> Index:
    """
    Raises:
        MalformedError: not an index, or one that another reader could take for a manifest.
    """
    document = load_json(data, f"the {what}", limit=MANIFEST_LIMIT)
    _one_kind(document, what, ("layers", "config", "fsLayers", "signatures"))
    index = _convert(document, Index, what)
    if index.media_type is not None and index.media_type not in INDEX_TYPES:
        raise MalformedError(
            f"the {what} is not valid: `{index.media_type}` is not the media type of an index", where="mediaType"
        )
    if index.subject is not None:
        _descriptor_rules(index.subject, what, "subject")
    for number, descriptor in enumerate(index.manifests):
        _descriptor_rules(descriptor, what, f"manifests[{number}]")
    return index


def parse_config(data: bytes, *, what: str = "config", strict: bool = True) -> Config:
    """
    Read the configuration of an image.

    Raises:
        MalformedError: not a config, or one that an engine could read otherwise.

    Args:
        strict: as the specification's own tests ask. Without it, what engines let pass is read too: an `Env` line
            without `=`, an `Entrypoint` or `Cmd` that is one string.
    """
    document = load_json(data, f"the {what}", limit=CONFIG_LIMIT)
    if not strict:
        _forgive(document)
    config = _convert(document, Config, what)
    for number, diff_id in enumerate(config.rootfs.diff_ids):
        _digest_rules(diff_id, what, f"rootfs.diff_ids[{number}]")
    if strict and config.config is not None:
        for number, line in enumerate(config.config.env or ()):
            if "=" not in line:
                raise MalformedError(f"the {what} is not valid: expected NAME=VALUE", where=f"config.Env[{number}]")
    return config


def parse_layout(data: bytes, *, what: str = "oci-layout") -> Layout:
    """The marker of a layout. Raises MalformedError for another version."""
    return _convert(load_json(data, f"the {what}", limit=MANIFEST_LIMIT), Layout, what)


def parse_descriptor(data: bytes, *, what: str = "descriptor") -> Descriptor:
    """One descriptor by itself."""
    descriptor = _convert(load_json(data, f"the {what}", limit=MANIFEST_LIMIT), Descriptor, what)
    _descriptor_rules(descriptor, what, "")
    return descriptor


_Document = TypeVar("_Document", Manifest, Index, Config, Layout, Descriptor)


def _convert(document: Any, kind: type[_Document], what: str) -> _Document:
    _one_reading(document, kind, what, "")
    try:
        return msgspec.convert(document, kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        raise MalformedError(
            f"the {what} is not valid: {shown(message[:1].lower() + message[1:])}", where=where.strip("`").lstrip(".")
        ) from error


def _decode(kind: type, value: Any) -> Any:
    if kind is Table:
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise ValueError("expected an object of strings")
        return Table(value)
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    return Names(value)


def _one_kind(document: Any, what: str, foreign: tuple[str, ...]) -> None:
    """Refuse a document with the fields of another kind ("manifest with manifests"), which could be read as both."""
    others = {name.casefold(): name for name in foreign}
    for key in document if isinstance(document, dict) else ():
        if key.casefold() in others:
            raise MalformedError(
                f"the {what} is ambiguous: it has the field `{shown(key)}` of another kind of document"
            )


def _one_reading(document: Any, kind: type[Struct], what: str, where: str) -> None:
    """
    Refuse a key that differs from a known or from another one in case only, here and in every part of the document.

    Go reads "preferring an exact match but also accepting a case-insensitive match", and the last one wins.
    """
    if not isinstance(document, dict):
        return
    known, parts = _fields(kind)
    seen: dict[str, str] = {}
    for key, value in document.items():
        folded = key.casefold()
        other: str = known.get(folded) or seen.setdefault(folded, key)
        if other != key:
            raise MalformedError(
                f"the {what} is ambiguous: `{shown(key)}` differs from `{shown(other)}` in case only", where=where
            )
        if key in parts:
            inner = f"{where}.{key}" if where else key
            _one_reading(value, parts[key], what, inner)
            for number, item in enumerate(value if isinstance(value, list) else ()):
                _one_reading(item, parts[key], what, f"{inner}[{number}]")


@cache
def _fields(kind: type[Struct]) -> tuple[dict[str, str], dict[str, type[Struct]]]:
    """The names of a document's fields by their folded form, and the kinds of those that are documents themselves."""
    fields = msgspec.structs.fields(kind)
    names = [field.encode_name for field in fields] + list(_OF_ENGINES.get(kind, ()))
    parts = {field.encode_name: part for field in fields if (part := _part(field.type)) is not None}
    return {name.casefold(): name for name in names}, parts


def _part(annotation: Any) -> type[Struct] | None:
    """The struct within an annotation such as `tuple[Descriptor, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return annotation
    return next((part for inner in get_args(annotation) if (part := _part(inner)) is not None), None)


def _forgive(document: Any) -> None:
    runtime = document.get("config") if isinstance(document, dict) else None
    if not isinstance(runtime, dict):
        return
    for key in ("Entrypoint", "Cmd"):
        if isinstance(runtime.get(key), str):
            runtime[key] = [runtime[key]]


def _digest_rules(digest: str, what: str, where: str) -> None:
    algorithm, _, encoded = digest.partition(":")
    form = _REGISTERED.get(algorithm)
    if form is not None and not form.fullmatch(encoded):
        raise MalformedError(f"the {what} is not valid: `{shown(digest)}` is not a {algorithm} digest", where=where)


def _descriptor_rules(descriptor: Descriptor, what: str, where: str) -> None:
    prefix = f"{where}." if where else ""
    _digest_rules(descriptor.digest, what, f"{prefix}digest")
    for number, url in enumerate(descriptor.urls or ()):
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if not parts.scheme or not re.fullmatch(r"[!-~]+", url):
            raise MalformedError(
                f"the {what} is not valid: `{shown(url)}` is not a URI", where=f"{prefix}urls[{number}]"
            )
    if descriptor.data is None:
        return
    try:
        data = base64.b64decode(descriptor.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError(f"the {what} is not valid: not base64: {error}", where=f"{prefix}data") from error
    # "this data MUST match the digest and size" (descriptor.md, `data`).
    if descriptor.digest.startswith("sha256:") and (
        len(data) != descriptor.size_bytes or digest_of(data) != descriptor.digest
    ):
        raise IntegrityError(f"the {what} carries data that is not {descriptor.digest}", where=f"{prefix}data")
