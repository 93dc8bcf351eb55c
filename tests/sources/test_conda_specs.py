"""How conda names packages: what a specification asks for, and what an address tells."""

from __future__ import annotations

import pytest

from envparity.errors import MalformedError
from envparity.sources.conda_specs import declared, merged, of_url, ranged


@pytest.mark.parametrize(
    ("spec", "name", "version", "specifier", "build", "channel"),
    [
        ("numpy", "numpy", "", "", "", ""),
        ("numpy=1.26", "numpy", "", "==1.26.*", "", ""),
        ("numpy==1.26.4", "numpy", "1.26.4", "", "", ""),
        ("numpy=1.26.4=py311_0", "numpy", "1.26.4", "", "py311_0", ""),
        ("numpy==1.26.4=py311_0", "numpy", "1.26.4", "", "py311_0", ""),
        ("numpy 1.26.* py311*", "numpy", "", "==1.26.*", "py311*", ""),
        ("numpy >=1.26, <2", "numpy", "", ">=1.26,<2", "", ""),
        ("numpy>=1.26,<2", "numpy", "", ">=1.26,<2", "", ""),
        ("numpy 1.26.4", "numpy", "", "==1.26.4", "", ""),
        ("numpy 1.26|1.27", "numpy", "", "1.26|1.27", "", ""),
        ("conda-forge::Numpy=1.26", "numpy", "", "==1.26.*", "", "conda-forge"),
        ("conda-forge/linux-64::numpy", "numpy", "", "", "", "conda-forge"),
        ("numpy[version='>=1.26,<2',build=x]", "numpy", "", ">=1.26,<2", "x", ""),
        ("uvicorn[standard] >=0.12.0,<0.18.0", "uvicorn", "", ">=0.12.0,<0.18.0", "", ""),
        ("numpy[build=x] ==1.26.4", "numpy", "1.26.4", "", "x", ""),
        ("__cuda >=12", "__cuda", "", ">=12", "", ""),
        ("numpy # the fast one", "numpy", "", "", "", ""),
    ],
)
def test_a_specification_is_understood(
    spec: str, name: str, version: str, specifier: str, build: str, channel: str
) -> None:
    fact = declared(spec, "here")

    assert fact["name"] == name
    assert fact.get("version", "") == version
    assert fact.get("specifier", "") == specifier
    assert fact["build"] == build
    assert fact["channel"] == channel


@pytest.mark.parametrize("spec", ["", "-r requirements.txt", "=1.2", "é", "https://x.example/y"])
def test_what_names_no_package_is_refused_with_its_place(spec: str) -> None:
    with pytest.raises(MalformedError) as caught:
        declared(spec, "dependencies[2]")

    assert caught.value.where == "dependencies[2]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("*", ""),
        ("=1.2", "==1.2.*"),
        ("1.2.*", "==1.2.*"),
        ("!=1.5", "!=1.5"),
        ("~=1.4", "~=1.4"),
        ("a|b", "a|b"),
    ],
)
def test_a_range_is_said_in_the_words_of_pep_440_where_it_has_them(text: str, words: str) -> None:
    assert ranged(text) == words


def test_an_address_tells_name_version_build_and_place() -> None:
    fact = of_url("https://conda.anaconda.org/t/hunter2/nvidia/linux-64/lib-cu-12-12.1.0.26-h1_0.tar.bz2#abc", "here")

    assert (fact["name"], fact["version"], fact["build"]) == ("lib-cu-12", "12.1.0.26", "h1_0")
    assert (fact["channel"], fact["subdir"]) == ("https://conda.anaconda.org/t/***/nvidia", "linux-64")


def test_several_specifications_of_one_package_are_one() -> None:
    facts = merged([declared("numpy>=1.20", ""), declared("numpy<2", ""), declared("c::numpy", "")], "file")

    assert [(fact["specifier"], fact["channel"]) for fact in facts] == [(">=1.20,<2", "c")]
    with pytest.raises(MalformedError, match=r"as 1\.0 and as 2\.0"):
        merged([declared("numpy==1.0", ""), declared("numpy==2.0", "")], "file")
