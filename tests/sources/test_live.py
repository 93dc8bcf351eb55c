"""A live interpreter is read from outside: only the one that was named is started, and nothing of its own runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from envparity import codec, compare
from envparity.collectors import bundle
from envparity.collectors.records import record_digest
from envparity.errors import MalformedError, TimeLimitError, UnreachableError, UsageError
from envparity.sources import Options, live, read
from envparity.values import Environment, GapKind
from tests.tools import needs_uv
from tests.wheels import real_wheel

_MARKUPSAFE_TAGS = ("cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64")

BASE = Path(os.path.realpath(sys.executable))


def make_venv(folder: Path) -> Path:
    venv.EnvBuilder(symlinks=True).create(folder)
    return next(folder.glob("lib/python3*/site-packages"))


def install(site_packages: Path, name: str, version: str, *, requires: tuple[str, ...] = ()) -> None:
    info = site_packages / f"{name}-{version}.dist-info"
    info.mkdir()
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requires)]
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, "", ""]))


def script(path: Path, text: str) -> Path:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def visible(environment: Environment) -> dict[str, str]:
    return {item.name: item.version for item in environment.distributions or () if not item.tooling}


def test_a_virtual_environment_is_read_and_not_its_base(tmp_path: Path) -> None:
    """`-S` loses the virtual environment: the base's packages would be recorded without any error."""
    install(make_venv(tmp_path / "training"), "six", "1.16.0")

    environment = read("venv:training", options=Options(base_dir=tmp_path))

    assert visible(environment) == {"six": "1.16.0"}
    assert environment.python is not None
    assert environment.python.version == ".".join(map(str, sys.version_info[:3]))
    assert environment.python.prefix == str(tmp_path / "training")
    assert environment.system is not None
    assert environment.host is not None
    assert environment.cpu is not None


def test_a_folder_and_an_interpreter_lead_to_the_same_content(tmp_path: Path) -> None:
    install(make_venv(tmp_path / "training"), "six", "1.16.0")
    options = Options(base_dir=tmp_path)

    digests = {
        codec.content_digest(read(reference, options=options))
        for reference in ("venv:training", "training", "python:training/bin/python", "training/bin/python")
    }

    assert len(digests) == 1


def test_nothing_of_the_target_runs(tmp_path: Path) -> None:
    """litellm 1.82.8: the start of an interpreter was enough to lose every credential of the machine."""
    site_packages = make_venv(tmp_path / "training")
    mark = f"open({str(tmp_path / 'ran')!r}, 'w').close()"
    (site_packages / "evil.pth").write_text(f"import os; {mark}\n")
    (site_packages / "sitecustomize.py").write_text(mark)
    (site_packages / "usercustomize.py").write_text(mark)
    (site_packages / "json.py").write_text(mark)

    environment = read("venv:training", options=Options(base_dir=tmp_path, environ={"PYTHONSTARTUP": "x"}))

    assert not (tmp_path / "ran").exists()
    assert any(gap.item.endswith("evil.pth") for gap in environment.gaps)


def test_the_target_gets_no_variable_but_the_library_path(tmp_path: Path) -> None:
    """A `LD_PRELOAD` or `PYTHONPATH` of ours would change what the target says of itself; a token would leave us."""
    fake = tmp_path / "python"
    fake.symlink_to("/usr/bin/env")
    environ = {"LD_LIBRARY_PATH": "/opt/x", "LD_PRELOAD": "/opt/y", "TOKEN": "hunter2", "PATH": "/usr/bin"}

    with pytest.raises(UnreachableError):
        read(f"python:{fake}", options=Options(environ=environ))

    assert live._clean(fake, environ) == {"LD_LIBRARY_PATH": "/opt/x"}


def test_variables_are_those_of_the_caller_listed_ones_by_value(tmp_path: Path) -> None:
    make_venv(tmp_path / "training")
    environ = {"OMP_NUM_THREADS": "4", "DATABASE_PASSWORD": "hunter2"}

    environment = read("venv:training", options=Options(base_dir=tmp_path, environ=environ))

    assert environment.settings is not None
    assert [(item.name, item.value) for item in environment.settings.variables] == [("OMP_NUM_THREADS", "4")]
    assert environment.settings.names_only == ("DATABASE_PASSWORD",)
    assert b"hunter2" not in codec.dump_environment(environment)


