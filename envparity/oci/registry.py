"""
Images in a registry, over the distribution API
(https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md): how they are read; how they
are written is in `upload.py`.

The tag is asked for once; everything after that goes by digest, and nothing is believed before it was hashed. A
document is kept in the cache under its digest, and what was learned of a layer too (`memory`), so that a reference with
a digest is read again without the network.
"""

from __future__ import annotations

__all__ = ["Registry", "RegistryName", "open_registry", "parse_name"]

import hashlib
import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from envparity.errors import (
    EnvparityError,
    IntegrityError,
    MalformedError,
    TimeLimitError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from envparity.network import Incoming, Response, is_loopback, origin
from envparity.oci.access import Access
from envparity.oci.authority import Authority, refused
from envparity.oci.credentials import DOCKER_HUB, Login, login_for
from envparity.oci.entries import shown
from envparity.oci.image import Image, load_image
from envparity.oci.layout import choose, require_platform
from envparity.oci.spec import (
    INDEX_TYPES,
    MANIFEST_LIMIT,
    MANIFEST_TYPES,
    Descriptor,
    Index,
    parse_index,
    split_digest,
)

_ACCEPT = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))
_SCHEMA_1 = ("application/vnd.docker.distribution.manifest.v1+json", "application/vnd.docker.distribution.manifest.v1+prettyjws")  # fmt: skip  # noqa: E501
_ANSWERS = frozenset({200, 401, 404})
_FORBIDDEN = frozenset({*_ANSWERS, 403})
_SLOWEST_BYTES_S = 64 << 10
_MOST_BREAKS = 5
_MOST_LOGINS = 3
_TAGS_SHOWN = 10

# https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class RegistryName:
    """`HOST/NAME[:TAG][@DIGEST]`, taken apart. `host` has its port, and is the one that is asked."""

    host: str
    name: str
    tag: str = ""
    digest: str = ""


def parse_name(text: str, digest: str = "") -> RegistryName:
    """
    Take what stands between `registry:` and the digest apart.

    Raises:
        UsageError: no host, or no name that a registry could have.
    """
    what = f"`registry:{shown(text)}`"
    first, slash, rest = text.partition("/")
    is_host = "." in first or ":" in first or first == "localhost"
    if not slash or not is_host or not _HOST.fullmatch(first):
        likely = f"`registry:docker.io/{'' if slash else 'library/'}{shown(text)}`"
        raise UsageError(f"{what} names no registry", hint=f"write HOST/NAME:TAG; an image of Docker Hub is {likely}")
    name, colon, tag = rest.partition(":")
    if not _NAME.fullmatch(name) or len(name) > 255 or (colon and not _TAG.fullmatch(tag)):
        raise UsageError(f"{what} is not a name that a registry could have", hint="write HOST/NAME:TAG, in lower case")
    host = first.lower()
    if host in {"docker.io", "index.docker.io", DOCKER_HUB}:
        host, name = DOCKER_HUB, name if "/" in name else f"library/{name}"
    return RegistryName(host, name, tag or ("" if digest else "latest"), digest)


def open_registry(name: RegistryName, reference: str, platform: str, access: Access) -> Image:
    """
    Find one image in a registry; its manifest and config have been checked.

    Raises:
        UsageError: nothing there, or for several platforms (it lists them).
        UnreachableError, TimeLimitError: the registry does not answer, or wants another login.
        IntegrityError: what it sends is not what it promised. UnsupportedError: an artifact, an old or a Windows image.
    """
    place = Registry(name, access)
    top = place.top()
    index = Index(schema_version=2, manifests=(top,))
    image = load_image(place, reference, choose(place, index, reference=reference, platform=platform))
    place.keep(image.manifest.config.digest, image.config_bytes)
    if platform:
        require_platform(image, platform)
    return replace(image, within=top.digest) if top.media_type in INDEX_TYPES else image


