"""
The server, started on the files that an image gets, in an environment that really has the libraries, and asked by real
clients over HTTP.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from envparity import resources
from envparity.errors import UsageError
from envparity.image import serving
from envparity.values import LockedModel, Options
from tests import once
from tests.tools import needs_uv

TEMPLATES = Path(str(resources.templates())) / "serve"
LIBRARIES = (
    "scikit-learn",
    "joblib",
    "pandas",
    "xgboost-cpu",
    "lightgbm",
    "onnxruntime",
    "skl2onnx",
    "fastapi",
    "uvicorn",
)

TRAINING = """
import json, pathlib, sys
import joblib, lightgbm, numpy, pandas, skl2onnx, xgboost
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LinearRegression
import onnxruntime

folder = pathlib.Path(sys.argv[1])
random = numpy.random.default_rng(7)
x = random.normal(size=(120, 4))
y = (x.sum(axis=1) + random.normal(size=120) > 0).astype(int)
said = {"rows": x[:20].tolist()}

model = GradientBoostingClassifier(n_estimators=10, random_state=0).fit(x, y)
joblib.dump(model, folder / "sklearn.joblib")
said["sklearn"] = model.predict_proba(x[:20]).tolist()

frame = pandas.DataFrame(x, columns=list("abcd"))
table = LinearRegression().fit(frame[["a", "b"]], x[:, 2])
joblib.dump(table, folder / "table.joblib")
# Of one slice of a wider table the same numbers lie otherwise in memory, and the last bit of a product can differ.
said["table"] = table.predict(pandas.DataFrame({name: frame[name][:20].tolist() for name in "ab"})).tolist()

booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(x, label=y), 8)
booster.save_model(folder / "xgboost.ubj")
said["xgboost"] = booster.predict(xgboost.DMatrix(x[:20])).tolist()

trees = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, lightgbm.Dataset(x, label=y), 8)
trees.save_model(folder / "lightgbm.txt")
said["lightgbm"] = trees.predict(x[:20]).tolist()

graph = skl2onnx.to_onnx(model, x[:1].astype("float32"), options={"zipmap": False})
(folder / "onnx.onnx").write_bytes(graph.SerializeToString())
session = onnxruntime.InferenceSession(folder / "onnx.onnx", providers=["CPUExecutionProvider"])
said["onnx"] = session.run(None, {"X": x[:20].astype("float32")})[1].ravel().tolist()
(folder / "said.json").write_text(json.dumps(said))
"""


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the server, small models in it, and what training predicted."""

    def make(folder: Path) -> None:
        uv = needs_uv()
        base = getattr(sys, "_base_executable", sys.executable)
        subprocess.run([uv, "venv", "-q", "--no-config", "-p", base, folder / "venv"], check=True)
        python = folder / "venv" / "bin" / "python"
        subprocess.run([uv, "pip", "install", "-q", "--no-config", "--python", python, *LIBRARIES], check=True)
        subprocess.run([python, "-W", "ignore", "-c", TRAINING, folder], check=True)

    return once.made_once(once.of_the_run(tmp_path_factory) / "serving", make)


