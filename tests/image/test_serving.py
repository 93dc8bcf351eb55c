"""
The server, started on the files that an image gets, in an environment that really has the libraries, and asked by real
clients over HTTP.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from envparity import resources
from envparity.errors import UsageError
from envparity.image import serving
from envparity.values import NUMERIC_SETTINGS, LockedModel, Options, Variable
from tests.ports import port_of_its_own
from tests.trained import make_environment
from tests.values import a_lock

TEMPLATES = Path(str(resources.templates())) / "serve"


@contextmanager
def started(
    trained: Path, folder: Path, *models: Path, app: Path | None = None, venv: Path | None = None, **variables: str
) -> Iterator[tuple[int, subprocess.Popen[bytes], Path]]:
    """The server on a free port, its process and its log; it need not be ready yet. `venv` is one that has no other."""
    folder.mkdir(exist_ok=True)
    place = folder / "settings"
    place.mkdir(exist_ok=True)
    listed = [{"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in models]
    said = {"models_folder": str(trained), "models": listed, "app": str(app) if app else None}
    if not (place / "serving.json").exists():
        (place / "serving.json").write_text(json.dumps(said))
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "SERVE_FOLDER": str(place)}
    environment["HOME"] = str(folder / "home")
    with (folder / "log").open("wb") as log, port_of_its_own() as port:
        environment |= {"SERVE_PORT": str(port), "SERVE_HOST": "127.0.0.1", **variables}
        argv = [(venv or trained / "venv") / "bin" / "python", TEMPLATES / "start.py"]
        process = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            yield port, process, folder / "log"
        finally:
            process.kill()
            process.wait()


@contextmanager
def ready(
    trained: Path, folder: Path, *models: Path, app: Path | None = None, venv: Path | None = None, **variables: str
) -> Iterator[tuple[int, subprocess.Popen[bytes], Path]]:
    with started(trained, folder, *models, app=app, venv=venv, **variables) as (port, process, log):
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            with suppress(OSError):
                if ask(port, "GET", "/v2/health/ready")[0] == 200:
                    break
            time.sleep(0.1)
        else:
            raise AssertionError(log.read_text())
        yield port, process, log


def ask(port: int, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, data, {"Content-Type": "application/json", **more})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text and "json" in answer.headers.get(
            "content-type", ""
        ) else text.decode()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def served(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    names = (
        "sklearn.joblib",
        "table.joblib",
        "xgboost.ubj",
        "lightgbm.txt",
        "onnx.onnx",
        "named.txt",
        "columns.ubj",
        "stopped.ubj",
        "wrapped.joblib",
    )
    limits = {"SERVE_MAX_BYTES": "20000", "SERVE_MAX_ROWS": "50", "SERVE_READ_SECONDS": "1"}
    folder = tmp_path_factory.mktemp("served")
    with ready(trained, folder, *(trained / name for name in names), **limits) as (port, _, log):
        yield port, log


@pytest.fixture(scope="module")
def said(trained: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((trained / "said.json").read_text())
    return found


def tensor(rows: list[list[float]], datatype: str = "FP64", **more: object) -> dict[str, Any]:
    item = {"name": "X", "shape": [len(rows), len(rows[0])], "datatype": datatype, "data": rows}
    return {"inputs": [item], **more}


@pytest.mark.parametrize(
    ("name", "datatype", "output"),
    [
        ("sklearn", "FP64", "predict_proba"),
        ("xgboost", "FP64", "predict"),
        ("stopped", "FP64", "predict"),
        ("lightgbm", "FP64", "predict"),
        ("onnx", "FP32", "predict"),
    ],
)
def test_what_is_answered_is_what_training_predicted_to_the_last_bit(
    served: tuple[int, Path], said: dict[str, Any], name: str, datatype: str, output: str
) -> None:
    request = tensor(said["rows"], datatype, outputs=[{"name": output}], id="7")

    status, told = ask(served[0], "POST", f"/v2/models/{name}/infer", request)

    flat = [value for row in said[name] for value in (row if isinstance(row, list) else [row])]
    assert status == 200, told
    assert told["id"] == "7"
    assert told["outputs"][-1]["data"] == flat


@pytest.mark.parametrize("name", ["table", "named", "columns"])
def test_columns_are_put_in_the_order_of_the_training(
    served: tuple[int, Path], said: dict[str, Any], name: str
) -> None:
    """LightGBM takes a table as it comes: it would answer, with other numbers."""
    columns = {each: [row[index] for row in said["rows"]] for index, each in ((1, "b"), (0, "a"))}
    inputs = [
        {"name": each, "shape": [len(values)], "datatype": "FP64", "data": values} for each, values in columns.items()
    ]

    status, told = ask(served[0], "POST", f"/v2/models/{name}/infer", {"inputs": inputs})

    assert status == 200, told
    assert told["outputs"][0]["data"] == said[name]
    assert ask(served[0], "GET", f"/v2/models/{name}")[1]["parameters"] == {"columns": ["a", "b"]}


def test_of_a_table_with_other_columns_nothing_is_predicted(served: tuple[int, Path]) -> None:
    inputs = [{"name": each, "shape": [1], "datatype": "FP64", "data": [1.0]} for each in ("a", "c")]

    for name in ("table", "named", "columns"):
        status, told = ask(served[0], "POST", f"/v2/models/{name}/infer", {"inputs": inputs})
        assert status == 400, told


def test_who_sends_rows_without_names_to_a_model_of_columns_is_told_how_to_name_them(served: tuple[int, Path]) -> None:
    """What scikit-learn says of it is about data frames, which no client knows of."""
    status, told = ask(served[0], "POST", "/v2/models/table/infer", tensor([[1.0]]))
    plain, other = ask(served[0], "POST", "/v2/models/sklearn/infer", tensor([[1.0]]))

    assert (status, plain) == (400, 400)
    assert told["error"].endswith("; it was trained with named columns: send `dataframe_split`, or an input for each")
    assert "named columns" not in other["error"]


def test_a_table_that_is_sent_as_one_is_put_in_order_too(trained: Path, said: dict[str, Any], tmp_path: Path) -> None:
    columns, data = ["b", "a"], [[row[1], row[0]] for row in said["rows"]]
    records = [dict(zip(columns, row, strict=True)) for row in data]

    with ready(trained, tmp_path, trained / "named.txt") as (port, _, _log):
        told = [
            ask(port, "POST", "/invocations", body)
            for body in (
                {"dataframe_split": {"columns": columns, "data": data}},
                {"dataframe_records": records},
                {"instances": records},
                {"inputs": {name: [row[index] for row in data] for index, name in enumerate(columns)}},
            )
        ]
        whole = ask(port, "POST", "/invocations", {"inputs": {"x": [row[:2] for row in said["rows"]]}})
        unlike = ask(port, "POST", "/invocations", {"inputs": {"a": [1.0], "b": [1.0, 2.0]}})

    assert [*told, whole] == [(200, {"predictions": said["named"]})] * 5
    assert unlike == (400, {"error": "all of `inputs` must have the same number of rows"})


@pytest.mark.parametrize("name", ["xgboost", "stopped", "lightgbm"])
def test_rows_that_lack_a_column_are_not_predicted_as_if_it_were_unknown(served: tuple[int, Path], name: str) -> None:
    """XGBoost takes what is not there as NaN, and answers."""
    found = ask(served[0], "POST", f"/v2/models/{name}/infer", tensor([[1.0, 2.0, 3.0]]))

    assert found == (400, {"error": "the model takes 4 columns, and each row has 3"})


@pytest.mark.parametrize("name", ["named.txt", "columns.ubj"])
def test_one_row_with_a_null_is_answered_as_it_is_among_others(trained: Path, tmp_path: Path, name: str) -> None:
    """Of a column with nothing but null pandas cannot tell that it is one of numbers."""
    row: list[object] = [0.5, None]

    with ready(trained, tmp_path, trained / name) as (port, _, _log):
        _, among = ask(port, "POST", "/invocations", split([row, [0.5, 1.5]]))
        alone = [
            ask(port, "POST", "/invocations", split([row])),
            ask(port, "POST", "/invocations", split([[0.5, "NaN"]])),
            ask(port, "POST", "/invocations", {"instances": [{"a": 0.5, "b": None}]}),
        ]
        text = ask(port, "POST", "/invocations", split([[0.5, "many"]]))

    assert alone == [(200, {"predictions": among["predictions"][:1]})] * 3
    assert text[0] == 400


def split(data: list[Any], **more: object) -> dict[str, Any]:
    return {"dataframe_split": {"columns": ["a", "b"], "data": data, **more}}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (split([[1.0, 2.0], [1.0]]), "`dataframe_split.data[1]` has 1 values, and there are 2 columns"),
        (split([1.0, 2.0]), "`dataframe_split.data[0]` has 1 values, and there are 2 columns"),
        (split({"a": 1.0}), "`dataframe_split.columns` and `dataframe_split.data` must be lists"),
        (split([[1.0, 2.0]], index=[7, 8]), "`dataframe_split.index` must be a list with one for each row"),
        ({"dataframe_records": []}, "`dataframe_records` holds no row"),
        (b'{"dataframe_records": [{"a": 1, "b": 1' + b"0" * 400 + b"}]}", "refused the rows: OverflowError"),
    ],
    ids=["short", "flat", "object", "index", "empty", "large"],
)
def test_a_table_that_is_none_is_refused_and_not_filled_up(one_table: int, body: object, says: str) -> None:
    """pandas fills up a short row with nulls, which many a model answers for; and it repeats a row for a long index."""
    status, told = ask(one_table, "POST", "/invocations", body)

    assert (status, says in told["error"]) == (400, True), told
    assert ask(one_table, "POST", "/invocations", split([[1.0, 2.0]], index=[7]))[0] == 200


@pytest.fixture(scope="module")
def one_table(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with ready(trained, tmp_path_factory.mktemp("one"), trained / "table.joblib") as (port, _, _log):
        yield port


def test_an_answer_that_is_no_json_is_no_fault_of_who_asked(trained: Path, tmp_path: Path) -> None:
    """With a 400 nobody who runs the server would be called."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "app.py").write_text("def predict(model, rows):\n    return rows if rows[0] != 'raw' else b'raw'\n")

    with ready(trained, tmp_path / "run", trained / "sklearn.joblib", app=app) as (port, _, log):
        found = ask(port, "POST", "/invocations", {"instances": ["raw"]})
        half = ask(port, "POST", "/invocations", b'{"instances": ["\\ud800"]}')

    assert (found[0], "cannot be written as JSON" in found[1]["error"]) == (500, True)
    assert half == (200, {"predictions": ["\ud800"]})
    assert [line.get("fault") for line in map(json.loads, log.read_text().splitlines()) if "status" in line] == [
        "TypeError",
        None,
    ]


