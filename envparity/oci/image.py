"""One image, read or built: its documents as values, and the place that has its blobs."""

from __future__ import annotations

__all__ = [
    "BuiltImage",
    "BuiltIndex",
    "Image",
    "Layer",
    "Place",
    "assemble",
    "at_hand",
    "load_image",
    "read_blob",
    "together",
]

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

from envparity.codec import canonical
from envparity.errors import IntegrityError, MalformedError, UnsupportedError
from envparity.oci.entries import shown
from envparity.oci.spec import (
    CONFIG_LIMIT,
    CONFIG_TYPES,
    MANIFEST_LIMIT,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
    Config,
    Descriptor,
    Manifest,
    digest_of,
    parse_config,
    parse_index,
    parse_manifest,
    parse_platform,
    split_digest,
)

if TYPE_CHECKING:
    from envparity.oci.pack import BuiltLayer, Where

CREATED = "1970-01-01T00:00:01Z"
"""The second of every member's time, and no other: the same lock gives the same image at any time."""


class Place(Protocol):
    """What holds blobs: a layout, an archive, a registry."""

    def open_blob(self, digest: str) -> BinaryIO:
        """The stored bytes, not checked. Raises IntegrityError where the blob is missing or is no regular file."""
        ...


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an image: `number` from 1, of `total`."""

    number: int
    total: int
    descriptor: Descriptor
    diff_id: str


@dataclass(frozen=True, slots=True)
class Image:
    """
    An image that was found in a place. Its manifest and config have been checked against their digests; its layers are
    checked while they are read. `within` is the digest of the index that its reference led to, where one did.
    """

    reference: str
    digest: str
    manifest: Manifest
    config: Config
    manifest_bytes: bytes
    config_bytes: bytes
    place: Place
    within: str = ""

    @property
    def name(self) -> str:
        """How errors name it: the reference and the digest, `oci:dir@sha256:…`."""
        base = self.reference.partition("@sha256:")[0]
        return f"{base}@{self.digest[:19]}"

    @property
    def platform(self) -> str:
        """`linux/amd64`."""
        return "/".join(part for part in (self.config.os, self.config.architecture, self.config.variant) if part)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its config."""
        runtime = self.config.config
        return dict((runtime.labels if runtime else None) or {})

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of a container. Of two with one name the last counts, as in every engine."""
        runtime = self.config.config
        pairs = (line.partition("=") for line in (runtime.env if runtime else None) or ())
        return {name: value for name, equals, value in pairs if name and equals}

    @property
    def starts(self) -> tuple[str, ...]:
        """What a container starts: the entry point, and the command as its arguments."""
        runtime = self.config.config
        return (*(runtime.entrypoint or ()), *(runtime.cmd or ())) if runtime else ()

    def layers(self) -> tuple[Layer, ...]:
        """The layers, the lowest first."""
        pairs = zip(self.manifest.layers, self.config.rootfs.diff_ids, strict=True)
        return tuple(
            Layer(number, len(self.manifest.layers), descriptor, diff_id)
            for number, (descriptor, diff_id) in enumerate(pairs, start=1)
        )

    def open_blob(self, digest: str) -> BinaryIO:
        """The stored bytes of one blob, not checked."""
        return self.place.open_blob(digest)


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image that was made here and lies nowhere yet: its documents, and where the blob of each layer is."""

    config_bytes: bytes
    manifest_bytes: bytes
    layers: tuple[tuple[Descriptor, Where], ...]
    platform: str

    @property
    def digest(self) -> str:
        """The digest of the manifest: the name of the image."""
        return digest_of(self.manifest_bytes)

    @property
    def line(self) -> dict[str, object]:
        """How an index names it."""
        platform = parse_platform(self.platform)
        named = {"architecture": platform.architecture, "os": platform.os}
        if platform.variant:
            named["variant"] = platform.variant
        return {
            "mediaType": OCI_MANIFEST,
            "digest": self.digest,
            "size": len(self.manifest_bytes),
            "platform": named,
        }

    @property
    def config_digest(self) -> str:
        """What Docker calls the image ID."""
        return digest_of(self.config_bytes)


@dataclass(frozen=True, slots=True)
class BuiltIndex:
    """Images of one lock for several platforms, and the index by which an engine finds its own."""

    index_bytes: bytes
    images: tuple[BuiltImage, ...]

    @property
    def digest(self) -> str:
        """The digest of the index: the name of all of them."""
        return digest_of(self.index_bytes)


def together(images: Sequence[BuiltImage]) -> BuiltIndex:
    """
    An index of images (https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md), in their order. It
    says of itself what all of them say. Equal arguments give equal bytes.
    """
    parsed = (parse_manifest(image.manifest_bytes, what="manifest of the new image") for image in images)
    said: list[Mapping[str, str]] = [manifest.annotations or {} for manifest in parsed]
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [image.line for image in images],
    }
    shared = {key: value for key, value in said[0].items() if all(each.get(key) == value for each in said)}
    if shared:
        document["annotations"] = shared
    index_bytes = canonical(document)
    parse_index(index_bytes, what="index of the new images")
    return BuiltIndex(index_bytes, tuple(images))


