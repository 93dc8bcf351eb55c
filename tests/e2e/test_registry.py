"""A registry that asks who we are, behind TLS by an authority of its own: real ones, on the loopback."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.commands import envparity, refused
from tests.e2e import small_image
from tests.e2e.conftest import folder_of_its_own, service
from tests.oci.made import built
from tests.tools import needs_tool

# bcrypt of `s3cret`; the registry takes nothing else.
HTPASSWD = "ada:$2b$04$2enDcAZRX2BLNrVQ5BarKOboIZ8tGtBIch4I9bGAu8miWk.4ZVGIC\n"


@dataclass(frozen=True)
class Private:
    """Where it is, the authority that vouches for it, and a folder with what `docker login` writes."""

    address: str
    authority: Path
    logged_in: Path

    @property
    def reference(self) -> str:
        return f"registry:{self.address}/team/small:1"

    def variables(self, folder: Path, **changes: str) -> dict[str, str]:
        return {
            "SSL_CERT_FILE": str(self.authority),
            "DOCKER_CONFIG": str(self.logged_in),
            "ENVPARITY_CACHE_DIR": str(folder / "cache"),
            **changes,
        }


def _certificates(folder: Path) -> None:
    """An authority, and a certificate of it for this machine."""
    openssl = needs_tool("openssl")
    make = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    own = ["-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem", "-subj", "/CN=local authority"]
    # Strict readers (Python 3.13) want an authority to say that it may sign.
    subprocess.run([*make, *own, "-addext", "keyUsage=critical,keyCertSign"], check=True, capture_output=True)
    signed = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    by = ["-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key"]
    subprocess.run([*make, *by, *signed, *names], check=True, capture_output=True)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Private]:
    """A registry with one small image, a password and TLS."""
    program, skopeo = needs_tool("docker-registry"), needs_tool("skopeo")
    with folder_of_its_own() as folder:
        _certificates(folder)
        (folder / "htpasswd").write_text(HTPASSWD)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        (folder / "registry.yml").write_text(
            "version: 0.1\nlog: {level: warn}\n"
            f"storage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
            f"auth: {{htpasswd: {{realm: here, path: {folder}/htpasswd}}}}\n"
            f'http: {{addr: "{address}", tls: {{certificate: {folder}/cert.pem, key: {folder}/key.pem}}}}\n'
        )
        (folder / "login").mkdir()
        text = base64.b64encode(b"ada:s3cret").decode()
        (folder / "login/config.json").write_text(json.dumps({"auths": {address: {"auth": text}}}))

        def ready() -> bool:
            try:
                urllib.request.urlopen(
                    f"https://{address}/v2/", context=ssl.create_default_context(cafile=f"{folder}/ca.pem"), timeout=2
                )
            except urllib.error.HTTPError as error:
                with error:
                    return error.code == 401
            except OSError:
                return False
            return True

        with service([program, "serve", str(folder / "registry.yml")], folder / "log", ready, 30):
            work = tmp_path_factory.mktemp("private")
            image = built(work / "blobs", (small_image.RELEASE, small_image.STATUS))
            from envparity.oci.places import write_image

            write_image(f"oci:{work}/image:1", image)
            push = [skopeo, "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", "--dest-creds", "ada:s3cret"]
            subprocess.run([*push, f"oci:{work}/image:1", f"docker://{address}/team/small:1"], check=True)
            yield Private(address, folder / "ca.pem", folder / "login")


def test_a_login_and_an_own_authority_lead_in(private: Private, tmp_path: Path) -> None:
    done = envparity("snapshot", private.reference, **private.variables(tmp_path))

    assert [item["name"] for item in json.loads(done.stdout)["os_packages"]] == ["libc6", "zlib1g"]
    assert "s3cret" not in done.stdout + done.stderr
    kept = [path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert kept
    assert all(b"s3cret" not in data for data in kept)


def test_what_is_pushed_with_a_login_is_what_skopeo_reads(private: Private, tmp_path: Path) -> None:
    """Behind TLS by an authority of its own, with a password that stands in `docker login`'s file alone."""
    image = built(tmp_path / "blobs", (small_image.RELEASE,), (small_image.STATUS,))
    environ = private.variables(tmp_path)
    script = (
        "import os, sys; from envparity.oci import access, places; from envparity.network import Client\n"
        "from tests.e2e import small_image; from tests.oci.made import built; from pathlib import Path\n"
        "image = built(Path(sys.argv[2]), (small_image.RELEASE,), (small_image.STATUS,))\n"
        "print(places.write_image(sys.argv[1], image, access=access.Access(Client(), environ=os.environ)))"
    )
    argv = [sys.executable, "-c", script, f"registry:{private.address}/team/other:2", str(tmp_path / "again")]
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **environ}, check=False)
    assert done.stdout == f"{image.digest}\n", done.stderr

    look = [needs_tool("skopeo"), "inspect", "--raw", "--tls-verify=false", "--creds", "ada:s3cret"]
    raw = subprocess.run([*look, f"docker://{private.address}/team/other:2"], capture_output=True, check=True).stdout
    assert raw == image.manifest_bytes
    assert "s3cret" not in done.stdout + done.stderr


def test_without_a_login_it_is_said_what_to_do(private: Private, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    variables = private.variables(tmp_path, DOCKER_CONFIG=str(tmp_path / "nothing"))

    done = refused("snapshot", private.reference, status=3, says="wants credentials", **variables)

    assert f"docker login {private.address}" in done.stderr


def test_with_a_wrong_login_it_is_said_whose(private: Private, tmp_path: Path) -> None:
    text = base64.b64encode(b"ada:wr0ng").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {private.address: {"auth": text}}}))
    variables = private.variables(tmp_path, DOCKER_CONFIG=str(tmp_path))

    done = refused("snapshot", private.reference, status=3, says="refuses the login of `ada`", **variables)

    assert "wr0ng" not in done.stderr


def test_an_authority_that_is_not_known_is_not_believed(private: Private, tmp_path: Path) -> None:
    """On the loopback too: whoever has the port could read the password."""
    variables = private.variables(tmp_path, SSL_CERT_FILE=os.devnull)

    done = refused("snapshot", private.reference, status=3, says="CERTIFICATE_VERIFY_FAILED", **variables)

    assert "SSL_CERT_FILE" in done.stderr
    assert "clock" in done.stderr
