"""
Signatures over images, as cosign writes them and cosign, skopeo, podman and admission controllers check them
(https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md): a small document says which digest is meant,
under which name; it is a layer of a manifest under a tag made of the digest, and its signature is the layer's
annotation. The same manifest names the image as its subject, so it is a referrer as well.

cosign 3 writes another form by itself: a bundle (https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md), a
referrer with a statement that the image is signed. Those are read, and not written: not everybody reads them yet.

Of the name cosign itself makes nothing. Here, as in containers/image, it holds: who signed `model:1` did not sign that
`model:prod` may be that image.
"""

from __future__ import annotations

__all__ = ["ATTESTATION", "IS_SIGNED", "SIGNATURE", "Statement", "attest", "name_of", "require", "sign", "statements"]

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec

from envparity.codec import canonical, load_json
from envparity.errors import IntegrityError, MalformedError
from envparity.oci.credentials import DOCKER_HUB
from envparity.oci.entries import shown
from envparity.oci.keys import PrivateKey, PublicKey
from envparity.oci.places import parse_reference, registry_name
from envparity.oci.referrers import Made, Referrers, manifest_about
from envparity.oci.spec import EMPTY_TYPE, NOTHING, OCI_CONFIG, Descriptor, Manifest, digest_of

SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"
ATTESTATION = "application/vnd.dev.cosign.artifact.att.v1+json"
_SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
_ENVELOPE = "application/vnd.dsse.envelope.v1+json"
_ANNOTATION = "dev.cosignproject.cosign/signature"
_TYPE = "cosign container image signature"

_MOST_SIGNATURES = 200
"""More than any image has: whoever may push to a repository may put as many there as they like."""

_MOST_MANIFESTS = 20
_PAYLOAD_LIMIT = 64 << 10
_MOST_STATED = 256 << 20
_BUNDLE = "application/vnd.dev.sigstore.bundle."
IS_SIGNED = "https://sigstore.dev/cosign/sign/v1"
"""The predicate type of a statement that says no more than that an image is signed."""

_STATEMENT = "application/vnd.in-toto+json"
_STATEMENTS = frozenset({"https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"})


def name_of(reference: str, name: str = "") -> str:
    """
    Under which name an image is signed in a place: `HOST/NAME:TAG` of a registry, what `name` says of a layout, and
    nothing where that says nothing.
    """
    parsed = parse_reference(reference)
    if parsed.scheme != "registry":
        return name
    there = registry_name(parsed, name)
    return f"{_host(there.host)}/{there.name}" + (f":{there.tag}" if there.tag and not parsed.digest else "")


def sign(place: Referrers, subject: Descriptor, name: str, key: PrivateKey) -> None:
    """Put a signature beside an image; those of others, and under other names, stay."""
    payload = canonical(
        {
            "critical": {
                "identity": {"docker-reference": name},
                "image": {"docker-manifest-digest": subject.digest},
                "type": _TYPE,
            },
            "optional": None,
        }
    )
    signature = base64.b64encode(key.sign(payload)).decode()
    _add(place, subject, _SIGNATURES, [(payload, {_ANNOTATION: signature})])


def attest(place: Referrers, subject: Descriptor, stated: Sequence[tuple[bytes, str]], key: PrivateKey) -> None:
    """
    Put in-toto statements beside an image, each with its predicate type, signed, in an envelope
    (https://github.com/secure-systems-lab/dsse/blob/master/envelope.md), as `cosign verify-attestation` looks for them.
    """
    envelopes = []
    for statement, predicate_type in stated:
        envelope = canonical(
            {
                "payloadType": _STATEMENT,
                "payload": base64.b64encode(statement).decode(),
                "signatures": [{"keyid": "", "sig": base64.b64encode(key.sign(_pae(statement))).decode()}],
            }
        )
        envelopes.append((envelope, {_ANNOTATION: "", "predicateType": predicate_type}))
    if envelopes:
        _add(place, subject, _ATTESTATIONS, envelopes)


def _pae(statement: bytes) -> bytes:
    """What is signed of a statement (https://github.com/secure-systems-lab/dsse/blob/master/protocol.md)."""
    return b"DSSEv1 %d %s %d %s" % (len(_STATEMENT), _STATEMENT.encode(), len(statement), statement)


@dataclass(frozen=True, slots=True)
class _Kept:
    """How one kind of signed document is kept: the end of its tag, its artifact type, the type of its layers."""

    end: str
    kind: str
    media_type: str

    def tag(self, digest: str) -> str:
        return f"{digest.replace(':', '-')}.{self.end}"


_SIGNATURES = _Kept("sig", SIGNATURE, _SIMPLE_SIGNING)
_ATTESTATIONS = _Kept("att", ATTESTATION, _ENVELOPE)


