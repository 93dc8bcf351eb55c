"""Which bytes go in which layer: pure, within a budget, and so that a changed pin rewrites one small layer."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from envparity.image.explained import explained
from envparity.image.plan import LARGE_BYTES, MOST_LAYERS, MOST_MODELS, plan
from envparity.oci.pack import PackedLayer
from envparity.values import Lock, LockedCondaPackage, LockedDistribution, LockedModel, LockedWheel, Options, Plan, Step
from tests.values import a_lock
from tests.wheels import pack


def distribution(name: str, size_bytes: int = 1000, version: str = "1.0", data: bytes = b"") -> LockedDistribution:
    digest = hashlib.sha256(data or f"{name} {version}".encode()).hexdigest()
    wheel = LockedWheel(name=f"{name}-{version}-py3-none-any.whl", size_bytes=size_bytes, sha256=digest)
    return LockedDistribution(name=name, version=version, wheels=(wheel,), state="matched")


def lock_of(*distributions: LockedDistribution) -> Lock:
    return a_lock(distributions=distributions)


def planned(lock: Lock, options: Options | None = None) -> Plan:
    return plan(lock, lock.targets[0], options or Options(), "0" * 64)


def wheels(decided: Plan) -> set[tuple[str, ...]]:
    return {layer.inputs for layer in decided.layers if layer.step is Step.WHEELS}


sizes = st.lists(st.integers(1, 3 * LARGE_BYTES), max_size=60)


def models_of(counts: list[int], changed: int = -1) -> tuple[LockedModel, ...]:
    """Models of these sizes; the changed one has other bytes, and no other size."""
    return tuple(
        LockedModel(
            name=f"m{number}",
            size_bytes=size,
            sha256=hashlib.sha256(b"%d %d" % (number, number == changed)).hexdigest(),
        )
        for number, size in enumerate(counts)
    )


def of_models(counts: list[int], changed: int = -1) -> set[tuple[str, ...]]:
    decided = planned(lock_of(), Options(models=models_of(counts, changed)))
    return {layer.inputs for layer in decided.layers if layer.step is Step.MODEL}


many = st.lists(st.integers(1, 1 << 40), min_size=MOST_MODELS + 1, max_size=400)


@given(many, st.randoms(use_true_random=False))
def test_of_hundreds_of_models_one_that_changes_rewrites_one_layer_and_one_more_moves_no_small_one(
    counts: list[int], random: object
) -> None:
    """A team ships a model a shop: each night one of them is trained anew."""
    before = of_models(counts)
    after = of_models(counts, random.randrange(len(counts)))  # type: ignore[attr-defined]

    assert len(before) <= MOST_MODELS
    assert len(before - after) == len(after - before) == 1
    assert len(before - of_models([*counts, 1])) <= 1


def test_small_models_are_grouped_alone_and_a_large_one_beside_them_moves_none() -> None:
    small = of_models([10] * 300)
    assert len(small) == 6
    assert len(small - of_models([10] * 300 + [LARGE_BYTES])) == 0


@given(sizes, st.integers(0, 20), st.booleans())
def test_a_plan_keeps_its_budget_and_holds_every_wheel_once(counts: list[int], models: int, app: bool) -> None:
    lock = lock_of(*(distribution(f"d{number}", size) for number, size in enumerate(counts)))
    decided = planned(lock, Options(models=models_of([1] * models), app="0" * 64 if app else None, serve="fastapi"))

    held = [digest for layer in decided.layers if layer.step is Step.WHEELS for digest in layer.inputs[2:]]
    assert len(decided.layers) - 1 <= MOST_LAYERS
    assert sorted(held) == sorted(item.wheel.sha256 for item in lock.distributions)


def conda_package(number: int, size_bytes: int) -> LockedCondaPackage:
    said = {
        "version": "1",
        "build": "0",
        "channel": "x",
        "subdir": "noarch",
        "file_name": f"c{number}.conda",
        "url": "x",
    }
    digest = hashlib.sha256(b"c%d" % number).hexdigest()
    return LockedCondaPackage(name=f"c{number}", size_bytes=size_bytes, sha256=digest, state="proven", **said)


@given(sizes, sizes, st.integers(0, 20))
def test_a_conda_environment_keeps_the_budget_too(counts: list[int], conda: list[int], models: int) -> None:
    lock = lock_of(*(distribution(f"d{number}", size) for number, size in enumerate(counts)))
    packages = tuple(conda_package(number, size) for number, size in enumerate(conda))
    target = msgspec.structs.replace(lock.targets[0], conda_packages=packages)
    options = Options(app="0" * 64, serve="fastapi", models=models_of([1] * models))
    decided = plan(lock, target, options, "0" * 64)

    held = [digest for layer in decided.layers if layer.step is Step.CONDA for digest in layer.inputs[2::2]]
    assert len(decided.layers) - 1 <= MOST_LAYERS
    assert sorted(held) == sorted(item.sha256 for item in packages)


@given(sizes.filter(len), st.randoms(use_true_random=False))
def test_a_pin_that_changes_rewrites_one_layer_of_wheels(counts: list[int], random: object) -> None:
    """What an engine pulls and a registry keeps for a change of one small pin is that pin's group."""
    items = [distribution(f"d{number}", size) for number, size in enumerate(counts)]
    changed = random.randrange(len(items))  # type: ignore[attr-defined]
    moved = [*items]
    moved[changed] = distribution(items[changed].name, counts[changed], version="1.1")

    before, after = wheels(planned(lock_of(*items))), wheels(planned(lock_of(*moved)))

    assert len(before - after) == len(after - before) == 1


