"""
Blobs by digest: from the cache, else from the network; several at once, verified before they get their name. And pages,
which are what they are for some minutes.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from envparity.cache import Cache
from envparity.errors import DiskFullError, EnvparityError, IntegrityError, UnreachableError
from envparity.network import Client, Response, printable
from envparity.progress import SILENT, Advance, Progress

_AT_ONCE = 4


@dataclass(frozen=True)
class Wanted:
    """Bytes that somebody promised: where they may lie (mirrors of one another), their digest and size."""

    title: str
    urls: tuple[str, ...]
    sha256: str
    size_bytes: int | None


@dataclass
class Fetcher:
    """What every stage that needs bytes is given: the client, the cache and where to report progress."""

    client: Client
    cache: Cache
    progress: Progress = SILENT
    refresh: bool = False

    @cached_property
    def pages(self) -> Pages:
        """The pages of indexes, kept in the cache; with `refresh`, each is asked for again."""
        return Pages(self.client, self.cache, refresh=self.refresh)

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.cache.bound()

    def blobs(self, wanted: Sequence[Wanted], title: str = "download") -> list[Path]:
        """
        The files, in the order in which they were asked for.

        Raises:
            UnreachableError: one or more cannot be had; all of them are named at once.
            IntegrityError: one of them is not what was promised.
        """
        found = {item.sha256: path for item in wanted if (path := self.cache.checked_blob(item.sha256))}
        missing = list({item.sha256: item for item in wanted if item.sha256 not in found}.values())
        far = [item for item in missing if not all(map(_is_local, item.urls))]
        if far and self.client.offline:
            raise UnreachableError(
                f"{len(far)} of {len(wanted)} files are not in the cache, and --offline forbids to fetch them",
                hint="run once without --offline to fill the cache",
                details=tuple(f"{item.title}  {printable(item.urls[0])}" for item in far),
            )
        if missing:
            total = sum(item.size_bytes or 0 for item in missing)
            with self.progress.task(title, total) as advance, self.client.workers(_AT_ONCE) as pool:
                outcomes = list(pool.map(lambda item: self._try(item, advance), missing))
            errors = [outcome for outcome in outcomes if isinstance(outcome, EnvparityError)]
            if errors:
                worse = next((error for error in errors if isinstance(error, IntegrityError)), errors[0])
                worse.details = tuple(str(error) for error in errors) if len(errors) > 1 else ()
                raise worse
            found |= {item.sha256: path for item, path in zip(missing, outcomes, strict=True) if isinstance(path, Path)}
        return [found[item.sha256] for item in wanted]

    def _try(self, item: Wanted, advance: Advance) -> Path | EnvparityError:
        failure: EnvparityError = UnreachableError(f"{item.title} has no place to be fetched from")
        for url in item.urls:
            try:
                return (_read if _is_local(url) else self.client.download)(
                    url,
                    lambda chunks, url=url: self.cache.adopt(  # type: ignore[misc]
                        _counted(chunks, advance),
                        sha256=item.sha256,
                        size_bytes=item.size_bytes,
                        what=f"{item.title} from {printable(url)}",
                    ),
                )
            except IntegrityError as error:
                return error
            except EnvparityError as error:
                failure = error
        return failure


def _is_local(url: str) -> bool:
    return url.startswith("file:///")


def _read(url: str, into: Callable[[Iterator[bytes]], Path]) -> Path:
    """A file of this machine, as a download would hand it on."""
    place = Path(unquote(urlsplit(url).path))
    try:
        with place.open("rb") as stream:
            return into(iter(lambda: stream.read(1 << 18), b""))
    except (FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError) as error:
        raise UnreachableError(
            f"cannot read `{place}`: {error.strerror}", hint="it is named by a file: address of the lock"
        ) from error


def _counted(chunks: Iterable[bytes], advance: Advance) -> Iterator[bytes]:
    for chunk in chunks:
        advance(len(chunk))
        yield chunk


_FRESH_S = 600
_SMALLER = {"accept-encoding": "gzip"}  # a page of an index is text, and no digest is promised of it
_GOOD = frozenset({200, 304, 404, 410})
_TOLD = ("content-type", "etag", "last-modified")


class _Kept(Struct, frozen=True):
    """An answer that was kept: of which address, since when (seconds of the epoch), and for how long it holds."""

    url: str
    at: float
    fresh_s: float
    headers: dict[str, str]
    sha256: str


@dataclass(frozen=True)
class Pages:
    """
    Pages of an index, kept under their digest. One that is ten minutes old (as pip and uv have it), or older than its
    index says, is asked for again, and sent again only where it has changed: RFC 9111, 4.3, and RFC 9110, 13.

    Kept is only what anybody is given: nothing that credentials were sent for, and nothing of another host. A page that
    is damaged, or from the future (of a clock that was put back), is as good as none.
    """

    client: Client
    cache: Cache
    refresh: bool = False
    clock: Callable[[], float] = time.time

    def get(self, url: str, *, accept: str = "*/*", limit: int = 64 << 20, within_s: float | None = None) -> Response:
        """
        The same as `Client.get`, from the cache where that is fresh.

        Raises:
            As `Client.get`. A cache that is full, or cannot be written to, only makes it slower.
        """
        if "@" in urlsplit(url).netloc:
            return self.client.get(url, accept=accept, limit=limit, within_s=within_s, headers=_SMALLER)
        key = f"page-1-{hashlib.sha256(f'{accept} {url}'.encode()).hexdigest()}"
        kept = self.cache.note(key, _Kept)
        body = self.cache.checked_bytes(kept.sha256) if kept is not None else None
        if kept is None or body is None or len(body) > limit:
            answer = self.client.get(url, accept=accept, limit=limit, within_s=within_s, headers=_SMALLER)
            self._keep(key, answer, "")
            return answer
        known = Response(kept.url, 200, kept.headers, body, True)
        if not self.refresh and 0 <= self.clock() - kept.at < kept.fresh_s:
            return known
        asked = {**_SMALLER, **_if_changed(kept.headers)}
        answer = self.client.get(url, accept=accept, limit=limit, within_s=within_s, headers=asked, good=_GOOD)
        if answer.status != 304:
            self._keep(key, answer, kept.sha256)
            return answer
        with suppress(DiskFullError):
            self.cache.write_note(key, replace(kept, at=self.clock(), fresh_s=_fresh_s(answer.headers)))
        return known

    def _keep(self, key: str, answer: Response, before: str) -> None:
        if answer.status != 200 or not answer.public or "no-store" in answer.headers.get("cache-control", ""):
            return
        digest = hashlib.sha256(answer.body).hexdigest()
        told = {name: answer.headers[name] for name in _TOLD if name in answer.headers}
        with suppress(DiskFullError):
            self.cache.adopt([answer.body], sha256=digest, size_bytes=len(answer.body), what=printable(answer.url))
            self.cache.write_note(key, _Kept(answer.url, self.clock(), _fresh_s(answer.headers), told, digest))
            if before and before != digest:
                self.cache.forget(before)


def _if_changed(headers: Mapping[str, str]) -> dict[str, str]:
    """RFC 9110, 13.1: by ETag, else by the time of the last change."""
    if "etag" in headers:
        return {"if-none-match": headers["etag"]}
    return {"if-modified-since": headers["last-modified"]} if "last-modified" in headers else {}


def _fresh_s(headers: Mapping[str, str]) -> float:
    said = headers.get("cache-control", "").lower()
    if "no-cache" in said:
        return 0
    longest = re.search(r"max-age\s*=\s*\"?([0-9]{1,9})", said)
    return min(_FRESH_S, int(longest[1])) if longest else _FRESH_S
