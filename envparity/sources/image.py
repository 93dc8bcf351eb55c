"""An image that is only read: its layers as streams, its collectors' facts, and nothing of it ever run."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from envparity import codec
from envparity.collectors import distributions, dpkg, interpreter, models, system, toolkits, variables
from envparity.collectors.tree import gap, why
from envparity.sources.gpu_libraries import with_gpu_libraries
from envparity.sources.reading import Fact, Options, not_recorded, origin
from envparity.sources.tooling import marked
from envparity.values import MACHINES, Environment

if TYPE_CHECKING:
    from envparity.oci.image import Image
    from envparity.oci.tree import ImageTree

MODELS = "/opt/model"
MOST_MODELS = 1000

# What an image without PATH gets from every engine (https://github.com/opencontainers/runtime-spec/blob/main/config.md).
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_KEPT = ("/etc/ld.so.cache", "*/libc.so.6", "*/ld-musl-*", "*/bin/python3*", "*/libpython3*.so*", *toolkits.READ)
"""Small files beyond the usual ones that the collectors look into; each would cost another pass over its layer."""


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


def _read(place: str, reference: str, options: Options) -> Environment:
    from envparity.oci.places import open_image
    from envparity.oci.tree import merge

    image = open_image(place)
    return environment(image, merge(image, keep=kept), reference, verify_files=options.verify_files)


def kept(path: str) -> bool:
    """Whether the content of a file is worth keeping while the layers are read: what the collectors will ask for."""
    from envparity.oci.tree import wanted

    return wanted(path) or any(fnmatch.fnmatchcase(path, pattern) for pattern in _KEPT)


def environment(image: Image, tree: ImageTree, reference: str, *, verify_files: bool = False) -> Environment:
    """
    What an image says of itself, in the same forms as a snapshot of a live place, so that the two can be compared.

    `tree` is its merged layers; who has read them already need not read them twice.
    """
    env = variables_of(image)
    facts = [
        *_python(tree, env, verify_files),
        {"kind": "system", "machine": machine(image)},
        *system.system(tree, live=False),
        *dpkg.os_packages(tree),
        variables.settings(env),
        *_models(tree),
        *toolkits.of_image(tree),
        *not_recorded(("cpu", "host"), "an image runs on any machine; it knows neither processor nor kernel"),
    ]
    return with_gpu_libraries(marked(codec.environment(facts, origin("image", f"{reference}@{image.digest}"))))


def variables_of(image: Image) -> dict[str, str]:
    """The environment variables of an image's config. The last of two with one name counts, as in every engine."""
    runtime = image.config.config
    pairs = (line.partition("=") for line in (runtime.env if runtime else None) or ())
    return {name: value for name, equals, value in pairs if name and equals}


def machine(image: Image) -> str:
    """The architecture as `uname -m` says it."""
    return MACHINES.get(image.config.architecture, image.config.architecture)


def _python(tree: ImageTree, env: Mapping[str, str], verify_files: bool) -> Iterator[Fact]:
    search = env.get("PATH") or DEFAULT_PATH
    facts = list(interpreter.image_interpreter(tree, search, env.get("LD_LIBRARY_PATH", "")))
    yield from facts
    folders = [folder for fact in facts if fact["kind"] == "python" for folder in fact.get("path", ())]
    if folders:
        yield from distributions.distributions(tree, folders, verify_files)
    elif interpreter.python_on_path(tree, search):
        yield gap("distributions", "unread", "where its Python looks for them is not known")
    else:
        yield gap("distributions", "not-recorded", "the image has no Python on its PATH")


def _models(tree: ImageTree) -> Iterator[Fact]:
    """The files below the folder that models go to. What they need is read from their bytes."""
    yield {"kind": "section", "section": "artifacts"}
    paths = [node.path for node in tree.walk() if node.kind == "file" and node.path.startswith(MODELS + "/")]
    if len(paths) > MOST_MODELS:
        yield gap("artifacts", "unread", f"{len(paths)} files; the limit is {MOST_MODELS}", MODELS)
        paths = paths[:MOST_MODELS]
    for path in paths:
        name = path.removeprefix(MODELS + "/")
        try:
            with tree.open(path) as stream:
                yield from models.model(stream, name, path)
        except OSError as error:
            yield gap("artifacts", "unread", why(error), path)
