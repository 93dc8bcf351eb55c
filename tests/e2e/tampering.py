"""An image that somebody changed and then made right again: every digest, size and diffID is true, and it lies."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from envparity.codec import canonical
from envparity.oci.entries import Entry
from envparity.oci.image import BuiltImage, Image
from envparity.oci.layout import write_layout
from envparity.oci.pack import current_packer, pack
from envparity.oci.places import open_image
from envparity.oci.spec import digest_of, parse_manifest
from envparity.oci.tar import read_layer, write_layer
from envparity.oci.unpack import open_layer

Change = Callable[[list[Entry]], list[Entry]]


def entries_of(image: Image, index: int) -> list[Entry]:
    """Everything in one layer, in memory."""
    layer = image.layers()[index]
    with open_layer(image.place, layer.descriptor, layer.diff_id, name="layer") as stream:
        return [
            Entry(
                raw.entry.path,
                raw.entry.kind,
                raw.entry.mode,
                raw.entry.uid,
                raw.entry.gid,
                raw.entry.size_bytes,
                raw.entry.target,
                raw.reader.read() if raw.entry.kind == "file" else None,
            )
            for raw in read_layer(stream)  # type: ignore[arg-type]
        ]


@functools.cache
def layers_by_path(source: Path) -> dict[str, int]:
    """For each path of an image, the number of the highest layer that has it."""
    image = open_image(f"oci:{source}")
    return {entry.path: index for index in range(len(image.layers())) for entry in entries_of(image, index)}


def layer_with(source: Path, path: str) -> int:
    """The number of the layer that has a path."""
    return layers_by_path(source)[path]


def tampered(
    source: Path,
    target: Path,
    changes: dict[int, Change],
    *,
    more: Sequence[Sequence[Entry]] = (),
    config: Callable[[dict[str, Any]], None] = lambda document: None,
) -> str:
    """Write an image with changed layers, further layers or another configuration; its reference is the answer."""
    image = open_image(f"oci:{source}")
    blobs = target.with_name(f"{target.name}.blobs")
    blobs.mkdir()
    document = json.loads(image.config_bytes)
    descriptors, paths, diff_ids = [], [], []
    for index, layer in enumerate(image.layers()):
        if index not in changes:
            place = blobs / layer.descriptor.digest.replace(":", "-")
            with image.open_blob(layer.descriptor.digest) as stream:
                place.write_bytes(stream.read())
            described = {"digest": layer.descriptor.digest, "size": layer.descriptor.size_bytes}
            diff_id = layer.diff_id
        else:
            place, described, diff_id = _packed(changes[index](entries_of(image, index)), blobs)
        descriptors.append({"mediaType": layer.descriptor.media_type, **described})
        paths.append(place)
        diff_ids.append(diff_id)
    for entries in more:
        place, described, diff_id = _packed(entries, blobs)
        descriptors.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **described})
        paths.append(place)
        diff_ids.append(diff_id)
        document["history"].append({"created_by": "somebody"})
    document["rootfs"]["diff_ids"] = diff_ids
    config(document)
    config_bytes = canonical(document)
    manifest = json.loads(image.manifest_bytes)
    manifest["layers"] = descriptors
    manifest["config"] |= {"digest": digest_of(config_bytes), "size": len(config_bytes)}
    manifest_bytes = canonical(manifest)
    layers = tuple(zip(parse_manifest(manifest_bytes).layers, paths, strict=True))
    write_layout(target, BuiltImage(config_bytes, manifest_bytes, layers, image.platform))
    return f"oci:{target}"


def _packed(entries: Sequence[Entry], blobs: Path) -> tuple[Path, dict[str, Any], str]:
    place = blobs / f"new-{len(list(blobs.iterdir()))}"
    with place.open("wb") as sink:
        made = pack(lambda stream: write_layer(stream, entries), current_packer(), sink)
    return place, {"digest": made.digest, "size": made.size_bytes}, made.diff_id
