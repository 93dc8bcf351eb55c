"""
What runs inside an environment of the lab: standard library and the measured library only, Python 3.8 and newer.

    python -I worker.py CASES.py make FOLDER [CASE...]        fit or compute each case, pickle it, write what it gives
    python -I worker.py CASES.py load FROM FILE [CASE...]     load each pickle of another environment, and use it
    python -I worker.py CASES.py list

A file of cases has a dict `CASES`: name -> (make, uses). `make()` gives an object, which is pickled; it is None where
the case only computes. `uses` is a dict: name of an output -> function of the object. A `make` that raises ImportError
says that the release has no such class.

A line of JSON is written before each case and after it, so that a crash is blamed on the case that was at work.
"""

import base64
import hashlib
import importlib.util
import json
import os
import pickle
import sys
import traceback
import warnings


def load_cases(path):
    """The table of a file of cases. Its module has a name that no library has."""
    spec = importlib.util.spec_from_file_location("lab_cases_" + os.path.basename(path)[:-3], path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    return module.CASES


def encode(value):
    """A value as JSON: numbers by their bytes, everything else by its text."""
    if hasattr(value, "toarray"):
        value = value.toarray()
    if isinstance(value, bytes):
        return {"type": "bytes", "items": [hashlib.sha256(value).hexdigest()]}
    if isinstance(value, str):
        return {"type": "text", "items": [value]}
    if isinstance(value, (bool, int, float, complex)) or hasattr(value, "dtype"):
        import numpy

        array = numpy.ascontiguousarray(value)
        if array.dtype.kind in "biufc" and array.dtype.itemsize <= 16:
            data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
            shape = list(getattr(value, "shape", ()))
            name = array.dtype.kind + str(array.dtype.itemsize)
            return {"type": name, "shape": shape, "data": base64.b64encode(data).decode("ascii")}
        value = array.ravel().tolist()
    return {"type": "text", "items": [item if isinstance(item, str) else repr(item) for item in value]}


def said(error):
    """An error in one line."""
    first = (str(error).strip().splitlines() or [""])[0]
    return (type(error).__name__ + ": " + first)[:200]


def use(uses, model, answer):
    """Ask everything of a model, and note what it gives, or how it fails."""
    for name in uses:
        try:
            answer["outputs"][name] = encode(uses[name](model))
        except Exception as error:
            answer["failures"][name] = said(error)
            answer["trace"] = traceback.format_exc()[-1500:]


def make_case(case, folder, name):
    """Fit one case, pickle it, and use it."""
    make, uses = case
    answer = {"case": name, "outputs": {}, "failures": {}}
    model = None
    if make is not None:
        try:
            model = make()
        except ImportError as error:
            answer["absent"] = said(error)
            return answer
        data = pickle.dumps(model, protocol=4)
        with open(os.path.join(folder, name + ".pkl"), "wb") as file:
            file.write(data)
    use(uses, model, answer)
    return answer


def load_case(case, folder, name):
    """Load one case that another environment pickled, and use it."""
    _, uses = case
    answer = {"case": name, "outputs": {}, "failures": {}}
    try:
        with open(os.path.join(folder, name + ".pkl"), "rb") as file:
            model = pickle.load(file)
    except Exception as error:
        answer["load"] = said(error)
        answer["trace"] = traceback.format_exc()[-1500:]
        return answer
    use(uses, model, answer)
    return answer


def main(argv):
    """The command line, above."""
    cases = load_cases(argv[0])
    if argv[1] == "list":
        print(json.dumps({name: make is not None for name, (make, _) in cases.items()}))
        return
    act, folder = argv[1], argv[2]
    target = os.path.join(folder, "made.jsonl") if act == "make" else argv[3]
    names = argv[3 if act == "make" else 4 :] or list(cases)
    with open(target, "a", encoding="utf-8") as out:
        for name in names:
            out.write(json.dumps({"begin": name}) + "\n")
            out.flush()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    answer = (make_case if act == "make" else load_case)(cases[name], folder, name)
                except Exception as error:
                    answer = {"case": name, "broken": said(error), "trace": traceback.format_exc()[-1500:]}
            kinds = sorted({item.category.__name__ for item in caught})
            answer["warns"] = kinds
            out.write(json.dumps(answer) + "\n")
            out.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
