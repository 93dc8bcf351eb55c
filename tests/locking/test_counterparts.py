"""The same versions for another platform: what is taken, what is not needed there, and what is refused, all at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity import closure
from envparity.cache import Cache
from envparity.errors import RefusedError
from envparity.fetch import Fetcher
from envparity.locking import counterparts
from envparity.locking.asked import Asked
from envparity.locking.targets import Goal
from envparity.network import Client
from envparity.resolvers.for_place import Place
from envparity.resolvers.indexes import indexes
from envparity.values import Distribution, Environment, LockedDistribution, System
from tests.serving import Answer, plain, serving
from tests.values import training
from tests.wheels import JSON

AMD64 = "cp311-cp311-manylinux_2_17_x86_64"
LINUX = System(os="linux", machine="x86_64", libc="glibc", libc_version="2.36")
WINDOWS = System(os="windows", machine="AMD64")


@contextmanager
def serving_files(*names: str, yanked: str = "") -> Iterator[str]:
    """An index that lists these files; none of them is ever fetched."""
    pages: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        listed = {"filename": name, "url": f"/files/{name}", "size": 9, "yanked": name == yanked,
                  "hashes": {"sha256": hashlib.sha256(name.encode()).hexdigest()}}  # fmt: skip
        pages.setdefault(name.partition("-")[0], []).append(listed)
    answers: dict[str, list[Answer]] = {
        f"/simple/{project}/": [
            plain(
                json.dumps({"meta": {"api-version": "1.1"}, "name": project, "files": files}).encode(),
                content_type=JSON,
            )
        ]
        for project, files in pages.items()
    }
    with serving(answers) as place:
        yield f"{place.url}/simple/"


def a_goal(machine: str = "aarch64", glibc: str = "2.36", **system: str) -> Goal:
    python = training().python
    assert python is not None
    place = Place("3.11.2", machine, glibc, "debian:bookworm")
    markers = closure.marker_environment(python, msgspec.structs.replace(LINUX, machine=machine, **system))
    platform = {"aarch64": "linux/arm64", "x86_64": "linux/amd64"}[machine]
    return Goal(platform, place, python, markers, None, False, ())


def native(name: str, version: str = "1.0", **more: Any) -> Distribution:
    return Distribution(name=name, version=version, wheel_tags=(AMD64,), **more)


def pure(name: str, *requires: str, **more: Any) -> Distribution:
    return Distribution(name=name, version="1.0", wheel_tags=("py3-none-any",), requires=requires, **more)


def markers_of(system: System) -> dict[str, str]:
    python = training().python
    assert python is not None
    return closure.marker_environment(python, system)


def divided(*chosen: Distribution, goal: Goal | None = None, system: System = LINUX) -> counterparts.Divided:
    (found,) = counterparts.divided(chosen, [goal or a_goal()], markers_of(system))
    return found


def found(
    tmp_path: Path, root: str, *chosen: Distribution, goal: Goal | None = None, **asked: Any
) -> tuple[LockedDistribution, ...]:
    each = divided(*chosen, goal=goal)
    with Fetcher(Client(timeout_s=10.0), Cache(tmp_path / "cache")) as fetcher:
        answers = counterparts.found([each], asked=Asked(indexes=indexes((root,)), **asked), fetcher=fetcher)
    return answers[each.goal.platform]


def test_what_is_pure_is_the_very_file_and_what_is_native_a_counterpart() -> None:
    each = divided(pure("a"), native("b"))

    assert [item.name for item in each.exact] == ["a"]
    assert [item.name for item in each.other] == ["b"]


def test_a_wheel_of_musl_or_of_a_newer_glibc_is_never_taken(tmp_path: Path) -> None:
    tags = ("musllinux_1_2_aarch64", "manylinux_2_39_aarch64", "manylinux_2_28_aarch64", "macosx_11_0_arm64")
    with serving_files(*(f"b-1.0-cp311-cp311-{tag}.whl" for tag in tags)) as root:
        (item,) = found(tmp_path, root, native("b", import_names=("b",)))

    assert item.wheel.name == "b-1.0-cp311-cp311-manylinux_2_28_aarch64.whl"
    assert (item.state, item.import_names) == ("counterpart", ("b",))


def test_what_a_processor_does_not_need_is_left_out_of_it_by_the_metadata_of_what_requires_it() -> None:
    """Refusing an arm64 lock because of a library that only x86_64 uses would help nobody."""
    app = pure("app", 'mkl ; platform_machine == "x86_64"', "b")
    each = divided(app, native("mkl"), native("b"))

    assert {item.name for item in (*each.exact, *each.other)} == {"app", "b"}
    assert [(item.name, item.reason) for item in each.left_out] == [
        ("mkl", "nothing that is locked requires it on linux/arm64")
    ]


def test_what_somebody_asked_for_by_name_stays_whatever_requires_it() -> None:
    app = pure("app", 'mkl ; platform_machine == "x86_64"')
    each = divided(app, pure("mkl", requested=True, installer="pip"))

    assert {item.name for item in each.exact} == {"app", "mkl"}


def test_distributions_that_require_each_other_stay_too() -> None:
    each = divided(pure("a", "b"), pure("b", "a"))

    assert {item.name for item in each.exact} == {"a", "b"}


def test_what_only_windows_needs_is_left_out_on_linux() -> None:
    each = divided(
        pure("click", 'colorama ; sys_platform == "win32"'),
        pure("colorama"),
        goal=a_goal("x86_64"),
        system=WINDOWS,
    )

    assert [item.name for item in each.left_out] == ["colorama"]


def test_what_is_required_there_and_was_not_here_is_refused_with_what_requires_it() -> None:
    """Any version of it would be a guess: none trained the model."""
    chosen = [pure("a", 'x>=1 ; sys_platform == "linux"'), pure("b", 'y ; sys_platform == "linux"')]

    with pytest.raises(RefusedError) as caught:
        divided(*chosen, goal=a_goal("x86_64"), system=WINDOWS)

    assert caught.value.details == ("a 1.0 requires x>=1 on linux/amd64", "b 1.0 requires y on linux/amd64")
    assert "--add" in caught.value.hint


def test_what_is_added_answers_what_was_not_there() -> None:
    chosen = [pure("a", 'x>=1 ; sys_platform == "linux"')]

    (each,) = counterparts.divided(chosen, [a_goal("x86_64")], markers_of(WINDOWS), ["x"])

    assert [item.name for item in each.exact] == ["a"]


def test_all_that_has_no_wheel_is_refused_at_once_with_the_nearest_versions_that_have_one(tmp_path: Path) -> None:
    """And never substituted: a version that did not train the model is for a person to choose."""
    files = [
        f"b-{version}-cp311-cp311-manylinux_2_17_aarch64.whl" for version in ("0.8", "0.9", "1.2", "1.3", "1.1rc1")
    ]
    gone = "b-1.1-cp311-cp311-manylinux_2_17_aarch64.whl"
    with (
        serving_files(*files, gone, f"b-1.0-{AMD64}.whl", f"c-1.0-{AMD64}.whl", yanked=gone) as root,
        pytest.raises(RefusedError) as caught,
    ):
        found(tmp_path, root, native("b"), native("c"))

    first, second = caught.value.details
    assert "2 distributions" in caught.value.message
    assert "linux/arm64" in caught.value.message
    assert first.startswith("b 1.0: has no wheel for Python 3.11.2 on debian:bookworm (aarch64, glibc 2.36)")
    assert "nearest that has one: 0.9 and 1.2" in first
    assert second.startswith("c 1.0: ")
    assert "no version of it has one" in second


@pytest.mark.parametrize(
    ("item", "asked", "words"),
    [
        (native("b", direct_url="git+https://host.example/b.git@a1"), {}, "was installed from `git"),
        (native("b", editable=True, location="/home/ada/b"), {}, "was installed from `/home/ada/b`"),
        (native("b"), {"repacked": ("b",)}, "is packed from its installed files"),
        (native("b", modified=("b/x.so",)), {}, "were changed after it was installed"),
    ],
)
def test_what_the_index_never_had_gets_no_namesake_of_it(
    item: Distribution, asked: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """The index may have a file of that name and version: it is not of what trained the model."""
    with (
        serving_files("b-1.0-cp311-cp311-manylinux_2_17_aarch64.whl") as root,
        pytest.raises(RefusedError) as caught,
    ):
        found(tmp_path, root, item, **asked)

    assert words in caught.value.details[0]


def test_an_image_of_another_platform_cannot_hold_the_recorded_wheel() -> None:
    trained = training(distributions=(native("b"), pure("a")))
    image = arm64_image()

    assert counterparts.cannot_load(trained, image) == {"b"}
    assert counterparts.cannot_load(trained, training(distributions=())) == set()


def test_what_an_image_does_not_need_follows_from_the_snapshot_alone() -> None:
    trained = training(distributions=(pure("app", 'mkl ; platform_machine == "x86_64"'), native("mkl")))

    assert counterparts.unneeded(trained, arm64_image()) == {"mkl"}
    assert counterparts.unneeded(trained, trained) == set()


def arm64_image() -> Environment:
    return training(system=msgspec.structs.replace(LINUX, machine="aarch64"), distributions=())
