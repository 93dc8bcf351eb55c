"""Does production match what the model was trained in? Compare, judge, and say it in one value."""

from __future__ import annotations

import datetime
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from envparity import files
from envparity import policy as policies
from envparity.codec import UnknownKeysWarning, content_digest, load_environment
from envparity.collectors.halves import Halves
from envparity.compare import compare_all, overview, same, smallest, unmet
from envparity.errors import EnvparityError, ExitStatus, IncompleteError, worst
from envparity.knowledge import Rule, judge
from envparity.policy import Baseline, Policy
from envparity.values import Change, Difference, Environment, Finding, Gap, GapKind, Report, Severity, Standing

__all__ = ["across", "between", "many", "placed"]

_NAMED_IN_FILES = {"distributions", "conda_packages", "python"}


def between(
    before: Environment,
    after: Environment,
    *,
    fail_on: Severity = Severity.HIGH,
    strict: bool = False,
    allow_incomplete: bool = False,
    labels: tuple[str, str] | None = None,
    rules: tuple[Rule, ...] | None = None,
    policy: Policy | None = None,
    baseline: Baseline | None = None,
    today: datetime.date | None = None,
    brief: bool = False,
) -> Report:
    """
    Every difference between two Environments, and what the served one needs and its place does not have: judged, worst
    first, with the exit status that it stands for.

    Args:
        before: where the model was trained.
        after: where it is served.
        fail_on: the least severity that is a failure (status 1).
        strict: what a source cannot record fails too (status 3), not only what could not be read.
        allow_incomplete: answer although something could not be read.
        labels: what to call the two sides; else what they were read from.
        rules: the rules that judge; else those that ship.
        policy: what the team decided of findings. Its `fail_on` is the caller's to ask for.
        baseline: findings that are accepted, for a target of the second label.
        today: the day on which exceptions are looked at; else this one.
        brief: without what only a page for a person shows: digests, layers, the smallest change that would do.

    Raises:
        IncompleteError: there is not one fact that both sides know, so that there is no answer at all.
    """
    names = labels or (_label(before, "before"), _label(after, "after"))
    differences, count = compare_all(before, after)
    if not count:
        raise IncompleteError(
            f"there is nothing to compare between {names[0]} and {names[1]}: not one fact is known of both",
            hint="take a snapshot of each with `envparity snapshot`",
            details=tuple(
                _told(name, gap)
                for name, side in zip(names, (before, after), strict=True)
                for gap in side.gaps
                if gap.kind is GapKind.UNREAD
            ),
        )
    # What the model was trained with all the same is no reason against its like.
    there = {(need.item, need.field) for need in unmet(before)}

    def judged(served: Environment, differences: Sequence[Difference]) -> policies.Applied:
        needs = [need for need in unmet(served, before) if (need.item, need.field) not in there]
        found = judge(before, served, [*differences, *needs], rules=rules)
        return _decided(found, before, served, names[1], policy, baseline, today or datetime.date.today())

    def failing(served: Environment) -> list[Finding]:
        found = judged(served, compare_all(before, served)[0]).findings
        return [finding for finding in found if _fails(finding, fail_on)]

    findings, unused, notes = judged(after, differences)
    over = any(_fails(finding, fail_on) for finding in findings)
    remedy = smallest(before, after, failing) if over and not brief else None
    blocked: list[str] = []
    for name, side, other in zip(names, (before, after), (after, before), strict=True):
        if side.origin.kind == "image" and side.distributions is None and other.distributions and not allow_incomplete:
            blocked.append(f"{name} has no Python on its PATH, so no library could be compared (--allow-incomplete)")
        if not side.complete and not allow_incomplete:
            blocked.append(f"{name} could not be read completely (--allow-incomplete answers all the same)")
        if strict and any(gap.kind is GapKind.NOT_RECORDED for gap in side.gaps):
            blocked.append(f"{name} does not record everything (--strict)")
    if strict and not blocked and any(_unknown(finding.difference.change) for finding in findings):
        blocked.append("some facts are known of one side only (--strict)")
    return Report(
        before=names[0],
        after=names[1],
        before_digest="" if brief else content_digest(before),
        after_digest="" if brief else content_digest(after),
        findings=findings,
        compared=count,
        complete=before.complete and after.complete,
        fail_on=fail_on,
        status=worst(
            ExitStatus.FINDINGS if over else ExitStatus.OK, ExitStatus.UNFINISHED if blocked else ExitStatus.OK
        ),
        blocked=tuple(blocked),
        gaps_before=before.gaps,
        gaps_after=after.gaps,
        unused=unused,
        notes=notes,
        pins=remedy.pins if remedy is not None else (),
        left=len(remedy.left) if remedy is not None else 0,
        layers=() if brief else overview(before, after),
        same=() if brief else same(before, after, differences),
        origin_before=before.origin,
        origin_after=after.origin,
    )


