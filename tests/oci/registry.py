"""A registry on the loopback that does what it is told: a switch a fault, as the real one does not show them."""

from __future__ import annotations

import base64
import json
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

    @property
    def paths(self) -> list[str]:
        """What was asked of the repository, in short: `manifests/1`, `blobs/sha256:…`."""
        return [path.removeprefix(f"/v2/{NAME}/") for path, _ in self.asked]

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
    request.wfile.write(body)
    return True


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
    if kind == "tags":
        reply(request, 200, json.dumps({"name": NAME, "tags": sorted(fake.tags)}).encode())
    elif kind == "manifests" and what in fake.tags:
        body, media_type = fake.tags[what]
        reply(request, 200, body, content_type=media_type)
    elif kind in {"blobs", "manifests"} and what in fake.blobs:
        data = fake.blobs[what]
        media_type = hostile.MANIFEST if kind == "manifests" else "application/octet-stream"
        reply(request, 200, data, content_type=media_type)
    else:
        reply(request, 404)
