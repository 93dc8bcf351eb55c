"""Environment files of conda: what somebody asked for, of conda and of pip."""

from __future__ import annotations

from pathlib import Path

import pytest

from envparity.errors import MalformedError
from envparity.values import Basis
from tests.sources.reading import conda, found, read_text, rows
from tests.sources.samples import ENVIRONMENT


def test_what_conda_and_pip_are_asked_for() -> None:
    environment = read_text("environment.yml", ENVIRONMENT)

    assert conda(environment) == [
        ("numpy", "1.26.4", "py311_0"),
        ("pip", "", ""),
        ("python", "==3.11.*", ""),
        ("scipy", ">=1.11,<2", ""),
    ]
    assert rows(environment) == [("torch", "2.3.0", "")]
    assert found(environment, "torch").basis is Basis.DECLARED
    assert environment.python is not None
    assert environment.python.specifier == "==3.11.*"
    assert environment.open


def test_of_variables_only_the_names_are_kept_and_of_the_prefix_nothing() -> None:
    environment = read_text("environment.yml", ENVIRONMENT)

    assert environment.settings is not None
    assert environment.settings.names_only == ("API_TOKEN",)
    assert "hunter2" not in repr(environment)
    assert "/home/ada" not in repr(environment)


def test_two_lists_for_pip_and_an_included_file_count_together(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("six==1.16.0\n")
    text = "dependencies:\n- pip\n- pip:\n  - numpy==1.26.4\n- pip:\n  - -r more.txt\n"

    assert [name for name, _, _ in rows(read_text("environment.yml", text, tmp_path))] == ["numpy", "six"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dependencies:\n- npm:\n  - left-pad\n", "npm"),
        ("dependencies:\n- pip:\n  - a b c\n", "not a requirement"),
        ("dependencies:\n- numpy==1\n- numpy==2\n", "as 1 and as 2"),
        ('dependencies:\n- pip:\n  - "six\\nevil"\n', "line break"),
        ("name: x\n", "dependencies"),
        ("dependencies:\n- {pip: [{a: b}]}\n", "expected"),
    ],
)
def test_what_is_wrong_is_named(text: str, told: str) -> None:
    with pytest.raises(MalformedError, match=told):
        read_text("environment.yml", text)


def test_an_environment_of_nothing_is_one() -> None:
    assert conda(read_text("environment.yml", "dependencies:\n")) == []


def test_aliases_of_a_person_are_followed() -> None:
    text = "base: &np numpy=1.26\ndependencies:\n- *np\n"

    assert conda(read_text("environment.yml", text)) == [("numpy", "==1.26.*", "")]
