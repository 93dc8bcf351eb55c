"""Requirements and constraints: the lines, and what may never get into one."""

from __future__ import annotations

import msgspec
import pytest

from envparity.errors import MalformedError
from envparity.values import LockedInterpreter, Variable
from envparity.writers.requirements import constraints, requirements
from tests.values import SOME_SHA256, a_lock
from tests.writers.samples import contents, pinned

HASH = f"--hash=sha256:{SOME_SHA256}"
PYPI = "https://pypi.org/simple/"


def lines(text: str) -> list[str]:
    """Without the comments."""
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_a_distribution_is_a_pin_with_the_hash_of_its_wheel() -> None:
    exported = requirements(contents(pinned("demo", index=PYPI), pinned("zope-interface", "7.1", index=PYPI)))

    assert lines(exported.text) == [f"demo==1.0 {HASH}", f"zope-interface==7.1 {HASH}"]


def test_the_index_is_named_unless_it_is_the_public_one() -> None:
    """Whoever has a mirror of the public index has told pip; nobody has told it of a private one."""
    assert lines(requirements(contents(pinned("demo"))).text)[0] == "--index-url https://index.example/simple/"
    assert lines(requirements(contents(pinned("a"), pinned("b", index=PYPI), pinned("c", index=PYPI))).text)[:2] == [
        "--index-url https://pypi.org/simple/",
        "--extra-index-url https://index.example/simple/",
    ]


def test_no_password_of_an_index_gets_into_a_file_that_is_shared() -> None:
    text = requirements(contents(pinned("demo", index="https://ada:s3cret@index.example/simple/"))).text

    assert "s3cret" not in text
    assert lines(text)[0] == "--index-url https://index.example/simple/"


def test_a_wheel_that_no_index_serves_is_named_by_its_address() -> None:
    exported = requirements(contents(pinned("demo", index="")))

    assert lines(exported.text) == [f"demo @ https://files.example/demo-1.0-py3-none-any.whl {HASH}"]


@pytest.mark.parametrize("url", ["", "./pylock.artifacts/demo-1.0-py3-none-any.whl"])
def test_a_wheel_beside_the_lock_is_named_from_there_and_the_file_says_where_pip_is_to_start(url: str) -> None:
    """pip resolves a path from the folder that it was started in, not from the file that names it."""
    text = requirements(contents(pinned("demo", url=url, index=""))).text

    assert lines(text) == [f"./pylock.artifacts/demo-1.0-py3-none-any.whl {HASH}"]
    assert "in the folder of the lock" in text
    assert "in the folder of the lock" not in requirements(contents(pinned("demo"))).text


def test_a_condition_stands_on_each_line_only_where_it_is_asked_for() -> None:
    (line,) = lines(requirements(contents(pinned("demo", index=PYPI), markers=True)).text)

    assert line == (
        'demo==1.0 ; python_version == "3.11" and (sys_platform == "linux" and platform_machine == "x86_64") ' + HASH
    )
    (pin,) = lines(constraints(contents(pinned("demo"), markers=True)).text)
    assert pin == line.removesuffix(f" {HASH}")


def test_a_lock_for_every_place_has_the_python_as_its_only_condition() -> None:
    given = contents(pinned("demo"), lock={"environments": ()}, markers=True)

    assert lines(constraints(given).text) == ['demo==1.0 ; python_version == "3.11"']


def test_constraints_have_versions_alone_since_pip_would_demand_hashes_of_everything() -> None:
    exported = constraints(contents(pinned("demo"), pinned("helper", "2.0", index="")))

    assert lines(exported.text) == ["demo==1.0", "helper==2.0"]
    assert exported.left_out[0] == "2 hashes"


def test_what_pip_cannot_bring_is_counted() -> None:
    """A team that installs the requirements elsewhere must know which half of the runtime is not in them."""
    assert requirements(contents()).left_out == (
        "Python 3.11.7 (./pylock.artifacts/cpython-3.11.7.tar.gz)",
        "1 OS package of debian:bookworm",
        "1 setting",
        "1 model",
    )
    target = msgspec.structs.replace(
        a_lock().targets[0],
        os_packages=(),
        interpreter=LockedInterpreter(kind="base", version="3.11.2", executable="/usr/bin/python3.11"),
    )
    few = {"targets": (target,), "models": (), "settings": (Variable("LANG", "C"), Variable("OMP_NUM_THREADS", "2"))}
    assert requirements(contents(lock=few)).left_out == ("Python 3.11.2 of debian:bookworm", "2 settings")


@pytest.mark.parametrize(
    "index",
    [
        "https://index.example/simple\n--index-url https://evil.example/",
        "https://index.example/${AWS_SECRET_ACCESS_KEY}/",
        "https://index.example/simple/ --pre",
        "https://index.example/'simple'/",
        "https://index.example/t/s3cret/simple/",
        "https://index.example/\N{ZERO WIDTH SPACE}/",
    ],
)
def test_no_text_of_a_lock_becomes_an_option_of_pip_or_a_variable_that_it_fills_in(index: str) -> None:
    """A lock may come from anybody; who exports it must not start pip with what its author chose."""
    with pytest.raises(MalformedError, match="`demo` comes from a place"):
        requirements(contents(pinned("demo", index=index)))
    with pytest.raises(MalformedError, match="`demo` comes from a place"):
        requirements(contents(pinned("demo", index="", url=index)))
    assert lines(constraints(contents(pinned("demo", index=index))).text) == ["demo==1.0"]


def test_a_folder_of_artifacts_that_pip_would_cut_at_a_space_is_refused() -> None:
    with pytest.raises(MalformedError, match="no requirements file can name"):
        requirements(contents(pinned("demo", url=""), folder="pylock.my team.artifacts"))


@pytest.mark.parametrize("text", ["${HOME}", "a\N{ZERO WIDTH SPACE}b"])
def test_what_pip_would_read_otherwise_in_a_condition_is_refused(text: str) -> None:
    given = contents(lock={"environments": (f'sys_platform == "{text}"',)}, markers=True)

    with pytest.raises(MalformedError, match="condition"):
        requirements(given)
