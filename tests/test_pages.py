"""Pages of an index that are kept for some minutes: what is sent again, and what never is kept."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from envparity.cache import Cache
from envparity.errors import DiskFullError, MalformedError
from envparity.fetch import Pages
from envparity.network import Client, Response
from tests.serving import Served, plain, serving


@dataclass
class Page:
    """A page with a version; it is sent only to who has another one."""

    version: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    conditions: list[str] = field(default_factory=list)

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        etag = f'"{self.version}"'
        self.conditions.append(request.headers.get("if-none-match", ""))
        if self.conditions[-1] == etag:
            return plain(b"", 304, etag=etag, **self.headers)(request)
        return plain(f"version {self.version}".encode(), etag=etag, content_type="text/html", **self.headers)(request)


@dataclass
class Clock:
    seconds: float = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def served(page: Page) -> Iterator[Served]:
    with serving({"/simple/demo/": [page]}) as place:
        yield place


def asked(served: Served, folder: Path, clock: Clock | None = None, *, refresh: bool = False, user: str = "") -> bytes:
    """What another run of the program is given."""
    url = f"{served.url}/simple/demo/".replace("http://", f"http://{user}")
    with Client(attempts=1) as client:
        return Pages(client, Cache(folder), refresh, clock or Clock()).get(url).body


def test_a_page_is_asked_for_once_in_ten_minutes_and_then_only_whether_it_changed(
    served: Served, page: Page, tmp_path: Path
) -> None:
    clock, cache = Clock(), tmp_path / "cache"

    assert asked(served, cache, clock) == asked(served, cache, clock) == b"version 1"
    clock.seconds += 599
    assert asked(served, cache, clock) == b"version 1"
    assert page.conditions == [""]
    clock.seconds += 2
    assert asked(served, cache, clock) == b"version 1"
    assert page.conditions == ["", '"1"'], "it was not sent again"
    page.version = 2
    assert asked(served, cache, clock) == b"version 1", "it was looked at a moment ago"
    clock.seconds += 601
    assert asked(served, cache, clock) == b"version 2"
    blobs = [path for path in (cache / "blobs").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in blobs] == [b"version 2"], "the older one is of no use to anybody"


def test_refresh_asks_again_at_once(served: Served, page: Page, tmp_path: Path) -> None:
    asked(served, tmp_path / "cache")
    page.version = 2

    assert asked(served, tmp_path / "cache", refresh=True) == b"version 2"


@pytest.mark.parametrize("said", ["no-cache", "max-age=0", "private, no-store"])
def test_an_index_that_does_not_want_its_pages_kept_is_asked_each_time(
    served: Served, page: Page, said: str, tmp_path: Path
) -> None:
    page.headers["cache_control"] = said

    asked(served, tmp_path / "cache")
    asked(served, tmp_path / "cache")

    assert len(page.conditions) == 2


def test_nothing_is_kept_of_a_page_that_credentials_were_sent_for(served: Served, page: Page, tmp_path: Path) -> None:
    """The next user of this account, or of another index of the same address, is to be asked who he is."""
    for _ in range(2):
        assert asked(served, tmp_path / "cache", user="ada:secret@") == b"version 1"

    assert page.conditions == ["", ""]
    assert not (tmp_path / "cache").exists()


def test_a_clock_that_was_put_back_makes_no_page_last_for_years(served: Served, page: Page, tmp_path: Path) -> None:
    asked(served, tmp_path / "cache", Clock(2_000_000.0))

    asked(served, tmp_path / "cache", Clock(1_000_000.0))

    assert page.conditions == ["", '"1"']


@pytest.mark.parametrize("what", ["blobs", "notes"])
def test_what_is_damaged_is_fetched_again(served: Served, page: Page, what: str, tmp_path: Path) -> None:
    asked(served, tmp_path / "cache")
    (damaged,) = (path for path in (tmp_path / "cache" / what).rglob("*") if path.is_file())
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")

    assert asked(served, tmp_path / "cache") == b"version 1"
    assert page.conditions == ["", ""]
    assert asked(served, tmp_path / "cache") == b"version 1"
    assert len(page.conditions) == 2, "and is whole again"


class Full(Cache):
    """A cache on a disk without room."""

    def keep(self, *_: object, **__: object) -> str:
        raise DiskFullError("cannot keep something: no space left on device")


def test_a_full_disk_only_makes_it_slower(served: Served, page: Page, tmp_path: Path) -> None:
    with Client() as client:
        pages = Pages(client, Full(tmp_path / "cache"))
        url = f"{served.url}/simple/demo/"
        assert pages.get(url).body == pages.get(url).body == b"version 1"

    assert len(page.conditions) == 2


def test_what_is_not_there_is_asked_for_again(tmp_path: Path) -> None:
    """It may have been uploaded since."""
    with serving({"/simple/demo/": [plain(b"none", 404), plain(b"it is")]}) as place:
        assert asked(place, tmp_path / "cache") == b"none"
        assert asked(place, tmp_path / "cache") == b"it is"


def test_two_at_once_write_the_same_page_and_each_is_given_it_whole(served: Served, page: Page, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: asked(served, tmp_path / "cache", refresh=True), itertools.repeat(0, 40)))

    assert set(found) == {b"version 1"}


def test_a_page_that_is_sent_compressed_is_read_and_kept_as_it_is(tmp_path: Path) -> None:
    """PyPI's pages are a fifth of their size so; what is a blob with a digest is asked for as it is stored."""
    told: list[str] = []

    def compressed(request: BaseHTTPRequestHandler) -> None:
        told.append(request.headers["accept-encoding"])
        return plain(gzip.compress(b"version 1"), content_encoding="gzip", content_type="text/html")(request)

    with serving({"/simple/demo/": [compressed]}) as place:
        assert [asked(place, tmp_path) for _ in range(2)] == [b"version 1"] * 2
    assert told == ["gzip"]


