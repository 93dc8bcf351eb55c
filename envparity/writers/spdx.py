"""An SBOM in SPDX 2.3 JSON (https://spdx.github.io/spdx-spec/v2.3/)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from envparity import __version__
from envparity.writers.components import Component, Kind, components, direct, identity, root
from envparity.writers.contents import Contents, Exported, counted
from envparity.writers.licences import NOT_SAID

_PURPOSES = {
    Kind.DISTRIBUTION: "LIBRARY",
    Kind.INTERPRETER: "APPLICATION",
    Kind.CONDA_PACKAGE: "LIBRARY",
    Kind.OS_PACKAGE: "LIBRARY",
    Kind.SYSTEM: "OPERATING-SYSTEM",
    Kind.MODEL: "FILE",
    Kind.APPLICATION: "APPLICATION",
    Kind.LAYER: "ARCHIVE",
}

_NOT_KNOWN = "NOASSERTION"
_ROOT = "SPDXRef-Lock"


def spdx(contents: Contents) -> Exported:
    """
    The same parts as in CycloneDX. The format demands a time: where none is stated it is the beginning of 1970, and no
    clock is asked. A licence is declared where metadata says one that SPDX knows; other names stand in the comment.
    """
    parts = components(contents)
    created = contents.written_at or datetime.fromtimestamp(0, UTC)
    lock, target = contents.lock, contents.target
    about = f"for {target.platform}, on {target.base}, of the snapshot sha256:{lock.snapshot.sha256}"
    whole = {
        **_package(_ROOT, contents.name, root(contents).partition(":")[2]),
        "primaryPackagePurpose": "CONTAINER",
        "comment": about + (f" and the lock sha256:{contents.sha256}" if contents.image else ""),
    }
    body: dict[str, Any] = {
        "creationInfo": {
            "created": f"{created:%Y-%m-%dT%H:%M:%SZ}",
            "creators": [f"Tool: envparity-{__version__}"],
        },
        "packages": [whole, *map(_of_part, parts)],
        "relationships": list(_relationships(parts)),
    }
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": contents.name,
        # Where no site is one's own, the specification names this one; nothing has to be found there.
        "documentNamespace": f"https://spdx.org/spdxdocs/envparity-{identity(json.dumps(body))}",
        **body,
    }
    return Exported(json.dumps(document, indent=2) + "\n", counted(len(lock.settings), "setting"))


def _package(identifier: str, name: str, version: str) -> dict[str, Any]:
    return {
        "SPDXID": identifier,
        "name": name,
        **({"versionInfo": version} if version else {}),
        "supplier": _NOT_KNOWN,
        "downloadLocation": _NOT_KNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _NOT_KNOWN,
        "licenseDeclared": _NOT_KNOWN,
        "copyrightText": _NOT_KNOWN,
    }


def _of_part(part: Component) -> dict[str, Any]:
    found = {**_package(_identifier(part), part.name, part.version), "primaryPackagePurpose": _PURPOSES[part.kind]}
    if part.url:
        found["downloadLocation"] = part.url
    if part.file_name:
        found["packageFileName"] = part.file_name
    if part.sha256:
        found["checksums"] = [{"algorithm": "SHA256", "checksumValue": part.sha256}]
    if part.purl:
        found["externalRefs"] = [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": part.purl}
        ]
    licence = part.licence
    # A `LicenseRef-` of a distribution's own would have to be explained by its text, which no metadata holds.
    if licence.expression and "LicenseRef-" not in licence.expression:
        found["licenseDeclared"] = licence.expression
        licence = NOT_SAID
    names = (licence.expression,) if licence.expression else licence.names
    said = [*part.properties, *(("licence", name) for name in names)]
    if said:
        found["comment"] = "; ".join(f"{name}: {value}" for name, value in said)
    return found


def _relationships(parts: tuple[Component, ...]) -> Iterator[dict[str, str]]:
    identifiers = {part.ref: _identifier(part) for part in parts}
    yield _relationship("SPDXRef-DOCUMENT", "DESCRIBES", _ROOT)
    for part in parts:
        yield _relationship(_ROOT, "CONTAINS", identifiers[part.ref])
    for ref in direct(parts):
        yield _relationship(_ROOT, "DEPENDS_ON", identifiers[ref])
    for part in parts:
        # "NONE" is known to require nothing; "NOASSERTION" is that nobody knows.
        required = [identifiers[ref] for ref in part.required or ()] or ["NONE"]
        for identifier in required if part.required is not None else [_NOT_KNOWN]:
            yield _relationship(identifiers[part.ref], "DEPENDS_ON", identifier)


def _relationship(this: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": this, "relationshipType": kind, "relatedSpdxElement": other}


def _identifier(part: Component) -> str:
    # "SPDXRef-[idstring]": letters, numbers, `.` and `-`; what tells `g++` from `g--` is in the digest.
    digest = hashlib.sha256(part.ref.encode()).hexdigest()[:12]
    return f"SPDXRef-{part.kind}-{re.sub(r'[^A-Za-z0-9.-]', '-', part.name)}-{digest}"
