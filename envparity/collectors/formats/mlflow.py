"""
MLflow's `MLmodel` (https://mlflow.org/docs/latest/ml/model/): flavors, versions, what loads it, where its parts lie.

It is YAML, as `yaml.safe_dump` writes it. Python has no reader of that; the mappings by indentation that MLflow makes
of it are read here, and what else YAML could say is passed over.
"""

from __future__ import annotations

import re
from typing import Iterator

from envparity.collectors.formats.found import Found, Unreadable
from envparity.collectors.formats.streams import Source

_LARGEST = 1 << 20
_LINE = re.compile(r"""^( *)((?:- )*)(?:([A-Za-z_][\w.-]*|'[^']*'|"[^"]*"):(?:\s+(.*))?)?$""")

# Keys of a flavor that end in `_version`, and the distribution where it is called otherwise.
_DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "xgb": "xgboost",
    "lgb": "lightgbm",
    "cb": "catboost",
    "pytorch": "torch",
    "tf": "tensorflow",
    "paddle": "paddlepaddle",
    "pr": "prophet",
}
_PLACES = ("model_path", "pickled_model", "data", "model_data", "model_binary", "saved_model_dir", "code")
_PROPERTIES = ("serialization_format", "model_class", "python_version", "framework", "task", "predict_fn")


def read_mlmodel(source: Source, found: Found) -> str:
    """
    One `MLmodel` file. The places that it names are noted as references, and not followed.

    Raises:
        Unreadable: it names no flavor, or is larger than 1 MiB.
    """
    data = source.forward().up_to(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise Unreadable("it is larger than %d bytes" % _LARGEST)
    flavors = set()
    for path, value in scalars(data.decode("utf-8", "replace")):
        key = path[-1]
        if path == ("mlflow_version",):
            found.written_by("mlflow", value)
        if len(path) < 2 or path[0] != "flavors":
            continue
        flavors.add(path[1])
        if len(path) != 3 or not value or value in ("null", "~"):
            continue
        if key == "loader_module":
            found.needs(value)
        elif key in _PLACES:
            found.references.add((key, value[:1024]))
        elif key in _PROPERTIES:
            found.says(key, value)
        elif key.endswith("_version"):
            name = key[: -len("_version")]
            found.written_by(_DISTRIBUTIONS.get(name, name.replace("_", "-").lower()), value)
    if not flavors:
        raise Unreadable("it names no flavor")
    for flavor in flavors:
        found.says("flavor", flavor)
    return "mlflow"


def scalars(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each value of nested mappings with the keys to it; a key whose value is a mapping comes with an empty text."""
    stack: list[tuple[int, str]] = []
    lines = iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if "\t" in line[: len(line) - len(line.lstrip())]:
            raise Unreadable("it is no YAML: it is indented by tabs")
        parts = _LINE.match(line.rstrip())
        if parts is None or parts[3] is None:
            continue  # an item of a list, or a text that goes on
        depth = len(parts[1]) + len(parts[2])
        while stack and stack[-1][0] >= depth:
            stack.pop()
        if len(stack) > 100:
            raise Unreadable("it is nested too deep")
        stack.append((depth, parts[3].strip("'\"")))
        value = parts[4] or ""
        quote = value[:1] if value[:1] in ("'", '"') else ""
        while quote and not _closed(value, quote):
            following = next(lines, None)
            if following is None:
                raise Unreadable("it is cut short")
            value += " " + following.strip()
        if quote:
            value = value[1:-1].replace("''", "'") if quote == "'" else value[1:-1]
        else:
            value = value.split(" #")[0].strip()
        yield tuple(key for _, key in stack), value


def _closed(value: str, quote: str) -> bool:
    inside = value[1:].replace("''" if quote == "'" else '\\"', "")
    return inside.endswith(quote)
