"""An image in a registry: whoever answers is a stranger, and nothing of it is believed before it was hashed."""

from __future__ import annotations

import base64
import gzip
import json
import time
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from envparity.cache import Cache
from envparity.errors import (
    EnvparityError,
    IntegrityError,
    MalformedError,
    TimeLimitError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from envparity.network import Client
from envparity.oci.access import Access
from envparity.oci.memory import CachedLayers
from envparity.oci.places import open_image, parse_reference
from envparity.oci.registry import parse_name
from envparity.oci.tree import ImageTree, merge
from tests.oci import hostile
from tests.oci.hostile import file, tar
from tests.oci.registry import NAME, Fake, Handler, body_of, filled, reply, serving, wants_basic, wants_token

LOWER = tar(file("etc/os-release", b"ID=debian\n"), file("big", b"x" * 900_000))
UPPER = tar(file("etc/.wh.os-release"), file("a", b"a"))


def reading(fake: Fake, access: Access | None = None, reference: str = "") -> ImageTree:
    """The merged view, read with few and quick attempts."""
    access = access or Access(Client(attempts=2))
    with access.client:
        return merge(open_image(reference or fake.reference, access=access))


def logged_in(folder: Path, host: str, user: str = "ada", secret: str = "s3cret") -> Access:
    """As after `docker login HOST`."""
    text = base64.b64encode(f"{user}:{secret}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": text}}}))
    return Access(Client(attempts=2), environ={"DOCKER_CONFIG": str(folder)})


@pytest.mark.parametrize("codec", ["none", "gzip"])
def test_an_image_is_read_from_a_registry_as_from_a_layout(tmp_path: Path, codec: str) -> None:
    with serving(filled(tmp_path, LOWER, UPPER, codec=codec)) as fake:
        tree = reading(fake)
        assert [node.path for node in tree.walk()] == ["/", "/a", "/big", "/etc"]
        assert tree.read("/a") == b"a"
    assert tree.image.digest == hostile.digest(fake.tags["1"][0])


def test_everything_after_the_tag_goes_by_digest(tmp_path: Path) -> None:
    """A tag that moves while an image is read must not make one of two."""
    with serving(filled(tmp_path, LOWER, UPPER)) as fake:
        reading(fake)

    assert fake.paths[:2] == ["/v2/", "manifests/1"]
    assert all(path.startswith("blobs/sha256:") for path in fake.paths[2:])


