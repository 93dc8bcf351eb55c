"""What lies beside an image is its own, and what a key signed of it; whatever else somebody put there is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity import build, lockfile, verify
from envparity.attached import held, own
from envparity.attached.beside import Wanted
from envparity.codec import canonical
from envparity.errors import EnvparityError, ExitStatus, IncompleteError, IntegrityError, UsageError
from envparity.fetch import Fetcher
from envparity.network import Client
from envparity.oci import places, referrers, signatures
from envparity.oci.access import Access
from envparity.oci.keys import PrivateKey, PublicKey, private_key, public_key
from envparity.oci.spec import digest_of
from envparity.oci.tree import merge
from envparity.values import GapKind, Repacked, Verdict
from tests import keys
from tests.oci import hostile
from tests.oci.made import built, file
from tests.oci.registry import Fake, serving
from tests.test_build import lock_of, offline, wheel


@dataclass(frozen=True)
class Signed:
    """A signed image in a registry with all that is said of it, who signed it, and somebody else's key."""

    fake: Fake
    key: PrivateKey
    public: PublicKey
    other: PublicKey
    fetcher: Fetcher
    lock: Path

    def verdict(self, key: PublicKey | None, **more: Any) -> Verdict:
        return verify.against(verify.Request(self.fake.reference, key=key, **more), fetcher=self.fetcher)

    def held(self, key: PublicKey | None) -> held.Beside:
        access = Access(self.fetcher.client)
        image = places.open_image(self.fake.reference, access=access)
        return held.held(image, self.fake.reference, access, key)

    def tags_about(self, kind: str) -> list[str]:
        """Where the manifests of documents of a kind lie."""
        return [tag for tag, (body, _) in self.fake.tags.items() if json.loads(body).get("artifactType") == kind]

    def swap(self, kind: str, change: Callable[[bytes], bytes], **manifest: Any) -> None:
        """Put another document in the place of one, consistent in itself, as whoever may push can."""
        (tag,) = (tag for tag in self.tags_about(kind) if tag.startswith("sha256:"))
        body, media_type = self.fake.tags.pop(tag)
        document = json.loads(body)
        data = change(self.fake.blobs[document["layers"][0]["digest"]])
        document["layers"][0] |= {"digest": digest_of(data), "size": len(data)}
        body = canonical(document | manifest)
        self.fake.blobs[digest_of(data)] = data
        self.fake.tags[digest_of(body)] = (body, media_type)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[PrivateKey, PublicKey, PublicKey]:
    folder = tmp_path_factory.mktemp("keys")
    private, public = keys.pair(folder)
    return private_key(private, {}), public_key(public), public_key(keys.pair(folder, "other")[1])


@pytest.fixture
def signed(tmp_path: Path, pairs: tuple[PrivateKey, PublicKey, PublicKey]) -> Iterator[Signed]:
    fetcher = Fetcher(Client(attempts=2), offline(tmp_path / "cache").cache)
    path = lock_of(tmp_path, wheel(tmp_path, "demo", {"demo/__init__.py": b""}, fetcher))
    with serving(Fake(api=True)) as fake:
        build.assemble(build.Request(path, (fake.reference,), beside=Wanted(sign_key=pairs[0])), fetcher=fetcher)
        yield Signed(fake, *pairs, fetcher, path)


def test_a_key_alone_holds_the_image_to_its_signature_its_documents_and_its_lock(signed: Signed) -> None:
    """Whoever deploys has a key and a name, and neither the snapshot nor the lock."""
    verdict = signed.verdict(signed.public)

    said = dict(verdict.checked)
    assert verdict.against == "the lock attached to it"
    assert said[f"signature is good by {signed.public.name}, for {signatures.name_of(signed.fake.reference)}"] == 1
    assert said["documents beside it are about this image, and what their digests say"] == 5
    assert said[f"statements beside it are signed by {signed.public.name}: provenance, sbom"] == 3
    assert said["layers assembled again and compared"] >= 2
    assert not any("not signed" in line for line in verdict.declared)
    assert (
        verdict.gaps
        == verify.against(
            verify.Request(signed.fake.reference, str(signed.lock), key=signed.public), fetcher=signed.fetcher
        ).gaps
    )


