"""
Certificate authorities of one's own in an image: beside those of its base, for everything that opens a connection.

What Python trusts is decided in several places: OpenSSL's bundle (`ssl`, urllib, httpx, aiohttp), certifi's, which lies
in a wheel (requests, pip), and those of git, curl and the clients of clouds. Each has a variable, and all get one file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import textwrap
from pathlib import Path

from envparity.errors import MalformedError, RefusedError
from envparity.files import read_bytes
from envparity.image.app import PRIVATE_KEY
from envparity.oci.entries import Entry
from envparity.oci.tree import ImageTree
from envparity.values import Environment, Options, Variable

PLACE = "opt/ca"
OWN = f"{PLACE}/own.pem"
BUNDLE = f"{PLACE}/bundle.pem"
"""Those of the base, and one's own."""

VARIABLES = (
    "AWS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
)
"""
https://docs.openssl.org/3.0/man3/SSL_CTX_load_verify_locations/
https://requests.readthedocs.io/en/latest/user/advanced/#ssl-cert-verification
https://pip.pypa.io/en/stable/cli/pip/#cmdoption-cert
https://curl.se/docs/sslcerts.html
https://git-scm.com/docs/git-config#Documentation/git-config.txt-httpsslCAInfo
https://docs.aws.amazon.com/sdkref/latest/guide/feature-gen-config.html
https://grpc.github.io/grpc/core/md_doc_environment_variables.html
"""

_MOST_BYTES = 8 << 20
# RFC 7468; the older `X509 CERTIFICATE` is the same.
_BLOCK = re.compile(rb"-----BEGIN ([^-\r\n]+)-----([^-]*)-----END \1-----")
_BEGIN = re.compile(rb"-----BEGIN ([^-\r\n]+)-----")
_CERTIFICATE = frozenset([b"CERTIFICATE", b"X509 CERTIFICATE"])


def read(path: Path) -> bytes:
    """
    The certificates of a PEM file, each once, in its order, and nothing else of it.

    Raises:
        RefusedError: there is a private key in it. MalformedError: something in it is no certificate, or nothing is.
        UsageError, UnreachableError: of the file.
    """
    return normal(read_bytes(path, limit=_MOST_BYTES, what="bundle"), f"the bundle `{path}`")


def normal(data: bytes, what: str) -> bytes:
    """The same of bytes; equal certificates in one order give equal bytes. Raises as `read` does."""
    if PRIVATE_KEY.search(data):
        raise RefusedError(
            f"{what} holds a private key, and whoever can pull the image could read it",
            hint="name a file with the certificates alone: `openssl crl2pkcs7 -nocrl -certfile FILE"
            " | openssl pkcs7 -print_certs -out ca.pem`",
        )
    found: dict[bytes, None] = {}
    blocks = list(_BLOCK.finditer(data))
    for block in blocks:
        line = data.count(b"\n", 0, block.start()) + 1
        if block[1] not in _CERTIFICATE:
            kind = block[1].decode("ascii", "replace")
            raise MalformedError(
                f"{what} holds something else than certificates: `{kind}`", where=f"line {line}", hint="leave it out"
            )
        found[_certificate(block[2], what, line)] = None
    if len(blocks) != len(_BEGIN.findall(data)):
        raise MalformedError(f"{what} holds a certificate that does not end", hint="is the file whole?")
    if not found:
        convert = "`openssl x509 -inform der -in FILE -out ca.pem` makes one of a certificate in DER"
        raise MalformedError(f"{what} holds no certificate in PEM", hint=convert)
    return b"".join(map(_pem, found))


def _certificate(body: bytes, what: str, line: int) -> bytes:
    """What is in one block, in DER."""
    import ssl

    try:
        der = base64.b64decode(b"".join(body.split()), validate=True)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=der)
    except (binascii.Error, ValueError, ssl.SSLError) as error:
        raise MalformedError(f"{what} holds a certificate that cannot be read", where=f"line {line}") from error
    return der


def _pem(der: bytes) -> bytes:
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", "")).encode()


def digest(own: bytes) -> str:
    """By which an image names them."""
    return hashlib.sha256(own).hexdigest()


def entries(own: bytes, beneath: bytes) -> list[Entry]:
    """The layer: one's own authorities (`read`), and these with those that the base has (`beneath`) in one file."""
    bundle = (beneath.rstrip(b"\n") + b"\n" if beneath.strip() else b"") + own
    return [
        Entry(PLACE, "folder", 0o755),
        *(
            Entry(path, "file", 0o644, size_bytes=len(data), content=data)
            for path, data in ((BUNDLE, bundle), (OWN, own))
        ),
    ]


def in_image(tree: ImageTree, sha256: str | None) -> bytes:
    """One's own authorities as they lie in an image; nothing where these are not those of that digest."""
    if not sha256:
        return b""
    try:
        own = tree.read(f"/{OWN}", _MOST_BYTES)
    except OSError:
        return b""
    return own if digest(own) == sha256 else b""


def variables(options: Options) -> tuple[Variable, ...]:
    """What makes everything in an image trust them."""
    return tuple(Variable(name, f"/{BUNDLE}") for name in VARIABLES) if options.ca_bundle else ()


def notes(trained: Environment, given: bool) -> tuple[str, ...]:
    """What a builder should know whose image has not the authorities that the training had besides the usual ones."""
    said = trained.system.own_authorities if trained.system is not None else ()
    if not said or given:
        return ()
    return (
        f"the training trusted certificate authorities of its own ({', '.join(said)}), and the image has those of its"
        " base alone: what it reaches over https by these is refused; `--ca-bundle FILE` brings them",
    )
