"""
Keys to sign with and to check by: ECDSA over the curve P-256 with SHA-256, which every tool for signed images knows.

A private key is PEM (PKCS #8 or SEC 1), or what `cosign generate-key-pair` writes; both may be encrypted.
"""

from __future__ import annotations

__all__ = ["PrivateKey", "PublicKey", "private_key", "public_key"]

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envparity.codec import load_json
from envparity.errors import IntegrityError, MalformedError, UnsupportedError, UsageError
from envparity.files import read_bytes

PASSWORD = "COSIGN_PASSWORD"  # noqa: S105
"""The variable that an encrypted key is opened with, as cosign has it."""

_LIMIT = 64 << 10
_COSIGN = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_MOST_SCRYPT = 1 << 20
_SCRYPT_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What signatures are checked by."""

    name: str
    _key: Any

    def verifies(self, data: bytes, signature: bytes) -> bool:
        """Whether this signature over these bytes was made with the other half of this key."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        try:
            self._key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """What images are signed with; it is never shown."""

    _key: Any

    def __repr__(self) -> str:
        return "PrivateKey(...)"

    @property
    def public(self) -> PublicKey:
        """The half that everybody may have."""
        return PublicKey("the key that signed", self._key.public_key())

    def sign(self, data: bytes) -> bytes:
        """
        The signature of some bytes, in DER. Equal bytes have one signature (RFC 6979), so that to sign an image again
        adds nothing to it.
        """
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        signature: bytes = self._key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        return signature


def private_key(path: Path, environ: Mapping[str, str]) -> PrivateKey:
    """
    The key of a file; an encrypted one is opened with COSIGN_PASSWORD of `environ`.

    Raises:
        UsageError: no such file; it is encrypted, and no password is given; it is another kind of key.
        MalformedError: it is no key. IntegrityError: the password is not the right one.
    """
    data = read_bytes(path, limit=_LIMIT, what="key")
    serialization = _library()
    password = environ.get(PASSWORD)
    try:
        if any(f"-----BEGIN {word}-----".encode() in data for word in _COSIGN):
            key = serialization.load_der_private_key(_opened(data, password, path), None)
        else:
            encrypted = b"ENCRYPTED" in data
            if encrypted and password is None:
                raise _no_password(path)
            key = serialization.load_pem_private_key(data, (password or "").encode() if encrypted else None)
    except (ValueError, TypeError) as error:
        if b"ENCRYPTED" in data:
            raise _wrong_password(path) from error
        raise _no_key(path, "private") from error
    except _unsupported() as error:
        raise _another_kind(path) from error
    _require_p256(key, path, "private")
    return PrivateKey(key)


def public_key(path: Path) -> PublicKey:
    """
    The key of a file that `cosign generate-key-pair` or `openssl ec -pubout` wrote.

    Raises:
        UsageError: no such file, a private key, or another kind of key. MalformedError: it is no key.
    """
    data = read_bytes(path, limit=_LIMIT, what="key")
    if b"PRIVATE KEY-----" in data:
        raise UsageError(
            f"`{path}` is a private key, and the public one is due here",
            hint=f"make it: `openssl ec -in {path} -pubout -out key.pub`, or take the `cosign.pub` beside it",
        )
    serialization = _library()
    try:
        key = serialization.load_pem_public_key(data)
    except ValueError as error:
        raise _no_key(path, "public") from error
    except _unsupported() as error:
        raise _another_kind(path) from error
    _require_p256(key, path, "public")
    return PublicKey(str(path), key)


def _library() -> Any:
    """The part of `cryptography` that reads keys."""
    try:
        from cryptography.hazmat.primitives import serialization
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            "keys are read with the library `cryptography`, which is not installed",
            hint="pip install 'envparity[sign]'",
        ) from error
    return serialization


def _unsupported() -> type[Exception]:
    from cryptography.exceptions import UnsupportedAlgorithm

    found: type[Exception] = UnsupportedAlgorithm
    return found


def _require_p256(key: Any, path: Path, half: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    kinds = (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)
    if not isinstance(key, kinds) or not isinstance(key.curve, ec.SECP256R1):
        raise _another_kind(path)
    if isinstance(key, kinds[1]) is (half == "private"):
        raise _no_key(path, half)


def _opened(data: bytes, password: str | None, path: Path) -> bytes:
    """
    The DER of a key that cosign encrypted (https://pkg.go.dev/github.com/secure-systems-lab/go-securesystemslib/encrypted):
    scrypt makes a key of the password, and NaCl's secretbox holds the rest.
    """
    if password is None:
        raise _no_password(path)
    try:
        from nacl.exceptions import CryptoError
        from nacl.secret import SecretBox
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f"`{path}` is encrypted as cosign does it, which is read with the library PyNaCl; it is not installed",
            hint="pip install 'envparity[sign]'",
        ) from error
    text = b"".join(line for line in data.splitlines() if line and not line.startswith(b"-----"))
    try:
        document = load_json(base64.b64decode(text, validate=True), f"key `{path}`")
        kdf, cipher = document["kdf"], document["cipher"]
        if (kdf["name"], cipher["name"]) != ("scrypt", "nacl/secretbox"):
            raise UnsupportedError(
                f"`{path}` is encrypted in another way than cosign 2 does it",
                hint="make it a PEM key: `openssl pkcs8 -topk8`",
            )
        cost, block, parallel = (kdf["params"][name] for name in ("N", "r", "p"))
        if not (1 < cost <= _MOST_SCRYPT and 0 < block <= 32 and 0 < parallel <= 16):
            raise MalformedError(f"the key `{path}` asks for more work than any key needs")
        salt, nonce, sealed = (
            base64.b64decode(part, validate=True) for part in (kdf["salt"], cipher["nonce"], document["ciphertext"])
        )
        derived = hashlib.scrypt(
            password.encode(), salt=salt, n=cost, r=block, p=parallel, maxmem=_SCRYPT_BYTES, dklen=32
        )
        opened: bytes = SecretBox(derived).decrypt(sealed, nonce)
    except CryptoError as error:
        raise _wrong_password(path) from error
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise _no_key(path, "private") from error
    return opened


def _no_key(path: Path, half: str) -> MalformedError:
    return MalformedError(
        f"`{path}` is not a {half} key in PEM", hint="make a pair with `cosign generate-key-pair`, or with `openssl`"
    )


def _another_kind(path: Path) -> UsageError:
    return UsageError(
        f"`{path}` is another kind of key than ECDSA over P-256",
        hint="make one: `openssl ecparam -name prime256v1 -genkey -noout -out key.pem`",
    )


def _no_password(path: Path) -> UsageError:
    return UsageError(f"the key `{path}` is encrypted", hint=f"give its password in the variable {PASSWORD}")


def _wrong_password(path: Path) -> IntegrityError:
    return IntegrityError(f"the password in {PASSWORD} does not open the key `{path}`", hint="give the right one")
