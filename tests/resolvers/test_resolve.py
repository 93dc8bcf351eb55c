"""What is added is resolved by real resolvers under pins that hold, and what would move one is told with its chain."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envparity.errors import (
    ConflictError,
    EnvparityError,
    MalformedError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from envparity.resolvers import resolve
from envparity.resolvers.resolve import Pin, Request
from envparity.values import Distribution
from tests.small_indexes import pip_tools, small_index
from tests.tools import needs_uv

TAGS = (f"manylinux_2_36_{platform.machine()}", f"linux_{platform.machine()}")

WHEELS = {
    "web 1.0": ["core>=1"],
    "web 2.0": ["middle"],
    "middle 1.0": ["core>=2", "loop"],
    "core 1.0": [],
    "core 2.0": [],
    "loop 1.5": [],
}


@pytest.fixture(params=resolve.RESOLVERS)
def resolver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def environ(resolver: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return variables(resolver, tmp_path_factory)


def variables(resolver: str, factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = pip_tools(factory) if resolver == "pip-tools" else Path(needs_uv()).parent
    return {**os.environ, "PATH": f"{folder}:/usr/bin:/bin"}


def answer(
    asked: Sequence[str], held: Mapping[str, str], *, root: str, environ: Mapping[str, str], resolver: str, **more: Any
) -> tuple[Pin, ...]:
    request = Request(
        requirements=tuple(asked),
        constraints=held,
        python_version=platform.python_version(),
        platform_tags=TAGS,
        indexes=(root,),
        **more,
    )
    return resolve.resolve(request, environ=environ, resolver=resolver)


def test_what_is_asked_for_comes_with_all_that_it_needs_and_who_needs_it(
    resolver: str, environ: dict[str, str]
) -> None:
    with small_index(WHEELS) as index:
        found = answer(["web"], {"core": "2.0"}, root=index.root, environ=environ, resolver=resolver)

    assert found == (
        Pin("core", "2.0", via=("middle",)),
        Pin("loop", "1.5", via=("middle",)),
        Pin("middle", "1.0", via=("web",)),
        Pin("web", "2.0", asked=True),
    )


def test_an_older_release_is_taken_rather_than_a_pin_moved(resolver: str, environ: dict[str, str]) -> None:
    with small_index(WHEELS) as index:
        found = answer(["web"], {"core": "1.0"}, root=index.root, environ=environ, resolver=resolver)

    assert {pin.name: pin.version for pin in found} == {"core": "1.0", "web": "1.0"}


def test_what_would_move_a_pin_is_told_with_the_chain_that_leads_there(resolver: str, environ: dict[str, str]) -> None:
    """A dump of the resolver's own proof has sixty lines, and none of them says what trained the model."""
    with small_index(WHEELS) as index, pytest.raises(ConflictError) as caught:
        answer(["web>=2"], {"core": "1.0", "loop": "1.5"}, root=index.root, environ=environ, resolver=resolver)

    (line,) = caught.value.details
    assert line.startswith("core 1.0 would move: ")
    assert line.endswith("requires core >=2")
    assert "middle" in line
    assert caught.value.moved == ("core",)


def test_a_version_that_no_index_has_can_be_required_by_what_is_added(resolver: str, environ: dict[str, str]) -> None:
    """A build of torch for one GPU is on no public index, and half of what is added requires torch."""
    built = Distribution(name="core", version="2.0+cu121", requires=("nowhere>=9", 'loop; extra == "async"'))
    wheels = {**WHEELS, "web 3.0": ["core[async]>=2"]}
    with small_index(wheels) as index:
        found = answer(
            ["web"], {"core": "2.0+cu121"}, root=index.root, environ=environ, resolver=resolver, installed=[built]
        )

    assert {pin.name: pin.version for pin in found} == {"core": "2.0+cu121", "web": "3.0", "loop": "1.5"}


def test_what_no_index_has_is_refused_in_a_sentence(resolver: str, environ: dict[str, str]) -> None:
    with small_index(WHEELS) as index, pytest.raises(ConflictError) as caught:
        answer(["nothing-like-it"], {}, root=index.root, environ=environ, resolver=resolver)

    (line,) = caught.value.details
    assert "nothing-like-it" in line
    assert len(line) <= 240
    assert "`--index`" in caught.value.hint


def test_a_condition_that_does_not_hold_is_no_fault_of_the_resolver(resolver: str, environ: dict[str, str]) -> None:
    with small_index(WHEELS) as index:
        given = {"root": index.root, "environ": environ, "resolver": resolver}
        with pytest.raises(UsageError, match="the condition does not hold"):
            answer(["web; sys_platform == 'win32'"], {}, **given)
        found = answer(["web; sys_platform == 'win32'", "loop; python_version > '3'"], {}, **given)

    assert [pin.name for pin in found] == ["loop"]


def test_configuration_of_the_machine_decides_nothing(resolver: str, environ: dict[str, str], tmp_path: Path) -> None:
    """Another index in pip.conf or in a variable would lock what nobody asked for."""
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".config" / "uv").mkdir()
    (tmp_path / ".config" / "pip" / "pip.conf").write_text("[global]\nindex-url = http://127.0.0.1:9/\n")
    (tmp_path / ".config" / "uv" / "uv.toml").write_text('index-url = "http://127.0.0.1:9/"\n')
    told = {
        "UV_DEFAULT_INDEX": "http://127.0.0.1:9/",
        "PIP_INDEX_URL": "http://127.0.0.1:9/",
        "UV_RESOLUTION": "lowest",
    }
    told |= {"HOME": str(tmp_path), "PIP_CONSTRAINT": "/nowhere", "UV_CONSTRAINT": "/nowhere", "PIP_TOOLS_QUIET": "1"}
    with small_index(WHEELS) as index:
        found = answer(["web"], {}, root=index.root, environ={**environ, **told}, resolver=resolver)

    assert {pin.name: pin.version for pin in found}["web"] == "2.0"


