"""
The folder of an MLflow model: its `MLmodel` file, and the environment files beside it
(https://mlflow.org/docs/latest/ml/model/#model-environment).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from envparity import codec, files
from envparity.collectors.tree import gap
from envparity.errors import MalformedError
from envparity.sources.documents import of_python, python_version, shaped
from envparity.sources.environment_yml import of_dependencies
from envparity.sources.python_env import PythonEnv
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin
from envparity.sources.requirements import facts, facts_of
from envparity.values import Environment

TITLE = "an MLflow model"
MOST_BYTES = 4 << 20

_WROTE = {
    "sklearn_version": "scikit-learn",
    "pytorch_version": "torch",
    "xgb_version": "xgboost",
    "lgb_version": "lightgbm",
    "catboost_version": "catboost",
    "transformers_version": "transformers",
    "keras_version": "keras",
    "onnx_version": "onnx",
    "statsmodels_version": "statsmodels",
    "spacy_version": "spacy",
    "prophet_version": "prophet",
    "pmdarima_version": "pmdarima",
    "paddle_version": "paddlepaddle",
    "langchain_version": "langchain",
}
"""What a flavour calls the version that wrote the model, and the distribution that it is of."""


class _MLmodel(Struct, frozen=True):
    flavors: dict[str, dict[str, Any] | None]
    mlflow_version: str = ""


class _CondaEnv(Struct, frozen=True):
    dependencies: tuple[str | dict[str, tuple[str, ...] | None], ...] | None = field(default=None)


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that an MLflow model declares: Python, the requirements, and the conda packages.

    `requirements.txt` says what pip installs, else `python_env.yaml`, else `conda.yaml`. Where the files disagree with
    each other, or with the version that a flavour says wrote the model, each disagreement is a gap.

    Raises:
        MalformedError: one of the files is not what it should be.
    """
    model = shaped(codec.load_yaml(data, f"`{name}`", foreign=True), _MLmodel, name, TITLE)
    folder = (options.base_dir / name).parent
    read = _Folder(folder, Path(name).parent)
    lists = list(read.requirements())
    found: list[Fact] = list(lists[0][1]) if lists else []
    conda = [fact for fact in read.conda_facts if fact["kind"] == "conda-package"]
    pythons = [*read.pythons(), *_python_of(model)]
    found += (fact for fact in read.conda_facts if fact.get("section") == "conda_packages" or fact in conda)
    found += _disagreements(lists, _written(model))
    found += _one_python(pythons)
    if not lists:
        found.append(gap("distributions", "not-recorded", "the model has no environment file"))
    known = ["distributions"] if lists else []
    known += ["python"] if pythons else []
    known += ["conda_packages"] if conda else []
    unknown = not_recorded(all_but("distributions", *known), "an MLflow model cannot carry it")
    return codec.environment([*found, *unknown], origin("mlmodel", name), open=True)


class _Folder:
    """The environment files beside an MLmodel, each read once, if it is there."""

    def __init__(self, folder: Path, shown: Path) -> None:
        self._folder = folder
        self._shown = shown
        self._env = self._yaml("python_env.yaml", PythonEnv)
        conda = self._yaml("conda.yaml", _CondaEnv)
        name = str(shown / "conda.yaml")
        self.conda_facts = of_dependencies(conda.dependencies or (), name, folder) if conda else []

    def _bytes(self, name: str) -> bytes | None:
        path = self._folder / name
        return files.read_bytes(path, limit=MOST_BYTES, what="file of the model") if path.exists() else None

    def _yaml(self, name: str, shape: type[Any]) -> Any:
        data = self._bytes(name)
        shown = str(self._shown / name)
        return None if data is None else shaped(codec.load_yaml(data, f"`{shown}`", foreign=True), shape, shown, TITLE)

    def requirements(self) -> Iterator[tuple[str, tuple[Fact, ...]]]:
        """Each file that says what pip installs, in the order in which they count."""
        data = self._bytes("requirements.txt")
        if data is not None:
            yield "requirements.txt", facts(data, str(self._shown / "requirements.txt"), self._folder)
        if self._env is not None and self._env.dependencies is not None:
            name = str(self._shown / "python_env.yaml")
            yield "python_env.yaml", facts_of(self._env.dependencies, name, self._folder)
        if self.conda_facts:
            section = {"kind": "section", "section": "distributions"}
            yield "conda.yaml", (section, *(fact for fact in self.conda_facts if fact["kind"] == "distribution"))

    def pythons(self) -> Iterator[tuple[str, Fact]]:
        """What each file says of Python."""
        stated = of_python(python_version(self._env.python, "python")) if self._env is not None else None
        if stated:
            yield "python_env.yaml", stated
        for fact in self.conda_facts:
            if fact["kind"] == "python":
                yield "conda.yaml", fact


def _python_of(model: _MLmodel) -> Iterator[tuple[str, Fact]]:
    flavour = model.flavors.get("python_function") or {}
    stated = flavour.get("python_version")
    if isinstance(stated, str | float):
        fact = of_python(python_version(stated, "flavors.python_function.python_version"))
        if fact:
            yield "MLmodel", fact


def _one_python(pythons: list[tuple[str, Fact]]) -> Iterator[Fact]:
    """The most exact of what the files say; and a gap where they say different things."""
    if not pythons:
        return
    exact = [item for item in pythons if item[1].get("version")]
    _, first = (exact or pythons)[0]
    yield first
    texts = {file: _text(fact) for file, fact in pythons}
    if not all(_agree(_text(first), text) for text in texts.values()):
        yield gap("python", "not-recorded", _disagreement(texts), "version")


def _disagreement(texts: Mapping[str, str]) -> str:
    return f"the files disagree: {', '.join(f'{file} says {text}' for file, text in texts.items())}"


def _text(fact: Fact) -> str:
    return str(fact.get("version") or fact.get("specifier") or "any")


def _agree(left: str, right: str) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version

    if left == right or "any" in (left, right):
        return True
    for version, specifier in ((left, right), (right, left)):
        try:
            return Version(version) in SpecifierSet(specifier, prereleases=True)
        except (InvalidSpecifier, InvalidVersion):
            continue
    return False


def _written(model: _MLmodel) -> Iterator[tuple[str, str, str]]:
    """Which version of which distribution wrote the model, as its flavours say: file, distribution, version."""
    for flavour, body in model.flavors.items():
        for key, distribution in _WROTE.items():
            version = (body or {}).get(key)
            if isinstance(version, str):
                yield f"the flavour {flavour}", distribution, version
            elif isinstance(version, float):
                raise MalformedError(
                    f"a version that is the number {version}", hint="quote it", where=f"flavors.{flavour}.{key}"
                )
    if model.mlflow_version:
        yield "MLmodel", "mlflow", model.mlflow_version


def _disagreements(
    lists: list[tuple[str, tuple[Fact, ...]]], written: Iterable[tuple[str, str, str]]
) -> Iterator[Fact]:
    """A gap for each distribution of which the files, or the flavours, say different versions."""
    said: dict[str, dict[str, str]] = {}
    for file, found in lists:
        named = {fact["name"]: fact for fact in found if fact["kind"] == "distribution"}
        for name, fact in named.items():
            said.setdefault(name, {})[file] = _text(fact)
    for file, name, version in written:
        if name in said:
            said[name][file] = version
    for name, texts in sorted(said.items()):
        if len(lists) > 1:
            for file, _ in lists:
                texts.setdefault(file, "nothing")
        values = list(texts.values())
        if any(not _agree(values[0], value) for value in values[1:]):
            yield gap("distributions", "not-recorded", _disagreement(texts), name)
