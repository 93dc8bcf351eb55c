"""What a comparison comes to, in the words that every format uses: the verdict, why, what matters and who can act."""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum
from typing import NamedTuple

from envparity.errors import ExitStatus
from envparity.report.text import NAME, bounded
from envparity.values import Change, Effect, Finding, Report, Severity
from envparity.words import counted, listed


class Outcome(StrEnum):
    """The three answers that there are."""

    DIFFERENT = "different"
    INCOMPLETE = "incomplete"
    OK = "ok"


def outcome(report: Report) -> Outcome:
    """Which of the answers it is. What is over the threshold weighs more than what is missing."""
    if any(finding.severity.at_least(report.fail_on) for finding in judged(report)):
        return Outcome.DIFFERENT
    return Outcome.INCOMPLETE if report.blocked else Outcome.OK


def judged(report: Report) -> list[Finding]:
    """The findings that both sides know of."""
    return [finding for finding in report.findings if finding.difference.change is not Change.UNKNOWN]


def unjudged(report: Report) -> list[Finding]:
    """The findings that one side alone knows of."""
    return [finding for finding in report.findings if finding.difference.change is Change.UNKNOWN]


def verdict(report: Report) -> str:
    """The answer in one line: `DIFFERENT: 1 critical, of 132 differences`."""
    known = judged(report)
    total = counted(len(known), "difference")
    match outcome(report):
        case Outcome.DIFFERENT:
            counts = Counter(finding.severity for finding in known if finding.severity.at_least(report.fail_on))
            what = ", ".join(f"{counts[severity]} {severity}" for severity in Severity if counts[severity])
            return f"DIFFERENT: {what}, of {total}"
        case Outcome.INCOMPLETE:
            return f"INCOMPLETE: no answer; {total} in what could be compared"
    if known:
        return f"OK: none of {total} is {or_worse(report.fail_on)}"
    unknown = f"; {len(report.findings)} known on one side only" if report.findings else ""
    return f"OK: no difference in {counted(report.compared, 'fact')}{unknown}"


def status(report: Report) -> str:
    """What was compared, and why the exit status is what it is. It holds the names of the two sides."""
    match report.status:
        case ExitStatus.FINDINGS:
            because = f"a finding is {or_worse(report.fail_on)} (--fail-on)"
        case ExitStatus.UNFINISHED:
            because = "; ".join(bounded(reason, 600) for reason in report.blocked)
        case _:
            because = f"nothing is {or_worse(report.fail_on)} (--fail-on)"
    return f"{counted(report.compared, 'fact')} compared. Exit status {int(report.status)}: {because}."


def remedy(report: Report) -> str:
    """The smallest change after which it passes, or nothing where no pin helps."""
    if not report.pins:
        return ""
    pins = sorted((bounded(pin, NAME) for pin in report.pins), key=lambda pin: pin.startswith("without "))
    serve = "serve " if pins[0].startswith("without ") else "serve with "
    rest = f"; what is left then ({counted(report.left, 'finding')}) no pin clears" if report.left else ""
    return f"To pass, {serve}{listed(pins, 12)}{rest}."


def decided(finding: Finding) -> str:
    """What a policy made of a finding, or nothing."""
    return f"{finding.policy} (was {finding.was})" if finding.policy else ""


def of_policy(report: Report) -> list[str]:
    """What the policy left to be said."""
    unused = (f"{entry} matched nothing; remove it" for entry in report.unused)
    return [bounded(said) for said in (*report.notes, *unused)]


def or_worse(severity: Severity) -> str:
    """`high or worse`; nothing is worse than critical."""
    return str(severity) if severity is Severity.CRITICAL else f"{severity} or worse"


def matters(finding: Finding, fail_on: Severity) -> bool:
    """Whether a finding is shown in full: it is grave, or a rule speaks, or it is over the threshold."""
    severity = finding.severity
    if severity is Severity.INFO:
        return False
    if severity.at_least(Severity.HIGH) or (severity is Severity.MEDIUM and bool(finding.rule)):
        return True
    # Hundreds of OS packages that only the general order speaks of are a line together, however strict the caller is.
    return severity.at_least(fail_on) and finding.difference.section != "os_packages"


EFFECTS = {
    Effect.LOAD_FAILURE: "the model may not load, or fail at its first prediction",
    Effect.SILENT_NUMERIC: "other answers, without an error",
    Effect.BEHAVIOUR: "other behaviour",
    Effect.PERFORMANCE: "slower, or more memory",
    Effect.SECURITY: "open to attack",
    Effect.COSMETIC: "only how things look",
    Effect.UNKNOWN: "not known",
}
"""What an effect means, for people who do not program."""


def effect(finding: Finding) -> str:
    """The same of one finding: the answers of a small one are other ones, those of a grave one are wrong."""
    if finding.effect is Effect.SILENT_NUMERIC and finding.severity.at_least(Severity.HIGH):
        return "wrong answers, without an error"
    return EFFECTS[finding.effect]


_BUILDER = "whoever builds the image, or installs the servers"
_OWNERS = {
    "distributions": "whoever keeps the requirements or the image of production",
    "conda_packages": "whoever keeps the conda environment of production",
    "python": _BUILDER,
    "system": _BUILDER,
    "os_packages": _BUILDER,
    "native_libraries": _BUILDER,
    "numerics": "whoever sets the variables and the hosts of production",
    "cpu": "whoever chooses the hosts of production",
    "accelerators": "whoever runs the hosts with accelerators",
    "settings": "whoever deploys, and sets its variables",
    "source_code": "whoever writes the code that serves the model",
    "artifacts": "whoever trains the model, and hands it over",
}


def _keeper(section: str) -> str:
    return _OWNERS.get(section, "whoever keeps the environment of production")


def owner(finding: Finding) -> str:
    """By whom it can be cleared, in words for people who know each other's trades and not the tools."""
    named = _keeper(finding.difference.section)
    trained = _OWNERS["artifacts"]
    return f"{named}; or {trained}" if "train again" in finding.fix and named != trained else named


class Way(NamedTuple):
    """One way out: what is done, by whom, and whether it belongs to the smallest change of the report."""

    what: str
    who: str
    smallest: bool


def ways(finding: Finding, report: Report) -> list[Way]:
    """The ways out of a finding, each with who goes it. Who trains again is another one."""
    difference = finding.difference
    first, again, second = finding.fix.partition(", or train again")
    pinned = any(_pinned(pin) == difference.item for pin in report.pins)
    smallest = pinned and (difference.before in first if difference.before else not again)
    who = keeper(finding, report)
    if "train again" in first:
        who = _OWNERS["artifacts"] if first.startswith("train again") else f"{who}; and {_OWNERS['artifacts']}"
    found = [Way(first, who, smallest)] if first else []
    return [*found, Way(f"train again{second}", _OWNERS["artifacts"], False)] if again else found


def keeper(finding: Finding, report: Report) -> str:
    """Who keeps the part of production that a finding is about; the keeper of a file by the name of the file."""
    section, origin = finding.difference.section, report.origin_after
    if section == "distributions" and origin is not None and origin.kind == "requirements":
        return f"whoever keeps {bounded(report.after, NAME)}"
    return _keeper(section)


def _pinned(pin: str) -> str:
    found = re.match(r"(?:without )?([A-Za-z0-9._-]+)", pin)
    return found[1] if found else ""
