"""The shape of a policy. Frozen; a key that is not known here is an error, so that a typo never widens an exception."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from envparity.values import Effect, Severity

Text = Annotated[str, Meta(min_length=1)]
Day = Annotated[str, Meta(pattern="^20[0-9]{2}-[01][0-9]-[0-3][0-9]$")]


class Matcher(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    Which findings an entry speaks of: those that fit everything that it names.

    `rule` is an id; `distribution` a name; `section`, `item` and `field` are those of the difference; `before` and
    `after` its texts; `target` what the compared side was called on the command line.
    """

    rule: str = ""
    distribution: str = ""
    section: str = ""
    item: str = ""
    field: str = ""
    before: str = ""
    after: str = ""
    effect: Effect | None = None
    severity: Severity | None = None
    target: str = ""


class Exemption(Matcher, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A finding that is not held against the verdict: why, who answers for that, and until which day it holds."""

    reason: Text
    owner: Text
    until: Day


class Lowering(Exemption, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A finding that counts for less."""

    to: Severity


class Raising(Matcher, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A finding that counts for more."""

    to: Severity
    reason: Text


class Demand(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    What must not be served, or must be: a distribution, in `versions` (PEP 440; empty: any). `target` as in a Matcher.
    """

    distribution: Text
    reason: Text
    versions: str = ""
    target: str = ""


class Policy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `parity.yaml`. `baseline` is the file of accepted findings, beside it."""

    schema: int = 1
    fail_on: Severity | None = None
    ignore: tuple[Exemption, ...] = ()
    lower: tuple[Lowering, ...] = ()
    raise_: tuple[Raising, ...] = field(name="raise", default=())
    forbid: tuple[Demand, ...] = ()
    require: tuple[Demand, ...] = ()
    baseline: str = ""
