"""A policy applied to findings. Pure: the day is an argument."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec.structs import replace
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envparity.compare import effective
from envparity.policy.loader import as_text, entries
from envparity.policy.schema import Demand, Exemption, Lowering, Matcher, Policy, Raising
from envparity.values import Change, Difference, Distribution, Effect, Environment, Finding, Severity


class Applied(NamedTuple):
    """
    The findings after a policy. `unused` are the entries (`ignore[2] (rule …)`) that matched nothing; `notes` say what
    else a reader must know.
    """

    findings: tuple[Finding, ...]
    unused: tuple[str, ...]
    notes: tuple[str, ...]


def apply(
    policy: Policy,
    findings: Iterable[Finding],
    *,
    before: Environment,
    after: Environment,
    target: str,
    today: datetime.date,
) -> Applied:
    """
    Every finding as the policy has it, and one more for each demand that is not met and each exception that has ended.

    An exception that has ended changes nothing. Where one entry raises a finding and another lowers it, it is raised.
    What is not known is never changed: a policy cannot make it known.
    """
    of_target = [
        (where, entry)
        for where, entry in entries(policy)
        if entry.target in {"", target} and not isinstance(entry, Demand)
    ]
    ended = {where for where, entry in of_target if isinstance(entry, Exemption) and _ended(entry, today)}
    used: set[str] = set()
    out: list[Finding] = []
    notes: list[str] = []
    for finding in findings:
        fitting = [] if _unknown(finding) else [pair for pair in of_target if matches(pair[1], finding)]
        used.update(where for where, _ in fitting)
        changed = _changed(finding, [pair for pair in fitting if pair[0] not in ended])
        if changed.policy and len(fitting) > 1 and changed.severity.rank > finding.severity.rank:
            lowering = [where for where, entry in fitting if isinstance(entry, Exemption) and where not in ended]
            notes += [f"{_name(finding)} is both raised and lowered ({where}): it was raised" for where in lowering]
        out.append(changed)
    out += [_of_ended(where, entry, where in used) for where, entry in of_target if where in ended]
    out += _demands(policy, before, after, target)
    unused = [f"{where} ({as_text(entry)})" for where, entry in of_target if where not in used | ended]
    return Applied(tuple(out), tuple(unused), tuple(notes))


def matches(entry: Matcher, finding: Finding) -> bool:
    """Whether a finding is everything that an entry names, but for the target."""
    difference = finding.difference
    distribution = canonicalize_name(entry.distribution)
    return (
        (not entry.rule or entry.rule in (finding.rule, *finding.also))
        and (not distribution or (difference.section, difference.item) == ("distributions", distribution))
        and all(
            getattr(entry, name) in {"", getattr(difference, name)}
            for name in ("section", "item", "field", "before", "after")
        )
        and entry.effect in {None, finding.effect}
        and entry.severity in {None, finding.severity}
    )


def _unknown(finding: Finding) -> bool:
    return finding.difference.change is Change.UNKNOWN


def _name(finding: Finding) -> str:
    return " ".join(filter(None, (finding.difference.section, finding.difference.item, finding.difference.field)))


def _ended(entry: Exemption, today: datetime.date) -> bool:
    return datetime.date.fromisoformat(entry.until) < today


def _changed(finding: Finding, fitting: list[tuple[str, Matcher]]) -> Finding:
    raising = [entry for _, entry in fitting if isinstance(entry, Raising)]
    if raising:
        worst = max(raising, key=lambda entry: entry.to.rank)
        if worst.to.rank <= finding.severity.rank:
            return finding  # it is as bad already, and nothing may lower it
        return replace(finding, severity=worst.to, was=finding.severity, policy=f"raised: {worst.reason}")
    lowering = [entry for _, entry in fitting if isinstance(entry, Exemption)]
    if not lowering:
        return finding
    chosen = min(lowering, key=lambda entry: _to(entry).rank)
    to = _to(chosen)
    if to.rank >= finding.severity.rank:
        return finding
    word = f"lowered to {to}" if isinstance(chosen, Lowering) else "ignored"
    told = f"{word} until {chosen.until} by {chosen.owner}: {chosen.reason}"
    return replace(finding, severity=to, was=finding.severity, policy=told)


def _to(entry: Exemption) -> Severity:
    return entry.to if isinstance(entry, Lowering) else Severity.INFO


def _of_ended(where: str, entry: Matcher, used: bool) -> Finding:
    until, owner = getattr(entry, "until", ""), getattr(entry, "owner", "")
    still = "what it covered counts again" if used else "nothing fits it any more"
    return Finding(
        difference=Difference(section="policy", item=where, field="until", change=Change.CHANGED, before=until),
        severity=Severity.MEDIUM if used else Severity.LOW,
        effect=Effect.UNKNOWN,
        reason=f"This exception ({as_text(entry)}) ended on {until}; {still}.",
        fix=f"ask {owner}: remove it, or decide it anew with a later day",
    )


def _demands(policy: Policy, before: Environment, after: Environment, target: str) -> Iterator[Finding]:
    served = None if after.distributions is None else effective(after)
    for where, entry in entries(policy):
        if not isinstance(entry, Demand) or entry.target not in {"", target}:
            continue
        forbidden = where.startswith("forbid")
        name = canonicalize_name(entry.distribution)
        found = served.get(name) if served is not None else None
        holds = _holds(entry, found)
        range_ = f" {entry.versions}" if entry.versions else ""
        if served is None or holds is None:
            reason = (
                f"The policy {'forbids' if forbidden else 'requires'} {name}{range_}, and what is served is not known."
            )
        elif holds and forbidden:
            reason = f"The policy forbids {name}{range_}: {entry.reason}"
        elif not holds and not forbidden:
            reason = f"The policy requires {name}{range_}: {entry.reason}"
        else:
            continue
        yield Finding(
            difference=Difference(
                section="policy",
                item=name,
                field="forbidden" if forbidden else "required",
                change=Change.CHANGED,
                before=f"not{range_ or ' at all'}" if forbidden else range_.strip() or "any version",
                after=(found.version or found.specifier or "any version") if found else "not there",
            ),
            severity=Severity.CRITICAL,
            effect=Effect.BEHAVIOUR,
            reason=reason,
            fix=f"remove {name}, or serve another version" if forbidden else f"install {name}{range_}",
        )


def _holds(entry: Demand, found: Distribution | None) -> bool | None:
    """Whether the distribution is there, in these versions; `None` where its version does not tell."""
    if found is None:
        return False
    if not entry.versions:
        return True
    try:
        return SpecifierSet(entry.versions).contains(Version(found.version), prereleases=True)
    except InvalidVersion:
        return None
