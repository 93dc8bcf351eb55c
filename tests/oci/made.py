"""Good images, made with the product's own writers, for tests of everything behind them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from envparity.oci.entries import Entry
from envparity.oci.image import BuiltImage, assemble
from envparity.oci.pack import BuiltLayer, current_packer, pack
from envparity.oci.tar import write_layer


def file(path: str, content: bytes = b"", mode: int = 0o644) -> Entry:
    return Entry(path, "file", mode, content=content)


def layer(path: Path, *entries: Entry, codec: str = "gzip", history: str = "a layer") -> BuiltLayer:
    with path.open("wb") as sink:
        packed = pack(lambda tar: write_layer(tar, entries), current_packer(codec), sink)
    return BuiltLayer(packed, path, history)


def built(
    folder: Path,
    *layers: tuple[Entry, ...] | BuiltLayer,
    codec: str = "gzip",
    config: Mapping[str, object] | None = None,
    platform: str = "linux/amd64",
) -> BuiltImage:
    """An image of layers, each given by what it holds, or packed before."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = [
        each if isinstance(each, BuiltLayer) else layer(folder / f"{number}.blob", *each, codec=codec)
        for number, each in enumerate(layers)
    ]
    return assemble(packed, config or {}, platform=platform)
