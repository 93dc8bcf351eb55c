"""An SBOM in CycloneDX JSON, 1.4 to 1.7 (https://cyclonedx.org/docs/1.7/json/)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from envparity import codec
from envparity.errors import UnsupportedError
from envparity.sources import purls
from envparity.sources.documents import shaped
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin
from envparity.values import Environment

TITLE = "an SBOM in CycloneDX"
VERSIONS = ("1.2", "1.3", "1.4", "1.5", "1.6", "1.7")

_SECTIONS = {"distribution": "distributions", "conda-package": "conda_packages", "os-package": "os_packages"}


class Component(Struct, frozen=True):
    """One component, and those that it is made of."""

    name: str
    type: str = ""
    version: str = ""
    purl: str = ""
    components: tuple[dict[str, Any], ...] = ()


class _Bom(Struct, frozen=True, rename="camel"):
    spec_version: str
    components: tuple[dict[str, Any], ...] = ()


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that a CycloneDX SBOM lists: Python, conda and OS packages by their purls, nested ones too.

    Raises:
        UnsupportedError: a version that is not known. MalformedError: not JSON, another shape.
    """
    bom = shaped(codec.load_json(data, f"`{name}`"), _Bom, name, TITLE)
    if bom.spec_version not in VERSIONS:
        raise UnsupportedError(
            f"`{name}` is CycloneDX {bom.spec_version}, and these are known: {', '.join(VERSIONS)}",
            hint="let its tool write one of these versions",
        )
    components = list(_flat(bom, name))
    named = [purl for component in components if (purl := purls.Purl.of(component.purl))]
    listed, python = list(purls.facts(named)), purls.interpreter(named)
    system = list(_system(components))
    present = {_SECTIONS[fact["kind"]] for fact in listed}
    kinds = Counter(purl.kind for purl in named) or Counter(component.type or "unnamed" for component in components)
    known = (*_SECTIONS.values(), *(["python"] if python else []), *(["system"] if system else []))
    return codec.environment(
        [
            *listed,
            *python,
            *system,
            *purls.unlisted(present, kinds, len(components)),
            *not_recorded(all_but(*known), "an SBOM cannot carry it"),
        ],
        origin("cyclonedx", name),
    )


def _flat(bom: _Bom, name: str) -> Iterator[Component]:
    """Every component, in order. The depth is bounded by that of the document."""
    waiting = [(f"components[{index}]", body) for index, body in reversed(list(enumerate(bom.components)))]
    while waiting:
        where, body = waiting.pop()
        component = shaped(body, Component, name, f"{TITLE}, {where}")
        yield component
        nested = enumerate(component.components)
        waiting += [(f"{where}.components[{index}]", inner) for index, inner in reversed(list(nested))]


def _system(components: list[Component]) -> Iterator[Fact]:
    found = [component for component in components if component.type == "operating-system"]
    if len(found) == 1:
        yield {"kind": "system", "id": found[0].name, "version_id": found[0].version}
