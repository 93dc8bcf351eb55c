"""A baseline: findings that are there and accepted, so that only what is new fails."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from envparity.codec import canonical, load_json, require_known, shaped
from envparity.errors import MalformedError
from envparity.values import Change, Effect, Finding, Severity

NEWEST = 1


class Accepted(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One finding that was there: its difference, and how bad it was."""

    section: str
    item: str
    field: str
    change: Change
    before: str
    after: str
    severity: Severity
    effect: Effect


class Baseline(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was accepted for each target, by the name that it had on the command line, and when."""

    schema: int = NEWEST
    kind: str = "baseline"
    written_on: str
    targets: dict[str, tuple[Accepted, ...]]


def load_baseline(data: bytes, what: str) -> Baseline:
    """
    A baseline as it was written.

    Raises:
        MalformedError: it is none, or of a newer version.
    """
    value = load_json(data, what)
    require_known(value, what, NEWEST)
    baseline = shaped(value, Baseline, what)
    if baseline.kind != "baseline":
        raise MalformedError(f"{what} is no baseline", hint="write one: `envparity diff … --write-baseline FILE`")
    return baseline


def write_baseline(findings: Mapping[str, Iterable[Finding]], today: datetime.date) -> bytes:
    """
    The document that accepts these findings, by target. What the policy itself found is never accepted, nor what is
    not known.
    """
    targets = {
        target: tuple(
            _accepted(finding)
            for finding in found
            if finding.severity is not Severity.INFO
            and finding.difference.change is not Change.UNKNOWN
            and finding.difference.section != "policy"
        )
        for target, found in findings.items()
    }
    baseline = Baseline(written_on=today.isoformat(), targets=targets)
    return msgspec.json.format(canonical(msgspec.to_builtins(baseline)), indent=1) + b"\n"


def accept(baseline: Baseline, findings: Iterable[Finding], target: str) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """
    The findings, less what the baseline accepts for this target, and notes on what is in it and not there any more.

    A finding that has become worse since, or that does something else, is a new one.
    """
    if target not in baseline.targets:
        return tuple(findings), (f"the baseline knows no target `{target}`: nothing was accepted",)
    left = {_key(entry): entry for entry in baseline.targets[target]}
    known = dict(left)
    out = []
    for finding in findings:
        entry = known.get(_key(_accepted(finding)))
        if entry is None or finding.severity.rank > entry.severity.rank or finding.effect is not entry.effect:
            out.append(finding)
            continue
        left.pop(_key(entry), None)
        if finding.severity is Severity.INFO:
            out.append(finding)
            continue
        told = f"accepted in the baseline of {baseline.written_on}"
        out.append(replace(finding, severity=Severity.INFO, was=finding.severity, policy=told))
    gone = f"{len(left)} of the baseline are not found any more: write it again" if left else ""
    return tuple(out), (gone,) if gone else ()


def _accepted(finding: Finding) -> Accepted:
    difference = finding.difference
    names = ("section", "item", "field", "change", "before", "after")
    return Accepted(
        **{name: getattr(difference, name) for name in names}, severity=finding.severity, effect=finding.effect
    )


def _key(entry: Accepted) -> tuple[str, ...]:
    return (entry.section, entry.item, entry.field, entry.change, entry.before, entry.after)
