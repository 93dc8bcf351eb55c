"""
What an image is made of, prepared for whoever writes it: `build`, and `dockerfile`.

    1  read        the lock, the artifacts beside it, the models, the application
    2  pre-flight  what would fail when it serves is refused before anything is downloaded
    3  supply      every package, wheel and artifact by its sha256, from the cache or its place
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from envparity import codec, lockfile, platforms
from envparity.attached import beside
from envparity.attached.beside import Wanted
from envparity.errors import MalformedError, UnsupportedError
from envparity.fetch import Fetcher
from envparity.files import read_bytes
from envparity.image import model
from envparity.image.supply import artifact_in, check_models, compiler, completed, supply, the_target
from envparity.oci import places
from envparity.oci.access import Access
from envparity.oci.pack import current_packer
from envparity.values import Artifact, Environment, Lock, Options, Origin, Plan, PlannedLayer, Step, Target

# What decides and makes is imported where it is used: who asks for what was made before waits for none of it.
if TYPE_CHECKING:
    from envparity.image.contents import Supplies


@dataclass(frozen=True)
class Request:
    """
    What to build: a lock by its path, what goes in beside it, and where the image goes under which name. `environ` are
    the variables of envparity's own process, which say where logins and the engine are. `platform` is the one that is
    meant of a lock for several; by default that of this machine. `serve` names a server, or nothing. `codec` is what
    layers are packed with, by default what the lock says. `beside` says
    what goes beside the image; `written_at` is the time that stands in that, and in its annotations.
    Without `look` what was made is not read again. `ca_bundle` is a file of certificate authorities of one's own.
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
    codec: str = ""
    beside: Wanted = field(default_factory=Wanted)
    written_at: datetime | None = None
    host: Environment | None = None
    look: bool = True
    ca_bundle: Path | None = None

    @property
    def model_places(self) -> dict[str, Path]:
        """Where each model lies, by its name."""
        return {path.name: path for path in self.models}


@dataclass(frozen=True)
class Prepared:
    """
    Everything that an image is made of, at hand, and the plan of it: what comes after steps 1 to 3, for whoever
    writes it.
    """

    lock: Lock
    lock_sha256: str
    target: Target
    options: Options
    supplies: Supplies
    plan: Plan
    notes: tuple[str, ...] = ()


def prepared(request: Request, *, fetcher: Fetcher) -> Prepared:
    """
    Read, check and fetch what the image of a lock is made of (steps 1 to 3); nothing is written but the cache.

    Raises:
        RefusedError: the model needs what neither lock nor application provides; the base cannot carry a wheel.
        IntegrityError: bytes are not those of the lock; a model is not the one that the snapshot knew.
        UnreachableError: something that the lock names cannot be fetched. UsageError: of the request.
    """
    ready = decided(request, options_of(request))
    return dataclasses.replace(ready, supplies=supplied(request, ready, fetcher=fetcher))


def server_of(path: Path, stated: str | None) -> str:
    """
    The server that images of a lock start: the one that was stated, where `none` is none, else the lock's.

    Raises:
        UsageError: there is no such lock. UnsupportedError: it names a server that is not known here.
    """
    if stated is not None:
        return "" if stated == "none" else stated
    # Most locks name none, and what was built before is answered without reading them.
    if b"\nserve = " not in read_bytes(path, limit=64 << 20, what="lock"):
        return ""
    from envparity.image import serving

    server = lockfile.read(path)[0].serve
    if server and server not in serving.SERVERS:
        raise UnsupportedError(
            f"the lock `{path}` says that its images serve by `{server}`, which this version does not know",
            hint="update envparity; or name another with `--serve`: none, " + ", ".join(serving.SERVERS),
        )
    return server


def options_of(request: Request) -> Options:
    """
    Of step 1 what is read first: the options with the digests of what lies on this machine. A large model has the one
    that the lock says: it is read while it is packed, or by `require_recorded`.
    """
    for output in request.outputs:
        places.check_destination(output, request.name)
    beside.check(request.outputs, request.beside)
    large = any(map(model.is_large, request.models))
    recorded = {item.name: item for item in lockfile.read(request.lock)[0].models} if large else {}
    options = completed(request.options, request.models, request.app, recorded)
    if own := _authorities(request):
        from envparity.image import authorities

        options = msgspec.structs.replace(options, ca_bundle=authorities.digest(own))
    if request.serve:
        from envparity.image import serving

        options = serving.with_server(options, request.serve)
        serving.require_loadable(request.serve, filter(Path.is_dir, request.models), request.app)
    return options


def _authorities(request: Request) -> bytes:
    if request.ca_bundle is None:
        return b""
    from envparity.image import authorities

    return authorities.read(request.ca_bundle)


def require_recorded(request: Request, layers: Iterable[PlannedLayer]) -> None:
    """
    Read the large models of layers that are not made, since a place has them.

    Raises:
        IntegrityError: one is not what the lock's snapshot knew.
    """
    names = {held.name for layer in layers if layer.step is Step.MODEL for held in model.held(layer)}
    large = [path for path in request.models if path.name in names and model.is_large(path)]
    if large:
        check_models([model.read(path) for path in large], lockfile.read(request.lock)[0])


