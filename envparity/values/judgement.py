"""What is concluded from two Environments: differences, findings, a verdict."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from envparity.values.environment import Gap, Origin


class Change(StrEnum):
    """
    How two Environments disagree on one fact. `unknown`: one side has a gap there. `satisfied`: one side only
    declares a range, and the other lies in it.
    """

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    SATISFIED = "satisfied"
    UNKNOWN = "unknown"


class Difference(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One fact that two Environments do not share. `before` and `after` are texts for people and for rules."""

    section: str
    item: str
    field: str = ""
    change: Change
    before: str = ""
    after: str = ""
    note: str = ""


class Severity(StrEnum):
    """How bad it is, from worst to least."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    @property
    def rank(self) -> int:
        """4 for critical down to 0 for info."""
        return 4 - tuple(Severity).index(self)

    def at_least(self, other: Severity) -> bool:
        """Whether this is as bad as `other`, or worse."""
        return self.rank >= other.rank


class Effect(StrEnum):
    """What a difference does to a prediction."""

    LOAD_FAILURE = "load-failure"
    SILENT_NUMERIC = "silent-numeric"
    BEHAVIOUR = "behaviour"
    PERFORMANCE = "performance"
    SECURITY = "security"
    COSMETIC = "cosmetic"
    UNKNOWN = "unknown"


class Evidence(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How we know: measured by us (with the setting), or cited (a public address and the gist of what it says)."""

    kind: str
    gist: str
    url: str = ""
    read_on: str = ""


class Finding(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    A difference that has been judged. `rule` is empty where only the general order spoke; `also` names further rules
    that fit, and that say nothing worse. Where a policy changed it, `policy` says how and why, and `was` is what it was
    before.
    """

    difference: Difference
    severity: Severity
    effect: Effect
    reason: str
    rule: str = ""
    fix: str = ""
    evidence: tuple[Evidence, ...] = ()
    also: tuple[str, ...] = ()
    was: Severity | None = None
    policy: str = ""


class Verdict(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    Pass or fail, with the findings that decided it.

    `status` is the exit status that says the same; `checked` counts what was compared, step by step; `declared` are
    lines on what differs and was declared when locking.
    """

    passed: bool
    status: int
    image: str
    against: str
    digest: str = ""
    findings: tuple[Finding, ...] = ()
    gaps: tuple[Gap, ...] = ()
    checked: tuple[tuple[str, int], ...] = ()
    declared: tuple[str, ...] = ()


class Standing(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    One of many environments against one target, in short: `counts` of findings by severity, and the `worst` of them.
    `error` says why there is no answer; the status is then that of the error.
    """

    label: str
    status: int
    counts: dict[str, int] = {}
    worst: Finding | None = None
    error: str = ""


class Layer(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One layer of two runtimes (`Python`, `C library`), each side in few words; empty where it does not say."""

    name: str
    before: str = ""
    after: str = ""


class Place(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    Where a file names what a finding is about. `path` is relative to the working directory where the file lies below
    it. `lines` are pairs of an item and the line, counted from 1, that names it.
    """

    path: str
    lines: tuple[tuple[str, int], ...] = ()


class Report(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    What a comparison found. `before` and `after` are labels for people; `compared` counts the facts that both sides
    know. `status` is the exit status that it stands for, at `fail_on`; `blocked` says why it is not a full answer.
    `unused` are the entries of the policy that matched nothing; `notes` say what else a reader must know of it. `pins`
    are the fewest changes of what is served after which nothing fails but the `left` findings, which no pin clears.
    `layers` sum up the two sides, from the model down to the processor; `same` names the libraries that are equal, with
    their version; `origin_before` and `origin_after` say when and from what the sides were read. `place` is the file to
    be changed, where a side is a file.
    """

    before: str
    after: str
    before_digest: str
    after_digest: str
    findings: tuple[Finding, ...]
    compared: int
    complete: bool
    fail_on: Severity
    status: int
    blocked: tuple[str, ...] = ()
    gaps_before: tuple[Gap, ...] = ()
    gaps_after: tuple[Gap, ...] = ()
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    left: int = 0
    layers: tuple[Layer, ...] = ()
    same: tuple[str, ...] = ()
    origin_before: Origin | None = None
    origin_after: Origin | None = None
    place: Place | None = None
