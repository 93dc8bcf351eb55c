"""Keys of people: read in the forms that they have them in, and refused by name where they are something else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from envparity.errors import IntegrityError, MalformedError, UsageError
from envparity.oci.keys import private_key, public_key
from tests import keys
from tests.tools import needs_tool


def openssl(*arguments: str | Path) -> None:
    subprocess.run([needs_tool("openssl"), *map(str, arguments)], check=True, capture_output=True)


def test_what_one_half_signs_the_other_verifies_and_equal_bytes_have_one_signature(tmp_path: Path) -> None:
    private, public = (keys.pair(tmp_path)[0], tmp_path / "key.pub")
    own, other = public_key(public), public_key(keys.pair(tmp_path, "other")[1])
    signature = private_key(private, {}).sign(b"data")

    assert own.verifies(b"data", signature)
    assert private_key(private, {}).sign(b"data") == signature
    assert not own.verifies(b"other data", signature)
    assert not own.verifies(b"data", signature[:-1])
    assert not own.verifies(b"data", b"")
    assert not other.verifies(b"data", signature)


def test_openssl_accepts_the_signature(tmp_path: Path) -> None:
    private, public = keys.pair(tmp_path)
    (tmp_path / "data").write_bytes(b"data")
    (tmp_path / "signature").write_bytes(private_key(private, {}).sign(b"data"))

    openssl("dgst", "-sha256", "-verify", public, "-signature", tmp_path / "signature", tmp_path / "data")


def test_an_encrypted_key_is_opened_with_its_password_alone(tmp_path: Path) -> None:
    private, public = keys.pair(tmp_path)
    sealed = tmp_path / "sealed.pem"
    openssl("pkcs8", "-topk8", "-in", private, "-out", sealed, "-passout", "pass:s3cret")

    assert public_key(public).verifies(b"x", private_key(sealed, {"COSIGN_PASSWORD": "s3cret"}).sign(b"x"))
    with pytest.raises(IntegrityError, match="does not open") as caught:
        private_key(sealed, {"COSIGN_PASSWORD": "wr0ng"})
    assert "wr0ng" not in str(caught.value)
    with pytest.raises(UsageError, match="is encrypted") as missing:
        private_key(sealed, {})
    assert "COSIGN_PASSWORD" in missing.value.hint


def test_a_key_is_never_shown(tmp_path: Path) -> None:
    assert repr(private_key(keys.pair(tmp_path)[0], {})) == "PrivateKey(...)"


def test_another_kind_of_key_is_refused_by_name(tmp_path: Path) -> None:
    """A verifier that takes any curve or RSA is one that nobody else agrees with."""
    private, public = keys.pair(tmp_path, curve="secp384r1")
    openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "ed.pem")
    openssl("pkey", "-in", tmp_path / "ed.pem", "-pubout", "-out", tmp_path / "ed.pub")

    for path in (private, tmp_path / "ed.pem"):
        with pytest.raises(UsageError, match="ECDSA over P-256"):
            private_key(path, {})
    for path in (public, tmp_path / "ed.pub"):
        with pytest.raises(UsageError, match="ECDSA over P-256"):
            public_key(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a key\n",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
        "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\ne30=\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
        "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nW10=\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
    ],
    ids=["empty", "text", "cut", "no JSON", "nothing in it", "a list"],
)
def test_what_is_no_key_is_malformed(text: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(text)

    with pytest.raises((MalformedError, IntegrityError)):
        private_key(tmp_path / "key", {"COSIGN_PASSWORD": "x"})
    with pytest.raises((MalformedError, UsageError)):
        public_key(tmp_path / "key")


def test_the_wrong_half_is_told(tmp_path: Path) -> None:
    private, public = keys.pair(tmp_path)

    with pytest.raises(UsageError, match="is a private key") as caught:
        public_key(private)
    assert "-pubout" in caught.value.hint
    with pytest.raises(MalformedError, match="not a private key"):
        private_key(public, {})
    with pytest.raises(UsageError, match="does not exist"):
        public_key(tmp_path / "nothing")