def test_without_a_key_the_verdict_says_whose_word_it_was_held_against(signed: Signed) -> None:
    """That an image agrees with itself is worth something, and is no proof of where it comes from."""
    verdict = signed.verdict(None)

    assert any(gap.section == "signature" and "own word" in gap.reason for gap in verdict.gaps)
    assert signed.verdict(None, strict=True).status == ExitStatus.UNFINISHED
    with pytest.raises(UsageError, match="--lock"):
        signed.verdict(None, lock=str(signed.lock))


def test_another_key_is_refused(signed: Signed) -> None:
    with pytest.raises(IntegrityError, match="another key made it"):
        signed.verdict(signed.other)


LOCK, SNAPSHOT = "application/vnd.envparity.lock.v1", "application/vnd.envparity.snapshot.v1"
PROVENANCE, SBOM = "application/vnd.in-toto+json", "application/vnd.cyclonedx+json"


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (LOCK, "the lock beside the image is not its own"),
        (SNAPSHOT, "the snapshot beside the image is not its own"),
        (PROVENANCE, "the provenance beside the image is not the one that"),
        (SBOM, "the sbom beside the image is not the one that"),
    ],
    ids=["lock", "snapshot", "provenance", "sbom"],
)
def test_a_document_that_was_swapped_is_refused(signed: Signed, kind: str, says: str) -> None:
    """Its manifest and its digests are right, and it is about this image: only who signed can tell."""
    signed.swap(kind, lambda data: data.replace(b"1", b"2"))

    with pytest.raises(IntegrityError, match=says) as caught:
        signed.verdict(signed.public)
    assert caught.value.status == ExitStatus.INTEGRITY


def test_a_document_whose_bytes_were_changed_is_refused(signed: Signed) -> None:
    (tag,) = signed.tags_about(SBOM)
    blob = json.loads(signed.fake.tags[tag][0])["layers"][0]["digest"]
    signed.fake.blobs[blob] = signed.fake.blobs[blob].replace(b"demo", b"d3mo")

    with pytest.raises(IntegrityError, match="not what its digest says"):
        signed.held(None)


def test_a_document_about_another_image_is_refused(signed: Signed) -> None:
    """A registry without the API lists by a tag that anybody may write."""
    signed.fake.api = False
    image = places.open_image(signed.fake.reference, access=Access(signed.fetcher.client))
    body, _ = signed.fake.tags[next(iter(signed.tags_about(SBOM)))]
    other = json.loads(body)
    other["subject"]["digest"] = "sha256:" + "0" * 64
    data = canonical(other)
    signed.fake.tags[digest_of(data)] = (data, hostile.MANIFEST)
    line = {"mediaType": hostile.MANIFEST, "digest": digest_of(data), "size": len(data), "artifactType": SBOM}
    index = {"schemaVersion": 2, "mediaType": hostile.INDEX, "manifests": [line]}
    signed.fake.tags[image.digest.replace(":", "-")] = (json.dumps(index).encode(), hostile.INDEX)

    with pytest.raises(IntegrityError, match="which is about something else"):
        signed.held(signed.public)


def test_statements_of_another_image_that_were_copied_here_are_refused(signed: Signed, tmp_path: Path) -> None:
    image = built(tmp_path / "evil", (file("a", b"evil"),), codec="none")
    places.write_image(signed.fake.reference, image, access=Access(signed.fetcher.client))
    about = image.digest.replace(":", "-")
    (tag,) = (tag for tag in signed.fake.tags if tag.endswith(".att"))
    signed.fake.tags[f"{about}.att"] = signed.fake.tags[tag]
    with referrers.opened(signed.fake.reference, access=Access(signed.fetcher.client)) as place:
        with pytest.raises(IntegrityError, match="a statement of the key about another one"):
            signatures.statements(place, image.digest, signed.public)
        assert signatures.statements(place, image.digest, signed.other) == ()


