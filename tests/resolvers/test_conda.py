"""Channels of conda that want a login, or serve what they do not promise."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity.cache import Cache
from envparity.errors import EnvparityError, IntegrityError, UnreachableError
from envparity.fetch import Fetcher
from envparity.image.supply import conda_wanted
from envparity.network import Client
from envparity.resolvers import conda
from envparity.resolvers.logins import Logins
from envparity.resolvers.problems import Problem
from envparity.values import CondaPackage, LockedCondaPackage
from tests.condas import package
from tests.indexes import BASIC, SECRET, USER
from tests.serving import Answer, plain, serving

TOKEN = "tk-0canary-1"


@dataclass
class Channel:
    """Where it is as a lock has it, and what it was asked with."""

    url: str
    paths: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    @property
    def package(self) -> CondaPackage:
        return CondaPackage(
            name="demo",
            version="1.0",
            build="h1_0",
            channel=self.url,
            subdir="noarch",
            url=f"{self.url}/noarch/demo-1.0-h1_0.conda",
        )


@contextmanager
def a_channel(folder: Path, *, token: str = "", password: bool = False, damage: bytes = b"") -> Iterator[Channel]:
    """A channel of one package, for whoever has the token or the password; `damage` is appended to the file."""
    index: Any = pytest.importorskip("rattler.index", reason="py-rattler is not installed")
    package(folder / "noarch", "demo", "1.0")
    asyncio.run(index.index_fs(folder))

    def answer(body: bytes) -> Answer:
        def checked(request: BaseHTTPRequestHandler) -> None:
            channel.paths.append(request.path)
            channel.logins.append(request.headers.get("authorization", ""))
            if password and channel.logins[-1] != BASIC:
                return plain(b"no", 401, www_authenticate='Basic realm="x"')(request)
            return plain(body)(request)

        return checked

    root = f"/t/{token}/main" if token else "/main"
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    answers = {f"{root}/{name}": [answer(data + (damage if ".conda" in name else b""))] for name, data in files.items()}
    with serving(answers) as served:
        channel = Channel(f"{served.url}/main")
        yield channel


def locked(channel: Channel, workplace: Path, environ: dict[str, str]) -> LockedCondaPackage:
    """What the channel says of the package, and its file fetched, as `lock` and `build` do."""
    logins = Logins({"HOME": str(workplace), **environ})
    (found,) = conda.locked([channel.package], conda.channels([channel.package], workplace / "rattler", logins))
    assert not isinstance(found, Problem), found
    with Fetcher(Client(attempts=1, timeout_s=10.0, logins=logins), Cache(workplace / "cache")) as fetcher:
        fetcher.blobs([conda_wanted(found)])
    return found


def test_the_token_of_a_channel_goes_into_its_path_and_into_no_lock(tmp_path: Path) -> None:
    with a_channel(tmp_path / "channel", token=TOKEN) as channel:
        address = channel.url.replace("/main", f"/t/{TOKEN}/main")
        found = locked(channel, tmp_path, {"ENVPARITY_CHANNEL_CORP_URL": f"{address}/"})

        assert found.url == f"{channel.url}/noarch/demo-1.0-h1_0.conda"
        assert TOKEN not in repr(found)
        assert {path.split("/")[2] for path in channel.paths} == {TOKEN}


def test_a_package_whose_own_address_has_the_token_is_found_by_the_channel_without_it(tmp_path: Path) -> None:
    """As conda records it; the snapshot has taken the token out."""
    with a_channel(tmp_path / "channel", token=TOKEN) as channel:
        place = channel.url.replace("/main", "/t/***/main")
        known = CondaPackage(name="demo", subdir="noarch", url=f"{place}/noarch/demo-1.0-h1_0.conda", channel=place)

        assert conda.channel_of(known) == channel.url


@pytest.mark.parametrize("how", ["variables", "address", "netrc"])
def test_a_password_comes_from_where_those_of_indexes_do(tmp_path: Path, how: str) -> None:
    with a_channel(tmp_path / "channel", password=True) as channel:
        environ = {
            "variables": {
                "ENVPARITY_CHANNEL_CORP_URL": channel.url,
                "ENVPARITY_CHANNEL_CORP_USERNAME": USER,
                "ENVPARITY_CHANNEL_CORP_PASSWORD": SECRET,
            },
            "address": {"ENVPARITY_CHANNEL_CORP_URL": channel.url.replace("//", f"//{USER}:{SECRET}@")},
            "netrc": {},
        }[how]
        if how == "netrc":
            (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login {USER} password {SECRET}\n")
        found = locked(channel, tmp_path, environ)

        assert set(channel.logins) == {BASIC}
        assert SECRET not in repr(found)


def test_the_keyring_is_asked_once_a_channel_has_refused(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "keyring"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{json.dumps({'username': USER, 'password': SECRET})}'\n")
    program.chmod(0o755)
    try:
        importlib.import_module("keyring")
    except ImportError:
        pass
    else:
        pytest.skip("the keyring's library is installed here, and is asked before its program")
    with a_channel(tmp_path / "channel", password=True) as channel:
        locked(channel, tmp_path, {"PATH": f"{program.parent}:/usr/bin:/bin"})

        assert {"", BASIC} == set(channel.logins)


def test_a_channel_that_refuses_says_what_to_set_and_no_secret(tmp_path: Path) -> None:
    with a_channel(tmp_path / "channel", token=TOKEN) as channel:
        wrong = channel.url.replace("/main", "/t/tk-wrong-canary/main")
        with pytest.raises(UnreachableError) as caught:
            locked(channel, tmp_path, {"ENVPARITY_CHANNEL_CORP_URL": wrong})

    told = f"{caught.value} {caught.value.hint} {caught.value.details}"
    assert "ENVPARITY_CHANNEL_NAME_URL" in told
    assert f"{channel.url}/noarch" in told
    assert "canary" not in told


def test_a_token_goes_to_its_own_channel_alone() -> None:
    logins = Logins({"ENVPARITY_CHANNEL_CORP_URL": "https://conda.example/t/tk-1/main"})

    assert (
        logins.placed("https://conda.example/main/noarch/x.conda") == "https://conda.example/t/tk-1/main/noarch/x.conda"
    )
    for other in (
        "https://conda.example/mainly/noarch/x.conda",
        "https://conda.example/other/noarch/x.conda",
        "https://other.example/main/noarch/x.conda",
        "https://conda.example:8443/main/noarch/x.conda",
        "http://conda.example/main/noarch/x.conda",
    ):
        assert logins.placed(other) == other


def test_a_token_never_travels_in_the_clear() -> None:
    logins = Logins({"ENVPARITY_CHANNEL_CORP_URL": "http://conda.example/t/tk-1/main"})

    assert logins.placed("http://conda.example/main/noarch/x.conda") == "http://conda.example/main/noarch/x.conda"


@pytest.mark.parametrize("damage", [b"x", b"x" * 5000])
def test_a_file_that_is_not_what_its_channel_promises_is_an_integrity_error(tmp_path: Path, damage: bytes) -> None:
    """Size and sha256 are those of the channel's own list, and nothing of the file is kept."""
    with a_channel(tmp_path / "channel", damage=damage) as channel, pytest.raises(IntegrityError):
        locked(channel, tmp_path, {})

    assert not list((tmp_path / "cache").rglob("*.conda"))


def test_a_package_that_the_channel_lists_with_another_digest_is_an_integrity_error(tmp_path: Path) -> None:
    with a_channel(tmp_path / "channel") as channel:
        served = conda.channels([channel.package], tmp_path / "rattler", Logins({}))
        installed = msgspec.structs.replace(channel.package, sha256="ab" * 32)
        with pytest.raises(EnvparityError) as caught:
            conda.locked([installed], served)

    assert caught.value.status == 5