def test_a_page_that_unpacks_to_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    def bomb(request: BaseHTTPRequestHandler) -> None:
        return plain(gzip.compress(bytes(20 << 20)), content_encoding="gzip", content_type="text/html")(request)

    with serving({"/simple/demo/": [bomb]}) as place, Client(attempts=1) as client:
        pages = Pages(client, Cache(tmp_path))
        with pytest.raises(MalformedError, match="more than"):
            pages.get(f"{place.url}/simple/demo/", limit=1 << 20)


def read_of(served: Served, folder: Path, what: str, clock: Clock | None = None) -> list[str] | None:
    """What another run of the program reads out of the page: words that are noted under `what`."""

    def words(answer: Response) -> list[str]:
        return [what, *answer.body.decode().split()]

    with Client(attempts=1) as client:
        pages = Pages(client, Cache(folder), clock=clock or Clock())
        return pages.read(f"{served.url}/simple/demo/", words, list[str], what)


def test_what_was_read_out_of_a_page_is_noted_and_of_another_question_the_page_is_read_again(
    served: Served, page: Page, tmp_path: Path
) -> None:
    clock = Clock()
    assert read_of(served, tmp_path, "one", clock) == ["one", "version", "1"]
    page.version = 2
    assert read_of(served, tmp_path, "one", clock) == ["one", "version", "1"]
    assert read_of(served, tmp_path, "two", clock) == ["two", "version", "1"], "the page was kept, as it has an ETag"
    assert page.conditions == [""]
    clock.seconds += 601

    assert read_of(served, tmp_path, "one", clock) == ["one", "version", "2"]
    assert page.conditions == ["", '"1"']


def test_a_page_that_cannot_be_asked_for_conditionally_is_not_kept_itself(tmp_path: Path) -> None:
    """PyPI's are 300 kB each, and after ten minutes of no use."""
    with serving({"/simple/demo/": [plain(b"version 1")], "/simple/gone/": [plain(b"", 404)]}) as served:
        for _ in range(2):
            assert read_of(served, tmp_path, "one") == ["one", "version", "1"]
        assert len(served.asked) == 1
        assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
        assert read_of(served, tmp_path, "two") == ["two", "version", "1"]
        assert len(served.asked) == 2


def test_a_note_that_cannot_be_read_is_none(served: Served, page: Page, tmp_path: Path) -> None:
    read_of(served, tmp_path, "one")
    (note,) = (tmp_path / "notes").iterdir()
    note.write_bytes(note.read_bytes().replace(b'["one"', b'[["x"]'))

    assert read_of(served, tmp_path, "one") == ["one", "version", "1"]