def test_what_a_registry_cleaned_away_is_missed_by_nobody(signed: Signed) -> None:
    """Without the API, documents have no tag: a registry that removes such leaves their lines in the index."""
    signed.fake.api = False
    image = places.open_image(signed.fake.reference, access=Access(signed.fetcher.client))
    lines = []
    for tag in [tag for tag in signed.fake.tags if tag.startswith("sha256:")]:
        body, media_type = signed.fake.tags.pop(tag)
        kind = json.loads(body)["artifactType"]
        lines.append({"mediaType": media_type, "digest": tag, "size": len(body), "artifactType": kind})
    index = {"schemaVersion": 2, "mediaType": hostile.INDEX, "manifests": lines}
    signed.fake.tags[image.digest.replace(":", "-")] = (json.dumps(index).encode(), hostile.INDEX)

    beside = signed.held(signed.public)

    assert len(lines) == 5
    assert "signature is good" in beside.checked[0][0]
    assert beside.lock is None
    assert beside.declared == ("listed beside it, and not there any more: lock, provenance, sbom, snapshot",)
    assert "lock inside" in signed.verdict(signed.public).against


def test_what_others_put_there_is_told_and_costs_nothing(signed: Signed) -> None:
    """A scanner attaches an SBOM of its own; whoever reads one should know that the key did not sign that."""
    (tag,) = signed.tags_about(SBOM)
    kept = signed.fake.tags[tag]
    signed.swap(SBOM, lambda data: data.replace(b"demo", b"d3mo"))
    signed.fake.tags[tag] = kept

    beside = signed.held(signed.public)

    assert beside.declared == ("beside it, and not signed by the key: `sbom.cdx.json`",)


def test_an_image_that_was_signed_by_its_index_alone_is_signed(tmp_path: Path, signed: Signed) -> None:
    """`cosign sign NAME:TAG` signs what the tag leads to, and that is the index."""
    from envparity.oci.image import together
    from envparity.oci.spec import OCI_INDEX, Descriptor

    images = [built(tmp_path / name, (file("a", name.encode()),), codec="none") for name in ("one", "two")]
    index, access = together(images[:1]), Access(signed.fetcher.client)
    with places.writing(signed.fake.reference, access=access) as writer:
        writer.finish_index(index)
    subject = Descriptor(media_type=OCI_INDEX, digest=index.digest, size_bytes=len(index.index_bytes))
    with referrers.opened(signed.fake.reference, access=access, writes=True) as place:
        signatures.sign(place, subject, signatures.name_of(signed.fake.reference), signed.key)

    assert "signature of the index that leads to it is good" in signed.held(signed.public).checked[0][0]
    with pytest.raises(IntegrityError, match="another key made it"):
        signed.held(signed.other)
    pinned = f"{signed.fake.reference}@{images[0].digest}"
    with pytest.raises(IntegrityError, match="nobody signed"):
        held.held(places.open_image(pinned, access=access), pinned, access, signed.public)


def test_an_image_that_brings_no_lock_is_held_against_nothing_and_that_is_no_pass(
    signed: Signed, tmp_path: Path
) -> None:
    image = built(tmp_path / "plain", (file("a", b"a"),), codec="none")
    places.write_image(f"docker-archive:{tmp_path}/image.tar", image, "plain:1")

    with pytest.raises(IncompleteError, match="has no lock") as caught:
        verify.against(verify.Request(f"docker-archive:{tmp_path}/image.tar"), fetcher=signed.fetcher)
    assert "--against" in caught.value.hint


def test_in_an_archive_the_lock_inside_counts_and_one_that_was_changed_is_found(signed: Signed, tmp_path: Path) -> None:
    output = f"docker-archive:{tmp_path}/image.tar"
    build.assemble(build.Request(signed.lock, (output,), "demo:1"), fetcher=signed.fetcher)

    verdict = verify.against(verify.Request(output), fetcher=signed.fetcher)

    assert verdict.against == "the lock inside it, which is its own word"
    assert "layers assembled again and compared" in dict(verdict.checked)
    assert hashlib.sha256(signed.lock.read_bytes()).hexdigest() in (places.open_image(output).config_bytes.decode())
    with pytest.raises(EnvparityError, match="nothing can lie beside"):
        verify.against(verify.Request(output, key=signed.public), fetcher=signed.fetcher)


