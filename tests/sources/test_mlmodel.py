"""The folder of an MLflow model: three files that should agree, and a gap where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from envparity.errors import MalformedError
from envparity.sources import Options, read
from envparity.values import Environment
from tests.sources.reading import conda, reasons, rows
from tests.sources.samples import MLMODEL

CONDA = """\
channels:
- conda-forge
dependencies:
- python=3.11.7
- pip<=24.0
- pip:
  - mlflow==2.18.0
  - scikit-learn==1.4.2
name: mlflow-env
"""
PYTHON_ENV = "python: 3.11.7\nbuild_dependencies:\n- pip==24.0\ndependencies:\n- -r requirements.txt\n"
REQUIREMENTS = "mlflow==2.18.0\nscikit-learn==1.4.2\n"
FILES = {
    "MLmodel": MLMODEL,
    "conda.yaml": CONDA,
    "python_env.yaml": PYTHON_ENV,
    "requirements.txt": REQUIREMENTS,
}


def model(folder: Path, **changed: str | None) -> Environment:
    names = {name.partition(".")[0]: name for name in FILES}
    for name, text in {**FILES, **{names[key]: text for key, text in changed.items()}}.items():
        if text is not None:
            (folder / name).write_text(text)
    return read(".", options=Options(base_dir=folder))


def test_a_folder_whose_files_agree(tmp_path: Path) -> None:
    environment = model(tmp_path)

    assert rows(environment) == [("mlflow", "2.18.0", ""), ("scikit-learn", "1.4.2", "")]
    assert conda(environment) == [("pip", "<=24.0", ""), ("python", "==3.11.7.*", "")]
    assert environment.python is not None
    assert environment.python.version == "3.11.7"
    assert "disagree" not in repr(environment.gaps)
    assert read("MLmodel", options=Options(base_dir=tmp_path)).distributions == environment.distributions


@pytest.mark.parametrize(
    ("changed", "section", "item", "told"),
    [
        (
            {"requirements": REQUIREMENTS.replace("1.4.2", "1.5")},
            "distributions",
            "scikit-learn",
            "conda.yaml says 1.4.2",
        ),
        ({"requirements": "mlflow\nscikit-learn\n"}, "distributions", "", ""),
        ({"conda": CONDA.replace("mlflow==2.18.0", "mlflow==2.0")}, "distributions", "mlflow", "conda.yaml says 2.0"),
        ({"conda": CONDA.replace("  - mlflow==2.18.0\n", "")}, "distributions", "mlflow", "conda.yaml says nothing"),
        ({"conda": CONDA.replace("3.11.7", "3.10.1")}, "python", "version", "conda.yaml says ==3.10.1.*"),
        ({"MLmodel": MLMODEL.replace("3.11.7", "3.9.1")}, "python", "version", "MLmodel says 3.9.1"),
        (
            {"MLmodel": MLMODEL.replace("sklearn_version: 1.4.2", "sklearn_version: 1.0.2")},
            "distributions",
            "scikit-learn",
            "the flavour sklearn says 1.0.2",
        ),
    ],
)
def test_what_the_files_disagree_about_is_a_gap(
    changed: dict[str, str], section: str, item: str, told: str, tmp_path: Path
) -> None:
    """The model was trained with one of them; which one, the folder does not say."""
    disagreements = {
        key: reason for key, reason in reasons(model(tmp_path, **changed), section).items() if "disagree" in reason
    }

    assert list(disagreements) == ([item] if item else [])
    assert told in "".join(disagreements.values())


def test_without_requirements_those_of_conda_count(tmp_path: Path) -> None:
    environment = model(tmp_path, requirements=None, python_env=None)

    assert rows(environment) == [("mlflow", "2.18.0", ""), ("scikit-learn", "1.4.2", "")]


def test_a_model_without_an_environment_says_so(tmp_path: Path) -> None:
    environment = model(tmp_path, requirements=None, python_env=None, conda=None)

    assert environment.distributions is None
    assert "no environment file" in reasons(environment, "distributions")[""]


def test_a_version_that_yaml_reads_as_a_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match=r"number 1\.4"):
        model(tmp_path, MLmodel=MLMODEL.replace("sklearn_version: 1.4.2", "sklearn_version: 1.40"))


def test_the_name_of_a_broken_file_in_the_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match=r"conda\.yaml"):
        model(tmp_path, conda="dependencies: [")
