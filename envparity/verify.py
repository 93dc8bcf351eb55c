"""
Proof that an image is the environment that it claims to be, in numbered steps. Nothing compared is a failure.

    1  integrity   where a key is named, it signed this image, and what lies beside it (`attached/held.py`); every
                   digest, size, diffID and media type of the image is what its documents promise
    2  read        the image becomes an Environment, like any other source; nothing of it runs
                   (of a lock of another tool, the wheels that it states by hash say which files belong there)
    3  compare     with the snapshot or the lock, on everything that an image can know; where the caller names none,
                   with the one that the image brings (`attached/own.py`)
    4  judge       the differences, less what the lock declares (substituted, left out)
    5  files       against a lock: each layer is assembled again and compared; against a snapshot: each RECORD is hashed
    6  verdict     with the findings that decided it
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from envparity import codec, lockfile, platforms
from envparity.attached import own
from envparity.attached.held import Beside
from envparity.attached.held import held as held_beside
from envparity.attached.own import OWN_LOCK
from envparity.compare import compare, compared
from envparity.errors import ExitStatus, IncompleteError, MalformedError, UsageError, worst
from envparity.fetch import Fetcher
from envparity.files import read_bytes
from envparity.image import base_layers, configuration, stripping
from envparity.image.against_lock import against_lock
from envparity.image.against_rebuilt import against_rebuilt, is_rebuilt
from envparity.image.against_snapshot import against_snapshot
from envparity.image.bytecode import Bytecode
from envparity.image.findings import Evidence, is_integrity
from envparity.image.repacked import anchored
from envparity.image.supply import supply, the_target
from envparity.knowledge import judge
from envparity.locking import counterparts, declared, development, held, used
from envparity.oci import check, places, signatures
from envparity.oci.access import Access
from envparity.oci.image import Image
from envparity.oci.keys import PublicKey
from envparity.oci.tree import ImageTree, merge
from envparity.resolvers import archives
from envparity.resolvers.indexes import Indexes
from envparity.sources import Options as Reading
from envparity.sources import image as image_source
from envparity.sources import read
from envparity.sources.pylock import environment_of_lock
from envparity.values import (
    Environment,
    Finding,
    Gap,
    GapKind,
    Lock,
    Options,
    Severity,
    Verdict,
)


@dataclass(frozen=True)
class Request:
    """
    What to verify, against what, and how strictly. Where `against` is empty, the image's own lock is meant.

    `expected` are the options that the image was built with, as far as the caller says: entry point, variables, user.
    `platform` is the one of several images that is meant.
    `environ` are the variables of envparity's own process, which say where the logins for registries are. `key` must
    have signed the image, under the name `signed_as`, which is by default the one that it is asked for by.
    `extras`, `groups`, `without` and `indexes` are for a lock of another tool, as `lock` takes them.
    `lock` is the caller's own lock of the snapshot `against`: its declarations are the caller's word then, and not the
    image's. `stdin` is what `-` reads.
    """

    image: str
    against: str = ""
    app: Path | None = None
    expected: Options = field(default_factory=Options)
    fail_on: Severity = Severity.HIGH
    strict: bool = False
    allow_incomplete: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    extras: Collection[str] = ()
    groups: Collection[str] = ()
    without: Collection[str] = ()
    indexes: Indexes = field(default_factory=Indexes)
    key: PublicKey | None = None
    signed_as: str = ""
    lock: str = ""
    stdin: BinaryIO | None = None


@dataclass(frozen=True)
class _Opened:
    """An image after step 1, its layers merged, and what was checked of it."""

    image: Image
    tree: ImageTree
    beside: Beside
    checked: tuple[tuple[str, int], ...]


def against(request: Request, *, fetcher: Fetcher) -> Verdict:
    """
    The verdict on an image.

    Raises:
        IntegrityError: the image contradicts itself, or is not signed by the key that was named, or what lies beside it
            is not what it should be (step 1); nothing else can then be said of it.
        IncompleteError: nothing could be compared, or the image does not say how it was built.
        UsageError: the reference is no snapshot, and no lock that states hashes. And what reading the two raises.
    """
    if request.against:
        return _held(request, request.against, None, fetcher=fetcher)
    if request.lock:
        raise UsageError("`--lock` is for a snapshot, and none is named", hint="name it with `--against`")
    reach = Access(fetcher.client, fetcher.cache, request.environ)
    image = places.open_image(request.image, platform=request.platform, access=reach)
    opened = _opened(request, image, reach, fetcher)
    with fetcher.cache.workplace() as folder:
        brought = own.written(image, opened.tree, opened.beside, request.image, folder)
        verdict = _held(
            dataclasses.replace(request, against=str(brought.path)), brought.called, opened, fetcher=fetcher
        )
    if request.key is not None:
        return verdict
    told = f"{brought.called} is the image's own word: no key was named, and nothing of yours to hold it against"
    gap = Gap(section="signature", kind=GapKind.NOT_RECORDED, reason=told)
    gaps = (*verdict.gaps, gap)
    status = _status(verdict.findings, gaps, request)
    said = f"{brought.called}, which is its own word"
    return msgspec.structs.replace(verdict, against=said, gaps=gaps, status=status, passed=status is ExitStatus.OK)


def _opened(request: Request, image: Image, reach: Access, fetcher: Fetcher) -> _Opened:
    # 1
    name = request.signed_as or signatures.name_of(request.image) if request.key is not None else ""
    asked = request.key is not None or not request.against
    beside = held_beside(image, request.image, reach, request.key, name) if asked else Beside()
    report = check.require_valid(image)
    checked = (*beside.checked, ("blobs have the digest, size and diffID that is promised", report.blobs))
    return _Opened(image, merge(image, keep=image_source.kept, progress=fetcher.progress), beside, checked)


def _held(request: Request, called: str, opened: _Opened | None, *, fetcher: Fetcher) -> Verdict:
    """The same against what is named; people call that `called`."""
    brought = opened is not None
    # What the caller named is small, and a mistake in it is said before an image of gigabytes is read.
    lock, lock_bytes = _lock(request.against)
    mine, mine_bytes = _lock_beside(request, lock)
    by_hashes = False
    reach = Access(fetcher.client, fetcher.cache, request.environ)
    image = opened.image if opened is not None else None
    if lock is not None:
        if len(lock.targets) > 1:
            image = image or places.open_image(request.image, platform=request.platform, access=reach)
        stated = request.platform or (image.platform if image is not None else "")
        lock = platforms.selected(lock, platforms.meant(lock, stated, platforms.here(), called))
        wanted = environment_of_lock(lock, the_target(lock).platform)
    else:
        wanted = read(request.against, options=Reading(stdin=request.stdin))
        by_hashes = wanted.origin.kind not in _SNAPSHOTS
        if by_hashes:
            held.require_hashes(wanted)
        if mine is not None:
            _require_made_of(mine, wanted, request)
    # 1
    image = image or places.open_image(request.image, platform=request.platform, access=reach)
    opened = opened or _opened(request, image, reach, fetcher)
    tree, checked = opened.tree, list(opened.checked)
    # 2
    hashed = any(item.modified is not None for item in wanted.distributions or ())
    found = image_source.environment(image, tree, request.image, verify_files=hashed)
    unproven: Mapping[str, str] = {}
    if lock is None and by_hashes:
        of_file = held.held(
            wanted,
            found,
            extras=request.extras,
            groups=request.groups,
            without=request.without,
            indexes=request.indexes,
            fetcher=fetcher,
        )
        wanted, unproven = of_file.environment, of_file.unproven
    labels = image.labels
    options = configuration.recorded_options(labels)
    strip = options.strip if options is not None else ()
    found = stripping.restored(tree, found, wanted, strip)
    # 3
    count = compared(wanted, found)
    if not count:
        raise IncompleteError(f"`{request.image}` and `{called}` share no fact that could be compared")
    checked.append(("facts compared", count))
    # 4
    if mine is not None:
        mine = platforms.selected(mine, platforms.meant(mine, image.platform, platforms.here(), request.lock))
    its = mine or (_own_lock(tree, image.platform) if lock is None else None)
    repacked: Mapping[str, str] = {}
    unused = elsewhere = frozenset[str]()
    if its is not None and not by_hashes:
        repacked = anchored(its, tree, found, wanted)
        unused = used.unused(wanted) | _only_developed(wanted, its) | counterparts.unneeded(wanted, found)
        elsewhere = counterparts.cannot_load(wanted, found)
    differences, said_by_lock = declared.undeclared(compare(wanted, found), lock or its, repacked, unused)
    judged = map(declared.no_less, judge(wanted, found, differences))
    # 5
    whole = lock or mine
    other = _counterparts(whole) if whole is not None else frozenset()
    evidence = Evidence(())
    pythons = request.environ.get("PATH", "").split(os.pathsep)
    if lock is None:
        known = other if mine is not None else None
        version = found.python.version if found.python is not None else ""
        by = configuration.recorded_compiler(labels, version)
        compiler = Bytecode(fetcher.cache, by, path=pythons) if version else None
        evidence = against_snapshot(
            image, tree, found, wanted, request.expected, repacked, elsewhere, unproven, known, compiler
        )
        evidence += Evidence((), declared=tuple(stripping.told(tree, strip)))
    if whole is not None:
        path, data = (request.against, lock_bytes) if lock is not None else (request.lock, mine_bytes)
        artifacts = lockfile.artifacts_folder(Path(path))
        supplies = supply(
            whole,
            data,
            artifacts,
            fetcher=fetcher,
            mirrors=archives.wanted,
            application=request.app,
            path=pythons,
            compiled_by=configuration.recorded_compiler(labels, the_target(whole).interpreter.version),
        )
        layers = base_layers.places(whole, supplies.target, artifacts, reach)
        supplies = dataclasses.replace(supplies, layers=layers)
        prove = against_rebuilt if is_rebuilt(image) else against_lock
        evidence += prove(image, tree, supplies, request.expected, brought=brought, progress=fetcher.progress)
    if other:
        said_by_lock.append(
            f"another platform's wheels, which did not train the model: {declared.listed(other, 'distributions')}"
        )
    # 6
    findings = tuple(sorted((*evidence.findings, *judged), key=lambda item: -item.severity.rank))
    gaps = tuple(sorted({*_gaps(wanted, called), *found.gaps, *evidence.gaps}))
    status = _status(findings, gaps, request)
    return Verdict(
        passed=status is ExitStatus.OK,
        status=status,
        image=request.image,
        against=f"{called}, as {request.lock} declares it" if mine is not None else called,
        digest=image.digest,
        findings=findings,
        gaps=gaps,
        checked=(*checked, *evidence.checked),
        declared=(*said_by_lock, *opened.beside.declared, *evidence.declared),
    )


def _gaps(wanted: Environment, against: str) -> Iterator[Gap]:
    """
    What the reference itself could not read. What it cannot record is no shortcoming of the image, and nothing that an
    image could be held to.
    """
    for gap in wanted.gaps:
        if gap.kind is GapKind.UNREAD:
            yield msgspec.structs.replace(gap, reason=f"{gap.reason} (in {against})")


_SNAPSHOTS = frozenset({"live", "content"})
"""Origins that were read where a model was trained, or are the content of what was."""


def _lock(reference: str) -> tuple[Lock | None, bytes]:
    """The lock that a reference names, if it is one of ours, whatever its file is called."""
    path = Path(reference)
    if not path.name.endswith(".toml") or not path.is_file():
        return None, b""
    data = read_bytes(path, limit=64 << 20, what="lock")
    if not any(mark in data for mark in _OURS):
        return None, b""
    return codec.load_lock(data, f"lock `{path}`"), data


_OURS = (b"tool.envparity", b'created-by = "envparity"')


def _lock_beside(request: Request, lock: Lock | None) -> tuple[Lock | None, bytes]:
    """The caller's own lock beside a snapshot, where one is named."""
    if not request.lock:
        return None, b""
    if lock is not None:
        raise UsageError(
            f"`--lock` is for a snapshot, and `{request.against}` is a lock already",
            hint="leave it out, or name the snapshot with `--against`",
        )
    mine, data = _lock(request.lock)
    if mine is None:
        raise UsageError(f"`{request.lock}` is no lock of envparity", hint="name the pylock.toml that you built")
    return mine, data


