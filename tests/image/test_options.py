"""What an image starts with, as a person types it."""

from __future__ import annotations

import pytest

from envparity.errors import UsageError
from envparity.image.options import options
from envparity.values import Variable


def test_of_a_name_that_is_given_twice_the_last_one_counts() -> None:
    """A pipeline overrides what a shared command says; whichever value sorts last must not win."""
    found = options(env=["A=2", "B=x", "A=1"], labels=["v=2", "v=1"], user="10001")

    assert found.env == (Variable("A", "1"), Variable("B", "x"))
    assert found.labels == (Variable("v", "1"),)
    assert found.user == "10001:10001"


@pytest.mark.parametrize("label", ["envparity.lock", "envparity.own", "org.opencontainers.image.base.name"])
def test_a_label_that_envparity_writes_itself_is_refused(label: str) -> None:
    """It would be overwritten, and its author would not know."""
    with pytest.raises(UsageError, match=label):
        options(labels=[f"{label}=mine"], user="10001")


@pytest.mark.parametrize("command", ["", "  ", "'' serve.py"])
def test_an_entry_point_without_a_command_is_refused(command: str) -> None:
    with pytest.raises(UsageError, match="names no command"):
        options(entrypoint=command, user="10001")
    with pytest.raises(UsageError, match="--health names no command"):
        options(health=command, user="10001")


def test_a_health_check_is_taken_apart_as_a_shell_would_and_no_shell_reads_it() -> None:
    found = options(health="python -c 'import os; print(1)' $HOME", user="10001")

    assert found.health == ("python", "-c", "import os; print(1)", "$HOME")
    with pytest.raises(UsageError, match="--health takes a command"):
        options(health="python -c 'x", user="10001")
