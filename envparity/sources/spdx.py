"""An SBOM in SPDX JSON, 2.2 and 2.3 (https://spdx.github.io/spdx-spec/v2.3/)."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from envparity import codec
from envparity.errors import UnsupportedError
from envparity.sources import purls
from envparity.sources.documents import shaped
from envparity.sources.reading import Options, all_but, not_recorded, origin
from envparity.values import Environment

TITLE = "an SBOM in SPDX"
VERSIONS = ("SPDX-2.2", "SPDX-2.3")

_SECTIONS = {"distribution": "distributions", "conda-package": "conda_packages", "os-package": "os_packages"}
_TAGS = b"SPDXVersion:"


class _Reference(Struct, frozen=True, rename="camel"):
    reference_type: str = ""
    reference_locator: str = ""


class _Package(Struct, frozen=True, rename="camel"):
    name: str
    version_info: str = ""
    primary_package_purpose: str = ""
    external_refs: tuple[_Reference, ...] = ()


class _Document(Struct, frozen=True, rename="camel"):
    spdx_version: str
    packages: tuple[_Package, ...] = ()


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that an SPDX SBOM lists: Python, conda and OS packages by their purls.

    Raises:
        UnsupportedError: another version, or the tag-value form. MalformedError: not JSON, another shape.
    """
    if data.lstrip()[: len(_TAGS)] == _TAGS:
        raise UnsupportedError(f"`{name}` is SPDX in its tag-value form", hint="convert it to SPDX 2.3 JSON")
    raw = codec.load_json(data, f"`{name}`")
    if isinstance(raw, dict) and "@context" in raw and "spdxVersion" not in raw:
        raise UnsupportedError(f"`{name}` is SPDX 3", hint="let its tool write SPDX 2.3 JSON")
    document = shaped(raw, _Document, name, TITLE)
    if document.spdx_version not in VERSIONS:
        raise UnsupportedError(
            f"`{name}` is {document.spdx_version}, and these are known: {', '.join(VERSIONS)}",
            hint="let its tool write SPDX 2.3 JSON",
        )
    references = [ref for package in document.packages for ref in package.external_refs if ref.reference_type == "purl"]
    named = [purl for reference in references if (purl := purls.Purl.of(reference.reference_locator))]
    listed, python = list(purls.facts(named)), purls.interpreter(named)
    systems = [item for item in document.packages if item.primary_package_purpose == "OPERATING-SYSTEM"]
    system = [{"kind": "system", "id": item.name, "version_id": item.version_info} for item in systems]
    present = {_SECTIONS[fact["kind"]] for fact in listed}
    kinds = Counter(purl.kind for purl in named) or Counter({"without a purl": len(document.packages)})
    known = (*_SECTIONS.values(), *(["python"] if python else []), *(["system"] if len(system) == 1 else []))
    return codec.environment(
        [
            *listed,
            *python,
            *(system if len(system) == 1 else []),
            *purls.unlisted(present, kinds, len(document.packages)),
            *not_recorded(all_but(*known), "an SBOM cannot carry it"),
        ],
        origin("spdx", name),
    )
