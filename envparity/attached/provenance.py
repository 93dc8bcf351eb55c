"""
How an image came to be: an in-toto statement (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md)
with SLSA's provenance v1 (https://slsa.dev/spec/v1.0/provenance).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from envparity import __version__
from envparity.attached.about import About
from envparity.codec import canonical
from envparity.collectors.urls import public_url
from envparity.oci.referrers import Document
from envparity.values import LockedCode, Options
from envparity.writers.components import Kind, components

STATEMENT = "application/vnd.in-toto+json"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "pkg:pypi/envparity#build/v1"
"""What `externalParameters` mean; another meaning takes another number."""

_PREDICATE_KEY = "in-toto.io/predicate-type"


def provenance(about: About) -> Document:
    """The statement. It says nothing of the machine, so two builders of one image say the same."""
    return Document(
        STATEMENT, STATEMENT, canonical(statement(about)), "provenance.intoto.json", ((_PREDICATE_KEY, PREDICATE),)
    )


def statement(about: About) -> dict[str, Any]:
    """
    Builder, parameters and everything that went in, by digest. Of the variables of the image there are the names alone:
    what `--env` gives may be a secret. Times are the one that was stated, or left out.
    """
    stated = f"{about.written_at:%Y-%m-%dT%H:%M:%SZ}" if about.written_at else ""
    times = {"metadata": {"startedOn": stated, "finishedOn": stated}} if stated else {}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": about.name, "digest": _digest(about.image.digest)}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "lock": {"name": about.lock_path.name, "digest": _digest(_sha256(about.lock_bytes))},
                    "platform": about.plan.platform,
                    "options": _options(about.plan.options),
                },
                "internalParameters": {"packer": msgspec.structs.asdict(about.lock.packer)},
                "resolvedDependencies": list(_dependencies(about)),
            },
            "runDetails": {
                "builder": {"id": f"pkg:pypi/envparity@{__version__}", "version": {"envparity": __version__}},
                **times,
            },
        },
    }


def _options(options: Options) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.to_builtins(msgspec.structs.asdict(options))
    return said | {key: [pair["name"] for pair in said[key]] for key in ("env", "labels")}


def _dependencies(about: About) -> Iterator[dict[str, Any]]:
    """Each by the sha256 of the file that was taken, the code by its commit; what has neither (a release) is none."""
    lock = about.lock
    yield {"name": lock.snapshot.name, "digest": {"sha256": lock.snapshot.sha256}}
    if lock.code is not None:
        yield _code(lock.code)
    for part in components(about.contents):
        if part.sha256 and part.kind is not Kind.LAYER:
            said = {"uri": part.purl or part.ref, "name": part.file_name or part.name}
            place = {"downloadLocation": public_url(part.url)} if part.url else {}
            yield {**said, "digest": {"sha256": part.sha256}, **place}


def _code(code: LockedCode) -> dict[str, Any]:
    """
    The repository as SLSA's examples name one, by its commit (`gitCommit` of
    https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md). That the work tree differed is said beside.
    """
    said: dict[str, Any] = {"name": "source"}
    if code.url:
        said["uri"] = code.url if code.url.startswith("git:") else f"git+{code.url}"
    if code.commit:
        said["digest"] = {"gitCommit": code.commit}
    return said | ({"annotations": {"dirty": code.dirty}} if code.dirty is not None else {})


def _digest(text: str) -> dict[str, str]:
    algorithm, _, encoded = text.partition(":")
    return {algorithm: encoded}


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
