"""What a project declares: pyproject.toml and setup.cfg."""

from __future__ import annotations

import pytest

from envparity.errors import MalformedError
from envparity.values import Basis
from tests.sources.reading import found, read_text, reasons, rows
from tests.sources.samples import PYPROJECT, SETUP_CFG

POETRY = """\
[tool.poetry]
name = "ours"

[tool.poetry.dependencies]
python = "^3.9"
numpy = "^1.26"
torch = {version = ">=2.1", optional = true, markers = "sys_platform == 'linux'"}
odd = "1.0 || 2.0"
fork = {git = "https://ada:hunter2@git.example/fork.git", extras = ["a_b"]}

[tool.poetry.group.dev.dependencies]
pytest = "*"

[tool.poetry.extras]
gpu = ["torch"]
"""


def test_dependencies_extras_and_groups_with_their_conditions() -> None:
    environment = read_text("pyproject.toml", PYPROJECT)

    assert rows(environment) == [
        ("numpy", ">=1.26", ""),
        ("pyarrow", "16.1.0", "'fast-io' in extras"),
        ("pytest", "", "'test' in dependency_groups or 'dev' in dependency_groups"),
        ("ruff", "", "'dev' in dependency_groups"),
        ("tomli", "", 'python_version < "3.11"'),
    ]
    assert environment.open
    assert {item.basis for item in environment.distributions or ()} == {Basis.DECLARED}
    assert environment.python is not None
    assert environment.python.specifier == ">=3.10"


def test_a_target_selects() -> None:
    environment = read_text("pyproject.toml", PYPROJECT, groups=("test",), python_version="3.12")

    assert [name for name, _, _ in rows(environment)] == ["numpy", "pytest"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[dependency-groups]\na = [{include-group = "b"}]\nb = [{include-group = "a"}]\n', "circle: a -> b -> a"),
        ('[dependency-groups]\na = [{include-group = "c"}]\n', "`c` is included, and not there"),
        ('[dependency-groups]\na = [{path = "x"}]\n', "neither a requirement nor a group"),
        ('[dependency-groups]\nA_b = []\n"a-b" = []\n', "two groups of one name"),
        ('[project]\nname = "x"\ndependencies = ["a b"]\n', "not a requirement"),
        ('[project]\nname = "x"\ndependencies = "six"\n', "expected"),
    ],
)
def test_what_is_wrong_is_named(text: str, told: str) -> None:
    with pytest.raises(MalformedError, match=told):
        read_text("pyproject.toml", text)


def test_what_is_made_when_the_project_is_built_is_not_known() -> None:
    environment = read_text("pyproject.toml", '[project]\nname = "x"\ndynamic = ["dependencies"]\n')

    assert "dynamic" in reasons(environment, "distributions")["project.dependencies"]


def test_a_file_that_declares_nothing_says_so() -> None:
    assert "neither" in reasons(read_text("pyproject.toml", "[tool.ruff]\n"), "distributions")[""]


def test_the_tables_of_poetry() -> None:
    environment = read_text("pyproject.toml", POETRY)

    assert rows(environment) == [
        ("fork", "", ""),
        ("numpy", ">=1.26,<2.0", ""),
        ("pytest", "", "'dev' in dependency_groups"),
        ("torch", ">=2.1", "sys_platform == 'linux' and 'gpu' in extras"),
    ]
    assert found(environment, "fork").direct_url == "https://git.example/fork.git"
    assert found(environment, "fork").extras == ("a-b",)
    assert "1.0 || 2.0" in reasons(environment, "distributions")["odd"]
    assert environment.python is not None
    assert environment.python.specifier == ">=3.9,<4.0"


def test_setup_cfg() -> None:
    environment = read_text("setup.cfg", SETUP_CFG)

    assert rows(environment) == [
        ("numpy", ">=1.26", ""),
        ("pyarrow", "16.1.0", "'fast' in extras"),
        ("tomli", "", 'python_version < "3.11"'),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[options]\ninstall_requires =\n    a b\n", "not a requirement"),
        ("[options\n", "not a setup.cfg"),
        ("[options]\na = 1\na = 2\n", "not a setup.cfg"),
    ],
)
def test_what_is_wrong_in_a_setup_cfg_is_named(text: str, told: str) -> None:
    with pytest.raises(MalformedError, match=told):
        read_text("setup.cfg", text)


def test_a_list_in_another_file_is_not_known() -> None:
    environment = read_text("setup.cfg", "[options]\ninstall_requires = file: requirements.txt\n")

    assert "another file" in reasons(environment, "distributions")["install_requires"]
