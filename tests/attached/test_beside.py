"""Documents on their way: a place that takes none costs the image nothing, unless they were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from envparity import build
from envparity.attached import beside, found
from envparity.errors import UnreachableError, UsageError
from envparity.fetch import Fetcher
from envparity.network import Client
from envparity.oci import referrers, signatures
from envparity.oci.access import Access
from envparity.oci.image import together
from envparity.oci.keys import private_key, public_key
from tests import keys
from tests.oci import made
from tests.oci.registry import Fake, Handler, body_of, reply, serving
from tests.test_build import lock_of, offline, wheel


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    cache = offline(tmp_path / "cache").cache
    return Fetcher(Client(attempts=2), cache)


def request(folder: Path, fetcher: Fetcher, *outputs: str, attach: tuple[str, ...] | None) -> build.Request:
    path = lock_of(folder, wheel(folder, "demo", {"demo/__init__.py": b""}, fetcher))
    return build.Request(path, outputs, beside=beside.Wanted(attach))


def refuses_artifacts(request: Handler) -> bool:
    """As registries from before artifacts do."""
    by_digest = request.command == "PUT" and "manifests/sha256:" in request.path
    return by_digest and bool(body_of(request)) and reply(request, 400, b'{"errors": [{"code": "MANIFEST_INVALID"}]}')


def test_a_registry_gets_everything_by_itself_and_a_layout_when_asked(tmp_path: Path, fetcher: Fetcher) -> None:
    with serving(Fake(api=True)) as fake:
        layout = f"oci:{tmp_path}/image"
        by_itself = build.assemble(request(tmp_path, fetcher, fake.reference, layout, attach=None), fetcher=fetcher)
        access = Access(fetcher.client)
        there = found.attached(fake.reference, access)

        assert [item.what for item in there] == ["lock", "provenance", "sbom", "sbom", "snapshot"]
        assert found.attached(layout, access) == ()
        assert set(by_itself.attached) == {fake.reference}
        asked = build.assemble(request(tmp_path, fetcher, layout, attach=("sbom", "lock")), fetcher=fetcher)
        assert asked.image.digest == by_itself.image.digest
        assert [item for item in there if item.what in {"sbom", "lock"}] == list(found.attached(layout, access))
        assert found.content(layout, "lock", access) == (tmp_path / "pylock.toml").read_bytes()


def test_a_registry_that_takes_no_documents_has_the_image_all_the_same(tmp_path: Path, fetcher: Fetcher) -> None:
    with serving(Fake(answer=refuses_artifacts)) as fake:
        built = build.assemble(request(tmp_path, fetcher, fake.reference, attach=None), fetcher=fetcher)

        assert any("nothing was attached" in note for note in built.notes)
        assert built.attached == {}
        with pytest.raises(UnreachableError, match="MANIFEST_INVALID"):
            build.assemble(request(tmp_path, fetcher, fake.reference, attach=("lock",)), fetcher=fetcher)
    assert "1" in fake.tags


def test_what_is_asked_for_and_can_lie_nowhere_is_refused_before_any_work(tmp_path: Path, fetcher: Fetcher) -> None:
    with pytest.raises(UsageError, match="can hold nothing beside an image") as caught:
        build.assemble(
            request(tmp_path, fetcher, f"docker-archive:{tmp_path}/x.tar", attach=("lock",)), fetcher=fetcher
        )

    assert "oci:" in caught.value.hint
    assert not (tmp_path / "x.tar").exists()


def test_a_document_is_named_by_its_word_or_its_file(tmp_path: Path, fetcher: Fetcher) -> None:
    layout, access = f"oci:{tmp_path}/image", Access(fetcher.client)
    build.assemble(request(tmp_path, fetcher, layout, attach=("sbom",)), fetcher=fetcher)

    assert found.content(layout, "sbom.spdx.json", access).startswith(b"{")
    with pytest.raises(UsageError, match="several things") as caught:
        found.content(layout, "sbom", access)
    assert "sbom.cdx.json, sbom.spdx.json" in caught.value.hint
    with pytest.raises(UsageError, match="nothing beside"):
        found.content(layout, "lock", access)


def test_what_a_name_for_several_platforms_leads_to_is_signed_too(tmp_path: Path, fetcher: Fetcher) -> None:
    """cosign asks for the digest that the tag has, and that is the index."""
    private, public = keys.pair(tmp_path)
    signing = beside.Wanted(sign_key=private_key(private, {}))
    images = [made.built(tmp_path / name, (made.file("a", name.encode()),), codec="none") for name in ("one", "two")]
    index, access = together(images), Access(fetcher.client)
    with serving(Fake()) as fake:
        outputs = (fake.reference, f"docker-archive:{tmp_path}/x.tar")
        beside.sign_index(outputs, "", signing, index, access)
        beside.sign_index(outputs, "", beside.Wanted(), index, access)

        with referrers.opened(fake.reference, access=access) as place:
            name = signatures.name_of(fake.reference)
            assert signatures.require(place, index.digest, public_key(public), name) == name
