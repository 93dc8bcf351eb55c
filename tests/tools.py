"""What tests ask of the machine: a program, a permission. Where it is not there, they say so and are skipped."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

REQUIRED = os.environ.get("ENVPARITY_REQUIRE_ENGINE") == "1"


def not_here(reason: str) -> NoReturn:
    """Skip the test and say why; where ENVPARITY_REQUIRE_ENGINE=1 promised that all is there, fail instead."""
    if REQUIRED:
        pytest.fail(f"{reason}, and ENVPARITY_REQUIRE_ENGINE=1 does not let this be skipped", pytrace=False)
    pytest.skip(reason)


def needs_tool(name: str) -> str:
    """The path of a program that the test runs."""
    found = shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")
    return found or not_here(f"`{name}` is not installed")


def needs_uv() -> str:
    """The path of uv: the one that nox names, or one on PATH."""
    return os.environ.get("ENVPARITY_TEST_UV") or needs_tool("uv")
