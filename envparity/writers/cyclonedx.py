"""An SBOM in CycloneDX 1.6 JSON (https://cyclonedx.org/docs/1.6/json/)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from envparity import __version__
from envparity.writers.components import Component, Kind, components, direct, identity, root, said_of_root
from envparity.writers.contents import Contents, Exported

_TYPES = {
    Kind.DISTRIBUTION: "library",
    Kind.INTERPRETER: "platform",  # "a runtime environment which interprets or executes software"
    Kind.CONDA_PACKAGE: "library",
    Kind.OS_PACKAGE: "library",
    Kind.SYSTEM: "operating-system",
    Kind.MODEL: "machine-learning-model",
    Kind.APPLICATION: "application",
    Kind.LAYER: "file",
}


def cyclonedx(contents: Contents) -> Exported:
    """
    Every part of the lock, or of the image, with its hash; what requires what, where that is known: a part that is not
    in the graph is one whose requirements nobody knows; and licences, as the metadata of distributions says them.
    """
    parts = components(contents)
    whole = root(contents)
    said = said_of_root(contents)
    said += [(f"setting:{setting.name}", setting.value) for setting in contents.lock.settings]
    body: dict[str, Any] = {
        "metadata": {
            **({"timestamp": f"{contents.written_at:%Y-%m-%dT%H:%M:%SZ}"} if contents.written_at else {}),
            "tools": {"components": [{"type": "application", "name": "envparity", "version": __version__}]},
            "component": {
                "type": "container",
                "bom-ref": whole,
                "name": contents.name,
                "version": whole.partition(":")[2],
                "properties": _properties(said),
            },
        },
        "components": [_component(part) for part in parts],
        "dependencies": [
            {"ref": whole, "dependsOn": list(direct(parts))},
            *({"ref": part.ref, "dependsOn": list(part.required)} for part in parts if part.required is not None),
        ],
    }
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": identity(json.dumps(body)).urn,
        "version": 1,
        **body,
    }
    return Exported(json.dumps(document, indent=2) + "\n")


def _component(part: Component) -> dict[str, Any]:
    hashes = [{"alg": "SHA-256", "content": part.sha256}] if part.sha256 else []
    found: dict[str, Any] = {"type": _TYPES[part.kind], "bom-ref": part.ref, "name": part.name}
    found |= {"version": part.version} if part.version else {}
    found |= {"hashes": hashes} if hashes else {}
    if part.licence.expression:
        found["licenses"] = [{"expression": part.licence.expression, "acknowledgement": "declared"}]
    elif part.licence.names:
        named = [{"name": name, "acknowledgement": "declared"} for name in part.licence.names]
        found["licenses"] = [{"license": each} for each in named]
    found |= {"purl": part.purl} if part.purl else {}
    if part.url:
        found["externalReferences"] = [{"type": "distribution", "url": part.url, "hashes": hashes}]
    said = [*part.properties, *([("file", part.file_name)] if part.file_name else [])]
    return found | ({"properties": _properties(said)} if said else {})


def _properties(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": f"envparity:{name}", "value": value} for name, value in pairs]
