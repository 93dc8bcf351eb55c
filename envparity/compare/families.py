"""Distributions that bring one library under several names: a build with other parts, or a name that it once had."""

from __future__ import annotations

from collections.abc import Collection

_FAMILIES = (
    ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel", "tensorflow-macos", "tensorflow-rocm"),
    ("scikit-learn", "sklearn"),
    ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-silicon"),
    ("xgboost", "xgboost-cpu"),
    ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12"),
    ("pillow", "pillow-simd"),
    ("psycopg2", "psycopg2-binary"),
    ("pytorch-lightning", "lightning"),
    ("prophet", "fbprophet"),
    ("beautifulsoup4", "bs4"),
    ("polars", "polars-lts-cpu", "polars-u64-idx"),
)
_FAMILY = {name: family for family in _FAMILIES for name in family}


def first_of(name: str) -> str:
    """The first of a distribution's family, by which rules speak of all of it; its own name where it has none."""
    return _FAMILY.get(name, (name,))[0]


def called(name: str, here: Collection[str], there: Collection[str]) -> str:
    """
    The name under which a distribution of one side is compared: its own, or the first of its family where each of the
    two sides has one of that family, and not the same one.
    """
    family = _FAMILY.get(name)
    if family is None:
        return name
    ours, others = ([member for member in family if member in names] for names in (here, there))
    return family[0] if len(ours) == 1 and len(others) == 1 and ours != others else name
