"""Wheels of installed files and of projects: what they hold, and what is never packed."""

from __future__ import annotations

import csv
import importlib.util
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envparity.collectors.distributions import distributions
from envparity.collectors.tree import LocalTree
from envparity.errors import UnreachableError, UsageError
from envparity.image import wheels
from envparity.resolvers import repack
from envparity.resolvers.index import Problem
from envparity.values import Distribution, File, LockedDistribution, Python
from tests.tools import needs_tool, needs_uv, not_here
from tests.wheels import pack, record_hash

DEMO = {"demo/__init__.py": b"answer = 41\n", "demo/data.bin": bytes(range(256)), "demo-1.0.dist-info/LICENSE": b"x\n"}
LATER = "2099-01-01T00:00:00Z"


def install(folder: Path, contents: Mapping[str, bytes] = DEMO, **outside: bytes) -> Path:
    """
    The site-packages of an environment, as an installer leaves it: without a virtual environment around it. `outside`
    are files below its prefix, `__` for a slash.
    """
    site = folder / "env" / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    with zipfile.ZipFile(pack(folder, contents)) as archive:
        archive.extractall(site)
    info = site / "demo-1.0.dist-info"
    (info / "INSTALLER").write_text("pip\n")
    (site / "demo" / "__pycache__").mkdir()
    (site / "demo" / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"compiled")
    with (info / "RECORD").open("a") as record:
        record.write("demo-1.0.dist-info/INSTALLER,,\ndemo/__pycache__/__init__.cpython-311.pyc,,\n")
        for name, data in outside.items():
            place = folder / "env" / name.replace("__", "/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            record.write(f"../../../{name.replace('__', '/')},{record_hash(data)},{len(data)}\n")
    return site


def seen(site: Path, *, verify: bool = True) -> Distribution:
    """What a snapshot knows of it."""
    facts = [fact for fact in distributions(LocalTree(), [str(site)], verify) if fact["kind"] == "distribution"]
    (fact,) = facts
    return msgspec.convert({key: value for key, value in fact.items() if key != "kind"}, Distribution)


def packed(item: Distribution, folder: Path, *, taken_at: str = LATER, **more: Any) -> LockedDistribution | Problem:
    folder.mkdir(exist_ok=True)
    (found,) = repack.pack([item], folder, python=more.pop("python", Python()), taken_at=taken_at, **more)
    return found


def problem(item: Distribution, folder: Path, **more: Any) -> Problem:
    found = packed(item, folder, **more)
    assert isinstance(found, Problem), found
    assert found.advice
    assert list(folder.glob("*.whl")) == []
    return found


def wheel(item: Distribution, folder: Path, **more: Any) -> tuple[LockedDistribution, Path]:
    """What was packed, after the strict reader of `build` has looked it through."""
    found = packed(item, folder, **more)
    assert isinstance(found, LockedDistribution), found
    wheels.wheel_entries(folder / found.wheel.name)
    return found, folder / found.wheel.name


def test_files_that_were_not_changed_have_the_record_that_the_snapshot_knows(tmp_path: Path) -> None:
    """So it is proven that they are the ones, whoever packed them: METADATA and WHEEL stay as they are too."""
    item = seen(install(tmp_path))

    found, file = wheel(item, tmp_path / "out")

    assert wheels.record_sha256(file) == item.record_sha256
    assert found.repacked is not None
    assert (found.state, found.repacked.origin, found.repacked.changed) == ("repacked", "installed", ())
    with zipfile.ZipFile(file) as archive:
        assert sorted(archive.namelist()) == sorted(
            [*DEMO, *(f"demo-1.0.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD"))]
        )