def _add(place: Referrers, subject: Descriptor, kept: _Kept, signed: Sequence[tuple[bytes, dict[str, str]]]) -> None:
    there = place.under(kept.tag(subject.digest))
    layers: list[dict[str, Any]] = (
        [msgspec.to_builtins(layer, enc_hook=dict) for layer in there.layers] if there else []
    )
    own = [
        {"mediaType": kept.media_type, "digest": digest_of(data), "size": len(data), "annotations": said}
        for data, said in signed
    ]
    missing = [layer for layer in own if layer not in layers]
    made = _manifest(subject, kept, [*layers, *missing], [data for data, _ in signed])
    if there is None or missing:
        place.put(kept.tag(subject.digest), made)
    place.attach(subject, [made])


def _manifest(subject: Descriptor, kept: _Kept, layers: list[dict[str, Any]], blobs: Sequence[bytes]) -> Made:
    diff_ids = [layer["digest"] for layer in layers]
    config = canonical(
        {"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": []}
    )
    described = {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)}
    return manifest_about(subject, kept.kind, described, layers, (config, *blobs), {})


def require(place: Referrers, digest: str, key: PublicKey, name: str) -> str:
    """
    The name under which an image was signed with a key, once that has been proven.

    Args:
        digest: of the image's manifest.
        name: under which it must have been signed; any will do where it is empty. A signature for the whole repository
            (`HOST/NAME`, as cosign makes them) holds for each of its tags.

    Raises:
        IntegrityError: nobody signed it; another key did; what was signed is another image, or another name.
    """
    found, faults = 0, list[str]()
    for manifest in _manifests(place, _SIGNATURES, digest):
        for layer in manifest.layers:
            signature = (layer.annotations or NOTHING).get(_ANNOTATION)
            if layer.media_type != _SIMPLE_SIGNING or signature is None:
                continue
            found += 1
            if found > _MOST_SIGNATURES:
                raise IntegrityError(
                    f"more than {_MOST_SIGNATURES} signatures lie beside the image, and none that was read is good",
                    hint="whoever may push there put them there: remove what is not yours",
                )
            fault, said = _checked(place, layer, signature, digest, key, name)
            if not fault:
                return said
            faults.append(fault)
    for statement in statements(place, digest, key):
        if statement.predicate_type == IS_SIGNED:
            found += 1
            fitting = [said for said in statement.names if not name or _same(said, name)]
            if fitting or not statement.names:
                return fitting[0] if fitting else ""
            faults.append(f"the key signed it as `{shown(statement.names[0])[:200]}`, and not as `{name}`")
    if not found and any(True for _ in _bundles(place, digest)):
        found, faults = 1, ["another key made it"]
    if not found:
        raise IntegrityError("nobody signed this image", hint="sign it: `envparity build --sign-key`, or `cosign sign`")
    # The gravest last: who has the key signed something else.
    worst = max(faults, key=lambda fault: fault.startswith("the key"))
    raise IntegrityError(f"no signature of this image is good by {key.name}: {worst}", hint=_HINT)


_HINT = "the tag may have been moved to another image, or the key is not the one that signed: do not run it"


def _manifests(place: Referrers, kept: _Kept, digest: str) -> Iterator[Manifest]:
    tagged = place.under(kept.tag(digest))
    if tagged is not None:
        yield tagged
    yield from _listed(place, digest, lambda line: line.artifact_type == kept.kind, _MOST_MANIFESTS)


def _listed(place: Referrers, digest: str, fits: Callable[[Descriptor], bool], most: int) -> Iterator[Manifest]:
    """What is listed about a manifest, as far as it is there: a registry may have cleaned away what has no tag."""
    lines = list(filter(fits, place.listed(digest)))[:most]
    there = place.there(digest, [line.digest for line in lines]) if lines else ()
    for line in lines:
        if line.digest in there:
            yield place.manifest(line)


@dataclass(frozen=True, slots=True)
class Statement:
    """
    What the owner of a key says of an image: the very bytes that were signed, and what they say. `names` are what they
    call the image, which is nothing that must be so.
    """

    payload: bytes
    predicate_type: str
    predicate: Any
    names: tuple[str, ...] = ()


def statements(place: Referrers, digest: str, key: PublicKey) -> tuple[Statement, ...]:
    """
    The in-toto statements beside an image that a key signed, each once. What others signed, or nobody can read, is
    passed over: whoever may push there can put it there.

    Raises:
        IntegrityError: the key signed one of another image, or something else than a statement; or more lies there than
        anybody reads.
    """
    found: dict[bytes, Statement] = {}
    read, envelopes = 0, set[str]()
    for manifest in chain(_manifests(place, _ATTESTATIONS, digest), _bundles(place, digest)):
        for layer in manifest.layers:
            if not (layer.media_type == _ENVELOPE or layer.media_type.startswith(_BUNDLE)) or layer.digest in envelopes:
                continue
            envelopes.add(layer.digest)
            read += layer.size_bytes
            if len(envelopes) > _MOST_SIGNATURES or read > _MOST_STATED:
                raise IntegrityError(
                    "more statements lie beside the image than any has", hint="remove what is not yours"
                )
            payload = _opened(place.blob(layer), key)
            if payload is not None:
                found[payload] = _stated(payload, digest)
    return tuple(found[payload] for payload in sorted(found))


