"""The small values that every section is made of: digests, sizes, names with values, and how a fact is known."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
"""Lower-case hexadecimal digest of some bytes."""

Digest = Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$", max_length=71)]
"""The same as OCI writes it. `diff_id` is the digest of the uncompressed layer, `digest` that of the stored blob."""

Size = Annotated[int, Meta(ge=0, le=2**53)]
"""A number of bytes; JSON cannot carry more exactly."""


class Variable(Struct, frozen=True, order=True):
    """A name and its value: an environment variable that may be recorded, a switch of a library, a parameter."""

    name: str
    value: str


class File(Struct, frozen=True, omit_defaults=True):
    """One file of a live place, named so that a later step can tell whether it is still the one that was seen."""

    path: str
    sha256: Sha256


class Basis(StrEnum):
    """How a fact is known. `>=1.26` against `1.26.4` is satisfied, not equal."""

    DECLARED = "declared"
    LOCKED = "locked"
    INSTALLED = "installed"
    LOADED = "loaded"


class GapKind(StrEnum):
    """
    `not recorded`: this kind of source cannot carry the fact. `unread`: it should be there, but could not be read;
    the Environment is then not complete.
    """

    NOT_RECORDED = "not-recorded"
    UNREAD = "unread"
