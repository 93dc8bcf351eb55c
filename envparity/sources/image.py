"""An image that is only read: its layers as streams, its collectors' facts, and nothing of it ever run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from envparity.collectors import conda, distributions, dpkg, interpreter, surroundings, system, toolkits, variables
from envparity.collectors.native_libraries import native_libraries
from envparity.collectors.surroundings import fonts
from envparity.collectors.tree import gap, why
from envparity.errors import UsageError
from envparity.sources.observed import observed
from envparity.sources.reading import Fact, Options, not_recorded, origin
from envparity.values import MACHINES, Environment

if TYPE_CHECKING:
    from envparity.oci.access import Access
    from envparity.oci.image import Image
    from envparity.oci.tree import ImageTree

MODELS = "/opt/model"
MOST_MODELS = 1000

# What an image without PATH gets from every engine (https://github.com/opencontainers/runtime-spec/blob/main/config.md).
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_KEPT = (
    "/etc/ld.so.cache",
    "*/conda-meta/history",
    "*/conda-meta/pinned",
    "/etc/localtime",
    "/etc/timezone",
    "*/zoneinfo/tzdata.zi",
    "*/libc.so.6",
    "*/ld-musl-*",
    "*/bin/python3*",
    "*/libpython3*.so*",
    "/etc/passwd",
    "*/_sysconfigdata_*.py",
    *toolkits.READ,
)
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
    from envparity.oci.tree import merge

    name = f"docker:{reference}"
    parse_reference(name)
    with access(options) as reach:
        if reach.cache is None:
            image, memory = open_image(name, platform=options.platform, access=reach), None
        else:
            memory = CachedLayers(reach.cache, _rule(options), by_tar=True)
            image = known_image(reference, name, reach, memory)
        tree = merge(image, keep=kept, hashed=_hashed(options), memory=memory)
        return environment(image, tree, name, verify_files=options.verify_files)


def _read(place: str, reference: str, options: Options) -> Environment:
    from envparity.oci.memory import CachedLayers
    from envparity.oci.places import open_image
    from envparity.oci.tree import merge

    with access(options) as reach:
        image = open_image(place, platform=options.platform, access=reach)
        # What lies on this disk is read where it lies: reading it leaves nothing behind.
        is_far = place.startswith("registry:")
        memory = CachedLayers(reach.cache, _rule(options)) if is_far and reach.cache is not None else None
        tree = merge(image, keep=kept, hashed=_hashed(options), memory=memory)
        return environment(image, tree, reference, verify_files=options.verify_files)


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
    with Client(offline=options.offline) as client:
        yield Access(client, kept_in, options.environ, options.timeout_s)


def kept(path: str) -> bool:
    """Whether the content of a file is worth keeping while the layers are read: what the collectors will ask for."""
    return _fitting()(path)


@cache
def _fitting() -> Callable[[str], bool]:
    from envparity.oci.table import WANTED, one_of

    return one_of((*WANTED, *_KEPT))


def _hashed(options: Options) -> Callable[[str], bool]:
    """Which files are hashed: all of them where files are verified, else those that an Environment says digests of."""
    if options.verify_files:
        return lambda path: True
    return lambda path: path.startswith(_HASHED) or path.endswith((".pem", ".crt")) or "python3" in path[-24:]


_HASHED = (MODELS + "/", *surroundings.AUTHORITIES)


def _rule(options: Options) -> str:
    """The name of what `kept` keeps and `_hashed` hashes: with another rule, other files were."""
    from envparity.oci.table import WANTED

    return " ".join((*WANTED, *_KEPT, "all hashed" if options.verify_files else "few hashed"))


def environment(image: Image, tree: ImageTree, reference: str, *, verify_files: bool = False) -> Environment:
    """
    What an image says of itself, in the same forms as a snapshot of a live place, so that the two can be compared.

    `tree` is its merged layers; who has read them already need not read them twice.
    """
    env = image.variables
    facts = [
        *_python(image, tree, env, verify_files),
        {"kind": "system", "machine": machine(image)},
        *system.system(tree, live=False),
        *surroundings.surroundings(tree),
        *surroundings.by_variables(tree, env),
        *dpkg.os_packages(tree),
        variables.settings(env),
        *_models(tree),
        *toolkits.of_image(tree),
        *not_recorded(("cpu", "host"), "an image runs on any machine; it knows neither processor nor kernel"),
        *not_recorded(("numerics", "modules"), "only running code knows it, and nothing of an image is run"),
        *not_recorded(("source_code",), "an image does not say which code trained its model"),
    ]
    return observed(facts, origin("image", f"{reference.partition('@sha256:')[0]}@{image.digest}"))


def machine(image: Image) -> str:
    """The architecture as `uname -m` says it."""
    return MACHINES.get(image.config.architecture, image.config.architecture)


def python_of(argv: Sequence[str]) -> str:
    """The program of a start command, where that is a Python by its absolute path; else empty."""
    program = argv[0] if argv else ""
    return program if re.fullmatch(r"/(?:[^/]+/)*python(?:3(?:\.[0-9]+)?)?", program) else ""


def _python(image: Image, tree: ImageTree, env: Mapping[str, str], verify_files: bool) -> Iterator[Fact]:
    search = env.get("PATH") or DEFAULT_PATH
    user = (image.config.config and image.config.config.user) or ""
    home = env.get("HOME") or interpreter.home_of(tree, user)
    program = python_of(image.starts)
    library_path = env.get("LD_LIBRARY_PATH", "")
    facts = list(interpreter.image_interpreter(tree, search, library_path, program, dict(env), home))
    yield from facts
    if any(fact["kind"] == "python" for fact in facts):
        yield variables.process_switches(env)
    folders = [folder for fact in facts if fact["kind"] == "python" for folder in fact.get("path", ())]
    natives: list[tuple[str, str, str]] = []
    if folders:
        yield from distributions.distributions(tree, folders, verify_files, natives)
        yield from fonts(tree, folders)
    elif (program and tree.kind(program)) or interpreter.python_on_path(tree, search):
        yield gap("distributions", "unread", "where its Python looks for them is not known")
    else:
        yield gap("distributions", "not-recorded", "the image has no Python on its PATH")
    prefixes = [fact[key] for fact in facts for key in ("prefix", "base_prefix") if fact.get(key)]
    yield from _conda(tree, [*prefixes, *filter(None, (env.get("CONDA_PREFIX"), "/opt/conda"))])
    yield from native_libraries(tree, natives, prefixes, env.get("LD_LIBRARY_PATH", ""), look=False)


def _conda(tree: ImageTree, prefixes: list[str]) -> Iterator[Fact]:
    """The packages of the environment that its Python is of, else of where images of conda have theirs."""
    facts = list(conda.conda_packages(tree, prefixes))
    yield from facts
    if any(fact["kind"] == "conda-package" for fact in facts):
        reason = "an image runs on any machine, which its virtual packages stand for"
        yield gap("conda_packages", "not-recorded", reason, "virtual packages")


def _models(tree: ImageTree) -> Iterator[Fact]:
    """What lies in the folder that models go to: a file or a folder each. What they need is read from their bytes."""
    from envparity.collectors import model_folders, models

    yield {"kind": "section", "section": "artifacts"}
    names = tree.entries(MODELS) if tree.kind(MODELS) == "folder" else []
    if len(names) > MOST_MODELS:
        yield gap("artifacts", "unread", f"{len(names)} models; the limit is {MOST_MODELS}", MODELS)
        names = names[:MOST_MODELS]
    for name in names:
        path = f"{MODELS}/{name}"
        try:
            if tree.kind(path) == "folder":
                yield from model_folders.folder(tree, path, name)
            elif tree.kind(path) == "file":
                with tree.open(path) as stream:
                    yield from models.model(stream, name, path)
        except OSError as error:
            yield gap("artifacts", "unread", why(error), path)
