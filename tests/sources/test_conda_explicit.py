"""Explicit lists: addresses of archives, each with its digest."""

from __future__ import annotations

import pytest

from envparity.errors import MalformedError
from tests.sources.reading import conda, found, read_text
from tests.sources.samples import EXPLICIT, MD5, A


def test_packages_digests_platform_and_python() -> None:
    environment = read_text("conda-linux-64.lock", EXPLICIT)

    assert conda(environment) == [("python", "3.11.9", "h1_0_cpython"), ("six", "1.16.0", "pyh6_0")]
    python, six = environment.conda_packages or ()
    assert (python.md5, six.sha256) == (MD5, A)
    assert six.url == "https://conda.anaconda.org/t/***/conda-forge/noarch/six-1.16.0-pyh6_0.tar.bz2"
    assert environment.python is not None
    assert environment.python.version == "3.11.9"
    assert environment.system is not None
    assert environment.system.machine == "x86_64"


def test_lines_of_conda_lock_for_pip_count_too() -> None:
    line = f"# pip torch @ https://files.example/torch-2.3.0-cp311-cp311-linux_x86_64.whl --hash=sha256:{A}\n"
    torch = found(read_text("conda-linux-64.lock", EXPLICIT + line), "torch")

    assert (torch.version, torch.hashes) == ("2.3.0", (f"sha256:{A}",))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (f"#{MD5}", "#xyz", "not a md5"),
        (f"#sha256:{A}", f"#crc:{A}", "not a hash that conda knows"),
        ("https://conda.anaconda.org/conda-forge/linux-64/", "", "not an address"),
        ("python-3.11.9-h1_0_cpython.conda", "python.conda", "not the address of a conda package"),
    ],
)
def test_a_line_that_is_wrong_is_named(old: str, new: str, told: str) -> None:
    with pytest.raises(MalformedError, match=told) as caught:
        read_text("conda-linux-64.lock", EXPLICIT.replace(old, new))

    assert caught.value.where.startswith("conda-linux-64.lock:")
