"""
A lock becomes an image: without a daemon, without root, the same bytes on any machine.

    1  read        the lock, the artifacts beside it, the models, the application
    2  pre-flight  what would fail when it serves is refused before anything is downloaded
    3  supply      every package, wheel and artifact by its sha256, from the cache or its place
    4  assemble    the plan's layers, each packed once; configuration and manifest
    5  look        the image is read as any source would read it, and held against the lock: no drift gets a name
    6  write       each destination, whole or not at all, every blob by its digest; an archive is read back
    7  attach      what is said about the image, and signatures, go beside it, where a place can hold that
"""

from __future__ import annotations

__all__ = ["Built", "Request", "assemble", "assemble_several", "planned", "platforms_of"]

import dataclasses
import functools
import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from envparity import files, lockfile, platforms, preparation
from envparity.attached import beside
from envparity.attached.about import About
from envparity.errors import EnvparityError
from envparity.fetch import Fetcher
from envparity.image import again
from envparity.oci import places
from envparity.oci.access import Access
from envparity.oci.image import BuiltImage, BuiltIndex, together
from envparity.oci.image import assemble as assembled
from envparity.oci.pack import current_packer
from envparity.preparation import Prepared, Request
from envparity.values import LockedCondaPackage, Options, Plan, PlannedLayer, PlanTold, Step, python_xy
from envparity.words import listed

# What makes an image is imported where it is used: as long as that takes, a build of which nothing changed takes whole.
if TYPE_CHECKING:
    from envparity.image.contents import Supplies
    from envparity.image.known import Holds
    from envparity.locking import drift


@dataclass(frozen=True)
class Built:
    """
    An image, the plan that made it, the size of each layer's blob in bytes, what its builder should know, which kinds
    of documents lie beside it in which of its places, and the digests of their manifests there.

    It lies in its destinations. Layers that no other image shares (model, application, papers) are not kept elsewhere.
    """

    image: BuiltImage
    plan: Plan
    sizes: tuple[int, ...]
    notes: tuple[str, ...]
    attached: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    documents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def assemble(request: Request, *, fetcher: Fetcher) -> Built:
    """
    Build the image of a lock and write it to every destination.

    Raises:
        RefusedError: the model needs what neither lock nor application provides; the base cannot carry a wheel.
        IntegrityError: bytes are not those of the lock; a model is not the one that the snapshot knew.
        UnreachableError: something that the lock names cannot be fetched. UsageError: of the request.
    """
    lock_bytes = files.read_bytes(request.lock, what="lock")
    options = preparation.options_of(request)
    access = Access(fetcher.client, fetcher.cache, request.environ)
    under = _noted_under(request, lock_bytes, options)
    before = _before(request, under, access)
    if before is not None:
        return before
    # 1 and 2
    ready = preparation.decided(request, options)
    with fetcher.cache.workplace() as workplace, ExitStack() as open_places:
        writers = _writers(request, access, open_places)
        # 3 to 5
        built = _image(request, ready, writers, workplace, fetcher=fetcher)
        # 6
        with _telling() as done:
            for output, writer in writers:
                _check(output, writer.finish(built.image))
                done.append(output)
    # 7
    with _telling(request.outputs):
        complete = _with_documents(request, ready, built, access)
    same = under == _noted_under(request, ready.supplies.lock_bytes, options)
    if same and complete.notes == built.notes and request.host is None:
        answer = again.Answer(complete.image, complete.plan, complete.notes, complete.attached, complete.documents)
        again.note(fetcher.cache, under, answer)
    return complete


