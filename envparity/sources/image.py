"""The facts of an image, from its merged layers; nothing of it is ever run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from envparity.collectors import conda, distributions, dpkg, interpreter, surroundings, system, toolkits, variables
from envparity.collectors.native_libraries import native_libraries
from envparity.collectors.surroundings import fonts
from envparity.collectors.tree import gap, why
from envparity.sources.observed import observed
from envparity.sources.reading import Fact, image_origin, not_recorded
from envparity.values import MACHINES, Environment

if TYPE_CHECKING:
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
    "*/condarc",
    "*/.condarc",
    "/etc/localtime",
    "/etc/timezone",
    "*/zoneinfo/tzdata.zi",
    "*/libc.so.6",
    "*/ld-musl-*",
    "*/bin/python3*",
    "*/libpython3*.so*",
    "/etc/passwd",
    "/etc/group",
    "*/_sysconfigdata_*.py",
    *toolkits.READ,
)
"""Small files beyond the usual ones that the collectors look into; each would cost another pass over its layer."""


def kept(path: str) -> bool:
    """Whether the content of a file is worth keeping while the layers are read: what the collectors will ask for."""
    return fitting()(path)


@cache
def fitting() -> Callable[[str], bool]:
    """The same as a function for many paths."""
    from envparity.oci.table import WANTED, one_of

    return one_of((*WANTED, *_KEPT))


def hashed(verify_files: bool) -> Callable[[str], bool]:
    """Which files are hashed: all of them where files are verified, else those that an Environment says digests of."""
    if verify_files:
        return lambda path: True
    return lambda path: path.startswith(_HASHED) or path.endswith((".pem", ".crt")) or "python3" in path[-24:]


_HASHED = (MODELS + "/", *surroundings.AUTHORITIES)


def rule(verify_files: bool) -> str:
    """The name of what `kept` keeps and `_hashed` hashes: with another rule, other files were."""
    from envparity.oci.table import WANTED

    return " ".join((*WANTED, *_KEPT, "all hashed" if verify_files else "few hashed"))


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
    return observed(facts, image_origin(image.digest, reference))


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
    libraries = list(native_libraries(tree, natives, prefixes, env.get("LD_LIBRARY_PATH", ""), look=False))
    yield from libraries
    if any(fact["kind"] == "native-library" and not fact.get("version") for fact in libraries):
        reason = "where no name says it, a library's version stands in its own bytes; of an image they are not read"
        yield gap("native_libraries", "not-recorded", reason, "version")


def _conda(tree: ImageTree, prefixes: list[str]) -> Iterator[Fact]:
    """The packages of the environment that its Python is of, else of where images of conda have theirs."""
    facts = list(conda.conda_packages(tree, prefixes))
    yield from facts
    if any(fact["kind"] == "conda-package" for fact in facts):
        reason = "an image runs on any machine, which its virtual packages stand for"
        yield gap("conda_packages", "not-recorded", reason, "virtual packages")


def _models(tree: ImageTree) -> Iterator[Fact]:
    """What lies in the folder that models go to: a file or a folder each. What they need is read from their bytes."""
    yield {"kind": "section", "section": "artifacts"}
    names = tree.entries(MODELS) if tree.kind(MODELS) == "folder" else []
    if not names:
        return
    from envparity.collectors import model_folders, models

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