class Registry:
    """One repository. Safe for several threads."""

    far = True

    def __init__(self, name: RegistryName, access: Access, *, writes: bool = False) -> None:
        self.name = name
        self._writes = writes
        self._access = access
        self._client = access.client
        self._documents: dict[str, bytes] = {}
        self._manifests: dict[str, Descriptor] = {}
        self._opening = threading.RLock()

    def workers(self, count: int) -> AbstractContextManager[ThreadPoolExecutor]:
        """Threads to read layers with; their connections are shut where one of them fails."""
        return self._client.workers(count)

    def top(self) -> Descriptor:
        """
        What the reference names, a manifest or an index, as a descriptor. This is the only place where a tag is asked.

        Raises:
            UsageError: it is not there.
        """
        if self.name.digest:
            split_digest(self.name.digest)
            kept = self._kept(self.name.digest)
            if kept is not None:
                return self._take(kept, "", self.name.digest)
        answer = self._whole(f"manifests/{self.name.digest or self.name.tag}", _ACCEPT, MANIFEST_LIMIT)
        if answer.status == 404:
            raise self._not_there()
        return self._take(answer.body, answer.headers.get("content-type", ""), self.name.digest, answer.headers)

    def open_blob(self, digest: str) -> BinaryIO:
        """
        The bytes of a blob as they are sent, not checked; a document that was read before comes from memory.

        Raises:
            IntegrityError: the registry does not have it.
        """
        split_digest(digest)
        if digest in self._manifests and digest not in self._documents:
            self._fetch_manifest(self._manifests[digest])
        data = self._documents.get(digest) or self._kept(digest)
        if data is not None:
            return io.BytesIO(data)
        return cast(BinaryIO, io.BufferedReader(_Blob(self, digest), 1 << 18))

    def keep(self, digest: str, data: bytes) -> None:
        """Remember a small document, checked by its caller, in the cache as well."""
        self._documents[digest] = data
        algorithm, encoded = split_digest(digest)
        if self._access.cache is not None and algorithm == "sha256" and self._kept(digest) is None:
            with suppress(EnvparityError):  # a full disk; it is only fetched again then
                self._access.cache.adopt([data], sha256=encoded, size_bytes=len(data), what=f"document {digest[:19]}")

    def incoming(self, path: str, accept: str, offset: int = 0) -> Incoming:
        """
        An answer to read piece by piece: 200, 206, 404 or 416, with whatever login it takes.

        Raises:
            UnreachableError: no answer, or no right to it.
        """
        headers = {"range": f"bytes={offset}-"} if offset else {}
        good = frozenset({*_FORBIDDEN, 206, 400, 416}) if offset else _FORBIDDEN
        for _ in range(_MOST_LOGINS):
            used = self._authority.header
            more = {"authorization": used} if used else {}
            answer = self._client.incoming(self._url(path), headers={"accept": accept, **headers, **more}, good=good)
            if answer.status not in {401, 403}:
                return answer
            answer.close()
            if answer.status == 401 and used.startswith("Bearer "):
                self._authority.expired(used)
            if not self._may_ask_again(answer.status, answer.headers, used):
                break
        raise refused(self._base, self._login)

    def answer(self, path: str, accept: str, *, also: frozenset[int] = frozenset()) -> Response:
        """
        A small answer about this repository: 200 or 404, or one of the statuses that the caller can make something of.

        Raises:
            UnreachableError: no answer, another status, or no right to it.
        """
        return self._whole(path, accept, MANIFEST_LIMIT, also)

    def _whole(self, path: str, accept: str, limit: int, also: frozenset[int] = frozenset()) -> Response:
        for _ in range(_MOST_LOGINS):
            used = self._authority.header
            answer = self._client.get(
                self._url(path),
                accept=accept,
                limit=limit,
                headers={"authorization": used} if used else None,
                good=_FORBIDDEN | also,
                within_s=self._access.patience_s,
            )
            if answer.status not in {401, 403}:
                return answer
            if not self._may_ask_again(answer.status, answer.headers, used):
                break
        raise refused(self._base, self._login)

    def send(
        self,
        method: str,
        path: str,
        *,
        good: frozenset[int],
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Iterator[bytes]] | None = None,
        size_bytes: int = 0,
        attempts: int | None = None,
        timeout_s: float | None = None,
    ) -> Response:
        """
        Ask for something of this repository to be changed, with whatever login it takes.

        Args:
            path: below the repository, or an address in full, which the registry gave. Credentials go to the
                registry's own origin alone.
            good: the statuses that the caller can make something of.

        Raises:
            UnreachableError: no answer, another status, or no right to it.
        """
        url = path if "://" in path else self._url(path)
        own = origin(url) == origin(self._base)
        for _ in range(_MOST_LOGINS):
            used = self._authority.header if own else ""
            answer = self._client.send(
                method,
                url,
                good=good | {401, 403} if own else good,
                headers={**(headers or {}), **({"authorization": used} if used else {})},
                body=body,
                size_bytes=size_bytes,
                attempts=attempts,
                timeout_s=timeout_s,
            )
            if answer.status not in {401, 403} or answer.status in good:
                return answer
            if answer.status == 401 and used.startswith("Bearer "):
                self._authority.expired(used)
                used = ""
            if not self._may_ask_again(answer.status, answer.headers, used):
                break
        raise refused(self._base, self._login)

    def also_reads(self, repository: str) -> None:
        """Where a token is needed, ask for one with which another repository of this registry can be read too."""
        self._authority.also_reads(repository)

    def told(self, text: str) -> str:
        """A text of the registry as it may be shown: it may repeat what it was sent, and that is our login."""
        login = self._login
        secrets = [self._authority.header, *((login.secret, login.basic) if login is not None else ())]
        for secret in filter(None, (part for each in secrets for part in (each, each.partition(" ")[2]))):
            text = text.replace(secret, "***")
        return text

    @property
    def base(self) -> str:
        """The registry's address: `https://host[:port]`."""
        return self._base

    def _may_ask_again(self, status: int, headers: dict[str, str], used: str) -> bool:
        return status == 401 and self._authority.answer(headers.get("www-authenticate", ""), used)

    def _url(self, path: str) -> str:
        return f"{self._base}/v2/{self.name.name}/{path}"

    @cached_property
    def _base(self) -> str:
        """
        The registry's address. It is https, but for a registry of this machine, which is asked first, without a login.
        """
        host = urlsplit(f"//{self.name.host}").hostname or ""
        if not is_loopback(host):
            return f"https://{self.name.host}"
        try:
            any_answer = frozenset(range(200, 600)) - {408, 425, 429}
            answer = self._client.incoming(f"http://{self.name.host}/v2/", good=any_answer, attempts=1)
            answer.close()
        except UnreachableError as error:
            # A server that speaks TLS alone drops the connection, and one that is not there refuses it.
            if "refused" in str(error).lower() or self._client.offline:
                raise
            return f"https://{self.name.host}"
        # 400 is what most servers say to whoever speaks http to their TLS.
        is_plain = answer.url.startswith("http:") and answer.status not in {400, 426, 497}
        return f"http{'' if is_plain else 's'}://{self.name.host}"

    @cached_property
    def _login(self) -> Login | None:
        return login_for(self.name.host, self._access.environ, self.name.name)

    @cached_property
    def _authority(self) -> Authority:
        actions = "pull,push" if self._writes else "pull"
        return Authority(
            self._client, self._base, f"repository:{self.name.name}:{actions}", lambda: self._login, self._writes
        )

    def _kept(self, digest: str) -> bytes | None:
        """A document that the cache has, hashed again."""
        algorithm, encoded = split_digest(digest)
        if self._access.cache is None or algorithm != "sha256":
            return None
        place = self._access.cache.blob(encoded)
        if place is None or place.stat().st_size > 4 * MANIFEST_LIMIT:
            return None
        return self._access.cache.checked_bytes(encoded)

    def _fetch_manifest(self, descriptor: Descriptor) -> None:
        data = self._kept(descriptor.digest)
        content_type = ""
        if data is None:
            answer = self._whole(f"manifests/{descriptor.digest}", descriptor.media_type, MANIFEST_LIMIT)
            if answer.status == 404:
                raise IntegrityError(f"{self.name.host} lists the manifest {descriptor.digest}, and does not have it")
            data, content_type = answer.body, answer.headers.get("content-type", "")
        self._take(data, content_type, descriptor.digest)

    def _take(self, data: bytes, content_type: str, promised: str, headers: dict[str, str] | None = None) -> Descriptor:
        """Check a manifest or an index against what was promised, remember it, and describe it."""
        where = f"{self.name.host}/{self.name.name}"
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "text/html" or data.lstrip()[:1] == b"<":
            raise UnreachableError(
                f"{self.name.host} answers with a web page, and not as a registry does",
                hint="a proxy or a captive portal may stand in between: open the address in a browser",
            )
        algorithm = split_digest(promised)[0] if promised else "sha256"
        found = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
        said = (headers or {}).get("docker-content-digest", "")
        for other in (promised, said if said.startswith("sha256:") and algorithm == "sha256" else ""):
            if other and other != found:
                raise IntegrityError(f"a manifest of {where} is not what was promised: expected {other}, got {found}")
        media_type = kind if kind in {*MANIFEST_TYPES, *INDEX_TYPES, *_SCHEMA_1} else _media_type(data, where)
        if media_type in _SCHEMA_1:
            raise UnsupportedError(
                f"`{where}` has an image of Docker's old schema 1, whose layers carry no checked digests",
                hint="push it again with a current engine",
            )
        self.keep(found, data)
        descriptor = Descriptor(media_type=media_type, digest=found, size_bytes=len(data))
        self._manifests[found] = descriptor
        if media_type in INDEX_TYPES:
            index = parse_index(data, what=f"index {found[:19]}")
            self._manifests |= {item.digest: item for item in index.manifests if item.digest not in self._manifests}
        return descriptor

    def _not_there(self) -> UsageError:
        reference = f"registry:{self.name.host}/{self.name.name}"
        if self.name.digest:
            return UsageError(f"`{reference}@{self.name.digest}` does not exist", hint="check the digest and the name")
        tags: list[str] = []
        try:
            answer = self._whole(f"tags/list?n={_TAGS_SHOWN}", "application/json", 1 << 20)
            listed = json.loads(answer.body).get("tags") if answer.status == 200 else None
            tags = [shown(tag) for tag in listed or () if isinstance(tag, str)][:_TAGS_SHOWN]
        except (UnreachableError, MalformedError, ValueError, AttributeError, TypeError, RecursionError):
            tags = []  # the list only helps; that there is none says nothing
        hint = f"tags there: {', '.join(tags)}" if tags else "check the name; a private image needs a login"
        return UsageError(f"`{reference}:{self.name.tag}` does not exist", hint=hint)


