"""Networks that are gone, and indexes that answer badly. No test here asks anybody but the loopback."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.conftest import World, write_lock
from tests.commands import envparity, refused
from tests.serving import Answer, plain, serving
from tests.wheels import JSON


@pytest.fixture
def snapshot(world: World, tmp_path: Path) -> Path:
    """The snapshot, without what this machine's own Python adds: one distribution, `demo`, has to be found."""
    document = json.loads(world.snapshot.read_text())
    document["distributions"] = [item for item in document["distributions"] if item["name"] == "demo"]
    document["gaps"] = [item for item in document["gaps"] if item["kind"] != "unread"]
    del document["content_digest"]
    place = tmp_path / "demo.env.json"
    place.write_text(json.dumps(document))
    return place


@pytest.fixture
def closed() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def page(world: World, **changes: object) -> bytes:
    file = {
        "filename": world.wheel.name,
        "url": f"/files/{world.wheel.name}",
        "hashes": {"sha256": hashlib.sha256(world.wheel.read_bytes()).hexdigest()},
        "size": world.wheel.stat().st_size,
        **changes,
    }
    return json.dumps({"meta": {"api-version": "1.1"}, "name": "demo", "files": [file]}).encode()


def nothing_left(folder: Path) -> bool:
    return not [path for path in folder.rglob("*") if "pylock" in path.name or path.name.endswith(".part")]


def test_a_network_that_is_gone_is_named_with_the_way_out(snapshot: Path, closed: str, tmp_path: Path) -> None:
    """An index at which nobody listens; and a proxy that is gone, which is no reason to go around it."""
    cases = [
        (("--index", f"{closed}/simple/"), {}, "127.0.0.1"),
        ((), {"HTTPS_PROXY": closed}, "pypi.org"),
    ]

    def lock(case: tuple[tuple[str, ...], dict[str, str], str]) -> str:
        arguments, variables, host = case
        return refused("lock", snapshot, *arguments, status=3, says=host, cwd=tmp_path, **variables).stderr

    with ThreadPoolExecutor() as pool:  # each asks four times, and waits between
        for told in pool.map(lock, cases):
            assert "--offline" in told
            assert "HTTPS_PROXY" in told
    assert nothing_left(tmp_path)


def test_offline_asks_nobody(world: World, snapshot: Path, tmp_path: Path) -> None:
    refused("lock", snapshot, "--offline", status=3, says="--offline forbids", cwd=tmp_path)

    write_lock(tmp_path / "pylock.toml", world.wheel)
    empty = {"ENVPARITY_CACHE_DIR": str(tmp_path / "cache")}
    done = refused("build", "pylock.toml", "--output", "oci:image", "--offline", status=3, says="not in the cache",
                   cwd=tmp_path, **empty)  # fmt: skip
    assert world.wheel.name in done.stderr
    assert not (tmp_path / "image").exists()

    envparity("build", "pylock.toml", "--output", "oci:image", "--offline", cwd=tmp_path)


@pytest.mark.parametrize(
    ("answers", "status", "says"),
    [
        ([plain(b"oops", 500, retry_after="0")], 3, "500"),
        ([plain(b"", 403)], 3, "403"),
        ([plain(b"<html>log in</html>", content_type="text/html")], 4, "HTML"),
        ([plain(b'{"meta": ', content_type=JSON)], 4, "PEP 691"),
        ([plain(b'{"meta": {"api-version": "2.0"}, "name": "demo", "files": []}', content_type=JSON)], 2, "2.0"),
        ([plain(b"", 404)], 1, "cannot be locked"),
        ([plain(b'{"meta": {"api-version": "1.1"}, "name": "demo", "files": []}', content_type=JSON)], 1, "cannot"),
    ],
    ids=["500", "403", "html", "cut", "version", "404", "gone"],
)
def test_an_index_that_answers_badly_locks_nothing(
    answers: list[Answer], status: int, says: str, snapshot: Path, tmp_path: Path
) -> None:
    (tmp_path / "pylock.toml").write_text("the earlier one")
    with serving({"/simple/demo/": answers}) as served:
        refused("lock", snapshot, "--index", f"{served.url}/simple/", status=status, says=says, cwd=tmp_path)

    assert (tmp_path / "pylock.toml").read_text() == "the earlier one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo.env.json", "pylock.toml"]


def test_a_wheel_with_other_bytes_than_the_index_promises_is_refused_and_not_kept(
    world: World, snapshot: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    wrong = b"x" * world.wheel.stat().st_size
    answers = {
        "/simple/demo/": [plain(page(world), content_type=JSON)],
        f"/files/{world.wheel.name}": [plain(wrong)],
    }
    with serving(answers) as served:
        asked = ("lock", snapshot, "--prove", "--index", f"{served.url}/simple/")
        done = refused(*asked, status=5, says="promised content", cwd=tmp_path, ENVPARITY_CACHE_DIR=str(cache))

    assert hashlib.sha256(wrong).hexdigest() in done.stderr
    assert nothing_left(tmp_path)
    assert not [path for path in cache.rglob("*") if path.is_file() and path.read_bytes() == wrong]


def test_a_wheel_that_is_gone_or_was_replaced_builds_nothing(world: World, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for answer, status, says in ((plain(b"", 404), 3, "404"), (plain(b"another wheel"), 5, "demo-1.0")):
        with serving({f"/{world.wheel.name}": [answer]}) as served:
            write_lock(tmp_path / "pylock.toml", world.wheel, f"{served.url}/")
            done = refused("build", "pylock.toml", "--output", "oci:image", status=status, says=says,
                           cwd=tmp_path, ENVPARITY_CACHE_DIR=str(cache))  # fmt: skip
        number = next(
            number
            for number, line in enumerate((tmp_path / "pylock.toml").read_text().splitlines(), start=1)
            if hashlib.sha256(world.wheel.read_bytes()).hexdigest() in line
        )
        assert f"line {number} of the lock" in done.stderr
        assert world.wheel.name in done.stderr

    assert not (tmp_path / "image").exists()


def test_a_damaged_file_in_the_cache_is_fetched_again(world: World, tmp_path: Path) -> None:
    cache = world.copy(world.cache, tmp_path)
    digest = hashlib.sha256(world.wheel.read_bytes()).hexdigest()
    kept = cache / "blobs" / "sha256" / digest[:2] / digest
    kept.write_bytes(b"damaged")
    shutil.rmtree(cache / "notes")  # else the wheel's layer is known, and nobody reads the wheel
    with serving({f"/{world.wheel.name}": [plain(world.wheel.read_bytes())]}) as served:
        write_lock(tmp_path / "pylock.toml", world.wheel, f"{served.url}/")
        envparity("build", "pylock.toml", "--output", "oci:image", cwd=tmp_path, ENVPARITY_CACHE_DIR=str(cache))

    assert kept.read_bytes() == world.wheel.read_bytes()
