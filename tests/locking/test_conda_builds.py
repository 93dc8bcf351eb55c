"""Builds of conda packages that nobody named: chosen by rattler in a small channel of our own, for any platform."""

from __future__ import annotations

import pytest

from envparity.errors import ConflictError, RefusedError, UnsupportedError
from envparity.locking import conda_builds
from envparity.locking.asked import Asked
from envparity.resolvers import conda_solving
from envparity.values import Basis, CondaPackage, Environment, Origin
from tests.condas import indexed, package

GLIBC = "2.36"


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> str:
    """
    On `linux-aarch64` an interpreter, a library in another version than on macOS, one that macOS does not need, and of
    one module the versions before and after; for all platforms another module, in two builds.
    """
    folder = tmp_path_factory.mktemp("channel")
    there, all_of_them = folder / "linux-aarch64", folder / "noarch"
    package(there, "python", "3.11.7", depends=["__glibc >=2.17", "libgcc"], build="h1_0")
    package(there, "libgcc", "15.1", build="h1_0")
    package(there, "sums", "1.9", depends=["python"], build="h1_0")
    package(there, "sums", "2.1", depends=["python"], build="h1_0")
    package(there, "libsums", "4.0", build="h1_0")
    package(there, "adds", "1.0", depends=["python", "libsums"], build="h1_0")
    package(there, "newer", "1.0", depends=["python", "libsums >=5"], build="h1_0")
    package(all_of_them, "words", "1.0", depends=["python"], build="pyh1_0", entry_points=[])
    package(all_of_them, "words", "1.0", depends=["python"], build="pyh2_0", entry_points=[])
    return indexed(folder).as_uri()


def trained(channel: str, *wanted: str) -> tuple[CondaPackage, ...]:
    """What lay in an environment of macOS; the first were asked for by name."""
    known = {
        "python": ("3.11.7", "h9_0", "osx-arm64"),
        "words": ("1.0", "pyh1_0", "noarch"),
        "adds": ("1.0", "h9_0", "osx-arm64"),
        "newer": ("1.0", "h9_0", "osx-arm64"),
        "sums": ("2.0", "h9_0", "osx-arm64"),
        "libsums": ("3.0", "h9_0", "osx-arm64"),
        "libcxx": ("18.1", "h9_0", "osx-arm64"),
    }
    return tuple(
        CondaPackage(
            name=name,
            version=version,
            build=build,
            channel=channel,
            subdir=subdir,
            requested=not name.startswith("lib"),
        )
        for name, (version, build, subdir) in known.items()
        if name in wanted
    )


def elsewhere(packages: tuple[CondaPackage, ...], named: tuple[str, ...] = ()) -> conda_builds.Elsewhere:
    environment = Environment(origin=Origin(kind="live", channels=named), conda_packages=packages)
    return conda_builds.elsewhere(
        environment, packages, platform="linux/arm64", machine="aarch64", glibc=GLIBC, asked=Asked()
    )


def test_another_platform_gets_the_same_versions_and_what_could_not_be_kept_is_told(channel: str) -> None:
    """A library that nobody named may differ from platform to platform; that is said, and never silent."""
    found = elsewhere(trained(channel, "python", "words", "adds", "libsums", "libcxx"))

    assert {item.name: f"{item.version} {item.build} {found.states[item.name]}" for item in found.packages} == {
        "adds": "1.0 h1_0 counterpart",
        "libgcc": "15.1 h1_0 resolved",
        "libsums": "4.0 h1_0 resolved",
        "python": "3.11.7 h1_0 counterpart",
        "words": "1.0 pyh1_0 matched",
    }
    assert [(item.name, item.before, item.after) for item in found.substituted] == [("libsums", "3.0", "4.0")]
    assert [(item.name, item.version) for item in found.left_out] == [("libcxx", "18.1")]
    assert f"__glibc={GLIBC}=0" in found.virtual
    assert "__archspec=1=aarch64" in found.virtual


def test_what_was_asked_for_and_is_not_there_is_refused_with_the_nearest_versions(channel: str) -> None:
    with pytest.raises(RefusedError) as caught:
        elsewhere(trained(channel, "python", "sums"))

    assert caught.value.details == ("sums 2.0 (conda): nearest for linux-aarch64: 1.9, 2.1",)


def test_versions_that_do_not_go_together_there_are_refused_with_the_reason(channel: str) -> None:
    with pytest.raises(ConflictError) as caught:
        elsewhere(trained(channel, "python", "newer"))

    assert "libsums" in " ".join(caught.value.details)


