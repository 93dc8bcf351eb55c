"""
A model as it goes into an image: a file, or a folder of files (MLflow, SavedModel, Hugging Face, …), by one digest.

A folder's digest is that of a snapshot, of its files' names and sha256: neither modes nor times nor links count.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from envparity.collectors import folders
from envparity.collectors.tree import LocalTree
from envparity.errors import RefusedError, UsageError
from envparity.files import translated
from envparity.image import app
from envparity.image.findings import Row
from envparity.oci.entries import Entry, shown
from envparity.oci.tree import ImageTree, Node
from envparity.values import LockedModel, ModelPart, PlannedLayer

PLACE = "opt/model"

PART_BYTES = 1 << 30
"""A folder whose large files are so many bytes together has several layers, and each is about as large, or larger."""

LARGE_BYTES = 1 << 30
"""A file that is as large is read once, while it is packed, wherever the lock says what it should be."""

LEAST_BYTES = 64 << 20
"""A file of a folder that is as large may have a layer of its own."""

MOST_PARTS = 8
"""Layers that one folder is split into."""

_HINT = "name the model's file or folder with `--model`"


def is_large(path: Path) -> bool:
    """Whether a model is a file that is not read before its layer is made, if a lock says what it should be."""
    return path.is_file() and path.stat().st_size >= LARGE_BYTES


def read(path: Path, recorded: LockedModel | None = None) -> LockedModel:
    """
    A model on this machine, by size and digest.

    Args:
        recorded: what has its name in the lock. A large file of that size is taken for it, and not read: the digest
            is looked at where it is packed, and where it is not, by who asked.

    Raises:
        UsageError: it is neither a file nor a folder with files, or its name cannot stand in an image.
        RefusedError: a folder holds what must not be shipped: all of it is named.
    """
    if not path.name.isprintable():  # a byte that is no UTF-8 is not printable either
        raise UsageError(f"model `{shown(str(path))}` has a name that no image can carry", hint="rename it")
    try:
        if path.is_dir():
            return _read_folder(path)
        if not path.is_file():
            fault = "is no regular file" if path.exists() else "does not exist"
            raise UsageError(f"model `{path}` {fault}", hint=_HINT)
        if recorded is not None and is_large(path) and path.stat().st_size == recorded.size_bytes:
            return LockedModel(name=path.name, size_bytes=recorded.size_bytes, sha256=recorded.sha256)
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return LockedModel(name=path.name, size_bytes=stream.tell(), sha256=digest)
    except OSError as error:
        raise translated(error, f"read the model `{path}`") from error


def _read_folder(path: Path) -> LockedModel:
    found, problems = [], []
    for item in folders.files_of(LocalTree(), str(path.absolute())):
        if item.leads_out:
            problems.append(f"{shown(item.name)}: a link that leads nowhere, or out of the folder")
        elif not item.name.isprintable():
            problems.append(f"{shown(item.name)}: a name that no image can carry")
        elif any(app.holds_secrets(part) or part in app.HISTORIES for part in item.name.split("/")):
            problems.append(f"{item.name}: commonly holds secrets, or a history")
        elif app.holds_private_key(Path(item.path)):
            problems.append(f"{item.name}: a private key")
        else:
            with Path(item.path).open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
                found.append((item.name, stream.tell(), sha256))
    if problems:
        raise RefusedError(
            f"the model `{path}` holds what must not be shipped",
            hint="move it out of the folder; the model's digest is of every file in it",
            details=tuple(problems),
        )
    if not found:
        raise UsageError(f"model `{path}` is a folder without a file", hint=_HINT)
    digests = {name: sha256 for name, _, sha256 in found}
    parts = parted([(name, size_bytes) for name, size_bytes, _ in found])
    return LockedModel(
        name=path.name,
        size_bytes=sum(size_bytes for _, size_bytes, _ in found),
        sha256=folders.digest(digests.items()),
        files=len(found),
        parts=tuple(
            ModelPart(
                files=len(part),
                size_bytes=sum(size_bytes for _, size_bytes in part),
                sha256=folders.digest((name, digests[name]) for name, _ in part),
            )
            for part in parts
        ),
    )


def parted(files: Sequence[tuple[str, int]]) -> list[list[tuple[str, int]]]:
    """
    The files of a folder, by name and size, as the parts that have a layer each; none where it is too small for that.

    Small files are one part: they change without the weights, and these without them. Large ones follow in the order of
    their names, in parts of about one size. A file is in one part, however large it is.
    """
    small = sorted(item for item in files if item[1] < LEAST_BYTES)
    large = sorted(item for item in files if item[1] >= LEAST_BYTES)
    total = sum(size_bytes for _, size_bytes in large)
    room = MOST_PARTS - bool(small)
    if len(large) < 2 or total < PART_BYTES:
        return []
    most = max(PART_BYTES, -(-total // room), *(size_bytes for _, size_bytes in large))
    while len(runs := _runs(large, most)) > room:
        most += most // 8
    return [small, *runs] if small else runs


def _runs(files: Sequence[tuple[str, int]], most_bytes: int) -> list[list[tuple[str, int]]]:
    found: list[list[tuple[str, int]]] = []
    left = 0
    for item in files:
        if item[1] > left:
            found.append([])
            left = most_bytes
        found[-1].append(item)
        left -= item[1]
    return found


@dataclass(frozen=True)
class Held:
    """
    What a layer holds of one model: all of it, or a part, of so many files; `before` is how many come before them in
    the order of `parted`. `files` is 0 of a model that is a file.
    """

    name: str
    size_bytes: int
    sha256: str
    files: int
    before: int = 0

    def __str__(self) -> str:
        return f"{self.sha256} {self.size_bytes} {self.files} {self.before} {self.name}"


class Unit(NamedTuple):
    """What of a model may have a layer of its own, and how people call it."""

    title: str
    held: Held


def units(model: LockedModel) -> list[Unit]:
    """The whole of a model, or each of its parts."""
    if not model.parts:
        return [Unit(model.name, Held(model.name, model.size_bytes, model.sha256, model.files))]
    found, before = [], 0
    for number, part in enumerate(model.parts, start=1):
        held = Held(model.name, part.size_bytes, part.sha256, part.files, before)
        found.append(Unit(f"{model.name}, {number} of {len(model.parts)}", held))
        before += part.files
    return found


def inputs(units: Iterable[Unit]) -> tuple[str, ...]:
    """What decides a layer of models."""
    return tuple(str(unit.held) for unit in units)


def held(layer: PlannedLayer) -> list[Held]:
    """What a planned layer holds."""
    found = []
    for text in layer.inputs:
        sha256, size_bytes, files, before, name = text.split(" ", 4)
        found.append(Held(name, int(size_bytes), sha256, int(files), int(before)))
    return found


def size_bytes(layer: PlannedLayer) -> int:
    """How large the planned models are."""
    return sum(each.size_bytes for each in held(layer))


def entries(layer: PlannedLayer, places: Mapping[str, Path]) -> list[Entry]:
    """The planned models, as they lie on this machine."""
    found = []
    for each in held(layer):
        place = places[each.name]
        if not each.files:
            found.append(_entry(each.name, each.size_bytes, functools.partial(_bytes_of, place)))
            continue
        inside = {item.name: Path(item.path) for item in folders.files_of(LocalTree(), str(place.absolute()))}
        sizes = [(name, file.stat().st_size) for name, file in inside.items()]
        for name, size in _part(each, sizes):
            found.append(_entry(f"{each.name}/{name}", size, functools.partial(_bytes_of, inside[name])))
    return sorted(found, key=lambda entry: entry.path)


def _part(each: Held, files: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """The files of a folder that are in what a layer holds of it."""
    ordered = sorted(files)
    if each.files and (each.before or each.files < len(ordered)):
        ordered.sort(key=lambda item: item[1] >= LEAST_BYTES)
        return ordered[each.before : each.before + each.files]
    return ordered


def entries_in(layer: PlannedLayer, tree: ImageTree) -> list[Entry] | None:
    """The planned models with the bytes that lie in an image; `None` where these have another size or digest."""
    found = []
    for each in held(layer):
        nodes = _nodes(each, tree)
        if not _is_it(each, nodes):
            return None
        found += [_entry(node.path.removeprefix(f"/{PLACE}/"), node.size_bytes, _opened(tree, node)) for node in nodes]
    return sorted(found, key=lambda entry: entry.path)


def rows(layer: PlannedLayer, tree: ImageTree) -> dict[str, Row]:
    """
    What the planned layer must hold, by path. Of a folder only the digest of all its files is planned: it stands in the
    row of the folder where what lies in the image has another one.
    """
    rows: dict[str, Row] = {}
    for each in held(layer):
        place = f"{PLACE}/{each.name}"
        if not each.files:
            rows[place] = Row("file", 0o644, sha256=each.sha256)
            continue
        nodes = _nodes(each, tree)
        rows |= {node.path[1:]: Row("file", 0o644, sha256=node.sha256) for node in nodes}
        if not _is_it(each, nodes):
            rows[place] = Row("folder", 0o755, sha256=each.sha256)
    return rows


def _is_it(each: Held, nodes: list[Node]) -> bool:
    digest = _digest_of(each, {node.path[1:]: node.sha256 for node in nodes})
    return (sum(node.size_bytes for node in nodes), digest) == (each.size_bytes, each.sha256)


def changed(layer: PlannedLayer, files: Mapping[str, str]) -> str:
    """The first model of a planned layer that is not what was planned, by the sha256 of each path; "" if all are."""
    return next((each.name for each in held(layer) if _digest_of(each, files) != each.sha256), "")


def _digest_of(each: Held, files: Mapping[str, str]) -> str:
    place = f"{PLACE}/{each.name}"
    if not each.files:
        return files.get(place, "")
    below = {path: sha256 for path, sha256 in files.items() if path.startswith(f"{place}/")}
    return folders.digest((path.removeprefix(f"{place}/"), sha256) for path, sha256 in below.items())


def _nodes(each: Held, tree: ImageTree) -> list[Node]:
    """The files of what is planned that lie in an image, sorted by path."""
    place = f"/{PLACE}/{each.name}"
    if each.files:
        nodes = {node.path.removeprefix(f"{place}/"): node for node in _below(tree, place)}
        return [nodes[name] for name, _ in sorted(_part(each, [(name, it.size_bytes) for name, it in nodes.items()]))]
    node = tree.entry(place)
    return [node] if node is not None and node.kind == "file" else []


def _below(tree: ImageTree, folder: str) -> Iterator[Node]:
    for name in tree.entries(folder) if tree.kind(folder) == "folder" else ():
        node = tree.entry(f"{folder}/{name}")
        if node is not None and node.kind == "folder":
            yield from _below(tree, node.path)
        elif node is not None and node.kind == "file":
            yield node


def _bytes_of(place: Path) -> BinaryIO:
    return place.open("rb")


def _opened(tree: ImageTree, node: Node) -> Callable[[], BinaryIO]:
    return functools.partial(tree.open, node.path)


def _entry(name: str, size_bytes: int, opened: Callable[[], BinaryIO]) -> Entry:
    return Entry(f"{PLACE}/{name}", "file", 0o644, size_bytes=size_bytes, content=opened)
