"""A private index on the loopback, with a password and a switch for each fault."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.serving import Answer, Served, plain, serving
from tests.wheels import JSON

USER, SECRET = "ada", "s3cret-canary"
BASIC = "Basic " + base64.b64encode(f"{USER}:{SECRET}".encode()).decode()


@dataclass
class PrivateIndex:
    """Where it is, which `Authorization` each question came with, and the fault of its answers."""

    served: Served
    fault: str = ""
    logins: list[str] = field(default_factory=list)

    @property
    def root(self) -> str:
        return f"{self.served.url}/simple/"

    @property
    def with_login(self) -> str:
        return self.root.replace("http://", f"http://{USER}:{SECRET}@")


def listed(path: Path, **changes: object) -> dict[str, object]:
    """A wheel as an index's JSON has it."""
    data = path.read_bytes()
    known = {"filename": path.name, "url": f"../../files/{path.name}", "size": len(data)}
    return {**known, "hashes": {"sha256": hashlib.sha256(data).hexdigest()}, **changes}


def json_page(name: str, *files: dict[str, object]) -> bytes:
    return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": files}).encode()


def html_page(name: str, *files: dict[str, object]) -> bytes:
    """The same as HTML of PEP 503."""
    lines = [f"<!DOCTYPE html><html><head><title>Links for {name}</title></head><body>"]
    for file in files:
        given = {"href": f"{file['url']}#sha256={file['hashes']['sha256']}"}  # type: ignore[index]
        given |= {f"data-{key}": str(file[key]) for key in ("requires-python", "yanked") if key in file}
        attributes = " ".join(f'{key}="{html.escape(value)}"' for key, value in given.items())
        lines.append(f"<a {attributes}>{file['filename']}</a><br/>")
    return "\n".join([*lines, "</body></html>"]).encode()


@contextmanager
def private_index(*wheels: Path, form: str = JSON, elsewhere: str = "") -> Iterator[PrivateIndex]:
    """
    It serves these wheels to whoever has the password. Faults: `401`, `403`, `hostile realm`, `portal`, `wrong length`,
    `redirect` (to `elsewhere`), `other bytes`.
    """
    page = json_page if form == JSON else html_page

    def answer(good: Answer) -> Answer:
        def checked(request: BaseHTTPRequestHandler) -> None:
            login = request.headers.get("authorization", "")
            index.logins.append(login)
            if index.fault == "redirect":
                return plain(b"", 302, location=f"{elsewhere}{request.path}")(request)
            if index.fault == "hostile realm":
                return plain(b"", 401, www_authenticate=f'Bearer realm="{elsewhere}/token"')(request)
            if index.fault in {"401", "403"} or login != BASIC:
                return plain(b"no", 403 if index.fault == "403" else 401, www_authenticate='Basic realm="x"')(request)
            if index.fault == "portal":
                return plain(b"<html><form>Sign in</form></html>", content_type="text/html")(request)
            if index.fault == "wrong length":
                request.close_connection = True
                return plain(b"{}", content_length="1000")(request)
            return good(request)

        return checked

    answers: dict[str, list[Answer]] = {}
    for path in wheels:
        name = path.name.partition("-")[0]
        answers[f"/simple/{name}/"] = [answer(plain(page(name, listed(path)), content_type=form))]
        answers[f"/files/{path.name}"] = [answer(plain(path.read_bytes()))]
    with serving(answers) as served:
        index = PrivateIndex(served)
        yield index
