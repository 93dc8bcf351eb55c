"""Signatures: good by one key, for one image, under one name; everything else is refused, whoever put it there."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from envparity.codec import canonical
from envparity.errors import IntegrityError
from envparity.network import Client
from envparity.oci import signatures
from envparity.oci.access import Access
from envparity.oci.image import BuiltImage
from envparity.oci.keys import PrivateKey, PublicKey, private_key, public_key
from envparity.oci.places import write_image
from envparity.oci.referrers import Referrers, opened, subject_of
from envparity.oci.spec import digest_of
from tests import keys
from tests.oci import hostile
from tests.oci.made import built, file
from tests.oci.registry import NAME, Fake, serving


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> tuple[PrivateKey, PublicKey, PublicKey]:
    """A key, its other half, and one of somebody else."""
    folder = tmp_path_factory.mktemp("keys")
    private, public = keys.pair(folder)
    return private_key(private, {}), public_key(public), public_key(keys.pair(folder, "other")[1])


@pytest.fixture
def image(tmp_path: Path) -> BuiltImage:
    return built(tmp_path / "made", (file("a", b"a"),), codec="none")


@contextmanager
def place_of(reference: str, *, writes: bool = False) -> Iterator[Referrers]:
    with Client(attempts=2) as client, opened(reference, access=Access(client), writes=writes) as place:
        yield place


def signed(reference: str, image: BuiltImage, name: str, key: PrivateKey) -> None:
    with place_of(reference, writes=True) as place:
        signatures.sign(place, subject_of(image), name, key)


def proven(reference: str, image: BuiltImage, key: PublicKey, name: str = "") -> str:
    with place_of(reference) as place:
        return signatures.require(place, image.digest, key, name)


def tag_of(image: BuiltImage) -> str:
    return image.digest.replace(":", "-") + ".sig"


@pytest.mark.parametrize("where", ["registry", "registry with the API", "layout"])
def test_a_signature_is_good_by_its_key_and_by_no_other(
    signing: tuple[PrivateKey, PublicKey, PublicKey], image: BuiltImage, where: str, tmp_path: Path
) -> None:
    key, public, other = signing
    with serving(Fake(api=where.endswith("API"))) as fake:
        reference = f"oci:{tmp_path}/layout" if where == "layout" else fake.reference
        with Client() as client:
            write_image(f"{reference}:1" if where == "layout" else reference, image, access=Access(client))
        with pytest.raises(IntegrityError, match="nobody signed"):
            proven(reference, image, public)
        signed(reference, image, "host/team/model:1", key)

        assert proven(reference, image, public, "host/team/model:1") == "host/team/model:1"
        with pytest.raises(IntegrityError, match="another key made it"):
            proven(reference, image, other)
        fake.changes.clear()
        signed(reference, image, "host/team/model:1", key)
        assert fake.changes == []


def test_who_signed_one_tag_did_not_sign_another(
    signing: tuple[PrivateKey, PublicKey, PublicKey], image: BuiltImage
) -> None:
    """A tag that is moved to another signed image is what a name in a signature is for."""
    key, public, _ = signing
    with serving(Fake()) as fake:
        signed(fake.reference, image, "host:5000/model:dev", key)

        with pytest.raises(
            IntegrityError, match=r"signed it as `host:5000/model:dev`, and not as `host:5000/model:prod`"
        ):
            proven(fake.reference, image, public, "host:5000/model:prod")
        with pytest.raises(IntegrityError, match="and not as"):
            proven(fake.reference, image, public, "host:5000/other")
        assert proven(fake.reference, image, public, "host:5000/model")
        signed(fake.reference, image, "host:5000/model:prod", key)
        assert proven(fake.reference, image, public, "host:5000/model:prod")
        assert proven(fake.reference, image, public, "host:5000/model:dev")


def test_cosign_names_the_repository_alone_and_that_holds_for_each_tag(
    signing: tuple[PrivateKey, PublicKey, PublicKey], image: BuiltImage
) -> None:
    key, public, _ = signing
    with serving(Fake()) as fake:
        signed(fake.reference, image, "index.docker.io/team/model", key)

        assert proven(fake.reference, image, public, "docker.io/team/model:1")
        with pytest.raises(IntegrityError):
            proven(fake.reference, image, public, "docker.io/team/other:1")


def test_a_signature_of_another_image_is_refused(
    signing: tuple[PrivateKey, PublicKey, PublicKey], image: BuiltImage, tmp_path: Path
) -> None:
    """Whoever may push can put any signature under any image's tag."""
    key, public, _ = signing
    evil = built(tmp_path / "evil", (file("a", b"evil"),), codec="none")
    with serving(Fake()) as fake:
        signed(fake.reference, image, "host/model:1", key)
        fake.tags[tag_of(evil)] = fake.tags[tag_of(image)]

        with pytest.raises(IntegrityError, match="the key signed another image"):
            proven(fake.reference, evil, public)


