"""
Proof that an image is the environment that it claims to be, in numbered steps. Nothing compared is a failure.

    1  integrity   every digest, size, diffID and media type of the image is what its documents promise
    2  read        the image becomes an Environment, like any other source; nothing of it runs
    3  compare     with the snapshot or the lock, on everything that an image can know
    4  judge       the differences, less what the lock declares (substituted, left out)
    5  files       against a lock: each layer is assembled again and compared; against a snapshot: each RECORD is hashed
    6  verdict     with the findings that decided it
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from envparity import codec, lockfile, platforms
from envparity.compare import compare, compared
from envparity.errors import ExitStatus, IncompleteError, MalformedError, UsageError, worst
from envparity.fetch import Fetcher
from envparity.files import read_bytes
from envparity.image.against_lock import against_lock
from envparity.image.against_snapshot import against_snapshot
from envparity.image.app import PLACE as APP
from envparity.image.findings import is_integrity
from envparity.image.repacked import anchored
from envparity.image.supply import supply, the_target
from envparity.knowledge import judge
from envparity.locking import counterparts, development, used
from envparity.oci import check, places
from envparity.oci.access import Access
from envparity.oci.tree import ImageTree, merge
from envparity.resolvers import debian
from envparity.sources import image as image_source
from envparity.sources import read
from envparity.sources.pylock import environment_of_lock
from envparity.values import (
    Change,
    Difference,
    Environment,
    Finding,
    Gap,
    GapKind,
    Lock,
    Options,
    Severity,
    Verdict,
)

OWN_LOCK = "/usr/share/envparity/pylock.toml"
"""Where an image that was built here holds its lock."""


@dataclass(frozen=True)
class Request:
    """
    What to verify, against what, and how strictly.

    `expected` are the options that the image was built with, as far as the caller says: entry point, variables, user.
    `platform` is the one of several images that is meant.
    `environ` are the variables of envparity's own process, which say where the logins for registries are.
    """

    image: str
    against: str
    app: Path | None = None
    expected: Options = field(default_factory=Options)
    fail_on: Severity = Severity.HIGH
    strict: bool = False
    allow_incomplete: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""


def against(request: Request, *, fetcher: Fetcher) -> Verdict:
    """
    The verdict on an image.

    Raises:
        IntegrityError: the image contradicts itself (step 1); nothing else can then be said of it.
        IncompleteError: nothing could be compared, or the image does not say how it was built.
        UsageError: the reference is neither a lock of ours nor a snapshot. And what reading the two raises.
    """
    # What the caller named is small, and a mistake in it is said before an image of gigabytes is read.
    lock, lock_bytes = _lock(request.against)
    reach = Access(fetcher.client, fetcher.cache, request.environ)
    image = None
    if lock is not None:
        if len(lock.targets) > 1:
            image = places.open_image(request.image, platform=request.platform, access=reach)
        stated = request.platform or (image.platform if image is not None else "")
        lock = platforms.selected(lock, platforms.meant(lock, stated, platforms.here(), request.against))
        wanted = environment_of_lock(lock, the_target(lock).platform)
    else:
        wanted = read(request.against)
        if wanted.origin.kind not in _SNAPSHOTS:
            raise UsageError(
                f"`{request.against}` is neither a snapshot nor a lock of envparity, so it proves nothing about files",
                hint="`envparity diff` compares any two sources; to verify against it, lock it first:"
                f" `envparity lock {request.against} -o pylock.toml`",
            )
    # 1
    image = image or places.open_image(request.image, platform=request.platform, access=reach)
    report = check.require_valid(image)
    checked = [("blobs have the digest, size and diffID that is promised", report.blobs)]
    # 2
    tree = merge(image, keep=image_source.kept, progress=fetcher.progress)
    hashed = any(item.modified is not None for item in wanted.distributions or ())
    found = image_source.environment(image, tree, request.image, verify_files=hashed)
    # 3
    count = compared(wanted, found)
    if not count:
        raise IncompleteError(f"`{request.image}` and `{request.against}` share no fact that could be compared")
    checked.append(("facts compared", count))
    # 4
    own = _own_lock(tree, image.platform) if lock is None else None
    repacked = anchored(own, tree, found, wanted) if own is not None else {}
    unused = used.unused(wanted) | _only_developed(wanted, own) if own is not None else frozenset()
    elsewhere = counterparts.cannot_load(wanted, found) if own is not None else frozenset()
    unused |= counterparts.unneeded(wanted, found) if own is not None else frozenset()
    differences, declared = _undeclared(compare(wanted, found), lock or own, repacked, unused)
    judged = map(_no_less, judge(wanted, found, differences))
    # 5
    if lock is not None:
        artifacts = lockfile.artifacts_folder(Path(request.against))
        supplies = supply(
            lock, lock_bytes, artifacts, fetcher=fetcher, mirrors=debian.package_urls, application=request.app
        )
        evidence = against_lock(image, tree, supplies, request.expected, progress=fetcher.progress)
    else:
        evidence = against_snapshot(image, tree, found, wanted, request.expected, repacked, elsewhere)
    # 6
    findings = tuple(sorted((*evidence.findings, *judged), key=lambda item: -item.severity.rank))
    gaps = tuple(sorted({*_gaps(wanted, request.against), *found.gaps, *evidence.gaps}))
    status = _status(findings, gaps, request)
    return Verdict(
        passed=status is ExitStatus.OK,
        status=status,
        image=request.image,
        against=request.against,
        digest=image.digest,
        findings=findings,
        gaps=gaps,
        checked=(*checked, *evidence.checked),
        declared=(*declared, *evidence.declared),
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
    return codec.load_lock(data, f"lock `{path}`"), data


def _status(findings: tuple[Finding, ...], gaps: tuple[Gap, ...], request: Request) -> ExitStatus:
    missing = any(gap.kind is GapKind.UNREAD for gap in gaps)
    return worst(
        ExitStatus.INTEGRITY if any(map(is_integrity, findings)) else ExitStatus.OK,
        ExitStatus.FINDINGS if any(_counts(item, request.fail_on) for item in findings) else ExitStatus.OK,
        ExitStatus.UNFINISHED if missing and not request.allow_incomplete else ExitStatus.OK,
        ExitStatus.UNFINISHED if gaps and request.strict else ExitStatus.OK,
    )


def _counts(finding: Finding, fail_on: Severity) -> bool:
    """What an image cannot know is a gap, and no finding against it."""
    return finding.severity.at_least(fail_on) and finding.difference.change is not Change.UNKNOWN


def _no_less(finding: Finding) -> Finding:
    """
    A finding as a verification counts it: an image that lacks a recorded distribution or model is not that environment,
    however little the missing thing may matter to a diff.
    """
    difference = finding.difference
    missing = difference.change is Change.REMOVED and (difference.section, difference.field) in _MUST_BE_THERE
    if not missing or finding.severity.at_least(Severity.HIGH):
        return finding
    reason = f"{finding.reason} It was recorded, so an image without it is another environment."
    return msgspec.structs.replace(finding, severity=Severity.HIGH, reason=reason)


_MUST_BE_THERE = frozenset({("distributions", ""), ("artifacts", "model")})


def _own_lock(tree: ImageTree, platform: str) -> Lock | None:
    """The lock that lies in the image. It is the image's own word: what it may declare is narrow, see `_undeclared`."""
    if tree.kind(OWN_LOCK) != "file":
        return None
    try:
        own = codec.load_lock(tree.read(OWN_LOCK, 64 << 20), f"`{OWN_LOCK}` in the image")
        return platforms.selected(own, platform)
    except (MalformedError, UsageError):
        return None


