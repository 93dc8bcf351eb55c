"""
What a lock itself says of the differences that an image has from what it was made of, and which of the rest count.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from envparity.collectors.variables import OF_DRIVERS
from envparity.image.app import PLACE as APP
from envparity.locking import counterparts, development
from envparity.locking.selection import INSTALLERS
from envparity.values import Change, Difference, Finding, Lock, Severity, Variable


def counts(finding: Finding, fail_on: Severity) -> bool:
    """What an image cannot know is a gap, and no finding against it."""
    return finding.severity.at_least(fail_on) and finding.difference.change is not Change.UNKNOWN


def no_less(finding: Finding) -> Finding:
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


def undeclared(
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
        lines.append(f"{why}: {listed(names, 'distributions' if are_distributions else 'OS packages')}")
    return tuple(kept), lines


def listed(names: Collection[str], kind: str) -> str:
    """Some names, or how many of a kind there are."""
    return ", ".join(sorted(names)) if len(names) <= _MOST_NAMED else f"{len(names)} {kind}"


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
    if (difference.section, difference.item, difference.change) == ("settings", "TZ", "added"):
        # Which zone that gives is a fact of its own (`system`), and is held against the training's.
        return "set by the lock" if Variable("TZ", difference.after) in lock.settings else ""
    name = difference.item.partition(":")[0]
    target = lock.targets[0]
    if (difference.section, difference.change) == ("settings", "added") and name in OF_DRIVERS:
        return "set by the base" if Variable(name, difference.after) in target.variables else ""
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
        if name in INSTALLERS:
            return "left out by the lock"
        why = "only development needs it" if left_out[name] == development.REASON else "nothing used it"
        why = left_out[name] if left_out[name].startswith(counterparts.REASON) else why
        return f"left out by the lock, since {why}" if name in unused else ""
    if (difference.section, difference.field) == ("system", "tzdata"):
        # The same fact as the package's version, read from its tables.
        return "substituted by the lock" if "tzdata" in {item.name for item in target.substituted} else ""
    if difference.section != "os_packages":
        return ""
    locked = {item.name: item.version for item in target.held_packages}
    if difference.change == "removed" and name not in locked and name not in _NUMERIC_PACKAGES:
        return "left out by the lock"
    if difference.change == "added" and locked.get(name) == difference.after:
        return "added by the lock"
    substituted = {(item.name, item.before, item.after) for item in target.substituted}
    replaced = (name, difference.before, difference.after) in substituted and name not in _NUMERIC_PACKAGES
    return "substituted by the lock" if replaced else ""


_OF_FILES = frozenset({"wheel", "editable", "modified", "missing"})
_MOST_NAMED = 8
_NUMERIC_PACKAGES = frozenset({"libc6", "libc-bin", "libstdc++6", "libgomp1", "libgcc-s1"})
"""A substituted one of these is a finding even where it is declared: numbers are made in them."""
