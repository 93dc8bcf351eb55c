"""
Documents about an image, beside it: an SBOM, how it was built, its lock. Each is a manifest of its own that names the
image as its `subject`, so the image keeps its digest, and whoever has that digest finds them.

In a registry they are found over the referrers API, or, where it has none, in an index under the tag that the
specification has for that (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers);
in a layout, in its index.
"""

from __future__ import annotations

__all__ = ["TITLE", "Document", "Made", "Referrers", "can_hold", "file_of", "made", "opened", "subject_of"]

import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from envparity.codec import canonical
from envparity.errors import IntegrityError, MalformedError, UnreachableError, UnsupportedError
from envparity.oci import layout
from envparity.oci.access import Access
from envparity.oci.entries import shown
from envparity.oci.image import BuiltImage, Image, Place, read_blob, require_digest
from envparity.oci.layout import Layout
from envparity.oci.places import parse_reference, registry_name
from envparity.oci.registry import Registry
from envparity.oci.spec import (
    EMPTY_TYPE,
    INDEX_TYPES,
    MANIFEST_LIMIT,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    digest_of,
    parse_index,
    parse_manifest,
)
from envparity.oci.upload import Upload
from envparity.values import Attachment

_EMPTY = b"{}"
TITLE = "org.opencontainers.image.title"
_NO_API = frozenset({400, 404, 405, 406, 501})
"""How registries answer to a question that they do not know."""

_MOST_PAGES = 50
_MOST_LISTED = 2_000
_MOST_MERGES = 5
BLOB_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class Document:
    """
    What is said about an image. Readers look for it by its `kind` (an artifact type); `title` is the name of its file,
    and `annotations` stand in its manifest, and so in every list of what is there.
    """

    kind: str
    media_type: str
    data: bytes
    title: str
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """A manifest, the blobs that it names, and its line in an index."""

    manifest_bytes: bytes
    blobs: tuple[bytes, ...]
    line: dict[str, object]

    @property
    def digest(self) -> str:
        """The name of the manifest."""
        return digest_of(self.manifest_bytes)


def subject_of(image: BuiltImage | Image) -> Descriptor:
    """An image as what a document is about."""
    return Descriptor(media_type=OCI_MANIFEST, digest=image.digest, size_bytes=len(image.manifest_bytes))


def file_of(attachment: Attachment) -> Descriptor:
    """The file of a document, as a blob to be read."""
    media_type = "application/octet-stream"
    return Descriptor(media_type=media_type, digest=attachment.file_digest, size_bytes=attachment.size_bytes)


def made(subject: Descriptor, document: Document) -> Made:
    """
    A document as an artifact about a subject
    (https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md#guidelines-for-artifact-usage). Equal
    arguments give equal bytes.
    """
    blob = {
        "mediaType": document.media_type,
        "digest": digest_of(document.data),
        "size": len(document.data),
        "annotations": {TITLE: document.title},
    }
    config = {"mediaType": EMPTY_TYPE, "digest": digest_of(_EMPTY), "size": len(_EMPTY), "data": "e30="}
    return manifest_about(subject, document.kind, config, [blob], (_EMPTY, document.data), dict(document.annotations))


def manifest_about(
    subject: Descriptor,
    kind: str,
    config: dict[str, object],
    layers: Sequence[dict[str, object]],
    blobs: tuple[bytes, ...],
    annotations: dict[str, str],
) -> Made:
    """The manifest of an artifact about a subject."""
    said = {"annotations": annotations} if annotations else {}
    about = {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size_bytes}
    data = canonical(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": kind,
            "config": config,
            "layers": list(layers),
            "subject": about,
            **said,
        }
    )
    parse_manifest(data, what="manifest of a document")
    line: dict[str, object] = {"mediaType": OCI_MANIFEST, "digest": digest_of(data), "size": len(data)}
    return Made(data, blobs, {**line, "artifactType": kind, **said})


class Referrers(Protocol):
    """A place with images, and what is said about them there."""

    def listed(self, digest: str) -> tuple[Descriptor, ...]:
        """What is about the manifest of this digest; as the place says it, not checked."""
        ...

    def there(self, digest: str, manifests: Collection[str]) -> frozenset[str]:
        """Those of these manifests that are listed as being about this one, and are there."""
        ...

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """The manifest of one of them, checked against its digest."""
        ...

    def blob(self, descriptor: Descriptor) -> bytes:
        """A small blob that a manifest names, checked against its digest."""
        ...

    def attach(self, subject: Descriptor, documents: Sequence[Made]) -> None:
        """Put documents beside their subject. What is there is not sent again, and what others put there stays."""
        ...

    def under(self, tag: str) -> Manifest | None:
        """The manifest under a tag of this repository, for tools that look by name; None where there is none."""
        ...

    def put(self, tag: str, document: Made) -> None:
        """Store a manifest under a tag too, where the place has such."""
        ...


