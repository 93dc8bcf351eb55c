"""
Brings the digests that the rules cite up to what `docs/lab/` says now.

A digest changes when something else is measured. Look at the rule first: `tests/knowledge/test_lab.py` says where one
no longer agrees with its row.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.lab.written import digest_of, digest_of_all

_CITED = re.compile(r'cell: "(?P<library>[^/"]+)/(?P<case>[^/"]+)/(?P<pair>[^"]+)", digest: "(?P<digest>[0-9a-f]+)"')


def cite(lab: Path, knowledge: Path) -> list[str]:
    """Rewrite the digests in every file of rules; the cells whose digest was another."""
    found: dict[str, dict[str, Any]] = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in lab.glob("*.json")
    }
    changed = []

    def renewed(match: re.Match[str]) -> str:
        data = found[match["library"]]
        digest = digest_of_all(data) if match["case"] == "*" else digest_of(data, match["case"])
        short = digest[: len(match["digest"])]
        if short != match["digest"]:
            changed.append(f"{match['library']}/{match['case']}/{match['pair']}")
        return match[0].replace(match["digest"], short)

    for path in sorted(knowledge.glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        path.write_text(_CITED.sub(renewed, text), encoding="utf-8")
    return changed