def test_a_compressed_body_is_refused_as_that(one_table: int) -> None:
    """It was called no JSON, with a byte of it, and nobody guesses from that."""
    body = gzip.compress(json.dumps(split([[1.0, 2.0]])).encode())

    status, told = ask(one_table, "POST", "/invocations", body, content_encoding="gzip")

    assert (status, "`Content-Encoding`" in told["error"]) == (415, True)


@pytest.mark.parametrize("path", ["/ping", "/v2/health/ready", "/v2/models/table", "/metrics"])
def test_who_asks_for_the_head_alone_gets_it(one_table: int, path: str) -> None:
    """Load balancers do, and a server that is well must not look ill."""
    assert ask(one_table, "HEAD", path)[0] == ask(one_table, "GET", path)[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("POST", "/predict", 404), ("GET", "/invocations", 405)]
)
def test_who_asks_elsewhere_is_told_where_to_ask(served: tuple[int, Path], method: str, path: str, status: int) -> None:
    found, told = ask(served[0], method, path)

    assert found == status
    assert "POST /v2/models/NAME/infer" in told["error"]
    assert "sklearn" in told["error"]


def test_what_a_library_warns_of_is_a_line_without_what_was_sent(trained: Path, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "app.py").write_text(
        "import warnings\nwarnings.warn('an old model')\n"
        "def predict(model, rows):\n    warnings.warn(f'odd: {rows}')\n    return [1.0] * len(rows)\n"
    )

    with ready(trained, tmp_path / "run", trained / "sklearn.joblib", app=app) as (port, _, log):
        for row in ([8675309.25], [8675309.5]):
            ask(port, "POST", "/invocations", {"instances": [row]})

    lines = [json.loads(each) for each in log.read_text().splitlines()]
    first, second = (line for line in lines if line["event"] == "warned")
    assert (first["kind"], first["message"]) == ("UserWarning", "an old model")
    assert second["place"].endswith("app.py:4")
    assert "86753" not in log.read_text()


