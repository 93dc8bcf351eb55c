"""Images that nobody should make: raw tar members, and layouts whose digests are right while their content is not."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def header(
    name: bytes,
    kind: bytes = b"0",
    size: bytes | int = 0,
    *,
    target: bytes = b"",
    mode: int = 0o644,
    uid: bytes | int = 0,
    prefix: bytes = b"",
    magic: bytes = b"ustar\x0000",
    checksum: bytes | None = None,
) -> bytes:
    """One header block; a field that is given as bytes goes in as it is."""
    block = b"".join(
        (
            name[:100].ljust(100, b"\0"),
            octal(mode, 8),
            uid if isinstance(uid, bytes) else octal(uid, 8),
            octal(0, 8),
            size if isinstance(size, bytes) else octal(size, 12),
            octal(1, 12),
            b" " * 8,
            kind,
            target[:100].ljust(100, b"\0"),
            magic,
            bytes(64),
            octal(0, 8) * 2,
            prefix.ljust(155, b"\0"),
            bytes(12),
        )
    )
    return block[:148] + (checksum or b"%06o\0 " % sum(block)) + block[156:]


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def file(name: str | bytes, data: bytes = b"", **fields: Any) -> bytes:
    return header(_bytes(name), b"0", len(data), **fields) + padded(data)


def folder(name: str | bytes, mode: int = 0o755, **fields: Any) -> bytes:
    return header(_bytes(name) + b"/", b"5", mode=mode, **fields)


def link(name: str | bytes, target: str, **fields: Any) -> bytes:
    return header(_bytes(name), b"2", target=_bytes(target), mode=0o777, **fields)


def hardlink(name: str | bytes, target: str, **fields: Any) -> bytes:
    return header(_bytes(name), b"1", target=_bytes(target), **fields)


def pax(**records: bytes) -> bytes:
    body = b""
    for key, value in records.items():
        key = key.replace("__", ".")
        rest = len(key) + len(value) + 3
        length = next(n for n in range(rest, rest + 9) if rest + len(str(n)) == n)
        body += b"%d %s=%s\n" % (length, key.encode(), value)
    return header(b"./PaxHeader", b"x", len(body)) + padded(body)


def gnu_long(name: bytes, kind: bytes = b"L") -> bytes:
    return header(b"././@LongLink", kind, len(name) + 1, magic=b"ustar  \0") + padded(name + b"\0")


def tar(*members: bytes) -> bytes:
    return b"".join(members) + bytes(1024)


def _bytes(name: str | bytes) -> bytes:
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Blobs:
    """A layout that is filled by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "blobs" / "sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def add(self, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        found = digest(data)
        (self.path / "blobs" / "sha256" / found[7:]).write_bytes(data)
        return {"mediaType": media_type, "digest": found, "size": len(data), **more}

    def add_json(self, document: Any, media_type: str, **more: Any) -> dict[str, Any]:
        return self.add(json.dumps(document).encode(), media_type, **more)

    def image(
        self,
        layers: Sequence[bytes],
        *,
        codec: str = "none",
        config: dict[str, Any] | None = None,
        manifest: dict[str, Any] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Config and manifest of some tars; the descriptor of the manifest comes back."""
        suffix = "" if codec == "none" else f"+{codec}"
        packed = [gzip.compress(layer, 1, mtime=0) if codec == "gzip" else layer for layer in layers]
        document = {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
            **(config or {}),
        }
        return self.manifest([self.add(blob, LAYER + suffix) for blob in packed], document, manifest, **more)

    def manifest(
        self, layers: list[dict[str, Any]], config: Any, changes: dict[str, Any] | None = None, **more: Any
    ) -> dict[str, Any]:
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.add_json(config, CONFIG),
            "layers": layers,
            **(changes or {}),
        }
        return self.add_json(document, MANIFEST, **more)

    def index(self, *manifests: dict[str, Any]) -> str:
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": list(manifests)}))
        return f"oci:{self.path}"


def image(path: Path, *layers: bytes, codec: str = "none", **more: Any) -> str:
    """A layout of one image with these tars as layers, every digest right; its reference comes back."""
    blobs = Blobs(path)
    return blobs.index(blobs.image(layers, codec=codec, **more))
