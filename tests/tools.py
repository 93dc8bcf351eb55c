"""What tests ask of the machine: a program, a permission. Where it is not there, they say so and are skipped."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from envparity.errors import EnvparityError
from envparity.files import private_folder

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


def own_name(name: str) -> str:
    """A name for an image that nobody else gives who uses the same engine or registry, before this run or beside it."""
    return f"{name}-{uuid.uuid4().hex[:12]}"


def needs_uv() -> str:
    """The path of uv: the one that nox names, or one on PATH."""
    return os.environ.get("ENVPARITY_TEST_UV") or needs_tool("uv")


def answer_of(requirement: str, script: Path, *arguments: str | Path) -> str:
    """
    What a script prints that is run beside a library of another tool, in an environment that uv makes for it and keeps.

    conda-lock, say, is an oracle, and pulls the libraries that we test with to other versions: it is never among them.
    """
    command = [needs_uv(), "run", "--quiet", "--no-project", "--isolated", "--python", sys.executable]
    command += ["--with", requirement, "python", "-W", "ignore"]
    done = subprocess.run([*command, script, *arguments], capture_output=True, text=True, check=False)
    if done.returncode and not re.search(r"^Traceback", done.stderr, re.MULTILINE):
        not_here(f"`{requirement}` cannot be installed: {done.stderr.strip().splitlines()[-1][:200]}")
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def by_nobody(question: Callable[[Path], object]) -> str:
    """
    What a function answers, or `NAME: message` of what it raises, where it is asked by a user who may not read all.

    Root may; so it is asked in a process of its own, which is nobody's. It is given an empty folder of that user's.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answer = ""
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(_NOBODY)
                os.setuid(_NOBODY)
            with private_folder(Path("/tmp")) as folder:
                try:
                    answer = str(question(folder))
                except EnvparityError as error:
                    answer = f"{type(error).__name__}: {error}"
        finally:
            os.write(writer, answer.encode())
            os._exit(0 if answer else 1)
    os.close(writer)
    with os.fdopen(reader) as stream:
        answer = stream.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return answer


_NOBODY = 65534