@pytest.fixture(scope="module")
def two_channels(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """
    Channels that both have a tool, a library of it, and what only this platform needs. The first has another version of
    the library, and a build of the tool of the same version.
    """
    first, second = (tmp_path_factory.mktemp("two") / name for name in ("conda-forge", "main"))
    for folder, library, build in ((first, "9.0", "h1_0"), (second, "2.0", "h2_0")):
        there = folder / "linux-aarch64"
        package(there, "tool", "1.0", depends=["libtool", "needed-here"], build=build)
        package(there, "libtool", library, build=build)
        package(there, "needed-here", "1.0", build=build)
        package(there, "python", "3.11.7", build=build)
    return indexed(first).as_uri(), indexed(second).as_uri()


@pytest.mark.parametrize(
    ("named", "chosen"),
    [
        ("second first", "main"),
        ("first second", "conda-forge"),
        ("conda-forge", "conda-forge"),
        ("absent", "main"),
        ("", "main"),
    ],
)
def test_what_only_another_platform_needs_is_of_the_channel_that_came_first(
    two_channels: tuple[str, str], named: str, chosen: str
) -> None:
    """
    Of an older snapshot, or of one that names no channel, the first one is that of the most packages. What was there
    in training stays in its own channel, in its version, whichever is the first.
    """
    first, second = two_channels
    places = {"first": first, "second": second}
    packages = tuple(
        CondaPackage(name=name, version=version, build="h9_0", channel=channel, subdir="linux-64", requested=asked)
        for name, version, channel, asked in (
            ("tool", "1.0", second, True),
            ("libtool", "2.0", second, False),
            ("python", "3.11.7", first, True),
        )
    )

    found = elsewhere(packages, tuple(places.get(name, name) for name in named.split()))

    assert {item.name: (item.version, item.channel.rpartition("/")[2]) for item in found.packages} == {
        "tool": ("1.0", "main"),
        "libtool": ("2.0", "main"),
        "python": ("3.11.7", "conda-forge"),
        "needed-here": ("1.0", chosen),
    }
    assert found.substituted == ()


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ((), ("https://a.example/pkgs/main", "https://m.example/conda-forge", "https://x.example/b")),
        (
            ("conda-forge", "defaults"),
            ("https://m.example/conda-forge", "https://a.example/pkgs/main", "https://x.example/b"),
        ),
        (
            ("https://x.example/t/***/b", "https://y.example/conda-forge"),
            ("https://x.example/b", "https://a.example/pkgs/main", "https://m.example/conda-forge"),
        ),
        (
            ("m", "b", "https://m.example/conda-forge"),
            ("https://x.example/b", "https://m.example/conda-forge", "https://a.example/pkgs/main"),
        ),
    ],
)
def test_a_name_is_that_of_a_mirror_too_and_an_address_that_of_one_place(
    named: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    packages = [
        CondaPackage(name=str(number), channel=f"https://{place}/t/tk-1/b" if place == "x.example" else place)
        for number, place in enumerate(
            ["https://a.example/pkgs/main"] * 3 + ["https://m.example/conda-forge"] * 2 + ["x.example"]
        )
    ]

    assert conda_builds.channel_order(packages, named) == expected


def declared(name: str, specifier: str = "", version: str = "", build: str = "") -> CondaPackage:
    return CondaPackage(name=name, basis=Basis.DECLARED, specifier=specifier, version=version, build=build)


def of_file(channels: tuple[str, ...], *packages: CondaPackage, python_version: str = "") -> dict[str, str]:
    origin = Origin(kind="environment-yml", reference="environment.yml", channels=channels)
    found, resolved = conda_builds.chosen(
        Environment(origin=origin),
        packages,
        machine="aarch64",
        glibc=GLIBC,
        asked=Asked(python_version=python_version),
    )
    return {item.name: f"{item.version}{' resolved' if item.name in resolved else ''}" for item in found}


def test_of_what_a_file_asks_for_what_it_pins_stays_and_the_rest_is_said_to_be_chosen(channel: str) -> None:
    wanted = (declared("python", "==3.11.*"), declared("sums", version="1.9"), declared("words", ">=1,<2"))

    assert of_file((channel,), *wanted, python_version="3.11") == {
        "libgcc": "15.1 resolved",
        "python": "3.11.7 resolved",
        "sums": "1.9",
        "words": "1.0 resolved",
    }


def test_a_file_without_a_channel_is_refused_with_what_to_write(channel: str) -> None:
    """conda would take the channels of whoever runs it, and a lock is the same for everybody."""
    with pytest.raises(UnsupportedError, match="names no channel") as caught:
        of_file((), declared("python"))

    assert "channels: [conda-forge]" in caught.value.hint


def test_names_of_channels_are_addresses_as_conda_finds_them() -> None:
    assert conda_solving.addresses(["conda-forge", "defaults", "nodefaults", "https://x.example/main/", "/mnt/x"]) == (
        "https://conda.anaconda.org/conda-forge",
        "https://repo.anaconda.com/pkgs/main",
        "https://repo.anaconda.com/pkgs/r",
        "https://x.example/main",
        "file:///mnt/x",
    )
