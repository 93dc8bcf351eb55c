"""
A lock becomes an image: without a daemon, without root, the same bytes on any machine.

    1  read        the lock, the artifacts beside it, the models, the application
    2  pre-flight  what would fail when it serves is refused before anything is downloaded
    3  supply      every package, wheel and artifact by its sha256, from the cache or its place
    4  assemble    the plan's layers, each packed once; configuration and manifest
    5  write       each destination, whole or not at all
    6  check       what was written on this disk, digest by digest; elsewhere the place has said what it holds
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from envparity import codec, lockfile, platforms
from envparity.collectors import models as model_files
from envparity.errors import MalformedError
from envparity.fetch import Fetcher
from envparity.image import app, configuration, layers, preflight, serving
from envparity.image.contents import Supplies
from envparity.image.plan import plan
from envparity.image.supply import completed, supply, the_target
from envparity.oci import check, places
from envparity.oci.access import Access
from envparity.oci.image import BuiltImage
from envparity.oci.image import assemble as assembled
from envparity.oci.pack import current_packer
from envparity.resolvers import debian
from envparity.values import Artifact, Options, Origin, Plan


@dataclass(frozen=True)
class Request:
    """
    What to build: a lock by its path, what goes in beside it, and where the image goes under which name. `environ` are
    the variables of envparity's own process, which say where logins and the engine are. `platform` is the one that is
    meant of a lock for several; by default that of this machine. `serve` names a server, or nothing.
    """

    lock: Path
    outputs: tuple[str, ...] = ()
    name: str = ""
    models: tuple[Path, ...] = ()
    app: Path | None = None
    options: Options = field(default_factory=Options)
    environ: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    serve: str = ""


@dataclass(frozen=True)
class Built:
    """
    An image, the plan that made it, the size of each layer's blob in bytes, and what its builder should know.

    It lies in its destinations. Layers that no other image shares (model, application, papers) are not kept elsewhere.
    """

    image: BuiltImage
    plan: Plan
    sizes: tuple[int, ...]
    notes: tuple[str, ...]


def assemble(request: Request, *, fetcher: Fetcher) -> Built:
    """
    Build the image of a lock and write it to every destination.

    Raises:
        RefusedError: the model needs what neither lock nor application provides; the base cannot carry a wheel.
        IntegrityError: bytes are not those of the lock; a model is not the one that the snapshot knew.
        UnreachableError: something that the lock names cannot be fetched. UsageError: of the request.
    """
    # 1
    whole, lock_bytes = lockfile.read(request.lock)
    lock = platforms.selected(whole, platforms.meant(whole, request.platform, platforms.here(), str(request.lock)))
    lock_sha256 = hashlib.sha256(lock_bytes).hexdigest()
    target = the_target(lock)
    for output in request.outputs:
        places.check_destination(output, request.name)
    options = completed(request.options, request.models, request.app, lock)
    options = serving.with_server(options, request.serve)
    serving.check_lock(request.serve, lock, str(request.lock))
    # 2
    preflight.check_imports(dict(map(_refers_to, request.models)), lock, target.interpreter.version, request.app)
    preflight.check_platform(lock, target)
    # 3
    supplies = supply(
        lock,
        lock_bytes,
        lockfile.artifacts_folder(request.lock),
        fetcher=fetcher,
        mirrors=debian.package_urls,
        models={path.name: path for path in request.models},
        application=request.app,
    )
    # 4
    decided = plan(lock, target, options, lock_sha256)
    started = layers.look_through(supplies, fetcher.cache)
    packed = []
    access = Access(fetcher.client, fetcher.cache, request.environ)
    with fetcher.cache.workplace() as workplace, ExitStack() as open_places:
        writers = [
            (output, open_places.enter_context(places.writing(output, request.name, access)))
            for output in request.outputs
        ]
        with fetcher.progress.task("layers", len(decided.layers)) as advance:
            for layer in decided.layers:
                made = layers.packed(layer, supplies, lock.packer, fetcher.cache, workplace)
                packed.append(made)
                for _, writer in writers:
                    writer.layer(made.packed.descriptor, made.path)
                advance(1)
        runtime = configuration.runtime(lock, target, options, lock_sha256)
        annotations = configuration.identity(lock, target, lock_sha256)
        image = assembled(packed, runtime, annotations, target.platform)
        # 5 and 6
        for output, writer in writers:
            digest = writer.finish(image)
            if places.is_on_disk(output):
                written = dataclasses.replace(places.parse_reference(output), tag="", digest=digest)
                check.require_valid(places.open_image(str(written)))
    return Built(image, decided, tuple(layer.packed.size_bytes for layer in packed), _notes(supplies, started))


def _refers_to(path: Path) -> tuple[str, Artifact]:
    """What a model file itself says that it needs; one that cannot be read to its end is refused."""
    facts = codec.environment(model_files.model(str(path), path.name), Origin(kind="model"))
    if not facts.complete or not facts.artifacts:
        reasons = "; ".join(gap.reason for gap in facts.gaps)
        raise MalformedError(f"the model `{path}` cannot be read: {reasons}", hint="is it whole, and a model?")
    return path.name, facts.artifacts[0]


def _notes(supplies: Supplies, started: Mapping[str, list[str]]) -> tuple[str, ...]:
    """What a person should know of the image, and no rule forbids."""
    notes = []
    lock = supplies.lock
    here = current_packer(lock.packer.codec)
    if here != lock.packer:
        notes.append(
            f"packed with {here.library_version}, and the lock says {lock.packer.library_version}: the layers hold the"
            " same files (equal diffIDs), and their compressed bytes may differ"
        )
    for title, names in started.items():
        notes.append(f"{title} runs code whenever Python starts: {', '.join(f'`{name}`' for name in names)}")
    dropped = app.left_out(supplies.app) if supplies.app is not None else ""
    if dropped:
        notes.append(f"left out of the application, as every image leaves them out: {dropped}")
    return tuple(notes)