def test_a_module_that_was_changed_by_hand_goes_in_as_it_is_with_its_old_row_in_the_lock(tmp_path: Path) -> None:
    site = install(tmp_path)
    (site / "demo" / "__init__.py").write_text("answer = 42\n")
    item = seen(site)

    found, file = wheel(item, tmp_path / "out")

    with zipfile.ZipFile(file) as archive:
        assert archive.read("demo/__init__.py") == b"answer = 42\n"
        rows = {row[0]: row[1] for row in csv.reader(archive.read("demo-1.0.dist-info/RECORD").decode().splitlines())}
    assert rows["demo/__init__.py"] == record_hash(b"answer = 42\n")
    assert found.repacked is not None
    assert [(row.path, row.hash) for row in found.repacked.changed] == [
        ("demo/__init__.py", record_hash(b"answer = 41\n"))
    ]


def test_a_file_that_was_missing_when_the_snapshot_was_taken_is_missing_in_the_wheel(tmp_path: Path) -> None:
    site = install(tmp_path)
    (site / "demo" / "data.bin").unlink()

    found, file = wheel(seen(site), tmp_path / "out")

    with zipfile.ZipFile(file) as archive:
        assert "demo/data.bin" not in archive.namelist()
    assert found.repacked is not None
    assert [row.path for row in found.repacked.changed] == ["demo/data.bin"]


def test_neither_times_nor_umask_nor_other_peoples_bits_change_a_byte(tmp_path: Path) -> None:
    site = install(tmp_path, bin__tool=b"#!/somewhere/env/bin/python3.11\nprint()\n")
    (site / "demo" / "data.bin").chmod(0o755)
    item = seen(site)
    _, first = wheel(item, tmp_path / "one")
    for place in site.rglob("*"):
        if place.is_file():
            place.chmod(stat.S_IMODE(place.stat().st_mode) & 0o700)
            os.utime(place, (1_000_000_000, 1_000_000_000))

    before = os.umask(0o077)
    try:
        _, second = wheel(item, tmp_path / "two")
    finally:
        os.umask(before)

    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        modes = {info.filename: info.external_attr >> 16 & 0o777 for info in archive.infolist()}
    assert modes["demo/data.bin"] == 0o755
    assert modes["demo/__init__.py"] == 0o644


@pytest.mark.parametrize(
    "first_line",
    [
        b"#!/home/ada/env/bin/python\n",
        b"#!/home/ada/env/bin/python3.11\n",
        b"#!/bin/sh\n'''exec' \"/home/ada/a place/bin/python\" \"$0\" \"$@\"\n' '''\n",
    ],
)
def test_a_script_gets_the_first_line_that_any_installer_rewrites(tmp_path: Path, first_line: bytes) -> None:
    site = install(tmp_path, bin__tool=first_line + b"print('tool')\n")

    _, file = wheel(seen(site), tmp_path / "out")

    with zipfile.ZipFile(file) as archive:
        assert archive.read("demo-1.0.data/scripts/tool") == b"#!python\nprint('tool')\n"


@pytest.mark.parametrize("text", [b"#!/usr/bin/env python\nprint()\n", b"#!/bin/sh\necho\n", b"\x7fELF\x02\n", b""])
def test_any_other_program_stays_as_it_is(tmp_path: Path, text: bytes) -> None:
    site = install(tmp_path, bin__tool=text)

    _, file = wheel(seen(site), tmp_path / "out")

    with zipfile.ZipFile(file) as archive:
        assert archive.read("demo-1.0.data/scripts/tool") == text


def test_a_program_that_an_installer_writes_is_not_in_the_wheel(tmp_path: Path) -> None:
    points = {"demo-1.0.dist-info/entry_points.txt": b"[console_scripts]\ndemo = demo:main\n"}
    site = install(tmp_path, {**DEMO, **points}, bin__demo=b"#!/env/bin/python\n", share__demo__a=b"a")

    _, file = wheel(seen(site), tmp_path / "out")

    with zipfile.ZipFile(file) as archive:
        outside = [name for name in archive.namelist() if ".data/" in name]
    assert outside == ["demo-1.0.data/data/share/demo/a"]


def test_such_a_program_that_was_changed_is_refused(tmp_path: Path) -> None:
    points = {"demo-1.0.dist-info/entry_points.txt": b"[console_scripts]\ndemo = demo:main\n"}
    site = install(tmp_path, {**DEMO, **points}, bin__demo=b"#!/env/bin/python\n")
    (tmp_path / "env" / "bin" / "demo").write_text("#!/env/bin/python -O\n")

    assert "its program `bin/demo` was changed" in str(problem(seen(site), tmp_path / "out"))