def test_an_index_that_cannot_be_reached_is_no_refusal(tmp_path_factory: pytest.TempPathFactory) -> None:
    environ = {**variables("uv", tmp_path_factory), "UV_HTTP_RETRIES": "0"}
    with pytest.raises(UnreachableError, match="uv gave no answer"):
        answer(["web"], {}, root="http://127.0.0.1:9/simple/", environ=environ, resolver="uv")


def of_program(folder: Path, script: str, held: Mapping[str, str] = {}) -> tuple[Pin, ...]:
    """What comes of a program that stands where uv should."""
    program = folder / "uv"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    environ = {"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder)}
    return answer(["web"], held, root="http://127.0.0.1:9/simple/", environ=environ, resolver="uv")


VERSION = 'case "$1" in --version) echo "uv 0.13.9"; exit;; esac\n'


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ("echo uv 0.4.30", UnreachableError, "is uv 0.4.30, and at least 0.5 is needed"),
        ("exit 3", UnreachableError, "does not answer with a version"),
        (f"{VERSION}kill -SEGV $$", UnreachableError, "gave no answer"),
        (
            f"{VERSION}echo 'error: http://ada:secret@host/ is down' >&2; exit 2",
            UnreachableError,
            "http://host/ is down",
        ),
        (f"{VERSION}echo '{{\"pins\": []}}'", MalformedError, "is not understood"),
        (f"{VERSION}echo 'web==one'", MalformedError, "is not understood"),
        (VERSION, MalformedError, "is empty"),
    ],
)
def test_a_resolver_that_fails_is_told_as_what_it_is(
    tmp_path: Path, script: str, error: type[EnvparityError], words: str
) -> None:
    with pytest.raises(error, match=re.escape(words)) as caught:
        of_program(tmp_path, script)

    assert "secret" not in str(caught.value)
    assert caught.value.hint


def test_a_version_that_moves_behind_the_back_of_a_constraint_is_refused(tmp_path: Path) -> None:
    """For a resolver 1.0+cpu is as good as 1.0; the model was not trained with it."""
    program = VERSION + "echo 'core==1.0+cpu  # via web'; echo 'web==1  # via -r asked.in'"
    with pytest.raises(ConflictError) as caught:
        of_program(tmp_path, program, {"core": "1.0"})

    assert caught.value.details == ("core 1.0 would move to 1.0+cpu",)


@pytest.mark.parametrize(
    "text", ["-r other.txt", "--index-url https://x.example", "web\n-r x", "web @ file:///x.whl", ""]
)
def test_only_a_requirement_by_name_gets_to_a_resolver(text: str) -> None:
    """A line of options would be another index, or a file of this machine."""
    with pytest.raises(UsageError):
        answer([text], {}, root="http://127.0.0.1:9/simple/", environ={}, resolver="uv")


def test_what_is_held_and_asked_for_otherwise_needs_no_resolver() -> None:
    with pytest.raises(ConflictError) as caught:
        answer(["Core>=2"], {"core": "1.0"}, root="http://127.0.0.1:9/simple/", environ={}, resolver="uv")

    assert caught.value.moved == ("core",)


def test_pip_tools_of_another_python_is_not_asked(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its answer would be that for the Python that it runs in."""
    request = Request(requirements=("web",), python_version="3.8.1", platform_tags=TAGS)
    with pytest.raises(UnsupportedError, match=r"3\.8"):
        resolve.resolve(request, environ=variables("pip-tools", tmp_path_factory), resolver="pip-tools")


def test_a_distribution_comes_from_its_own_index_whatever_another_has(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """`--index-for core=…`: a stranger's `core` of a higher version lies on the index that is asked first."""
    environ = variables("uv", tmp_path_factory)
    with (
        small_index({"web 1.0": ["core"], "core 1.0": [], "loose 1.0": []}) as own,
        small_index({"core 9.0": []}) as other,
    ):
        free = Request(
            requirements=("web",),
            python_version="3.11.7",
            platform_tags=TAGS,
            indexes=(own.root, other.root),
        )
        pinned = replace(free, pinned={"core": own.root, "loose": own.root})
        found = {pin.name: pin for pin in resolve.resolve(pinned, environ=environ)}

        assert {pin.name: pin.version for pin in resolve.resolve(free, environ=environ)}["core"] == "9.0"
    assert {name: pin.version for name, pin in found.items()} == {"web": "1.0", "core": "1.0"}
    assert (found["web"].asked, found["core"].asked, found["core"].via) == (True, False, ("web",))


def test_pip_tools_cannot_be_told_the_index_of_one_distribution() -> None:
    request = Request(
        requirements=("web",), python_version="3.11.7", platform_tags=TAGS, pinned={"web": "https://x.example/"}
    )
    with pytest.raises(UnsupportedError, match="--index-for"):
        resolve.resolve(request, environ={}, resolver="pip-tools")
