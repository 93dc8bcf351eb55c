"""What looking at an image itself gives: its files, its configuration. Shared by both ways of verification."""

from __future__ import annotations

import re
from dataclasses import dataclass

from envparity.oci.entries import shown
from envparity.oci.tree import Node
from envparity.values import Change, Difference, Effect, Finding, Gap, GapKind, Lock, Severity

SECTIONS = ("files", "configuration")
"""Differences of these sections say that bytes are not what they should be."""


@dataclass(frozen=True)
class Evidence:
    """Findings, what could not be looked at, what was counted, and what the image or the lock declares of itself."""

    findings: tuple[Finding, ...]
    gaps: tuple[Gap, ...] = ()
    checked: tuple[tuple[str, int], ...] = ()
    declared: tuple[str, ...] = ()

    def __add__(self, other: Evidence) -> Evidence:
        """Both; what both say of one place is said once."""
        findings = (*self.findings, *(item for item in other.findings if item not in self.findings))
        gaps = tuple(dict.fromkeys((*self.gaps, *other.gaps)))
        declared = tuple(dict.fromkeys((*self.declared, *other.declared)))
        return Evidence(findings, gaps, (*self.checked, *other.checked), declared)


@dataclass(frozen=True)
class Row:
    """One member of a layer, with everything that a container could notice. Times are not part of it."""

    kind: str
    mode: int
    uid: int = 0
    gid: int = 0
    target: str = ""
    sha256: str = ""
    xattrs: tuple[str, ...] = ()

    def __str__(self) -> str:
        owner = "" if self.uid == self.gid == 0 else f" of {self.uid}:{self.gid}"
        what = f" sha256 {self.sha256[:16]}" if self.sha256 else f" to {shown(self.target)}" if self.target else ""
        extended = f" with {', '.join(map(shown, self.xattrs))}" if self.xattrs else ""
        return f"{self.kind} {self.mode:04o}{owner}{what}{extended}"


def row_of(node: Node) -> Row:
    """The row of a member that was read."""
    xattrs = tuple(sorted(name for name, _ in node.xattrs))
    return Row(node.kind, node.mode, node.uid, node.gid, node.target, node.sha256, xattrs)


def is_integrity(finding: Finding) -> bool:
    """Whether a finding says that bytes are not what they should be (exit status 5)."""
    return finding.difference.section in SECTIONS and finding.severity is Severity.CRITICAL


_REASONS = {
    Change.ADDED: "This file is not among the recorded ones: it can be imported, loaded or started.",
    Change.REMOVED: "A recorded file is missing.",
    Change.CHANGED: "This file is not the recorded one.",
}


def file_finding(
    path: str, change: Change, before: str, after: str, layer: str, owner: str, reason: str = ""
) -> Finding:
    """A file that is not what it should be: named with its layer and its owner."""
    difference = Difference(
        section="files",
        item=f"/{shown(path.lstrip('/'))}",
        change=change,
        before=before,
        after=after,
        note=f"{layer}, owner: {owner}",
    )
    return Finding(
        difference=difference,
        severity=Severity.CRITICAL,
        effect=Effect.UNKNOWN,
        reason=reason or _REASONS[change],
        fix=_FIXES.get(owner, "build the image again from the lock, and find out who changed this one"),
    )


SERVER_OF_OURS = "the server of envparity"
"""Who owns the files of `build --serve`."""

_FIXES = {
    SERVER_OF_OURS: "a release of envparity brings its own server: verify with the one that built the image, or build"
    " it again; where it was this one, find out who changed the image",
}


def counterpart_finding(path: str, owner: str) -> Finding:
    """The files of another platform's wheel, where the recorded one cannot be loaded."""
    difference = Difference(
        section="files",
        item=f"/{shown(path.lstrip('/'))}",
        change=Change.CHANGED,
        before="as recorded",
        after="another platform's",
        note=f"owner: {owner}",
    )
    return Finding(
        difference=difference,
        severity=Severity.HIGH,
        effect=Effect.SILENT_NUMERIC,
        reason=f"The wheel of {owner} that trained the model is for another platform or Python than this image: what"
        " lies here is not what trained it, and no snapshot knows its files.",
        fix="name your own lock beside the snapshot (`--lock pylock.toml`), which has their digests; or train on the"
        " platform that serves",
    )


def configuration_finding(
    item: str, before: str, after: str, severity: Severity, reason: str, fix: str = ""
) -> Finding:
    """A setting of the image that is not what it should be."""
    change = Change.ADDED if not before else Change.REMOVED if not after else Change.CHANGED
    difference = Difference(section="configuration", item=shown(item), change=change, before=before, after=after)
    return Finding(difference=difference, severity=severity, effect=Effect.BEHAVIOUR, reason=reason, fix=fix)


def decides_code(name: str) -> bool:
    """Whether a variable of this name decides which code runs, whatever the files are."""
    return _DECIDES_CODE.fullmatch(name) is not None


def must_be_expected(name: str, lock: Lock) -> bool:
    """Whether a variable that a builder set has to be what the caller of a verification expects."""
    return decides_code(name) or name == "PATH" or name in {item.name for item in lock.settings}


_DECIDES_CODE = re.compile(
    r"LD_.*|PYTHON(PATH|HOME|STARTUP|INSPECT|USERBASE|EXECUTABLE|PLATLIBDIR|PYCACHEPREFIX|BREAKPOINT)"
    r"|GLIBC_TUNABLES|GCONV_PATH|OPENSSL_(CONF|MODULES|ENGINES)|BASH_ENV|ENV"
)


def unread(reason: str, item: str = "") -> Gap:
    """Something that should have been looked at, and could not be."""
    return Gap(section="files", kind=GapKind.UNREAD, reason=reason, item=item)


def not_compiled_again(count: int, version: str) -> Gap:
    """That so many files of byte code were held against nothing, as no Python that makes such is here."""
    return unread(
        f"{count:,} byte-compiled files run in the place of their sources, and Python {version}, which makes such, is"
        " not on the PATH to compile these again"
    )


def no_application(brought: bool, item: str) -> Gap:
    """That the folder of the application is not at hand; of a lock that the image `brought`, nobody can have it."""
    if brought:
        return Gap(
            section="files",
            kind=GapKind.NOT_RECORDED,
            reason="the application is in no lock: to hold it against its folder, name that with --app",
            item=item,
        )
    return unread("the application is not at hand: name it with --app", item)


def not_recorded(reason: str) -> Gap:
    """Something that this kind of reference says nothing of."""
    return Gap(section="files", kind=GapKind.NOT_RECORDED, reason=reason)