def test_a_change_since_the_snapshot_is_refused(tmp_path: Path) -> None:
    """Nobody knows whether it is what trained the model."""
    site = install(tmp_path)
    item = seen(site)
    (site / "demo" / "__init__.py").write_text("answer = 43\n")

    assert "`demo/__init__.py` was changed since the snapshot" in str(problem(item, tmp_path / "out"))


def test_a_change_back_since_the_snapshot_is_refused_too(tmp_path: Path) -> None:
    site = install(tmp_path)
    (site / "demo" / "__init__.py").write_text("answer = 42\n")
    item = seen(site)
    (site / "demo" / "__init__.py").write_bytes(DEMO["demo/__init__.py"])

    assert "`demo/__init__.py` was changed since the snapshot" in str(problem(item, tmp_path / "out"))


def test_a_changed_file_that_was_written_after_the_snapshot_is_refused(tmp_path: Path) -> None:
    """The snapshot knows that it differed, and not what it held."""
    site = install(tmp_path)
    (site / "demo" / "__init__.py").write_text("answer = 42\n")
    item = seen(site)

    found = problem(item, tmp_path / "out", taken_at="2001-01-01T00:00:00Z")

    assert "was written after the snapshot was taken" in str(found)


def test_a_change_of_which_the_snapshot_says_nothing_is_refused_with_the_option_that_would_say_it(
    tmp_path: Path,
) -> None:
    site = install(tmp_path)
    (site / "demo" / "__init__.py").write_text("answer = 42\n")

    found = problem(seen(site, verify=False), tmp_path / "out")

    assert "--verify-files" in found.advice
    assert "1 of its files are not those that were installed" in found.reason


def test_what_was_installed_anew_or_is_gone_is_refused(tmp_path: Path) -> None:
    site = install(tmp_path)
    item = seen(site)
    record = site / "demo-1.0.dist-info" / "RECORD"
    record.write_text(record.read_text().replace("demo/data.bin", "demo/other.bin"))
    assert "was installed anew since the snapshot" in str(problem(item, tmp_path / "out"))

    record.unlink()
    assert "does not lie here any more" in str(problem(item, tmp_path / "out"))


def test_what_leads_out_of_the_environment_is_refused(tmp_path: Path) -> None:
    site = install(tmp_path)
    with (site / "demo-1.0.dist-info" / "RECORD").open("a") as record:
        record.write(f"../../../../outside,{record_hash(b'x')},1\n")
    (tmp_path / "outside").write_bytes(b"x")
    assert "lies outside of the environment" in str(problem(seen(site), tmp_path / "out"))


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    site = install(tmp_path)
    (tmp_path / "outside").write_bytes(DEMO["demo/data.bin"])
    (site / "demo" / "data.bin").unlink()
    (site / "demo" / "data.bin").symlink_to(tmp_path / "outside")

    assert "is a link that leads out of it" in str(problem(seen(site), tmp_path / "out"))


