"""The Python environment file of an MLflow model (`python_env.yaml`): a Python, and what pip installs into it."""

from __future__ import annotations

from msgspec import Struct

from envparity import codec
from envparity.sources.documents import of_python, python_version, shaped
from envparity.sources.reading import Options, all_but, not_recorded, origin
from envparity.sources.requirements import facts_of
from envparity.values import Environment

TITLE = "a Python environment file of MLflow"


class PythonEnv(Struct, frozen=True):
    """What stands in it. The dependencies of the build itself are not part of the environment."""

    python: str | float | None = None
    build_dependencies: tuple[str, ...] | None = None
    dependencies: tuple[str, ...] | None = None


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that a `python_env.yaml` declares.

    Raises:
        UsageError: a requirements file that it names is missing. MalformedError: not YAML, another shape.
    """
    file = shaped(codec.load_yaml(data, f"`{name}`", foreign=True), PythonEnv, name, TITLE)
    found = facts_of(file.dependencies or (), name, (options.base_dir / name).parent)
    asked = of_python(python_version(file.python, "python"))
    known = ("distributions", *(["python"] if asked else []))
    unknown = not_recorded(all_but(*known), "a Python environment file cannot carry it")
    return codec.environment([*found, *([asked] if asked else []), *unknown], origin("python-env", name), open=True)
