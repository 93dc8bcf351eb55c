"""The JSON of a comparison as types: what `report/diff.py` writes, and what the schema that ships is derived from."""

from __future__ import annotations

from typing import Any, TypedDict

import msgspec

from envparity.values import Change, Effect, GapKind, Severity


class GapObject(TypedDict):
    """What one side does not know, and why."""

    section: str
    item: str
    kind: GapKind
    reason: str


class SideObject(TypedDict):
    """One of the two environments."""

    label: str
    digest: str
    gaps: list[GapObject]


class EvidenceObject(TypedDict):
    """How a rule knows: `measured` or `cited`."""

    kind: str
    gist: str
    url: str
    read_on: str


class FindingObject(TypedDict):
    """One finding; each key is always there, and a text is empty where there is nothing to say."""

    severity: Severity
    effect: Effect
    rule: str
    also: list[str]
    section: str
    item: str
    field: str
    change: Change
    before: str
    after: str
    note: str
    reason: str
    fix: str
    policy: str
    was: Severity
    evidence: list[EvidenceObject]


class PolicyObject(TypedDict):
    """What the policy left to be said, and its entries that matched nothing."""

    notes: list[str]
    unused: list[str]


class RemedyObject(TypedDict):
    """The fewest pins after which it passes, and how many findings no pin clears."""

    pins: list[str]
    left: int


class DiffDocument(TypedDict):
    """One comparison. `status` is the exit status that it stands for."""

    schema: int
    kind: str
    status: int
    complete: bool
    blocked: list[str]
    fail_on: Severity
    compared: int
    before: SideObject
    after: SideObject
    remedy: RemedyObject
    policy: PolicyObject
    counts: dict[Severity, int]
    findings: list[FindingObject]


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `envparity diff --format json`: one comparison, or a list of one for each target."""
    derived = msgspec.json.schema(DiffDocument)
    one = {"$ref": derived["$ref"]}
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report of a comparison",
        "anyOf": [one, {"type": "array", "items": one, "minItems": 2}],
        "$defs": derived["$defs"],
    }
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    return plain
