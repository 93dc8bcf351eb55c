"""BentoML, Cog, and MLflow's Python environment: what their build files ask for, and what they leave to the build."""

from __future__ import annotations

from pathlib import Path

import pytest

from envparity.errors import UsageError
from tests.sources.reading import conda, read_text, reasons, rows
from tests.sources.samples import BENTO, COG, PYTHON_ENV


def test_a_bentofile() -> None:
    environment = read_text("bentofile.yaml", BENTO)

    assert rows(environment) == [("scikit-learn", "1.4.2", "")]
    assert environment.python is not None
    assert environment.python.specifier == "==3.11.*"
    assert "libgomp1" in reasons(environment, "os_packages")[""]
    assert environment.settings is not None
    assert environment.settings.names_only == ("TOKEN",)


def test_a_bentofile_that_names_other_files(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("six==1.16.0\n")
    text = (
        "service: 'a:b'\npython:\n  requirements_txt: ./requirements.txt\n"
        "conda:\n  dependencies: [numpy=1.26]\n  pip: [torch]\n  environment_yml: environment.yml\n"
        "docker:\n  base_image: x/y:z\n  setup_script: ./setup.sh\n"
    )
    environment = read_text("bentofile.yaml", text, tmp_path)

    assert [name for name, _, _ in rows(environment)] == ["six", "torch"]
    assert conda(environment) == [("numpy", "==1.26.*", "")]
    assert "x/y:z" in reasons(environment, "system")[""]
    assert "docker.setup_script" in reasons(environment, "distributions")
    assert "environment.yml" in reasons(environment, "conda_packages")[""]


def test_a_bentofile_of_nothing_but_a_service() -> None:
    assert read_text("bentofile.yaml", 'service: "a:b"\npython:\ndocker:\n').distributions == ()


def test_a_cog_file() -> None:
    environment = read_text("cog.yaml", COG)

    assert rows(environment) == [("torch", "2.0.1", "")]
    assert environment.python is not None
    assert environment.python.specifier == "==3.11.*"
    assert "ffmpeg" in reasons(environment, "os_packages")[""]
    assert "CUDA 11.8" in reasons(environment, "accelerators")[""]
    assert "pip install" in reasons(environment, "distributions")["build.run"]


def test_a_cog_file_that_names_a_requirements_file(tmp_path: Path) -> None:
    text = "build:\n  python_requirements: requirements.txt\n"
    with pytest.raises(UsageError, match=r"requirements\.txt` does not exist"):
        read_text("cog.yaml", text, tmp_path)

    (tmp_path / "requirements.txt").write_text("six==1.16.0\n")
    assert rows(read_text("cog.yaml", text, tmp_path)) == [("six", "1.16.0", "")]


def test_a_python_env_of_mlflow() -> None:
    environment = read_text("python_env.yaml", PYTHON_ENV)

    assert rows(environment) == [("scikit-learn", "1.4.2", "")]
    assert environment.python is not None
    assert environment.python.version == "3.11.7"
