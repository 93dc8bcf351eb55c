"""An image on its way to a registry: whole or not at all, nothing twice, and nobody else gets the login."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from envparity.cache import Cache
from envparity.errors import IntegrityError, UnreachableError
from envparity.network import Client
from envparity.oci import upload
from envparity.oci.access import Access
from envparity.oci.image import BuiltImage
from envparity.oci.places import open_image, write_image
from envparity.oci.tree import merge
from tests.oci.made import built, file
from tests.oci.registry import NAME, Fake, Handler, body_of, reply, serving, wants_basic, wants_token
from tests.oci.test_registry import logged_in

BIG = b"".join(bytes([number % 251]) * 997 for number in range(900))


@pytest.fixture
def image(tmp_path: Path) -> BuiltImage:
    """Of two layers."""
    return built(tmp_path / "made", (file("a", b"a"),), (file("big", BIG),), codec="none")


def pushed(fake: Fake, image: BuiltImage, access: Access | None = None) -> str:
    """Push it, with few and quick attempts, and read it back."""
    access = access or Access(Client(attempts=2))
    with access.client:
        return write_image(fake.reference, image, access=access)


def held_elsewhere(cache: Cache) -> None:
    """Have the cache remember each blob as that of another repository."""
    for note in (cache.folder / "notes").iterdir():
        known = cache.note(note.stem, list[str])
        assert known == [NAME]
        cache.write_note(note.stem, ["team/other"])


def once(fault: Callable[[Handler], bool]) -> Callable[[Handler], bool]:
    """A fault that shows itself one time."""
    left = [fault]
    one = threading.Lock()  # whoever was told of it asks again before its thread here has forgotten it

    def answer(request: Handler) -> bool:
        with one:
            if left and left[0](request):
                left.clear()
                return True
        return False

    return answer


def test_what_was_pushed_is_read_as_it_was_built(image: BuiltImage) -> None:
    with serving(Fake()) as fake:
        assert pushed(fake, image) == image.digest
        with Client() as client:
            found = open_image(fake.reference, access=Access(client))
            assert merge(found, keep=lambda path: path == "/big").read("/big") == BIG
    assert found.digest == image.digest


def test_the_manifest_comes_last(image: BuiltImage) -> None:
    """Whoever pulls the tag while it is pushed gets the old image or the new one."""
    with serving(Fake()) as fake:
        pushed(fake, image)

    kinds = [change.split()[0] for change in fake.changes]
    assert fake.changes[-1] == "PUT manifests/1"
    assert sorted(kinds[:-1]) == ["POST"] * 3 + ["PUT"] * 3


def test_what_is_there_is_not_sent_again(image: BuiltImage) -> None:
    with serving(Fake()) as fake:
        pushed(fake, image)
        fake.changes.clear()
        pushed(fake, image)

    assert fake.changes == ["PUT manifests/1"]


def test_a_blob_of_another_repository_is_mounted(image: BuiltImage, tmp_path: Path) -> None:
    """The cache remembers which repository of a registry has it; the registry is asked, and sends no byte."""
    with serving(Fake()) as fake:
        cache = Cache(tmp_path / "cache")
        pushed(fake, image, Access(Client(attempts=2), cache))
        held_elsewhere(cache)
        fake.changes.clear()
        fake.answer = lambda request: request.command == "HEAD" and reply(request, 404)
        assert pushed(fake, image, Access(Client(attempts=2), cache)) == image.digest

    assert len(fake.changes) == 4
    assert all("mount=sha256%3A" in change and "from=team%2Fother" in change for change in fake.changes[:-1])


def test_a_mount_that_becomes_an_upload_is_used(image: BuiltImage, tmp_path: Path) -> None:
    """ "202 Accepted" to a mount begins an upload (spec.md, mounting a blob from another repository)."""
    with serving(Fake()) as fake:
        cache = Cache(tmp_path / "cache")
        pushed(fake, image, Access(Client(attempts=2), cache))
        held_elsewhere(cache)
        fake.blobs.clear()
        fake.changes.clear()
        pushed(fake, image, Access(Client(attempts=2), cache))

    assert [change.split("?")[0].split("/")[-1] for change in fake.changes if "POST" in change] == [""] * 3
    assert set(fake.blobs) >= {descriptor.digest for descriptor, _ in image.layers}


def test_a_transfer_that_breaks_off_goes_on_where_it_was(image: BuiltImage) -> None:
    """What arrived is not sent twice: the registry is asked how much that was."""

    def breaks(request: Handler) -> bool:
        if request.command != "PUT" or int(request.headers["content-length"]) < len(BIG):
            return False
        session = request.path.partition("?")[0].removeprefix(f"/v2/{NAME}/blobs/")
        fake.uploads[session] += request.rfile.read(300_000)
        request.connection.close()
        return True

    with serving(Fake()) as fake:
        fake.answer = once(breaks)
        assert pushed(fake, image) == image.digest

    assert sum(change.startswith("PATCH") for change in fake.changes) == 1


def test_an_upload_that_the_registry_forgot_is_begun_again(image: BuiltImage) -> None:
    def forgets(request: Handler) -> bool:
        return request.command == "PUT" and "uploads" in request.path and bool(body_of(request)) and reply(request, 404)

    with serving(Fake()) as fake:
        fake.answer = once(forgets)
        assert pushed(fake, image) == image.digest


@pytest.mark.parametrize("part", ["POST blobs/uploads/", "PUT blobs/uploads/", "PUT manifests/"])
def test_a_registry_that_is_asked_too_often_is_asked_again_when_it_says(part: str, image: BuiltImage) -> None:
    """429 with `Retry-After` (RFC 6585, 4): hosted registries count what each client asks."""
    method, _, begin = part.partition(" ")

    def busy(request: Handler) -> bool:
        fits = request.command == method and request.path.startswith(f"/v2/{NAME}/{begin}")
        return fits and body_of(request) is not None and reply(request, 429, retry_after="0")

    with serving(Fake()) as fake:
        fake.answer = once(busy)
        assert pushed(fake, image) == image.digest


def test_what_is_too_large_for_a_proxy_goes_in_pieces(image: BuiltImage, monkeypatch: pytest.MonkeyPatch) -> None:
    def proxy(request: Handler) -> bool:
        return (
            int(request.headers.get("content-length") or 0) > 400_000 and bool(body_of(request)) and reply(request, 413)
        )

    monkeypatch.setattr(upload.Upload.__init__, "__kwdefaults__", {"chunk_bytes": 250_000})
    with serving(Fake()) as fake:
        fake.answer = proxy
        assert pushed(fake, image) == image.digest

    assert sum(change.startswith("PATCH") for change in fake.changes) >= 4


@pytest.mark.parametrize("honest", [True, False], ids=["says so", "does not know"])
@pytest.mark.parametrize("lost", [250_000, 750_000], ids=["a middle one", "the last one"])
def test_a_piece_that_a_registry_loses_is_sent_again_or_told(
    image: BuiltImage, monkeypatch: pytest.MonkeyPatch, lost: int, honest: bool
) -> None:
    """Only of the last one that it does not know to be lost, nobody can tell what went wrong: the digest is another."""

    def loses(request: Handler) -> bool:
        if request.command == "PUT" and int(request.headers["content-length"]) > 400_000:
            return bool(body_of(request)) and reply(request, 413)
        return request.command == "PATCH" and request.headers["content-range"].startswith(f"{lost}-") and lose(request)

    def lose(request: Handler) -> bool:
        if losses:
            return False
        losses.append(len(body_of(request)))
        end = lost - 1 if honest else lost + losses[0] - 1
        return reply(request, 202, location=f"{request.path.partition('?')[0]}?_state=next", range=f"0-{end}")

    losses: list[int] = []
    monkeypatch.setattr(upload.Upload.__init__, "__kwdefaults__", {"chunk_bytes": 250_000})
    with serving(Fake()) as fake:
        fake.answer = loses
        if honest or lost == 250_000:
            assert pushed(fake, image) == image.digest
        else:
            with pytest.raises(IntegrityError, match="is not what was sent"):
                pushed(fake, image)
            assert fake.tags == {}

    assert losses


def test_a_push_that_was_stopped_leaves_no_tag_and_goes_on(image: BuiltImage) -> None:
    def refuses(request: Handler) -> bool:
        large = request.command == "PUT" and int(request.headers["content-length"]) > 100_000
        return large and bool(body_of(request)) and reply(request, 507)

    with serving(Fake()) as fake:
        fake.answer = refuses
        with pytest.raises(UnreachableError, match="507"):
            pushed(fake, image)
        assert fake.tags == {}
        held = set(fake.blobs)
        fake.answer = lambda request: False
        fake.changes.clear()
        pushed(fake, image)

    assert held
    assert sum(change.startswith("POST") for change in fake.changes) == 3 - len(held)


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (400, b'{"errors": [{"code": "MANIFEST_INVALID", "message": "no"}]}', "MANIFEST_INVALID no"),
        (403, b'{"errors": [{"code": "DENIED"}]}', "may not push|refuses|credentials"),
        (409, b"", "may not be moved"),
        (413, b"\xff<html>", "413"),
        (405, b"[" * 100_000, "read-only"),
    ],
    ids=["invalid", "denied", "immutable", "a web page", "endless"],
)
def test_a_manifest_that_is_refused_says_why(image: BuiltImage, status: int, body: bytes, says: str) -> None:
    def refuses(request: Handler) -> bool:
        return "manifests/" in request.path and bool(body_of(request)) and reply(request, status, body)

    with serving(Fake(answer=refuses)) as fake, pytest.raises(UnreachableError) as caught:
        pushed(fake, image)

    assert re.search(says, f"{caught.value} {caught.value.hint}")
    assert fake.tags == {}


def test_a_registry_that_stored_something_else_is_an_integrity_error(image: BuiltImage) -> None:
    other = "sha256:" + "0" * 64
    for part in ("manifests/", "blobs/uploads/"):

        def lies(request: Handler, part: str = part) -> bool:
            if request.command != "PUT" or part not in request.path:
                return False
            body_of(request)
            return reply(request, 201, docker_content_digest=other)

        with serving(Fake(answer=lies)) as fake, pytest.raises(IntegrityError, match="0000"):
            pushed(fake, image)


def test_a_layer_that_changed_on_the_way_is_an_integrity_error(image: BuiltImage) -> None:
    _, place = image.layers[1]
    data = place.read_bytes()
    place.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    with serving(Fake()) as fake, pytest.raises(IntegrityError, match="not what was sent"):
        pushed(fake, image)
    assert fake.tags == {}


def test_a_login_opens_it_and_no_secret_goes_elsewhere(image: BuiltImage, tmp_path: Path) -> None:
    """CVE-2026-50151: `Location` may name another host; what is sent there is the blob alone."""
    with serving(Fake()) as store, serving(Fake(gate=wants_basic("ada", "s3cret"))) as fake:

        def elsewhere(request: Handler) -> bool:
            if request.command != "POST" or not fake.gate(request):
                return False
            return reply(request, 202, location=f"http://{store.host}/v2/{NAME}/blobs/uploads/0?_state=x")

        fake.answer = elsewhere
        with pytest.raises(IntegrityError, match="not https"):
            pushed(fake, image, logged_in(tmp_path, fake.host))
        assert store.asked == []
        fake.answer = lambda request: False
        assert pushed(fake, image, logged_in(tmp_path, fake.host)) == image.digest
        assert not [path for path, header in fake.asked if header and "s3cret" in path]


def test_a_registry_that_repeats_what_it_was_sent_shows_nobody_the_login(image: BuiltImage, tmp_path: Path) -> None:
    """Whatever stands in front of a registry may put the headers of a request into its error."""

    def refuses(request: Handler) -> bool:
        login = request.headers.get("authorization", "")
        if request.command != "PUT" or "manifests/" not in request.path or not login:
            return False
        body_of(request)
        told = f"x{'x' * 150} {login} {base64.b64decode(login.partition(' ')[2]).decode()} is no login"
        return reply(request, 400, json.dumps({"errors": [{"code": "MANIFEST_INVALID", "message": told}]}).encode())

    with (
        serving(Fake(gate=wants_basic("ada", "s3cret"), answer=refuses)) as fake,
        pytest.raises(UnreachableError, match="MANIFEST_INVALID") as caught,
    ):
        pushed(fake, image, logged_in(tmp_path, fake.host))

    assert "s3cret" not in f"{caught.value}"
    assert base64.b64encode(b"ada:s3cret").decode()[:12] not in f"{caught.value}"
    assert "***" in f"{caught.value}"


def test_a_token_is_asked_for_the_right_to_push(image: BuiltImage, tmp_path: Path) -> None:
    """The challenge to the first question, which only reads, speaks of reading alone."""
    asked = []

    def tokens(request: Handler) -> bool:
        asked.append(request.path)
        return reply(request, 200, json.dumps({"token": "t0ken"}).encode())

    with serving(Fake(answer=tokens)) as place, serving(Fake()) as fake:
        realm = f"http://{place.host}/token"
        fake.gate = wants_token(realm, service="here", scope=f"repository:{NAME}:pull")
        assert pushed(fake, image, logged_in(tmp_path, fake.host)) == image.digest

    assert asked == ["/token?scope=repository%3Ateam%2Fmodel%3Apull%2Cpush&service=here"]


def mounting(image: BuiltImage, folder: Path, closed: str = "") -> tuple[list[str], list[str]]:
    """
    What is changed in a registry, and what its place of tokens is asked, where a neighbour has every blob.
    It begins an upload where a token is not for the neighbour; the place refuses whoever asks for `closed`.
    """
    given: dict[str, str] = {}
    asked: list[str] = []

    def tokens(request: Handler) -> bool:
        asked.append(unquote(request.path))
        if closed and closed in asked[-1]:
            return reply(request, 403)
        given[token := f"t{len(given)}"] = asked[-1]
        return reply(request, 200, json.dumps({"token": token}).encode())

    with serving(Fake(answer=tokens)) as place, serving(Fake()) as fake:
        cache = Cache(folder / "cache")
        pushed(fake, image, Access(Client(attempts=2), cache))
        held_elsewhere(cache)
        fake.changes.clear()

        def answer(request: Handler) -> bool:
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            if token not in given:
                challenge = f'Bearer realm="http://{place.host}/token",service="here",scope="repository:{NAME}:pull"'
                body_of(request)
                return reply(request, 401, www_authenticate=challenge)
            if request.command == "HEAD":
                return reply(request, 404)
            if "mount=" in request.path and "repository:team/other:pull" not in given[token]:
                request.path = request.path.partition("?")[0]
            return False

        fake.answer = answer
        access = logged_in(folder, fake.host)
        assert pushed(fake, image, Access(access.client, cache, access.environ)) == image.digest
        return fake.changes, asked


def test_to_mount_from_a_neighbour_the_right_to_read_it_is_asked_for(image: BuiltImage, tmp_path: Path) -> None:
    """
    "scope=repository:SOURCE:pull" (https://distribution.github.io/distribution/spec/auth/scope/): without it registries
    begin an upload and say nothing, and every byte is sent again.
    """
    changes, asked = mounting(image, tmp_path)

    assert not [change for change in changes if change.startswith(("PUT blobs", "PATCH"))]
    assert any("repository:team/model:pull,push" in each and "repository:team/other:pull" in each for each in asked)


def test_a_neighbour_that_may_not_be_read_costs_the_push_nothing_else(image: BuiltImage, tmp_path: Path) -> None:
    changes, asked = mounting(image, tmp_path, closed="team/other")

    assert len([change for change in changes if change.startswith("PUT blobs")]) == 3
    assert sum("team/other" in each for each in asked) == 1


def test_nobody_there_is_said_with_the_host(image: BuiltImage) -> None:
    with serving(Fake()) as fake:
        pass
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1"):
        pushed(fake, image)


def test_without_a_login_the_command_that_makes_one_is_named(image: BuiltImage) -> None:
    with serving(Fake(gate=wants_basic("ada", "s3cret"))) as fake, pytest.raises(UnreachableError) as caught:
        pushed(fake, image)
    assert f"docker login {fake.host}" in caught.value.hint
