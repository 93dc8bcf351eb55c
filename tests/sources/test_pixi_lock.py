"""Locks of Pixi, of every version that stands in public repositories."""

from __future__ import annotations

import pytest

from envparity.errors import MalformedError, TargetNeededError, UsageError
from tests.sources.reading import conda, found, read_text, reasons, rows
from tests.sources.samples import MD5, PIXI, A, C, conda_entry

V5 = f"""\
version: 5
environments:
  default:
    channels:
    - url: https://conda.anaconda.org/conda-forge/
    packages:
      linux-64:
      - conda: https://conda.anaconda.org/conda-forge/linux-64/numpy-1.26.4-py311h1_0.conda
      - pypi: https://files.example/six-1.16.0-py2.py3-none-any.whl
packages:
- kind: conda
  name: numpy
  version: 1.26.4
  build: py311h1_0
  subdir: linux-64
  url: https://conda.anaconda.org/conda-forge/linux-64/numpy-1.26.4-py311h1_0.conda
  sha256: {A}
  md5: {MD5}
  purls:
  - pkg:pypi/numpy?source=hash-mapping
- kind: pypi
  name: six
  version: 1.16.0
  url: https://files.example/six-1.16.0-py2.py3-none-any.whl
  sha256: {C}
  requires_python: '>=2.7'
"""


@pytest.mark.parametrize("text", [PIXI, V5, V5.replace("version: 5", "version: 4")])
def test_conda_packages_and_the_distributions_that_they_bring(text: str) -> None:
    environment = read_text("pixi.lock", text)

    assert ("numpy", "1.26.4", "py311h1_0") in conda(environment)
    assert rows(environment) == [("numpy", "1.26.4", ""), ("six", "1.16.0", "")]
    assert found(environment, "six").hashes == (f"sha256:{C}",)
    assert environment.system is not None
    assert environment.system.machine == "x86_64"


def test_every_package_that_names_its_distributions_makes_the_list_exact() -> None:
    environment = read_text("pixi.lock", PIXI)

    assert "" not in reasons(environment, "distributions")
    assert "" in reasons(read_text("pixi.lock", PIXI.replace("  purls: []\n", "")), "distributions")


def test_the_first_versions_have_one_list_with_a_platform_an_entry() -> None:
    text = f"version: 3\nmetadata:\n  platforms:\n  - linux-64\npackage:\n{conda_entry('numpy', '1.26.4')}"
    text += "- platform: linux-64\n  name: six\n  version: 1.16.0\n  kind: pypi\n"
    text += f"  url: https://files.example/six-1.16.0-py3-none-any.whl\n  hash:\n    sha256: {C}\n"

    environment = read_text("pixi.lock", text)

    assert conda(environment) == [("numpy", "1.26.4", "h1_0")]
    assert rows(environment) == [("six", "1.16.0", "")]


def test_an_environment_and_a_platform_are_asked_for() -> None:
    second = PIXI.replace("packages:\n- conda", "  test:\n    packages:\n      osx-arm64: []\npackages:\n- conda", 1)

    with pytest.raises(TargetNeededError, match="several environments: default, test") as caught:
        read_text("pixi.lock", second)
    assert "--group" in caught.value.hint
    assert len(conda(read_text("pixi.lock", second, groups=("default",)))) == 2
    assert len(conda(read_text("pixi.lock", second, groups=("main",)))) == 2
    assert conda(read_text("pixi.lock", second, groups=("test",))) == []
    with pytest.raises(UsageError, match="no platform `windows/amd64`; it has: linux/amd64"):
        read_text("pixi.lock", second, groups=("default",), platform="windows/amd64")


def test_a_package_that_is_built_from_a_folder_is_named_by_it() -> None:
    text = PIXI.replace("https://files.example/six-1.16.0-py2.py3-none-any.whl", "./six").replace(
        f"  sha256: {C}\n", "  editable: true\n"
    )
    six = found(read_text("pixi.lock", text), "six")

    assert (six.direct_url, six.editable, six.hashes) == ("./six", True, ())


def test_a_reference_to_a_package_that_is_not_there_was_cut_off() -> None:
    with pytest.raises(MalformedError, match="ends too early") as caught:
        read_text(
            "pixi.lock", PIXI[: PIXI.index("- pypi: https://files.example/six-1.16.0-py2.py3-none-any.whl\n  name")]
        )

    assert caught.value.where == "environments.default.packages.linux-64[2]"
