"""Certificate authorities of one's own: all that asks trusts them in an image, which has nothing else of their file."""

from __future__ import annotations

import dataclasses
import ssl
import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
import pytest

from envparity import build, lockfile, preparation, verify
from envparity.errors import ExitStatus, IntegrityError, MalformedError, RefusedError
from envparity.fetch import Fetcher
from envparity.image import authorities
from envparity.image.findings import SECTIONS
from envparity.oci.entries import Entry
from envparity.oci.places import open_image
from envparity.oci.tree import ImageTree, merge
from envparity.values import BaseHistory, BaseLayer, LockedImage, Options, System, Variable, Verdict
from tests import keys
from tests.e2e.tampering import layer_with, tampered
from tests.oci import hostile
from tests.test_build import lock_of, offline
from tests.values import training

USUAL = b"# what the base trusts\n"


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    return offline(tmp_path / "cache")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    keys.certificates(folder)
    return folder


def on_image(folder: Path) -> Path:
    """A lock on a base that is an image and has authorities of its own."""
    path = lock_of(folder)
    tar = hostile.tar(hostile.file("etc/ssl/certs/ca-certificates.crt", USUAL))
    digest = hostile.digest(tar)
    layer = BaseLayer(digest=digest, diff_id=digest, size_bytes=len(tar), media_type=hostile.LAYER)
    lock, _ = lockfile.read(path)
    artifacts = lockfile.artifacts_folder(path)
    image = LockedImage(digest=hostile.digest(b"manifest"), layers=(layer,), glibc="2.36", history=(BaseHistory(),))
    target = msgspec.structs.replace(lock.targets[0], base=f"oci:@{image.digest}", image=image)
    snapshot = (artifacts / lock.snapshot.name).read_bytes()
    changed = msgspec.structs.replace(lock, targets=(target,), models=())
    lockfile.write(lockfile.Recovered(changed, {lock.snapshot.name: snapshot}), path)
    (artifacts / layer.artifact.name).write_bytes(tar)
    return path


def of(reference: str) -> ImageTree:
    return merge(open_image(reference))


def test_of_a_bundle_only_the_certificates_are_taken_each_once(made: Path, tmp_path: Path) -> None:
    """What else stands in such a file is a note of somebody, and whoever pulls the image could read it."""
    own = (made / "ca.pem").read_bytes()
    file = tmp_path / "ca.pem"
    file.write_bytes(b"# ask ada (ext. 42)\r\n" + own.replace(b"\n", b"\r\n") + b"Subject: local\n" + own)

    assert authorities.read(file) == own
    assert authorities.read(made / "ca.pem") == own


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda own, key: own + key, RefusedError, "private key"),
        (lambda own, key: own.replace(b"CERTIFICATE", b"CERTIFICATE REQUEST"), MalformedError, "something else"),
        (lambda own, key: own[:-30], MalformedError, "does not end"),
        (lambda own, key: own.replace(b"M", b"N", 1), MalformedError, "cannot be read"),
        (lambda own, key: own.replace(b"M", b"!", 1), MalformedError, "cannot be read"),
        (lambda own, key: b"\x30\x82\x01\x00", MalformedError, "no certificate in PEM"),
        (lambda own, key: b"", MalformedError, "no certificate in PEM"),
    ],
)
def test_what_is_no_bundle_of_certificates_is_refused(
    made: Path, tmp_path: Path, change: Callable[[bytes, bytes], bytes], error: type[Exception], says: str
) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(change((made / "ca.pem").read_bytes(), (made / "ca.key").read_bytes()))

    with pytest.raises(error, match=says):
        authorities.read(file)


