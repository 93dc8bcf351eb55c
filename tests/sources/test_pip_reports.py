"""What pip reports: `pip inspect`, `pip install --report`, and `pip list`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from envparity.errors import MalformedError
from envparity.values import Basis
from tests.sources.reading import found, read_text, rows
from tests.sources.samples import PIP_INSPECT, PIP_LIST, A


def test_inspect_knows_the_distributions_the_python_and_the_machine() -> None:
    environment = read_text("inspect.json", PIP_INSPECT)

    assert rows(environment) == [("ours", "0.1", ""), ("six", "1.16.0", "")]
    assert (found(environment, "ours").editable, found(environment, "ours").direct_url) == (
        True,
        "https://git.example/ours.git",
    )
    assert found(environment, "six").requested
    assert environment.python is not None
    assert (environment.python.version, environment.python.implementation) == ("3.11.7", "cpython")
    assert environment.system is not None
    assert (environment.system.os, environment.system.machine) == ("linux", "x86_64")
    assert not environment.open


def test_a_report_of_what_pip_would_install_is_open() -> None:
    report = {
        "version": "1",
        "pip_version": "26.3",
        "install": [
            {
                "metadata": {"name": "six", "version": "1.16.0"},
                "download_info": {"url": "https://files.example/six.whl", "archive_info": {"hashes": {"sha256": A}}},
                "is_direct": False,
            }
        ],
    }
    environment = read_text("report.json", json.dumps(report))

    assert environment.open
    assert (found(environment, "six").basis, found(environment, "six").hashes) == (Basis.LOCKED, (f"sha256:{A}",))
    report["install"][0]["download_info"]["archive_info"]["hashes"] = ["x"]  # type: ignore[index]
    with pytest.raises(MalformedError, match="no table"):
        read_text("report.json", json.dumps(report))


def test_the_report_of_a_real_pip_is_read() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "inspect", "--local"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("this Python has no pip")
    names = {item["metadata"]["name"].lower() for item in json.loads(done.stdout)["installed"]}

    environment = read_text("inspect.json", done.stdout)

    assert len(environment.distributions or ()) == len(names)
    assert environment.python is not None
    assert environment.python.version == sys.version.split()[0]


def test_a_report_without_either_list_is_refused() -> None:
    with pytest.raises(MalformedError, match="neither `installed` nor `install`"):
        read_text("inspect.json", '{"pip_version": "26.3", "version": "1"}')


@pytest.mark.parametrize(
    "text",
    [
        PIP_LIST,
        '[{"name": "numpy", "version": "1.26.4"},'
        ' {"name": "Our_Tool", "version": "0.1", "editable_project_location": "/home/ada/tool"}]',
    ],
)
def test_pip_list_in_both_forms(text: str) -> None:
    environment = read_text("pip.txt", text)

    assert rows(environment) == [("numpy", "1.26.4", ""), ("our-tool", "0.1", "")]
    assert found(environment, "our-tool").editable
    assert "/home/ada" not in repr(environment)


def test_a_line_that_pip_list_does_not_print_is_refused() -> None:
    with pytest.raises(MalformedError, match=r"pip.txt:5"):
        read_text("pip.txt", PIP_LIST + "nonsense\n")
