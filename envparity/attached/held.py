"""
What lies beside an image, held against the image and against a key, in numbered steps.

    1  signature   the key signed this image under its name, or the index that this name leads to
    2  documents   each is about this image, and is what its digests say
    3  named       lock and snapshot are those whose digests stand in the image's own manifest
    4  signed      provenance and SBOMs are those that the key signed; what it did not sign is told
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from envparity.attached import found, statements
from envparity.attached.kinds import WORDS
from envparity.attached.papers import LOCK, SNAPSHOT
from envparity.attached.provenance import BUILD_TYPE, STATEMENT
from envparity.errors import IntegrityError
from envparity.image import configuration
from envparity.oci import referrers, signatures
from envparity.oci.access import Access
from envparity.oci.entries import shown
from envparity.oci.image import Image
from envparity.oci.keys import PublicKey
from envparity.oci.signatures import Statement
from envparity.values import Attachment

_READ = statements.SIGNED | {LOCK, SNAPSHOT}
_MOST_BYTES = 256 << 20
_HINT = "whoever may push there put it there: do not use it; push the image again, with its documents"


@dataclass(frozen=True)
class Beside:
    """
    What was held, with counts; what a reader should know of it; and the lock and the snapshot of the image, where they
    lie beside it: they are the very bytes that the image's manifest names.
    """

    checked: tuple[tuple[str, int], ...] = ()
    declared: tuple[str, ...] = ()
    lock: bytes | None = None
    snapshot: bytes | None = None


def held(image: Image, reference: str, access: Access, key: PublicKey | None, name: str = "") -> Beside:
    """
    Everything beside an image, held. Without a key nothing says whose it is, and step 2 and 3 alone are done.

    Args:
        reference: where the image lies. name: under which the key must have signed it.

    Raises:
        UnsupportedError: a key is named, and nothing can lie beside an image there.
        IntegrityError: it is not signed by that key; a document is about something else, or is another one than the
            image names, or than the key signed.
    """
    if key is None and not referrers.can_hold(reference):
        return Beside()
    with referrers.opened(reference, access=access) as place:
        checked: list[tuple[str, int]] = []
        # 1
        if key is not None:
            checked.append((_signed(place, image, key, name), 1))
        # 2
        there = [item for item in found.listed(place, image.digest, reference) if item.kind in _READ]
        size = sum(item.size_bytes for item in there)
        if size > _MOST_BYTES:
            raise IntegrityError(f"the documents beside the image are larger than any has: {size:,} bytes", hint=_HINT)
        files = [(item, place.blob(referrers.file_of(item))) for item in there]
        if files:
            checked.append(("documents beside it are about this image, and what their digests say", len(files)))
        # 3
        lock, snapshot = (_named(image, files, kind, label) for kind, label in _LABELS.items())
        # 4
        declared = tuple(_gone(place, image, there))
        if key is not None:
            stated = signatures.statements(place, image.digest, key)
            by_key = [item for item in stated if item.predicate_type != signatures.IS_SIGNED]
            _require_one_story(image, by_key)
            good = _require_signed(by_key, files, key)
            if by_key:
                words = sorted({WORDS.get(statements.kind_of(item), "") or "another" for item in by_key})
                checked.append((f"statements beside it are signed by {key.name}: {', '.join(words)}", len(by_key)))
            declared += tuple(_unsigned(files, good))
    return Beside(tuple(checked), declared, lock, snapshot)


_LABELS = {LOCK: configuration.LOCK, SNAPSHOT: configuration.SNAPSHOT}


def _signed(place: referrers.Referrers, image: Image, key: PublicKey, name: str) -> str:
    try:
        said = signatures.require(place, image.digest, key, name)
    except IntegrityError:
        if not image.within:
            raise
        # Who signs the index alone (`cosign sign` without `--recursive`) signs the digest of each image in it.
        said = signatures.require(place, image.within, key, name)
        return f"signature of the index that leads to it is good by {key.name}, for {said}"
    return f"signature is good by {key.name}" + (f", for {said}" if said else "")


def named_by(image: Image, label: str) -> str:
    """The sha256 that an image's manifest, else its configuration, names by a label; "" where none does."""
    annotations = dict(image.manifest.annotations or {})
    return str(annotations.get(label) or image.labels.get(label, "")).removeprefix("sha256:")


def _named(image: Image, files: Sequence[tuple[Attachment, bytes]], kind: str, label: str) -> bytes | None:
    meant, found = named_by(image, label), None
    for item, data in files:
        if item.kind != kind or not meant:
            continue
        if hashlib.sha256(data).hexdigest() != meant:
            raise IntegrityError(
                f"the {WORDS[kind]} beside the image is not its own: the image names sha256 {meant}, and"
                f" `{shown(item.title)}` ({item.digest[:19]}) is another one",
                hint=_HINT,
            )
        found = data
    return found


def _require_one_story(image: Image, by_key: Sequence[Statement]) -> None:
    """A provenance of ours must name the lock that the image names."""
    for item in by_key:
        if statements.kind_of(item) != STATEMENT:
            continue
        try:
            definition: Any = item.predicate["buildDefinition"]
            ours = definition["buildType"] == BUILD_TYPE
            lock = definition["externalParameters"]["lock"]["digest"]["sha256"] if ours else None
        except (KeyError, TypeError):
            continue  # of another builder
        meant = named_by(image, configuration.LOCK)
        if lock is not None and meant and lock != meant:
            raise IntegrityError(
                f"the signed provenance is of another lock: {shown(str(lock))[:64]}, and the image names {meant}",
                hint="build and sign the image again",
            )


def _require_signed(
    by_key: Sequence[Statement], files: Sequence[tuple[Attachment, bytes]], key: PublicKey
) -> frozenset[str]:
    """The manifests of the documents that the key signed."""
    good = set[str]()
    for kind in statements.SIGNED:
        signed = {statements.content_of(item) for item in by_key if statements.kind_of(item) == kind}
        lying = [(item, statements.content(data)) for item, data in files if item.kind == kind]
        fitting = {item.digest for item, data in lying if data in signed}
        if signed and lying and not fitting:
            item = lying[0][0]
            raise IntegrityError(
                f"the {WORDS[kind]} beside the image is not the one that {key.name} signed: `{shown(item.title)}`"
                f" ({item.digest[:19]})",
                hint=_HINT,
            )
        good |= fitting
    return frozenset(good)


def _gone(place: referrers.Referrers, image: Image, there: Sequence[Attachment]) -> Iterator[str]:
    """That documents are listed and were cleaned away, which a registry may do with what has no tag."""
    digests = {item.digest for item in there}
    gone = [line for line in place.listed(image.digest) if line.artifact_type in _READ and line.digest not in digests]
    if gone:
        words = ", ".join(sorted({WORDS[str(line.artifact_type)] for line in gone}))
        yield f"listed beside it, and not there any more: {words}"


def _unsigned(files: Sequence[tuple[Attachment, bytes]], good: frozenset[str]) -> Iterator[str]:
    left = [item for item, _ in files if item.kind in statements.SIGNED and item.digest not in good]
    if left:
        named = ", ".join(f"`{shown(item.title) or item.digest[:19]}`" for item in left)
        yield f"beside it, and not signed by the key: {named}"
