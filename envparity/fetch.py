"""
Blobs by digest: from the cache, else from the network; several at once, verified before they get their name. And pages,
which are what they are for some minutes.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from msgspec import DecodeError, Raw, Struct, json
from msgspec.structs import replace

from envparity.cache import Cache
from envparity.errors import DiskFullError, EnvparityError, GoneError, IntegrityError, UnreachableError
from envparity.network import Client, Response, printable
from envparity.progress import SILENT, Advance, Progress

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

_AT_ONCE = 4
_HASHED_AT_ONCE = 2


@dataclass(frozen=True)
class Wanted:
    """
    Bytes that somebody promised: where they may lie (mirrors of one another), their digest and size.

    `past` are places that keep what those have dropped: they are asked where each of those says that it is gone. `hint`
    is what to do where these cannot help either. `where` is the line that promises them.
    """

    title: str
    urls: tuple[str, ...]
    sha256: str
    size_bytes: int | None
    past: tuple[str, ...] = ()
    hint: str = ""
    where: str = ""


@dataclass
class Fetcher:
    """
    What every stage that needs bytes is given: the client, the cache and where to report progress; and the `mirrors`
    that somebody configured, by the name of the archive of OS packages that they stand for.
    """

    client: Client
    cache: Cache
    progress: Progress = SILENT
    refresh: bool = False
    mirrors: Mapping[str, str] = field(default_factory=dict)

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
        digests = list({item.sha256 for item in wanted})
        with ThreadPoolExecutor(_HASHED_AT_ONCE) as hashing:
            places = zip(digests, hashing.map(self.cache.checked_blob, digests), strict=True)
            found = {sha256: place for sha256, place in places if place is not None}
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
            lost: dict[str, EnvparityError] = {}
            with self.progress.task(title, total) as advance, self.client.workers(_AT_ONCE) as pool:
                outcomes = list(pool.map(lambda item: self._try(item, advance, lost), missing))
            errors = [outcome for outcome in outcomes if isinstance(outcome, EnvparityError)]
            if errors:
                worse = next((error for error in errors if isinstance(error, IntegrityError)), errors[0])
                worse.details = tuple(str(error) for error in errors) if len(errors) > 1 else ()
                raise worse
            found |= {item.sha256: path for item, path in zip(missing, outcomes, strict=True) if isinstance(path, Path)}
        return [found[item.sha256] for item in wanted]

    def _try(self, item: Wanted, advance: Advance, lost: dict[str, EnvparityError]) -> Path | EnvparityError:
        outcome = self._tried(item, advance, lost)
        if isinstance(outcome, EnvparityError) and item.where and not outcome.where:
            outcome.where = item.where
        return outcome

    def _tried(self, item: Wanted, advance: Advance, lost: dict[str, EnvparityError]) -> Path | EnvparityError:
        """`lost` are the places of the past that do not answer, by their host: none is asked once more."""
        failure: EnvparityError = UnreachableError(f"{item.title} has no place to be fetched from")
        gone = True
        for url in item.urls:
            try:
                return self._from(url, item, advance)
            except IntegrityError as error:
                return error
            except EnvparityError as error:
                gone = gone and isinstance(error, GoneError)
                failure = error
        if gone and item.hint:
            failure.hint = item.hint
        if not (gone and item.urls and item.past):
            return failure
        there = urlsplit(item.urls[0]).netloc
        for url in item.past:
            host = urlsplit(url).netloc
            if host in lost:
                failure = lost[host]
                continue
            try:
                return self._from(url, item, advance)
            except IntegrityError as error:
                return error
            except EnvparityError as error:
                failure = error
                if not isinstance(error, GoneError):
                    lost[host] = error
        return UnreachableError(
            f"{item.title} is gone from {there}, and what keeps its past does not help: {failure}",
            hint=item.hint or failure.hint,
        )

    def _from(self, url: str, item: Wanted, advance: Advance) -> Path:
        return (_read if _is_local(url) else self.client.download)(
            url,
            lambda chunks: self.cache.adopt(
                _counted(chunks, advance),
                sha256=item.sha256,
                size_bytes=item.size_bytes,
                what=f"{item.title} from {printable(url)}",
            ),
        )


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
_MANY = 8
"""So many pages are asked for as streams of one connection: of fewer the connection takes the time."""
_SMALLER = {"accept-encoding": "gzip"}  # a page of an index is text, and no digest is promised of it
_GOOD = frozenset({200, 304, 404, 410})
_TOLD = ("content-type", "etag", "last-modified")


class _Kept(Struct, frozen=True):
    """
    An answer that was kept: of which address, since when (seconds of the epoch), for how long it holds, and what was
    read out of it, by the words for that. Without a digest, only that was kept.
    """

    url: str
    at: float
    fresh_s: float
    headers: dict[str, str]
    sha256: str
    parts: dict[str, Raw] = {}


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
    _here: dict[str, Response] = field(default_factory=dict, repr=False)
    """Answers that have arrived and that nobody has taken yet."""
    _known: dict[str, _Kept] = field(default_factory=dict, repr=False)
    """What was read or written of the cache; a page is asked after more than once."""

    def get(self, url: str, *, accept: str = "*/*", limit: int = 64 << 20, within_s: float | None = None) -> Response:
        """
        The same as `Client.get`, from the cache where that is fresh.

        Raises:
            As `Client.get`. A cache that is full, or cannot be written to, only makes it slower.
        """
        answer, kept = self._get(url, accept, limit, within_s)
        self._note(url, accept, kept)
        return answer

    def read(
        self,
        url: str,
        read: Callable[[Response], T],
        kind: type[T],
        what: str,
        *,
        accept: str = "*/*",
        limit: int = 64 << 20,
        within_s: float | None = None,
    ) -> T | None:
        """
        What is read out of a page, `None` where there is no such page; kept, so that a page of a few minutes ago is not
        read again. The page itself is kept only where it can be asked for as one that may not have changed.

        Args:
            kind: of what `read` gives, for its note.
            what: says what is read, in words that stand for nothing else.

        Raises:
            As `get` and `read`.
        """
        kept = self._kept(url, accept)
        if kept is not None and self._is_fresh(kept) and what in kept.parts:
            with suppress(DecodeError):
                return json.decode(kept.parts[what], type=kind)
        answer, kept = self._get(url, accept, limit, within_s, whole=False)
        if answer.status != 200:
            return None
        made = read(answer)
        if kept is not None:
            self._note(url, accept, replace(kept, parts={**kept.parts, what: Raw(json.encode(made))}))
        return made

    def arriving(self, wanted: Mapping[K, Sequence[str]], *, accept: str = "*/*", limit: int = 64 << 20) -> Iterator[K]:
        """
        Ask for many pages at once, and say of what all of them are here; whoever then asks for one is given it. What
        cannot be asked for so, or is not plainly answered, is for its reader to ask for.
        """
        kept = {url: self._kept(url, accept) for urls in wanted.values() for url in urls}
        asked = [url for url, known in kept.items() if known is None or not self._is_fresh(known)]
        if len(asked) < _MANY or not all(map(self.client.is_nobody, asked)):
            return
        from envparity import multiplex

        if not multiplex.can_ask(asked):
            return
        sought = frozenset(asked)
        missing = {key: {url for url in urls if url in sought} for key, urls in wanted.items()}
        waiting: dict[str, list[K]] = {}
        for key, urls in missing.items():
            for url in urls:
                waiting.setdefault(url, []).append(key)
        questions = [
            multiplex.Question(url, {"accept": accept, **_if_changed(known.headers if known is not None else {})})
            for url, known in ((url, kept[url]) for url in asked)
        ]
        timeout_s = self.client.timeout_s
        for place, answer in multiplex.answers(questions, good=_GOOD, limit=limit, timeout_s=timeout_s):
            url = asked[place]
            self._here[_key(url, accept)] = Response(url, answer.status, answer.headers, answer.body, True)
            for key in waiting[url]:
                missing[key].discard(url)
                if not missing[key]:
                    yield key

    def is_known(self, url: str, what: str, *, accept: str = "*/*") -> bool:
        """Whether `read` would ask nobody."""
        kept = self._kept(url, accept)
        return kept is not None and self._is_fresh(kept) and what in kept.parts

    def _kept(self, url: str, accept: str) -> _Kept | None:
        if "@" in urlsplit(url).netloc:
            return None
        key = _key(url, accept)
        found = self._known.get(key) or self.cache.note(key, _Kept)
        if found is not None:
            self._known[key] = found
        return found

    def _is_fresh(self, kept: _Kept) -> bool:
        return not self.refresh and 0 <= self.clock() - kept.at < kept.fresh_s

    def _get(
        self, url: str, accept: str, limit: int, within_s: float | None, *, whole: bool = True
    ) -> tuple[Response, _Kept | None]:
        """The page, and what is to be noted of it; nothing of one that may not be kept."""
        if "@" in urlsplit(url).netloc:
            return self.client.get(url, accept=accept, limit=limit, within_s=within_s, headers=_SMALLER), None
        key = _key(url, accept)
        kept = self._kept(url, accept)
        body = self.cache.checked_bytes(kept.sha256) if kept is not None and kept.sha256 else None
        here = self._here.pop(key, None)
        if kept is None or body is None or len(body) > limit:
            if here is None or here.status == 304:
                here = self.client.get(url, accept=accept, limit=limit, within_s=within_s, headers=_SMALLER)
            return here, self._keep(here, "", whole)
        known = Response(kept.url, 200, kept.headers, body, True)
        if self._is_fresh(kept):
            return known, kept
        asked = {**_SMALLER, **_if_changed(kept.headers)}
        answer = here or self.client.get(url, accept=accept, limit=limit, within_s=within_s, headers=asked, good=_GOOD)
        if answer.status != 304:
            return answer, self._keep(answer, kept.sha256, whole)
        return known, replace(kept, at=self.clock(), fresh_s=_fresh_s(answer.headers))

    def _note(self, url: str, accept: str, kept: _Kept | None) -> None:
        if kept is not None:
            self._known[_key(url, accept)] = kept
            with suppress(DiskFullError):
                self.cache.write_note(_key(url, accept), kept)

    def _keep(self, answer: Response, before: str, whole: bool) -> _Kept | None:
        if answer.status != 200 or not answer.public or "no-store" in answer.headers.get("cache-control", ""):
            return None
        told = {name: answer.headers[name] for name in _TOLD if name in answer.headers}
        with suppress(DiskFullError):
            digest = self.cache.keep(answer.body) if whole or _if_changed(told) else ""
            if before and before != digest:
                self.cache.forget(before)
            return _Kept(answer.url, self.clock(), _fresh_s(answer.headers), told, digest)
        return None


def _key(url: str, accept: str) -> str:
    return f"page-2-{hashlib.sha256(f'{accept} {url}'.encode()).hexdigest()}"


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
