"""The models of the image: checked against their digests, loaded once, and asked."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pickle
import zipfile
from pathlib import Path
from typing import Any, Callable


class NotServableError(Exception):
    """A model that cannot be served; the message says why and what would help."""


class Refused(Exception):
    """What a client sent cannot be answered; the message is for the client, and is never logged."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform", "score_samples")
"""What may be asked of a model by name, where it has it."""


class Model:
    """One loaded model. `ask` maps the name of what is asked for to the function that answers."""

    def __init__(self, name: str, sha256: str, kind: str, ask: dict[str, Callable[[Any], Any]]) -> None:
        self.name, self.sha256, self.kind, self.ask = name, sha256, kind, ask

    def predict(self, rows: Any, method: str = "predict") -> Any:
        """The answer for rows: an array, a list, or (several outputs) a dict of them by name."""
        function = self.ask.get(method)
        if function is None:
            raise Refused(f"model `{self.name}` has no `{method}`; it has: {', '.join(self.ask)}")
        return function(_table(rows, function) if isinstance(rows, dict) and self.kind != "onnx" else rows)


def _table(columns: dict[str, Any], function: Any) -> Any:
    """
    Named columns as a data frame, in the order in which the model was trained where it knows that.

    They are put in order before the frame is made: one that is sorted afterwards lies otherwise in memory, and a BLAS
    then multiplies in another order.
    """
    names = getattr(getattr(function, "__self__", None), "feature_names_in_", None)
    order = list(columns) if names is None or set(names) != set(columns) else list(names)
    lists = {name: columns[name] if getattr(columns[name], "ndim", 1) == 1 else list(columns[name]) for name in order}
    return _module("pandas").DataFrame(lists)


def load_all(folder: Path, listed: list[dict[str, Any]], app: Path | None) -> dict[str, Model]:
    """
    Every model that the image was built with, by name, after its bytes were found to be the locked ones.

    Raises:
        NotServableError: a file is missing or has another digest, nothing here loads it, or two have one name.
    """
    for item in listed:
        _check(folder / item["name"], item)
    custom = _application(app) if app is not None and (app / "app.py").is_file() else None
    found: dict[str, Model] = {}
    if any(item["name"] == "MLmodel" for item in listed):
        (item,) = (item for item in listed if item["name"] == "MLmodel")
        found["model"] = _asked(_mlflow(folder), "model", item["sha256"], "mlflow", custom)
        return found
    for item in listed:
        name = Path(item["name"]).stem
        if name in found:
            raise NotServableError(f"two models would be served as `{name}`: rename one of them")
        kind, model = _load(folder / item["name"], custom)
        found[name] = _asked(model, name, item["sha256"], kind, custom)
    if not found:
        raise NotServableError("the image holds no model: build it with --model")
    return found


def _check(path: Path, item: dict[str, Any]) -> None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise NotServableError(f"the model `{path}` cannot be read: {error.strerror}") from error
    if digest.hexdigest() != item["sha256"]:
        raise NotServableError(
            f"the model `{path}` is not the one that the image was built with: "
            f"expected sha256 {item['sha256']}, got {digest.hexdigest()}"
        )


def _application(folder: Path) -> Any:
    specification = importlib.util.spec_from_file_location("app", folder / "app.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    importlib.import_module("sys").modules["app"] = module
    specification.loader.exec_module(module)
    if not callable(getattr(module, "predict", None)):
        raise NotServableError("`app.py` of the application has no function `predict(model, rows)`")
    return module


def _asked(model: Any, name: str, sha256: str, kind: str, custom: Any) -> Model:
    if custom is not None:
        return Model(name, sha256, kind, {"predict": lambda rows: custom.predict(model, rows)})
    if isinstance(model, dict):
        return Model(name, sha256, kind, model)
    ask = {method: getattr(model, method) for method in METHODS if callable(getattr(model, method, None))}
    if "predict" not in ask and "transform" not in ask and callable(model):
        ask["predict"] = model
    if not ask:
        raise NotServableError(
            f"`{name}` is a {type(model).__name__}, which has nothing to predict with: "
            "give the image an `app.py` with `predict(model, rows)` (--app)"
        )
    return Model(name, sha256, kind, ask)


def _load(path: Path, custom: Any) -> tuple[str, Any]:
    """What a file is, by its beginning, and the model in it."""
    if custom is not None and callable(getattr(custom, "load", None)):
        return "app", custom.load(str(path))
    with path.open("rb") as stream:
        start = stream.read(64)
    ending = path.suffix.lower()
    if start.startswith((b"tree\n", b"tree\r\n")):
        return "lightgbm", _lightgbm(path)
    if ending == ".onnx":
        return "onnx", _onnx(path)
    if ending in {".ubj", ".xgb", ".bst"} or (ending == ".json" and start.lstrip().startswith(b"{")):
        return "xgboost", _xgboost(path)
    if zipfile.is_zipfile(path):
        return _torch(path)
    try:
        if importlib.util.find_spec("joblib") is not None:
            return "joblib", _module("joblib").load(path)
        with path.open("rb") as stream:
            return "pickle", pickle.load(stream)  # noqa: S301
    except (pickle.UnpicklingError, EOFError, ValueError) as error:
        raise NotServableError(
            f"nothing here loads `{path.name}` ({type(error).__name__}): give the image an `app.py` with "
            "`load(path)` and `predict(model, rows)` (--app)"
        ) from error


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NotServableError(f"the model needs `{name}`, which the image does not have: lock it") from error


def _lightgbm(path: Path) -> dict[str, Callable[[Any], Any]]:
    booster = _module("lightgbm").Booster(model_file=str(path))
    return {"predict": booster.predict, "raw_score": lambda rows: booster.predict(rows, raw_score=True)}


def _xgboost(path: Path) -> dict[str, Callable[[Any], Any]]:
    xgboost = _module("xgboost")
    booster = xgboost.Booster(model_file=str(path))
    return {
        "predict": lambda rows: booster.predict(xgboost.DMatrix(rows)),
        "output_margin": lambda rows: booster.predict(xgboost.DMatrix(rows), output_margin=True),
    }


def _onnx(path: Path) -> dict[str, Callable[[Any], Any]]:
    session = _module("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    outputs = [each.name for each in session.get_outputs()]

    def predict(rows: Any) -> Any:
        feed = rows if isinstance(rows, dict) else {names[0]: rows}
        unknown = sorted(set(feed) - set(names))
        if unknown or (len(feed) < len(names)):
            raise Refused(f"the model takes the inputs {', '.join(names)}")
        return dict(zip(outputs, session.run(None, {name: _for_onnx(value) for name, value in feed.items()})))

    return {"predict": predict}


def _for_onnx(value: Any) -> Any:
    numpy = _module("numpy")
    array = numpy.asarray(value)
    return array.astype(object) if array.dtype.kind == "U" else array


def _torch(path: Path) -> tuple[str, Any]:
    with zipfile.ZipFile(path) as archive:
        is_script = any(name.endswith("/constants.pkl") for name in archive.namelist())
    torch = _module("torch")
    if not is_script:
        raise NotServableError(
            f"`{path.name}` holds the state of a torch module and not its code: "
            "give the image an `app.py` with `load(path)` and `predict(model, rows)` (--app)"
        )
    module = torch.jit.load(str(path), map_location="cpu").eval()

    def predict(rows: Any) -> Any:
        with torch.inference_mode():
            answer = module(torch.as_tensor(_module("numpy").asarray(rows)))
        return answer.numpy()

    return "torchscript", {"predict": predict}


def _mlflow(folder: Path) -> Any:
    return _module("mlflow.pyfunc").load_model(str(folder))
