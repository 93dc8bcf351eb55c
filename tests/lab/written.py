"""What the lab found, as a file: `docs/lab/LIBRARY.json`, sorted, one line a cell."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

LETTERS = {
    "I": "identical",
    "B": "last bits",
    "S": "silent change",
    "P": "fails at predict",
    "L": "fails at load",
    "-": "not there",
}
_OF = {word: letter for letter, word in LETTERS.items()}
_NOTE = 160


class Cell(NamedTuple):
    """What one release made of what another wrote (or computed): one of the words in LETTERS, and by how much."""

    word: str
    note: str = ""
    warns: str = ""


class Measured(NamedTuple):
    """All that was measured of one library. The keys of `cells` are the case and the two releases."""

    library: str
    distribution: str
    environments: dict[str, Any]
    pickled: dict[str, bool]
    classes: dict[str, dict[str, list[str]]]
    cells: dict[tuple[str, str, str], Cell]
    unsteady: dict[str, list[str]]


def write(found: Measured, folder: Path, machine: dict[str, str], measured_on: str, as_of: str) -> Path:
    """
    Write the file. A case's digest is that of its rows and of the environments, not of the date: what is found again
    has the digest that it had.

    `classes` of a case: what its pickles name, and the releases that name it; `*` stands for all. A row is the release
    that makes, the one that loads, a letter of `outcomes`, the number of a note of the case, and the number of one of
    `warnings`; -1 is none, and an end of -1 is left out.
    """
    releases = list(found.environments)
    warnings = sorted({cell.warns for cell in found.cells.values()} - {""})
    cases, rows = {}, {}
    for name in sorted(found.pickled):
        cells = {key[1:]: cell for key, cell in found.cells.items() if key[0] == name}
        notes = sorted({cell.note[:_NOTE] for cell in cells.values()} - {""})
        rows[name] = [_row(pair, cell, notes, warnings) for pair, cell in cells.items()]
        cases[name] = {
            "kind": "pickle" if found.pickled[name] else "compute",
            "digest": _digest([name, notes, rows[name], found.environments]),
            "classes": {
                reference: "*" if named == releases else named
                for reference, named in found.classes.get(name, {}).items()
            },
            "unsteady": found.unsteady.get(name, []),
            "notes": notes,
        }
    head = {
        "library": found.library,
        "distribution": found.distribution,
        "measured_on": measured_on,
        "packages_as_of": as_of,
        "machine": machine,
        "outcomes": LETTERS,
        "totals": dict(sorted(Counter(cell.word for cell in found.cells.values()).items())),
        "warnings": warnings,
    }
    of_cases = [f"{_text(name)}: [\n" + ",\n".join(map(_text, of_case)) + "\n]" for name, of_case in rows.items()]
    lines = ["{"]
    lines += [f"{_text(key)}: {_text(value)}," for key, value in head.items()]
    lines += [f'"environments": {{\n{_lines(found.environments)}\n}},', f'"cases": {{\n{_lines(cases)}\n}},']
    lines += ['"rows": {', ",\n".join(of_cases), "}", "}"]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found.library}.json"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _row(pair: tuple[str, ...], cell: Cell, notes: list[str], warnings: list[str]) -> list[Any]:
    note = notes.index(cell.note[:_NOTE]) if cell.note else -1
    row = [*pair, _OF[cell.word], note, warnings.index(cell.warns) if cell.warns else -1]
    while row[-1] == -1:
        row.pop()
    return row


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _lines(table: dict[str, Any]) -> str:
    return ",\n".join(f"{_text(key)}: {_text(value)}" for key, value in table.items())


def digest_of(data: dict[str, Any], case: str) -> str:
    """The digest of a case, from what the file says."""
    return _digest([case, data["cases"][case]["notes"], data["rows"][case], data["environments"]])


def digest_of_all(data: dict[str, Any]) -> str:
    """The digest of every case together: that of the digests, in the order of names."""
    return hashlib.sha256("".join(data["cases"][name]["digest"] for name in sorted(data["cases"])).encode()).hexdigest()


def cells(data: dict[str, Any]) -> dict[tuple[str, str, str], Cell]:
    """The cells of a file: (case, the release that makes, the one that loads) -> what was found."""
    found = {}
    for case, rows in data["rows"].items():
        for before, after, letter, *numbers in rows:
            note, warns = [*numbers, -1, -1][:2]
            notes = data["cases"][case]["notes"]
            said = notes[note] if note >= 0 else "", data["warnings"][warns] if warns >= 0 else ""
            found[case, before, after] = Cell(data["outcomes"][letter], *said)
    return found
