"""Package URLs as they are written; `sources.purls` reads them (https://github.com/package-url/purl-spec)."""

from __future__ import annotations

from urllib.parse import quote


def purl(kind: str, *place: str, version: str, **qualifiers: str) -> str:
    """`pkg:deb/debian/libc6@2.36-9%2Bdeb12u13?arch=amd64&distro=bookworm`; a qualifier that is empty is left out."""
    path = "/".join(_quoted(part) for part in (kind, *place))
    pairs = "&".join(f"{key}={_quoted(value)}" for key, value in sorted(qualifiers.items()) if value)
    return f"pkg:{path}@{_quoted(version)}" + (f"?{pairs}" if pairs else "")


def _quoted(text: str) -> str:
    # A colon (of an epoch) stands as it is, as the specification has it; `+` does not.
    return quote(text, safe=":")
