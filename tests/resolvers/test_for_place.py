"""The wheel of a pinned version: what pip would take of those that the stated hashes allow, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shlex

import pytest
from msgspec.structs import replace

from envparity.errors import IntegrityError
from envparity.network import Client
from envparity.resolvers.for_place import Place, find_pinned
from envparity.resolvers.indexes import Indexes
from envparity.resolvers.problems import Problem
from envparity.values import Basis, Distribution, LockedDistribution
from tests.serving import Answer, plain, serving
from tests.wheels import JSON

BOOKWORM = Place("3.11.2", "x86_64", "2.36", "debian:bookworm")
EXACT = "demo-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
NEWER = "demo-1.0-cp311-cp311-manylinux_2_38_x86_64.whl"
PURE = "demo-1.0-py3-none-any.whl"
MAC = "demo-1.0-cp311-cp311-macosx_11_0_arm64.whl"
SDIST = "demo-1.0.tar.gz"


def sha256(name: str) -> str:
    """The digest of a file of the index below: its content is its name."""
    return hashlib.sha256(name.encode()).hexdigest()


def pinned(*stated: str, **more: object) -> Distribution:
    """`demo==1.0`, with the hashes of these files."""
    fields = {"version": "1.0", "hashes": tuple(f"sha256:{sha256(name)}" for name in stated), **more}
    return Distribution(name="demo", basis=Basis.LOCKED, **fields)  # type: ignore[arg-type]


def found(item: Distribution, *served: str, place: Place = BOOKWORM, **more: object) -> LockedDistribution | Problem:
    """What an index with these files has for it."""
    files = [
        {"filename": name, "url": f"/files/{name}", "size": len(name), "hashes": {"sha256": sha256(name)}, **more}
        for name in served
    ]
    page = {"meta": {"api-version": "1.1"}, "name": "demo", "files": files}
    answers: dict[str, list[Answer]] = {"/simple/demo/": [plain(json.dumps(page).encode(), content_type=JSON)]}
    answers |= {f"/files/{name}": [plain(name.encode())] for name in served}
    with serving(answers) as web, Client(timeout_s=10.0) as client:
        address = item.direct_url.replace("INDEX", web.url) if item.direct_url else ""
        (answer,) = find_pinned(
            [replace(item, direct_url=address)], place, client=client, indexes=Indexes.at(f"{web.url}/simple/")
        )
        return answer


def wheel(item: Distribution, *served: str, **more: object) -> str:
    answer = found(item, *served, **more)  # type: ignore[arg-type]
    assert isinstance(answer, LockedDistribution), answer
    assert answer.state == "declared"
    return answer.wheel.name


def why(item: Distribution, *served: str, **more: object) -> Problem:
    answer = found(item, *served, **more)  # type: ignore[arg-type]
    assert isinstance(answer, Problem), answer
    return answer


def test_of_an_unhashed_pin_the_wheel_is_taken_that_pip_would_take() -> None:
    assert wheel(pinned(), PURE, NEWER, EXACT, MAC, SDIST) == EXACT


def test_stated_hashes_are_a_limit_even_where_a_better_wheel_is_served() -> None:
    """A wheel that was uploaded after the lock was made is not what the lock says."""
    assert wheel(pinned(PURE, SDIST), PURE, EXACT, SDIST) == PURE


def test_a_file_that_the_index_changed_is_an_integrity_error_that_names_it() -> None:
    with pytest.raises(IntegrityError, match=rf"`{EXACT}` has sha256 {sha256(EXACT)}"):
        found(pinned("what it was when it was locked", SDIST), EXACT, SDIST)


def test_hashes_of_other_platforms_only_are_refused_with_what_they_are_of() -> None:
    problem = why(pinned(MAC, SDIST), EXACT, MAC, SDIST)

    assert f"{MAC}, {SDIST}" in problem.reason
    assert str(BOOKWORM) in problem.reason


def test_an_sdist_alone_is_refused_before_anything_is_built() -> None:
    problem = why(pinned(SDIST), SDIST)

    assert (problem.state, problem.command) == ("local-build", "pip wheel --no-deps --wheel-dir dist demo==1.0")
    assert "only an sdist" in problem.reason


def test_wheels_for_another_glibc_or_python_are_refused_with_both_values() -> None:
    problem = why(pinned(), NEWER, "demo-1.0-cp312-cp312-manylinux1_x86_64.whl")

    assert "Python 3.11.2 on debian:bookworm (x86_64, glibc 2.36)" in problem.reason
    assert "those for cp311-cp311-manylinux_2_38_x86_64, cp312-cp312-manylinux1_x86_64" in problem.reason
    assert "--base" in problem.advice


def test_a_python_that_the_file_does_not_allow_is_refused() -> None:
    assert "needs Python >=3.12" in why(pinned(), PURE, **{"requires-python": ">=3.12"}).reason


def test_a_version_that_is_gone_and_one_of_another_index_say_so() -> None:
    assert "gone from the index" in why(pinned(version="2.0"), PURE).reason
    assert "`+cpu`" in why(pinned(version="1.0+cpu"), PURE).reason


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("git+https://git.example/demo@0123abc", "no wheel of an index"),
        ("https://files.example/demo-1.0.tar.gz", "no wheel of an index"),
        ("../demo", "of one machine"),
        ("file:///home/ada/demo", "no wheel of an index"),
        ("https://files.example/demo-1.0-py3-none-any.whl", "no sha256"),
    ],
)
def test_what_comes_from_elsewhere_is_refused_with_what_to_do(place: str, words: str) -> None:
    problem = why(pinned(direct_url=place))

    assert words in problem.reason
    assert problem.advice


@pytest.mark.parametrize(
    ("place", "folder", "source"),
    [
        (
            "git+https://git.example/demo@0123abc#subdirectory=x",
            "",
            "git+https://git.example/demo@0123abc#subdirectory=x",
        ),
        ("git+https://ada:pw@git.example/demo@0123abc", "", "git+https://git.example/demo@0123abc"),
        (".", "", "."),
        (".", "service", "./service"),
        ("../my demo", "a/service", "./a/my demo"),
        ("../demo", "service", "./demo"),
        ("../../demo", "service", "../demo"),
        ("/home/ada/demo", "service", "/home/ada/demo"),
    ],
)
def test_the_command_for_it_builds_what_was_locked_from_where_one_is(place: str, folder: str, source: str) -> None:
    """A lock names its projects from its own folder, and pip would look for them in the working directory."""
    item = replace(pinned(), direct_url=place)
    with Client(timeout_s=10.0) as client:
        (answer,) = find_pinned([item], BOOKWORM, client=client, folder=folder)

    assert isinstance(answer, Problem)
    assert shlex.split(answer.command) == ["pip", "wheel", "--no-deps", "--wheel-dir", "dist", source]
    assert "pw" not in str(answer)


def test_what_has_no_version_is_called_by_its_name() -> None:
    assert str(why(pinned(version="", direct_url="git+https://git.example/demo@0123abc"))).startswith(
        "demo: comes from"
    )


def test_the_project_itself_may_be_left_out() -> None:
    assert "`--leave-out demo`" in why(pinned(editable=True, direct_url=".")).advice


def test_the_wheel_of_an_address_is_locked_where_its_hash_is_stated() -> None:
    answer = found(pinned(PURE, direct_url=f"INDEX/files/{PURE}"), PURE)

    assert isinstance(answer, LockedDistribution)
    assert (answer.wheel.name, answer.wheel.size_bytes, answer.index) == (PURE, len(PURE), "")


def test_the_wheel_of_an_address_that_is_another_one_is_an_integrity_error() -> None:
    with pytest.raises(IntegrityError, match=sha256(PURE)):
        found(pinned("another", direct_url=f"INDEX/files/{PURE}"), PURE)


def test_a_yanked_version_is_locked_with_the_reason() -> None:
    answer = found(pinned(), PURE, yanked="broken on Tuesdays")

    assert isinstance(answer, LockedDistribution)
    assert answer.yanked == "broken on Tuesdays"
