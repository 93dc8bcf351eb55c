"""A registry on the loopback that does what it is told: a switch a fault, as the real one does not show them."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.oci import hostile

NAME = "team/model"
Handler = BaseHTTPRequestHandler


@dataclass
class Fake:
    """What it holds, what it was asked (path and `Authorization`), and its switches."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    host: str = ""
    gate: Callable[[Handler], bool] = lambda request: True
    answer: Callable[[Handler], bool] = lambda request: False
    sessions: Iterator[int] = field(default_factory=itertools.count)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    api: bool = False
    """Whether it has the referrers API."""

    page: int = 100

    @property
    def paths(self) -> list[str]:
        """What was asked of the repository, in short: `manifests/1`, `blobs/sha256:…`."""
        return [path.removeprefix(f"/v2/{NAME}/") for path, _ in self.asked]

    @property
    def by_digest(self) -> dict[str, tuple[bytes, str]]:
        """What lies under tags, by its digest."""
        return {hostile.digest(body): (body, media_type) for body, media_type in self.tags.values()}

    @property
    def reference(self) -> str:
        return f"registry:{self.host}/{NAME}:1"


def filled(folder: Path, *layers: bytes, codec: str = "none", **more: Any) -> Fake:
    """A registry with one image of these tars, tagged `1`."""
    blobs = hostile.Blobs(folder / "blobs-of-fake")
    descriptor = blobs.image(layers, codec=codec, **more)
    fake = Fake({f"sha256:{path.name}": path.read_bytes() for path in (blobs.path / "blobs/sha256").iterdir()})
    fake.tags["1"] = (fake.blobs[descriptor["digest"]], hostile.MANIFEST)
    return fake


def reply(request: Handler, status: int, body: bytes = b"", **headers: str) -> bool:
    """An answer with a body; `www_authenticate="…"` is a header. A header that is empty is left out."""
    request.send_response(status)
    for name, value in {"content_length": str(len(body)), **headers}.items():
        if value:
            request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
    return True


def body_of(request: Handler) -> bytes:
    """What was sent; less where the transfer breaks off."""
    return request.rfile.read(int(request.headers.get("content-length") or 0))


def wants_basic(user: str, secret: str) -> Callable[[Handler], bool]:
    """A gate that a user name and a password open."""
    expected = "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()

    def gate(request: Handler) -> bool:
        if request.headers.get("authorization") == expected:
            return True
        reply(request, 401, www_authenticate='Basic realm="here"')
        return False

    return gate


def wants_token(realm: str, token: str = "t0ken", **parameters: str) -> Callable[[Handler], bool]:
    """A gate that a token opens; whoever has none is sent to `realm`."""
    more = "".join(f',{name}="{value}"' for name, value in parameters.items())

    def gate(request: Handler) -> bool:
        if request.headers.get("authorization") == f"Bearer {token}":
            return True
        reply(request, 401, www_authenticate=f'Bearer realm="{realm}"{more}')
        return False

    return gate


@contextmanager
def serving(fake: Fake) -> Iterator[Fake]:
    """Serve it over plain http; `fake.host` is where."""

    class Requests(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.asked.append((self.path, self.headers.get("authorization", "")))
            if self.path == "/v2/":
                reply(self, 401)
            elif not fake.answer(self) and fake.gate(self):
                _stored(fake, self)

        do_HEAD = do_GET

        def do_POST(self) -> None:
            fake.asked.append((self.path, self.headers.get("authorization", "")))
            fake.changes.append(f"{self.command} {self.path.removeprefix(f'/v2/{NAME}/')}")
            if not fake.answer(self) and fake.gate(self):
                _changed(fake, self)

        do_PATCH = do_PUT = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    fake.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _stored(fake: Fake, request: Handler) -> None:
    kind, _, what = request.path.partition("?")[0].removeprefix(f"/v2/{NAME}/").partition("/")
    if what.startswith("uploads/") and what in fake.uploads:
        reply(request, 204, location=request.path, range=f"0-{len(fake.uploads[what]) - 1}")
    elif kind == "referrers" and fake.api:
        _referrers(fake, request, what)
    elif kind == "tags":
        reply(request, 200, json.dumps({"name": NAME, "tags": sorted(fake.tags)}).encode())
    elif kind == "manifests" and what in (held := fake.tags | fake.by_digest):
        body, media_type = held[what]
        reply(request, 200, body, content_type=media_type)
    elif kind in {"blobs", "manifests"} and what in fake.blobs:
        data = fake.blobs[what]
        media_type = hostile.MANIFEST if kind == "manifests" else "application/octet-stream"
        reply(request, 200, data, content_type=media_type)
    else:
        reply(request, 404)


def _referrers(fake: Fake, request: Handler, digest: str) -> None:
    """What is about a digest, in pages that a `Link` leads to."""
    lines = []
    for body, media_type in fake.by_digest.values():
        manifest = json.loads(body)
        if manifest.get("subject", {}).get("digest") == digest:
            line = {"mediaType": media_type, "digest": hostile.digest(body), "size": len(body)}
            lines.append(line | {"artifactType": manifest["artifactType"]})
    start = int(request.path.partition("?start=")[2] or 0)
    body = json.dumps({"schemaVersion": 2, "manifests": lines[start : start + fake.page]}).encode()
    path = request.path.partition("?")[0]
    link = f'<{path}?start={start + fake.page}>; rel="next"' if len(lines) > start + fake.page else ""
    reply(request, 200, body, content_type=hostile.INDEX, link=link)


def _changed(fake: Fake, request: Handler) -> None:
    """A POST, PATCH or PUT, as the specification has it."""
    path, _, query = request.path.partition("?")
    kind, _, what = path.removeprefix(f"/v2/{NAME}/").partition("/")
    data = body_of(request)
    if kind == "manifests":
        fake.tags[what] = (data, request.headers["content-type"])
        subject = json.loads(data).get("subject", {}).get("digest", "") if fake.api else ""
        reply(request, 201, docker_content_digest=hostile.digest(data), oci_subject=subject)
    elif request.command == "POST":
        mounted = re.search(r"mount=sha256%3A([0-9a-f]{64})", query)
        if mounted and f"sha256:{mounted[1]}" in fake.blobs:
            reply(request, 201)
            return
        session = f"uploads/{next(fake.sessions)}"
        fake.uploads[session] = bytearray()
        reply(request, 202, location=f"/v2/{NAME}/blobs/{session}?_state=kept")
    elif what not in fake.uploads:
        reply(request, 404)
    elif request.command == "PATCH":
        start = int(request.headers["content-range"].partition("-")[0])
        if start != len(fake.uploads[what]):
            reply(request, 416)
            return
        fake.uploads[what] += data
        reply(request, 202, location=f"/v2/{NAME}/blobs/{what}?_state=next", range=f"0-{len(fake.uploads[what]) - 1}")
    else:
        fake.uploads[what] += data
        digest = f"sha256:{hashlib.sha256(fake.uploads[what]).hexdigest()}"
        if f"digest={digest.replace(':', '%3A')}" not in query or "_state=" not in query:
            reply(request, 400, b'{"errors": [{"code": "DIGEST_INVALID", "message": "no such digest"}]}')
            return
        fake.blobs[digest] = bytes(fake.uploads.pop(what))
        reply(request, 201, docker_content_digest=digest)
