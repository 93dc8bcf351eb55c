"""An image that somebody changed and then made right again: every digest, size and diffID is true, and it lies."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from envparity.codec import canonical
from envparity.oci.entries import Entry
from envparity.oci.image import BuiltImage, Image
from envparity.oci.layout import Layout, write_layout
from envparity.oci.pack import current_packer, pack
from envparity.oci.places import open_image
from envparity.oci.spec import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, blob_path, digest_of, parse_manifest
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
    found = {}
    for index, layer in enumerate(image.layers()):
        with open_layer(image.place, layer.descriptor, layer.diff_id, name="layer") as stream:
            found.update({raw.entry.path: index for raw in read_layer(stream)})  # type: ignore[arg-type]
    return found


def layer_with(source: Path, path: str) -> int:
    """The number of the layer that has a path."""
    return layers_by_path(source)[path]


def tampered(
    source: Path | str,
    target: Path,
    changes: dict[int, Change],
    *,
    more: Sequence[Sequence[Entry]] = (),
    config: Callable[[dict[str, Any]], None] = lambda document: None,
) -> str:
    """Write an image with changed layers, further layers or another configuration; its reference is the answer."""
    image = open_image(source if isinstance(source, str) else f"oci:{source}")
    blobs = target.with_name(f"{target.name}.blobs")
    blobs.mkdir()
    document = json.loads(image.config_bytes)
    descriptors, paths, diff_ids = [], [], []
    for index, layer in enumerate(image.layers()):
        if index not in changes:
            place = _as_it_is(image, layer.descriptor.digest, blobs)
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
    if isinstance(source, str):  # of an engine: it calls the same things by other names
        manifest["mediaType"] = OCI_MANIFEST
        manifest["config"]["mediaType"] = OCI_CONFIG
        for descriptor in descriptors[: len(image.layers())]:
            descriptor["mediaType"] = OCI_LAYER
    manifest["config"] |= {"digest": digest_of(config_bytes), "size": len(config_bytes)}
    manifest_bytes = canonical(manifest)
    layers = tuple(zip(parse_manifest(manifest_bytes).layers, paths, strict=True))
    for descriptor, path in layers:  # the writer finds them there, and copies none
        link(path, target / blob_path(descriptor.digest))
    write_layout(target, BuiltImage(config_bytes, manifest_bytes, layers, image.platform))
    return f"oci:{target}"


def _as_it_is(image: Image, digest: str, blobs: Path) -> Path:
    if isinstance(image.place, Layout):
        return image.place.folder / blob_path(digest)
    place = blobs / digest.replace(":", "-")
    with image.open_blob(digest) as stream, place.open("wb") as sink:
        shutil.copyfileobj(stream, sink)
    return place


def link(source: Path, target: Path) -> None:
    """One more name for a file, which nobody may write into by either of them."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        os.link(source, target)


def copy_of(layout: Path, target: Path) -> None:
    """A layout to which more may be added: its blobs are the same files, and what names them is its own."""
    for path in layout.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(layout)
            place.parent.mkdir(parents=True, exist_ok=True)
            if path.parent.parent.name == "blobs":
                os.link(path, place)
            else:
                shutil.copy(path, place)


def _packed(entries: Sequence[Entry], blobs: Path) -> tuple[Path, dict[str, Any], str]:
    place = blobs / f"new-{len(list(blobs.iterdir()))}"
    with place.open("wb") as sink:
        made = pack(lambda stream: write_layer(stream, entries), current_packer(), sink)
    return place, {"digest": made.digest, "size": made.size_bytes}, made.diff_id
