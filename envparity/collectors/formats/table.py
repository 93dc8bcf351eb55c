"""The formats of model files: how each is recognised, and what reads it. A new one is a file and a row here."""

from __future__ import annotations

import re
from typing import Callable, NamedTuple, Optional

from envparity.collectors.formats.archives import read_zip
from envparity.collectors.formats.arrays import read_npy
from envparity.collectors.formats.boosters import read_catboost, read_lightgbm
from envparity.collectors.formats.documents import read_json, read_ubjson
from envparity.collectors.formats.found import Found
from envparity.collectors.formats.graphs import read_fingerprint, read_onnx, read_saved_model
from envparity.collectors.formats.hdf5 import read_hdf5
from envparity.collectors.formats.mlflow import read_mlmodel
from envparity.collectors.formats.streams import Source
from envparity.collectors.formats.tensors import read_gguf, read_safetensors

Reader = Callable[[Source, Found], str]


class Format(NamedTuple):
    """
    A row: the name of the format; what a file of it begins with (a regular expression, or nothing); the names that it
    has, or their endings; and its reader, which answers with the name of what it found. None: nothing reads it.
    """

    name: str
    start: bytes
    names: tuple[str, ...]
    read: Optional[Reader]


FORMATS: tuple[Format, ...] = (
    Format("mlflow", rb"", ("MLmodel",), read_mlmodel),
    Format("tensorflow-savedmodel", rb"", ("saved_model.pb",), read_saved_model),
    Format("tensorflow-fingerprint", rb"", ("fingerprint.pb",), read_fingerprint),
    Format("npy", rb"\x93NUMPY", (), read_npy),
    Format("zip", rb"PK\x03\x04", (), read_zip),
    Format("hdf5", rb"\x89HDF\r\n\x1a\n", (), read_hdf5),
    Format("gguf", rb"GGUF", (), read_gguf),
    Format("lightgbm", rb"tree\r?\n", (), read_lightgbm),
    Format("catboost", rb"CBM1", (), read_catboost),
    Format("ubjson", rb"\{[iUIlL][^\"]", (".ubj",), read_ubjson),
    # Its length stands before it: the header of less than 2^48 bytes that any writer makes.
    Format("safetensors", rb"(?s).{6}\0\0\{\s*[\"}]", (), read_safetensors),
    Format("tflite", rb"(?s).{4}TFL3", (".tflite",), None),
    Format("onnx-runtime", rb"(?s).{4}ORTM", (".ort",), None),
    Format("joblib-zfile", rb"ZF0x", (), None),
    Format("7z", rb"7z\xbc\xaf\x27\x1c", (), None),
    Format("rar", rb"Rar!\x1a\x07", (), None),
    Format("parquet", rb"PAR1", (".parquet",), None),
    Format("arrow", rb"ARROW1\0\0", (".arrow", ".feather"), None),
)
"""Told by how a file begins, or by a name that says it all."""

ENDINGS: tuple[Format, ...] = (
    Format("safetensors", rb"", (".safetensors",), read_safetensors),
    Format("onnx", rb"\x08[\x03-\x20][\x12\x1a\x22\x3a\x42]", (".onnx",), read_onnx),
    Format("json", rb"\s*\{", (".json",), read_json),
    Format("catboost", rb"", (".cbm",), read_catboost),
    Format("protobuf", rb"", (".pb",), None),
    Format("hdf5", rb"", (".h5", ".hdf5"), read_hdf5),
    Format("yaml", rb"", (".yaml", ".yml"), None),
    Format("csv", rb"", (".csv", ".tsv"), None),
    Format("pmml", rb"", (".pmml",), None),
)
"""The same for what does not begin as a pickle or a compressed file; whatever does is read as what it begins as."""


def recognised(rows: tuple[Format, ...], start: bytes, name: str) -> Format | None:
    """The first row that fits the beginning of a file, or its name."""
    base = name.rpartition("/")[2]
    for row in rows:
        if row.start and re.match(row.start, start):
            return row
        if any(base == each or (each[0] == "." and base.lower().endswith(each)) for each in row.names):
            return row
    return None
