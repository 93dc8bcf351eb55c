"""The one HTTP client: bounded retries, no silent change of scheme, nobody asked with --offline."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from envparity.cache import Cache
from envparity.errors import IntegrityError, MalformedError, UnreachableError, UsageError
from envparity.fetch import Fetcher, Wanted
from envparity.network import Client, printable
from tests.serving import FAULTS, Ranged, plain, serving


def test_offline_asks_nobody_and_names_host_and_option() -> None:
    with pytest.raises(UnreachableError, match=r"--offline forbids to ask index\.example"):
        Client(offline=True).get("https://index.example/simple/")


def test_a_server_that_is_busy_twice_is_asked_again() -> None:
    with (
        serving({"/": [plain(b"", 503), plain(b"", 429, retry_after="0"), plain(b"here")]}) as served,
        Client() as client,
    ):
        assert client.get(served.url).body == b"here"

    assert len(served.asked) == 3


def test_a_server_that_stays_broken_is_given_up() -> None:
    with (
        serving({"/": [plain(b"", 500, retry_after="0")]}) as served,
        Client(attempts=2) as client,
        pytest.raises(UnreachableError, match=r"answers 500 .* \(2 attempts\)"),
    ):
        client.get(served.url)

    assert len(served.asked) == 2


def test_a_refusal_is_not_asked_again() -> None:
    with (
        serving({"/": [plain(b"", 403)]}) as served,
        Client() as client,
        pytest.raises(UnreachableError, match="403") as caught,
    ):
        client.get(served.url)

    assert len(served.asked) == 1
    assert "whoever runs it" in caught.value.hint


def test_nobody_there_names_the_host_and_what_to_look_at() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with (
            pytest.raises(UnreachableError, match=r"cannot reach 127\.0\.0\.1") as caught,
            Client(attempts=1) as client,
        ):
            client.get(f"http://127.0.0.1:{port}/")

    assert f"127.0.0.1:{port}: " in str(caught.value)
    assert "--offline" in caught.value.hint


def test_gone_is_an_answer_and_not_an_error() -> None:
    with serving({}) as served, Client() as client:
        assert client.get(served.url).status == 404


def test_an_endless_redirect_is_given_up() -> None:
    with (
        serving({"/a": [plain(b"", 302, location="/a")]}) as served,
        Client(attempts=1) as client,
        pytest.raises(UnreachableError, match="redirects more than"),
    ):
        client.get(f"{served.url}/a")


def test_a_redirect_to_a_file_of_this_machine_is_refused() -> None:
    with (
        serving({"/": [plain(b"", 302, location="file:///etc/passwd")]}) as served,
        Client(attempts=1) as client,
        pytest.raises(UnreachableError, match="which is not followed"),
    ):
        client.get(f"{served.url}/")


def test_an_answer_over_the_limit_is_refused() -> None:
    with (
        serving({"/": [plain(bytes(100))]}) as served,
        Client() as client,
        pytest.raises(MalformedError, match="more than 99 bytes"),
    ):
        client.get(served.url, limit=99)


def test_a_url_is_shown_without_its_secrets() -> None:
    assert (
        printable("https://ada:s3cret@index.example:8443/simple/?token=s3cret#x")
        == "https://index.example:8443/simple/"
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://h:99999/x",
        "https://[x/x",
        "https://h:x/x",
        "https://ex\x01ample/",
        "https://example/\x00",
        "https://example/a\nb",
        "https:///x",
        "https://xn--/x",
        "file:///etc/passwd",
        "",
    ],
)
def test_what_is_no_address_is_said_to_be_none(url: str) -> None:
    """It may stand in a lock or on an index's page, so it is nobody's bug and never a traceback."""
    printable(url)

    with Client(attempts=1) as client, pytest.raises((UsageError, UnreachableError), match="cannot"):
        client.get(url)


def test_a_redirect_to_no_address_is_refused() -> None:
    with (
        serving({"/": [plain(b"", 302, location="https://[x/")]}) as served,
        Client(attempts=1) as client,
        pytest.raises(UnreachableError, match="redirects to what is no address"),
    ):
        client.get(f"{served.url}/")


def test_a_password_is_not_sent_in_the_clear() -> None:
    with Client() as client, pytest.raises(UsageError, match="in the clear") as caught:
        client.get("http://ada:s3cret@index.example/simple/")

    assert "s3cret" not in str(caught.value)


def _wanted(url: str, content: bytes, **changes: object) -> Wanted:
    return Wanted("thing", (url,), str(changes.get("sha256", hashlib.sha256(content).hexdigest())), len(content))


def test_a_blob_is_fetched_once_and_then_comes_from_the_cache(tmp_path: Path) -> None:
    with serving({"/blob": [plain(b"content")]}) as served:
        fetcher = Fetcher(Client(), Cache(tmp_path / "cache"))
        first = fetcher.blobs([_wanted(f"{served.url}/blob", b"content")] * 2)
        again = Fetcher(Client(offline=True), Cache(tmp_path / "cache")).blobs(
            [_wanted(f"{served.url}/blob", b"content")]
        )

    assert [path.read_bytes() for path in first + again] == [b"content"] * 3
    assert served.asked == ["/blob"]
    assert (tmp_path / "cache" / "CACHEDIR.TAG").is_file()


def test_other_bytes_than_promised_never_get_a_name(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    with serving({"/blob": [plain(b"evil!!!")]}) as served, pytest.raises(IntegrityError, match="promised content"):
        Fetcher(Client(), cache).blobs([_wanted(f"{served.url}/blob", b"content")])

    assert cache.blob(hashlib.sha256(b"evil!!!").hexdigest()) is None
    kept = [path for part in ("blobs", "notes", "incoming") for path in (cache.folder / part).rglob("*")]
    assert [path for path in kept if path.is_file()] == []


def test_a_damaged_blob_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    with serving({"/blob": [plain(b"content")]}) as served:
        fetcher = Fetcher(Client(), Cache(tmp_path / "cache"))
        wanted = _wanted(f"{served.url}/blob", b"content")
        fetcher.blobs([wanted])[0].write_bytes(b"damaged")
        (place,) = fetcher.blobs([wanted])

    assert place.read_bytes() == b"content"


def test_a_mirror_that_fails_is_followed_by_the_next(tmp_path: Path) -> None:
    with serving({"/good": [plain(b"content")]}) as served:
        wanted = Wanted(
            "thing", (f"{served.url}/gone", f"{served.url}/good"), hashlib.sha256(b"content").hexdigest(), 7
        )
        (place,) = Fetcher(Client(), Cache(tmp_path)).blobs([wanted])

    assert place.read_bytes() == b"content"


def test_everything_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    """Nobody should learn of the second missing file only after the first one is there."""
    wanted = [
        Wanted(f"thing {n}", (f"https://h.example/{n}",), hashlib.sha256(b"%d" % n).hexdigest(), 1) for n in range(3)
    ]

    with pytest.raises(UnreachableError) as caught:
        Fetcher(Client(offline=True), Cache(tmp_path)).blobs(wanted)

    assert [line.split("  ")[0] for line in caught.value.details] == ["thing 0", "thing 1", "thing 2"]


def test_several_that_cannot_be_had_are_named_together(tmp_path: Path) -> None:
    with serving({}) as served:
        wanted = [
            Wanted(f"thing {n}", (f"{served.url}/{n}",), hashlib.sha256(b"%d" % n).hexdigest(), 1) for n in range(2)
        ]
        with pytest.raises(UnreachableError) as caught:
            Fetcher(Client(), Cache(tmp_path)).blobs(wanted)

    assert len(caught.value.details) == 2


def test_httpx_is_imported_without_its_command_line() -> None:
    """The command line brings rich, and takes as long as all the rest: everybody who asks a registry would wait."""
    code = (
        "import sys; from envparity.network import Client; Client(attempts=1).get(sys.argv[1]); import httpx;"
        "print(sorted({'rich', 'pygments', 'httpx._main'} & set(sys.modules)), callable(httpx.main))"
    )
    with serving({"/": [plain(b"here")]}) as served:
        done = subprocess.run([sys.executable, "-c", code, served.url], capture_output=True, check=True, text=True)

    assert done.stdout == "[] True\n"


def test_a_part_of_a_file_is_exactly_what_was_asked_for() -> None:
    with serving({"/file": [Ranged(bytes(range(256)))]}) as served, Client() as client:
        part = client.part(f"{served.url}/file", 10, 200, size=256)

    assert part is not None
    assert (part.data, part.identity) == (bytes(range(10, 210)), '"one"')


@pytest.mark.parametrize("fault", sorted({*FAULTS} - {"cut", "other bytes"}))
def test_any_other_answer_is_no_part(fault: str) -> None:
    with serving({"/file": [Ranged(bytes(range(256)), fault)]}) as served, Client() as client:
        assert client.part(f"{served.url}/file", 10, 200, size=256) is None


def test_a_part_that_breaks_off_is_asked_for_again() -> None:
    broken, whole = Ranged(bytes(range(256)), "cut"), Ranged(bytes(range(256)))
    with serving({"/file": [broken, whole]}) as served, Client() as client:
        part = client.part(f"{served.url}/file", 0, 256, size=256)

    assert part is not None
    assert part.data == bytes(range(256))
    with serving({"/file": [broken]}) as served, Client() as client, pytest.raises(UnreachableError):
        client.part(f"{served.url}/file", 0, 256, size=256)
