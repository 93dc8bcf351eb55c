"""A lock of any tool is read through the standard's own reader; a damaged one never becomes a shorter one."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from packaging.pylock import Pylock
from packaging.tags import Tag

from envparity import codec, markers
from envparity.errors import MalformedError, TargetNeededError, UsageError
from envparity.sources import Options, pylock, read
from envparity.values import (
    Basis,
    Environment,
    Lock,
    LockedArtifact,
    LockedDistribution,
    LockedInterpreter,
    LockedModel,
    LockedOsPackage,
    LockedWheel,
    Packer,
    Target,
    Variable,
)
from tests.corpus import FOLDER

HASH = "ab" * 32

FOREIGN = f"""\
lock-version = "1.0"
created-by = "uv"
requires-python = ">=3.11"

[[packages]]
name = "colorama"
version = "0.4.6"
marker = "sys_platform == 'win32'"
sdist = {{ url = "https://bob:hunter2@files.example/colorama-0.4.6.tar.gz", hashes = {{ sha256 = "{HASH}" }} }}

[[packages]]
name = "numpy"
version = "1.26.4"
requires-python = ">=3.9"

[[packages.wheels]]
name = "numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.whl"
url = "https://files.example/numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.whl"
hashes = {{ sha256 = "{HASH.upper()}" }}

[[packages]]
name = "ours"
vcs = {{ type = "git", url = "https://hunter2@git.example/ours.git", commit-id = "{"1" * 40}" }}