def can_hold(reference: str) -> bool:
    """Whether documents can lie beside an image in such a place."""
    return parse_reference(reference).scheme in _PLACES


@contextmanager
def opened(
    reference: str, name: str = "", access: Access | None = None, *, writes: bool = False
) -> Iterator[Referrers]:
    """
    The place of an image, for what is said about it.

    Raises:
        UnsupportedError: an archive or an engine, which have no place for that.
    """
    parsed = parse_reference(reference)
    if parsed.scheme not in _PLACES:
        raise UnsupportedError(
            f"nothing can lie beside an image in `{shown(reference)}`",
            hint=f"write it to {' or '.join(f'`{scheme}:`' for scheme in _PLACES)}",
        )
    if parsed.scheme == "oci":
        yield _InLayout(Layout(parsed.path))
        return
    there, access = registry_name(parsed, name), access or Access()
    if not writes:
        yield _InRegistry(Registry(there, access))
        return
    with Upload(there, access) as upload:
        yield _InRegistry(upload.registry, upload)


_PLACES = ("registry", "oci")


def _read_manifest(data: bytes, descriptor: Descriptor, what: str) -> Manifest:
    require_digest(data, descriptor, what)
    return parse_manifest(data, what=what)


def _read_blob(place: Place, descriptor: Descriptor) -> bytes:
    return read_blob(place, descriptor, limit=BLOB_LIMIT, what=f"the document {descriptor.digest[:19]}")


@dataclass(frozen=True, slots=True)
class _InLayout:
    """A layout: what is about an image stands in the index beside it, without a tag of its own."""

    layout: Layout

    def listed(self, digest: str) -> tuple[Descriptor, ...]:
        lines = [line for line in self.layout.index().manifests if line.media_type in MANIFEST_TYPES]
        artifacts = [line for line in lines if layout.is_artifact(line)][:_MOST_LISTED]
        return tuple(line for line in artifacts if (about := self.manifest(line).subject) and about.digest == digest)

    def there(self, digest: str, manifests: Collection[str]) -> frozenset[str]:
        return frozenset(line.digest for line in self.listed(digest)).intersection(manifests)

    def manifest(self, descriptor: Descriptor) -> Manifest:
        what = f"manifest {descriptor.digest[:19]} of `{self.layout.folder}`"
        data = read_blob(self.layout, descriptor, limit=MANIFEST_LIMIT, what=f"the {what}")
        return _read_manifest(data, descriptor, what)

    def blob(self, descriptor: Descriptor) -> bytes:
        return _read_blob(self.layout, descriptor)

    def attach(self, subject: Descriptor, documents: Sequence[Made]) -> None:
        blobs = [blob for item in documents for blob in (*item.blobs, item.manifest_bytes)]
        layout.add_documents(self.layout.folder, subject.digest, blobs, [item.line for item in documents])

    def under(self, tag: str) -> Manifest | None:
        return None

    def put(self, tag: str, document: Made) -> None:
        """A layout has its tags for images."""


