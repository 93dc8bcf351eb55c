"""Small models of the libraries that are served, in an environment that really has them: made once, and only read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import once
from tests.tools import needs_uv

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
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
import onnxruntime

folder = pathlib.Path(sys.argv[1])
random = numpy.random.default_rng(7)
x = random.normal(size=(120, 4))
y = (x.sum(axis=1) + random.normal(size=120) > 0).astype(int)
said = {"rows": x[:20].tolist()}

texts = ["cannot log in", "refund please", "parcel is late", "login broken again", "charged twice", ""]
words = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [0, 1, 2, 0, 1, 2])
joblib.dump(words, folder / "texts.joblib")
said["texts"], said["words"] = words.predict_proba(texts).tolist(), texts

model = GradientBoostingClassifier(n_estimators=10, random_state=0).fit(x, y)
joblib.dump(model, folder / "sklearn.joblib")
said["sklearn"] = model.predict_proba(x[:20]).tolist()

frame = pandas.DataFrame(x, columns=list("abcd"))
table = LinearRegression().fit(frame[["a", "b"]], x[:, 2])
joblib.dump(table, folder / "table.joblib")
# Of one slice of a wider table the same numbers lie otherwise in memory, and the last bit of a product can differ.
said["table"] = table.predict(pandas.DataFrame({name: frame[name][:20].tolist() for name in "ab"})).tolist()

data = lightgbm.Dataset(frame[["a", "b"]], label=y)
named = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, 8)
named.save_model(folder / "named.txt")
said["named"] = named.predict(x[:20, :2]).tolist()
data = xgboost.DMatrix(frame[["a", "b"]], label=y)
named = xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 8)
named.save_model(folder / "columns.ubj")
said["columns"] = named.predict(xgboost.DMatrix(frame[["a", "b"]][:20])).tolist()

booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(x, label=y), 8)
booster.save_model(folder / "xgboost.ubj")
said["xgboost"] = booster.predict(xgboost.DMatrix(x[:20])).tolist()

stopped = xgboost.XGBClassifier(n_estimators=50, max_depth=6, early_stopping_rounds=2, n_jobs=1)
stopped.fit(x[:80], y[:80], eval_set=[(x[80:], y[80:])], verbose=False)
stopped.save_model(folder / "stopped.ubj")
assert stopped.best_iteration + 1 < stopped.get_booster().num_boosted_rounds()
said["stopped"] = stopped.predict_proba(x[:20])[:, 1].tolist()

trees = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, lightgbm.Dataset(x, label=y), 8)
trees.save_model(folder / "lightgbm.txt")
wrapped = lightgbm.LGBMClassifier(n_estimators=4, verbose=-1, n_jobs=1).fit(x, y)
joblib.dump(wrapped, folder / "wrapped.joblib")
said["lightgbm"] = trees.predict(x[:20]).tolist()

graph = skl2onnx.to_onnx(model, x[:1].astype("float32"), options={"zipmap": False})
(folder / "onnx.onnx").write_bytes(graph.SerializeToString())
session = onnxruntime.InferenceSession(folder / "onnx.onnx", providers=["CPUExecutionProvider"])
said["onnx"] = session.run(None, {"X": x[:20].astype("float32")})[1].ravel().tolist()
(folder / "said.json").write_text(json.dumps(said))
"""


def make_environment(folder: Path, *requirements: str) -> Path:
    """A virtual environment of the Python that runs the tests, with these; the path of its interpreter."""
    uv = needs_uv()
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([uv, "venv", "-q", "--no-config", "-p", base, folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([uv, "pip", "install", "-q", "--no-config", "--python", python, *requirements], check=True)
    return python


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the server, small models in it, and what training predicted."""

    def make(folder: Path) -> None:
        python = make_environment(folder / "venv", *LIBRARIES)
        subprocess.run([python, "-W", "ignore", "-c", TRAINING, folder], check=True)

    return once.made_once(once.of_the_run(tmp_path_factory) / "serving", make)