def assemble(
    layers: Sequence[BuiltLayer],
    config: Mapping[str, object],
    annotations: Mapping[str, str] | None = None,
    platform: str = "linux/amd64",
    *,
    created: str = CREATED,
    beneath: Sequence[Mapping[str, object]] = (),
) -> BuiltImage:
    """
    Make config and manifest for some layers. Equal arguments give equal bytes.

    Args:
        layers: the lowest first.
        config: the runtime part as the specification names it: `Env`, `Entrypoint`, `Cmd`, `User`, `WorkingDir`,
            `Labels`, `ExposedPorts`, `Healthcheck`; what is empty is left out.
        annotations: of the manifest.
        platform: `linux/amd64`.
        beneath: the history of an image whose layers are the lowest, line by line; these have no history of their own.
    """
    target = parse_platform(platform)
    document: dict[str, object] = {
        "architecture": target.architecture,
        "os": target.os,
        "created": created,
        "config": {key: value for key, value in config.items() if value not in (None, "", [], (), {})},
        "rootfs": {"type": "layers", "diff_ids": [layer.packed.diff_id for layer in layers]},
        # "Each array item describes one layer" (config.md): scanners and `docker history` count on it.
        "history": [
            *(dict(line) for line in beneath),
            *({"created": created, "created_by": layer.history} for layer in layers if layer.history),
        ],
    }
    if target.variant:
        document["variant"] = target.variant
    config_bytes = canonical(document)
    parse_config(config_bytes, what="config of the new image")
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": digest_of(config_bytes), "size": len(config_bytes)},
        "layers": [
            {"mediaType": layer.packed.media_type, "digest": layer.packed.digest, "size": layer.packed.size_bytes}
            for layer in layers
        ],
    }
    if annotations:
        manifest["annotations"] = dict(annotations)
    manifest_bytes = canonical(manifest)
    parsed = parse_manifest(manifest_bytes, what="manifest of the new image")
    paths = (layer.path for layer in layers)
    return BuiltImage(config_bytes, manifest_bytes, tuple(zip(parsed.layers, paths, strict=True)), platform)


@dataclass(frozen=True, slots=True)
class _AtHand:
    """The blobs of an image that was made here; whoever made them knows their digests."""

    image: BuiltImage

    far = True

    def open_blob(self, digest: str) -> BinaryIO:
        documents = {digest_of(data): data for data in (self.image.manifest_bytes, self.image.config_bytes)}
        if digest in documents:
            return io.BytesIO(documents[digest])
        for descriptor, where in self.image.layers:
            if descriptor.digest == digest:
                if callable(where):  # to be fetched, which nobody does for a look
                    raise FileNotFoundError(f"the blob {digest} is not on this machine")
                from envparity.oci.pack import opened  # whoever only reads an image needs nothing that packs

                return opened(where)
        raise IntegrityError(f"the new image has no blob {digest}")


def at_hand(built: BuiltImage, reference: str) -> Image:
    """An image that was made here as one that was found, to be read before it lies anywhere."""
    descriptor = Descriptor(media_type=OCI_MANIFEST, digest=built.digest, size_bytes=len(built.manifest_bytes))
    return load_image(_AtHand(built), reference, descriptor)


def read_blob(place: Place, descriptor: Descriptor, *, limit: int, what: str) -> bytes:
    """
    A small blob, whole and checked: its promised size is looked at before a byte is read.

    Raises:
        MalformedError: it claims to be larger than `limit`.
        IntegrityError: it is missing, or is not what the descriptor says.
    """
    split_digest(descriptor.digest)
    if descriptor.size_bytes > limit:
        raise MalformedError(f"{what} claims {descriptor.size_bytes} bytes; the limit is {limit}")
    with place.open_blob(descriptor.digest) as stream:
        data = stream.read(descriptor.size_bytes + 1)
    require_digest(data, descriptor, what)
    return data


def require_digest(data: bytes, descriptor: Descriptor, what: str) -> None:
    """Raise IntegrityError unless these are the bytes that the descriptor promises."""
    import hashlib

    if len(data) != descriptor.size_bytes:
        more = "more" if len(data) > descriptor.size_bytes else str(len(data))
        raise IntegrityError(f"{what} should have {descriptor.size_bytes} bytes and has {more}")
    algorithm, encoded = split_digest(descriptor.digest)
    found = hashlib.new(algorithm, data).hexdigest()
    if found != encoded:
        raise IntegrityError(
            f"{what} is not what its digest says: expected {descriptor.digest}, got {algorithm}:{found}"
        )


def load_image(place: Place, reference: str, descriptor: Descriptor) -> Image:
    """
    Read manifest and config of an image, checked against their digests.

    Raises:
        UnsupportedError: what the manifest describes is no image (a chart, a model, a signature), or one for Windows.
        IntegrityError: a digest or size does not match, or the config names another number of layers.
    """
    what = f"the manifest of `{shown(reference)}`"
    manifest_bytes = read_blob(place, descriptor, limit=MANIFEST_LIMIT, what=what)
    manifest = parse_manifest(manifest_bytes, what=f"manifest {descriptor.digest[:19]}")
    if manifest.media_type not in (None, descriptor.media_type):
        raise MalformedError(
            f"{what} calls itself `{manifest.media_type}`, and is announced as `{descriptor.media_type}`"
        )
    if manifest.config.media_type not in CONFIG_TYPES:
        kind = manifest.artifact_type or manifest.config.media_type
        raise UnsupportedError(f"`{shown(reference)}` is not an image but an artifact of type `{kind}`")
    config_bytes = read_blob(place, manifest.config, limit=CONFIG_LIMIT, what=f"the config of `{shown(reference)}`")
    config = parse_config(config_bytes, what=f"config {manifest.config.digest[:19]}", strict=False)
    if config.os == "windows":
        raise UnsupportedError(f"`{shown(reference)}` is an image for Windows; only Linux images are read")
    if len(config.rootfs.diff_ids) != len(manifest.layers):
        raise IntegrityError(
            f"`{shown(reference)}` has {len(manifest.layers)} layers, "
            f"and its config {len(config.rootfs.diff_ids)} diffIDs"
        )
    return Image(reference, descriptor.digest, manifest, config, manifest_bytes, config_bytes, place)