def _media_type(data: bytes, where: str) -> str:
    """What a document calls itself, where its header does not say: a tag may be served as plain JSON."""
    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"{where} answers with a manifest that is not JSON") from error
    said = document.get("mediaType") if isinstance(document, dict) else None
    if isinstance(said, str) and said in {*MANIFEST_TYPES, *INDEX_TYPES}:
        return said
    if isinstance(document, dict) and document.get("schemaVersion") == 1:
        return _SCHEMA_1[0]
    if said is None and isinstance(document, dict) and ("layers" in document) != ("manifests" in document):
        return MANIFEST_TYPES[0] if "layers" in document else INDEX_TYPES[0]
    raise MalformedError(f"{where} answers with a document of the unknown type `{shown(str(said))}`")


class _Blob(io.RawIOBase):
    """
    A blob as a stream. A transfer that breaks off goes on where it broke, or begins again and is passed over up to
    there; all of it is hashed by whoever reads it, so that what a server makes of a range cannot matter.
    """

    def __init__(self, registry: Registry, digest: str) -> None:
        super().__init__()
        self._registry = registry
        self._digest = digest
        self._offset = 0
        self._breaks = 0
        self._answer: Incoming | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._ahead = memoryview(b"")
        self._began = time.monotonic()
        self._connect()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """As for any raw file. Raises UnreachableError, or TimeLimitError where it is too slow altogether."""
        while not self._ahead:
            piece = self._next()
            if piece is None:
                return 0
            self._ahead = memoryview(piece)
        size = min(len(buffer), len(self._ahead))
        buffer[:size] = self._ahead[:size]
        self._ahead = self._ahead[size:]
        return size

    def close(self) -> None:
        """Give the connection back."""
        if self._answer is not None:
            self._answer.close()
        super().close()

    def _next(self) -> bytes | None:
        while True:
            try:
                piece = next(self._pieces, None)
            except UnreachableError as error:
                self._breaks += 1
                if self._breaks > _MOST_BREAKS:
                    error.message += f" for the {self._breaks}th time"
                    raise
                self._connect()
                continue
            self._offset += len(piece or b"")
            allowed_s = self._registry._access.patience_s + self._offset / _SLOWEST_BYTES_S
            if piece is not None and time.monotonic() - self._began > allowed_s:
                raise TimeLimitError(
                    f"{self._registry.name.host} sent {self._offset:,} bytes of {self._digest[:19]} "
                    f"in {allowed_s:.0f} s, which is too slow to wait for",
                    hint="ask again later, or copy the image first: `skopeo copy docker://NAME:TAG oci:DIR:TAG`",
                )
            return piece

    def _connect(self) -> None:
        if self._answer is not None:
            self._answer.close()
        path, offset = f"blobs/{self._digest}", self._offset
        answer = self._registry.incoming(path, "*/*", offset)
        if offset and (answer.status in {400, 416} or (answer.status == 206 and _start(answer) != offset)):
            answer.close()
            answer, offset = self._registry.incoming(path, "*/*"), self._offset
        self._answer = answer
        if answer.status == 404:
            answer.close()
            raise IntegrityError(f"the blob {self._digest} is missing in {self._registry.name.host}")
        self._pieces = answer.pieces() if answer.status == 206 else _after(answer.pieces(), offset)


def _start(answer: Incoming) -> int:
    """Where a partial answer begins (RFC 9110, 14.4); -1 where it does not say."""
    found = re.match(r"bytes ([0-9]{1,18})-", answer.headers.get("content-range", ""))
    return int(found[1]) if found else -1


def _after(pieces: Iterator[bytes], offset: int) -> Iterator[bytes]:
    """The bytes from an offset on."""
    for piece in pieces:
        if offset >= len(piece):
            offset -= len(piece)
            continue
        yield piece[offset:]
        offset = 0
