"""A plain Dockerfile: what pip is told, and a gap for everything that is not plain."""

from __future__ import annotations

from pathlib import Path

import pytest

from envparity.errors import MalformedError
from tests.sources.reading import read_text, reasons, rows
from tests.sources.samples import DOCKERFILE


def of(text: str, folder: Path | None = None) -> dict[str, str]:
    environment = read_text("Dockerfile", text, folder)
    return {name: version for name, version, _ in rows(environment)} | {
        "?": " ".join(reasons(environment, "distributions").values())
    }


def test_what_pip_is_told_in_the_last_stage_and_those_below_it() -> None:
    environment = read_text("Dockerfile", DOCKERFILE)

    assert rows(environment) == [("numpy", "1.26.4", ""), ("scipy", ">=1.11", "")]
    assert environment.python is not None
    assert environment.python.specifier == "==3.11.*"
    assert "python:3.11-slim" in reasons(environment, "system")[""]
    unknown = [gap.reason for gap in environment.gaps if gap.item == "Dockerfile:6"]
    assert any("apt-get install -y libgomp1" in reason for reason in unknown)
    assert environment.settings is not None
    assert environment.settings.names_only == ("LANG", "TOKEN")
    assert environment.open


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("pip3 install six==1.16.0", {"six": "1.16.0"}),
        ("python -m pip install -U six", {"six": ""}),
        ("uv pip install --system six==1", {"six": "1"}),
        ('["pip", "install", "six==1"]', {"six": "1"}),
        ("pip install -i https://x.example/simple --extra-index-url=https://y six", {"six": ""}),
        ("<<EOF\npip install six==1\nEOF", {"six": "1"}),
        ("true && pip install a==1; pip install b==2", {"a": "1", "b": "2"}),
    ],
)
def test_the_ways_to_call_pip(command: str, expected: dict[str, str]) -> None:
    found = of(f"FROM x\nRUN {command}\n")

    assert {name: version for name, version in found.items() if name != "?"} == expected


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("RUN pip install $PACKAGE", "variable"),
        ("RUN pip install .", "file"),
        ("RUN pip install -e .", "editable"),
        ("RUN pip install -r /elsewhere/requirements.txt", "no such file"),
        ("RUN pip install -c limits.txt six", "constraints"),
        ("RUN poetry install", "poetry install"),
        ("RUN uv sync --frozen", "uv sync"),
        ("RUN conda env create -f environment.yml", "conda env create"),
        ("RUN pip install 'unclosed", "not known"),
        ("COPY --from=builder /venv /venv", "`builder`"),
        ('RUN ["pip", "install"', "not known"),
    ],
)
def test_what_is_not_plain_is_a_gap(line: str, told: str) -> None:
    assert told in of(f"FROM x\n{line}\n")["?"]


def test_a_requirements_file_of_the_build_context_is_read(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/requirements.txt").write_text("six==1.16.0\n")
    text = "FROM python:3.12\nCOPY app/requirements.txt /tmp/\nRUN pip install -r /tmp/requirements.txt\n"

    assert of(text, tmp_path)["six"] == "1.16.0"


def test_a_requirements_file_outside_of_the_build_context_is_not(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "requirements.txt").write_text("six==1.16.0\n")
    text = "FROM x\nCOPY ../requirements.txt /tmp/\nRUN pip install -r /tmp/requirements.txt\n"

    assert "six" not in of(text, tmp_path / "in")


def test_another_stage_does_not_count() -> None:
    found = of("FROM a AS one\nRUN pip install six\nFROM b\nRUN pip install numpy\n")

    assert set(found) == {"numpy", "?"}


@pytest.mark.parametrize(
    ("base", "specifier"),
    [
        ("python:3.11", "==3.11.*"),
        ("docker.io/library/python:3.11-slim@sha256:abc", "==3.11.*"),
        ("registry.example/python:3.11", None),
        ("python:latest", None),
        ("nvidia/cuda:12.1.0-runtime-ubuntu22.04", None),
    ],
)
def test_only_the_official_image_says_its_python(base: str, specifier: str | None) -> None:
    python = read_text("Dockerfile", f"FROM {base}\n").python

    assert (python.specifier if python else None) == specifier


@pytest.mark.parametrize(
    ("text", "told"),
    [("# nothing\n", "no `FROM`"), ("RUN x\nFROM y\n", "before `FROM`"), ("FROM --platform=x\n", "names no image")],
)
def test_what_is_no_dockerfile_is_refused(text: str, told: str) -> None:
    with pytest.raises(MalformedError, match=told):
        read_text("Dockerfile", text)
