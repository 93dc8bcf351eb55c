"""
joblib: files that one release writes and each reads, and the keys that its cache is found by.

Python 3.8 and newer.
"""

import io

import joblib
import numpy as np

STATE = np.random.RandomState(5)
A = STATE.normal(size=(60, 40))
OBJECTS = {
    "array": A,
    "fortran": np.asfortranarray(A),
    "float32": A.astype(np.float32),
    "text": np.array(["a", "bc"]),
    "object": np.array([1, "two", None], dtype=object),
    "record": np.array([(1, 2.5)], dtype=[("n", "i4"), ("x", "f8")]),
    "masked": np.ma.masked_array(A[0], mask=A[0] > 0),
    "dict": {"weights": A, "names": ["x", "y"], "bias": 0.5},
    "list": [A, A[:3], "text"],
    "empty": np.zeros((0, 3)),
    "scalar": np.float64(0.1),
}

CASES = {}


def told(value):
    """A loaded object as text and numbers."""
    if isinstance(value, dict):
        return [str(sorted(value))] + [line for key in sorted(value) for line in told(value[key])]
    if isinstance(value, list):
        return [line for item in value for line in told(item)]
    if isinstance(value, np.ndarray):
        return [str(value.dtype), str(value.shape), str(value.flags.f_contiguous), repr(np.asarray(value).tolist())]
    return [repr(value)]


def written(value, **options):
    out = io.BytesIO()
    joblib.dump(value, out, **options)
    return out.getvalue()


def read(data):
    return told(joblib.load(io.BytesIO(data)))


for _name, _value in OBJECTS.items():
    CASES["file-" + _name] = ((lambda value: lambda: written(value))(_value), {"value": read})
    CASES["bytes-" + _name] = (None, {"bytes": (lambda value: lambda _: written(value))(_value)})
    CASES["hash-" + _name] = (None, {"key": (lambda value: lambda _: joblib.hash(value))(_value)})
for _kind in ("zlib", "gzip", "bz2", "lzma", "xz"):
    CASES["compressed-" + _kind] = (
        (lambda kind: lambda: written(OBJECTS["dict"], compress=(kind, 3)))(_kind),
        {"value": read},
    )
CASES["hash-text"] = (None, {"key": lambda _: joblib.hash("text")})
CASES["hash-function"] = (None, {"key": lambda _: joblib.hash(np.mean)})
CASES["hash-sha1"] = (None, {"key": lambda _: joblib.hash(A, hash_name="sha1")})
CASES["hash-set"] = (None, {"key": lambda _: joblib.hash({3, 1, 2})})
CASES["parallel"] = (None, {"value": lambda _: joblib.Parallel(n_jobs=1)(joblib.delayed(abs)(n) for n in range(-5, 5))})
