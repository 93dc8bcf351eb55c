"""What is said about an image: the same from every builder, complete, and without what nobody should read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity import build, lockfile
from envparity.attached import kinds, provenance
from envparity.attached.about import About
from envparity.errors import UsageError
from envparity.fetch import Fetcher
from envparity.values import LockedCode, Options, Variable
from tests.test_build import lock_of, offline, wheel

SECRET = "s3cret-canary"


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    return offline(tmp_path / "cache")


def about(folder: Path, fetcher: Fetcher, written_at: datetime | None = None, **changes: Any) -> About:
    """A small image, built in this folder."""
    folder.mkdir(exist_ok=True)
    (folder / "model.joblib").write_bytes(b"a model")
    demo = wheel(folder, "demo", {"demo/__init__.py": b""}, fetcher)
    index = f"https://ada:{SECRET}@index.example/simple/"
    path = lock_of(folder, msgspec.structs.replace(demo, index=index))
    lock, data = lockfile.read(path)
    options = Options(env=(Variable("API_TOKEN", SECRET),), labels=(Variable("team", SECRET),), **changes)
    built = build.assemble(build.Request(path, options=options), fetcher=fetcher)
    return About(built.image, lock, data, path, built.plan, written_at)


def test_two_builders_say_the_same(tmp_path: Path, fetcher: Fetcher) -> None:
    first, second = (kinds.documents(kinds.KINDS, about(tmp_path / name, fetcher)) for name in ("one", "two"))

    assert first == second
    assert [document.title for document in first][:3] == ["sbom.cdx.json", "sbom.spdx.json", "provenance.intoto.json"]
    assert len({document.kind for document in first}) == len(first)


def test_no_secret_of_an_index_a_variable_or_a_label_is_said(tmp_path: Path, fetcher: Fetcher) -> None:
    """The lock and the snapshot are what they are; what is made here names a variable and never its value."""
    for document in kinds.documents(("sbom", "provenance"), about(tmp_path, fetcher)):
        assert SECRET.encode() not in document.data


def test_the_provenance_has_the_image_the_builder_and_everything_that_went_in(tmp_path: Path, fetcher: Fetcher) -> None:
    given = about(tmp_path, fetcher)
    (document,) = kinds.documents(("provenance",), given)
    said = json.loads(document.data)

    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://slsa.dev/provenance/v1"
    assert said["subject"] == [{"name": "pylock", "digest": {"sha256": given.image.digest.removeprefix("sha256:")}}]
    definition, details = said["predicate"]["buildDefinition"], said["predicate"]["runDetails"]
    assert definition["externalParameters"]["options"]["env"] == ["API_TOKEN"]
    assert definition["externalParameters"]["platform"] == "linux/amd64"
    names = {item["name"] for item in definition["resolvedDependencies"]}
    assert names == {given.lock.snapshot.name, "demo-1.0-py3-none-any.whl"}
    assert all(len(item["digest"]["sha256"]) == 64 for item in definition["resolvedDependencies"])
    assert details["builder"]["id"].startswith("pkg:pypi/envparity@")
    assert "metadata" not in details


def test_a_time_is_the_one_that_was_stated(tmp_path: Path, fetcher: Fetcher) -> None:
    stated = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    (document,) = kinds.documents(("provenance",), about(tmp_path, fetcher, stated))

    assert json.loads(document.data)["predicate"]["runDetails"]["metadata"]["startedOn"] == "2026-01-02T03:04:05Z"


def test_the_lock_and_the_snapshot_are_the_very_bytes(tmp_path: Path, fetcher: Fetcher) -> None:
    given = about(tmp_path, fetcher)
    lock, snapshot = kinds.documents(("lock", "snapshot"), given)

    assert lock.data == given.lock_path.read_bytes()
    assert hashlib.sha256(snapshot.data).hexdigest() == given.lock.snapshot.sha256


def test_kinds_are_named_by_words() -> None:
    assert kinds.chosen("lock,sbom") == ("sbom", "lock")
    assert kinds.chosen("all") == tuple(kinds.KINDS)
    assert kinds.chosen("none") == ()
    for text in ("", "sboms", "all,lock"):
        with pytest.raises(UsageError, match="nothing that can be attached"):
            kinds.chosen(text)


def test_the_provenance_has_the_code_by_its_commit_and_says_that_it_was_changed(
    tmp_path: Path, fetcher: Fetcher
) -> None:
    given = about(tmp_path, fetcher)
    code = LockedCode(url="https://git.example/team/tickets", commit="a1" * 20, dirty=True)
    lock = msgspec.structs.replace(given.lock, code=code)

    said = provenance.statement(dataclasses.replace(given, lock=lock))

    _, source, *_ = said["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source == {
        "name": "source",
        "uri": "git+https://git.example/team/tickets",
        "digest": {"gitCommit": "a1" * 20},
        "annotations": {"dirty": True},
    }