def test_what_no_collector_reads_yet_is_a_gap(tmp_path: Path) -> None:
    make_venv(tmp_path / "training")

    environment = read("venv:training", options=Options(base_dir=tmp_path))

    gaps = {gap.section for gap in environment.gaps if gap.kind is GapKind.NOT_RECORDED}
    assert {"conda_packages", "numerics", "modules", "source_code", "artifacts"} <= gaps


def test_envparity_and_what_only_it_needs_is_tooling(tmp_path: Path) -> None:
    """Installed beside the model or not, the snapshot has one content digest."""
    bare = make_venv(tmp_path / "bare")
    beside = make_venv(tmp_path / "beside")
    for site_packages in (bare, beside):
        install(site_packages, "numpy", "1.26.4")
        install(site_packages, "packaging", "26.1")
        install(site_packages, "theirs", "1.0", requires=("packaging",))
    install(beside, "envparity", "0.1.0", requires=("click", "packaging"))
    install(beside, "click", "8.1.7")

    first, second = (read(f"venv:{name}", options=Options(base_dir=tmp_path)) for name in ("bare", "beside"))

    assert visible(second) == visible(first) == {"numpy": "1.26.4", "packaging": "26.1", "theirs": "1.0"}
    assert codec.content_digest(first) == codec.content_digest(second)


def test_a_virtual_environment_whose_python_is_gone_is_said_to_be_so(tmp_path: Path) -> None:
    make_venv(tmp_path / "training")
    for name in ("python", "python3", f"python3.{sys.version_info[1]}"):
        (tmp_path / "training/bin" / name).unlink(missing_ok=True)
    (tmp_path / "training/bin/python").symlink_to("/gone/bin/python3")

    for reference in ("venv:training", "python:training/bin/python"):
        with pytest.raises(UnreachableError, match="/gone/bin/python3") as caught:
            read(reference, options=Options(base_dir=tmp_path))
        assert "again" in caught.value.hint


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("venv:nowhere", "no virtual environment"),
        ("venv:empty", "pyvenv.cfg"),
        ("python:./empty", "folder"),
        ("python:nowhere/python", "no interpreter"),
        ("python:no-such-python", "no `no-such-python` on PATH"),
    ],
)
def test_an_interpreter_that_is_not_there_is_a_usage_error(reference: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(UsageError, match=told) as caught:
        read(reference, options=Options(base_dir=tmp_path, environ={"PATH": "/usr/bin"}))

    assert caught.value.hint


def test_a_file_that_may_not_be_executed_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "python3").write_text("")

    with pytest.raises(UnreachableError, match="may not be executed"):
        read("python:./python3", options=Options(base_dir=tmp_path))


def test_a_python_that_is_too_old_is_named_with_its_version(tmp_path: Path) -> None:
    fake = script(tmp_path / "python", 'if [ "$1" = -V ]; then echo Python 2.7.18 >&2; else exit 2; fi\n')

    with pytest.raises(UsageError, match=r"Python 2\.7\.18, and 3\.8"):
        read(f"python:{fake}")


def test_a_python_that_breaks_down_is_quoted(tmp_path: Path) -> None:
    fake = script(tmp_path / "python", "printf 'Fatal Python error: \\033[31mno encodings\\n' >&2; exit 1\n")

    with pytest.raises(UnreachableError, match="no encodings") as caught:
        read(f"python:{fake}")

    assert "\033" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        "echo hello",
        f"echo 'envparity-probe 0123456789abcdef 2 {hashlib.sha256(b'[]').hexdigest()}'; printf '[]'",
        "true",
    ],
)
def test_an_answer_that_the_probe_did_not_make_is_malformed(answer: str, tmp_path: Path) -> None:
    """What a login shell or a hostile interpreter prints must never become facts."""
    fake = script(tmp_path / "python", f"cat >/dev/null; {answer}\n")

    with pytest.raises(MalformedError, match="probe"):
        read(f"python:{fake}")


