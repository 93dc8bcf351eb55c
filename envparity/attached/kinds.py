"""What can be said about an image, by the words that people use for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from envparity.attached.about import About
from envparity.attached.papers import LOCK, SNAPSHOT, lock, snapshot
from envparity.attached.provenance import STATEMENT, provenance
from envparity.attached.sboms import CYCLONEDX, SPDX, cyclonedx, spdx
from envparity.errors import UsageError
from envparity.oci.referrers import Document
from envparity.oci.signatures import ATTESTATION, SIGNATURE

KINDS: dict[str, tuple[Callable[[About], Document], ...]] = {
    "sbom": (cyclonedx, spdx),
    "provenance": (provenance,),
    "lock": (lock,),
    "snapshot": (snapshot,),
}
"""What a caller names -> the makers of its documents."""

WORDS = {
    CYCLONEDX: "sbom",
    SPDX: "sbom",
    STATEMENT: "provenance",
    LOCK: "lock",
    SNAPSHOT: "snapshot",
    SIGNATURE: "signature",
    ATTESTATION: "attestation",
}
"""The same backwards: an artifact type -> the word for it."""


def chosen(text: str) -> tuple[str, ...]:
    """
    The kinds that `sbom,lock`, `all` or `none` mean.

    Raises:
        UsageError: another word is among them.
    """
    words = [word.strip() for word in text.split(",")]
    if words in (["all"], ["none"]):
        return tuple(KINDS) if words == ["all"] else ()
    for word in words:
        if word not in KINDS:
            raise UsageError(
                f"`{word}` is nothing that can be attached to an image",
                hint=f"name some of {','.join(KINDS)} with commas between, or `all`, or `none`",
            )
    return tuple(kind for kind in KINDS if kind in words)


def documents(kinds: Iterable[str], about: About) -> tuple[Document, ...]:
    """The documents of these kinds. Equal arguments give equal bytes."""
    return tuple(make(about) for kind in kinds for make in KINDS[kind])
