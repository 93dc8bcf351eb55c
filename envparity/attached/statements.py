"""
Documents as in-toto statements, which a key can sign: a provenance is one, and an SBOM is the predicate of one, under
the type by which `cosign verify-attestation` asks for it
(https://github.com/in-toto/attestation/tree/main/spec/predicates).
"""

from __future__ import annotations

from envparity.attached.about import About
from envparity.attached.provenance import PREDICATE, STATEMENT
from envparity.attached.sboms import CYCLONEDX, SPDX
from envparity.codec import canonical, load_json
from envparity.errors import MalformedError
from envparity.oci.referrers import Document
from envparity.oci.signatures import Statement

_SBOMS = {CYCLONEDX: "https://cyclonedx.org/bom", SPDX: "https://spdx.dev/Document"}
_KINDS = {PREDICATE: STATEMENT, **{predicate: kind for kind, predicate in _SBOMS.items()}}

SIGNED = frozenset(_KINDS.values())
"""The kinds of documents that are signed with the image."""


def stated(document: Document, about: About) -> tuple[bytes, str] | None:
    """The statement that a document makes of an image, and its predicate type; `None` of a kind that is not signed."""
    if document.kind == STATEMENT:
        return document.data, PREDICATE
    if document.kind not in _SBOMS:
        return None
    algorithm, _, encoded = about.image.digest.partition(":")
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": about.name, "digest": {algorithm: encoded}}],
        "predicateType": _SBOMS[document.kind],
        "predicate": load_json(document.data, document.title),
    }
    return canonical(statement), _SBOMS[document.kind]


def kind_of(statement: Statement) -> str:
    """As which kind of document a statement lies beside its image; "" where as none of ours."""
    return _KINDS.get(statement.predicate_type, "")


def content_of(statement: Statement) -> bytes:
    """What the document beside the image says that a statement was made of, in one form (see `content`)."""
    return content(statement.payload) if kind_of(statement) == STATEMENT else canonical(statement.predicate)


def content(data: bytes) -> bytes:
    """A document in a form that white space and the order of keys do not change; what is no JSON as it is."""
    try:
        return canonical(load_json(data, "a document"))
    except MalformedError:
        return data