def test_an_interpreter_that_hangs_is_ended(tmp_path: Path) -> None:
    fake = script(tmp_path / "python", "exec sleep 600\n")

    with pytest.raises(TimeLimitError):
        read(f"python:{fake}", options=Options(timeout_s=0.2))


def test_the_active_environment_is_the_one_that_the_shell_says(tmp_path: Path) -> None:
    make_venv(tmp_path / "one")
    make_venv(tmp_path / "two")
    conda = tmp_path / "conda/bin"
    conda.mkdir(parents=True)
    (conda / "python").symlink_to(BASE)
    environ = {"PATH": f"{tmp_path / 'two/bin'}:/usr/bin"}

    def chosen(**more: str) -> str:
        return live.active(Options(environ={**environ, **more})).reference

    assert chosen(VIRTUAL_ENV=str(tmp_path / "one"), CONDA_PREFIX=str(tmp_path / "conda")) == f"venv:{tmp_path / 'one'}"
    assert chosen(CONDA_PREFIX=str(tmp_path / "conda")) == f"python:{conda / 'python'}"
    assert chosen() == f"python:{tmp_path / 'two/bin/python3'}"


def test_an_active_environment_that_is_gone_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no virtual environment") as caught:
        live.active(Options(environ={"VIRTUAL_ENV": str(tmp_path / "gone"), "PATH": "/usr/bin"}))

    assert "VIRTUAL_ENV" in caught.value.hint


def test_without_any_python_the_error_says_how_to_name_one() -> None:
    with pytest.raises(UsageError, match="no active environment") as caught:
        live.active(Options(environ={"PATH": ""}))

    assert "venv:DIR" in caught.value.hint


@pytest.mark.parametrize("receipt", ["uv-receipt.toml", "pipx_metadata.json", ""])
def test_the_environment_of_a_tool_runner_is_never_the_users(receipt: str, tmp_path: Path) -> None:
    """`uvx envparity snapshot` must record the training environment, not the one that uvx made a second ago."""
    own = tmp_path / ("tool" if receipt else "uv/archive-v0/Xy1") / "env"
    make_venv(own)
    make_venv(tmp_path / "theirs")
    if receipt:
        (own / receipt).touch()
    path = f"{own / 'bin'}:{tmp_path / 'theirs/bin'}"

    chosen = live.active(Options(environ={"PATH": path, "VIRTUAL_ENV": str(own)}, own_prefix=own))

    assert chosen.reference == f"python:{tmp_path / 'theirs/bin/python3'}"


def test_an_overlay_of_uv_run_stands_for_what_it_extends(tmp_path: Path) -> None:
    make_venv(tmp_path / "project")
    make_venv(tmp_path / "overlay")
    with (tmp_path / "overlay/pyvenv.cfg").open("a") as stream:
        stream.write(f"extends-environment = {tmp_path / 'project'}\n")

    chosen = live.active(Options(environ={"VIRTUAL_ENV": str(tmp_path / "overlay")}, own_prefix=tmp_path / "overlay"))

    assert chosen.reference == f"venv:{tmp_path / 'project'}"


def test_an_overlay_over_a_bare_interpreter_stands_for_that_interpreter(tmp_path: Path) -> None:
    make_venv(tmp_path / "overlay")
    base = tmp_path / "base"
    with (tmp_path / "overlay/pyvenv.cfg").open("a") as stream:
        stream.write(f"extends-environment = {base}\n")
    options = Options(environ={"VIRTUAL_ENV": str(tmp_path / "overlay")})

    with pytest.raises(UnreachableError, match="is gone"):
        live.active(options)
    (base / "bin").mkdir(parents=True)
    (base / "bin/python3").symlink_to(BASE)
    assert live.active(options).reference == f"python:{base / 'bin/python3'}"


