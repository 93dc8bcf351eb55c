"""Keys to sign with, and certificates, made by openssl as people make them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.tools import needs_tool


def pair(folder: Path, name: str = "key", curve: str = "prime256v1") -> tuple[Path, Path]:
    """The private and the public half, as PEM files."""
    private, public, openssl = folder / f"{name}.pem", folder / f"{name}.pub", needs_tool("openssl")
    make = [openssl, "ecparam", "-name", curve, "-genkey", "-noout", "-out", str(private)]
    subprocess.run(make, check=True, capture_output=True)
    write = [openssl, "ec", "-in", str(private), "-pubout", "-out", str(public)]
    subprocess.run(write, check=True, capture_output=True)
    return private, public


def certificates(folder: Path) -> None:
    """An authority (`ca.pem`), and a certificate of it for this machine (`cert.pem` and `key.pem`)."""
    make = [needs_tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    make += ["-nodes", "-days", "2"]
    own = ["-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem", "-subj", "/CN=local authority"]
    # Strict readers (Python 3.13) want an authority to say that it may sign.
    subprocess.run([*make, *own, "-addext", "keyUsage=critical,keyCertSign"], check=True, capture_output=True)
    signed = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
    by = ["-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key"]
    subprocess.run([*make, *by, *signed, *names], check=True, capture_output=True)