def _require_made_of(lock: Lock, wanted: Environment, request: Request) -> None:
    if wanted.origin.kind not in _SNAPSHOTS:
        raise UsageError(
            f"`--lock` is for a snapshot, and `{request.against}` is none", hint="verify against one of the two"
        )
    if f"sha256:{lock.snapshot.sha256}" != codec.content_digest(wanted):
        raise UsageError(
            f"`{request.lock}` was made of another snapshot than `{request.against}`",
            hint=f"name the lock that was made of it, or lock it: `envparity lock {request.against}`",
        )


def _status(findings: tuple[Finding, ...], gaps: tuple[Gap, ...], request: Request) -> ExitStatus:
    missing = any(gap.kind is GapKind.UNREAD for gap in gaps)
    return worst(
        ExitStatus.INTEGRITY if any(map(is_integrity, findings)) else ExitStatus.OK,
        ExitStatus.FINDINGS if any(declared.counts(item, request.fail_on) for item in findings) else ExitStatus.OK,
        ExitStatus.UNFINISHED if missing and not request.allow_incomplete else ExitStatus.OK,
        ExitStatus.UNFINISHED if gaps and request.strict else ExitStatus.OK,
    )


def _own_lock(tree: ImageTree, platform: str) -> Lock | None:
    """The lock that lies in the image. It is the image's own word, and may declare little (`locking.declared`)."""
    if tree.kind(OWN_LOCK) != "file":
        return None
    try:
        its = codec.load_lock(tree.read(OWN_LOCK, 64 << 20), f"`{OWN_LOCK}` in the image")
        return platforms.selected(its, platform)
    except (MalformedError, UsageError):
        return None


def _only_developed(wanted: Environment, lock: Lock) -> frozenset[str]:
    """What the lock leaves out as only development needs it, as far as the snapshot says that nothing else does."""
    left_out = {it.name for target in lock.targets for it in target.left_out if it.reason == development.REASON}
    return development.unneeded(wanted, left_out)


def _counterparts(lock: Lock) -> frozenset[str]:
    """The distributions of a lock for one platform that are not the files that trained the model, but of its own."""
    packages = (item for target in lock.targets for item in target.conda_packages if item.state == "counterpart")
    return frozenset(
        {item.name for item in lock.distributions if item.state == "counterpart"}
        | {one.name for item in packages for one in item.distributions}
    )