def test_a_path_by_a_detour_is_refused(tmp_path: Path) -> None:
    site = install(tmp_path)
    with (site / "demo-1.0.dist-info" / "RECORD").open("a") as record:
        record.write(f"demo/../late.py,{record_hash(b'x')},1\n")
    (site / "late.py").write_bytes(b"x")

    assert "a path that no wheel can hold" in str(problem(seen(site), tmp_path / "out"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"installer": "conda"}, "was installed by conda"),
        ({"record_sha256": None}, "has no RECORD in the snapshot"),
        ({"form": "egg-info"}, "has no RECORD in the snapshot"),
        ({"wheel_tags": ()}, "records no wheel"),
        ({"wheel_tags": ("py3-none-any", "cp311-cp311-linux_x86_64")}, "tags that no name of a wheel can say"),
        ({"version": "not a version"}, "PEP 440"),
    ],
)
def test_what_no_wheel_can_be_made_of_says_why(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    item = msgspec.structs.replace(seen(install(tmp_path)), **change)

    assert words in str(problem(item, tmp_path / "out"))


def test_entry_points_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    site = install(tmp_path, {**DEMO, "demo-1.0.dist-info/entry_points.txt": b"[console_scripts\n"})

    assert "entry_points.txt cannot be read" in str(problem(seen(site), tmp_path / "out"))


def test_several_tags_are_one_compressed_name(tmp_path: Path) -> None:
    tags = "cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64"
    item = msgspec.structs.replace(seen(install(tmp_path)), wheel_tags=tags)

    found = packed(item, tmp_path / "out")

    assert isinstance(found, LockedDistribution)
    assert found.wheel.name == "demo-1.0-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"


def test_a_name_that_goes_into_no_lock_is_a_usage_error() -> None:
    chosen = [Distribution(name="scikit-learn", version="1.4.2")]

    assert repack.ask(["Scikit_Learn"], chosen) == (frozenset({"scikit-learn"}), False)
    assert repack.ask(["all"], chosen) == (frozenset(), True)
    with pytest.raises(UsageError, match="`scikit-lern`, and no such distribution"):
        repack.ask(["scikit-lern"], chosen)


@pytest.mark.parametrize("folder", ["", "#subdirectory=py"])
def test_what_was_installed_from_version_control_names_its_commit(folder: str, tmp_path: Path) -> None:
    address = f"git+https://host.example/demo.git@{'a1' * 20}{folder}"
    item = msgspec.structs.replace(seen(install(tmp_path)), direct_url=address)

    found, _ = wheel(item, tmp_path / "out")

    assert found.repacked is not None
    assert (found.repacked.origin, found.repacked.url) == ("vcs", "https://host.example/demo.git")
    assert found.repacked.commit == "a1" * 20


def test_a_repository_on_this_machine_gives_its_commit_and_no_path(tmp_path: Path) -> None:
    item = msgspec.structs.replace(seen(install(tmp_path)), direct_url="git+file:///home/ada/demo@" + "a1" * 20)

    found, _ = wheel(item, tmp_path / "out")

    assert found.repacked is not None
    assert (found.repacked.url, found.repacked.commit) == ("", "a1" * 20)


# --- Projects -----------------------------------------------------------------------------------------------------


def project(folder: Path, backend: str) -> Distribution:
    """An editable installation of a project whose build backend is this text."""
    folder.mkdir()
    (folder / "backend.py").write_text(backend)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "demo"\nversion = "1.0"\n'
    )
    return Distribution(name="demo", version="1.0", editable=True, direct_url=folder.as_uri())


def backend_of(wheel: Path) -> str:
    """A build backend that gives this wheel."""
    return (
        "import shutil\ndef build_wheel(folder, settings=None, metadata=None):\n"
        f"    shutil.copy({str(wheel)!r}, folder)\n    return {wheel.name!r}\n"
    )


HERE = Python(version="3.11.7", prefix=sys.prefix, executable=File(sys.executable, "0" * 64))


def with_uv() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(needs_uv()).parent}:{os.environ['PATH']}"}


def test_a_project_is_built_by_its_own_backend_and_the_wheel_has_the_one_form(tmp_path: Path) -> None:
    item = project(tmp_path / "demo", backend_of(pack(tmp_path, DEMO)))

    found, file = wheel(item, tmp_path / "out", python=HERE, environ=with_uv())

    assert found.repacked is not None
    assert (found.repacked.origin, found.repacked.commit, found.repacked.dirty) == ("editable", "", None)
    assert found.import_names == ("demo",)
    with zipfile.ZipFile(file) as archive:
        assert archive.read("demo/__init__.py") == DEMO["demo/__init__.py"]
        assert {info.date_time[0] for info in archive.infolist()} == {1980}


