"""Wheels and indexes for tests: small ones that are made here, real ones from the public index, and a local index."""

from __future__ import annotations

import atexit
import base64
import functools
import hashlib
import json
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from envparity.network import Client
from envparity.oci.entries import Entry
from envparity.resolvers import index
from envparity.values import Distribution, LockedDistribution

JSON = "application/vnd.pypi.simple.v1+json"


def content(entry: Entry) -> bytes:
    """The bytes of an entry, however it holds them."""
    if entry.content is None or isinstance(entry.content, bytes):
        return entry.content or b""
    with entry.content() as stream:
        return stream.read()


def record_hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def pack(
    folder: Path,
    contents: Mapping[str, bytes],
    *,
    file_name: str = "demo-1.0-py3-none-any.whl",
    modes: Mapping[str, int] = {},
    record: bytes | None = None,
    extra: Sequence[tuple[str, bytes]] = (),
) -> Path:
    """
    A wheel of these files, with METADATA, WHEEL and RECORD where they are not given. `extra` is written as it is, after
    RECORD was made: twice, links, whatever a hostile author would write. `modes` are whole Unix modes.
    """
    name, version = file_name.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **contents,
    }
    rows = [f"{path},{record_hash(data)},{len(data)}\n" for path, data in files.items()]
    files[f"{info}/RECORD"] = record if record is not None else "".join([*rows, f"{info}/RECORD,,\n"]).encode()
    path = folder / file_name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in [*files.items(), *extra]:
            entry = zipfile.ZipInfo(member)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = modes.get(member, stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, data)
    return path


@functools.cache
def real_wheel(name: str, version: str, *tags: str) -> Path:
    """A wheel of the public index, fetched once in a process and checked against the hash that the index gives."""
    wanted = Distribution(name=name, version=version, wheel_tags=tags or ("py3-none-any",))
    with Client() as client:
        (found,) = index.find_wheels([wanted], client=client, python_version="3.11.7")
        assert isinstance(found, LockedDistribution), found
        wheel = found.wheel
        data = client.download(wheel.url, lambda chunks: b"".join(chunks))
    assert hashlib.sha256(data).hexdigest() == wheel.sha256
    path = _folder() / wheel.name
    path.write_bytes(data)
    return path


@functools.cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="envparity-tests-wheels-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


class LocalIndex:
    """What a local index answers: path -> status, content type, body; `asked` is what was asked of it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.root = f"{address}/simple/"
        self.answers: dict[str, tuple[int, str, bytes]] = {}
        self.asked: list[tuple[str, str]] = []

    def project(self, name: str, /, *files: Mapping[str, object], **meta: object) -> None:
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": files, **meta}
        self.answers[f"/simple/{name}/"] = (200, JSON, json.dumps(page).encode())

    def file(self, path: str, data: bytes) -> None:
        self.answers[path] = (200, "application/octet-stream", data)


def serve(index: LocalIndex, wheel: Path) -> None:
    """Let a local index serve a wheel, as an index does: listed with its size and digest."""
    data = wheel.read_bytes()
    file = {"filename": wheel.name, "url": f"../../files/{wheel.name}", "size": len(data)}
    index.project(wheel.name.partition("-")[0], {**file, "hashes": {"sha256": hashlib.sha256(data).hexdigest()}})
    index.file(f"/files/{wheel.name}", data)


@contextmanager
def local_index() -> Iterator[LocalIndex]:
    """An index on the loopback, for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append((self.path, self.headers.get("accept", "")))
            status, kind, body = served.answers.get(self.path, (404, "text/plain", b"not found"))
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = LocalIndex(f"http://127.0.0.1:{server.server_address[1]}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
