"""The layers of a base that is an image: each is brought here only where a place that is written to lacks it."""

from __future__ import annotations

__all__ = ["files", "members", "nodes", "places", "whole"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from envparity.errors import UnreachableError, UnsupportedError
from envparity.image.supply import artifact_in
from envparity.oci.access import Access
from envparity.oci.entries import Entry, Kind, shown
from envparity.oci.image import Image
from envparity.oci.places import parse_reference
from envparity.oci.registry import Registry, RegistryName, parse_name
from envparity.oci.spec import OCI_CONFIG, Config, Descriptor, Manifest, RootFs
from envparity.oci.table import Node, read_table
from envparity.oci.tar import END, Sink, write_member
from envparity.oci.tree import merging
from envparity.oci.unpack import open_layer
from envparity.oci.upload import remember
from envparity.values import BaseLayer, Lock, LockedImage, PlannedLayer, Target

_ANSWERS = frozenset({200, 301, 302, 303, 307, 308, 404, 405})


def _repository(base: str) -> RegistryName:
    """Where a base lies, of a reference as a lock holds it."""
    parsed = parse_reference(base)
    return parse_name(f"{parsed.path}:{parsed.tag}" if parsed.tag else parsed.path, parsed.digest)


def places(lock: Lock, target: Target, artifacts: Path, access: Access) -> Mapping[str, Callable[[], Path]]:
    """
    For the digest of each layer, what brings it here: from the cache, the registry, or the folder of artifacts.

    Where the base lies in a registry, its repository is remembered as one that has them: an image that goes to the
    same registry has them mounted from there.
    """
    if target.image is None:
        return {}
    if lock.bundled or not target.lies_in_registry:
        return {layer.digest: partial(_beside, artifacts, layer) for layer in target.image.layers}
    name = _repository(target.base)
    for layer in target.image.layers:
        if access.cache is not None:
            remember(access.cache, name, layer.digest)
    return {layer.digest: partial(_fetched, target, name, layer, access) for layer in target.image.layers}


def members(layer: PlannedLayer, where: Callable[[], Path]) -> tuple[Node, ...]:
    """
    What a planned layer of a base holds, in its own order; it is brought here for that.

    Raises:
        UnreachableError: it cannot be had any more. IntegrityError: what is there is another one.
    """
    diff_id, digest, size, media_type = layer.inputs
    described = Descriptor(media_type=media_type, digest=digest, size_bytes=int(size))
    with open_layer(_File(where()), described, diff_id, name=layer.title) as stream:
        return read_table(stream, 0, name=layer.title)[0].nodes


def files(image: LockedImage, where: Mapping[str, Callable[[], Path]], keep: Callable[[str], bool]) -> list[Entry]:
    """
    The files and links of a base as its layers give them together, of those paths (absolute) that are to be kept; all
    layers are brought here for that.

    Raises:
        As `members`.
    """
    found = []
    whole = _together(image, where)
    with merging(whole, keep=keep, keep_limit_bytes=1 << 30, hashed=lambda path: False) as tree:
        for node in tree.walk():
            if node.kind == "link":
                found.append(Entry(node.path[1:], "link", 0o777, target=node.target))
            elif node.kind == "file" and keep(node.path):
                found.append(Entry(node.path[1:], "file", node.mode, content=tree.read(node.path, node.size_bytes)))
    return found


def nodes(image: LockedImage, where: Mapping[str, Callable[[], Path]]) -> list[Node]:
    """
    All that a base holds, as its layers give it together, each file with its digest.

    Raises:
        As `members`.
    """
    with merging(_together(image, where), keep=lambda path: False) as tree:
        return list(tree.walk())


def whole(image: LockedImage, where: Mapping[str, Callable[[], Path]], sink: Sink) -> None:
    """
    A base as one tar, as its layers give it together: with owners, times and attributes, and without what a layer took
    away. Each layer is streamed, and what was written is good once this returns.

    Raises:
        UnsupportedError: it holds a device, which no tar of ours does; and as `members`.
    """
    with merging(_together(image, where), keep=lambda path: False) as tree:
        nodes = [node for node in tree.walk() if node.path != "/"]
        other = next((node.path for node in nodes if node.kind == "other"), None)
        if other is not None:
            raise UnsupportedError(
                f"the base holds `{shown(other)}`, a device, FIFO or socket, which no Dockerfile can make",
                hint="push the base to a registry and lock again with `--base registry:HOST/NAME:TAG`",
            )
        first: dict[tuple[int, int], Node] = {}
        for node in nodes:
            if node.kind == "file":
                first.setdefault((node.layer, node.member), node)
            else:
                _write(sink, node, node.kind, node.target)
        named = {node.path: node for node in first.values()}
        for path, stream in tree.contents(named):
            _write(sink, named[path], "file", content=stream)
        for node in nodes:
            same = first.get((node.layer, node.member), node)
            if node.kind == "file" and same is not node:
                _write(sink, node, "hardlink", same.path[1:])
        sink.write(END)


def _write(sink: Sink, node: Node, kind: Kind, target: str = "", content: BinaryIO | None = None) -> None:
    size = node.size_bytes if content is not None else 0
    opened = (lambda: content) if content is not None else None
    entry = Entry(node.path[1:], kind, node.mode, node.uid, node.gid, size, target, opened)
    write_member(sink, entry, mtime=node.mtime, xattrs=node.xattrs)


def _together(image: LockedImage, where: Mapping[str, Callable[[], Path]]) -> Image:
    """The layers of a base as an image that has nothing else."""
    layers = tuple(
        Descriptor(media_type=it.media_type, digest=it.digest, size_bytes=it.size_bytes) for it in image.layers
    )
    nothing = Descriptor(media_type=OCI_CONFIG, digest=image.digest, size_bytes=0)
    diff_ids = tuple(layer.diff_id for layer in image.layers)
    config = Config(architecture="", os="linux", rootfs=RootFs(type="layers", diff_ids=diff_ids))
    manifest = Manifest(schema_version=2, config=nothing, layers=layers)
    return Image("the base", image.digest, manifest, config, b"", b"", _Files(where))


@dataclass(frozen=True)
class _Files:
    """A place whose blobs are brought here one by one."""

    where: Mapping[str, Callable[[], Path]]

    def open_blob(self, digest: str) -> BinaryIO:
        return self.where[digest]().open("rb")


@dataclass(frozen=True)
class _File:
    """A place that holds one blob alone."""

    path: Path

    def open_blob(self, digest: str) -> BinaryIO:
        return self.path.open("rb")


def _beside(artifacts: Path, layer: BaseLayer) -> Path:
    return artifact_in(artifacts, layer.artifact)


def _fetched(target: Target, name: RegistryName, layer: BaseLayer, access: Access) -> Path:
    cache, sha256 = access.cache, layer.digest.removeprefix("sha256:")
    assert cache is not None  # of a build; only a source is read without one
    kept = cache.checked_blob(sha256)
    if kept is not None:
        return kept
    registry = Registry(name, access)
    if registry.send("HEAD", f"blobs/{layer.digest}", good=_ANSWERS).status == 404:
        raise UnreachableError(
            f"the base `{target.base}` is not in its registry any more: the layer {layer.digest[:19]} is gone",
            hint=f'push it there again, or lock anew (it is named in [tool.envparity.target."{target.platform}"])',
        )
    with registry.open_blob(layer.digest) as stream:
        return cache.adopt(
            iter(partial(stream.read, 1 << 20), b""),
            sha256=sha256,
            size_bytes=layer.size_bytes,
            what=f"the layer {layer.digest[:19]} of the base",
        )
