"""
A build of which nothing changed: the same request, of the same bytes, and every place still has all of its image.

Nothing of the image is read or made then, and nothing is sent. What the request was answered with is noted; the note
alone proves nothing, so each place is asked for its tag and for every blob. What lies beside the image is asked for by
whoever put it there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from envparity import __version__
from envparity.cache import Cache
from envparity.codec import canonical
from envparity.image.layout import LAYOUT
from envparity.oci.image import BuiltImage
from envparity.oci.pack import current_packer
from envparity.oci.places import Writer
from envparity.oci.spec import OCI_CONFIG, Descriptor, digest_of, parse_manifest
from envparity.values import Options, Plan

_AT_ONCE = 4


@dataclass(frozen=True)
class Answer:
    """
    What a build was answered with: the image, its plan, what its builder should know, what lies beside it in which
    place, and the digests of the manifests of that.
    """

    image: BuiltImage
    plan: Plan
    notes: tuple[str, ...]
    attached: Mapping[str, tuple[str, ...]]
    documents: Mapping[str, tuple[str, ...]]


class _Noted(msgspec.Struct, frozen=True):
    manifest: str
    config: str
    plan: Plan
    notes: tuple[str, ...]
    attached: dict[str, tuple[str, ...]]
    documents: dict[str, tuple[str, ...]]


def key(lock_bytes: bytes, options: Options, *asked: object) -> str:
    """Under which an answer is noted: everything that decides an image, where it goes, and who makes it."""
    document = [
        __version__,
        LAYOUT,
        msgspec.to_builtins(current_packer()),
        hashlib.sha256(lock_bytes).hexdigest(),
        msgspec.to_builtins(options),
        msgspec.to_builtins(asked),
    ]
    return f"built-2-{hashlib.sha256(canonical(document)).hexdigest()}"


def note(cache: Cache, under: str, answer: Answer) -> None:
    """Keep an answer."""
    texts = (answer.image.manifest_bytes.decode(), answer.image.config_bytes.decode())
    beside = (dict(answer.attached), dict(answer.documents))
    cache.write_note(under, _Noted(*texts, answer.plan, answer.notes, *beside))


def found(cache: Cache, under: str, writers: Sequence[Writer]) -> Answer | None:
    """The answer that was noted, if every place still has that image whole, under its tag."""
    kept = cache.note(under, _Noted) if writers else None
    if kept is None:
        return None
    manifest, config = kept.manifest.encode(), kept.config.encode()
    digest = digest_of(manifest)
    blobs = parse_manifest(manifest, what="noted manifest").layers
    described = Descriptor(media_type=OCI_CONFIG, digest=digest_of(config), size_bytes=len(config))
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="again") as pool:
        for writer in writers:
            if writer.tagged() != digest or not all(pool.map(writer.holds, (*blobs, described))):
                return None
    layers = tuple((item, Path(item.digest.replace(":", "-"))) for item in blobs)
    image = BuiltImage(config, manifest, layers, kept.plan.platform)
    return Answer(image, kept.plan, kept.notes, kept.attached, kept.documents)