def _decided(
    findings: tuple[Finding, ...],
    before: Environment,
    after: Environment,
    target: str,
    policy: Policy | None,
    baseline: Baseline | None,
    today: datetime.date,
) -> policies.Applied:
    """The findings as a policy and a baseline leave them, worst first."""
    applied = policies.Applied(findings, (), ())
    if policy is not None:
        applied = policies.apply(policy, findings, before=before, after=after, target=target, today=today)
    notes = applied.notes
    findings = applied.findings
    if baseline is not None:
        findings, more = policies.accept(baseline, findings, target)
        notes += more
    ordered = sorted(findings, key=lambda finding: -finding.severity.rank)
    return policies.Applied(tuple(ordered), applied.unused, notes)


def _fails(finding: Finding, fail_on: Severity) -> bool:
    return finding.severity.at_least(fail_on) and not _unknown(finding.difference.change)


def across(reports: Sequence[Report]) -> tuple[Report, ...]:
    """Reports of one environment against several targets: of the policy, only what none of them used is unused."""
    everywhere = set.intersection(*(set(report.unused) for report in reports)) if reports else set()
    return tuple(
        replace(report, unused=tuple(entry for entry in report.unused if entry in everywhere)) for report in reports
    )


def placed(report: Report, before: str, after: str, *, base_dir: Path | None = None) -> Report:
    """
    The same report, with the file and the lines that a pipeline can point at: those of `after`, which is the side that
    will be changed, else of `before`. Where neither reference is a file of text, it is returned as it is.
    """
    from envparity.sources import places

    items = {finding.difference.item for finding in report.findings if finding.difference.section in _NAMED_IN_FILES}
    for reference in (after, before):
        found = places.place(reference, items, base_dir or Path())
        if found is not None:
            return replace(report, place=found)
    return report


def _unknown(change: Change) -> bool:
    return change is Change.UNKNOWN


def _label(environment: Environment, otherwise: str) -> str:
    return environment.origin.reference or environment.origin.kind or otherwise


def _told(name: str, gap: Gap) -> str:
    return f"{name}: {gap.section}{f' {gap.item}' if gap.item else ''}: {gap.reason}"


def many(snapshots: Sequence[str], after: Environment, label: str, **options: Any) -> tuple[Standing, ...]:
    """
    Each of many saved snapshots against one target, worst first; on two cores where there are two.

    Args:
        snapshots: the paths of the files.
        after: the target, which is called `label`.
        options: as `between` takes them, but for `labels`.
    """

    def work(path: str) -> Any:
        return msgspec.to_builtins(_standing(path, after, label, options))

    found = [msgspec.convert(told, Standing) for told in Halves(list(snapshots), work).results()]
    return tuple(sorted(found, key=_worst_first))


def _standing(path: str, after: Environment, label: str, options: Mapping[str, Any]) -> Standing:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnknownKeysWarning)
            before = load_environment(files.read_bytes(path, what="snapshot"), path)
        report = between(before, after, labels=(path, label), brief=True, **options)
    except EnvparityError as error:
        return Standing(label=path, status=int(error.status), error=str(error))
    counts = Counter(str(finding.severity) for finding in report.findings if not _unknown(finding.difference.change))
    worst = next((finding for finding in report.findings if not _unknown(finding.difference.change)), None)
    return Standing(label=path, status=report.status, counts=dict(counts), worst=worst)


def _worst_first(standing: Standing) -> tuple[bool, int, str]:
    rank = standing.worst.severity.rank if standing.worst is not None else -1
    return not standing.error, -rank, standing.label
