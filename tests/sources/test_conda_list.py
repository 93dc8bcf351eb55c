"""The three forms of `conda list` say the same."""

from __future__ import annotations

import pytest

from envparity.errors import MalformedError
from envparity.values import Basis
from tests.sources.reading import conda, found, read_text, rows
from tests.sources.samples import CONDA_EXPORT, CONDA_JSON, CONDA_LIST


@pytest.mark.parametrize("text", [CONDA_LIST, CONDA_JSON, CONDA_EXPORT])
def test_what_conda_and_what_pip_installed(text: str) -> None:
    environment = read_text("list.txt", text)

    assert ("numpy", "1.26.4") in [(name, version) for name, version, _ in conda(environment)]
    assert rows(environment) == [("torch", "2.3.0", "")]
    assert found(environment, "torch").basis is Basis.INSTALLED


def test_a_row_without_build_or_channel_is_read() -> None:
    assert conda(read_text("list.txt", CONDA_LIST))[0] == ("_libgcc_mutex", "0.1", "main")


@pytest.mark.parametrize("line", ["numpy", "a b c d e", "a=1"])
def test_a_line_that_conda_does_not_print_is_refused(line: str) -> None:
    with pytest.raises(MalformedError, match=r"conda list.*list.txt:7"):
        read_text("list.txt", CONDA_LIST + line + "\n")