def assemble_several(
    request: Request, stated: Sequence[str], *, fetcher: Fetcher
) -> tuple[BuiltIndex, tuple[Built, ...]]:
    """
    The same for several platforms of one lock, each image as it is alone, together under one name. Nothing of another
    processor is run.

    Raises:
        UsageError: a destination holds one image only; and what `assemble` raises, before anything has the name.
    """
    for output in request.outputs:
        places.check_destination(output, request.name, several=True)
    options = preparation.options_of(request)
    access = Access(fetcher.client, fetcher.cache, request.environ)
    # 1 and 2
    requests = [dataclasses.replace(request, platform=platform) for platform in stated]
    ready = [preparation.decided(each, options) for each in requests]
    with fetcher.cache.workplace() as workplace, ExitStack() as open_places:
        writers = _writers(request, access, open_places)
        # 3 to 5
        built = []
        for each, decided in zip(requests, ready, strict=True):
            folder = files.make_folder(workplace / each.platform.replace("/", "-"))
            built.append(_image(each, decided, writers, folder, fetcher=fetcher))
        index = together([each.image for each in built])
        # 6
        with _telling() as done:
            for output, writer in writers:
                writer.finish_index(index)
                for image in index.images:
                    _check(output, image.digest)
                done.append(output)
    # 7
    told = zip(requests, ready, built, strict=True)
    with _telling(request.outputs):
        complete = tuple(_with_documents(*each, access) for each in told)
        beside.sign_index(request.outputs, request.name, request.beside, index, access)
    return index, complete


@contextmanager
def _telling(done: Iterable[str] = ()) -> Iterator[list[str]]:
    """An error on the way to one place names those that have the image already: nothing takes it away there."""
    written = list(done)
    try:
        yield written
    except EnvparityError as error:
        error.details = (*error.details, *(f"written before that: {output}" for output in written))
        raise


def platforms_of(path: Path, stated: Sequence[str]) -> tuple[str, ...]:
    """
    The platforms that are meant by what a person stated, each once: `all` are those of the lock.

    Raises:
        UsageError: there is no such lock. MalformedError: it is damaged.
    """
    if _ALL in stated:
        return tuple(target.platform for target in lockfile.read(path)[0].targets)
    return tuple(dict.fromkeys(stated))


_ALL = "all"


def _writers(request: Request, access: Access, open_places: ExitStack) -> list[tuple[str, places.Writer]]:
    return [
        (output, open_places.enter_context(places.writing(output, request.name, access))) for output in request.outputs
    ]


def _image(
    request: Request,
    ready: Prepared,
    writers: Sequence[tuple[str, places.Writer]],
    workplace: Path,
    *,
    fetcher: Fetcher,
) -> Built:
    """Steps 3 to 5 of one image, whose layers are handed to the writers as they are made."""
    from envparity.image import configuration, layers, model
    from envparity.image.known import inputs_left
    from envparity.image.known import known as known_layers
    from envparity.image.room import check_room, forecast
    from envparity.locking import drift

    lock, decided = ready.lock, ready.plan
    packed = []
    # 3
    at_hand = preparation.to_look_up(request, lock, ready.target, ready.supplies.lock_bytes, fetcher)
    noted = layers.with_noted_folders(at_hand, fetcher.cache)
    known = known_layers(decided.layers, noted, lock.packer, fetcher.cache, _all_hold(writers), workplace)
    left = inputs_left(decided.layers, noted, fetcher.cache, known)
    preparation.require_recorded(request, known)
    fetched, made_bytes = forecast(lock, ready.target, left, fetcher.cache.blob)
    made_bytes += sum(map(model.size_bytes, _packed_models(ready, known)))
    check_room(fetched, made_bytes, fetcher.cache.folder)
    supplies = preparation.supplied(request, ready, left, fetcher=fetcher)
    supplies, started = layers.looked_into(supplies, fetcher.cache)
    # 4
    with fetcher.progress.task("layers", len(decided.layers)) as advance:
        reading = drift.reading(fetcher.cache) if request.look else None
        making = layers.all_packed(decided.layers, supplies, lock.packer, fetcher.cache, workplace, known, reading)
        with closing(making):
            for made in making:
                packed.append(made)
                for _, writer in writers:
                    writer.layer(made.packed.descriptor, made.path)
                advance(1)
    by = supplies.compiled_by
    runtime = configuration.runtime(lock, ready.target, ready.options, ready.lock_sha256, by)
    annotations = configuration.announced(lock, ready.target, ready.options, ready.lock_sha256, request.written_at)
    beneath = configuration.beneath(ready.target)
    image = assembled(packed, runtime, annotations, ready.target.platform, beneath=beneath)
    # 5
    look = drift.Look(0)
    if request.look:
        look = drift.require_none(image, lock, ready.lock_sha256, fetcher.cache, fetcher.progress)
    notes = (*ready.notes, *_of_entrypoint(ready.options), *_notes(supplies, started), *_unseen(look, decided))
    return Built(image, decided, tuple(layer.packed.size_bytes for layer in packed), notes)