def payload(image: BuiltImage, /, **critical: Any) -> bytes:
    said = {
        "identity": {"docker-reference": "host/model:1"},
        "image": {"docker-manifest-digest": image.digest},
        "type": "cosign container image signature",
    }
    return canonical({"critical": {**said, **critical}, "optional": None})


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda image: payload(image, type="atomic container signature"), "something else than an image"),
        (lambda image: payload(image, identity={}), "says of no image"),
        (lambda image: payload(image, identity={"docker-reference": 7}), "something else than an image"),
        (lambda image: payload(image, image={"docker-manifest-digest": [image.digest]}), "another image"),
        (lambda image: b"[" * 1000, "says of no image"),
        (lambda image: b"{}", "says of no image"),
        (lambda image: payload(image) + b" " * 70_000, "larger than any"),
    ],
    ids=["another type", "no name", "no text", "a list", "deep", "nothing in it", "large"],
)
def test_a_signed_document_that_is_something_else_is_refused(
    made: Callable[[BuiltImage], bytes],
    says: str,
    signing: tuple[PrivateKey, PublicKey, PublicKey],
    image: BuiltImage,
) -> None:
    key, public, _ = signing
    data = made(image)
    with serving(Fake()) as fake:
        put(fake, image, data, base64.b64encode(key.sign(data)).decode())

        with pytest.raises(IntegrityError, match=says):
            proven(fake.reference, image, public)


def put(fake: Fake, image: BuiltImage, data: bytes, signature: str, count: int = 1) -> None:
    """A manifest under the tag of signatures, as anybody could push it."""
    layer = {"mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": digest_of(data)}
    layer |= {"size": len(data), "annotations": {"dev.cosignproject.cosign/signature": signature}}
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(b"{}"), "size": 2}
    manifest = {"schemaVersion": 2, "mediaType": hostile.MANIFEST, "config": config, "layers": [layer] * count}
    fake.blobs[digest_of(data)] = data
    fake.tags[tag_of(image)] = (json.dumps(manifest).encode(), hostile.MANIFEST)


def test_a_signature_that_is_not_base64_or_a_payload_that_was_changed_is_refused(
    signing: tuple[PrivateKey, PublicKey, PublicKey], image: BuiltImage
) -> None:
    key, public, _ = signing
    data = payload(image)
    with serving(Fake()) as fake:
        put(fake, image, data, "***")
        with pytest.raises(IntegrityError, match="not base64"):
            proven(fake.reference, image, public)
        put(fake, image, data, base64.b64encode(key.sign(data)).decode())
        fake.blobs[digest_of(data)] = data.replace(b"model:1", b"model:2")
        with pytest.raises(IntegrityError, match="digest"):
            proven(fake.reference, image, public)


def test_thousands_of_signatures_are_not_all_read(
    signing: tuple[PrivateKey, PublicKey, PublicKey], image: BuiltImage
) -> None:
    """FAULTS 118: whoever may push must not be able to keep a verifier busy."""
    key, public, _ = signing
    with serving(Fake()) as fake:
        put(fake, image, payload(image), base64.b64encode(key.sign(b"other")).decode(), count=4000)
        with pytest.raises(IntegrityError, match="more than 200"):
            proven(fake.reference, image, public)

    assert sum(NAME in path and "blobs/" in path for path, _ in fake.asked) <= 201


