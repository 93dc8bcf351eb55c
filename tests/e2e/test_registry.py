"""A registry that asks who we are, behind TLS by an authority of its own: real ones, on the loopback."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from envparity import codec, lockfile
from envparity.errors import UnreachableError, UsageError
from envparity.network import Client
from envparity.oci.access import Access
from envparity.oci.places import open_image
from envparity.values import BaseHistory, BaseLayer, LockedImage
from tests import keys
from tests.commands import envparity, refused
from tests.e2e import small_image
from tests.e2e.conftest import folder_of_its_own, service
from tests.oci.made import built
from tests.ports import port_of_its_own
from tests.test_build import lock_of
from tests.tools import needs_tool
from tests.values import training

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


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Private]:
    """A registry with one small image, a password and TLS."""
    program, skopeo = needs_tool("docker-registry"), needs_tool("skopeo")
    with folder_of_its_own() as folder, port_of_its_own() as port:
        address = f"127.0.0.1:{port}"
        keys.certificates(folder)
        (folder / "htpasswd").write_text(HTPASSWD)
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

        with service([program, "serve", str(folder / "registry.yml")], folder / "log", ready, 60):
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


def test_an_authority_of_this_host_alone_is_found_where_engines_look(private: Private, tmp_path: Path) -> None:
    """`/etc/docker/certs.d/HOST:PORT/ca.crt` is how an engine is told; who has told it need not tell us again."""
    environ = {"DOCKER_CONFIG": str(private.logged_in)}
    place = tmp_path / private.address
    with Client(attempts=1, certificates=[tmp_path]) as client:
        place.mkdir()
        with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
            open_image(private.reference, access=Access(client, environ=environ))
    (place / "ca.crt").write_bytes(private.authority.read_bytes())
    with Client(attempts=1, certificates=[tmp_path]) as client:
        assert open_image(private.reference, access=Access(client, environ=environ)).platform == "linux/amd64"
    (place / "client.cert").write_text("no certificate")
    with Client(attempts=1, certificates=[tmp_path]) as client, pytest.raises(UsageError, match=r"client\.cert"):
        open_image(private.reference, access=Access(client, environ=environ))


def test_an_authority_that_is_not_known_is_not_believed(private: Private, tmp_path: Path) -> None:
    """On the loopback too: whoever has the port could read the password."""
    variables = private.variables(tmp_path, SSL_CERT_FILE=os.devnull)

    done = refused("snapshot", private.reference, status=3, says="CERTIFICATE_VERIFY_FAILED", **variables)

    assert "SSL_CERT_FILE" in done.stderr
    assert "clock" in done.stderr
    assert "--insecure" in done.stderr


def test_a_registry_of_this_machine_is_believed_where_that_is_said(private: Private, tmp_path: Path) -> None:
    """Its password and the image travel no further than this machine."""
    variables = private.variables(tmp_path, SSL_CERT_FILE=os.devnull)

    done = envparity("snapshot", private.reference, "--insecure", **variables)

    assert [item["name"] for item in json.loads(done.stdout)["os_packages"]] == ["libc6", "zlib1g"]
    envparity("diff", private.reference, private.reference, "--insecure", **variables)
    again = private.variables(tmp_path, SSL_CERT_FILE=os.devnull, ENVPARITY_CACHE_DIR=str(tmp_path / "cold"))
    refused("show", private.reference, status=3, says="CERTIFICATE_VERIFY_FAILED", **again)


def test_an_image_is_pushed_to_a_registry_of_this_machine_and_verified_there(private: Private, tmp_path: Path) -> None:
    path = lock_of(tmp_path / "lock")
    variables = private.variables(tmp_path, SSL_CERT_FILE=os.devnull)
    place = f"registry:{private.address}/team/pushed:1"

    refused("build", path, "--output", place, status=3, says="CERTIFICATE_VERIFY_FAILED", **variables)
    envparity("build", path, "--output", place, "--insecure", **variables)

    refused("verify", place, "--against", path, status=3, says="CERTIFICATE_VERIFY_FAILED", **variables)
    envparity("verify", place, "--against", path, "--insecure", **variables)
    listed = envparity("show", place, "--attached", "--insecure", **variables).stdout
    assert "provenance" in listed


def lock_on(folder: Path, base: str, image: LockedImage) -> Path:
    """The path of a lock on a base that lies in a registry."""
    path = lock_of(folder)
    lock, _ = lockfile.read(path)
    snapshot = (lockfile.artifacts_folder(path) / lock.snapshot.name).read_bytes()
    target = msgspec.structs.replace(lock.targets[0], base=f"{base}@{image.digest}", image=image)
    changed = msgspec.structs.replace(lock, targets=(target,))
    lockfile.write(lockfile.Recovered(changed, {lock.snapshot.name: snapshot}), path)
    return path


def test_a_dockerfile_that_looks_into_a_base_of_this_machine_believes_it_where_that_is_said(
    private: Private, tmp_path: Path
) -> None:
    """The authorities of the base are read beside one's own; the Dockerfile itself names the base and reads nothing."""
    variables = private.variables(tmp_path, SSL_CERT_FILE=os.devnull)
    with Client(insecure=True) as client:
        there = open_image(private.reference, access=Access(client, environ=variables))
        layers = tuple(
            BaseLayer(digest=it.digest, diff_id=diff_id, size_bytes=it.size_bytes, media_type=it.media_type)
            for it, diff_id in zip(there.manifest.layers, there.config.rootfs.diff_ids, strict=True)
        )
        image = LockedImage(digest=there.digest, layers=layers, glibc="2.36", history=(BaseHistory(),) * len(layers))
    path = lock_on(tmp_path / "lock", private.reference, image)
    command = ("dockerfile", path, "-o", tmp_path / "docker")

    envparity(*command, **variables)
    refused(*command, "--ca-bundle", private.authority, status=3, says="CERTIFICATE_VERIFY_FAILED", **variables)
    envparity(*command, "--ca-bundle", private.authority, "--insecure", **variables)

    assert f"FROM {private.address}/team/small" in (tmp_path / "docker/Dockerfile").read_text()
    elsewhere = lock_on(tmp_path / "elsewhere", "registry:hub.example/team/small:1", image)
    done = refused("dockerfile", elsewhere, "-o", tmp_path / "other", "--insecure", status=2, says="on this machine")
    assert "SSL_CERT_FILE" in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("build", "pylock.toml", "--output", "oci:image", "--output", "registry:hub.example/team/small:1"),
        ("verify", "registry:10.0.0.7:5000/team/small:1"),
        ("snapshot", "registry:localhost.example:5000/team/small:1"),
        ("show", "registry:hub.example/team/small:1", "--attached"),
        ("diff", "model.env.json", "registry:127.0.0.1.example/team/small:1"),
    ],
)
def test_a_registry_elsewhere_is_verified_whatever_is_said(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "model.env.json").write_bytes(codec.dump_environment(training()))
    lock_of(tmp_path)

    done = refused(*command, "--insecure", status=2, says="is for a registry on this machine", cwd=tmp_path)

    assert "SSL_CERT_FILE" in done.stderr
