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

from dataclasses import dataclass
from pathlib import Path

from envparity import codec, lockfile
from envparity.compare import compare, compared
from envparity.errors import ExitStatus, IncompleteError, MalformedError, UsageError, worst
from envparity.fetch import Fetcher
from envparity.image import evidence
from envparity.image.supply import supply, the_target
from envparity.knowledge import judge
from envparity.oci import check, places
from envparity.oci.tree import ImageTree, merge
from envparity.resolvers import debian
from envparity.sources import image as image_source
from envparity.sources import read
from envparity.sources.pylock import environment_of_lock
from envparity.values import Difference, Finding, Gap, GapKind, Lock, Severity, Target, Verdict

OWN_LOCK = "/usr/share/envparity/pylock.toml"
"""Where an image that was built here holds its lock."""


@dataclass(frozen=True)
class Request:
    """What to verify, against what, and how strictly."""

    image: str
    against: str
    app: Path | None = None
    fail_on: Severity = Severity.HIGH
    strict: bool = False
    allow_incomplete: bool = False


def against(request: Request, *, fetcher: Fetcher) -> Verdict:
    """
    The verdict on an image.

    Raises:
        IntegrityError: the image contradicts itself (step 1); nothing else can then be said of it.
        IncompleteError: nothing could be compared. UsageError: the reference is neither a lock nor a snapshot.
        And what reading the two references raises.
    """
    is_lock = Path(request.against).name.startswith("pylock.") and request.against.endswith(".toml")
    # 1
    image = places.open_image(request.image)
    report = check.require_valid(image)
    checked = [("blobs have the digest, size and diffID that is promised", report.blobs)]
    # 2
    tree = merge(image, keep=image_source.kept, progress=fetcher.progress)
    found = image_source.environment(image, tree, request.image)
    # 3
    lock = None
    if is_lock:
        lock, lock_bytes = lockfile.read(Path(request.against))
        wanted = environment_of_lock(lock, the_target(lock).platform)
        declared_by: Lock | None = lock
    else:
        wanted = read(request.against)
        declared_by = _own_lock(tree)
    count = compared(wanted, found)
    if not count:
        raise IncompleteError(f"`{request.image}` and `{request.against}` share no fact that could be compared")
    checked.append(("facts compared", count))
    # 4
    differences, declared = _undeclared(compare(wanted, found), declared_by)
    findings = list(judge(wanted, found, differences))
    gaps = [*wanted.gaps, *found.gaps]
    # 5
    if lock is not None:
        artifacts = lockfile.artifacts_folder(Path(request.against))
        supplies = supply(
            lock, lock_bytes, artifacts, fetcher=fetcher, mirrors=debian.package_urls, application=request.app
        )
        evidence_found = evidence.against_lock(image, tree, supplies, progress=fetcher.progress)
    else:
        evidence_found = evidence.against_records(tree, found, wanted)
    checked += evidence_found.checked
    declared += evidence_found.declared
    findings = [*evidence_found.findings, *findings]
    gaps += evidence_found.gaps
    # 6
    unique = tuple(sorted(set(gaps)))
    status = _status(findings, unique, request)
    return Verdict(
        passed=status is ExitStatus.OK,
        status=status,
        image=request.image,
        against=request.against,
        digest=image.digest,
        findings=tuple(findings),
        gaps=unique,
        checked=tuple(checked),
        declared=tuple(declared),
    )


def _status(findings: list[Finding], gaps: tuple[Gap, ...], request: Request) -> ExitStatus:
    unread = any(gap.kind is GapKind.UNREAD for gap in gaps)
    return worst(
        ExitStatus.INTEGRITY if any(evidence.is_integrity(item) for item in findings) else ExitStatus.OK,
        ExitStatus.FINDINGS if any(item.severity.at_least(request.fail_on) for item in findings) else ExitStatus.OK,
        ExitStatus.UNFINISHED if unread and not request.allow_incomplete else ExitStatus.OK,
        ExitStatus.UNFINISHED if gaps and request.strict else ExitStatus.OK,
    )


def _own_lock(tree: ImageTree) -> Lock | None:
    """The lock that lies in the image. It is the image's own word: what it may declare is narrow, see `_undeclared`."""
    if tree.kind(OWN_LOCK) != "file":
        return None
    try:
        return codec.load_lock(tree.read(OWN_LOCK, 64 << 20), f"`{OWN_LOCK}` in the image")
    except (MalformedError, UsageError):
        return None


def _undeclared(differences: tuple[Difference, ...], lock: Lock | None) -> tuple[tuple[Difference, ...], list[str]]:
    """The differences less those that the lock declares, and a line for what it does declare."""
    declared: dict[str, list[str]] = {}
    kept = []
    for item in differences:
        why = _declaration(item, lock.targets[0]) if lock is not None and lock.targets else ""
        if why:
            declared.setdefault(why, []).append(item.item)
        else:
            kept.append(item)
    lines = []
    for why, names in sorted(declared.items()):
        listed = ", ".join(sorted(names)) if len(names) <= _MOST_NAMED else f"{len(names)} OS packages"
        lines.append(f"{why}: {listed}")
    return tuple(kept), lines


def _declaration(difference: Difference, target: Target) -> str:
    """
    As what a lock declares this difference, or "".

    It may say which OS packages an image holds, and that installers were left out. Nothing that it says excuses another
    version of a distribution, of Python, or of the libraries in which numbers are made: a lock that lies in an image is
    the image's own word.
    """
    name = difference.item.partition(":")[0]
    if difference.section == "distributions":
        left_out = {item.name for item in target.left_out if item.kind == "distribution"}
        return "left out" if difference.change == "removed" and name in left_out & _INSTALLERS else ""
    if difference.section != "os_packages":
        return ""
    locked = {item.name: item.version for item in target.os_packages}
    if difference.change == "removed" and name not in locked:
        return "left out"
    if difference.change == "added" and locked.get(name) == difference.after:
        return "added by the base"
    substituted = {(item.name, item.before, item.after) for item in target.substituted}
    replaced = (name, difference.before, difference.after) in substituted and name not in _NUMERIC_PACKAGES
    return "substituted" if replaced else ""


_MOST_NAMED = 8
_INSTALLERS = frozenset({"pip", "setuptools", "wheel"})
_NUMERIC_PACKAGES = frozenset({"libc6", "libc-bin", "libstdc++6", "libgomp1", "libgcc-s1"})
"""A substituted one of these is a finding even where it is declared: numbers are made in them."""