def test_an_image_trusts_those_of_its_base_and_its_builders_and_verifies(
    made: Path, tmp_path: Path, fetcher: Fetcher
) -> None:
    path, output = on_image(tmp_path / "lock"), f"oci:{tmp_path / 'image'}"

    built = build.assemble(build.Request(path, (output,), ca_bundle=made / "ca.pem"), fetcher=fetcher)

    tree, own = of(output), (made / "ca.pem").read_bytes()
    assert tree.read(f"/{authorities.OWN}", 1 << 20) == own
    assert tree.read(f"/{authorities.BUNDLE}", 1 << 20) == USUAL + own
    variables = open_image(output).variables
    assert {name: variables[name] for name in authorities.VARIABLES} == dict.fromkeys(
        authorities.VARIABLES, f"/{authorities.BUNDLE}"
    )

    def told(**expected: Any) -> Verdict:
        request = verify.Request(output, str(path), expected=Options(**expected))
        return verify.against(request, fetcher=fetcher)

    def of_authorities(verdict: Verdict) -> list[str]:
        return [item.difference.item for item in verdict.findings if item.difference.section in SECTIONS]

    assert of_authorities(told()) == []
    assert any("trusts certificate authorities of its builder" in line for line in told().declared)
    assert not any("authorities" in line for line in told(ca_bundle=built.plan.options.ca_bundle).declared)
    assert of_authorities(told(ca_bundle="0" * 64)) == ["authorities"]


def test_a_server_with_a_certificate_of_ones_own_is_reached_by_the_default_context(
    made: Path, tmp_path: Path, fetcher: Fetcher
) -> None:
    output = f"oci:{tmp_path / 'image'}"
    build.assemble(build.Request(lock_of(tmp_path / "lock"), (output,), ca_bundle=made / "ca.pem"), fetcher=fetcher)
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(of(output).read(open_image(output).variables["SSL_CERT_FILE"], 1 << 20))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made / "cert.pem", made / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    code = (
        "import ssl, sys, urllib.request\n"
        "print(urllib.request.urlopen(sys.argv[1], context=ssl.create_default_context()).status)"
    )
    argv = [sys.executable, "-I", "-c", code, f"https://localhost:{server.server_port}/"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, env={"SSL_CERT_FILE": str(bundle)}, check=False)
    finally:
        server.shutdown()
        server.server_close()

    assert done.stdout == "204\n", done.stderr


def test_authorities_that_somebody_changed_in_an_image_are_found(made: Path, tmp_path: Path, fetcher: Fetcher) -> None:
    path, place = lock_of(tmp_path / "lock"), tmp_path / "image"
    build.assemble(build.Request(path, (f"oci:{place}",), ca_bundle=made / "ca.pem"), fetcher=fetcher)
    other = (made / "cert.pem").read_bytes()

    def change(entries: list[Entry]) -> list[Entry]:
        return [
            dataclasses.replace(each, content=other, size_bytes=len(other)) if each.path.endswith(".pem") else each
            for each in entries
        ]

    changed = tampered(place, tmp_path / "changed", {layer_with(place, authorities.BUNDLE): change})
    verdict = verify.against(verify.Request(changed, str(path)), fetcher=fetcher)

    assert verdict.status is ExitStatus.INTEGRITY
    items = {finding.difference.item for finding in verdict.findings}
    assert {f"/{authorities.BUNDLE}", f"/{authorities.OWN}"} <= items


def test_a_bundle_that_changes_after_it_was_looked_at_is_refused(made: Path, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes((made / "ca.pem").read_bytes())
    request = build.Request(lock_of(tmp_path / "lock"), ca_bundle=file)
    options = preparation.options_of(request)
    file.write_bytes((made / "cert.pem").read_bytes())

    with pytest.raises(IntegrityError, match="changed while it was built"):
        preparation.decided(request, options)


def test_a_variable_of_the_builder_outranks_the_bundle() -> None:
    said = Options(ca_bundle="0" * 64, env=(Variable("SSL_CERT_FILE", "/etc/mine.pem"),))

    merged = {item.name: item.value for item in (*authorities.variables(said), *said.env)}

    assert merged["SSL_CERT_FILE"] == "/etc/mine.pem"
    assert authorities.variables(Options()) == ()


def test_that_training_trusted_more_than_the_base_is_told_with_the_way_to_bring_it() -> None:
    trained = training(system=System(own_authorities=("REQUESTS_CA_BUNDLE",)))

    (told,) = authorities.notes(trained, given=False)

    assert "REQUESTS_CA_BUNDLE" in told
    assert "--ca-bundle" in told
    assert authorities.notes(trained, given=True) == authorities.notes(training(), given=False) == ()
