"""What the command line says of itself, and of an invocation that makes no sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envparity import __version__
from envparity.cli import COMMANDS
from tests.cli.conftest import World
from tests.commands import envparity, refused

COMMON = ("--offline", "--strict", "--allow-incomplete", "--debug", "-q, --quiet", "-v, --verbose")


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_command_explains_itself_and_the_common_options_in_80_columns(verb: str) -> None:
    told = envparity(verb, "--help", COLUMNS="80").stdout

    assert f"  envparity {verb} " in told, "there is no example"
    assert [name for name in COMMON if name not in told] == []
    assert max(map(len, told.splitlines())) <= 80


def test_the_first_page_names_every_command_that_works_and_no_other() -> None:
    told = envparity("--help", COLUMNS="80").stdout

    assert all(f"\n  {verb} " in told for verb in COMMANDS)
    assert max(map(len, told.splitlines())) <= 80


def test_without_a_command_it_shows_help_where_errors_go_and_fails() -> None:
    """`envparity $VERB` in a script, with VERB empty, must not pass for work that was done."""
    done = envparity(status=2)

    assert done.stdout == ""
    assert done.stderr.startswith("Usage: envparity")


def test_the_version_is_printed() -> None:
    assert envparity("--version").stdout.split()[-1] == __version__


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("snapshoot",), "snapshoot"),
        (("diff", "--fnord", "a", "b"), "--fnord"),
        (("diff", "a"), "RIGHT"),
        (("diff", "a", "b", "--fail-on", "grave"), "grave"),
        (("diff", "a", "b", "--format", "pdf"), "pdf"),
        (("show",), "SOURCE"),
        (("lock",), "SOURCE"),
        (("build",), "LOCK"),
        (("build", "pylock.toml"), "where should the image go"),
        (("build", "pylock.toml", "--output", "oci:x", "--port", "0"), "0"),
        (("verify", "oci:image"), "`image` does not exist"),
        (("verify", "oci:image", "--lock", "pylock.toml"), "`--lock` is for a snapshot"),
        (("lock", "a.env.json", "-o", "-"), "standard output"),
        (("lock", "a.env.json", "-o", "requirements.lock"), "cannot be called `requirements.lock`"),
        (("snapshot", "--data", "x"), "there is no data at"),
        (("snapshot", "--param", "seed"), "KEY=VALUE"),
        (("snapshot", "--param", "a=1", "--param", "a=2"), "`a` is given twice"),
        (("lock", "a.env.json", "--keep", "x"), "`--keep` is for `--only-used`"),
        (("lock", "a.env.json", "--require", "modified"), "modified"),
        (("lock", "a.env.json", "--format", "text"), "that of a report"),
        (("lock", "a.env.json", "--explain", "--format", "pdf"), "pdf"),
        (("lock", "pylock.toml", "--explain", "--prove"), "`--prove` is for a snapshot"),
        (("lock", "pylock.toml", "--explain", "-o", "pylock.toml"), "`--output` is for a snapshot"),
        (("build", "pylock.toml", "--format", "text"), "`--format` is that of `--plan`"),
        (("build", "pylock.toml", "--output", "oci:x", "--env", "A=\udcff"), "is not UTF-8"),
        (
            ("build", "x", "--output", "docker:x", "--serve", "fastapi", "--kubernetes", "absent/x.yaml"),
            "the folder around it does not exist",
        ),
        (("verify", "oci:x", "--against", "y", "--predictions", "p.json"), "`--predictions` is not supported yet"),
        (("verify", "oci:x", "--against", "y", "--host", "h.env.json"), "`--host` is not supported yet"),
        (("snapshot", "a", "b"), "b"),
        (("snapshot", "--timeout", "0"), "0"),
        (("snapshot", "--timeout", "nan"), "nan"),
        (("snapshot", "-o", "absent/model.env.json"), "the folder around it does not exist"),
        (("show", "a", "-o", "."), "it is a folder"),
        (("lock", "a.env.json", "-o", "absent/pylock.toml"), "the folder around it does not exist"),
        (("build", "pylock.toml", "--output", "oci:x", "--entrypoint", 'open "'), "--entrypoint"),
        (("verify", "oci:x", "--against", "y", "--entrypoint", 'open "'), "--entrypoint"),
        (("show", "a", "--format", "pdf"), "pdf"),
        (("cache",), "Choose from: dir, size, prune"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_said_before_any_work(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    refused(*arguments, status=2, says=says, cwd=tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (("show", "absent.env.json", "--format", "json"), "usage", 2),
        (("show", "absent.env.json", "--format=json"), "usage", 2),
        (("verify", "oci:x", "--against", "y", "--host", "x", "--format", "json"), "not-supported-yet", 2),
        (("verify", "oci:absent", "--against", "x", "--format", "json"), "usage", 2),
        (("show", "{", "--format", "json"), "malformed", 4),
        (("show", "\udcff.txt", "--format", "json"), "usage", 2),
    ],
)
def test_with_json_an_error_is_an_object_with_a_stable_code(
    arguments: tuple[str, ...], code: str, status: int, tmp_path: Path
) -> None:
    (tmp_path / "{").write_text('{"envparity": "environment", ')

    done = envparity(*arguments, status=status, cwd=tmp_path)

    error = json.loads(done.stderr)["error"]
    assert (error["code"], error["status"]) == (code, status)
    assert error["message"]
    assert error["hint"]
    assert done.stdout == ""


def test_the_format_may_come_from_the_environment_for_errors_too(tmp_path: Path) -> None:
    done = envparity("show", "absent", status=2, cwd=tmp_path, ENVPARITY_SHOW_FORMAT="json")

    assert json.loads(done.stderr)["error"]["code"] == "usage"


def test_the_format_may_come_from_the_environment_for_reports_too(world: World) -> None:
    told = envparity("show", world.snapshot, ENVPARITY_SHOW_FORMAT="json").stdout

    assert json.loads(told)["envparity"] == "environment"
    assert "xml" in refused("show", world.snapshot, status=2, says="xml", ENVPARITY_SHOW_FORMAT="xml").stderr


def test_debug_adds_a_traceback_and_changes_nothing_else(tmp_path: Path) -> None:
    """Exit status 1 is "findings": a debugging session must not turn an error into one."""
    done = envparity("show", "absent", "--debug", status=2, cwd=tmp_path)

    assert "Traceback" in done.stderr
    assert "error: `absent` does not exist" in done.stderr


def test_an_option_may_come_from_the_environment_and_a_flag_is_stronger(world: World, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("demo==1.0.1\n")
    sides = (world.snapshot, tmp_path / "requirements.txt")

    plain = envparity("diff", *sides, status=None).returncode
    low = envparity("diff", *sides, status=None, ENVPARITY_DIFF_FAIL_ON="info").returncode
    flag = envparity("diff", *sides, "--fail-on", "critical", status=None, ENVPARITY_DIFF_FAIL_ON="info").returncode

    assert (plain, low, flag) == (0, 1, 0)


def test_help_loads_no_command() -> None:
    """The bar is 0.15 s: what a command needs is imported when the command runs."""
    done = envparity("--help", PYTHONPROFILEIMPORTTIME="1")

    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"envparity.cli.diff", "msgspec", "httpx", "rich", "packaging", "yaml"}
