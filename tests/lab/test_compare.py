"""How far two answers are from each other."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from tests.lab.compare import (
    FAILS_AT_LOAD,
    FAILS_AT_PREDICT,
    IDENTICAL,
    LAST_BITS_ONLY,
    NOT_THERE,
    SILENT,
    beside,
    compare,
)


def floats(*numbers: float, code: str = "d") -> dict[str, Any]:
    data = struct.pack(f"<{len(numbers)}{code}", *numbers)
    name = {"d": "f8", "f": "f4"}[code]
    return {"type": name, "shape": [len(numbers)], "data": base64.b64encode(data).decode()}


def labels(*numbers: int) -> dict[str, Any]:
    data = struct.pack(f"<{len(numbers)}q", *numbers)
    return {"type": "i8", "shape": [len(numbers)], "data": base64.b64encode(data).decode()}


def words(*items: str) -> dict[str, Any]:
    return {"type": "text", "items": list(items)}


def answer(failures: dict[str, str] | None = None, **outputs: dict[str, Any]) -> dict[str, Any]:
    return {"outputs": outputs, "failures": failures or {}}


@pytest.mark.parametrize(
    ("before", "after", "word", "note"),
    [
        (floats(1.0, float("nan")), floats(1.0, float("nan")), IDENTICAL, ""),
        (floats(1.0, 1e-20), floats(1.0, 2e-20), LAST_BITS_ONLY, "1 of 2 differ, by at most 1e-20 (0.5 of the value)"),
        (floats(0.0), floats(-0.0), LAST_BITS_ONLY, "only the sign of zeros, or the bits of NaN"),
        (floats(1.0, 2.0), floats(1.0, 2.1), SILENT, "1 of 2 differ, by at most 0.1 (0.048 of the value)"),
        (floats(1.0), floats(float("nan")), SILENT, "1 of 1 differ, by at most inf (inf of the value)"),
        (floats(1.0, code="f"), floats(1.0000001, code="f"), LAST_BITS_ONLY, "1.2e-07"),
        (floats(1.0, code="f"), floats(1.0), SILENT, "type float32 became float64, largest deviation 0"),
        (labels(1, 2, 3), labels(1, 3, 3), SILENT, "1 of 3 differ, by at most 1"),
        (labels(1), floats(1.0), SILENT, "type int64 became float64"),
        (labels(1, 2), labels(1), SILENT, "shape [2] became [1]"),
        (words("a", "b"), words("a", "c"), SILENT, "1 of 2 differ ('b' became 'c')"),
        (words("a", "b"), words("a"), SILENT, "2 items became 1"),
    ],
)
def test_an_output_is_told_from_another(before: dict[str, Any], after: dict[str, Any], word: str, note: str) -> None:
    found = beside(before, after)

    assert found.word == word
    assert note in found.note


def test_the_worst_of_several_outputs_is_the_outcome() -> None:
    made = answer(predict=labels(1), predict_proba=floats(0.5))

    assert compare(made, answer(predict=labels(1), predict_proba=floats(0.6))).word == SILENT
    failed = answer({"predict": "ValueError: no"}, predict_proba=floats(0.6))
    assert compare(made, failed) == (FAILS_AT_PREDICT, "predict: ValueError: no")


def test_what_does_not_load_is_told_from_what_is_not_there() -> None:
    made = answer(predict=labels(1))

    assert compare(made, answer() | {"load": "ImportError: gone"}) == (FAILS_AT_LOAD, "ImportError: gone")
    assert compare(answer() | {"absent": "no such class"}, made) == (NOT_THERE, "no such class")
    assert compare(answer({"predict": "TypeError: x"}), made) == (NOT_THERE, "TypeError: x")
