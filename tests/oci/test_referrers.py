"""Documents beside an image: found by its digest in every kind of place, and nothing of others is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envparity.errors import IntegrityError, MalformedError, UnreachableError, UnsupportedError
from envparity.network import Client
from envparity.oci import referrers
from envparity.oci.access import Access
from envparity.oci.check import check_layout, require_valid
from envparity.oci.image import BuiltImage, together
from envparity.oci.layout import write_index
from envparity.oci.places import open_image, write_image
from envparity.oci.referrers import Document, Made, made, opened, subject_of
from envparity.oci.spec import Descriptor
from tests.oci import hostile
from tests.oci.made import built, file
from tests.oci.registry import Fake, Handler, body_of, reply, serving

NOTE = Document("application/vnd.example.note", "text/plain", b"all is well", "note.txt", (("example", "yes"),))
OTHER = Document("application/vnd.example.other", "text/plain", b"indeed", "other.txt")
API = pytest.mark.parametrize("api", [True, False], ids=["with the API", "without it"])


@pytest.fixture
def image(tmp_path: Path) -> BuiltImage:
    return built(tmp_path / "made", (file("a", b"a"),), codec="none")


def put(reference: str, image: BuiltImage, *documents: Document) -> list[Made]:
    """Attach documents, with few and quick attempts."""
    about = [made(subject_of(image), document) for document in documents]
    with Client(attempts=2) as client, opened(reference, access=Access(client), writes=True) as place:
        place.attach(subject_of(image), about)
    return about


def listed(reference: str, digest: str) -> dict[str, bytes]:
    """The file of each document, by its kind."""
    found = {}
    with Client(attempts=2) as client, opened(reference, access=Access(client)) as place:
        for line in place.listed(digest):
            (blob,) = place.manifest(line).layers
            found[line.artifact_type or ""] = place.blob(blob)
    return found


def pushed(fake: Fake, image: BuiltImage) -> None:
    with Client(attempts=2) as client:
        write_image(fake.reference, image, access=Access(client))
    fake.changes.clear()


BOTH = {NOTE.kind: NOTE.data, OTHER.kind: OTHER.data}


@API
def test_what_is_attached_in_a_registry_is_found_by_the_digest(image: BuiltImage, api: bool) -> None:
    with serving(Fake(api=api)) as fake:
        pushed(fake, image)
        put(fake.reference, image, NOTE, OTHER)

        assert listed(fake.reference, image.digest) == BOTH
        assert listed(fake.reference, hostile.digest(b"another image")) == {}
        with Client() as client:
            assert open_image(fake.reference, access=Access(client)).digest == image.digest
    assert (image.digest.replace(":", "-") in fake.tags) is not api


@API
def test_what_is_there_is_not_sent_again(image: BuiltImage, api: bool) -> None:
    with serving(Fake(api=api)) as fake:
        pushed(fake, image)
        put(fake.reference, image, NOTE)
        fake.changes.clear()
        put(fake.reference, image, NOTE)

    assert fake.changes == []


def test_what_others_listed_stays_field_by_field(image: BuiltImage) -> None:
    """The index under the tag belongs to every tool that attaches something."""
    line = {"mediaType": hostile.MANIFEST, "digest": hostile.digest(b"x"), "size": 1, "artifactType": "x/y", "own": 1}
    index = {"schemaVersion": 2, "mediaType": hostile.INDEX, "manifests": [line], "annotations": {"kept": "yes"}}
    tag = image.digest.replace(":", "-")
    with serving(Fake()) as fake:
        pushed(fake, image)
        fake.tags[tag] = (json.dumps(index).encode(), hostile.INDEX)
        put(fake.reference, image, NOTE)

    found = json.loads(fake.tags[tag][0])
    assert found["manifests"][0] == line
    assert found["annotations"] == {"kept": "yes"}
    assert [item["artifactType"] for item in found["manifests"]] == ["x/y", NOTE.kind]
    assert found["manifests"][1]["annotations"] == {"example": "yes"}


def test_what_another_writer_overwrote_meanwhile_is_written_once_more(image: BuiltImage) -> None:
    tag = image.digest.replace(":", "-")
    empty = json.dumps({"schemaVersion": 2, "mediaType": hostile.INDEX, "manifests": []}).encode()
    left = [2]

    def loses(request: Handler) -> bool:
        if request.command != "PUT" or not request.path.endswith(tag) or not left[0]:
            return False
        left[0] -= 1
        fake.tags[tag] = (empty, hostile.INDEX)
        digest = hostile.digest(body_of(request))
        return reply(request, 201, docker_content_digest=digest)

    with serving(Fake(answer=loses)) as fake:
        pushed(fake, image)
        put(fake.reference, image, NOTE)

        assert listed(fake.reference, image.digest) == {NOTE.kind: NOTE.data}
    left[0] = 100
    with serving(Fake(answer=loses)) as fake:
        pushed(fake, image)
        with pytest.raises(UnreachableError, match="at the same time"):
            put(fake.reference, image, NOTE)


def test_a_tag_that_is_something_else_is_left_alone(image: BuiltImage) -> None:
    tag = image.digest.replace(":", "-")
    with serving(Fake()) as fake:
        pushed(fake, image)
        fake.tags[tag] = (image.manifest_bytes, hostile.MANIFEST)
        with pytest.raises(MalformedError):
            put(fake.reference, image, NOTE)

    assert fake.tags[tag] == (image.manifest_bytes, hostile.MANIFEST)


def test_a_list_in_pages_is_read_to_its_end(image: BuiltImage) -> None:
    with serving(Fake(api=True, page=1)) as fake:
        pushed(fake, image)
        put(fake.reference, image, NOTE, OTHER)

        assert listed(fake.reference, image.digest) == BOTH


def test_a_list_without_an_end_is_left(image: BuiltImage) -> None:
    """FAULTS 86: a pagination loop."""
    body = json.dumps({"schemaVersion": 2, "manifests": []}).encode()

    def circle(request: Handler) -> bool:
        link = f'<{request.path.partition("?")[0]}?again>; rel="next"'
        return "referrers" in request.path and reply(request, 200, body, content_type=hostile.INDEX, link=link)

    with serving(Fake(answer=circle)) as fake:
        pushed(fake, image)
        assert listed(fake.reference, image.digest) == {}

    assert sum("referrers" in path for path in fake.paths) <= 60


def test_a_next_page_elsewhere_is_not_asked_for(image: BuiltImage) -> None:
    """A login would go along."""
    body = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    with serving(Fake()) as other:

        def away(request: Handler) -> bool:
            link = f'<http://{other.host}/v2/team/model/referrers/x>; rel="next"'
            return "referrers" in request.path and reply(request, 200, body, content_type=hostile.INDEX, link=link)

        with serving(Fake(answer=away)) as fake:
            pushed(fake, image)
            listed(fake.reference, image.digest)

    assert other.asked == []


def test_a_manifest_that_is_not_what_was_listed_is_an_integrity_error(image: BuiltImage) -> None:
    with serving(Fake(api=True)) as fake:
        pushed(fake, image)
        (note,) = put(fake.reference, image, NOTE)
        lied = note.manifest_bytes.replace(b'"example":"yes"', b'"example":"no!"')

        def other(request: Handler) -> bool:
            fits = note.digest in request.path and request.command == "GET"
            return fits and reply(request, 200, lied, content_type=hostile.MANIFEST)

        fake.answer = other
        with pytest.raises(IntegrityError):
            listed(fake.reference, image.digest)


def test_in_a_layout_they_lie_beside_the_image_and_it_is_still_the_one_image(image: BuiltImage, tmp_path: Path) -> None:
    place = f"oci:{tmp_path}/layout"
    write_image(f"{place}:1", image)
    put(place, image, NOTE)
    put(place, image, NOTE, OTHER)

    assert listed(place, image.digest) == BOTH
    assert open_image(place).digest == image.digest
    assert check_layout(f"{tmp_path}/layout").valid
    assert len(json.loads((tmp_path / "layout/index.json").read_text())["manifests"]) == 3
    write_image(f"{place}:1", image)
    assert listed(place, image.digest) == BOTH
    require_valid(f"{place}:1")


def test_a_tag_that_moves_takes_the_documents_of_its_image_along(image: BuiltImage, tmp_path: Path) -> None:
    """A layout that is built into each night would keep the documents of images that are not there any more."""
    other = built(tmp_path / "other", (file("a", b"other"),), codec="none")
    place = f"oci:{tmp_path}/layout"
    for tag in ("1", "2"):
        write_image(f"{place}:{tag}", image)
    (note,) = put(place, image, NOTE)
    about_note = Descriptor(media_type=hostile.MANIFEST, digest=note.digest, size_bytes=len(note.manifest_bytes))
    with opened(place, writes=True) as there:
        there.attach(about_note, [made(about_note, OTHER)])

    write_image(f"{place}:1", other)
    assert listed(place, image.digest) == {NOTE.kind: NOTE.data}
    assert listed(place, note.digest) == {OTHER.kind: OTHER.data}
    write_image(f"{place}:2", other)
    put(place, image, NOTE)  # by a slower writer of the older image
    assert listed(place, image.digest) == listed(place, note.digest) == {}
    assert [line["digest"] for line in json.loads((tmp_path / "layout/index.json").read_text())["manifests"]] == [
        other.digest,
        other.digest,
    ]
    assert check_layout(f"{tmp_path}/layout").valid


def test_the_documents_of_several_platforms_stay_while_one_name_leads_to_them(tmp_path: Path) -> None:
    """They are about images that only an index below the tag names; one that is damaged is no reason to drop any."""
    images = [built(tmp_path / name, (file("a", name.encode()),), codec="none") for name in ("one", "two", "three")]
    layout, place = tmp_path / "layout", f"oci:{tmp_path}/layout"
    write_index(layout, together(images[:2]), "1")
    for each in images[:2]:
        put(place, each, NOTE)

    write_index(layout, together(images[1:]), "1")
    put(place, images[2], NOTE)

    assert [len(listed(place, each.digest)) for each in images] == [0, 1, 1]


def test_an_archive_and_an_engine_hold_nothing_beside_an_image() -> None:
    for reference in ("docker-archive:x.tar", "docker:x:1"):
        assert not referrers.can_hold(reference)
        with pytest.raises(UnsupportedError) as caught, opened(reference):
            pass
        assert "oci:" in caught.value.hint
