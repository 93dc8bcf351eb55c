"""Documents on their way to the places of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from envparity.attached import kinds, statements
from envparity.attached.about import About
from envparity.errors import MalformedError, UnreachableError, UsageError
from envparity.oci import referrers, signatures
from envparity.oci.access import Access
from envparity.oci.image import BuiltIndex
from envparity.oci.keys import PrivateKey
from envparity.oci.places import parse_reference
from envparity.oci.spec import OCI_INDEX, Descriptor

BY_ITSELF = frozenset({"registry"})
"""
The places that get everything unless somebody says otherwise. In a layout the documents are entries beside the image,
and tools that are given the folder alone (skopeo, `oci:DIR`) want one entry.
"""


@dataclass(frozen=True)
class Wanted:
    """
    What a caller wants beside an image: kinds of documents, `None` for what each place gets by itself; and the key to
    sign the image with, and its provenance and SBOMs where they lie beside it.
    """

    attach: tuple[str, ...] | None = None
    sign_key: PrivateKey | None = None


@dataclass(frozen=True)
class Put:
    """What was put beside an image in one place: the words for it, and the digests of its manifests."""

    words: tuple[str, ...]
    digests: tuple[str, ...]


def check(outputs: Sequence[str], wanted: Wanted) -> None:
    """
    Raises:
        UsageError: documents or a signature are asked for by name, and no place can hold them.
    """
    if (wanted.attach or wanted.sign_key) and outputs and not any(map(referrers.can_hold, outputs)):
        raise UsageError(
            "an archive or an engine can hold nothing beside an image, no document and no signature",
            hint="name a place that can: `--output oci:DIR` or `--output registry:HOST/NAME:TAG`",
        )


def put(
    outputs: Sequence[str], name: str, wanted: Wanted, about: About, access: Access
) -> tuple[dict[str, Put], list[str]]:
    """
    Put documents beside an image that lies in these places, and sign it there. Returns what lies where, and what a
    person should know.

    Raises:
        UnreachableError, MalformedError: a place does not take them, and they were asked for by name.
    """
    done: dict[str, Put] = {}
    notes = []
    for output in filter(referrers.can_hold, outputs):
        words = _words(output, wanted)
        if not words and wanted.sign_key is None:
            continue
        try:
            with referrers.opened(output, name, access, writes=True) as place:
                digests = _put(place, signatures.name_of(output, name), words, wanted.sign_key, about)
        except (UnreachableError, MalformedError) as error:
            if wanted.attach is not None or wanted.sign_key is not None:
                raise
            notes.append(f"the image is in `{output}`, and nothing was attached to it there: {error}")
        else:
            signed = ("signature",) if wanted.sign_key is not None else ()
            done[output] = Put((*words, *signed), digests)
    return done, notes


def still_there(documents: Mapping[str, Sequence[str]], name: str, digest: str, access: Access) -> bool:
    """
    Whether each place still has these manifests (output -> digests) beside an image; one that does not answer has none.
    That is one question a place; where a registry has no referrers API, two, and one for each.
    """
    for output, digests in documents.items():
        if digests:
            try:
                with referrers.opened(output, name, access) as place:
                    if place.there(digest, digests) != frozenset(digests):
                        return False
            except (UnreachableError, MalformedError):
                return False
    return True


def sign_index(outputs: Sequence[str], name: str, wanted: Wanted, index: BuiltIndex, access: Access) -> None:
    """Sign what the name of several images leads to: each of them is signed for itself, and not the whole."""
    subject = Descriptor(media_type=OCI_INDEX, digest=index.digest, size_bytes=len(index.index_bytes))
    for output in filter(referrers.can_hold, outputs if wanted.sign_key is not None else ()):
        with referrers.opened(output, name, access, writes=True) as place:
            assert wanted.sign_key is not None
            signatures.sign(place, subject, signatures.name_of(output, name), wanted.sign_key)


def _words(output: str, wanted: Wanted) -> tuple[str, ...]:
    if wanted.attach is not None:
        return wanted.attach
    return tuple(kinds.KINDS) if parse_reference(output).scheme in BY_ITSELF else ()


def _put(
    place: referrers.Referrers, signed_as: str, words: Sequence[str], key: PrivateKey | None, about: About
) -> tuple[str, ...]:
    subject = referrers.subject_of(about.image)
    documents = kinds.documents(words, about)
    manifests = [referrers.made(subject, document) for document in documents]
    if manifests:
        place.attach(subject, manifests)
    if key is not None:
        stated = (statements.stated(document, about) for document in documents)
        signatures.attest(place, subject, [each for each in stated if each is not None], key)
        signatures.sign(place, subject, signed_as, key)
    return tuple(manifest.digest for manifest in manifests)
