"""
How far the answers of one environment are from those of another. Standard library only.

`LAST_BITS` says what counts as rounding: a deviation of at most so much of the greatest value of the output.
"""

from __future__ import annotations

import base64
import math
import struct
from typing import Any, NamedTuple

IDENTICAL, LAST_BITS_ONLY, SILENT = "identical", "last bits", "silent change"
FAILS_AT_LOAD, FAILS_AT_PREDICT, NOT_THERE = "fails at load", "fails at predict", "not there"
OUTCOMES = (IDENTICAL, LAST_BITS_ONLY, SILENT, FAILS_AT_PREDICT, FAILS_AT_LOAD, NOT_THERE)

LAST_BITS = {"f2": 1e-2, "f4": 1e-6, "f8": 1e-12, "f16": 1e-15, "c8": 1e-6, "c16": 1e-12}
_CODES = {"f2": "e", "f4": "f", "f8": "d", "c8": "f", "c16": "d"}


class Outcome(NamedTuple):
    """One of OUTCOMES, and a note: by how much, or the error."""

    word: str
    note: str = ""

    @property
    def rank(self) -> int:
        return OUTCOMES.index(self.word)


def compare(made: dict[str, Any], found: dict[str, Any]) -> Outcome:
    """What the second answer of a case is beside the first."""
    if "absent" in made or "absent" in found:
        return Outcome(NOT_THERE, made.get("absent") or found.get("absent", ""))
    if "load" in found:
        return Outcome(FAILS_AT_LOAD, found["load"])
    outcomes = []
    for name, before in made["outputs"].items():
        if name in found["failures"]:
            outcomes.append((name, Outcome(FAILS_AT_PREDICT, found["failures"][name])))
        else:
            outcomes.append((name, beside(before, found["outputs"][name])))
    if not outcomes:
        return Outcome(NOT_THERE, "; ".join(sorted(set(made["failures"].values()))))
    worst = max(outcome.rank for _, outcome in outcomes)
    word = OUTCOMES[worst]
    said = [f"{name}: {outcome.note}" for name, outcome in outcomes if outcome.rank == worst and outcome.note]
    return Outcome(word, "; ".join(said))


def beside(before: dict[str, Any], after: dict[str, Any]) -> Outcome:
    """One output beside the same output of the other environment."""
    if before == after:
        return Outcome(IDENTICAL)
    if before["type"] != after["type"]:
        return Outcome(SILENT, _types(before, after))
    if before["type"] in ("text", "bytes"):
        return _items(before["items"], after["items"])
    if before["shape"] != after["shape"]:
        return Outcome(SILENT, f"shape {before['shape']} became {after['shape']}")
    if before["type"] in _CODES:
        return _floats(before, after)
    outcome = _items(_cells(before), _cells(after))
    if before["type"][0] in "iu":
        signed = before["type"][0] == "i"
        left, right = ([int.from_bytes(cell, "little", signed=signed) for cell in _cells(x)] for x in (before, after))
        largest = max(abs(a - b) for a, b in zip(left, right, strict=True))
        return outcome._replace(note=f"{outcome.note}, by at most {largest:,}")
    return outcome


def _types(before: dict[str, Any], after: dict[str, Any]) -> str:
    note = f"type {_name(before['type'])} became {_name(after['type'])}"
    if before["type"] in _CODES and after["type"] in _CODES and before["shape"] == after["shape"]:
        largest = max((abs(a - b) for a, b in zip(numbers(before), numbers(after), strict=True)), default=0.0)
        return f"{note}, largest deviation {largest:.2g}"
    return note


def _name(code: str) -> str:
    words = {"f": "float", "i": "int", "u": "uint", "c": "complex", "b": "bool"}
    kind, width = code[0], code[1:]
    return f"{words[kind]}{int(width) * 8}" if width.isdigit() and kind in words and kind != "b" else code


def _cells(value: dict[str, Any]) -> list[bytes]:
    data, width = base64.b64decode(value["data"]), int(value["type"][1:])
    return [data[start : start + width] for start in range(0, len(data), width)]


def _items(before: list[Any], after: list[Any]) -> Outcome:
    if len(before) != len(after):
        return Outcome(SILENT, f"{len(before):,} items became {len(after):,}")
    differing = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    note = f"{len(differing):,} of {len(before):,} differ"
    if isinstance(before[0], str) and len(before[0]) <= 40:
        note += f" ({differing[0][0][:40]!r} became {differing[0][1][:40]!r})"
    return Outcome(SILENT, note)


def numbers(value: dict[str, Any]) -> list[float]:
    """The floating-point numbers of an output (of a complex one, both parts)."""
    data, code = base64.b64decode(value["data"]), _CODES[value["type"]]
    return list(struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data))


def _floats(before: dict[str, Any], after: dict[str, Any]) -> Outcome:
    left, right = numbers(before), numbers(after)
    scale = max((abs(x) for x in left + right if math.isfinite(x)), default=0.0)
    largest, relative, differing = 0.0, 0.0, 0
    for a, b in zip(left, right, strict=True):
        if a == b or (math.isnan(a) and math.isnan(b)):
            continue
        differing += 1
        apart = abs(a - b) if math.isfinite(a) and math.isfinite(b) else math.inf
        largest = max(largest, apart)
        if apart and max(abs(a), abs(b)) > 0:
            relative = max(relative, apart / max(abs(a), abs(b)))
    if not differing:  # zeros of another sign, or another NaN
        return Outcome(LAST_BITS_ONLY, "only the sign of zeros, or the bits of NaN")
    note = f"{differing:,} of {len(left):,} differ, by at most {largest:.2g} ({relative:.2g} of the value)"
    small = largest <= LAST_BITS[before["type"]] * scale
    return Outcome(LAST_BITS_ONLY if small else SILENT, note)
