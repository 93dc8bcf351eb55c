"""The line of a file that names a distribution, in the formats that people commit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envparity.sources import places

FILES = {
    "requirements.txt": "# numpy\n-r base.txt\nscipy>=1  # for numpy\nNumPy[extra]==1.26.4 \\\n  --hash=sha256:00\n",
    "uv.lock": '[[package]]\nname = "a"\ndependencies = [\n  { name = "numpy" },\n]\n[[package]]\nname = "numpy"\n',
    "poetry.lock": '[[package]]\nname = "a"\n[package.dependencies]\nnumpy = ">=1"\n[[package]]\nname = "numpy"\n',
    "pylock.toml": '[[packages]]\nname = "a"\n\n[[packages]]\nname = "numpy"\n',
    "Pipfile.lock": '{\n "default": {\n  "numpy-ext": {},\n  "numpy": {\n   "version": "==1"\n  }}}\n',
    "environment.yml": "name: numpyenv\ndependencies:\n  - python=3.11\n  - scipy\n  - numpy=1.26.4\n",
    "conda-lock.yml": "package:\n- name: a\n  dependencies:\n    numpy: '*'\n- name: numpy\n",
    "explicit.txt": "@EXPLICIT\nhttps://a.example/noarch/numpy-base-1.26-0.conda\nhttps://a.example/64/numpy-1.26-0.conda\n",
    "pyproject.toml": '[project]\nname = "a"\nrequires-python = ">=3"\ndependencies = [\n  "a",\n  "numpy>=1",\n]\n',
    "Dockerfile": "FROM python:3.11\nRUN pip install scipy\nRUN pip install -q 'numpy==1.26.4'\n",
    "model.env.json": '{\n "distributions": [\n  {\n   "name": "numpy",\n   "version": "1"\n  }\n ]\n}\n',
}  # fmt: skip
LINES = {
    "requirements.txt": 4,
    "uv.lock": 7,
    "poetry.lock": 6,
    "pylock.toml": 5,
    "Pipfile.lock": 4,
    "environment.yml": 5,
    "conda-lock.yml": 5,
    "explicit.txt": 3,
    "pyproject.toml": 6,
    "Dockerfile": 3,
    "model.env.json": 4,
}


@pytest.mark.parametrize("name", FILES)
def test_the_line_that_defines_it_is_found_not_one_that_mentions_it(tmp_path: Path, name: str) -> None:
    """An annotation at another library's line sends a reviewer to the wrong pin."""
    (tmp_path / name).write_text(FILES[name], "utf-8")

    found = places.place(name, ["numpy"], tmp_path)

    assert found is not None
    assert found.path == name
    assert found.lines == (("numpy", LINES[name]),)


def test_the_line_of_python_is_found(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(FILES["pyproject.toml"], "utf-8")
    (tmp_path / "environment.yml").write_text(FILES["environment.yml"], "utf-8")

    for name in ("pyproject.toml", "environment.yml"):
        found = places.place(name, ["python"], tmp_path)
        assert found is not None
        assert found.lines == (("python", 3),)


def test_what_is_no_file_of_text_has_no_place(tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(b"\xff\xfe\x00numpy")
    (tmp_path / "folder").mkdir()

    for reference in ("image.tar", "folder", "absent.txt", "oci:image", "-", "nul\0byte"):
        assert places.place(reference, ["numpy"], tmp_path) is None


def test_a_file_outside_of_the_working_directory_is_named_in_full(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "prod.txt").write_text("numpy\n", "utf-8")

    found = places.place("../prod.txt", ["numpy"], tmp_path / "here")

    assert found is not None
    assert found.path == (tmp_path / "prod.txt").as_posix()


def test_a_working_directory_that_was_removed_matters_only_to_relative_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prod.txt").write_text("numpy\n", "utf-8")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    found = places.place(str(tmp_path / "prod.txt"), ["numpy"], Path())

    assert found is not None
    assert found.path == str(tmp_path / "prod.txt")


@given(st.text(max_size=200))
def test_a_line_is_one_of_the_file(text: str) -> None:
    for _, line in places._lines(text, {"a": "a", "0": "0"}):
        assert 1 <= line <= len(text.splitlines())


def test_a_line_of_a_megabyte_is_no_trap(tmp_path: Path) -> None:
    (tmp_path / "prod.txt").write_text("-" * 1_000_000 + "\n" + "a." * 500_000 + "\nnumpy\n", "utf-8")

    found = places.place("prod.txt", ["numpy"], tmp_path)

    assert found is not None
    assert found.lines == (("numpy", 3),)
