"""
Images written to a registry, over the distribution API
(https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#push).

A blob that is there is not sent; one that another repository of the same registry has is mounted; all others go up
beside one another. The manifest comes last, and with it the tag: so a tag never points to an image that is not whole,
and a push that was stopped goes on where it was when it is started again.
"""

from __future__ import annotations

__all__ = ["Upload", "remember"]

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import quote, urljoin, urlsplit

from envparity.cache import Cache
from envparity.errors import EnvparityError, IntegrityError, RegistryRefusedError, UnreachableError
from envparity.files import translated
from envparity.network import Response, address_fault, is_loopback, origin, printable
from envparity.oci.access import Access
from envparity.oci.entries import shown
from envparity.oci.image import BuiltImage, BuiltIndex
from envparity.oci.pack import Where, opened
from envparity.oci.registry import Registry, RegistryName
from envparity.oci.spec import OCI_INDEX, OCI_MANIFEST, Descriptor, digest_of

CHUNK_BYTES = 32 << 20
"""The size of a piece, for a registry or a proxy before it that takes no blob in one."""

_PIECE = 1 << 20
_AT_ONCE = 4
_MOST_STARTS = 4
_MOST_REPOSITORIES = 4
_OCTETS = "application/octet-stream"
_DIGEST_HEADER = "docker-content-digest"
_REFUSALS = frozenset({400, 403, 404, 405, 409, 411, 412, 413, 416, 422, 501, 507})
_ELSEWHERE = frozenset({301, 302, 303, 307, 308})
_PATIENCE_S = 300.0  # a registry on an object store copies a blob once more before it says that it has it


