"""
How the files beside this one were made. CPython 3.11, scikit-learn 1.4.2, numpy 1.26.4, joblib 1.4.2, cloudpickle 3.1:

    uv venv -p 3.11 env
    uv pip install -p env/bin/python scikit-learn==1.4.2 numpy==1.26.4 joblib==1.4.2 cloudpickle==3.1.2
    env/bin/python make.py

`expected.json` says, for each, which names `pickle` itself looked up when the file was loaded.
"""

import json
import pickle
import warnings
from pathlib import Path

import cloudpickle
import joblib
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

HERE = Path(__file__).parent
OLD_NAMES = {"copy_reg": "copyreg", "__builtin__": "builtins"}
looked_up = set()


class Mine:
    def predict(self, x):
        return np.log(x)


original = pickle._Unpickler.find_class


def find_class(self, module, name):
    looked_up.add(OLD_NAMES.get(module, module) + ":" + name)
    return original(self, module, name)


def main():
    texts = ["the invoice is wrong", "cannot log in", "refund my invoice", "password reset fails"]
    text = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, ["bill", "login", "bill", "login"])
    forest = RandomForestClassifier(2, max_depth=2, random_state=0).fit([[0, 1], [1, 0], [1, 1], [0, 0]], [0, 1, 1, 0])
    arrays = {
        "scalar": np.array(3.5),
        "empty": np.zeros((0, 3)),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "text": np.array(["\xe9", "bb"]),
        "bytes": np.array([b"x", b"yy"]),
        "objects": np.array([{"inner": np.arange(3)}, forest.estimators_[0].__class__], dtype=object),
        "dates": np.array(["2020-01-01"], "M8[ns]"),
        "records": np.zeros(3, dtype=[("a", "i4"), ("b", "f8", (2,))]),
        "records of objects": np.zeros(2, dtype=[("a", "i4"), ("c", "O")]),
        "big-endian": np.arange(5, dtype=">i4"),
        "matrix": np.matrix([[1, 2]]),
    }
    for protocol in range(6):
        joblib.dump(text, HERE / f"text.protocol{protocol}.joblib", protocol=protocol)
        joblib.dump(arrays, HERE / f"arrays.protocol{protocol}.joblib", protocol=protocol)
    for protocol in (0, 2, 4, 5):
        (HERE / f"text.protocol{protocol}.pkl").write_bytes(pickle.dumps(text, protocol=protocol))
    for method in ("zlib", "gzip", "bz2", "xz", "lzma"):
        joblib.dump(text, HERE / f"text.{method}.joblib", compress=(method, 3))
    joblib.dump(forest, HERE / "forest.joblib", compress=3)
    (HERE / "main.pkl").write_bytes(pickle.dumps(Mine()))
    (HERE / "by-value.pkl").write_bytes(cloudpickle.dumps(Mine()))
    pickle._Unpickler.find_class = find_class
    pickle.load = lambda file, **more: pickle._Unpickler(file, **more).load()
    expected = {}
    for path in sorted(HERE.glob("*.pkl")) + sorted(HERE.glob("*.joblib")):
        looked_up.clear()
        if path.suffix == ".joblib":
            joblib.load(path)
        else:
            with path.open("rb") as file:
                pickle.load(file)
        expected[path.name] = sorted(looked_up)
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