[[packages]]
name = "here"
directory = {{ path = "./here", editable = true }}
"""


def parse(text: str) -> Environment:
    return pylock.parse(text.encode(), "pylock.toml", Options())


def test_every_package_is_there_with_its_marker_and_hashes() -> None:
    environment = parse(FOREIGN)

    assert [(item.name, item.version, item.marker) for item in environment.distributions or ()] == [
        ("colorama", "0.4.6", "sys_platform == 'win32'"),
        ("here", "", ""),
        ("numpy", "1.26.4", ""),
        ("ours", "", ""),
    ]
    colorama, here, numpy, ours = environment.distributions or ()
    assert {item.basis for item in (colorama, numpy)} == {Basis.LOCKED}
    assert numpy.hashes == (f"sha256:{HASH}",)
    assert colorama.hashes == (f"sha256:{HASH}",)
    assert (here.editable, here.direct_url) == (True, "./here")
    assert ours.direct_url == f"git+https://git.example/ours.git@{'1' * 40}"


def test_a_lock_says_what_python_it_asks_for_and_nothing_of_the_system() -> None:
    environment = parse(FOREIGN)

    assert environment.python is not None
    assert (environment.python.version, environment.python.specifier) == ("", ">=3.11")
    assert environment.python.basis is Basis.DECLARED
    assert environment.system is None
    assert not environment.open
    assert {"system", "os_packages", "numerics"} <= {gap.section for gap in environment.gaps}


def test_no_credential_of_a_lock_is_kept() -> None:
    assert "hunter2" not in repr(parse(FOREIGN))


def test_a_lock_without_packages_is_valid_only_if_it_says_so() -> None:
    assert parse('lock-version = "1.0"\ncreated-by = "x"\npackages = []\n').distributions == ()
    with pytest.raises(MalformedError, match="packages"):
        parse('lock-version = "1.0"\ncreated-by = "x"\n')


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('lock-version = "1.0"', 'lock-version = "2.0"', "lock-version"),
        ('version = "1.26.4"', 'version = "one"', "version"),
        ("[[packages]]", "<<<<<<< HEAD\n[[packages]]", "merge conflict"),
        ('name = "numpy"', "name = 3", "name"),
        ("directory = {", "size = [[[[", "TOML"),
        ('name = "here"', 'name = "ours"', "twice"),
    ],
)
def test_what_is_wrong_in_a_lock_is_named(old: str, new: str, told: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse(FOREIGN.replace(old, new, 1))

    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["x = " + "[" * 50_000, "x = " + "9" * 5000, "\ufeff\ufeff", "a = 1\na = 2\n"])
def test_a_hostile_toml_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse(text)


def test_one_project_under_two_markers_may_stand_there_twice() -> None:
    text = FOREIGN.replace('name = "here"', 'name = "ours"\nmarker = "os_name == \'nt\'"')

    assert [item.name for item in parse(text).distributions or ()].count("ours") == 2


def lock() -> Lock:
    wheel = LockedWheel(
        name="numpy-1.26.4-py3-none-any.whl", url="https://files.example/n.whl", size_bytes=5, sha256=HASH
    )
    package = LockedOsPackage(
        name="libc6",
        version="2.36-9",
        architecture="amd64",
        archive="debian",
        suite="bookworm",
        pool_path="pool/l.deb",
        size_bytes=3,
        sha256=HASH,
    )
    return Lock(
        requires_python="==3.11.2",
        distributions=(
            LockedDistribution(
                name="numpy", version="1.26.4", wheels=(wheel,), state="matched", import_names=("numpy",)
            ),
        ),
        targets=(
            Target(
                platform="linux/amd64",
                base="debian:bookworm",
                interpreter=LockedInterpreter(kind="base", version="3.11.2", executable="/usr/bin/python3.11"),
                os_packages=(package,),
            ),
        ),
        snapshot=LockedArtifact(name="snapshot.json", size_bytes=1, sha256=HASH),
        packer=Packer(library_version="1"),
        models=(LockedModel(name="model.joblib", size_bytes=9, sha256=HASH, modules=("sklearn.svm",)),),
        settings=(Variable("OMP_NUM_THREADS", "2"),),
    )


def test_a_lock_of_ours_is_read_with_all_that_it_fixes(tmp_path: Path) -> None:
    """Compared with an image it must speak of interpreter, OS packages, variables and model too."""
    (tmp_path / "pylock.toml").write_text(codec.dump_lock(lock()))

    environment = read("pylock.toml", options=Options(base_dir=tmp_path))

    assert environment.python is not None
    assert (environment.python.version, environment.python.basis) == ("3.11.2", Basis.LOCKED)
    assert environment.system is not None
    assert (environment.system.os, environment.system.machine) == ("linux", "x86_64")
    assert [item.name for item in environment.os_packages or ()] == ["libc6"]
    assert environment.settings is not None
    assert environment.settings.variables == (Variable("OMP_NUM_THREADS", "2"),)
    assert [(item.name, item.sha256, item.modules) for item in environment.artifacts or ()] == [
        ("model.joblib", HASH, ("sklearn.svm",))
    ]


def test_a_platform_that_is_not_locked_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="linux/amd64"):
        pylock.environment_of_lock(lock(), "linux/arm64")


def test_a_lock_of_ours_is_refused_wherever_it_is_cut() -> None:
    """TOML does not notice a cut between two tables; the count at its end does."""
    text = codec.dump_lock(lock())

    for end in range(len(text.rstrip())):
        with pytest.raises((MalformedError, UsageError)):
            pylock.parse(text[:end].encode(), "pylock.toml", Options())


SELECTED = """\
lock-version = "1.0"
created-by = "x"
extras = ["fast"]
dependency-groups = ["dev"]
""" + "".join(
    f'''
[[packages]]
name = "{name}"
version = "1"
marker = "{marker}"
sdist = {{ url = "https://files.example/{name}-1.tar.gz", hashes = {{ sha256 = "{HASH}" }} }}
'''
    for name, marker in (
        ("always", "python_version >= '3'"),
        ("windows", "sys_platform == 'win32'"),
        ("old", "python_full_version < '3.9'"),
        ("fast", "'fast' in extras"),
        ("dev", "'dev' in dependency_groups and os_name == 'posix'"),
    )
)


@pytest.mark.parametrize("extras", [(), ("fast",)])
@pytest.mark.parametrize("groups", [(), ("dev",)])
@pytest.mark.parametrize(("platform", "system"), [("linux/amd64", "linux"), ("windows/amd64", "windows")])
def test_a_target_selects_what_the_reader_of_the_standard_selects(
    extras: tuple[str, ...], groups: tuple[str, ...], platform: str, system: str, tmp_path: Path
) -> None:
    """`packaging.pylock` is the judge of what a pylock.toml means."""
    (tmp_path / "pylock.toml").write_text(SELECTED)
    known = markers.of_place(version="3.12.1", implementation="cpython", system=system, machine="x86_64")
    theirs = Pylock.from_dict(tomllib.loads(SELECTED)).select(
        environment=cast("Any", known), extras=extras, dependency_groups=groups
    )

    options = Options(base_dir=tmp_path, platform=platform, python_version="3.12.1", extras=extras, groups=groups)
    ours = read("pylock.toml", options=options)

    assert [item.name for item in ours.distributions or ()] == sorted(package.name for package, _ in theirs)


@pytest.mark.parametrize("name", ["pylock.uv.toml", "pylock.pip.toml"])
@pytest.mark.parametrize("version", ["3.9.1", "3.10.2", "3.12.1"])
@pytest.mark.parametrize(
    ("platform", "system", "machine"), [("linux/amd64", "linux", "x86_64"), ("windows/amd64", "windows", "AMD64")]
)
def test_a_lock_that_a_tool_wrote_means_what_the_reader_of_the_standard_says(
    name: str, version: str, platform: str, system: str, machine: str
) -> None:
    document = tomllib.loads((FOLDER / "pylock" / name).read_text())
    known = markers.of_place(version=version, implementation="cpython", system=system, machine=machine)
    tags = [Tag("py3", "none", "any"), Tag("py2", "none", "any")]
    theirs = Pylock.from_dict(document).select(environment=cast("Any", known), tags=tags)

    options = Options(base_dir=FOLDER / "pylock", platform=platform, python_version=version, extras=(), groups=())
    ours = read(name, options=options)

    assert [(item.name, item.version) for item in ours.distributions or ()] == sorted(
        (package.name, str(package.version or "")) for package, _ in theirs
    )


def test_one_of_several_targets_of_a_lock_of_ours_is_asked_for(tmp_path: Path) -> None:
    one = lock()
    other = msgspec.structs.replace(one.targets[0], platform="linux/arm64")
    (tmp_path / "pylock.toml").write_text(codec.dump_lock(msgspec.structs.replace(one, targets=(*one.targets, other))))

    with pytest.raises(TargetNeededError, match="linux/amd64, linux/arm64"):
        read("pylock.toml", options=Options(base_dir=tmp_path))
    environment = read("pylock.toml", options=Options(base_dir=tmp_path, platform="linux/arm64"))
    assert environment.system is not None
    assert environment.system.machine == "aarch64"