@pytest.mark.parametrize(
    "wanted",
    [("joblib", "1.4.2"), ("click", "8.1.7"), ("markupsafe", "3.0.2", *_MARKUPSAFE_TAGS)],
    ids=lambda wanted: wanted[0],
)
def test_the_digest_of_an_installed_record_is_that_of_the_wheel_on_the_index(
    wanted: tuple[str, ...], tmp_path: Path
) -> None:
    """By this proof a lock names the exact wheel; an installer's own rows must not stand in its way."""
    site_packages = make_venv(tmp_path / "training")
    wheel = real_wheel(*wanted)
    target = str(tmp_path / "training/bin/python")
    subprocess.run([needs_uv(), "pip", "install", "-q", "--offline", "--no-deps", "-p", target, str(wheel)], check=True)
    with zipfile.ZipFile(wheel) as archive:
        (record,) = (name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        own = record_digest(archive.read(record).decode())

    (found,) = read("venv:training", options=Options(base_dir=tmp_path, verify_files=True)).distributions or ()

    assert found.record_sha256 == own
    assert (found.modified, found.missing, found.added) == ((), (), ())
    (site_packages / wanted[0] / "__init__.py").write_text("changed = True\n")
    (site_packages / wanted[0] / "more.py").write_text("")
    (found,) = read("venv:training", options=Options(base_dir=tmp_path, verify_files=True)).distributions or ()
    assert (found.modified, found.added) == ((f"{wanted[0]}/__init__.py",), (f"{wanted[0]}/more.py",))


def test_the_folder_of_the_user_counts_where_the_variables_say_so(tmp_path: Path) -> None:
    """A library in `~/.local` is imported before that of the system: a snapshot without it names the wrong version."""
    minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    user = tmp_path / "home/.local/lib" / minor / "site-packages"
    user.mkdir(parents=True)
    install(user, "six", "1.16.0")
    environ = {"HOME": str(tmp_path / "home"), "PYTHONHASHSEED": "7"}

    environment = read(f"python:{BASE}", options=Options(environ=environ))
    without = read(f"python:{BASE}", options=Options(environ={**environ, "PYTHONNOUSERSITE": "1"}))

    assert compare.effective(environment)["six"].version == "1.16.0"
    assert environment.python is not None
    assert (environment.python.user_site, environment.python.hash_seed) == (True, "7")
    assert without.python is not None
    assert without.python.user_site is False
    assert str(user) not in without.python.path


def test_a_copy_inside_a_package_is_shown_and_has_no_part_in_what_is_compared(tmp_path: Path) -> None:
    site_packages = make_venv(tmp_path / "training")
    install(site_packages, "pip", "24.0")
    (site_packages / "pip-24.0.dist-info/top_level.txt").write_text("pip\n")
    bare = codec.content_digest(read("venv:training", options=Options(base_dir=tmp_path)))
    (site_packages / "pip/_vendor").mkdir(parents=True)
    (site_packages / "pip/_vendor/vendor.txt").write_text("requests==2.31.0\n")

    environment = read("venv:training", options=Options(base_dir=tmp_path))
    (copy,) = (item for item in environment.distributions or () if item.vendored_in)

    assert (copy.name, copy.version, copy.vendored_in, copy.importable) == ("requests", "2.31.0", "pip", False)
    assert set(compare.effective(environment)) == {"pip"}
    assert codec.content_digest(environment) == bare


def test_the_collectors_are_compiled_once_and_the_snapshot_stays_the_same(tmp_path: Path) -> None:
    """The first start is sent the text, the second imports what the first left; where nothing may be left, all send."""
    package = Path(bundle.__file__).parents[1]
    shutil.copytree(package, tmp_path / "site/envparity", ignore=shutil.ignore_patterns("__pycache__"))
    install(make_venv(tmp_path / "training"), "six", "1.16.0")
    text = "from envparity import codec, sources; print(codec.content_digest(sources.read('venv:training')))"
    digests, compiled = [], []
    for keeps in ("1", "", ""):  # PYTHONDONTWRITEBYTECODE
        environ = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONDONTWRITEBYTECODE": keeps}
        environ.pop("PYTHONPYCACHEPREFIX", None)
        done = subprocess.run(
            [sys.executable, "-c", text], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
        )
        digests.append(done.stdout)
        compiled.append(bool(list((tmp_path / "site").rglob("probe.*.pyc"))))

    assert compiled == [False, True, True]
    assert len(set(digests)) == 1
