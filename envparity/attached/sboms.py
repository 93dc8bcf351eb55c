"""The list of everything in an image, in both formats that scanners read."""

from __future__ import annotations

from envparity import writers
from envparity.attached.about import About
from envparity.oci.referrers import Document

CYCLONEDX = "application/vnd.cyclonedx+json"
SPDX = "application/spdx+json"
"""Their media types, as https://www.iana.org/assignments/media-types lists them."""


def cyclonedx(about: About) -> Document:
    """CycloneDX 1.6: the parts of the lock, and what only the image knows."""
    return _document(about, "cyclonedx", CYCLONEDX, "sbom.cdx.json")


def spdx(about: About) -> Document:
    """SPDX 2.3, with the same parts."""
    return _document(about, "spdx", SPDX, "sbom.spdx.json")


def _document(about: About, form: str, media_type: str, title: str) -> Document:
    return Document(media_type, media_type, writers.written(form, about.contents).text.encode(), title)
