"""A web server on the loopback, for faults that the real index does not show on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """Where it listens, and which paths were asked for, in order."""

    url: str
    asked: list[str] = field(default_factory=list)


Answer = Callable[[BaseHTTPRequestHandler], None]


def plain(body: bytes, status: int = 200, **headers: str) -> Answer:
    """An answer with a body and headers (`retry_after` for Retry-After)."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"content_length": str(len(body)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


FAULTS = (
    *("ignored", "refused", "other part", "no label", "of another size", "encoded", "several parts"),
    *("cut", "short", "long", "other bytes"),
)
"""What a server or a proxy makes of a question for a part of a file."""


@dataclass
class Ranged:
    """A file of which parts may be asked for; `fault` is what is wrong with the answers, `parts` what was asked for."""

    data: bytes
    fault: str = ""
    etags: tuple[str, ...] = ('"one"',)
    parts: list[str] = field(default_factory=list)

    @property
    def wholes(self) -> int:
        """How often all of it was asked for."""
        return self.parts.count("")

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("range", "")
        self.parts.append(wanted)
        if not wanted or self.fault == "ignored":
            return plain(self.data)(request)
        if self.fault == "refused":
            return plain(b"", 416)(request)
        start, end = (int(text) for text in wanted.removeprefix("bytes=").split("-"))
        if self.fault == "other part":
            start, end = start - 1, end - 1
        body = self.data[start : end + 1]
        headers = {"content_range": f"bytes {start}-{end}/{len(self.data)}"}
        headers["etag"] = self.etags[min(len(self.parts), len(self.etags)) - 1]
        if self.fault == "no label":
            headers.pop("content_range")
        elif self.fault == "of another size":
            headers["content_range"] += "0"
        elif self.fault == "encoded":
            headers["content_encoding"] = "gzip"
        elif self.fault == "several parts":
            headers = {"content_type": "multipart/byteranges; boundary=x"}
        elif self.fault == "cut":
            headers["content_length"] = str(len(body))
            body = body[: len(body) // 2]
        elif self.fault == "short":
            body = body[:-1]
        elif self.fault == "long":
            body += b"x"
        elif self.fault == "other bytes":
            body = body[:-100] + bytes(100)
        request.close_connection = True
        return plain(body, 206, **headers)(request)


@contextmanager
def serving(answers: dict[str, list[Answer]]) -> Iterator[Served]:
    """Answer each path with its list of answers in turn; the last one stays."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            served.asked.append(self.path)
            left = answers.get(path) or [plain(b"gone", 404)]
            (left.pop(0) if len(left) > 1 else left[0])(self)

        def do_HEAD(self) -> None:
            self.send_error(405)  # whoever asks for headers alone has to ask for the file; 501 would be asked again

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64  # of five, a sixth that asks at once waits for a second

    server = Server(("127.0.0.1", 0), Handler)
    served = Served(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