def _packed_models(ready: Prepared, known: Container[PlannedLayer]) -> Iterator[PlannedLayer]:
    """The layers of models that are made in the cache: one that is not compressed is read where it lies."""
    from envparity.image.compressing import fitting

    models, packer = ready.supplies.models, ready.lock.packer
    for layer in ready.plan.layers:
        if layer.step is Step.MODEL and layer not in known and fitting(layer, models, packer).codec != "none":
            yield layer


def _check(output: str, digest: str) -> None:
    """Of step 6: an archive is read back; what a layout and a registry hold was hashed on its way there."""
    if places.parse_reference(output).scheme == "docker-archive":
        from envparity.oci import check

        written = dataclasses.replace(places.parse_reference(output), tag="", digest=digest)
        check.require_valid(places.open_image(str(written)))


def _with_documents(request: Request, ready: Prepared, built: Built, access: Access) -> Built:
    """Step 7: put what is said about an image beside it, where it lies."""
    lock_bytes = ready.supplies.lock_bytes
    about = About(built.image, ready.lock, lock_bytes, request.lock, built.plan, request.written_at)
    done, more = beside.put(request.outputs, request.name, request.beside, about, access)
    attached = {output: put.words for output, put in done.items()}
    documents = {output: put.digests for output, put in done.items()}
    return dataclasses.replace(built, notes=(*built.notes, *more), attached=attached, documents=documents)


def _noted_under(request: Request, lock_bytes: bytes, options: Options) -> str:
    """Where it is noted what this very request was answered with."""
    meant = (request.platform, platforms.here(), request.outputs, request.name, request.codec, request.look)
    return again.key(lock_bytes, options, *meant, request.beside.attach, request.written_at)


def _before(request: Request, under: str, access: Access) -> Built | None:
    """The same build, where it was done before, and every place still has all of it, and what lies beside it."""
    signed = request.beside.sign_key is not None  # what of signatures is there is for who signs to say
    if access.cache is None or signed or request.host is not None or any(map(places.is_on_disk, request.outputs)):
        return None
    with ExitStack() as opened:
        writing = [places.writing(output, request.name, access) for output in request.outputs]
        answer = again.found(access.cache, under, [opened.enter_context(each) for each in writing])
    if answer is None or not beside.still_there(answer.documents, request.name, answer.image.digest, access):
        return None
    preparation.require_recorded(request, answer.plan.layers)
    return _built(answer)


def _built(answer: again.Answer) -> Built:
    sizes = tuple(descriptor.size_bytes for descriptor, _ in answer.image.layers)
    return Built(answer.image, answer.plan, sizes, answer.notes, answer.attached, answer.documents)


def _all_hold(writers: Sequence[tuple[str, places.Writer]]) -> Holds:
    """Whether all places have a blob; where there are none, nobody has."""
    return lambda descriptor: bool(writers) and all(writer.holds(descriptor) for _, writer in writers)