@dataclass(frozen=True, slots=True)
class _InRegistry:
    registry: Registry
    upload: Upload | None = None

    def listed(self, digest: str) -> tuple[Descriptor, ...]:
        lines, _ = self._listed(digest)
        return lines

    def there(self, digest: str, manifests: Collection[str]) -> frozenset[str]:
        lines, has_api = self._listed(digest)
        listed = {line.digest for line in lines}.intersection(manifests)
        # The index under the tag is what clients wrote into it: a registry that removes what has no tag leaves it so.
        return frozenset(each for each in listed if has_api or self._has(each))

    def _has(self, digest: str) -> bool:
        good = frozenset({200, *_NO_API})
        accept = {"accept": ", ".join(MANIFEST_TYPES)}
        return self.registry.send("HEAD", f"manifests/{digest}", good=good, headers=accept).status == 200

    def _listed(self, digest: str) -> tuple[tuple[Descriptor, ...], bool]:
        """What is about a manifest, and whether the registry itself says so."""
        path, found = f"referrers/{digest}", list[Descriptor]()
        for _ in range(_MOST_PAGES):
            answer = self.registry.answer(path, OCI_INDEX, also=_NO_API)
            if answer.status != 200 or answer.headers.get("content-type", "").partition(";")[0].strip() != OCI_INDEX:
                # A registry without the API: the specification sends clients to the tag then.
                return tuple(found or self._lines_of_tag(digest)), bool(found)
            found += parse_index(answer.body, what=f"list of what is about {digest[:19]}").manifests
            path = self._next(answer.url, answer.headers.get("link", ""))
            if not path or len(found) > _MOST_LISTED:
                break
        return tuple(found[:_MOST_LISTED]), True

    def _next(self, url: str, link: str) -> str:
        """The next page, by the `Link` header (RFC 8288): below this repository and nowhere else."""
        found = re.match(r'\s*<([^>]*)>\s*;\s*rel="?next"?', link)
        if found is None:
            return ""
        before = f"{self.registry.base}/v2/{self.registry.name.name}/"
        address = urljoin(url, found[1])
        return address.removeprefix(before) if address.startswith(before) and ".." not in urlsplit(address).path else ""

    def _lines_of_tag(self, digest: str) -> tuple[Descriptor, ...]:
        data = self._index_of_tag(digest)
        return () if data is None else parse_index(data, what=f"index `{_tag_for(digest)}`").manifests

    def _index_of_tag(self, digest: str) -> bytes | None:
        answer = self.registry.answer(f"manifests/{_tag_for(digest)}", ", ".join((*INDEX_TYPES, *MANIFEST_TYPES)))
        if answer.status == 404:
            return None
        # Whatever else has that name is not ours to replace: this raises.
        parse_index(answer.body, what=f"index `{_tag_for(digest)}` of {self.registry.name.name}")
        return answer.body

    def manifest(self, descriptor: Descriptor) -> Manifest:
        answer = self.registry.answer(f"manifests/{descriptor.digest}", descriptor.media_type)
        if answer.status == 404:
            raise IntegrityError(f"{self.registry.name.host} lists {descriptor.digest}, and does not have it")
        return _read_manifest(answer.body, descriptor, f"manifest {descriptor.digest[:19]}")

    def blob(self, descriptor: Descriptor) -> bytes:
        return _read_blob(self.registry, descriptor)

    def under(self, tag: str) -> Manifest | None:
        answer = self.registry.answer(f"manifests/{tag}", ", ".join(MANIFEST_TYPES))
        return None if answer.status == 404 else parse_manifest(answer.body, what=f"manifest `{tag}`")

    def attach(self, subject: Descriptor, documents: Sequence[Made]) -> None:
        there = self.there(subject.digest, [item.digest for item in documents])
        missing = [item for item in documents if item.digest not in there]
        unlisted = []
        for item in self._sent(missing):
            answer = self._writes.manifest(
                item.manifest_bytes, item.digest, what=f"a document about {subject.digest[:19]}"
            )
            # A registry with the API says by `OCI-Subject` that it lists the manifest; any other leaves that to us.
            if answer.headers.get("oci-subject") != subject.digest:
                unlisted.append(item)
        if unlisted:
            self._merge(subject.digest, unlisted)

    def put(self, tag: str, document: Made) -> None:
        for item in self._sent([document]):
            self._writes.manifest(item.manifest_bytes, tag, what=f"`{tag}`")

    @property
    def _writes(self) -> Upload:
        assert self.upload is not None
        return self.upload

    def _sent(self, documents: Sequence[Made]) -> Sequence[Made]:
        """The same, once all of their blobs are there."""
        for blob in {blob for item in documents for blob in item.blobs}:
            self._writes.document(blob)
        self._writes.settle()
        return documents

    def _merge(self, digest: str, documents: Sequence[Made]) -> None:
        """
        Add lines to the index that stands for the API. Registries know no "write if unchanged": it is read again after
        it was written, and written once more where somebody else did so in between.
        """
        for _ in range(_MOST_MERGES):
            data = self._index_of_tag(digest)
            index: dict[str, object] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
            if data is not None:
                index = json.loads(data)
            lines = index["manifests"]
            assert isinstance(lines, list)
            known = {line["digest"] for line in lines}
            added = [item.line for item in documents if item.digest not in known]
            if not added:
                return
            index["manifests"] = [*lines, *added]
            text = canonical(index)
            if len(text) > MANIFEST_LIMIT:
                raise MalformedError(
                    f"`{_tag_for(digest)}` lists more than an index can hold", hint="remove what is old"
                )
            self._writes.manifest(text, _tag_for(digest), what=f"`{_tag_for(digest)}`", media_type=OCI_INDEX)
        raise UnreachableError(
            f"others write to `{_tag_for(digest)}` of {self.registry.name.name} at the same time",
            hint="build again: what is there is not sent twice",
        )


def _tag_for(digest: str) -> str:
    """Algorithm and digits as a tag may hold them (spec.md, referrers tag schema)."""
    algorithm, _, encoded = digest.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"
