"""`conda:PREFIX`: environments that rattler installed, with and without a Python of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envparity import codec
from envparity.errors import UnreachableError, UsageError
from envparity.sources import Options, read
from envparity.sources.live import active
from envparity.sources.virtual import with_virtual_packages
from envparity.values import CondaPackage, Environment
from tests.condas import installed, package, subdir, with_python
from tests.elves import elf64


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("channel") / "private"
    place = folder / subdir()
    package(place, "libblas", "3.9.0", build="22_mkl", ending=".tar.bz2")
    package(place, "libopenblas", "0.3.28", {"lib/libopenblasp-r0.3.28.so": elf64(soname="libopenblas.so.0")})
    package(place, "r-base", "4.4.2", depends=["libopenblas"])
    package(place, "numpy", "1.26.4", depends=["libblas >=3.9"], build="py311_0")
    package(place, "python", "3.11.7", build="hab00c5b_1_cpython")
    package(place, "needs-a-machine", "1.0", depends=["__glibc >=2.17", "__unix", "__archspec"])
    return folder


@pytest.fixture(scope="module")
def tools(channel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment without Python."""
    return installed(channel, tmp_path_factory.mktemp("tools") / "env", "numpy", "needs-a-machine")


@pytest.fixture(scope="module")
def training(channel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with Python, in which pip then replaced what conda had installed."""
    prefix = installed(channel, tmp_path_factory.mktemp("training") / "env", "numpy", "python")
    site_packages = with_python(prefix)
    for folder, installer in (("numpy-2.1.0.dist-info", "pip"), ("numpy-1.26.4.dist-info", "conda")):
        info = site_packages / folder
        info.mkdir()
        version = folder.split("-")[1].removesuffix(".dist")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: numpy\nVersion: {version}\n")
        (info / "INSTALLER").write_text(f"{installer}\n")
    return prefix


def by_name(environment: Environment, *, virtual: bool = False) -> dict[str, CondaPackage]:
    assert environment.conda_packages is not None
    return {item.name: item for item in environment.conda_packages if item.virtual == virtual}


@pytest.mark.parametrize("kind", ["tools", "training"])
def test_the_order_of_its_channels_is_recorded_where_an_environment_says_it(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """A lock that must choose anew would take another package of the same name from the channel that came second."""
    prefix: Path = request.getfixturevalue(kind)
    settings = prefix / ".condarc"
    settings.write_text("channels: [conda-forge, https://ada:canary@conda.example/main]\n")
    try:
        environment = read(f"conda:{prefix}")
    finally:
        settings.unlink()

    assert environment.origin.channels == ("conda-forge", "https://conda.example/main")
    assert read(f"conda:{prefix}").origin.channels == ()


def test_an_environment_without_python_is_read_from_its_records(tools: Path, channel: Path) -> None:
    environment = read(f"conda:{tools}")

    found = by_name(environment)
    assert {name: (item.version, item.build, item.requested) for name, item in found.items()} == {
        "libblas": ("3.9.0", "22_mkl", False),
        "numpy": ("1.26.4", "py311_0", True),
        "needs-a-machine": ("1.0", "h1_0", True),
    }
    assert found["libblas"].url == f"{channel.as_uri()}/{subdir()}/libblas-3.9.0-22_mkl.tar.bz2"
    assert all(item.sha256 and item.md5 and item.subdir == subdir() for item in found.values())
    assert (environment.python, environment.distributions) == (None, None)
    reasons = {gap.section: gap.reason for gap in environment.gaps}
    assert reasons["distributions"] == reasons["python"] == "this conda environment has no Python"
    assert environment.complete
    assert environment.system is not None
    assert environment.cpu is not None


def test_the_libraries_that_an_environment_without_python_computes_with_are_read(channel: Path, tmp_path: Path) -> None:
    """R computes with the OpenBLAS of its environment as numpy does, and one may be put beside it that nobody owns."""
    prefix = installed(channel, tmp_path / "env", "r-base")
    (prefix / "lib/libgomp.so.1").write_bytes(elf64())

    environment = read(f"conda:{prefix}", options=Options(environ={}))

    found = {item.product: item for item in environment.native_libraries or () if item.path.startswith(str(prefix))}
    assert {(item.name, item.version, item.owner_kind, item.owner) for item in found.values()} == {
        ("libopenblasp-r0.3.28.so", "0.3.28", "conda", "libopenblas"),
        ("libgomp.so.1", "", "", ""),
    }
    assert "native_libraries" not in {gap.section for gap in environment.gaps}


def test_an_environment_with_python_is_read_through_it(training: Path) -> None:
    environment = read(f"conda:{training}")

    assert environment.origin.reference == f"conda:{training}"
    assert environment.python is not None
    assert (environment.python.prefix, environment.python.provenance) == (str(training), "conda")
    assert set(by_name(environment)) == {"libblas", "numpy", "python"}


def test_what_pip_installed_over_a_package_of_conda_is_recorded_beside_it(training: Path) -> None:
    """The import takes one of them, and each tool knows only its own: a reader must see both."""
    environment = read(f"conda:{training}")

    assert by_name(environment)["numpy"].version == "1.26.4"
    installers = {(item.version, item.installer) for item in environment.distributions or () if item.name == "numpy"}
    assert installers == {("1.26.4", "conda"), ("2.1.0", "pip")}


def test_a_folder_of_conda_is_recognised_and_so_is_the_active_environment(tools: Path, training: Path) -> None:
    assert by_name(read(str(tools))) == by_name(read(f"conda:{tools}"))
    assert active(Options(environ={"CONDA_PREFIX": str(training)})).reference == f"conda:{training}"


def test_the_virtual_packages_are_those_that_rattler_detects(tools: Path) -> None:
    """They decided what was installed, here and now; another machine would have got another build."""
    rattler: Any = pytest.importorskip("rattler")
    detected = {str(item.into_generic()) for item in rattler.VirtualPackage.detect()}

    found = by_name(read(f"conda:{tools}"), virtual=True)

    assert {f"{item.name}={item.version}={item.build}" for item in found.values()} == detected


FACTS: list[dict[str, Any]] = [
    {"kind": "section", "section": "conda_packages"},
    {"kind": "system", "os": "linux", "libc": "glibc", "libc_version": "2.36"},
    {"kind": "host", "kernel": "6.1.0-18-amd64"},
    {"kind": "accelerators", "driver_cuda": "12.4"},
]


def virtual(facts: list[dict[str, Any]], **environ: str) -> tuple[set[str], set[str]]:
    """Name, version and build of each virtual package, and the names of those that are not known."""
    added = with_virtual_packages(facts, environ, here=False)[len(facts) :]
    known = [fact for fact in added if fact["kind"] != "gap"]
    return (
        {"{name}={version}={build}".format_map(fact) for fact in known},
        {str(fact["item"]) for fact in added if fact["kind"] == "gap"},
    )


def test_each_virtual_package_is_what_the_place_says_unless_its_variable_says_otherwise() -> None:
    told = {"__unix=0=0", "__linux=6.1.0=0", "__glibc=2.36=0", "__cuda=12.4=0"}

    assert virtual(FACTS) == (told, {"__archspec"})
    assert virtual(
        FACTS,
        CONDA_OVERRIDE_CUDA="11.8",
        CONDA_OVERRIDE_GLIBC="2.17",
        CONDA_OVERRIDE_LINUX="4.4",
        CONDA_OVERRIDE_ARCHSPEC="zen3",
    ) == ({"__unix=0=0", "__linux=4.4=0", "__glibc=2.17=0", "__cuda=11.8=0", "__archspec=1=zen3"}, set())
    empty = dict.fromkeys(("CONDA_OVERRIDE_CUDA", "CONDA_OVERRIDE_GLIBC", "CONDA_OVERRIDE_ARCHSPEC"), "")
    assert virtual(FACTS, **empty) == ({"__unix=0=0", "__linux=6.1.0=0"}, set())


def test_a_virtual_package_that_nobody_looked_for_is_not_called_absent() -> None:
    known, unknown = virtual(FACTS[:3])
    assert "__cuda" in unknown
    no_device: dict[str, Any] = {"kind": "section", "section": "accelerators"}
    known, unknown = virtual([*FACTS[:3], no_device])
    assert "__cuda" not in unknown | {item.partition("=")[0] for item in known}
    assert virtual([FACTS[0], {"kind": "system", "os": "darwin"}]) == (set(), {"__unix"})
    assert virtual(FACTS[1:]) == (set(), set())


def test_no_folder_of_this_host_is_in_the_content(tools: Path) -> None:
    """The content goes into images that strangers pull; the channel here is a folder of this machine."""
    environment = read(f"conda:{tools}")

    content = codec.content(environment)

    assert str(tools.parent.parent) not in codec.content_bytes(environment).decode()
    assert all(not item.virtual and item.requested is None for item in content.conda_packages or ())
    assert codec.content_digest(content) == codec.content_digest(environment)


@pytest.mark.parametrize(("name", "says"), [("absent", "there is no folder"), ("plain", "it has no `conda-meta`")])
def test_what_is_no_conda_environment_is_a_usage_error(name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()

    with pytest.raises(UsageError, match=says) as raised:
        read(f"conda:{name}", options=Options(base_dir=tmp_path))

    assert "conda env list" in str(raised.value.hint)


def test_an_environment_whose_python_is_gone_is_unreachable_not_one_without_python(tmp_path: Path) -> None:
    meta = tmp_path / "conda-meta"
    meta.mkdir()
    (meta / "python-3.11.7-0.json").write_text(json.dumps({"name": "python", "version": "3.11.7"}))

    with pytest.raises(UnreachableError, match="is gone"):
        read(f"conda:{tmp_path}")
