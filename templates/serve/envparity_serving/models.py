"""The models of the image: checked against their digests, loaded once, and asked."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import pickle
import re
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


DATATYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}
"""The datatypes of the protocol that are numbers, and what numpy calls them."""

DATATYPE_OF = {dtype: name for name, dtype in DATATYPES.items()}

METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform", "score_samples")
"""What may be asked of a model by name, where it has it."""


def tensor(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    """A tensor as the protocol describes one; -1 is a size that is not known."""
    return {"name": name, "datatype": datatype, "shape": shape}


class Loaded:
    """What a loader made of a file that has no methods of its own to ask: as in `Model`."""

    def __init__(
        self,
        ask: dict[str, Callable[[Any], Any]],
        inputs: list[dict[str, Any]] | None = None,
        outputs: list[dict[str, Any]] | None = None,
        columns: list[str] | None = None,
    ) -> None:
        self.ask, self.inputs, self.outputs, self.columns = ask, inputs or [], outputs or [], columns or []


class Model:
    """
    One loaded model. `ask` maps the name of what is asked for to the function that answers; `inputs` and `outputs` are
    its tensors as the protocol describes them, as far as the model itself says them; `columns` are those of the table
    that it was trained with.
    """

    def __init__(self, name: str, sha256: str, kind: str, ask: dict[str, Callable[[Any], Any]]) -> None:
        self.name, self.sha256, self.kind, self.ask = name, sha256, kind, ask
        self.inputs: list[dict[str, Any]] = []
        self.outputs: list[dict[str, Any]] = []
        self.columns: list[str] = []

    def predict(self, rows: Any, method: str = "predict") -> Any:
        """The answer for rows: an array, a list, or (several outputs) a dict of them by name."""
        function = self.ask.get(method)
        if function is None:
            raise Refused(f"model `{self.name}` has no `{method}`; it has: {', '.join(self.ask)}")
        if self.kind != "onnx" and (isinstance(rows, dict) or _is_out_of_order(rows, self.columns)):
            rows = _table(rows, self.columns)
        return function(rows)


def _is_out_of_order(rows: Any, names: list[str]) -> bool:
    """Whether this is a data frame with the columns of the training, in another order."""
    found = list(getattr(rows, "columns", ()))
    return found != names and len(found) == len(names) and set(found) == set(names)


def _table(columns: Any, names: list[str]) -> Any:
    """
    Named columns as a data frame, in the order in which the model was trained where it knows that: not every library
    looks at the names, and one that does not would answer something else.

    They are put in order before the frame is made: one that is sorted afterwards lies otherwise in memory, and a BLAS
    then multiplies in another order.
    """
    order = names if set(names) == set(columns) else list(columns)
    lists = {name: columns[name] if getattr(columns[name], "ndim", 1) == 1 else list(columns[name]) for name in order}
    return _module("pandas").DataFrame(lists)


def load_all(folder: Path, listed: list[dict[str, Any]], app: Path | None) -> dict[str, Model]:
    """
    Every model that the image was built with, by name, after its bytes were found to be the locked ones.

    Raises:
        NotServableError: a file is missing or has another digest, nothing here loads it, or two have one name.
    """
    check_all(folder, listed)
    custom = _application(app) if app is not None and (app / "app.py").is_file() else None
    found: dict[str, Model] = {}
    for item in listed:
        name = item["name"] if item.get("files") else Path(item["name"]).stem
        if name in found:
            raise NotServableError(f"two models would be served as `{name}`: rename one of them")
        kind, model = _load(folder / item["name"], custom)
        found[name] = _asked(model, name, item["sha256"], kind, custom)
    if not found:
        raise NotServableError("the image holds no model: build it with --model")
    return found


def check_all(folder: Path, listed: list[dict[str, Any]]) -> None:
    """
    Hold the bytes of every model against its digest; nothing of them is loaded.

    Raises:
        NotServableError: a file is missing, or has another digest.
    """
    for item in listed:
        _check(folder / item["name"], item)


def _check(path: Path, item: dict[str, Any]) -> None:
    try:
        digest = _digest_of_folder(path) if item.get("files") else _digest(path)
    except OSError as error:
        raise NotServableError(f"the model `{path}` cannot be read: {error.strerror}") from error
    if digest != item["sha256"]:
        raise NotServableError(
            f"the model `{path}` is not the one that the image was built with: "
            f"expected sha256 {item['sha256']}, got {digest}"
        )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _digest_of_folder(folder: Path) -> str:
    """That of the sorted lines `sha256  name`, as the lock has it."""
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    if not files:
        raise FileNotFoundError(2, "No such file or directory")
    lines = sorted(f"{_digest(path)}  {path.relative_to(folder).as_posix()}\n".encode() for path in files)
    return hashlib.sha256(b"".join(lines)).hexdigest()


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
    if isinstance(model, Loaded):
        found = Model(name, sha256, kind, model.ask)
        found.inputs, found.outputs, found.columns = model.inputs, model.outputs, model.columns
        return found
    ask = {method: getattr(model, method) for method in METHODS if callable(getattr(model, method, None))}
    if "predict" not in ask and "transform" not in ask and callable(model):
        ask["predict"] = model
    if not ask:
        raise NotServableError(
            f"`{name}` is a {type(model).__name__}, which has nothing to predict with: "
            "give the image an `app.py` with `predict(model, rows)` (--app)"
        )
    found = Model(name, sha256, kind, ask)
    found.columns = _named([str(each) for each in getattr(model, "feature_names_in_", ())])
    width = getattr(model, "n_features_in_", None)
    if width is not None and not found.columns:  # columns may hold anything
        found.inputs = [tensor("rows", "FP64", [-1, int(width)])]
    classes = getattr(model, "classes_", None)
    if classes is not None and hasattr(classes, "dtype"):
        said = {"predict": (DATATYPE_OF.get(classes.dtype.name, "BYTES"), [-1])}
        said.update(dict.fromkeys(("predict_proba", "predict_log_proba"), ("FP64", [-1, len(classes)])))
        found.outputs = [tensor(method, *said.get(method, ("FP64", [-1]))) for method in ask]
    return found


def _load(path: Path, custom: Any) -> tuple[str, Any]:
    """What a file is, by its beginning, and the model in it."""
    if custom is not None and callable(getattr(custom, "load", None)):
        return "app", custom.load(str(path))
    if path.is_dir():
        return _folder(path)
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


def _named(columns: list[str]) -> list[str]:
    """The columns of the training; none where LightGBM made up their names, since it was trained with a plain array."""
    return [] if all(re.fullmatch("Column_[0-9]+", name) for name in columns) else columns


def _lightgbm(path: Path) -> Loaded:
    booster = _module("lightgbm").Booster(model_file=str(path))
    columns = _named(booster.feature_name())

    def ask(**how: bool) -> Callable[[Any], Any]:
        def predict(rows: Any) -> Any:
            found = list(getattr(rows, "columns", columns))
            if columns and found != columns:  # it would take them as they come
                raise Refused(f"the model takes the columns {', '.join(columns)}")
            _require_width(rows, booster.num_feature())
            return booster.predict(_numbers(rows), **how)

        return predict

    rows = [tensor("rows", "FP64", [-1, booster.num_feature()])]
    asked = {"predict": ask(), "raw_score": ask(raw_score=True)}
    return Loaded(asked, rows, [tensor(name, "FP64", [-1]) for name in asked], columns)


def _xgboost(path: Path) -> Loaded:
    xgboost = _module("xgboost")
    booster = xgboost.Booster(model_file=str(path))
    rounds = _rounds(booster)

    def ask(**how: Any) -> Callable[[Any], Any]:
        def predict(rows: Any) -> Any:
            _require_width(rows, booster.num_features())  # it would take a column that is not there as one of NaN
            return booster.predict(xgboost.DMatrix(_numbers(rows)), **rounds, **how)

        return predict

    rows = [tensor("rows", "FP64", [-1, booster.num_features()])]
    asked = {"predict": ask(), "output_margin": ask(output_margin=True)}
    return Loaded(asked, rows, [tensor(name, "FP32", [-1]) for name in asked], booster.feature_names)


def _rounds(booster: Any) -> dict[str, tuple[int, int]]:
    """
    Which rounds answer, where it is not all of them: a model that XGBoost's classes for scikit-learn saved was stopped
    early, and they predict by the rounds up to the best one. `Booster` itself uses all that the file holds.
    """
    best = booster.attr("best_iteration")
    if best is None or booster.attr("scikit_learn") is None:
        return {}
    if (
        json.loads(booster.save_config())["learner"]["gradient_booster"]["name"] == "gblinear"
    ):  # has no rounds to choose
        return {}
    return {"iteration_range": (0, int(best) + 1)}


def _require_width(rows: Any, width: int) -> None:
    shape = getattr(rows, "shape", ())
    if len(shape) == 2 and shape[1] != width:
        raise Refused(f"the model takes {width} columns, and each row has {shape[1]}")


def _numbers(rows: Any) -> Any:
    """
    A data frame with a number for each null: of a column where nothing but null came pandas cannot know that it is one
    of numbers, and a booster takes no other. What else is no number stays as it is, and is refused.
    """
    if not hasattr(rows, "columns") or not rows.columns.is_unique:
        return rows
    found = {name: list(rows[name]) for name, dtype in rows.dtypes.items() if dtype.kind == "O"}
    known = {name: values for name, values in found.items() if all(map(_is_number, values))}
    if not known:
        return rows
    changed = rows.copy()
    for name, values in known.items():
        changed[name] = [float("nan" if value is None else value) for value in values]
    return changed


def _is_number(value: Any) -> bool:
    return value is None or type(value) in (int, float) or value in ("NaN", "Infinity", "-Infinity")


def _onnx(path: Path) -> Loaded:
    runtime = _module("onnxruntime")
    getattr(runtime, "disable_telemetry_events", lambda: None)()  # of versions that do not look at the variable
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    outputs = [each.name for each in session.get_outputs()]

    def predict(rows: Any) -> Any:
        feed = rows if isinstance(rows, dict) else {names[0]: rows}
        unknown = sorted(set(feed) - set(names))
        if unknown or (len(feed) < len(names)):
            raise Refused(f"the model takes the inputs {', '.join(names)}")
        return dict(zip(outputs, session.run(None, {name: _for_onnx(value) for name, value in feed.items()})))

    inputs, made = ([_onnx_tensor(each) for each in side] for side in (session.get_inputs(), session.get_outputs()))
    return Loaded({"predict": predict}, inputs, made)


def _onnx_tensor(item: Any) -> dict[str, Any]:
    kind = item.type[len("tensor(") : -1]
    datatype = DATATYPE_OF.get({"float": "float32", "double": "float64"}.get(kind, kind), "BYTES")
    return tensor(item.name, datatype, [size if isinstance(size, int) else -1 for size in item.shape])


def _for_onnx(value: Any) -> Any:
    numpy = _module("numpy")
    array = numpy.asarray(value)
    return array.astype(object) if array.dtype.kind == "U" else array


def _torch(path: Path) -> tuple[str, Any]:
    with zipfile.ZipFile(path) as archive:
        names = [name.partition("/")[2] for name in archive.namelist()]
    torch = _module("torch")
    if "archive_format" in names or path.suffix.lower() == ".pt2":
        kind, module = "torch.export", torch.export.load(str(path)).module()
    elif "constants.pkl" in names:
        kind, module = "torchscript", torch.jit.load(str(path), map_location="cpu").eval()
    else:
        raise NotServableError(
            f"`{path.name}` holds the state of a torch module and not its code: "
            "give the image an `app.py` with `load(path)` and `predict(model, rows)` (--app)"
        )
    weights = next((each.dtype for each in module.parameters() if each.is_floating_point()), None)

    def predict(rows: Any) -> Any:
        tensor = torch.as_tensor(_module("numpy").asarray(rows))
        if weights is not None and tensor.is_floating_point():  # JSON has one kind of number, and the model its own
            tensor = tensor.to(weights)
        with torch.inference_mode():
            return module(tensor).numpy()

    return kind, Loaded({"predict": predict})


def _folder(folder: Path) -> tuple[str, Any]:
    if not (folder / "MLmodel").is_file():
        raise NotServableError(
            f"`{folder.name}` is a folder that MLflow did not write, and nothing here loads it: give the image an "
            "`app.py` with `load(path)` and `predict(model, rows)` (--app)"
        )
    return "mlflow", _module("mlflow.pyfunc").load_model(str(folder))
