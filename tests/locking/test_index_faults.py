"""An index with a switch for each fault, and what a lock makes of it: what is said, and with which status."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from envparity import lock
from envparity.cache import Cache
from envparity.errors import EnvparityError, ExitStatus
from envparity.fetch import Fetcher
from envparity.image import wheels
from envparity.network import Client
from envparity.resolvers.indexes import Index, Indexes
from envparity.values import Distribution, Proof
from tests.indexes import html_page, json_page, listed
from tests.serving import Answer, Ranged, Served, plain, serving
from tests.tools import needs_tool
from tests.values import training
from tests.wheels import JSON, pack

GONE = Distribution(name="gone", version="1.0", wheel_tags=("py3-none-any",))
"""It is on no index: a lock with it ends before a base is made."""


NOWHERE = dict.fromkeys(("debian", "debian-security", "ubuntu"), "http://127.0.0.1:9")
"""No archive is asked: no lock here comes so far."""


@dataclass
class Outcome:
    """What a lock said before it ended: the error, and the state of each distribution if it came so far."""

    status: ExitStatus
    text: str
    states: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    return pack(tmp_path, {"demo/__init__.py": b"answer = 42\n"})


def locked(demo: Path, folder: Path, *roots: str, refresh: bool = False, **options: Any) -> Outcome:
    """A lock of `demo` and of what is gone, by another run of the program."""
    told: list[Sequence[Proof]] = []
    record = wheels.record_sha256(demo)
    installed = Distribution(name="demo", version="1.0", wheel_tags=("py3-none-any",), record_sha256=record)
    indexes = Indexes(tuple(Index.of(root, name) for root, name in zip(roots, ("", "extra"), strict=False)))
    client = Client(timeout_s=5, attempts=2)
    with (
        Fetcher(client, Cache(folder / "cache"), refresh=refresh, mirrors=NOWHERE) as fetcher,
        pytest.raises(EnvparityError) as caught,
    ):
        lock.recover(
            training(distributions=(installed, GONE), artifacts=None),
            fetcher=fetcher,
            workplace=folder,
            asked=lock.Asked(indexes=indexes, explain=told.append, **options),
        )
    error = caught.value
    states = {item.name: item.state for proofs in told for item in proofs}
    return Outcome(error.status, "\n".join((str(error), error.hint, *error.details)), states)


def page(demo: Path, **changes: object) -> Answer:
    return plain(json_page("demo", listed(demo, **changes)), content_type=JSON)


def cut(demo: Path) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        plain(json_page("demo", listed(demo))[:50], content_type=JSON, content_length="9999")(request)

    return answer


def compressed_by_nobody(demo: Path) -> Answer:
    return plain(json_page("demo", listed(demo)), content_type=JSON, content_encoding="gzip")


FOUND: dict[str, Callable[[Path], list[Answer]]] = {
    "busy": lambda demo: [plain(b"", 429, retry_after="0"), page(demo)],
    "broken once": lambda demo: [plain(b"", 503, retry_after="0"), page(demo)],
    "cut once": lambda demo: [cut(demo), page(demo)],
    "html": lambda demo: [plain(html_page("demo", listed(demo)), content_type="text/html; charset=utf-8")],
    "moved": lambda demo: [plain(b"", 301, location="/moved/demo/")],
    "yanked": lambda demo: [page(demo, yanked="it was broken")],
    "an ill file of another version": lambda demo: [
        plain(json_page("demo", {"filename": "demo-0.1.tar.gz", "size": "large"}, listed(demo)), content_type=JSON)
    ],
}


@pytest.mark.parametrize("fault", list(FOUND))
def test_what_passes_is_waited_for_or_read_all_the_same(fault: str, demo: Path, tmp_path: Path) -> None:
    answers = {"/simple/demo/": FOUND[fault](demo), "/moved/demo/": [page(demo)]}
    answers[f"/files/{demo.name}"] = [plain(demo.read_bytes())]  # its size stands in no HTML
    with serving(answers) as served:
        outcome = locked(demo, tmp_path, f"{served.url}/simple/")

    assert outcome.status == ExitStatus.FINDINGS
    assert outcome.states == {"demo": "matched", "gone": "unmatched"}


REFUSED: dict[str, tuple[Callable[[Path], list[Answer]], ExitStatus, str]] = {
    "always busy": (lambda demo: [plain(b"", 429, retry_after="0")], ExitStatus.UNFINISHED, "answers 429"),
    "always cut": (lambda demo: [cut(demo)], ExitStatus.UNFINISHED, "cannot reach 127.0.0.1"),
    "in a loop": (lambda demo: [plain(b"", 302, location="/simple/demo/")], ExitStatus.UNFINISHED, "redirects more"),
    "to a file": (lambda demo: [plain(b"", 302, location="file:///etc/passwd")], ExitStatus.UNFINISHED, "not followed"),
    "a portal": (
        lambda demo: [plain(b"<html><form>Sign in</form></html>", content_type="text/html")],
        ExitStatus.MALFORMED,
        "sign-in page",
    ),
    "not gzip": (lambda demo: [compressed_by_nobody(demo)], ExitStatus.UNFINISHED, "127.0.0.1"),
    "no sha256": (lambda demo: [page(demo, hashes={"md5": "0" * 32})], ExitStatus.FINDINGS, "gives no sha256"),
    "plain http elsewhere": (
        lambda demo: [page(demo, url="ftp://mirror/demo-1.0-py3-none-any.whl")],
        ExitStatus.FINDINGS,
        "which is not https",
    ),
    "an sdist alone": (
        lambda demo: [page(demo, filename="demo-1.0.tar.gz")],
        ExitStatus.FINDINGS,
        "has an sdist of this version and no wheel",
    ),
    "another version": (
        lambda demo: [page(demo, filename="demo-1.1-py3-none-any.whl")],
        ExitStatus.FINDINGS,
        "this version is gone from the index",
    ),
}


@pytest.mark.parametrize("fault", list(REFUSED))
def test_what_does_not_pass_is_named_with_its_status(fault: str, demo: Path, tmp_path: Path) -> None:
    answers, status, says = REFUSED[fault]
    with serving({"/simple/demo/": answers(demo)}) as served:
        outcome = locked(demo, tmp_path, f"{served.url}/simple/")

    assert outcome.status == status, outcome
    assert says in outcome.text
    assert not list(tmp_path.rglob("pylock*"))


def test_a_wheel_that_was_deleted_is_named_with_its_address(demo: Path, tmp_path: Path) -> None:
    """Its page still lists it, and nobody can say of it that it is proven."""
    with serving({"/simple/demo/": [page(demo)]}) as served:
        outcome = locked(demo, tmp_path, f"{served.url}/simple/", prove=True)

    assert outcome.status == ExitStatus.UNFINISHED
    assert f"{served.url}/files/{demo.name} answers 404" in outcome.text


def test_two_indexes_with_two_files_of_one_name_are_refused_with_the_choice(demo: Path, tmp_path: Path) -> None:
    other = page(demo, hashes={"sha256": "b" * 64})
    with serving({"/simple/demo/": [page(demo)], "/extra/demo/": [other]}) as served:
        outcome = locked(demo, tmp_path, f"{served.url}/simple/", f"{served.url}/extra/")

    assert outcome.status == ExitStatus.FINDINGS
    assert "is on two indexes" in outcome.text
    assert "--index-for demo=extra" in outcome.text


def test_a_page_with_an_etag_is_sent_once_and_the_wheel_is_proven_each_time(demo: Path, tmp_path: Path) -> None:
    sent: list[int] = []

    def conditional(request: BaseHTTPRequestHandler) -> None:
        sent.append(304 if request.headers.get("if-none-match") == '"one"' else 200)
        body = json_page("demo", listed(demo)) if sent[-1] == 200 else b""
        plain(body, sent[-1], etag='"one"', content_type=JSON)(request)

    file = Ranged(demo.read_bytes())
    with serving({"/simple/demo/": [conditional], f"/files/{demo.name}": [file]}) as served:
        runs = [
            locked(demo, tmp_path, f"{served.url}/simple/", refresh=refresh, prove=True)
            for refresh in (False, False, True)
        ]

    assert [run.states["demo"] for run in runs] == ["proven"] * 3
    assert sent == [200, 304], "the second run asks nobody, the third only whether it changed"
    assert file.wholes == 0


@contextmanager
def behind_tls(answer: Answer, certificate: Path) -> Iterator[Served]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            (answer if "/demo/" in self.path else plain(b"", 404))(self)

        def log_message(self, *_: object) -> None: ...

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: served.asked.append("refused")  # type: ignore[method-assign, assignment]
    served = Served(f"https://127.0.0.1:{server.server_port}")
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()


def certificate(place: Path, *, name: str = "IP:127.0.0.1", ends: str = "20360101000000Z") -> Path:
    """A self-signed certificate with its key, made by openssl."""
    key, signed = place.with_suffix(".key"), place.with_suffix(".pem")
    options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=test"]
    options += ["-addext", f"subjectAltName={name}", "-keyout", str(key), "-out", str(signed)]
    config = place.with_suffix(".cnf")
    config.write_text("[req]\ndistinguished_name=dn\n[dn]\n")
    openssl = needs_tool("openssl")
    subprocess.run([openssl, "req", "-config", config, "-days", "3650", *options], check=True, capture_output=True)
    if not ends.startswith("2036"):
        request = place.with_suffix(".csr")
        subprocess.run([openssl, "x509", "-x509toreq", "-in", signed, "-signkey", key, "-out", request], check=True,
                       capture_output=True)  # fmt: skip
        extensions = place.with_suffix(".ext")
        extensions.write_text(f"subjectAltName={name}\n")
        again = ["-signkey", key, "-in", request, "-extfile", extensions, "-out", signed, "-days", "-1"]
        subprocess.run([openssl, "x509", "-req", *again], check=True, capture_output=True)
    signed.write_bytes(signed.read_bytes() + key.read_bytes())
    return signed


@pytest.mark.parametrize(
    ("kind", "options", "trusted", "says"),
    [
        ("self-signed", {}, False, "self-signed certificate"),
        ("of another host", {"name": "DNS:elsewhere.example"}, True, "IP address mismatch"),
        ("expired", {"ends": "past"}, True, "certificate has expired"),
    ],
)
def test_a_certificate_that_is_not_right_is_asked_for_once_and_says_what_to_look_at(
    kind: str,
    options: dict[str, str],
    trusted: bool,
    says: str,
    demo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = certificate(tmp_path / "tls", **options)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(made))
    with behind_tls(page(demo), made) as served:
        outcome = locked(demo, tmp_path, f"{served.url}/simple/")

    assert outcome.status == ExitStatus.UNFINISHED
    assert "cannot reach 127.0.0.1" in outcome.text
    assert says in outcome.text
    assert "clock" in outcome.text
    assert [path for path in served.asked if path.startswith("/")] == []


def test_with_the_authority_named_the_index_is_asked(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = certificate(tmp_path / "tls")
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    with behind_tls(page(demo), made) as served:
        outcome = locked(demo, tmp_path, f"{served.url}/simple/")

    assert outcome.states == {"demo": "matched", "gone": "unmatched"}
