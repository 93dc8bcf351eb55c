"""The files in `data/sources/` that tools wrote, and what is known of each."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "data" / "sources"

SECTIONS = {"distributions": "distributions", "conda": "conda_packages", "os": "os_packages"}
"""The columns that count, and what they count."""


class Expected(NamedTuple):
    """A row of `EXPECTED.tsv`. A count is `-` where the file says nothing of it; a spot is `name=version`."""

    file: str
    target: str
    distributions: str
    conda: str
    os: str
    spots: str
    refused: str
    how: str


def _rows(name: str) -> list[list[str]]:
    with (FOLDER / name).open(newline="") as stream:
        return list(csv.reader(stream, delimiter="\t"))[1:]


EXPECTED = [Expected(*row) for row in _rows("EXPECTED.tsv")]

SOURCES = {file: (licence, sha256) for file, _, _, _, licence, sha256 in _rows("SOURCES.tsv")}
"""The licence and the digest of each file."""

FILES = sorted(
    path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file() and path.parent != FOLDER
)