class Upload:
    """
    One image on its way to a registry. Layers are handed over as they are made, and go up meanwhile.

    Used as a context: where it is left by an exception nobody waits for what is still being sent.

    Args:
        name: where to, with a tag.
        access: the client, the user's logins, and a cache, which remembers which repository of a registry has a blob.
        chunk_bytes: the size of a piece, where a blob cannot be sent in one.
    """

    def __init__(self, name: RegistryName, access: Access, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._name = name
        self._registry = Registry(name, access, writes=True)
        self._cache = access.cache
        self._chunk_bytes = chunk_bytes
        self._workers: AbstractContextManager[ThreadPoolExecutor] = access.client.workers(_AT_ONCE)
        self._begun: dict[str, Future[None]] = {}
        self._held: set[str] = set()
        self._closed: set[str] = set()

    @property
    def registry(self) -> Registry:
        """The repository that is written to, to read what is there."""
        return self._registry

    def __enter__(self) -> Upload:
        self._pool = self._workers.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.__exit__(kind, error, trace)

    def tagged(self) -> str:
        """The digest of the manifest that the registry has under the tag; "" where it has none."""
        good = frozenset({200, *_REFUSALS, *_ELSEWHERE})
        accept = {"accept": OCI_MANIFEST}
        answer = self._registry.send("GET", f"manifests/{self._name.tag}", good=good, headers=accept)
        return digest_of(answer.body) if answer.status == 200 else ""

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether the registry says that it has this blob in this repository; then it is not sent."""
        good = frozenset({200, 404, 405, *_ELSEWHERE})
        found = self._registry.send("HEAD", f"blobs/{descriptor.digest}", good=good)
        # Whoever sends us elsewhere for a blob has it.
        if found.status not in {200, *_ELSEWHERE}:
            return False
        self._remember(descriptor.digest)
        self._held.add(descriptor.digest)
        return True

    def layer(self, descriptor: Descriptor, path: Where) -> None:
        """Begin to send a layer that lies in a file. What becomes of it is told by `finish`."""
        if descriptor.digest not in self._begun and descriptor.digest not in self._held:
            body = _of_file(path)
            self._begun[descriptor.digest] = self._pool.submit(self._blob, descriptor, body)

    def finish(self, image: BuiltImage) -> str:
        """
        Send what is left, wait for all of it, and give the image its tag. Returns the digest of its manifest.

        Raises:
            UnreachableError: the registry does not answer, refuses, or has no room.
            IntegrityError: what arrived there is not what was sent, or a layer's file is not what was promised.
        """
        for descriptor, path in image.layers:
            self.layer(descriptor, path)
        self.document(image.config_bytes)
        self.settle()
        self.manifest(image.manifest_bytes, self._name.tag, what=f"the image as `{shown(self._name.tag)}`")
        return image.digest

    def finish_index(self, index: BuiltIndex) -> str:
        """The same of images for several platforms: each by its digest, then their index under the tag."""
        for image in index.images:
            for descriptor, path in image.layers:
                self.layer(descriptor, path)
            self.document(image.config_bytes)
        self.settle()
        for image in index.images:
            self.manifest(image.manifest_bytes, image.digest, what=f"the image for {image.platform}")
        what = f"the images as `{shown(self._name.tag)}`"
        self.manifest(index.index_bytes, self._name.tag, what=what, media_type=OCI_INDEX)
        return index.digest

    def document(self, data: bytes) -> None:
        """Begin to send a small blob."""
        descriptor = Descriptor(media_type=_OCTETS, digest=digest_of(data), size_bytes=len(data))
        if descriptor.digest not in self._begun:
            self._begun[descriptor.digest] = self._pool.submit(self._blob, descriptor, _of_bytes(data))

    def settle(self) -> None:
        """Wait until every blob that was begun is there. Raises what `finish` does."""
        failed = [error for future in self._begun.values() if (error := future.exception()) is not None]
        if failed:
            raise next((error for error in failed if isinstance(error, IntegrityError)), failed[0])

    def manifest(self, data: bytes, reference: str, *, what: str, media_type: str = OCI_MANIFEST) -> Response:
        """Store a manifest or an index, whose parts are all there, under a tag or its own digest."""
        digest = digest_of(data)
        answer = self._registry.send(
            "PUT",
            f"manifests/{reference}",
            good=frozenset({201, 200, 202, *_REFUSALS}),
            headers={"content-type": media_type},
            body=lambda: iter((data,)),
            size_bytes=len(data),
        )
        if answer.status not in {200, 201, 202}:
            raise self._refused(answer, what)
        said = answer.headers.get(_DIGEST_HEADER, digest)
        if said != digest:
            raise IntegrityError(
                f"{self._name.host} says that it stored {shown(said)}, and {digest} was sent",
                hint="do not use what lies there; push again",
            )
        return answer

    def _blob(self, descriptor: Descriptor, body: Body) -> None:
        if self.holds(descriptor):
            return
        location = self._mounted(descriptor)
        if location == "":
            self._remember(descriptor.digest)
            return
        failure: EnvparityError | None = None
        for attempt in range(_MOST_STARTS):
            if attempt:
                time.sleep(min(0.2 * 2**attempt, 5))
            try:
                place, location = location or self._started(), None
                # What a proxy cuts off twice may be too large for it, whatever it says.
                whole = attempt < _MOST_STARTS - 2 or descriptor.size_bytes <= self._chunk_bytes
                if self._sent(place, descriptor, body) if whole else self._in_pieces(place, descriptor, body, 0):
                    self._remember(descriptor.digest)
                    return
            except RegistryRefusedError:
                raise
            except UnreachableError as error:
                failure, location = error, None
        raise failure or UnreachableError(
            f"{self._name.host} drops the upload of {descriptor.digest[:19]} each time that it is begun",
            hint="ask again later; the registry, or a proxy before it, may be short of room or time",
        )

    def _mounted(self, descriptor: Descriptor) -> str | None:
        """
        "" where the registry took the blob from another repository of its own; an upload's address where it began one
        instead (both are what the specification allows); None where nothing was tried.
        """
        for repository in self._known(descriptor.digest):
            if repository == self._name.name or repository in self._closed:
                continue
            self._registry.also_reads(repository)
            path = f"blobs/uploads/?mount={quote(descriptor.digest)}&from={quote(repository, safe='')}"
            try:
                answer = self._registry.send("POST", path, good=frozenset({201, 202, *_REFUSALS}))
            except UnreachableError:  # no right to that repository; whether there is one to this shows next
                self._closed.add(repository)
                continue
            if answer.status == 201:
                return ""
            if answer.status == 202:
                return self._location(answer)
        return None

    def _started(self) -> str:
        answer = self._registry.send("POST", "blobs/uploads/", good=frozenset({202, *_REFUSALS}))
        if answer.status != 202:
            raise self._refused(answer, f"an upload to `{self._name.name}`", final=True)
        return self._location(answer)

    def _sent(self, place: str, descriptor: Descriptor, body: Body) -> bool:
        """
        Send a blob to an upload that was begun: in one piece, the rest of it where that broke off, in small pieces
        where it is too large. False where the upload is gone, and must be begun again.
        """
        try:
            answer = self._put(_closing(place, descriptor.digest), body, 0, descriptor.size_bytes)
        except UnreachableError:
            return self._resumed(place, descriptor, body)
        if answer.status in {201, 200, 204}:
            return self._confirmed(answer, descriptor)
        if answer.status == 413:
            return self._in_pieces(self._started(), descriptor, body, 0)
        if answer.status in {404, 416}:
            return False
        raise self._refused(answer, f"the blob {descriptor.digest[:19]} of {descriptor.size_bytes:,} bytes", final=True)

    def _resumed(self, place: str, descriptor: Descriptor, body: Body) -> bool:
        """
        What a broken transfer left is asked for, and the rest is sent from there. "204 … Range: 0-<end-of-range>"
        (spec.md, pushing a blob in chunks).
        """
        answer = self._registry.send("GET", place, good=frozenset({204, 202, 200, *_REFUSALS}))
        held = re.fullmatch(r"(?:bytes=)?0-([0-9]{1,18})", answer.headers.get("range", ""))
        if answer.status != 204 or held is None or not 0 < int(held[1]) + 1 < descriptor.size_bytes:
            return False
        return self._in_pieces(self._location(answer, place), descriptor, body, int(held[1]) + 1)

    def _in_pieces(self, place: str, descriptor: Descriptor, body: Body, offset: int) -> bool:
        while offset < descriptor.size_bytes:
            count = min(self._chunk_bytes, descriptor.size_bytes - offset)
            answer = self._registry.send(
                "PATCH",
                place,
                good=frozenset({202, 201, 204, *_REFUSALS}),
                headers={"content-type": _OCTETS, "content-range": f"{offset}-{offset + count - 1}"},
                body=lambda start=offset, size=count: body(start, size),  # type: ignore[misc]
                size_bytes=count,
                attempts=1,
            )
            if answer.status in {404, 416}:
                return False
            if answer.status not in {201, 202, 204}:
                raise self._refused(answer, f"a piece of {count:,} bytes of {descriptor.digest[:19]}", final=True)
            held = re.fullmatch(r"(?:bytes=)?0-([0-9]{1,18})", answer.headers.get("range", ""))
            if held is not None and int(held[1]) + 1 == offset:
                return False  # it has what it had before this piece
            place = self._location(answer, place)
            offset += count
        answer = self._put(_closing(place, descriptor.digest), body, descriptor.size_bytes, 0)
        if answer.status in {404, 416}:
            return False
        if answer.status not in {200, 201, 204}:
            raise self._refused(answer, f"the blob {descriptor.digest[:19]}", final=True)
        return self._confirmed(answer, descriptor)

    def _put(self, url: str, body: Body, offset: int, count: int) -> Response:
        return self._registry.send(
            "PUT",
            url,
            good=frozenset({200, 201, 204, *_REFUSALS}),
            headers={"content-type": _OCTETS},
            body=lambda: body(offset, count),
            size_bytes=count,
            attempts=1,
            timeout_s=_PATIENCE_S,
        )

    def _confirmed(self, answer: Response, descriptor: Descriptor) -> bool:
        said = answer.headers.get(_DIGEST_HEADER, descriptor.digest)
        if said != descriptor.digest:
            raise IntegrityError(
                f"{self._name.host} says that it stored {shown(said)}, and {descriptor.digest} was sent",
                hint="something on the way changes what is sent; do not use what lies there",
            )
        return True

    def _location(self, answer: Response, otherwise: str = "") -> str:
        """
        Where an upload goes on. That may be another host, which then gets no credentials (`Registry.send`), but no
        address of this network where the registry is not, and nothing in the clear (CVE-2026-50151).
        """
        said = answer.headers.get("location", "")
        if not said and otherwise:
            return otherwise
        try:
            url = urljoin(answer.url, said)
        except ValueError:
            url = ""
        if not said or address_fault(url):
            raise UnreachableError(
                f"{self._name.host} begins an upload, and does not say where: `{printable(said)}`",
                hint="is this a registry?",
            )
        own, other = urlsplit(self._registry.base), urlsplit(url)
        # A registry behind a proxy that ends TLS may call itself by http; whoever asked by https goes on so.
        if own.scheme == "https" and other.scheme == "http" and own.netloc == other.netloc:
            return other._replace(scheme="https").geturl()
        if origin(url) != origin(self._registry.base):
            if other.scheme != "https" or "@" in other.netloc:
                raise IntegrityError(
                    f"{self._name.host} sends an upload to `{printable(url)}`, which is not https",
                    hint="nothing was sent there",
                )
            if is_loopback(other.hostname or "") and not is_loopback(own.hostname or ""):
                raise IntegrityError(
                    f"{self._name.host} sends an upload to `{printable(url)}`, an address of this machine",
                    hint="nothing was sent there",
                )
        return url

    def _refused(self, answer: Response, what: str, *, final: bool = False) -> EnvparityError:
        code, message = (self._registry.told(part) for part in _reason(answer.body))
        hint = _HINTS.get(code) or _STATUS_HINTS.get(answer.status, "")
        told = f": {message[:200]}" if message else ""
        if code == "DIGEST_INVALID":
            return IntegrityError(
                f"what reaches {self._name.host} is not what was sent: {what} ({told.removeprefix(': ')})",
                hint="something on the way changes it, or the cache is damaged; build again",
            )
        kind = RegistryRefusedError if final else UnreachableError
        return kind(f"{self._name.host} does not take {what} ({answer.status}{told})", hint=hint)

    def _known(self, digest: str) -> list[str]:
        return _holders(self._cache, self._name.host, digest) if self._cache is not None else []

    def _remember(self, digest: str) -> None:
        if self._cache is not None:
            remember(self._cache, self._name, digest)


def remember(cache: Cache, name: RegistryName, digest: str) -> None:
    """Note that a repository has a blob, so that another one of the same registry can have it mounted from there."""
    known = _holders(cache, name.host, digest)
    if name.name not in known:
        with suppress(EnvparityError):  # of a full disk: it is only asked for again then
            cache.write_note(_key(name.host, digest), [name.name, *known][:_MOST_REPOSITORIES])


def _holders(cache: Cache, host: str, digest: str) -> list[str]:
    found = cache.note(_key(host, digest), list[str])
    return [name for name in found or () if isinstance(name, str)][:_MOST_REPOSITORIES]


def _key(host: str, digest: str) -> str:
    return f"held-{hashlib.sha256(f'{host} {digest}'.encode()).hexdigest()}"


Body = Callable[[int, int], Iterator[bytes]]
"""The bytes of a blob from an offset on, so many of them, from the first one each time that it is called."""


def _of_file(where: Where) -> Body:
    def pieces(offset: int, count: int) -> Iterator[bytes]:
        name = str(where) if isinstance(where, Path) else "a layer"
        try:
            with opened(where, offset) as stream:
                while count:
                    piece = stream.read(min(_PIECE, count))
                    if not piece:
                        raise IntegrityError(f"`{name}` is shorter than it was", hint="build again")
                    count -= len(piece)
                    yield piece
        except OSError as error:
            raise translated(error, f"read the layer `{name}`") from error

    return pieces


def _of_bytes(data: bytes) -> Body:
    return lambda offset, count: iter((data[offset : offset + count],))


def _closing(place: str, digest: str) -> str:
    """The address that ends an upload: its own query stays, since registries keep their state there."""
    joint = "&" if urlsplit(place).query else "?"
    return f"{place}{joint}digest={quote(digest)}"


def _reason(body: bytes) -> tuple[str, str]:
    """Code and message of the first error that a registry names (spec.md, error codes)."""
    try:
        first = json.loads(body)["errors"][0]
        code, message = str(first.get("code", "")), str(first.get("message", ""))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return "", ""
    return code, shown(" ".join(filter(None, (code, message[:2000]))))


_HINTS = {
    "DENIED": "this login may not push there; `docker login` with one that may, or name another repository",
    "UNAUTHORIZED": "log in first: `docker login`",
    "NAME_UNKNOWN": "this registry wants the repository to be made before it is pushed to",
    "NAME_INVALID": "write HOST/NAME:TAG as this registry names its repositories",
    "TOOMANYREQUESTS": "wait, and push again: what is there is not sent twice",
    "MANIFEST_INVALID": "this registry does not take such images",
    "MANIFEST_BLOB_UNKNOWN": "push again; a blob was removed there meanwhile",
    "UNSUPPORTED": "this registry is read-only, or does not take what was asked",
}
_STATUS_HINTS = {
    403: _HINTS["DENIED"],
    404: _HINTS["NAME_UNKNOWN"],
    405: _HINTS["UNSUPPORTED"],
    409: "the tag is there and may not be moved: name another one",
    412: "the tag is there and may not be moved: name another one",
    413: "a proxy before the registry limits what it takes; raise its limit",
    429: _HINTS["TOOMANYREQUESTS"],
    507: "the registry has no room: remove something there",
}