def test_signatures_of_others_stay(signing: tuple[PrivateKey, PublicKey, PublicKey], image: BuiltImage) -> None:
    key, public, _ = signing
    with serving(Fake()) as fake:
        put(fake, image, b"of somebody else", "AAAA")
        signed(fake.reference, image, "host/model:1", key)

        layers = json.loads(fake.tags[tag_of(image)][0])["layers"]
        assert layers[0]["digest"] == digest_of(b"of somebody else")
        assert layers[0]["annotations"] == {"dev.cosignproject.cosign/signature": "AAAA"}
        assert len(layers) == 2
        assert proven(fake.reference, image, public)


BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def bundled(fake: Fake, image: BuiltImage, key: PrivateKey, digest: str = "", **subject: str) -> None:
    """What cosign 3 puts beside an image that it signs, as cosign 2.5 was seen to list it."""
    meant = {"digest": {"sha256": (digest or image.digest).removeprefix("sha256:")}, **subject}
    predicate = {"predicateType": "https://sigstore.dev/cosign/sign/v1", "predicate": {}}
    payload = canonical({"_type": "https://in-toto.io/Statement/v1", "subject": [meant], **predicate})
    kind = "application/vnd.in-toto+json"
    signature = key.sign(b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload))
    signatures_of = [{"sig": base64.b64encode(signature).decode()}]
    envelope = {"payload": base64.b64encode(payload).decode(), "payloadType": kind, "signatures": signatures_of}
    data = canonical({"mediaType": BUNDLE, "verificationMaterial": {}, "dsseEnvelope": envelope})
    about = subject_of(image)
    manifest = {
        "schemaVersion": 2,
        "mediaType": hostile.MANIFEST,
        "artifactType": BUNDLE,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}"), "size": 2},
        "layers": [{"mediaType": BUNDLE, "digest": digest_of(data), "size": len(data)}],
        "subject": {"mediaType": about.media_type, "digest": about.digest, "size": about.size_bytes},
    }
    body = canonical(manifest)
    fake.blobs[digest_of(data)] = data
    fake.tags[digest_of(body)] = (body, hostile.MANIFEST)
    line = {"mediaType": hostile.MANIFEST, "digest": digest_of(body), "size": len(body)}
    line["artifactType"] = "application/vnd.oci.empty.v1+json"
    index = {"schemaVersion": 2, "mediaType": hostile.INDEX, "manifests": [line]}
    fake.tags[image.digest.replace(":", "-")] = (json.dumps(index).encode(), hostile.INDEX)


def test_a_bundle_of_cosign_3_is_a_signature_by_its_key_and_by_no_other(
    signing: tuple[PrivateKey, PublicKey, PublicKey], image: BuiltImage
) -> None:
    key, public, other = signing
    with serving(Fake()) as fake:
        bundled(fake, image, key)
        assert proven(fake.reference, image, public, "host/team/model:1") == ""
        with pytest.raises(IntegrityError, match="another key made it"):
            proven(fake.reference, image, other)
        bundled(fake, image, key, name="host/team/model")
        assert proven(fake.reference, image, public, "host/team/model:1") == "host/team/model"
        with pytest.raises(IntegrityError, match="signed it as `host/team/model`, and not as `host/team/other:1`"):
            proven(fake.reference, image, public, "host/team/other:1")


def test_a_bundle_that_says_of_another_image_is_refused(
    signing: tuple[PrivateKey, PublicKey, PublicKey], image: BuiltImage
) -> None:
    """Whoever may push can list any bundle as one about this image."""
    key, public, _ = signing
    with serving(Fake()) as fake:
        bundled(fake, image, key, digest="sha256:" + "0" * 64)

        with pytest.raises(IntegrityError, match="a statement of the key about another one"):
            proven(fake.reference, image, public)
