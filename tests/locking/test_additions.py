"""What goes beside the training environment, and what is moved in it on purpose: by uv, from small wheels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity.cache import Cache
from envparity.errors import RefusedError, UnreachableError, UsageError
from envparity.fetch import Fetcher
from envparity.locking import additions
from envparity.locking.asked import Asked
from envparity.locking.server import with_server
from envparity.locking.wheels import Wheels
from envparity.network import Client
from envparity.resolvers import states
from envparity.resolvers.for_place import Place
from envparity.resolvers.indexes import Indexes, indexes
from envparity.resolvers.resolve import ConflictError
from envparity.values import Added, Distribution, LockedModel
from tests.indexes import SECRET, USER, private_index
from tests.small_indexes import small_index, wheel
from tests.tools import needs_uv
from tests.values import a_lock, training

PLACE = Place("3.11.7", "x86_64", "2.36", "debian:bookworm")
TRAINED = (
    Distribution(name="model", version="1.0", requires=("sums<2", "tool>=1; extra == 'plots'")),
    Distribution(name="sums", version="1.0"),
    Distribution(name="helper", version="1.0", requires=("sums",)),
)
WHEELS = {
    "model 1.0": ["sums<2"],
    "model 2.0": ["sums>=2"],
    "sums 1.0": [],
    "sums 1.5": [],
    "sums 2.0": [],
    "helper 1.0": ["sums"],
    "helper 2.0": ["sums>=1.5", "web-core"],
    "web 1.0": ["web-core>=1", "sums"],
    "web-core 1.0": [],
}


def asked(root: str, add: Sequence[str] = (), update: Sequence[str] = ()) -> Asked:
    environ = {**os.environ, "PATH": str(Path(needs_uv()).parent)}
    return Asked(added=tuple(add), updated=tuple(update), indexes=Indexes.at(root), environ=environ)


def plan(add: Sequence[str] = (), update: Sequence[str] = ()) -> additions.Plan:
    with small_index(WHEELS) as index:
        return additions.planned(TRAINED, PLACE, {}, asked=asked(index.root, add, update))


def versions(found: additions.Plan) -> dict[str, str]:
    return {pin.name: pin.version for pin in found.pins}


def refused(**options: Any) -> ConflictError:
    with pytest.raises(ConflictError) as caught:
        plan(**options)
    return caught.value


def test_what_is_added_comes_with_what_it_needs_and_who_asked_for_it() -> None:
    found = plan(["web"])

    assert versions(found) == {"web": "1.0", "web-core": "1.0"}
    assert found.asked == {"web": Added(asked_by=("web",)), "web-core": Added(asked_by=("web",))}


def test_what_is_there_already_adds_nothing() -> None:
    assert versions(plan(["sums>=1"])) == {}


def test_a_pin_is_moved_as_far_as_what_stays_allows() -> None:
    found = plan(update=["sums"])

    assert versions(found) == {"sums": "1.5"}
    assert found.asked["sums"].before == "1.0"


def test_a_version_that_something_which_stays_does_not_take_is_refused_with_its_chain() -> None:
    error = refused(update=["sums==2.0"])

    assert error.details == ("model 1.0 requires sums <2, and 2.0 was asked for",)
    assert "--update model" in error.hint


@pytest.mark.parametrize(
    ("limit", "update", "held"),
    [
        ("sums>=1", "sums", False),
        ("sums>=1", "sums>1", False),
        ("sums<2", "sums", True),
        ("sums!=3.0", "sums", True),
        ("sums>=1", "sums<1", True),
    ],
)
def test_only_what_can_hold_a_version_is_said_to_hold_it(limit: str, update: str, held: bool) -> None:
    """Of what is the newest already, a reader who is told that `>=1` holds it goes and moves the wrong one."""
    trained = (Distribution(name="model", version="1.0", requires=(limit,)), Distribution(name="sums", version="1.0"))
    with small_index({"model 1.0": [limit], "sums 1.0": []}) as index, pytest.raises(ConflictError) as caught:
        additions.planned(trained, PLACE, {}, asked=asked(index.root, (), [update]))

    assert any("sums 1.0 is held: model 1.0 requires" in line for line in caught.value.details) == held


def test_what_a_move_forces_is_refused_until_it_is_named_too() -> None:
    error = refused(update=["model==2.0"])
    (line,) = error.details

    assert line == "sums 1.0 would move: model >=2.0 requires sums >=2"
    assert "--update sums" in error.hint
    assert versions(plan(update=["model==2.0", "sums"])) == {"model": "2.0", "sums": "2.0"}


def test_what_a_moved_one_newly_needs_is_added() -> None:
    found = plan(update=["helper", "sums"])

    assert versions(found) == {"helper": "2.0", "sums": "1.5", "web-core": "1.0"}
    assert found.asked["web-core"] == Added(asked_by=("helper>1.0",))


@pytest.mark.parametrize(
    "text", ["nowhere", "web", "sums; python_version > '3'", "sums @ https://x.example/s.whl", "-r x"]
)
def test_what_cannot_be_moved_is_said_before_anything_is_asked(text: str) -> None:
    with pytest.raises(UsageError):
        additions.planned(TRAINED, PLACE, {}, asked=asked("http://127.0.0.1:9/simple/", update=[text]))


def test_what_is_added_has_a_state_of_its_own_and_passes_any_requirement(tmp_path: Path) -> None:
    """It did not train the model, so that there is nothing to prove of it."""
    with small_index(WHEELS) as index, Fetcher(Client(timeout_s=10.0), Cache(tmp_path)) as fetcher:
        wanted = asked(index.root, ["web"], ["sums"])
        found = additions.planned(TRAINED, PLACE, {}, asked=wanted)
        nothing = Wheels(distributions=(), sonames=frozenset(), floors={}, made={})
        wheels = additions.joined(nothing, found, PLACE, asked=wanted, fetcher=fetcher, artifacts=())
    proofs = states.proofs(wheels.distributions)

    assert {item.name: item.state for item in proofs} == {"sums": "updated", "web": "added", "web-core": "added"}
    assert "asked for by web" in next(item.reason for item in proofs if item.name == "web-core")
    assert {item.name: item.import_names for item in wheels.distributions}["web-core"] == ("web_core",)
    states.require(proofs, "proven")


def test_the_library_of_the_training_is_not_added_under_another_name(tmp_path: Path) -> None:
    """Both write the same files, so which one serves would be chance: that is said before an image is tried."""
    wheels = {"runtime 1.0": ["xgboost"], "xgboost 3.0": []}
    trained = msgspec.structs.replace(
        a_lock().distributions[0], name="xgboost-cpu", version="3.0", import_names=("xgboost",)
    )
    before = Wheels(distributions=(trained,), sonames=frozenset(), floors={}, made={})
    with small_index(wheels) as index, Fetcher(Client(timeout_s=10.0), Cache(tmp_path)) as fetcher:
        wanted = asked(index.root, ["runtime"])
        found = additions.planned([Distribution(name="xgboost-cpu", version="3.0")], PLACE, {}, asked=wanted)
        with pytest.raises(RefusedError) as caught:
            additions.joined(before, found, PLACE, asked=wanted, fetcher=fetcher, artifacts=())

    assert caught.value.details == ("xgboost 3.0 (for runtime) and xgboost-cpu 3.0: both are `xgboost`",)


def test_a_server_is_added_as_what_it_needs_and_never_as_one_of_years_ago() -> None:
    """A resolver would take any old release before it says that there is a conflict."""
    model = LockedModel(name="m.joblib", size_bytes=1, sha256="a" * 64)

    fresh = with_server(Asked(serve="mlserver", added=("tini",)), [model], ())
    there = with_server(Asked(serve="fastapi"), [model], {"fastapi"})

    assert fresh.added == ("tini", "mlserver>=1.7", "mlserver-sklearn>=1.7")
    assert there.added == ("fastapi", "uvicorn>=0.22")
    assert with_server(Asked(), [model], ()).added == ()


def test_what_was_yanked_is_not_added(tmp_path: Path) -> None:
    with (
        small_index(WHEELS, web={"yanked": "broken"}) as index,
        Fetcher(Client(timeout_s=10.0), Cache(tmp_path)),
        pytest.raises(RefusedError),
    ):
        additions.planned(TRAINED, PLACE, {}, asked=asked(index.root, ["web"]))


def test_the_environment_as_it_was_moved_differs_in_that_alone() -> None:
    environment = training()
    locked = additions.moved(environment, [])

    assert locked == environment


def test_a_resolver_gets_the_login_of_a_private_index_and_no_message_does(tmp_path: Path) -> None:
    made = wheel(tmp_path, "web", "1.0")
    with private_index(made) as index:
        environ = {"ENVPARITY_INDEX_CORP_USERNAME": USER, "ENVPARITY_INDEX_CORP_PASSWORD": SECRET}
        wanted = Asked(
            added=("web",),
            indexes=indexes(["corp=" + index.root]),
            environ={**os.environ, **environ, "PATH": str(Path(needs_uv()).parent)},
        )
        corp = Indexes((wanted.indexes.order[-1],))
        wanted = replace(wanted, indexes=corp)
        found = additions.planned(TRAINED, PLACE, {}, asked=wanted)
        with pytest.raises((ConflictError, UnreachableError)) as caught:
            additions.planned(TRAINED, PLACE, {}, asked=replace(wanted, added=("web>=9", "nothing-of-it")))

    assert versions(found) == {"web": "1.0"}
    told = f"{caught.value} {caught.value.hint} {caught.value.details}"
    assert SECRET not in told
    assert USER not in told