def test_a_signed_provenance_of_another_lock_is_refused(signed: Signed) -> None:
    """Whoever has the key told two stories of one image; neither is believed."""
    access = Access(signed.fetcher.client)
    image = places.open_image(signed.fake.reference, access=access)
    (tag,) = (tag for tag in signed.tags_about(PROVENANCE) if tag.startswith("sha256:"))
    blob = json.loads(signed.fake.tags[tag][0])["layers"][0]["digest"]
    statement = json.loads(signed.fake.blobs[blob])
    statement["predicate"]["buildDefinition"]["externalParameters"]["lock"]["digest"]["sha256"] = "0" * 64
    with referrers.opened(signed.fake.reference, access=access, writes=True) as place:
        told = (canonical(statement), statement["predicateType"])
        signatures.attest(place, referrers.subject_of(image), [told], signed.key)

    with pytest.raises(IntegrityError, match="the signed provenance is of another lock"):
        signed.verdict(signed.public)


def test_more_documents_than_any_image_has_are_not_read(signed: Signed) -> None:
    """FAULTS 118: whoever may push must not be able to keep a verifier busy."""
    for tag in signed.tags_about(SBOM):
        body, media_type = signed.fake.tags.pop(tag)
        document = json.loads(body)
        document["layers"][0]["size"] = 300 << 20
        signed.fake.tags["large"] = (canonical(document), media_type)

    with pytest.raises(IntegrityError, match="larger than"):
        signed.held(signed.public)


def test_a_layout_is_held_to_a_key_as_a_registry_is(signed: Signed, tmp_path: Path) -> None:
    output = f"oci:{tmp_path}/image"
    beside = Wanted(("provenance", "lock"), sign_key=signed.key)
    build.assemble(build.Request(signed.lock, (output,), "demo:1", beside=beside), fetcher=signed.fetcher)

    verdict = verify.against(verify.Request(output, key=signed.public), fetcher=signed.fetcher)

    assert verdict.against == "the lock attached to it"
    assert dict(verdict.checked)[f"statements beside it are signed by {signed.public.name}: provenance"] == 1
    with pytest.raises(IntegrityError, match="another key made it"):
        verify.against(verify.Request(output, key=signed.other), fetcher=signed.fetcher)


def test_of_a_lock_with_files_that_only_its_owner_has_the_snapshot_counts(signed: Signed, tmp_path: Path) -> None:
    """A wheel that was made on the training host lies beside the lock there, and nowhere else."""
    lock, _ = lockfile.read(signed.lock)
    (item,) = lock.distributions
    here = msgspec.structs.replace(item.wheel, url="", path=f"pylock.artifacts/{item.wheel.name}")
    made = msgspec.structs.replace(
        item, wheels=(here,), index="", state="repacked", repacked=Repacked(origin="installed")
    )
    kept = {lock.snapshot.name: (lockfile.artifacts_folder(signed.lock) / lock.snapshot.name).read_bytes()}
    kept[here.name] = (signed.lock.parent / here.name).read_bytes()
    lockfile.write(lockfile.Recovered(msgspec.structs.replace(lock, distributions=(made,)), kept), signed.lock)
    output = f"oci:{tmp_path}/image"
    build.assemble(build.Request(signed.lock, (output,)), fetcher=signed.fetcher)
    image = places.open_image(output)

    found = own.written(image, merge(image), held.Beside(), output, tmp_path / "out")

    assert found.called == "the snapshot inside it"
    assert found.path.read_bytes() == kept[lock.snapshot.name]


def test_who_deploys_has_no_folder_of_the_application_and_is_told_so(signed: Signed, tmp_path: Path) -> None:
    """That is no failure to look: in the image's own lock it is not, and the signature is over it all the same."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("x = 1\n")
    output = f"oci:{tmp_path}/image"
    build.assemble(build.Request(signed.lock, (output,), app=tmp_path / "app"), fetcher=signed.fetcher)

    its, named = (
        verify.against(verify.Request(output, against), fetcher=signed.fetcher) for against in ("", str(signed.lock))
    )

    told = (
        {gap.kind for gap in its.gaps if gap.item == "opt/app"},
        {gap.kind for gap in named.gaps if gap.item == "opt/app"},
    )
    assert told == ({GapKind.NOT_RECORDED}, {GapKind.UNREAD})
    assert not any(finding.difference.section == "files" for finding in its.findings)