def planned(request: Request, *, fetcher: Fetcher) -> PlanTold:
    """
    What `assemble` would put into which layer, with sizes and reasons. Nothing is fetched, made or written, but
    for notes of what lies in conda packages, which take long to open; of a large model that the lock knows only the
    size is looked at.

    Raises:
        As `assemble` does of a request that cannot be understood.
    """
    from envparity.image import layers
    from envparity.image.compressing import fitting
    from envparity.image.explained import conda_unserved, explained
    from envparity.image.plan import plan

    options = preparation.options_of(request)
    lock, lock_bytes, target = preparation.read(request, options)
    decided = plan(lock, target, options, hashlib.sha256(lock_bytes).hexdigest())
    cache = fetcher.cache
    at_hand = layers.with_noted_folders(preparation.to_look_up(request, lock, target, lock_bytes, fetcher), cache)
    models = at_hand.models
    folder = lockfile.artifacts_folder(request.lock)
    own = {it.wheel.sha256: folder / it.wheel.name for it in lock.distributions if it.repacked or lock.bundled}
    own |= {it.sha256: folder / it.beside for it in target.conda_packages if lock.bundled}

    def found(sha256: str) -> Path | None:
        return cache.blob(sha256) or (own[sha256] if sha256 in own and own[sha256].is_file() else None)

    def of_conda(item: LockedCondaPackage) -> Mapping[str, int] | None:
        place = found(item.sha256)
        return None if place is None else conda_unserved(item, place, python_xy(target.interpreter.version), cache)

    made = functools.partial(layers.made_before, supplies=at_hand, packer=lock.packer, cache=cache)
    return explained(
        decided, lock, target, made, lambda layer: fitting(layer, models, lock.packer).codec, found, of_conda
    )


def _notes(supplies: Supplies, started: Mapping[str, list[str]]) -> tuple[str, ...]:
    """What a person should know of the image, and no rule forbids."""
    from envparity.image import app

    notes = []
    lock = supplies.lock
    here = current_packer(lock.packer.codec)
    if (here.library, here.library_version) != (lock.packer.library, lock.packer.library_version):
        notes.append(
            f"packed with {here.library_version}, and the lock says {lock.packer.library_version}: the layers hold the"
            " same files (equal diffIDs), and their compressed bytes may differ"
        )
    if lock.packer.codec == "zstd":
        notes.append("layers in zstd are read by Docker 23, containerd 1.5, podman 1.6 and newer, and by nothing older")
    for title, names in started.items():
        notes.append(f"{title} runs code whenever Python starts: {', '.join(f'`{name}`' for name in names)}")
    notes += _of_bytecode(supplies)
    dropped = app.left_out(supplies.app) if supplies.app is not None else ""
    if dropped:
        notes.append(f"left out of the application, as every image leaves them out: {dropped}")
    return tuple(notes)


def _of_entrypoint(options: Options) -> Iterator[str]:
    """That the image has a server, and starts something else."""
    if options.serve:
        from envparity.image import serving

        if not serving.is_started(options):
            yield (
                f"the image starts what `--entrypoint` says, and not its server (`{' '.join(serving.ENTRYPOINT)}`):"
                " until that runs, nothing answers, and the health check says so"
            )


def _unseen(look: drift.Look, decided: Plan) -> Iterator[str]:
    """That the look at what was made did not take place, and for which layers."""
    if look.unseen:
        titles = [decided.layers[number - 1].title for number in look.unseen]
        yield (
            f"what was made was not looked into: {len(titles)} of {len(decided.layers)} layers ({listed(titles, 3)})"
            " are in the registry alone, and were never read on this machine; `build --verify full` reads them"
        )


def _of_bytecode(supplies: Supplies) -> Iterator[str]:
    """Which sources have none, and by what it was made where that is not the image's own Python."""
    if supplies.bytecode is None:
        return
    left = sorted(supplies.bytecode.left.items())
    if left:
        named = listed((f"`/{path}` ({reason})" for path, reason in left), 3)
        yield f"no byte code of {len(left)} source(s) that Python refuses: {named}"
    by, version = supplies.bytecode.compiled_by, supplies.target.interpreter.version
    if by != version:
        yield (
            f"byte code was made by Python {by}, as the image says, since no {version} is here and the image's own does"
            f" not run on this machine; on a machine with {version} some of it has other bytes"
        )
