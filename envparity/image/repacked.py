"""Wheels that were made here, held against a snapshot that knows another RECORD of them, or none."""

from __future__ import annotations

from collections.abc import Mapping

from envparity.collectors.records import Record, record_rows
from envparity.oci.tree import ImageTree
from envparity.values import Distribution, Environment, Lock, LockedDistribution

_STRONG = ("sha256=", "sha384=", "sha512=")


def anchored(lock: Lock, tree: ImageTree, found: Environment, wanted: Environment) -> Mapping[str, str]:
    """
    The repacked distributions of an image whose RECORD need not be the snapshot's, with what the snapshot does not say
    of their files.

    The lock may be the image's own word, and what it says excuses nothing by itself. Of one that was made of installed
    files, only what the snapshot itself calls modified or missing may differ: with the old rows of these in the place
    of the new ones, its RECORD has the digest that the snapshot knows. Of an editable one no snapshot knows the files.
    """
    here = {item.name: item for item in found.distributions or () if item.importable}
    told: dict[str, str] = {}
    recorded = {item.name: item for item in wanted.distributions or () if item.importable and not item.tooling}
    for item in lock.distributions:
        before, after = recorded.get(item.name), here.get(item.name)
        if item.repacked is None or before is None or after is None or before.version != after.version:
            continue
        if before.editable:
            if item.repacked.origin == "editable":
                told[item.name] = "it was editable, and the snapshot does not know its files"
        elif item.repacked.changed and _is_the_recorded(item, tree, before, after):
            paths = ", ".join(row.path for row in item.repacked.changed[:3])
            more = " …" if len(item.repacked.changed) > 3 else ""
            told[item.name] = f"changed where the model was trained, and the snapshot does not know how: {paths}{more}"
    return told


def _is_the_recorded(item: LockedDistribution, tree: ImageTree, before: Distribution, after: Distribution) -> bool:
    assert item.repacked is not None
    changed = {row.path: row for row in item.repacked.changed}
    known = {*(before.modified or ()), *(before.missing or ())}
    if any(path not in known and row.hash.startswith(_STRONG) for path, row in changed.items()):
        return False
    try:
        rows = record_rows(tree.read(f"{after.location}/RECORD", 64 << 20).decode("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return False
    kept = [row for row in rows if row[0] not in changed]
    was = [(row.path, row.hash, row.size) for row in changed.values()]
    return Record(_sheet([*kept, *was])).digest() == before.record_sha256


def _sheet(rows: list[tuple[str, str, str]]) -> str:
    import csv
    import io

    sheet = io.StringIO(newline="")
    csv.writer(sheet, lineterminator="\n").writerows(rows)
    return sheet.getvalue()
