"""Running without an engine: what is said of user and network is what a process inside finds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from envparity import run
from envparity.errors import UnreachableError
from tests.tools import not_here

INSIDE = run.Inside(
    root=Path("/"),
    argv=("/bin/sh", "-c", "id -u; id -G; readlink /proc/self/ns/net; cat /proc/net/dev; exit 7"),
    variables={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    workdir="/",
    user="10001",
    group="10001",
)
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def interfaces(table: list[str]) -> set[str]:
    """The names in `/proc/net/dev`, below its two lines of titles."""
    return {line.partition(":")[0].strip() for line in table if ":" in line}


@pytest.mark.parametrize("way", run.WAYS, ids=lambda way: f"{way.name}: {way.said(INSIDE)}")
def test_user_and_network_are_what_is_said(way: run.Way) -> None:
    """Whoever starts a stranger's model has to know what it can reach; and not be told what is untrue."""
    trial = way.trial()
    if trial is None or subprocess.run(trial, env=ENVIRONMENT, capture_output=True, check=False).returncode != 0:
        not_here(f"this machine does not allow {way.name}")

    done = subprocess.run(way.argv(INSIDE), env=ENVIRONMENT, capture_output=True, text=True, check=False)
    user, groups, network, *table = done.stdout.splitlines()

    assert done.returncode == 7, done.stderr
    said = way.said(INSIDE)
    assert user == ("0" if "as root of that namespace" in said else "10001")
    assert groups == user
    if "without a network" in said:
        assert interfaces(table) <= {"lo"}
    else:
        assert "with the host's network" in said
        assert network == str(Path("/proc/self/ns/net").readlink())


def test_a_machine_that_allows_no_way_is_named_with_what_each_of_them_lacks() -> None:
    """The quickstart ends well on such a machine, and claims nothing: it knows this by the exit status."""
    absent = run.Way("a tool that is not there", lambda: None, run.WAYS[0].argv, run.WAYS[0].said)
    forbidden = run.Way(
        "a forbidden one", lambda: ("sh", "-c", "echo not permitted >&2; exit 1"), absent.argv, absent.said
    )

    with pytest.raises(UnreachableError, match="cannot run an image without an engine") as caught:
        run.the_way([absent, forbidden])

    assert caught.value.status == 3
    assert caught.value.details == ("a tool that is not there: not installed", "a forbidden one: not permitted")


def test_root_in_a_chroot_is_said_to_be_root() -> None:
    root = run.Inside(INSIDE.root, INSIDE.argv, INSIDE.variables, "/", "0", "0")

    for way in run.WAYS:
        assert ("root on this host" in way.said(root)) == (way.name == "chroot")