def test_a_layer_is_fetched_once_in_a_machines_life(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    views = []
    with serving(filled(tmp_path, LOWER, UPPER)) as fake:
        for _ in range(2):
            with Client() as client:
                image = open_image(fake.reference, access=Access(client, cache))
                tree = merge(image, memory=CachedLayers(cache, "rule"), keep=lambda path: path == "/a")
                views.append(([*tree.walk()], tree.read("/a")))

    assert views[0] == views[1]
    layers = [path for path in fake.paths if path.startswith("blobs/") and path[6:] != image.manifest.config.digest]
    assert len(layers) == 2


def test_a_digest_is_read_offline_once_it_is_cached(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    with serving(filled(tmp_path, LOWER, UPPER)) as fake:
        reference = f"registry:{fake.host}/{NAME}@{hostile.digest(fake.tags['1'][0])}"
        for offline in (False, True):
            with Client(offline=offline) as client:
                image = open_image(reference, access=Access(client, cache))
                merge(image, memory=CachedLayers(cache, "rule"))
        with Client(offline=True) as client, pytest.raises(UnreachableError, match="--offline"):
            open_image(fake.reference, access=Access(client, cache))


def test_what_another_rule_kept_is_not_taken_for_ours(tmp_path: Path) -> None:
    """With more collectors, more files are wanted than an older envparity has kept."""
    cache = Cache(tmp_path / "cache")
    with serving(filled(tmp_path, LOWER)) as fake:
        for rule in ("old", "new"):
            with Client() as client:
                merge(open_image(fake.reference, access=Access(client, cache)), memory=CachedLayers(cache, rule))

    assert fake.paths.count(f"blobs/{hostile.digest(LOWER)}") == 2


def test_a_damaged_note_of_a_layer_is_found_out_and_the_layer_read_again(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    with serving(filled(tmp_path, LOWER)) as fake:
        for _ in range(2):
            with Client() as client:
                tree = merge(open_image(fake.reference, access=Access(client, cache)), memory=CachedLayers(cache, "r"))
            for blob in cache.folder.rglob("blobs/sha256/*/*"):
                blob.write_bytes(blob.read_bytes().replace(b"debian", b"evil!!").replace(b"big", b"bag"))

    assert tree.read("/etc/os-release") == b"ID=debian\n"
    assert fake.paths.count(f"blobs/{hostile.digest(LOWER)}") == 2


# Logins.


def test_a_password_goes_to_the_registry_it_is_for(tmp_path: Path) -> None:
    with serving(filled(tmp_path, LOWER)) as fake:
        fake.gate = wants_basic("ada", "s3cret")
        assert reading(fake, logged_in(tmp_path, fake.host)).kind("/big") == "file"
        assert fake.asked[0] == ("/v2/", "")


@pytest.mark.parametrize("known", [True, False])
def test_a_token_is_asked_for_once_and_used_by_every_thread(tmp_path: Path, known: bool) -> None:
    """Anonymous or with a login: the login goes to the place of the tokens, the token to the registry."""
    with serving(filled(tmp_path, LOWER, UPPER)) as fake:
        fake.gate = wants_token(f"http://{fake.host}/token", service="reg", scope=f"repository:{NAME}:pull")
        fake.answer = lambda request: request.path.startswith("/token?") and reply(request, 200, b'{"token":"t0ken"}')
        reading(fake, logged_in(tmp_path, fake.host) if known else None)

    tokens = [(path, header) for path, header in fake.asked if path.startswith("/token")]
    assert len(tokens) == 1
    assert "service=reg" in tokens[0][0]
    assert tokens[0][1].startswith("Basic ") == known
    assert {header for path, header in fake.asked if "/blobs/" in path} == {"Bearer t0ken"}


def test_an_identity_token_is_exchanged_in_the_body_of_a_request_alone(tmp_path: Path) -> None:
    """Azure and others give out such; it is as good as a password, and addresses are logged."""
    asked: list[tuple[str, dict[str, list[str]]]] = []

    def tokens(request: Handler) -> bool:
        if request.path != "/token":
            return False
        asked.append((request.command, parse_qs(body_of(request).decode())))
        good = asked[-1][1]["refresh_token"] == ["s3cret"]
        return reply(request, 200, b'{"access_token":"t0ken"}') if good else reply(request, 400)

    with serving(filled(tmp_path, LOWER)) as fake:
        fake.answer = tokens
        fake.gate = wants_token(f"http://{fake.host}/token", service="reg", scope=f"repository:{NAME}:pull")

        def having(token: str) -> Access:
            (tmp_path / "config.json").write_text(json.dumps({"auths": {fake.host: {"identitytoken": token}}}))
            return Access(Client(attempts=2), environ={"DOCKER_CONFIG": str(tmp_path)})

        reading(fake, having("s3cret"))
        assert asked[0][0] == "POST"
        assert asked[0][1] == {
            "grant_type": ["refresh_token"],
            "service": ["reg"],
            "scope": [f"repository:{NAME}:pull"],
            "client_id": ["envparity"],
            "refresh_token": ["s3cret"],
        }
        assert not any("s3cret" in path + header for path, header in fake.asked)
        with pytest.raises(UnreachableError, match="refuses its identity token") as caught:
            reading(fake, having("0ther"))
        assert "0ther" not in f"{caught.value}{caught.value.hint}"
        fake.gate = wants_basic("ada", "s3cret")
        with pytest.raises(UnreachableError, match="refuses its identity token"):
            reading(fake, having("s3cret"))


def test_a_token_that_expires_meanwhile_is_asked_for_again(tmp_path: Path) -> None:
    given: list[str] = []

    def answer(request: Handler) -> bool:
        if request.path.startswith("/token"):
            given.append(f"t{len(given)}")
            return reply(request, 200, json.dumps({"access_token": given[-1]}).encode())
        # The first token is good for the manifest alone.
        good = "t1" if "/blobs/" in request.path else f"t{len(given) - 1}"
        return not wants_token(f"http://{request.headers['host']}/token", good)(request)

    with serving(filled(tmp_path, LOWER, UPPER)) as fake:
        fake.answer = answer
        assert reading(fake).kind("/a") == "file"

    assert given == ["t0", "t1"]


@pytest.mark.parametrize(
    ("realm", "says"),
    [
        ("https://evil.example/token", "to another host, evil.example"),
        ("http://evil.example/token", "over http"),
        ("https://user@127.0.0.1/token", "no address"),
        ("file:///etc/passwd", "no address"),
        ("https://[/", "no address"),
        ("", "no address"),
    ],
)
def test_a_login_is_never_sent_where_a_hostile_realm_points_cve_2026_48978(
    tmp_path: Path, realm: str, says: str
) -> None:
    """CVE-2020-15157: a registry names where tokens come from, and so could ask for anybody's password."""
    with serving(filled(tmp_path, LOWER)) as fake:
        fake.gate = wants_token(realm)
        with pytest.raises(IntegrityError, match=says) as caught:
            reading(fake, logged_in(tmp_path, fake.host))

    assert "s3cret" not in str(caught.value) + caught.value.hint
    assert {header for _, header in fake.asked} == {""}


def test_a_redirect_to_another_host_gets_no_login_ghsa_vh4v_2xq2_g5cg(tmp_path: Path) -> None:
    with serving(Fake()) as elsewhere, serving(filled(tmp_path, LOWER)) as fake:
        elsewhere.blobs = fake.blobs
        fake.gate = wants_basic("ada", "s3cret")
        plain = fake.answer
        fake.answer = lambda request: (
            reply(request, 307, location=f"http://{elsewhere.host}{request.path}")
            if "/blobs/" in request.path and request.headers.get("authorization")
            else plain(request)
        )
        assert reading(fake, logged_in(tmp_path, fake.host)).kind("/big") == "file"

    assert elsewhere.asked
    assert {header for _, header in elsewhere.asked} == {""}


@pytest.mark.parametrize("known", [True, False])
def test_a_registry_that_says_401_for_ever_is_given_up(tmp_path: Path, known: bool) -> None:
    with serving(filled(tmp_path, LOWER)) as fake:
        fake.gate = lambda request: not reply(request, 401, www_authenticate='Basic realm="x"')
        with pytest.raises(
            UnreachableError, match="refuses the login of `ada`" if known else "there are none"
        ) as caught:
            reading(fake, logged_in(tmp_path, fake.host) if known else None)

    assert "docker login" in caught.value.hint
    assert len(fake.asked) < 5


@pytest.mark.parametrize(
    ("status", "body", "error", "says"),
    [
        (200, b"<html>sign in</html>", MalformedError, "does not answer with a token"),
        (200, b'{"token": ""}', MalformedError, "without a token"),
        (200, b'{"token": "a\\r\\nX-Evil: 1"}', MalformedError, "without a token"),
        (200, b"[]", MalformedError, "does not answer with a token"),
        (200, b'{"token": "' + b"x" * (2 << 20) + b'"}', MalformedError, "more than"),
        (401, b"", UnreachableError, "there are none"),
    ],
)
def test_what_the_place_of_tokens_says_wrong(
    tmp_path: Path, status: int, body: bytes, error: type[EnvparityError], says: str
) -> None:
    with serving(filled(tmp_path, LOWER)) as fake:
        fake.gate = wants_token(f"http://{fake.host}/token")
        fake.answer = lambda request: request.path.startswith("/token") and reply(request, status, body)
        with pytest.raises(error, match=says):
            reading(fake)


def test_a_right_that_is_missing_is_said(tmp_path: Path) -> None:
    with serving(filled(tmp_path, LOWER)) as fake:
        fake.gate = lambda request: not reply(request, 403)
        with pytest.raises(UnreachableError, match="refuses the login of `ada`"):
            reading(fake, logged_in(tmp_path, fake.host))


# What is sent.


def test_other_bytes_of_the_right_length_are_noticed_and_not_cached(tmp_path: Path) -> None:
    """A corrupting proxy."""
    cache = Cache(tmp_path / "cache")
    with serving(filled(tmp_path, LOWER)) as fake:
        fake.blobs[hostile.digest(LOWER)] = LOWER.replace(b"xxx", b"xyx")
        with Client() as client:
            image = open_image(fake.reference, access=Access(client, cache))
            with pytest.raises(IntegrityError, match="not what its digest says: expected"):
                merge(image, memory=CachedLayers(cache, "r"))
        assert CachedLayers(cache, "r").recall(image.layers()[0]) is None


@pytest.mark.parametrize("part", ["manifest", "config"])
def test_a_document_that_is_not_what_was_promised_is_refused(tmp_path: Path, part: str) -> None:
    with serving(filled(tmp_path, LOWER)) as fake:
        manifest = fake.tags["1"][0]
        if part == "manifest":
            fake.answer = lambda request: (
                "/manifests/" in request.path
                and reply(
                    request, 200, manifest, content_type=hostile.MANIFEST, docker_content_digest=f"sha256:{'0' * 64}"
                )
            )
        else:
            config = json.loads(manifest)["config"]["digest"]
            fake.blobs[config] = fake.blobs[config].replace(b"amd64", b"arm64")
        with pytest.raises(IntegrityError, match="expected sha256"):
            reading(fake)


def test_another_manifest_than_the_digest_of_the_reference_is_refused(tmp_path: Path) -> None:
    with serving(filled(tmp_path, LOWER)) as fake:
        wrong = f"sha256:{'1' * 64}"
        fake.tags[wrong] = fake.tags["1"]
        with pytest.raises(IntegrityError, match="not what was promised"):
            reading(fake, reference=f"registry:{fake.host}/{NAME}@{wrong}")


@pytest.mark.parametrize(
    "second",
    ["206 from there", "206 from elsewhere", "200 from the start", "416", "400"],
)
def test_a_transfer_that_breaks_off_goes_on_whatever_the_server_makes_of_it(tmp_path: Path, second: str) -> None:
    """pip #14131, and registry.k8s.io in August 2026: a server without ranges must not cost us the file."""
    digest, at = hostile.digest(LOWER), 500_000
    asked: list[str] = []

    def answer(request: Handler) -> bool:
        if not request.path.endswith(f"/blobs/{digest}"):
            return False
        asked.append(request.headers.get("range", ""))
        if len(asked) == 1:
            reply(request, 200, LOWER[:at], content_length=str(len(LOWER)))
            request.close_connection = True
            return True
        start = int(asked[-1][6:-1]) if asked[-1] else 0
        if not asked[-1] or second == "200 from the start":
            return reply(request, 200, LOWER)
        if second.startswith("206"):
            begin = start if second == "206 from there" else start - 7
            return reply(request, 206, LOWER[begin:], content_range=f"bytes {begin}-{len(LOWER) - 1}/{len(LOWER)}")
        return reply(request, int(second))

    with serving(filled(tmp_path, LOWER)) as fake:
        fake.answer = answer
        tree = reading(fake)

    assert tree.size("/big") == 900_000
    assert asked[1].startswith("bytes=")


def test_a_transfer_that_always_breaks_is_given_up(tmp_path: Path) -> None:
    with serving(filled(tmp_path, LOWER)) as fake:
        fake.answer = lambda request: (
            request.path.endswith(hostile.digest(LOWER)) and reply(request, 200, b"x", content_length="900000")
        )
        with pytest.raises(UnreachableError, match="broke off"):
            reading(fake)


def test_an_endless_drip_has_a_deadline(tmp_path: Path) -> None:
    """One byte now and then keeps every time limit of a single wait alive."""

    def dripping(request: Handler) -> bool:
        if "/blobs/" not in request.path:
            return False
        reply(request, 200, b"", content_length="900000")
        try:
            for _ in range(600):
                request.wfile.write(b"x")
                request.wfile.flush()
                time.sleep(0.02)
        except OSError:
            pass
        return True

    with serving(filled(tmp_path, LOWER)) as fake:
        fake.answer = dripping
        with pytest.raises(TimeLimitError, match="too slow"):
            reading(fake, Access(Client(attempts=1), patience_s=0.2))


@pytest.mark.parametrize("status", [429, 503])
def test_a_registry_that_is_busy_is_asked_again(tmp_path: Path, status: int) -> None:
    busy = [status, status]
    with serving(filled(tmp_path, LOWER)) as fake:
        fake.answer = lambda request: (
            "/manifests/" in request.path and bool(busy) and reply(request, busy.pop(), retry_after="0")
        )
        assert reading(fake, Access(Client(attempts=3))).kind("/big") == "file"


def test_an_error_with_an_endless_body_is_not_read(tmp_path: Path) -> None:
    with serving(filled(tmp_path, LOWER)) as fake:
        fake.answer = lambda request: (
            "/manifests/" in request.path and reply(request, 418, b"x" * 100_000, content_length=str(1 << 40))
        )
        with pytest.raises(UnreachableError, match="answers 418"):
            reading(fake)


def test_a_captive_portal_is_called_one(tmp_path: Path) -> None:
    with serving(filled(tmp_path, LOWER)) as fake:
        fake.answer = lambda request: (
            "/manifests/" in request.path and reply(request, 200, b"<!doctype html>", content_type="text/html")
        )
        with pytest.raises(UnreachableError, match="web page") as caught:
            reading(fake)
    assert "captive portal" in caught.value.hint


@pytest.mark.parametrize(
    "body", [b"not json", b"[" * 100_000, b"{}", b'{"mediaType": "x/y"}', b'{"layers": [], "manifests": []}']
)
def test_a_manifest_that_is_none_is_malformed(tmp_path: Path, body: bytes) -> None:
    with serving(filled(tmp_path, LOWER)) as fake:
        fake.tags["1"] = (body, "application/json")
        with pytest.raises(MalformedError):
            reading(fake)


def test_a_manifest_served_as_plain_json_is_read(tmp_path: Path) -> None:
    with serving(filled(tmp_path, LOWER)) as fake:
        fake.tags["1"] = (fake.tags["1"][0], "application/json; charset=utf-8")
        assert reading(fake).kind("/big") == "file"


def test_a_manifest_announced_as_something_else_is_refused(tmp_path: Path) -> None:
    """CVE-2021-41190: what one reader takes for a manifest, another would take for an index."""
    with serving(filled(tmp_path, LOWER)) as fake:
        fake.tags["1"] = (fake.tags["1"][0], hostile.INDEX)
        with pytest.raises(MalformedError, match="ambiguous"):
            reading(fake)


def test_an_image_of_schema_1_is_refused_by_name(tmp_path: Path) -> None:
    with serving(filled(tmp_path, LOWER)) as fake:
        fake.tags["1"] = (b'{"schemaVersion": 1}', "application/vnd.docker.distribution.manifest.v1+prettyjws")
        with pytest.raises(UnsupportedError, match="schema 1"):
            reading(fake)


def test_a_manifest_over_the_limit_is_refused(tmp_path: Path) -> None:
    with serving(filled(tmp_path, LOWER)) as fake:
        fake.tags["1"] = (b" " * (5 << 20), hostile.MANIFEST)
        with pytest.raises(MalformedError, match="more than"):
            reading(fake)


def test_a_blob_that_is_missing_is_an_integrity_error(tmp_path: Path) -> None:
    with serving(filled(tmp_path, LOWER)) as fake:
        del fake.blobs[hostile.digest(LOWER)]
        with pytest.raises(IntegrityError, match="is missing"):
            reading(fake)


def test_a_blob_that_is_packed_once_more_on_the_way_is_refused(tmp_path: Path) -> None:
    """ "identity" is asked for; a proxy that packs all the same sends other bytes than those with the digest."""
    with serving(filled(tmp_path, LOWER)) as fake:
        packed = gzip.compress(LOWER)
        fake.answer = lambda request: (
            request.path.endswith(hostile.digest(LOWER)) and reply(request, 200, packed, content_encoding="gzip")
        )
        with pytest.raises(IntegrityError):
            reading(fake)


# Which image.


def two_platforms(folder: Path) -> Fake:
    blobs = hostile.Blobs(folder / "two")
    lines = [
        blobs.image(
            [tar(file("p", name.encode()))],
            config={"architecture": name},
            platform={"os": "linux", "architecture": name},
        )
        for name in ("amd64", "arm64")
    ]
    attestation = blobs.image([tar(file("sbom"))], platform={"os": "unknown", "architecture": "unknown"})
    index = blobs.add_json(
        {"schemaVersion": 2, "mediaType": hostile.INDEX, "manifests": [*lines, attestation]}, hostile.INDEX
    )
    fake = Fake({f"sha256:{path.name}": path.read_bytes() for path in (blobs.path / "blobs/sha256").iterdir()})
    fake.tags["1"] = (fake.blobs[index["digest"]], hostile.INDEX)
    return fake


def test_of_several_platforms_none_is_guessed(tmp_path: Path) -> None:
    with serving(two_platforms(tmp_path)) as fake:
        with pytest.raises(UsageError, match="several images") as caught:
            open_image(fake.reference)
        assert "linux/amd64, linux/arm64" in caught.value.hint
        assert "unknown" not in caught.value.hint
        for name in ("amd64", "arm64"):
            assert merge(open_image(fake.reference, platform=f"linux/{name}")).read("/p") == name.encode()
        with pytest.raises(UsageError, match="no image for linux/s390x"):
            open_image(fake.reference, platform="linux/s390x")


def test_indexes_in_indexes_end(tmp_path: Path) -> None:
    fake = two_platforms(tmp_path)
    for _ in range(12):
        data, kind = fake.tags["1"]
        digest = hostile.digest(data)
        fake.tags[digest] = (data, kind)
        outer = {
            "schemaVersion": 2,
            "mediaType": kind,
            "manifests": [{"mediaType": kind, "digest": digest, "size": len(data)}],
        }
        fake.tags["1"] = (json.dumps(outer).encode(), kind)
    with serving(fake), pytest.raises(MalformedError, match="nested more than"):
        open_image(fake.reference)


def test_a_tag_that_is_not_there_shows_those_that_are(tmp_path: Path) -> None:
    with serving(filled(tmp_path, LOWER)) as fake:
        with pytest.raises(UsageError, match="does not exist") as caught:
            open_image(f"registry:{fake.host}/{NAME}:2")
        assert caught.value.hint == "tags there: 1"
        fake.answer = lambda request: "/tags/" in request.path and reply(request, 200, b'{"tags": 7}')
        with pytest.raises(UsageError, match="does not exist"):
            open_image(f"registry:{fake.host}/{NAME}:2")


@pytest.mark.parametrize(
    ("text", "host", "name", "tag"),
    [
        ("ghcr.io/a/b", "ghcr.io", "a/b", "latest"),
        ("Ghcr.IO/a/b:v1", "ghcr.io", "a/b", "v1"),
        ("localhost/a", "localhost", "a", "latest"),
        ("localhost:5000/a/b:1", "localhost:5000", "a/b", "1"),
        ("[::1]:5000/a:1", "[::1]:5000", "a", "1"),
        ("docker.io/python:3.12", "registry-1.docker.io", "library/python", "3.12"),
        ("docker.io/team/x", "registry-1.docker.io", "team/x", "latest"),
    ],
)
def test_a_name_is_taken_apart(text: str, host: str, name: str, tag: str) -> None:
    found = parse_name(text)
    assert (found.host, found.name, found.tag) == (host, name, tag)


@pytest.mark.parametrize(
    "text",
    ["python:3.12", "team/python", "ghcr.io/", "ghcr.io/A", "ghcr.io/../x", "ghcr.io/a:", "ghcr.io/a:b/c",
     "user@ghcr.io/a", "ghcr.io:x/a", "ghcr.io/a?b", "-x.io/a", "ghcr.io/a\n"],
)  # fmt: skip
def test_a_name_that_no_registry_could_have_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="registry"):
        parse_name(text)


def test_a_reference_with_host_and_port_round_trips() -> None:
    for text in ("registry:h.example:5000/a/b:v1", f"registry:h.example/a@sha256:{'0' * 64}"):
        assert str(parse_reference(text)) == text


def test_nobody_there_is_said_with_the_host() -> None:
    with pytest.raises(UnreachableError, match=r"cannot reach 127\.0\.0\.1") as caught:
        open_image("registry:127.0.0.1:9/a:1", access=Access(Client(attempts=1)))
    assert "attempts" not in str(caught.value)
