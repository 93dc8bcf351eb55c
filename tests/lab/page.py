"""The pages of `docs/lab/`, made of the JSON files alone: the matrix as one HTML file, and a few words beside it."""

from __future__ import annotations

import json
from pathlib import Path
from string import ascii_letters
from typing import Any

from tests.lab.written import cells

HERE = Path(__file__).resolve().parent


def render(folder: Path) -> None:
    """Write `index.html` and `README.md` beside the data."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    data = json.dumps({name: _drawn(data) for name, data in found.items()}, ensure_ascii=False, separators=(",", ":"))
    page = (HERE / "page.html").read_text(encoding="utf-8")
    # The one text that could end the script element, or begin a comment in it.
    (folder / "index.html").write_text(page.replace("@DATA@", data.replace("<", "\\u003c")), encoding="utf-8")
    (folder / "README.md").write_text(_read_me(found), encoding="utf-8")


def _drawn(data: dict[str, Any]) -> dict[str, Any]:
    """What the page needs: for each case a letter and the number of a note for every pair of releases, row by row."""
    releases = list(data["environments"])
    letters = {word: letter for letter, word in data["outcomes"].items()}
    found = cells(data)
    cases = {}
    for name, case in data["cases"].items():
        pairs = [found.get((name, before, after)) for before in releases for after in releases]
        cases[name] = {
            "kind": case["kind"],
            "digest": case["digest"],
            "unsteady": case["unsteady"],
            "notes": case["notes"],
            "grid": "".join(letters[cell.word] if cell else " " for cell in pairs),
            "warned": "".join(
                ascii_letters[data["warnings"].index(cell.warns)] if cell and cell.warns else " " for cell in pairs
            ),
            "numbers": [case["notes"].index(cell.note) if cell and cell.note else -1 for cell in pairs],
        }
    beside = {
        release: ", ".join([f"Python {facts['python']}", *map(" ".join, sorted(facts["distributions"].items()))])
        for release, facts in data["environments"].items()
    }
    kept = ("measured_on", "packages_as_of", "machine", "totals", "warnings")
    return {"releases": releases, "environments": beside, "cases": cases} | {key: data[key] for key in kept}


def _read_me(found: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, data in found.items():
        totals, releases = data["totals"], list(data["environments"])
        failed = totals.get("fails at load", 0) + totals.get("fails at predict", 0)
        counts = [totals.get(word, 0) for word in ("identical", "last bits", "silent change")]
        told = " | ".join(f"{count:,}" for count in (len(data["cases"]), *counts, failed, totals.get("not there", 0)))
        rows.append(f"| [{name}]({name}.json) | {', '.join(releases)} | {told} | {data['measured_on']} |")
    hosts = [data["machine"] for data in found.values()]
    machines = sorted({f"{host['processor']}, {host['system']}, {host['libc']}" for host in hosts})
    words = (HERE / "page.md").read_text(encoding="utf-8")
    return words.format(rows="\n".join(rows), machines="; ".join(machines))
