"""
What goes over the wire: the Open Inference Protocol v2 (https://github.com/kserve/open-inference-protocol) and the JSON
of MLflow's scoring server (`dataframe_split`, `dataframe_records`, `instances`, `inputs`).

Floats are written with the digits that read back as the same bits. What JSON has no number for is a text, as protobuf
writes it: "NaN", "Infinity", "-Infinity".
"""

from __future__ import annotations

import importlib
import json
import math
from typing import Any

from envparity_serving.models import DATATYPE_OF, DATATYPES, Refused


def document(body: bytes) -> dict[str, Any]:
    """The JSON object of a request."""
    try:
        found = json.loads(body, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the body is no JSON: {str(error)[:200]}") from error
    if not isinstance(found, dict):
        raise Refused("the body must be a JSON object")
    return found


def _constant(name: str) -> None:
    raise ValueError(f'{name} is no JSON number; write it as a text, "{name}"')


def rows_of_infer(request: dict[str, Any]) -> tuple[Any, int, str]:
    """The rows of a v2 inference request, how many they are, and what is asked of the model."""
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise Refused("`inputs` must be a list of tensors")
    tensors: dict[str, Any] = {}
    for place, item in enumerate(inputs):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise Refused(f"`inputs[{place}]` must be an object with a `name`")
        if item["name"] in tensors:
            raise Refused(f"`inputs[{place}].name` stands twice")
        tensors[item["name"]] = _tensor(item, f"inputs[{place}]")
    outputs = request.get("outputs") or []
    if not isinstance(outputs, list) or not all(isinstance(each, dict) and "name" in each for each in outputs):
        raise Refused("`outputs` must be a list of objects with a `name`")
    if len(outputs) > 1:
        raise Refused("ask for one of `outputs` at a time")
    method = str(outputs[0]["name"]) if outputs else "predict"
    counts = {len(tensor) for tensor in tensors.values()}
    if len(counts) != 1:
        raise Refused("all `inputs` must have the same number of rows")
    rows = next(iter(tensors.values())) if len(tensors) == 1 else tensors
    return rows, counts.pop(), method


def _tensor(item: dict[str, Any], where: str) -> Any:
    numpy = importlib.import_module("numpy")
    datatype, shape, data = item.get("datatype"), item.get("shape"), item.get("data")
    if not isinstance(shape, list) or not shape or not all(type(each) is int and each >= 0 for each in shape):
        raise Refused(f"`{where}.shape` must be a list of sizes")
    flat = _flat(data, where)
    if len(flat) != math.prod(shape):
        raise Refused(f"`{where}` has {len(flat)} values, and its shape {shape} is of {math.prod(shape)}")
    if datatype == "BYTES":
        if not all(isinstance(value, str) for value in flat):
            raise Refused(f"`{where}.data` must hold texts")
        return flat if len(shape) == 1 else numpy.array(flat, dtype=object).reshape(shape)
    if datatype not in DATATYPES:
        raise Refused(f"`{where}.datatype` must be one of {', '.join(DATATYPES)}, BYTES")
    allowed = {"B": (bool,), "F": (int, float)}.get(datatype[0], (int,))
    values = [_number(value) for value in flat] if datatype[0] == "F" else flat
    if not all(type(value) in allowed for value in values):
        raise Refused(f"`{where}.data` holds something that is no {datatype}")
    try:
        return numpy.array(values, dtype=DATATYPES[datatype]).reshape(shape)
    except (ValueError, OverflowError) as error:
        raise Refused(f"`{where}.data` does not fit {datatype}") from error


def _number(value: Any) -> Any:
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def _flat(data: Any, where: str) -> list[Any]:
    if not isinstance(data, list):
        raise Refused(f"`{where}.data` must be a list")
    found: list[Any] = data
    while any(isinstance(each, list) for each in found):
        if not all(isinstance(each, list) for each in found):
            raise Refused(f"`{where}.data` is nested unevenly")
        found = [value for each in found for value in each]
    return found


def rows_of_invocation(request: dict[str, Any]) -> tuple[Any, int, str]:
    """The same of a request to `/invocations`; `params.method` says what is asked of the model."""
    kinds = [key for key in ("dataframe_split", "dataframe_records", "instances", "inputs") if key in request]
    if len(kinds) != 1:
        raise Refused("the body must have one of `dataframe_split`, `dataframe_records`, `instances`, `inputs`")
    params = request.get("params") or {}
    if not isinstance(params, dict):
        raise Refused("`params` must be an object")
    (kind,) = kinds
    method = str(params.get("method", "predict"))
    if kind == "inputs" and isinstance(request[kind], dict):
        return (*_columns(request[kind]), method)
    rows = _frame(request[kind], kind) if kind.startswith("dataframe") else _plain(request[kind], kind)
    return rows, len(rows), method


def _columns(data: dict[str, Any]) -> tuple[Any, int]:
    """Columns by name, or the one tensor that is there; and how many rows they have."""
    columns = {name: _plain(values, f"inputs.{name}") for name, values in data.items()}
    counts = {len(values) for values in columns.values()}
    if len(counts) != 1:
        raise Refused("all of `inputs` must have the same number of rows")
    first = next(iter(columns.values()))
    is_tensor = len(columns) == 1 and getattr(first, "ndim", 1) > 1
    return first if is_tensor else columns, counts.pop()


def _frame(data: Any, kind: str) -> Any:
    try:
        pandas = importlib.import_module("pandas")
    except ImportError as error:
        raise Refused(f"`{kind}` needs pandas, which this image does not have; send `instances`") from error
    try:
        if kind == "dataframe_records":
            if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
                raise Refused(f"`{kind}` must be a list of objects")
            if not data:
                raise Refused(f"`{kind}` holds no row")
            return pandas.DataFrame.from_records(data)
        if not isinstance(data, dict) or not {"columns", "data"} <= data.keys() <= {"columns", "data", "index"}:
            raise Refused(f"`{kind}` must be an object with `columns` and `data`")
        _require_cells(data, kind)
        return pandas.DataFrame(**data)
    except (ValueError, TypeError, AssertionError) as error:
        raise Refused(f"`{kind}` is no table: {str(error)[:200]}") from error


def _require_cells(data: dict[str, Any], kind: str) -> None:
    """Each row has a value for each column: pandas fills up a short one with nulls, and repeats it for a long index."""
    columns, rows, index = data["columns"], data["data"], data.get("index")
    if not isinstance(columns, list) or not isinstance(rows, list):
        raise Refused(f"`{kind}.columns` and `{kind}.data` must be lists")
    for place, row in enumerate(rows):
        count = len(row) if isinstance(row, list) else 1
        if count != len(columns):
            raise Refused(f"`{kind}.data[{place}]` has {count} values, and there are {len(columns)} columns")
    if index is not None and (not isinstance(index, list) or len(index) != len(rows)):
        raise Refused(f"`{kind}.index` must be a list with one for each row")


def _plain(data: Any, kind: str) -> Any:
    if not isinstance(data, list) or not data:
        raise Refused(f"`{kind}` must be a list of rows")
    if all(isinstance(row, str) for row in data):
        return data
    if all(isinstance(row, dict) for row in data):
        return _frame(data, "dataframe_records")
    numpy = importlib.import_module("numpy")
    try:
        array = numpy.array(data)
    except (ValueError, OverflowError) as error:
        raise Refused(f"`{kind}` holds rows of unequal length") from error
    if array.dtype.kind not in "biuf":
        return numpy.array(data, dtype=object)
    return array


def infer_answer(name: str, request: dict[str, Any], method: str, answer: Any) -> bytes:
    """The v2 response."""
    named = answer if isinstance(answer, dict) else {method: answer}
    outputs = [_output(key, value) for key, value in named.items()]
    found: dict[str, Any] = {"model_name": name, "outputs": outputs}
    if isinstance(request.get("id"), str):
        found["id"] = request["id"]
    return _written(found)


def _output(name: str, value: Any) -> dict[str, Any]:
    numpy = importlib.import_module("numpy")
    array = numpy.asarray(value)
    datatype = DATATYPE_OF.get(array.dtype.name)
    if datatype is None:
        data = [each if isinstance(each, str) else json.dumps(_plain_value(each)) for each in array.ravel().tolist()]
        return {"name": name, "shape": list(array.shape), "datatype": "BYTES", "data": data}
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": _plain_value(array.ravel())}


def invocation_answer(answer: Any) -> bytes:
    """The response of `/invocations`."""
    return _written({"predictions": _plain_value(answer)})


def _plain_value(value: Any) -> Any:
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        value = value.to_dict(orient="records")
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _written(found: dict[str, Any]) -> bytes:
    text = json.dumps(found, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, as `\ud800` sends it: UTF-8 has no bytes for that
        return json.dumps(found, allow_nan=False, separators=(",", ":")).encode()
