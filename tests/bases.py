"""Images of other makers that one stands on: of the archive's real packages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from envparity.cache import Cache
from envparity.fetch import Fetcher, Wanted
from envparity.image.base import base_entries
from envparity.network import Client
from envparity.oci.entries import Entry
from envparity.oci.image import BuiltImage
from envparity.resolvers import archives, debian
from tests.oci.made import built, file

CONFIG = {
    "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "OMP_NUM_THREADS=7", "TEAM=bases"],
    "Labels": {"maintainer": "bases"},
    "Cmd": ["/bin/sh"],
    "User": "root",
}
MARK = file("srv/of-the-base", b"here\n")


def debian_entries(
    release: str = "debian:bookworm", *, with_python: str | None = None, without: Iterable[str] = ()
) -> tuple[Entry, ...]:
    """What a Debian base holds, by its packages; `without` names those that it lacks."""
    with Client() as client:
        fetcher = Fetcher(client, Cache())
        found = debian.resolve_base(release, fetcher=fetcher, with_python=with_python, exclude=without).os_packages
        wanted = [Wanted(item.name, archives.package_urls(item), item.sha256, item.size_bytes) for item in found]
        paths = fetcher.blobs(wanted)
    return tuple(base_entries(found, {item.sha256: path for item, path in zip(found, paths, strict=True)}))


def debian_image(
    folder: Path,
    *layers: tuple[Entry, ...],
    release: str = "debian:bookworm",
    with_python: str | None = None,
    without: Iterable[str] = (),
    config: Mapping[str, object] = CONFIG,
) -> BuiltImage:
    """An image of Debian's packages, with a second layer where no others are given."""
    entries = debian_entries(release, with_python=with_python, without=without)
    return built(folder, entries, *(layers or ((MARK,),)), config=config)