def test_a_project_with_changes_in_no_commit_says_so(tmp_path: Path) -> None:
    item = project(tmp_path / "demo", backend_of(pack(tmp_path, DEMO)))
    git = (needs_tool("git"), "-c", "user.name=A", "-c", "user.email=a@example.org")
    for arguments in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        subprocess.run([*git, *arguments], cwd=tmp_path / "demo", check=True)
    (tmp_path / "demo" / "new.py").write_text("")

    found, _ = wheel(item, tmp_path / "out", python=HERE, environ=with_uv())

    assert found.repacked is not None
    assert len(found.repacked.commit) == 40
    assert found.repacked.dirty is True


def test_what_no_build_takes_in_is_no_change_of_the_project(tmp_path: Path) -> None:
    """A lock that lies in the project must not make the next lock another one; nor must what an installer left."""
    item = project(tmp_path / "demo", backend_of(pack(tmp_path, DEMO)))
    git = (needs_tool("git"), "-c", "user.name=A", "-c", "user.email=a@example.org")
    for arguments in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        subprocess.run([*git, *arguments], cwd=tmp_path / "demo", check=True)
    (tmp_path / "demo" / "pylock.toml").write_text("")
    (tmp_path / "demo" / "src" / "demo.egg-info").mkdir(parents=True)
    (tmp_path / "demo" / "src" / "demo.egg-info" / "PKG-INFO").write_text("")
    (tmp_path / "beside.txt").write_text("")

    found, _ = wheel(item, tmp_path / "out", python=HERE, environ=with_uv())

    assert found.repacked is not None
    assert found.repacked.dirty is False


def test_pip_builds_where_there_is_no_uv(tmp_path: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        not_here("pip is not installed beside the tests")
    item = project(tmp_path / "demo", backend_of(pack(tmp_path, DEMO)))

    found, _ = wheel(item, tmp_path / "out", python=HERE, environ={"PATH": "/nowhere", "HOME": str(tmp_path)})

    assert found.wheel.name == "demo-1.0-py3-none-any.whl"


def test_without_uv_and_pip_nothing_is_built(tmp_path: Path) -> None:
    item = project(tmp_path / "demo", "")
    bare = tmp_path / "bare"
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([base, "-m", "venv", "--without-pip", bare], check=True)

    with pytest.raises(UnreachableError, match="neither is here"):
        packed(item, tmp_path / "out", python=Python(prefix=str(bare)), environ={"PATH": "/nowhere"})


def test_a_backend_that_fails_is_a_problem_with_its_last_words(tmp_path: Path) -> None:
    item = project(tmp_path / "demo", "def build_wheel(*_):\n    raise SystemExit('no compiler here')\n")

    found = problem(item, tmp_path / "out", python=HERE, environ=with_uv())

    assert "its own build backend fails" in found.reason


def test_a_project_of_another_version_by_now_is_refused(tmp_path: Path) -> None:
    contents = {"demo/__init__.py": b""}
    item = project(tmp_path / "demo", backend_of(pack(tmp_path, contents, file_name="demo-2.0-py3-none-any.whl")))

    assert "is now demo 2.0" in str(problem(item, tmp_path / "out", python=HERE, environ=with_uv()))


def test_a_project_that_is_not_here_or_is_none_is_refused(tmp_path: Path) -> None:
    gone = Distribution(name="demo", version="1.0", editable=True, direct_url=(tmp_path / "gone").as_uri())
    assert "its project is not here" in str(problem(gone, tmp_path / "out", python=HERE))

    (tmp_path / "gone").mkdir()
    assert "has no pyproject.toml" in str(problem(gone, tmp_path / "out", python=HERE))


def test_a_project_whose_python_is_not_here_is_refused(tmp_path: Path) -> None:
    item = project(tmp_path / "demo", "")

    assert "the Python that trained the model" in str(problem(item, tmp_path / "out", python=Python(prefix="/none")))


def test_an_editable_distribution_that_was_installed_anew_is_refused(tmp_path: Path) -> None:
    item = msgspec.structs.replace(seen(install(tmp_path)), editable=True, record_sha256="0" * 64)

    assert "was installed anew" in str(problem(item, tmp_path / "out", python=HERE))