def decided(request: Request, options: Options) -> Prepared:
    """Steps 1 and 2: what is read and decided before anything is at hand; raises as `prepared` does."""
    from envparity.image import authorities, layers, preflight, stripping
    from envparity.image.contents import Supplies
    from envparity.image.plan import plan

    # 1
    lock, lock_bytes, target = read(request, options)
    lock_sha256 = hashlib.sha256(lock_bytes).hexdigest()
    # 2
    referred = dict(map(_refers_to, request.models))
    preflight.check_imports(referred, lock, target.interpreter.version, request.app)
    stripping.require_kept(referred, options.strip)
    preflight.check_platform(lock, target)
    notes = _checked_on_host(request, lock, target)
    own = _authorities(request)
    if own and authorities.digest(own) != options.ca_bundle:
        raise layers.changed(f"the bundle `{request.ca_bundle}`")
    nothing = Supplies(
        lock, target, lock_bytes, {}, request.model_places, request.app, strip=options.strip, authorities=own
    )
    return Prepared(lock, lock_sha256, target, options, nothing, plan(lock, target, options, lock_sha256), notes)


def _checked_on_host(request: Request, lock: Lock, target: Target) -> tuple[str, ...]:
    """What would compute otherwise where it is served, of what the snapshot beside the lock says; else refused."""
    from envparity.image import authorities, cuda, on_host

    place = lockfile.artifacts_folder(request.lock)
    if request.host is None and not (place / lock.snapshot.name).is_file():
        # Whoever needs the snapshot will say that it is missing.
        return (*on_host.library_notes(target), *cuda.notes(lock, target))
    content = artifact_in(place, lock.snapshot).read_bytes()
    trained = codec.load_environment(content, f"the snapshot of `{request.lock}`")
    notes = [*on_host.library_notes(target), *on_host.openmp_notes(trained, lock)]
    notes += cuda.notes(lock, target, trained.native_libraries or ())
    notes += authorities.notes(trained, request.ca_bundle is not None)
    if request.host is not None:
        from envparity import sources
        from envparity.sources.pylock import environment_of_lock

        placed = sources.on_host(environment_of_lock(lock, target.platform), request.host)
        notes += on_host.check_host(lock, target, placed, request.host, trained)
    return tuple(notes)


def supplied(request: Request, ready: Prepared, first: Container[str] | None = None, *, fetcher: Fetcher) -> Supplies:
    """Step 3, of all files or of those that are needed `first`."""
    from envparity.image import base_layers
    from envparity.resolvers import archives

    artifacts = lockfile.artifacts_folder(request.lock)
    supplies = supply(
        ready.lock,
        ready.supplies.lock_bytes,
        artifacts,
        fetcher=fetcher,
        mirrors=archives.wanted,
        models=request.model_places,
        application=request.app,
        first=lambda sha256: first is None or sha256 in first,
        path=_folders(request),
    )
    access = Access(fetcher.client, fetcher.cache, request.environ)
    beneath = base_layers.places(ready.lock, ready.target, artifacts, access)
    own = ready.supplies.authorities
    return dataclasses.replace(supplies, layers=beneath, strip=ready.options.strip, authorities=own)


def to_look_up(request: Request, lock: Lock, target: Target, lock_bytes: bytes, fetcher: Fetcher) -> Supplies:
    """Supplies without any file: they say under what a layer is kept."""
    from envparity.image.contents import Supplies

    compiling = compiler(lock, target, fetcher.cache, _folders(request))
    strip = request.options.strip
    return Supplies(lock, target, lock_bytes, {}, request.model_places, request.app, bytecode=compiling, strip=strip)


def _folders(request: Request) -> list[str]:
    return request.environ.get("PATH", "").split(os.pathsep)


def read(request: Request, options: Options) -> tuple[Lock, bytes, Target]:
    """The lock for the platform that is meant, its bytes and target; it has to be one for these models and server."""
    from envparity.image import serving

    whole, lock_bytes = lockfile.read(request.lock)
    lock = platforms.selected(whole, platforms.meant(whole, request.platform, platforms.here(), str(request.lock)))
    target = the_target(lock)
    if request.codec:
        lock = msgspec.structs.replace(lock, packer=current_packer(request.codec))
    check_models(options.models, lock)
    serving.check_lock(request.serve, lock, str(request.lock), options.models)
    return lock, lock_bytes, target


def _refers_to(path: Path) -> tuple[str, Artifact]:
    """What a model itself says that it needs; one that cannot be read to its end is refused."""
    from envparity.collectors import model_folders
    from envparity.collectors import models as model_files
    from envparity.collectors.formats.found import Limits
    from envparity.collectors.tree import LocalTree

    unhashed = Limits(hashed=False)  # the digest of a model is taken by who reads all of it
    if path.is_dir():
        observed = model_folders.folder(LocalTree(), str(path.absolute()), path.name, unhashed)
    else:
        observed = model_files.model(str(path), path.name, limits=unhashed)
    facts = codec.environment(observed, Origin(kind="model"))
    if not facts.complete or not facts.artifacts:
        reasons = "; ".join(gap.reason for gap in facts.gaps)
        raise MalformedError(f"the model `{path}` cannot be read: {reasons}", hint="is it whole, and a model?")
    return path.name, facts.artifacts[0]