def v2(**changed: object) -> dict[str, Any]:
    item = {"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1.0, 2.0, 3.0, 4.0], **changed}
    return {"inputs": [{key: value for key, value in item.items() if value is not None}]}


MALFORMED: tuple[tuple[object, int, str], ...] = (
    (b"", 400, "no JSON"),
    (b"{", 400, "no JSON"),
    (b"\xff\xfe", 400, "no JSON"),
    (b"[" * 15_000, 400, "no JSON"),
    (b'{"inputs": [NaN]}', 400, "NaN is no JSON number"),
    (b"[1]", 400, "must be a JSON object"),
    ({}, 400, "`inputs` must be a list"),
    ({"inputs": []}, 400, "`inputs` must be a list"),
    ({"inputs": [7]}, 400, "`inputs[0]` must be an object"),
    (v2(name=None), 400, "with a `name`"),
    (v2(shape=None), 400, "`inputs[0].shape`"),
    (v2(shape=[1, -4]), 400, "`inputs[0].shape`"),
    (v2(shape=[1, True]), 400, "`inputs[0].shape`"),
    (v2(shape=[10**9, 10**9]), 400, "has 4 values"),
    (v2(data=[1, 2, 3]), 400, "has 3 values"),
    (v2(data=[[1, 2], 3, 4]), 400, "nested unevenly"),
    (v2(data="1234"), 400, "`inputs[0].data` must be a list"),
    (v2(data=[1, 2, 3, None]), 400, "no FP64"),
    (v2(data=[1, 2, 3, "x"]), 400, "no FP64"),
    (v2(datatype="INT8", data=[1, 2, 3, 400]), 400, "does not fit INT8"),
    (v2(datatype="FP128"), 400, "`inputs[0].datatype`"),
    (v2(datatype="BYTES"), 400, "must hold texts"),
    ({**v2(), "outputs": [{"name": "__class__"}]}, 400, "has no `__class__`"),
    ({"inputs": v2()["inputs"] * 2}, 400, "stands twice"),
    (v2(shape=[1, 2], data=[1.0, 2.0]), 400, "the model refused the rows: ValueError"),
    (v2(shape=[60, 4], data=[0.5] * 240), 413, "60 rows are more than the 50"),
    (b" " * 20_001, 413, "larger than 20000 bytes"),
)


@pytest.mark.parametrize(("body", "status", "says"), MALFORMED, ids=[str(i) for i in range(len(MALFORMED))])
def test_what_cannot_be_answered_is_refused_with_its_place(
    served: tuple[int, Path], body: object, status: int, says: str
) -> None:
    found, told = ask(served[0], "POST", "/v2/models/sklearn/infer", body)

    assert found == status
    assert says in told["error"]
    assert ask(served[0], "GET", "/v2/health/ready")[0] == 200


def test_a_model_that_is_not_there_is_named_as_such(served: tuple[int, Path]) -> None:
    assert ask(served[0], "POST", "/v2/models/../infer", {})[0] == 404
    assert ask(served[0], "POST", "/v2/models/other/infer", v2())[0] == 404
    assert ask(served[0], "GET", "/v2/models/other")[0] == 404


def test_a_model_says_what_it_takes_and_what_it_answers_with(served: tuple[int, Path]) -> None:
    """As far as the file itself says it: of the columns of a table no type is claimed."""
    names = ("sklearn", "table", "xgboost", "onnx", "wrapped")
    told = {name: ask(served[0], "GET", f"/v2/models/{name}")[1] for name in names}

    rows = {"name": "rows", "datatype": "FP64", "shape": [-1, 4]}
    assert told["sklearn"]["platform"] == "joblib"
    assert told["sklearn"]["inputs"] == told["xgboost"]["inputs"] == told["wrapped"]["inputs"] == [rows]
    assert told["sklearn"]["outputs"][:2] == [
        {"name": "predict", "datatype": "INT64", "shape": [-1]},
        {"name": "predict_proba", "datatype": "FP64", "shape": [-1, 2]},
    ]
    assert told["table"]["inputs"] == []
    assert told["onnx"]["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, 4]}]
    assert ask(served[0], "GET", "/v2/models/sklearn/ready") == (200, {})
    assert ask(served[0], "GET", "/v2")[1]["name"] == "envparity"


def test_a_prediction_that_takes_too_long_is_given_up_and_its_place_is_kept_until_it_ends(
    trained: Path, tmp_path: Path
) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "app.py").write_text(
        "import pathlib, time\n"
        "def predict(model, rows):\n"
        "    while rows[0][0] and not pathlib.Path(__file__).with_name('end').exists():\n"
        "        time.sleep(0.01)\n"
        "    return [1.0] * len(rows)\n"
    )
    limits = {"SERVE_PREDICT_SECONDS": "1", "SERVE_THREADS": "1"}

    with ready(trained, tmp_path / "run", trained / "sklearn.joblib", app=app, **limits) as (port, _, _log):
        slow = ask(port, "POST", "/invocations", {"instances": [[1.0]]})
        behind = ask(port, "POST", "/invocations", {"instances": [[0.0]]})
        (app / "end").touch()
        for _ in range(60):  # each may wait for a second until the place is free
            after = ask(port, "POST", "/invocations", {"instances": [[0.0]]})
            if after != behind:
                break

    assert slow == (504, {"error": "the prediction took longer than 1 s"})
    assert behind == (503, {"error": "the server is busy; try again"})
    assert after == (200, {"predictions": [1.0]})


def _locked(trained: Path, folder: Path, app: Path, **locked: object) -> None:
    """The settings of an image with one model, as `serving.settings` writes them, in its folder."""
    place = folder / "settings"
    place.mkdir(parents=True)
    digest = hashlib.sha256((trained / "sklearn.joblib").read_bytes()).hexdigest()
    models = [{"name": "sklearn.joblib", "sha256": digest}]
    said = {"models_folder": str(trained), "models": models, "app": str(app), "locked": locked}
    (place / "serving.json").write_text(json.dumps(said))


@pytest.fixture
def example(said: dict[str, Any], tmp_path: Path) -> Path:
    """The folder of an application that says nothing but what was predicted."""
    app = tmp_path / "app"
    app.mkdir()
    body = {"instances": said["rows"], "params": {"method": "predict_proba"}, "predictions": said["sklearn"]}
    (app / "example.json").write_text(json.dumps(body))
    return app


def test_a_container_that_is_what_was_locked_says_nothing_of_it(trained: Path, tmp_path: Path, example: Path) -> None:
    version = "import platform, sklearn; print(platform.python_version(), sklearn.__version__)"
    argv = [trained / "venv" / "bin" / "python", "-c", version]
    python, sklearn = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    locked: dict[str, Any] = {
        "python": python,
        "distributions": {"scikit-learn": sklearn},
        "settings": {"OMP_NUM_THREADS": "1"},
    }
    locked["numeric"] = list(NUMERIC_SETTINGS)  # of which scikit-learn sets some when it is imported
    _locked(trained, tmp_path / "run", example, **locked)
    variables = {"OMP_NUM_THREADS": "1", "SERVE_PARITY": "require"}

    with ready(trained, tmp_path / "run", app=example, **variables) as (port, _, log):
        counted = ask(port, "GET", "/metrics")[1]

    assert "serve_parity_drifts 0" in counted
    assert "not-in-parity" not in log.read_text()


def test_a_container_that_is_not_what_was_locked_answers_nothing_where_parity_is_required(
    trained: Path, tmp_path: Path, example: Path
) -> None:
    """A variable that somebody set, a distribution that lies before the locked one, and other predictions."""
    body = json.loads((example / "example.json").read_text())
    body["predictions"][3][1] += 1e-16
    body["predictions"][3][1] += 2e-16
    (example / "example.json").write_text(json.dumps(body))
    locked = {"distributions": {"scikit-learn": "1.0", "absent": "2"}, "settings": {"OMP_NUM_THREADS": "1"}}
    locked |= {"numeric": ["MKL_", "OMP_"], "chosen": ["MKL_NUM_THREADS"]}
    set_ = {"OMP_NUM_THREADS": "4", "MKL_CBWR": "AVX", "MKL_NUM_THREADS": "2"}
    _locked(trained, tmp_path / "run", example, **locked)

    with started(trained, tmp_path / "run", SERVE_PARITY="require", **set_) as (port, _, log):
        for _turn in range(600):
            try:
                unready = ask(port, "GET", "/v2/health/ready")
                break
            except OSError:
                time.sleep(0.1)
        alive = ask(port, "GET", "/v2/health/live")
        refused = ask(port, "POST", "/invocations", {"instances": [[1, 2, 3, 4]]})

    (line,) = (each for each in map(json.loads, log.read_text().splitlines()) if each["event"] == "not-in-parity")
    assert [each.partition(":")[0] for each in line["drifts"][:3]] == ["absent", "scikit-learn", "OMP_NUM_THREADS"]
    assert line["drifts"][3] == "MKL_CBWR: locked none, found AVX"
    assert "the predictions of `sklearn`" in line["drifts"][4]
    assert line["level"] == "error"
    assert (unready[0], alive[0], refused[0]) == (503, 200, 503)
    assert "OMP_NUM_THREADS: locked 1, found 4" in unready[1]["error"]


def test_by_default_a_drift_is_said_and_served(trained: Path, tmp_path: Path, example: Path) -> None:
    _locked(trained, tmp_path / "run", example, python="2.7.18")

    with ready(trained, tmp_path / "run") as (port, _, log):
        status = ask(port, "POST", "/invocations", {"instances": [[1, 2, 3, 4]]})[0]

    assert status == 200
    assert "Python: locked 2.7.18, found 3." in log.read_text()


def test_a_body_that_never_comes_does_not_hold_its_place(served: tuple[int, Path]) -> None:
    with socket.create_connection(("127.0.0.1", served[0]), timeout=20) as client:
        client.sendall(b"POST /v2/models/sklearn/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        answer = client.recv(1000)

    assert answer.startswith(b"HTTP/1.1 408 ")


def test_clients_that_say_nothing_or_begin_and_stop_do_not_keep_others_out(served: tuple[int, Path]) -> None:
    """As many of them as there are connections would otherwise be the end of the service."""
    address = ("127.0.0.1", served[0])
    with ExitStack() as opened:
        silent = [opened.enter_context(socket.create_connection(address, timeout=20)) for _ in range(260)]
        for client in silent[::2]:
            client.sendall(b"POST /invocations HT")
        ended = [client.recv(1) for client in silent]

    assert ended == [b""] * 260
    assert ask(served[0], "GET", "/v2/health/ready")[0] == 200


def test_what_is_no_http_is_answered_and_logged_as_a_line(served: tuple[int, Path]) -> None:
    with socket.create_connection(("127.0.0.1", served[0]), timeout=20) as client:
        client.sendall(b"hunter3 \xff\r\n\r\n")
        answer = client.recv(1000)

    assert answer.startswith(b"HTTP/1.1 400 ")
    (line,) = (json.loads(each) for each in served[1].read_text().splitlines() if "Invalid HTTP" in each)
    assert line["event"] == "server"
    assert "hunter3" not in served[1].read_text()


def test_neither_log_nor_metrics_hold_what_was_sent(served: tuple[int, Path]) -> None:
    """A log is read by more people than may read the rows of a customer."""
    marks = [8675309.25, 8675309.5, 8675309.75, 8675310.0]
    ask(served[0], "POST", "/v2/models/sklearn/infer", v2(data=marks))
    ask(served[0], "POST", "/v2/models/sklearn/infer", v2(data=[*marks[:3], "hunter2"]))
    ask(served[0], "POST", "/v2/models/sklearn/infer", v2(shape=[1, 1], data=marks[:1]))
    _, counted = ask(served[0], "GET", "/metrics")
    text = served[1].read_text()

    assert "86753" not in text + counted
    assert "hunter2" not in text + counted
    assert all(isinstance(json.loads(line), dict) for line in text.splitlines())
    assert re.search(r'^serve_requests_total\{route="infer",status="200"\} [0-9]+$', counted, re.MULTILINE)


def test_nothing_is_written_where_the_user_is_at_home(served: tuple[int, Path]) -> None:
    """The ONNX runtime would keep an identifier there, by which it tells its makers who serves."""
    assert not (served[1].parent / "home").exists()


def test_a_thousand_requests_of_eight_clients_are_all_answered_alike(
    served: tuple[int, Path], said: dict[str, Any]
) -> None:
    def client(number: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", served[0], timeout=30)
        equal = 0
        for turn in range(125):
            row = (number + turn) % 20
            body = tensor([said["rows"][row]], outputs=[{"name": "predict_proba"}])
            connection.request("POST", "/v2/models/sklearn/infer", json.dumps(body))
            equal += json.load(connection.getresponse())["outputs"][0]["data"] == said["sklearn"][row]
        connection.close()
        return equal

    with ThreadPoolExecutor(8) as clients:
        assert sum(clients.map(client, range(8))) == 1000


def test_a_stop_under_load_loses_no_request_that_was_taken(trained: Path, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "app.py").write_text(
        "import pathlib, time\n"
        "def predict(model, rows):\n"
        "    while not pathlib.Path(__file__).with_name('end').exists():\n"
        "        time.sleep(0.01)\n"
        "    return [1.0] * len(rows)\n"
    )
    asking = json.dumps({"instances": [[1, 2, 3, 4]]})

    with ready(trained, tmp_path / "run", trained / "sklearn.joblib", app=app) as (port, process, log):
        clients = [http.client.HTTPConnection("127.0.0.1", port, timeout=30) for _ in range(8)]
        for each in clients:
            each.request("POST", "/invocations", asking)
        ask(port, "GET", "/v2/health/live")  # whoever comes first is read first
        process.send_signal(signal.SIGTERM)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=20).close()
            except OSError:
                break
            time.sleep(0.05)
        (app / "end").touch()
        answers = [each.getresponse() for each in clients]
        told = [(answer.status, json.load(answer)) for answer in answers]
        for each in clients:
            each.close()
        status = process.wait(30)

    assert told == [(200, {"predictions": [1.0]})] * 8
    assert status == 0
    assert json.loads(log.read_text().splitlines()[-1])["event"] == "stopped"


def test_a_stop_while_a_model_is_loaded_is_no_matter_of_waiting(trained: Path, tmp_path: Path) -> None:
    """The first process of a container gets no signal that it does not handle: it would be killed after the grace."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "app.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(60)\n")

    with started(trained, tmp_path / "run", trained / "sklearn.joblib", app=app) as (_, process, log):
        until = time.monotonic() + 60
        while "here" not in log.read_text():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        status = process.wait(20)

    assert status == 0
    assert json.loads(log.read_text().splitlines()[-1])["event"] == "stopped"


def test_a_stop_while_the_server_itself_is_imported_is_no_matter_of_waiting(trained: Path, tmp_path: Path) -> None:
    """An orchestrator that changes its mind sends it as soon as the container is there."""
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "zipfile.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(60)\n")  # one of the first

    with started(trained, tmp_path / "run", PYTHONPATH=str(slow)) as (_, process, log):
        until = time.monotonic() + 60
        while "here" not in log.read_text():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)

        assert process.wait(20) == 0


def test_an_application_predicts_and_its_example_is_asked_at_the_start(trained: Path, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "app.py").write_text("def predict(model, rows):\n    return {'sum': [float(sum(row)) for row in rows]}\n")
    (app / "example.json").write_text('{"instances": [[1, 2, 3, 4]]}')

    with ready(trained, tmp_path / "run", trained / "sklearn.joblib", app=app) as (port, _, log):
        told = ask(port, "POST", "/invocations", {"instances": [[1, 2], [0.25, 0.5]]})

    assert told == (200, {"predictions": {"sum": [3.0, 0.75]}})
    assert '"event": "warm"' in log.read_text()


def _another_model(folder: Path) -> None:
    listed = [{"name": "sklearn.joblib", "sha256": "0" * 64}]
    said = {"models_folder": str(folder.parent / "models"), "models": listed, "app": None}
    (folder / "serving.json").write_text(json.dumps(said))
    (folder.parent / "models").mkdir()
    # Were it loaded before it is checked, this would run.
    code = f"cposix\nsystem\n(S'touch {folder.parent / 'ran'}'\ntR."
    (folder.parent / "models" / "sklearn.joblib").write_text(code)


def _another_folder(folder: Path) -> None:
    listed = [{"name": "churn", "sha256": "0" * 64, "files": 2}]
    (folder / "serving.json").write_text(json.dumps({"models_folder": str(folder.parent / "models"), "models": listed}))
    place = folder.parent / "models" / "churn"
    place.mkdir(parents=True)
    (place / "MLmodel").write_text("flavors: {python_function: {loader_module: no.such}}")


def _no_model(folder: Path) -> None:
    said = {"models_folder": str(folder), "models": [], "app": None}
    (folder / "serving.json").write_text(json.dumps(said))


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (_another_model, "is not the one that the image was built with"),
        (_another_folder, "is not the one that the image was built with"),
        (_no_model, "holds no model"),
    ],
)
def test_what_cannot_be_served_ends_at_once_and_is_never_loaded(
    trained: Path, tmp_path: Path, prepare: Callable[[Path], None], says: str
) -> None:
    (tmp_path / "run" / "settings").mkdir(parents=True)
    prepare(tmp_path / "run" / "settings")

    with started(trained, tmp_path / "run") as (_, process, log):
        status = process.wait(60)

    assert status == 1
    told = json.loads(log.read_text())
    assert told["event"] == "not-ready"
    assert says in told["reason"]
    assert not (tmp_path / "run" / "ran").exists()


@pytest.mark.parametrize(("port", "says"), [("70000", "1 to 65535"), ("http", "a whole number above 0")])
def test_a_port_that_is_none_is_told_and_no_traceback(trained: Path, tmp_path: Path, port: str, says: str) -> None:
    with started(trained, tmp_path / "run", trained / "table.joblib", SERVE_PORT=port) as (_, process, log):
        assert process.wait(60) == 1

    (told,) = map(json.loads, log.read_text().splitlines())
    assert (told["event"], says in told["reason"]) == ("not-ready", True)


def test_the_settings_name_each_model_by_its_digest() -> None:
    options = serving.with_server(Options(models=(model("m.joblib"),)), "fastapi")
    said = serving.settings(a_lock(), a_lock().targets[0], options)
    written = {entry.path: entry.content for entry in serving.server_entries(said)}

    assert options.entrypoint == serving.ENTRYPOINT
    assert options.ports == (8080,)
    document = written[serving.SETTINGS]
    assert isinstance(document, bytes)
    assert json.loads(document)["models"] == [{"name": "m.joblib", "sha256": "a" * 64}]
    assert json.loads(document)["locked"]["python"] == a_lock().targets[0].interpreter.version
    assert "opt/serve/start.py" in written


def test_nothing_to_serve_is_said_before_anything_is_built() -> None:
    with pytest.raises(UsageError, match="none is named"):
        serving.with_server(Options(), "fastapi")


def test_the_manifest_of_compose_starts_it_as_nobody_on_a_disk_that_cannot_be_written_to() -> None:
    compose = yaml.safe_load((TEMPLATES / "compose.yaml").read_text())

    assert compose["services"]["model"]["read_only"]
    assert compose["services"]["model"]["init"]


def model(name: str, files: int = 0) -> LockedModel:
    return LockedModel(name=name, size_bytes=1, sha256="a" * 64, files=files)


def written(server: str, *models: LockedModel) -> dict[str, Any]:
    """The files of JSON of an image with this server, by their names below its folder."""
    options = serving.with_server(Options(models=models), server)
    entries = serving.server_entries(serving.settings(a_lock(), a_lock().targets[0], options))
    found = {entry.path.removeprefix("opt/serve/"): entry.content for entry in entries if entry.path.endswith(".json")}
    return {path: json.loads(content) for path, content in found.items() if isinstance(content, bytes)}


def test_mlserver_finds_each_model_by_settings_of_its_own() -> None:
    models = (model("churn.joblib"), model("trees.ubj"), model("boost.txt"), model("flow", files=3))

    found = written("mlserver", *models)

    assert found.pop("serving.json")["server"] == "mlserver"
    assert found.keys() == {f"mlserver/{name}/model-settings.json" for name in ("churn", "trees", "boost", "flow")}
    assert found["mlserver/churn/model-settings.json"] == {
        "name": "churn",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "/opt/model/churn.joblib"},
    }
    assert found["mlserver/flow/model-settings.json"]["implementation"] == "mlserver_mlflow.MLflowRuntime"


def test_a_server_needs_what_it_starts_and_takes_what_is_there() -> None:
    assert serving.requirements("fastapi", [], ()) == ("fastapi", "uvicorn")
    assert serving.requirements("mlserver", [model("m.pkl"), model("n.json")], ()) == (
        "mlserver",
        "mlserver-sklearn",
        "mlserver-xgboost",
    )
    assert serving.requirements("mlflow", [model("flow", files=2)], ()) == ("mlflow",)
    assert serving.requirements("mlflow", [model("flow", files=2)], {"mlflow-skinny"}) == ("mlflow-skinny",)
    assert serving.requirements("", [model("m.pkl")], ()) == ()


@pytest.mark.parametrize(
    ("server", "models", "says"),
    [
        ("mlserver", (model("m.onnx"),), "no runtime here for `m.onnx`"),
        ("mlflow", (model("m.joblib"),), "`m.joblib` is a file"),
        ("mlflow", (model("a", files=1), model("b", files=1)), "`a` is one of 2"),
    ],
)
def test_a_model_that_a_server_does_not_serve_is_refused_before_anything_is_built(
    server: str, models: tuple[LockedModel, ...], says: str
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        serving.with_server(Options(models=models), server)

    assert "--serve fastapi" in caught.value.hint


@pytest.mark.parametrize(("server", "helps"), [("fastapi", True), ("mlserver", False), ("mlflow", False)])
def test_a_folder_that_no_server_loads_is_refused_before_anything_is_built(
    tmp_path: Path, server: str, helps: bool
) -> None:
    """The image was made and pushed, and ended each time that it started."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "app").mkdir()

    with pytest.raises(UsageError, match="has no `MLmodel`"):
        serving.require_loadable(server, [tmp_path / "weights"], tmp_path / "app")
    (tmp_path / "app" / "app.py").touch()
    with nullcontext() if helps else pytest.raises(UsageError, match="has no `MLmodel`"):
        serving.require_loadable(server, [tmp_path / "weights"], tmp_path / "app")

    (tmp_path / "weights" / "MLmodel").touch()
    serving.require_loadable(server, [tmp_path / "weights"], None)


@pytest.mark.parametrize("server", serving.SERVERS)
def test_two_models_of_one_name_are_refused_before_anything_is_built(server: str) -> None:
    """MLServer's settings of one would replace those of the other, and nobody would be told."""
    models = (model("boost.txt"), model("boost.joblib"))

    with pytest.raises(UsageError, match=r"`boost\.txt` and `boost\.joblib` would both be asked as `boost`"):
        serving.with_server(Options(models=models), server)


def test_the_one_port_that_is_named_is_the_one_that_is_served() -> None:
    options = serving.with_server(Options(models=(model("m.pkl"),), ports=(9000,)), "fastapi")

    assert options.env == (Variable("SERVE_PORT", "9000"),)


def test_of_several_ports_the_image_names_that_of_the_server_too() -> None:
    options = serving.with_server(Options(models=(model("m.pkl"),), ports=(9000, 9001)), "fastapi")

    assert options.ports == (8080, 9000, 9001)


def test_the_port_that_a_variable_names_is_the_one_that_the_image_names() -> None:
    asked = Options(models=(model("m.pkl"),), env=(Variable("SERVE_PORT", "7000"),))

    assert serving.with_server(asked, "fastapi").ports == (7000,)


@pytest.mark.parametrize("said", ["", "0", "abc", "65536", "٣٣"])
def test_a_variable_that_names_no_port_is_refused_before_anything_is_built(said: str) -> None:
    """Such an image would be made, pushed, and end each time that it starts."""
    asked = Options(models=(model("m.pkl"),), env=(Variable("SERVE_PORT", said),))

    with pytest.raises(UsageError, match="names no port"):
        serving.with_server(asked, "fastapi")


def test_a_port_that_is_named_moves_http_alone_of_mlserver() -> None:
    options = serving.with_server(Options(models=(model("m.pkl"),), ports=(9000,)), "mlserver")

    assert options.ports == (8081, 8082, 9000)
    assert serving.ports(options) == {"http": 9000, "grpc": 8081, "metrics": 8082}


@pytest.mark.parametrize(
    ("ports", "env", "says"),
    [
        ((8081,), (), "open port 8081 twice, for http and for grpc"),
        ((), (Variable("MLSERVER_METRICS_PORT", "8081"),), "open port 8081 twice, for metrics and for grpc"),
        ((), (Variable("MLSERVER_GRPC_PORT", "none"),), "MLSERVER_GRPC_PORT=none` names no port"),
        ((), (Variable("MLSERVER_HTTP_PORT", "9000"),), "away from where its health check asks"),
    ],
)
def test_ports_by_which_mlserver_could_not_be_asked_are_refused_before_anything_is_built(
    ports: tuple[int, ...], env: tuple[Variable, ...], says: str
) -> None:
    """It would end with "address already in use", or be killed by an engine that asks a port where nobody is."""
    with pytest.raises(UsageError, match=says):
        serving.with_server(Options(models=(model("m.pkl"),), ports=ports, env=env), "mlserver")


@pytest.mark.parametrize("server", ["mlserver", "mlflow"])
def test_a_server_of_others_starts_no_model_but_the_locked_one(server: str, trained: Path, tmp_path: Path) -> None:
    """They load it themselves, so its digest is looked at before they are there."""
    (tmp_path / "run" / "settings").mkdir(parents=True)
    _another_model(tmp_path / "run" / "settings")
    place = tmp_path / "run" / "settings" / "serving.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"server": server}))

    with started(trained, tmp_path / "run") as (_, process, log):
        status = process.wait(60)

    assert status == 1
    assert "is not the one that the image was built with" in json.loads(log.read_text())["reason"]
    assert not (tmp_path / "run" / "ran").exists()


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="MLServer 1.7 is for older Pythons")
def test_mlserver_answers_what_training_predicted_to_the_last_bit(
    trained: Path, said: dict[str, Any], tmp_path: Path
) -> None:
    """By the settings that are made for it, of the one runtime that needs little beside it."""
    make_environment(tmp_path / "venv", "mlserver>=1.7", "mlserver-lightgbm>=1.7", "lightgbm")
    place = tmp_path / "run" / "settings"
    sha256 = hashlib.sha256((trained / "lightgbm.txt").read_bytes()).hexdigest()
    settings = {"models_folder": str(trained), "models": [{"name": "lightgbm.txt", "sha256": sha256}]}
    settings |= {"app": None, "server": "mlserver"}
    for entry in serving.server_entries(json.dumps(settings)):
        if entry.path.endswith(".json") and isinstance(entry.content, bytes):
            file = place / entry.path.removeprefix("opt/serve/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(entry.content.replace(b"/opt/model", str(trained).encode()))

    with port_of_its_own() as grpc, port_of_its_own() as metrics:
        others = dict(zip([port.moved_by for port in serving.SERVERS["mlserver"].others], (grpc, metrics), strict=True))
        ports = {"MLSERVER_HOST": "127.0.0.1", **{name: str(number) for name, number in others.items()}}
        with ready(trained, tmp_path / "run", venv=tmp_path / "venv", **ports) as (port, process, _):
            for number in others.values():  # those that an image names
                socket.create_connection(("127.0.0.1", number), 5).close()
            status, told = ask(port, "POST", "/v2/models/lightgbm/infer", tensor(said["rows"]))
            process.send_signal(signal.SIGTERM)
            ended = process.wait(60)

    assert status == 200, told
    assert told["outputs"][0]["data"] == said["lightgbm"]
    assert ended == 0
