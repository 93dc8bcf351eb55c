"""The files of distributions, held against what their RECORD says of them; on all cores where the place allows it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import os
from typing import Callable, Iterable

from envparity.collectors.metadata import decoded
from envparity.collectors.records import RECORD_LIMIT, WRITTEN_LATER, record_rows
from envparity.collectors.shapes import Tree
from envparity.collectors.tree import LocalTree

_STRONG = ("sha256", "sha384", "sha512")
_VERDICTS = ("modified", "missing", "outside", "linked", "unhashed", "unread")
_MOST_THREADS = 8
_FEW = 64


def verify_files(tree: Tree, site_packages: str, dist_info: str) -> tuple[list[str], list[str]]:
    """
    The files of one distribution that were changed after it was installed, and those that are gone, as RECORD spells
    them. A file that cannot be read, or that has become a link out of the environment, counts as changed.

    Raises:
        OSError: its RECORD cannot be read.
    """
    text = decoded(tree.read(site_packages + "/" + dist_info + "/RECORD", RECORD_LIMIT))[0]
    result = check_files(tree, site_packages, record_rows(text), dist_info)
    return sorted(result["modified"] + result["linked"] + result["unread"]), result["missing"]


def check_files(
    tree: Tree, site_packages: str, rows: Iterable[tuple[str, str, str]], dist_info: str
) -> dict[str, list[str]]:
    """`check_all` for one distribution."""
    return check_all(tree, site_packages, {dist_info: rows})[dist_info]


def check_all(
    tree: Tree, site_packages: str, records: dict[str, Iterable[tuple[str, str, str]]]
) -> dict[str, dict[str, list[str]]]:
    """
    Hash what the RECORD rows of the distributions in one folder name, by the name of their metadata, and sort the paths
    into `modified`, `missing`, `outside` (the row leads out of the prefix), `linked` (a link there does), `unhashed`
    (no hash, or none of sha256, sha384, sha512) and `unread`. What leads out is never opened.

    `*.pyc` and what an installer writes itself are passed over. A FIFO, socket or device is `modified`, never opened.
    """
    inside = _inside(tree, site_packages)
    tasks = []
    for dist_info, rows in records.items():
        for path, digest, size in rows:
            first, _, rest = path.partition("/")
            if not path.endswith(".pyc") and (first != dist_info or rest not in WRITTEN_LATER):
                tasks.append((dist_info, path, digest, int(size) if size.isdigit() and len(size) < 18 else -1))
    # Where a thread ends before its time, what it left is not proven.
    verdicts = ["unread"] * len(tasks)
    # The largest first: the last file to be hashed is then a small one, and no thread waits long for another.
    order = sorted(range(len(tasks)), key=lambda number: -tasks[number][3])
    turns = itertools.count()
    real_folders: dict[str, str] = {}

    def work() -> None:
        for turn in turns:
            if turn >= len(order):
                return
            _, path, digest, _ = tasks[order[turn]]
            place = os.path.normpath(os.path.join(site_packages, path))
            verdict = "outside"
            if "\0" not in place and place.startswith(inside):
                try:
                    verdict = _checked(tree, place, digest, inside, real_folders)
                except OSError:
                    verdict = "unread"
            verdicts[order[turn]] = verdict

    _on_all_cores(work, tree, len(tasks))
    results: dict[str, dict[str, list[str]]] = {name: {key: [] for key in _VERDICTS} for name in records}
    for number, (dist_info, path, _, _) in enumerate(tasks):
        if verdicts[number]:
            results[dist_info][verdicts[number]].append(path)
    return results


def _inside(tree: Tree, site_packages: str) -> tuple[str, ...]:
    prefix = site_packages
    if prefix.endswith("-packages") and prefix.count("/") > 2:
        prefix = os.path.dirname(os.path.dirname(os.path.dirname(prefix)))
    return (prefix.rstrip("/") + "/", tree.resolve(prefix).rstrip("/") + "/", tree.resolve(site_packages) + "/")


def _on_all_cores(work: Callable[[], None], tree: Tree, count: int) -> None:
    """Run it here, and beside that once for each further core: hashing lets go of the interpreter's lock."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    started = []
    # The merged layers of an image are read in turn; a few files are not worth a thread.
    if count > _FEW and isinstance(tree, LocalTree):
        import threading

        for _ in range(min(cores, _MOST_THREADS) - 1):
            thread = threading.Thread(target=work, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads may be started here: then with those that run
                break
            started.append(thread)
    work()
    for thread in started:
        thread.join()


def _checked(tree: Tree, place: str, digest: str, inside: tuple[str, ...], real_folders: dict[str, str]) -> str:
    folder, _, name = place.rpartition("/")
    try:
        if folder not in real_folders:
            real_folders[folder] = tree.resolve(folder)
        real = tree.resolve(place) if tree.is_link(place) else real_folders[folder] + "/" + name
    except OSError:
        if tree.kind(place) is None:
            return "missing"
        raise
    if not real.startswith(inside):
        return "missing" if tree.kind(place) is None else "linked"
    algorithm, equals, expected = digest.partition("=")
    try:
        if algorithm not in _STRONG or not equals:
            kind = tree.kind(place)
            return "missing" if kind is None else "unhashed" if kind == "file" else "modified"
        actual = bytes.fromhex(tree.sha256(place)) if algorithm == "sha256" else _hashed(tree, place, algorithm)
    except OSError:
        kind = tree.kind(place)
        if kind == "file":
            raise
        return "missing" if kind is None else "modified"
    try:
        return "" if base64.urlsafe_b64decode(expected + "=" * (-len(expected) % 4)) == actual else "modified"
    except (binascii.Error, ValueError):
        return "modified"


def _hashed(tree: Tree, place: str, algorithm: str) -> bytes:
    hasher = hashlib.new(algorithm)
    with tree.open(place) as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            hasher.update(chunk)
    return hasher.digest()