@contextmanager
def started(
    trained: Path, folder: Path, *models: Path, app: Path | None = None, **variables: str
) -> Iterator[tuple[int, subprocess.Popen[bytes], Path]]:
    """The server on a free port, its process and its log; it need not be ready yet."""
    folder.mkdir(exist_ok=True)
    place = folder / "settings"
    place.mkdir(exist_ok=True)
    listed = [{"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in models]
    said = {"models_folder": str(trained), "models": listed, "app": str(app) if app else None}
    if not (place / "serving.json").exists():
        (place / "serving.json").write_text(json.dumps(said))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "SERVE_FOLDER": str(place)}
    environment |= {"SERVE_PORT": str(port), "SERVE_HOST": "127.0.0.1", **variables}
    with (folder / "log").open("wb") as log:
        argv = [trained / "venv" / "bin" / "python", TEMPLATES / "start.py"]
        process = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        yield port, process, folder / "log"
    finally:
        process.kill()
        process.wait()


@contextmanager
def ready(
    trained: Path, folder: Path, *models: Path, app: Path | None = None, **variables: str
) -> Iterator[tuple[int, subprocess.Popen[bytes], Path]]:
    with started(trained, folder, *models, app=app, **variables) as (port, process, log):
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            try:
                status, _ = ask(port, "GET", "/v2/health/ready")
            except OSError:
                time.sleep(0.1)
                continue
            assert status == 200
            break
        yield port, process, log


def ask(port: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, data)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if "json" in answer.headers["content-type"] else text.decode()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def served(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    names = ("sklearn.joblib", "table.joblib", "xgboost.ubj", "lightgbm.txt", "onnx.onnx")
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


def test_a_table_is_asked_for_by_its_columns_in_any_order(served: tuple[int, Path], said: dict[str, Any]) -> None:
    columns = {name: [row[index] for row in said["rows"]] for index, name in ((1, "b"), (0, "a"))}
    inputs = [
        {"name": name, "shape": [len(values)], "datatype": "FP64", "data": values} for name, values in columns.items()
    ]

    status, told = ask(served[0], "POST", "/v2/models/table/infer", {"inputs": inputs})

    assert status == 200, told
    assert told["outputs"][0]["data"] == said["table"]


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
    assert ask(served[0], "GET", "/v2/models/sklearn")[1]["platform"] == "joblib"


def test_a_body_that_never_comes_does_not_hold_its_place(served: tuple[int, Path]) -> None:
    with socket.create_connection(("127.0.0.1", served[0]), timeout=20) as client:
        client.sendall(b"POST /v2/models/sklearn/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        answer = client.recv(1000)

    assert answer.startswith(b"HTTP/1.1 408 ")


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
        "import time\ndef predict(model, rows):\n    time.sleep(0.5)\n    return [1.0] * len(rows)\n"
    )
    statuses = []

    with ready(trained, tmp_path / "run", trained / "sklearn.joblib", app=app) as (port, process, log):

        def client() -> None:
            statuses.append(ask(port, "POST", "/invocations", {"instances": [[1, 2, 3, 4]]}))

        clients = [threading.Thread(target=client) for _ in range(8)]
        for each in clients:
            each.start()
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        for each in clients:
            each.join()
        status = process.wait(30)

    assert statuses == [(200, {"predictions": [1.0]})] * 8
    assert status == 0
    assert json.loads(log.read_text().splitlines()[-1])["event"] == "stopped"


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


def _no_model(folder: Path) -> None:
    said = {"models_folder": str(folder), "models": [], "app": None}
    (folder / "serving.json").write_text(json.dumps(said))


@pytest.mark.parametrize(
    ("prepare", "says"),
    [(_another_model, "is not the one that the image was built with"), (_no_model, "holds no model")],
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


def test_the_settings_name_each_model_by_its_digest() -> None:
    model = LockedModel(name="m.joblib", size_bytes=1, sha256="a" * 64)

    options = serving.with_server(Options(models=(model,)), "fastapi")
    written = {entry.path: entry.content for entry in serving.server_entries(serving.settings(options))}

    assert options.entrypoint == serving.ENTRYPOINT
    assert options.ports == (8080,)
    document = written[serving.SETTINGS]
    assert isinstance(document, bytes)
    assert json.loads(document)["models"] == [{"name": "m.joblib", "sha256": "a" * 64}]
    assert "opt/serve/start.py" in written


def test_nothing_to_serve_is_said_before_anything_is_built() -> None:
    with pytest.raises(UsageError, match="none is named"):
        serving.with_server(Options(), "fastapi")


def test_the_manifests_start_it_as_nobody_on_a_disk_that_cannot_be_written_to() -> None:
    deployment, service = yaml.safe_load_all((TEMPLATES / "kubernetes.yaml").read_text())
    compose = yaml.safe_load((TEMPLATES / "compose.yaml").read_text())

    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["runAsNonRoot"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": serving.PORT}
    assert service["spec"]["ports"][0]["targetPort"] == serving.PORT
    assert compose["services"]["model"]["read_only"]
