"""The state of each distribution: what proves it, what refuses it, and that all of it is told at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity import lock
from envparity.cache import Cache
from envparity.errors import IntegrityError, RefusedError
from envparity.fetch import Fetcher
from envparity.image import wheels
from envparity.network import Client
from envparity.resolvers.indexes import Indexes
from envparity.values import Distribution, Origin, Proof
from tests.serving import FAULTS, Answer, Ranged, plain, serving
from tests.values import a_lock, training
from tests.wheels import JSON, pack

GONE = Distribution(name="gone", version="1.0", wheel_tags=("py3-none-any",))
"""It is on no index: a lock with it ends before anything is downloaded that is not needed to say so."""


@dataclass
class Index:
    """A local index: its wheels by file name, and how it serves each."""

    root: str = ""
    files: dict[str, Ranged] = field(default_factory=dict)


@contextmanager
def index_of(*made: Path, fault: str = "", served: bytes | None = None) -> Iterator[Index]:
    """It promises the bytes of these wheels, and serves others where they are named."""
    found = Index(files={path.name: Ranged(path.read_bytes() if served is None else served, fault) for path in made})
    answers: dict[str, list[Answer]] = {f"/files/{name}": [file] for name, file in found.files.items()}
    for path in made:
        data = path.read_bytes()
        listed = {"filename": path.name, "url": f"/files/{path.name}", "size": len(data),
                  "hashes": {"sha256": hashlib.sha256(data).hexdigest()}}  # fmt: skip
        name = path.name.partition("-")[0]
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": [listed]}
        answers[f"/simple/{name}/"] = [plain(json.dumps(page).encode(), content_type=JSON)]
    with serving(answers) as place:
        found.root = f"{place.url}/simple/"
        yield found


def installed(path: Path, **changes: Any) -> Distribution:
    """What a snapshot knows of a wheel that was installed."""
    name, version = path.name.split("-")[:2]
    known: dict[str, Any] = {"wheel_tags": ("py3-none-any",), "record_sha256": wheels.record_sha256(path), **changes}
    return Distribution(name=name, version=version, **known)


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    return pack(tmp_path, {"demo/__init__.py": b"answer = 42\n", "demo/data.bin": bytes(range(256)) * 1000})


def refused(tmp_path: Path, place: Index, *distributions: Distribution, **options: Any) -> dict[str, Proof]:
    """The states that a refused lock tells."""
    told: list[Sequence[Proof]] = []
    with Fetcher(Client(timeout_s=10.0), Cache(tmp_path / "cache")) as fetcher, pytest.raises(RefusedError):
        lock.recover(
            training(distributions=distributions, artifacts=None),
            fetcher=fetcher,
            workplace=tmp_path,
            asked=lock.Asked(indexes=Indexes.at(place.root), explain=told.append, **options),
        )
    (proofs,) = told
    return {item.name: item for item in proofs}


def test_a_wheel_is_proven_by_its_end_and_not_downloaded(demo: Path, tmp_path: Path) -> None:
    with index_of(demo) as place:
        told = refused(tmp_path, place, installed(demo), GONE, prove=True)

    assert {name: item.state for name, item in told.items()} == {"demo": "proven", "gone": "unmatched"}
    assert place.files[demo.name].wholes == 0
    assert place.files[demo.name].parts != []


def test_without_prove_nobody_asks_for_a_wheel_before_all_are_found(demo: Path, tmp_path: Path) -> None:
    with index_of(demo) as place:
        told = refused(tmp_path, place, installed(demo), GONE)

    assert told["demo"].state == "matched"
    assert "--prove" in told["demo"].remedy
    assert place.files[demo.name].parts == []


@pytest.mark.parametrize("fault", FAULTS)
def test_where_ranges_prove_nothing_the_whole_wheel_does(demo: Path, tmp_path: Path, fault: str) -> None:
    with index_of(demo, fault=fault) as place:
        told = refused(tmp_path, place, installed(demo), GONE, prove=True)

    assert told["demo"].state == "proven"
    assert place.files[demo.name].wholes == 1


def test_another_wheel_under_the_same_name_is_an_integrity_error_and_no_mere_mismatch(
    demo: Path, tmp_path: Path
) -> None:
    """Of the same size, and with a RECORD of its own that fits: only the sha256 that the index promised tells."""
    (tmp_path / "other").mkdir()
    other = pack(tmp_path / "other", {"demo/__init__.py": b"answer = 43\n", "demo/data.bin": bytes(range(256)) * 1000})

    environment = training(distributions=(installed(demo), GONE), artifacts=None)
    with (
        index_of(demo, served=other.read_bytes()) as place,
        Fetcher(Client(timeout_s=10.0), Cache(tmp_path / "cache")) as fetcher,
        pytest.raises(IntegrityError, match=demo.name),
    ):
        lock.recover(
            environment,
            fetcher=fetcher,
            workplace=tmp_path,
            asked=lock.Asked(indexes=Indexes.at(place.root), prove=True),
        )


def test_a_wheel_that_was_built_again_is_unmatched(demo: Path, tmp_path: Path) -> None:
    with index_of(demo) as place:
        told = refused(tmp_path, place, installed(demo, record_sha256="0" * 64), GONE, prove=True)

    assert {item.state for item in told.values()} == {"unmatched"}, "it is told together with what is gone"
    assert "not the ones that were installed" in told["demo"].reason
    assert told["demo"].command == (
        f"pip install --force-reinstall --no-deps --only-binary :all: --index-url {place.root} demo==1.0"
    )


def test_every_state_that_is_refused_is_told_at_once_with_what_settles_it(demo: Path, tmp_path: Path) -> None:
    changed = installed(demo, modified=tuple(f"demo/{number}.py" for number in range(7)), missing=("demo/x.py",))
    home = Distribution(name="home", version="0.1", editable=True, direct_url="file:///home/ada/it's home")
    fork = Distribution(name="fork", version="0.1", direct_url="git+https://ada:pw@git.example/fork@0123abc")
    with index_of(demo) as place:
        told = refused(tmp_path, place, changed, home, fork, GONE)

    assert [(item.name, item.state) for item in told.values()] == [
        ("demo", "modified"),
        ("gone", "unmatched"),
        ("fork", "local-build"),
        ("home", "local-build"),
    ]
    assert "8 of its files were changed after it was installed: `demo/0.py`, " in told["demo"].reason
    assert "and 3 more" in told["demo"].reason
    assert told["fork"].command == "pip wheel --no-deps --wheel-dir dist git+https://git.example/fork@0123abc"
    assert told["home"].command.endswith("""dist 'file:///home/ada/it'"'"'s home'"""), "it may be pasted as it is"
    assert all(item.remedy for item in told.values())
    assert "pw" not in str(told)


def test_what_has_no_record_is_matched_and_require_refuses_it(demo: Path, tmp_path: Path) -> None:
    with index_of(demo) as place:
        told = refused(tmp_path, place, installed(demo, record_sha256=None), require="proven", prove=True)

    assert told["demo"].state == "matched"
    assert place.files[demo.name].parts == [], "it is refused before anything is downloaded"
    assert "no RECORD" in told["demo"].remedy
    assert "demo==1.0" in told["demo"].command


def test_a_name_that_pip_would_take_for_an_option_makes_no_command(demo: Path, tmp_path: Path) -> None:
    """A snapshot may come from anybody, and its reader pastes what we print."""
    evil = Distribution(name="--index-url=http://evil", version="1.0", modified=("x.py",), wheel_tags=("py3-none-any",))
    home = Distribution(name="home", version="1.0", editable=True, location="--index-url=http://evil")
    with index_of(demo) as place:
        told = refused(tmp_path, place, evil, home)

    assert [item.command for item in told.values()] == ["", ""]


def test_the_summary_says_where_nobody_looked_whether_a_file_was_edited() -> None:
    """RECORD is the same, so the lock would bring the published file, and nobody would miss what was changed."""
    (demo,) = a_lock().distributions
    known = Distribution(name=demo.name, version=demo.version)
    looked = msgspec.structs.replace(known, modified=())

    def told(item: Distribution) -> str:
        environment = msgspec.structs.replace(training(distributions=(item,)), origin=Origin(kind="live"))
        return " ".join(" ".join(lock.summary(a_lock(), environment=environment)).split())

    assert "whether files of joblib were edited by hand; `snapshot --verify-files` tells" in told(known)
    assert "edited" not in told(looked)


def test_the_summary_names_what_is_not_proven() -> None:
    (demo,) = a_lock().distributions
    other = msgspec.structs.replace(demo, name="other", state="proven")
    locked = a_lock(distributions=(demo, other))

    (told,) = [line for line in lock.summary(locked) if "proven" in line]
    (many,) = [line for line in lock.summary(a_lock(distributions=(demo, other, demo))) if "proven" in line]

    assert told.startswith("  matched and not proven: joblib 1.4.2; --prove ")
    assert many.startswith("  matched and not proven: 2 distributions; --prove "), "two hundred lines would say no more"