def _bundles(place: Referrers, digest: str) -> Iterator[Manifest]:
    """The manifests of bundles; in some indexes cosign lists them by the type of their empty configuration."""

    def fits(line: Descriptor) -> bool:
        return (line.artifact_type or EMPTY_TYPE) == EMPTY_TYPE or str(line.artifact_type).startswith(_BUNDLE)

    for manifest in _listed(place, digest, fits, _MOST_SIGNATURES):
        if manifest.subject is not None and manifest.subject.digest == digest:
            yield manifest


def _opened(envelope: bytes, key: PublicKey) -> bytes | None:
    """The payload of an envelope, or of the one in a bundle, where the key signed it."""
    try:
        document = load_json(envelope, "an envelope")
        document = document.get("dsseEnvelope", document)
        payload = base64.b64decode(document["payload"], validate=True)
        raws = [base64.b64decode(item["sig"], validate=True) for item in document["signatures"][:_MOST_MANIFESTS]]
        kind = document["payloadType"]
    except (MalformedError, AttributeError, KeyError, TypeError, ValueError, binascii.Error):
        return None
    signed = kind == _STATEMENT and any(key.verifies(_pae(payload), raw) for raw in raws)
    return payload if signed else None


def _stated(payload: bytes, digest: str) -> Statement:
    algorithm, _, encoded = digest.partition(":")
    try:
        document = load_json(payload, "the signed statement")
        kind, predicate_type, predicate = document["_type"], document["predicateType"], document["predicate"]
        meant = [subject["digest"].get(algorithm) for subject in document["subject"]]
        named = [item.get("name") for item in document["subject"] if item["digest"].get(algorithm) == encoded]
    except (MalformedError, KeyError, TypeError, AttributeError):
        kind, predicate_type, predicate, meant, named = "", "", None, [], []
    if kind not in _STATEMENTS or not isinstance(predicate_type, str):
        raise IntegrityError(
            "beside the image lies something that the key signed, and that is no statement", hint=_HINT
        )
    if encoded not in meant:
        raise IntegrityError(
            f"beside the image lies a statement of the key about another one, {shown(str(meant[:1]))[:80]}",
            hint="somebody copied it there; remove it",
        )
    names = tuple(item for item in named if isinstance(item, str) and item)
    return Statement(payload, predicate_type, predicate, names)


def _checked(
    place: Referrers, layer: Descriptor, signature: str, digest: str, key: PublicKey, name: str
) -> tuple[str, str]:
    """What is wrong with one signature, or nothing and the name that was signed."""
    if layer.size_bytes > _PAYLOAD_LIMIT:
        return "a signed document is larger than any is", ""
    try:
        payload, raw = place.blob(layer), base64.b64decode(signature, validate=True)
    except binascii.Error:
        return "a signature is not base64", ""
    except IntegrityError as error:
        return str(error), ""
    if not key.verifies(payload, raw):
        return "another key made it", ""
    # Whatever is said from here on, the owner of the key has signed.
    try:
        critical = load_json(payload, "the signed document")["critical"]
        kind, meant = critical["type"], critical["image"]["docker-manifest-digest"]
        said = critical["identity"]["docker-reference"]
    except (MalformedError, KeyError, TypeError):
        return "the key signed something that says of no image", ""
    if not (isinstance(said, str) and kind == _TYPE):
        return "the key signed something else than an image", ""
    if meant != digest:
        return f"the key signed another image, {shown(str(meant))[:80]}", ""
    if name and not _same(said, name):
        return f"the key signed it as `{shown(said)[:200]}`, and not as `{name}`", ""
    return "", said


def _same(said: str, name: str) -> bool:
    """Whether a signed name is this one: the same, or its repository without a tag."""
    host, slash, rest = said.partition("/")
    said = f"{_host(host)}{slash}{rest}"
    repository, colon, _ = name.rpartition(":")
    without_tag = repository if colon and "/" not in name.rpartition(":")[2] else name
    if without_tag == name:  # asked for by its digest: the tag that it was signed under says nothing against that
        repository, colon, tag = said.rpartition(":")
        said = repository if colon and "/" not in tag else said
    return said in {name, without_tag}


def _host(host: str) -> str:
    return "docker.io" if host in {DOCKER_HUB, "index.docker.io"} else host
