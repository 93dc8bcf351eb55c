"""Blobs by digest: from the cache, else from the network; several at once, verified before they get their name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from envparity.cache import Cache
from envparity.errors import EnvparityError, IntegrityError, UnreachableError
from envparity.network import Client, printable
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

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def blobs(self, wanted: Sequence[Wanted], title: str = "download") -> list[Path]:
        """
        The files, in the order in which they were asked for.

        Raises:
            UnreachableError: one or more cannot be had; all of them are named at once.
            IntegrityError: one of them is not what was promised.
        """
        found = {item.sha256: path for item in wanted if (path := self.cache.checked_blob(item.sha256))}
        missing = list({item.sha256: item for item in wanted if item.sha256 not in found}.values())
        if missing and self.client.offline:
            raise UnreachableError(
                f"{len(missing)} of {len(wanted)} files are not in the cache, and --offline forbids to fetch them",
                hint="run once without --offline to fill the cache",
                details=tuple(f"{item.title}  {printable(item.urls[0])}" for item in missing),
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
                return self.client.download(
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


def _counted(chunks: Iterable[bytes], advance: Advance) -> Iterator[bytes]:
    for chunk in chunks:
        advance(len(chunk))
        yield chunk
