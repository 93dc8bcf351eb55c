"""
An image as a source, wherever it lies. Its layers are read side by side, and hashed while its facts are collected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from envparity.errors import UsageError
from envparity.sources.reading import Options

if TYPE_CHECKING:
    from envparity.oci.access import Access
    from envparity.oci.image import Image
    from envparity.oci.memory import CachedLayers
    from envparity.values import Environment


def read_oci(reference: str, options: Options) -> Environment:
    """
    The Environment of `oci:DIR[:TAG]`.

    Raises:
        UsageError: nothing there, or several images. MalformedError: a hostile or damaged document or layer.
        IntegrityError: a digest does not match. UnsupportedError: an artifact, an image for Windows.
    """
    return _read(f"oci:{options.base_dir / reference}", f"oci:{reference}", options)


def read_docker_archive(reference: str, options: Options) -> Environment:
    """The Environment of `docker-archive:FILE`, with the same errors."""
    return _read(f"docker-archive:{options.base_dir / reference}", f"docker-archive:{reference}", options)


def read_registry(reference: str, options: Options) -> Environment:
    """
    The Environment of `registry:HOST/NAME[:TAG][@DIGEST]`, whose layers are read once in this machine's life.

    Raises:
        UnreachableError, TimeLimitError: the registry does not answer, or wants a login. And what the others raise.
    """
    return _read(f"registry:{reference}", f"registry:{reference}", options)


def read_docker(reference: str, options: Options) -> Environment:
    """
    The Environment of `docker:IMAGE`. The engine is asked to save the image where a layer of it was not read before.

    Raises:
        UsageError: no such image. UnreachableError, TimeLimitError: there is no engine, or it does not answer.
    """
    from envparity.oci.engine import known_image
    from envparity.oci.memory import CachedLayers
    from envparity.oci.places import open_image, parse_reference
    from envparity.sources.image import rule

    name = f"docker:{reference}"
    parse_reference(name)
    with access(options) as reach:
        if reach.cache is None:
            return _environment(open_image(name, platform=options.platform, access=reach), name, options)
        memory = CachedLayers(reach.cache, rule(options.verify_files), by_tar=True)
        return _environment(known_image(reference, name, reach, memory), name, options, memory)


def _read(place: str, reference: str, options: Options) -> Environment:
    from envparity.oci.places import open_image, require_here

    if options.insecure:
        require_here(place)
    with access(options) as reach:
        image = open_image(place, platform=options.platform, access=reach)
        # What lies on this disk is read where it lies: reading it leaves nothing behind.
        if not place.startswith("registry:") or reach.cache is None:
            return _environment(image, reference, options)
        from envparity.sources.known_images import KnownImages

        known = KnownImages(reach.cache, options.verify_files)
        found = known.recall(image, reference)
        if found is None:
            from envparity.oci.memory import CachedLayers
            from envparity.sources.image import rule

            memory = CachedLayers(reach.cache, rule(options.verify_files))
            found = _environment(image, reference, options, memory)
            known.learn(image, found)
        return found


def _environment(image: Image, reference: str, options: Options, memory: CachedLayers | None = None) -> Environment:
    from envparity.oci.tree import merging

    # What collects facts takes a while to import: a plain layer on this disk is being hashed meanwhile.
    def keep(path: str) -> bool:
        return _asked(options.verify_files)[0](path)

    def hashed(path: str) -> bool:
        return _asked(options.verify_files)[1](path)

    with merging(image, keep=keep, hashed=hashed, memory=memory) as tree:
        from envparity.sources.image import environment

        return environment(image, tree, reference, verify_files=options.verify_files)


@cache
def _asked(verify_files: bool) -> tuple[Callable[[str], bool], Callable[[str], bool]]:
    """Which files of an image are kept, and which are hashed."""
    from envparity.sources import image

    return image.fitting(), image.hashed(verify_files)


@contextmanager
def access(options: Options) -> Iterator[Access]:
    """What places beyond this disk need, of what the caller said of its own process. Without variables, no cache."""
    from envparity.cache import Cache
    from envparity.network import Client
    from envparity.oci.access import Access

    folder = options.environ.get("ENVPARITY_CACHE_DIR")
    kept_in = None
    if options.environ:
        try:
            kept_in = Cache(Path(folder) if folder else None)
        except UsageError:
            kept_in = None  # a user without a home: everything is read anew each time
    with Client(offline=options.offline, insecure=options.insecure) as client:
        yield Access(client, kept_in, options.environ, options.timeout_s)