def _only_developed(wanted: Environment, lock: Lock) -> frozenset[str]:
    """What the lock leaves out as only development needs it, as far as the snapshot says that nothing else does."""
    left_out = {it.name for target in lock.targets for it in target.left_out if it.reason == development.REASON}
    return development.unneeded(wanted, left_out)


def _undeclared(
    differences: tuple[Difference, ...], lock: Lock | None, repacked: Mapping[str, str], unused: Collection[str]
) -> tuple[tuple[Difference, ...], list[str]]:
    """The differences less those that the lock declares, and a line for what it does declare."""
    declared: dict[tuple[str, bool], set[str]] = {}
    kept = []
    for item in differences:
        why = _declaration(item, lock, repacked, unused) if lock is not None and lock.targets else ""
        if why:
            declared.setdefault((why, item.section == "distributions"), set()).add(
                item.item if item.item != "system" else item.field
            )
        else:
            kept.append(item)
    lines = []
    for (why, are_distributions), names in sorted(declared.items()):
        listed = ", ".join(sorted(names))
        if len(names) > _MOST_NAMED:
            listed = f"{len(names)} {'distributions' if are_distributions else 'OS packages'}"
        lines.append(f"{why}: {listed}")
    return tuple(kept), lines


def _declaration(difference: Difference, lock: Lock, repacked: Mapping[str, str], unused: Collection[str]) -> str:
    """
    As what a lock declares this difference, or "".

    It may say which OS packages an image holds, that installers were left out, that what nothing used was (as far as
    the snapshot's own evidence says so: `unused`), and of what a wheel was made that no index serves, as far as
    `anchored` found that in the snapshot. Nothing that it says excuses another version of a distribution, of Python, or
    of the libraries in which numbers are made: a lock that lies in an image is the image's own word.
    """
    if (difference.section, difference.item, difference.change) == ("settings", "PYTHONPATH", "added"):
        # `against_snapshot` looks for what it brings before the distributions, `against_lock` at every file of it.
        return "set by build for an application" if difference.after == f"/{APP}" else ""
    name = difference.item.partition(":")[0]
    target = lock.targets[0]
    if difference.section == "distributions":
        if difference.change == "added":
            # What it could run in the place of what was recorded, `against_snapshot` looks for; and a version that was
            # moved stays a difference.
            beside = {item.name: item.version for item in lock.distributions if item.state == "added"}
            return "added by the lock" if beside.get(name) == difference.after else ""
        if name in repacked and difference.field in _OF_FILES:
            return "repacked by the lock"
        left_out = {item.name: item.reason for item in target.left_out if item.kind == "distribution"}
        if difference.change != "removed" or difference.field or name not in left_out:
            return ""
        if name in _INSTALLERS:
            return "left out by the lock"
        why = "only development needs it" if left_out[name] == development.REASON else "nothing used it"
        why = left_out[name] if left_out[name].startswith(counterparts.REASON) else why
        return f"left out by the lock, since {why}" if name in unused else ""
    if (difference.section, difference.field) == ("system", "tzdata"):
        # The same fact as the package's version, read from its tables.
        return "substituted by the lock" if "tzdata" in {item.name for item in target.substituted} else ""
    if difference.section != "os_packages":
        return ""
    locked = {item.name: item.version for item in target.os_packages}
    if difference.change == "removed" and name not in locked and name not in _NUMERIC_PACKAGES:
        return "left out by the lock"
    if difference.change == "added" and locked.get(name) == difference.after:
        return "added by the lock"
    substituted = {(item.name, item.before, item.after) for item in target.substituted}
    replaced = (name, difference.before, difference.after) in substituted and name not in _NUMERIC_PACKAGES
    return "substituted by the lock" if replaced else ""


_OF_FILES = frozenset({"wheel", "editable", "modified", "missing"})
_MOST_NAMED = 8
_INSTALLERS = frozenset({"pip", "setuptools", "wheel"})
_NUMERIC_PACKAGES = frozenset({"libc6", "libc-bin", "libstdc++6", "libgomp1", "libgcc-s1"})
"""A substituted one of these is a finding even where it is declared: numbers are made in them."""
