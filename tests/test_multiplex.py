"""Many pages at once, by libcurl: what arrives is handed on, and all that is not plain is left to the client."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from envparity import multiplex
from envparity.cache import Cache
from envparity.fetch import Pages
from envparity.network import Client
from envparity.resolvers.for_place import Place, find_pinned
from envparity.resolvers.index import find_wheels
from envparity.resolvers.indexes import Index, Indexes
from envparity.values import Distribution, LockedDistribution
from tests.indexes import json_page
from tests.ports import port_of_its_own
from tests.serving import Answer, Served, plain, serving
from tests.wheels import JSON

NAMES = tuple(f"demo{number}" for number in range(12))


def file_of(name: str, version: str = "1.0") -> dict[str, object]:
    wheel = f"{name}-{version}-py3-none-any.whl"
    return {"filename": wheel, "url": f"../../files/{wheel}", "size": 10, "hashes": {"sha256": "a" * 64}}


def page(name: str, **headers: str) -> Answer:
    return plain(json_page(name, file_of(name, "0.9"), file_of(name)), content_type=JSON, **headers)


def cut(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True
    plain(b"{", content_length="1000", content_type=JSON)(request)


def packed(name: str) -> Answer:
    return plain(gzip.compress(json_page(name, file_of(name))), content_encoding="gzip", content_type=JSON)


ODD: dict[str, Answer] = {
    "demo0": plain(b"", 302, location="/elsewhere/demo0/"),
    "demo1": plain(b"none", 404),
    "demo2": packed("demo2"),
}


@pytest.fixture
def answers() -> dict[str, list[Answer]]:
    return {f"/simple/{name}/": [page(name)] for name in NAMES}


@pytest.fixture
def served(answers: dict[str, list[Answer]]) -> Iterator[Served]:
    with serving(answers) as place:
        yield place


def found(served: Served, folder: Path, *others: Index, refresh: bool = False) -> dict[str, object]:
    """What a lock finds of all of them, by another run of the program."""
    wanted = [Distribution(name=name, version="1.0", wheel_tags=("py3-none-any",)) for name in NAMES]
    indexes = Indexes((Index.of(f"{served.url}/simple/"), *others))
    with Client(attempts=2) as client:
        pages = Pages(client, Cache(folder), refresh)
        answers = find_wheels(wanted, client=client, indexes=indexes, python_version="3.11.7", pages=pages)
    return {item.name: item.wheel.url if isinstance(item, LockedDistribution) else item.reason for item in answers}


def test_each_page_is_asked_for_once_and_then_known(served: Served, tmp_path: Path) -> None:
    first = found(served, tmp_path / "cache")

    assert first == {name: f"{served.url}/files/{name}-1.0-py3-none-any.whl" for name in NAMES}
    assert sorted(served.asked) == sorted(f"/simple/{name}/" for name in NAMES)
    assert found(served, tmp_path / "cache") == first
    assert len(served.asked) == len(NAMES)


def test_what_is_not_plainly_answered_is_found_all_the_same(
    served: Served, answers: dict[str, list[Answer]], tmp_path: Path
) -> None:
    for name, answer in ODD.items():
        answers[f"/simple/{name}/"] = [answer]
    answers["/elsewhere/demo0/"] = [page("demo0")]
    answers["/simple/demo3/"] = [cut, page("demo3")]
    answers["/simple/demo4/"] = [plain(b"", 503), page("demo4")]

    results = found(served, tmp_path / "cache")

    assert results.pop("demo1") == f"is not on the index {served.url}/simple/"
    assert set(results) == {*NAMES} - {"demo1"}
    assert all(str(url).endswith("-1.0-py3-none-any.whl") for url in results.values())


def test_a_page_that_was_kept_is_asked_for_again_only_where_it_changed(
    served: Served, answers: dict[str, list[Answer]], tmp_path: Path
) -> None:
    conditions: list[str] = []

    def conditional(name: str) -> Answer:
        def answer(request: BaseHTTPRequestHandler) -> None:
            conditions.append(request.headers.get("if-none-match", ""))
            (plain(b"", 304, etag='"1"') if conditions[-1] == '"1"' else page(name, etag='"1"'))(request)

        return answer

    answers |= {f"/simple/{name}/": [conditional(name)] for name in NAMES}

    assert found(served, tmp_path / "cache") == found(served, tmp_path / "cache", refresh=True)
    assert conditions == [""] * len(NAMES) + ['"1"'] * len(NAMES)


def test_of_two_indexes_all_pages_are_asked_for_at_once(
    served: Served, answers: dict[str, list[Answer]], tmp_path: Path
) -> None:
    answers |= {"/extra/demo1/": [plain(json_page("demo1", {**file_of("demo1"), "hashes": {"sha256": "b" * 64}}))]}

    results = found(served, tmp_path / "cache", Index.of(f"{served.url}/extra/", "extra"))

    assert "two indexes" in str(results["demo1"])
    assert str(results["demo2"]).endswith("/files/demo2-1.0-py3-none-any.whl")
    assert len(served.asked) == 2 * len(NAMES)


def test_nobody_who_must_say_who_he_is_or_asks_through_a_proxy_is_served_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `network` knows where credentials may go."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)

    assert multiplex.can_ask(["https://pypi.org/simple/demo/"])
    assert not multiplex.can_ask(["https://pypi.org/simple/demo/", "https://ada:secret@corp/simple/demo/"])
    assert not multiplex.can_ask(["file:///etc/passwd"])
    assert not multiplex.can_ask(["https://corp/simple/demo/?token=x"])
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert not multiplex.can_ask(["https://pypi.org/simple/demo/"])


def test_what_is_too_large_or_has_no_good_status_or_nobody_answers_is_not_there(served: Served) -> None:
    answers = {"/large": [plain(b"x" * 2000)], "/gone": [plain(b"", 410)], "/good": [plain(b"yes")]}
    bomb = plain(gzip.compress(bytes(1 << 20)), content_encoding="gzip")
    answers |= {"/bomb": [bomb], "/moved": [plain(b"", 302, location="/good")]}
    with port_of_its_own() as closed, serving(answers) as place:
        nobody = f"http://127.0.0.1:{closed}/nobody"
        urls = [f"{place.url}/{name}" for name in ("large", "gone", "good", "bomb", "moved")]
        questions = [multiplex.Question(url, {}) for url in (*urls, nobody)]
        arrived = list(multiplex.answers(questions, good={200}, limit=1000, timeout_s=30))

    assert [(number, answer.body) for number, answer in arrived] == [(2, b"yes")]


def test_who_stops_reading_leaves_nothing_open(served: Served) -> None:
    questions = [multiplex.Question(f"{served.url}/simple/{name}/", {}) for name in NAMES]
    arriving = multiplex.answers(questions, good={200}, limit=1 << 20, timeout_s=30)

    assert next(arriving)[1].status == 200
    arriving.close()  # type: ignore[attr-defined]


def test_what_a_file_pins_is_asked_for_at_once_too(served: Served, tmp_path: Path) -> None:
    pins = [Distribution(name=name, version="1.0.0") for name in NAMES]
    place = Place("3.11.2", "x86_64", "2.36", "debian:bookworm")
    for _ in range(2):
        with Client(attempts=1) as client:
            pages = Pages(client, Cache(tmp_path / "cache"))
            indexes = Indexes.at(f"{served.url}/simple/")
            found = find_pinned(pins, place, client=client, indexes=indexes, pages=pages)

        assert [item.name for item in found if isinstance(item, LockedDistribution)] == list(NAMES)
    assert sorted(served.asked) == sorted(f"/simple/{name}/" for name in NAMES)
