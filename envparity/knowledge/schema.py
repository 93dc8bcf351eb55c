"""The shape of a rule and of the general order. Frozen; a key that is not known here is an error."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from envparity.values import Change, Effect, Evidence, Severity

Text = Annotated[str, Meta(min_length=1)]
RuleId = Annotated[str, Meta(pattern="^[a-z0-9]+(-[a-z0-9]+)+$")]


class Direction(StrEnum):
    """Which way a change must go for a rule to speak of it."""

    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"
    EITHER = "either"


class When(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    Which differences a rule speaks of.

    A `distribution`, or a `section` with `item` (which may hold `*`) and `field` (empty: any). `before` and `after` are
    version ranges (PEP 440); empty: any. `changed_by` asks that this part of the version or a greater one differs.
    `needs` are requirements (`numpy>=1.22`) of which each must be met by at least one side.
    """

    direction: Direction
    distribution: str = ""
    section: str = ""
    item: str = ""
    field: str = ""
    before: str = ""
    after: str = ""
    changes: tuple[Change, ...] = (Change.CHANGED,)
    changed_by: str = ""
    needs: tuple[str, ...] = ()


class Example(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The texts of a difference that a rule fires on, or is silent on."""

    before: str = ""
    after: str = ""
    change: Change = Change.CHANGED


class Proof(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    How a rule is known: `measured` with its setting, or `cited` with a public address.

    A measured one names its `cell` in `docs/lab/` (`LIBRARY/CASE/BEFORE->AFTER`; the case `*` is every case), and the
    first digits of the `digest` that the case has there.
    """

    kind: Annotated[str, Meta(pattern="^(measured|cited)$")]
    gist: Text
    read_on: Annotated[str, Meta(pattern="^20[0-9]{2}-[0-9]{2}-[0-9]{2}$")]
    url: Annotated[str, Meta(pattern="^(https://.+)?$")] = ""
    cell: Annotated[str, Meta(pattern=r"^([a-z0-9-]+/([A-Za-z0-9_.-]+|\*)/[^/\s]+->[^/\s]+)?$")] = ""
    digest: Annotated[str, Meta(pattern="^([0-9a-f]{12,64})?$")] = ""

    @property
    def evidence(self) -> Evidence:
        """The same as a finding carries it."""
        return Evidence(kind=self.kind, gist=self.gist, url=self.url, read_on=self.read_on)


class Rule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    One piece of knowledge. Its `id` never changes.

    `model_refers_to`: classes (`module:qualname`) or modules, of which the model's file must name one. Without a model
    the rule speaks with the severity `without_model`, and where a model is known and names none, with `elsewhere`
    (absent: it is silent). `only_these`: of the rule's distribution the model may name nothing but these; a rule that
    says SAFE needs it. `reason` is for a reader who does not program; `fix` may use {before} and {after}. `unverified`
    marks what nobody has looked up yet: it ranks low at most, and never says SAFE.
    """

    id: RuleId
    title: Text
    when: When
    effect: Effect
    severity: Severity
    reason: Text
    fix: str = ""
    evidence: Annotated[tuple[Proof, ...], Meta(min_length=1)]
    example: Example
    counterexample: Example
    model_refers_to: tuple[str, ...] = ()
    only_these: tuple[str, ...] = ()
    without_model: Severity | None = None
    elsewhere: Severity | None = None
    unverified: bool = False

    @property
    def safe(self) -> bool:
        """Whether the rule says that nothing changes; it then lowers what the general order says."""
        return self.severity is Severity.INFO


class RuleFile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file of rules. `sets` are lists of classes, which `only_these` names as `@NAME`."""

    schema: int = 1
    rules: tuple[Rule, ...]
    sets: dict[str, tuple[str, ...]] = {}


class Level(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a distribution changed: a sentence with `{role}` in it, and what such a change does."""

    sentence: Text
    effect: Effect
    fix: str = ""


class Role(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a distribution is to the model, in words, and the severity of each level of change."""

    words: Text
    severities: dict[str, Severity]


class Fact(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    The general word on a difference outside the distributions. The first that fits speaks; empty fits anything.

    `items` may end in `*`. `level` is that of a version (`minor` …), or `upstream` and `revision` of an OS package.
    """

    section: str
    severity: Severity
    effect: Effect
    reason: Text
    field: str = ""
    items: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    level: str = ""
    fix: str = ""


class General(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The order for what no rule names."""

    levels: dict[str, Level]
    roles: dict[str, Role]
    facts: tuple[Fact, ...]
    satisfied: Text
    unknown: Text
    development: tuple[str, ...]
    compiled: tuple[str, ...]
    import_names: dict[str, tuple[str, ...]]