@given(st.lists(st.integers(1, LARGE_BYTES - 1), min_size=1, max_size=60))
def test_one_small_wheel_more_moves_no_other(counts: list[int]) -> None:
    """Two images of a team that differ by one requirement share all other layers."""
    items = [distribution(f"d{number}", size) for number, size in enumerate(counts)]

    before, after = wheels(planned(lock_of(*items))), wheels(planned(lock_of(*items, distribution("one-more"))))

    assert len(after - before) == 1
    assert len(before - after) <= 1


def test_the_order_in_which_a_lock_names_its_distributions_decides_nothing() -> None:
    items = [distribution(name, LARGE_BYTES * number) for number, name in enumerate("abcdefgh")]

    assert planned(lock_of(*items)) == planned(lock_of(*reversed(items)))


def test_a_plan_is_told_with_what_is_known_and_no_more(tmp_path: Path) -> None:
    """A size that nobody looked up is no zero; one that is of the files before packing does not pass for the blob's."""
    wheel = pack(
        tmp_path,
        {"demo/__init__.py": b"x" * 300, "demo/tests/test_demo.py": b"y" * 700, "demo/lib.a": b"!<arch>\n".ljust(50)},
        file_name="demo-1.0-py3-none-any.whl",
    )
    data = wheel.read_bytes()
    demo = distribution("demo", len(data), data=data)
    large = distribution("large", LARGE_BYTES)
    lock = lock_of(demo, large)
    model = LockedModel(name="m", size_bytes=9, sha256="0" * 64)
    places = {demo.wheel.sha256: wheel}
    made = PackedLayer("", "", 123, "", 456)

    told = explained(
        planned(lock, Options(models=(model,))),
        lock,
        lock.targets[0],
        lambda layer: made if layer.step is Step.BASE else None,
        lambda layer: "none" if layer.step is Step.MODEL else "gzip",
        places.get,
        lambda item: None,
    )

    by_title = {layer.title: layer for layer in told.layers}
    base = told.layers[0]
    assert (base.made, base.packed_bytes, base.unpacked_bytes) == (True, 123, 456)
    assert (by_title["m"].packed_bytes, by_title["m"].unpacked_bytes) == (9, 9)
    assert (by_title["large 1.0"].packed_bytes, by_title["large 1.0"].unpacked_bytes) == (LARGE_BYTES, None)
    assert by_title["m"].codec == "none"
    assert by_title["large 1.0"].why == "large: alone"
    assert by_title["demo 1.0"].why == "grouped by name"
    assert by_title["demo 1.0"].packed_bytes == len(data)
    assert (by_title["demo 1.0"].unpacked_bytes or 0) > 1050
    assert dict(told.unserved) == {"tests": 700, "docs": 0, "static": 50, "debug": 0}
    assert told.unseen == 1
    assert msgspec.json.decode(msgspec.json.encode(told), type=type(told)) == told
