"""
An image held against its lock: every layer is assembled again from the locked bytes, and its diffID compared.

Only where a diffID differs are the members compared, one by one, so that a difference names file, layer and owner. The
configuration is written again too, and compared key by key. What the builder added (options) is the image's own word:
it is shown, and what of it decides which code runs is a finding unless the caller expects it.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from envparity.errors import IncompleteError
from envparity.image import configuration
from envparity.image.app import PLACE as APP
from envparity.image.contents import MODELS, PAPERS, Supplies
from envparity.image.findings import (
    Evidence,
    Row,
    configuration_finding,
    decides_code,
    file_finding,
    row_of,
    unread,
)
from envparity.image.plan import history, plan
from envparity.image.serving import ENTRYPOINT
from envparity.image.serving import PLACE as SERVER
from envparity.oci.entries import Entry, content_sha256, shown
from envparity.oci.image import CREATED, Image
from envparity.oci.tar import write_layer
from envparity.oci.tree import ImageTree, Node
from envparity.progress import SILENT, Progress
from envparity.values import (
    Change,
    Difference,
    Effect,
    Finding,
    Gap,
    Options,
    Plan,
    PlannedLayer,
    Severity,
    Step,
)


def against_lock(
    image: Image, tree: ImageTree, supplies: Supplies, expected: Options, *, progress: Progress = SILENT
) -> Evidence:
    """
    Everything in the image that is not what lock and options say.

    Args:
        expected: the options that the caller built with, as far as they matter here: entry point, variables, user.

    Raises:
        IncompleteError: the image does not say with which options it was built, so nothing can be assembled again.
    """
    runtime = image.config.config
    options = configuration.recorded_options(dict((runtime.labels if runtime else None) or {}))
    if options is None:
        raise IncompleteError(
            f"`{image.reference}` does not say with which options it was built, so it cannot be assembled again",
            hint="was it built from this lock by envparity? an image of another builder is verified against a snapshot",
        )
    decided = plan(supplies.lock, supplies.target, options, hashlib.sha256(supplies.lock_bytes).hexdigest())
    with progress.task("assemble again", len(decided.layers)) as advance:
        pairs, gaps = _unequal(decided, image, tree, supplies, advance)
    findings = [finding for planned, index in pairs for finding in _layer(planned, index, tree, supplies)]
    findings += _document(image, supplies, decided)
    findings += _options(supplies, options, expected)
    checked = (
        ("layers assembled again and compared", len(decided.layers)),
        ("files in them", sum(1 for node in tree.walk() if node.kind == "file")),
    )
    return Evidence(tuple(findings), tuple(gaps), checked, tuple(_said(options, expected)))


# The layers

Pair = tuple[PlannedLayer | None, int | None]
"""A planned layer and the number of the image's layer that should be it; `None` where one of them has no partner."""


def _unequal(
    decided: Plan, image: Image, tree: ImageTree, supplies: Supplies, advance: Callable[[int], None]
) -> tuple[list[Pair], list[Gap]]:
    """The pairs that do not have one diffID, and gaps for what could not be assembled."""
    actual = list(image.config.rootfs.diff_ids)
    wanted = []
    gaps = []
    for layer in decided.layers:
        if layer.step is Step.APP and supplies.app is None:
            gaps.append(unread("the application is not at hand: name it with --app", APP))
            wanted.append(_holding_only(APP, actual, tree, supplies))
        else:
            entries = _model(layer, tree) if layer.step is Step.MODEL else supplies.entries(layer)
            folders = {} if layer.step is Step.BASE else supplies.folders
            wanted.append(_diff_id(entries, folders) if entries is not None else "")
        advance(1)
    pairs: list[Pair] = []
    for kind, i, j, k, m in difflib.SequenceMatcher(a=wanted, b=actual, autojunk=False).get_opcodes():
        if kind != "equal":
            planned: list[PlannedLayer | None] = list(decided.layers[i:j])
            found: list[int | None] = list(range(k, m))
            more = max(len(planned), len(found))
            planned += [None] * (more - len(planned))
            pairs += zip(planned, found + [None] * (more - len(found)), strict=True)
    return pairs, gaps


def _diff_id(entries: Iterable[Entry], folders: Mapping[str, Entry]) -> str:
    digest = _Hashing()
    write_layer(digest, entries, folders=folders)
    return f"sha256:{digest.sha256.hexdigest()}"


class _Hashing:
    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return len(data)


def _model(layer: PlannedLayer, tree: ImageTree) -> list[Entry] | None:
    """A model's layer, with the bytes that lie in the image where they have the planned size and digest."""
    name, size, sha256 = layer.inputs
    path = f"{MODELS}/{name}"
    node = tree.entry(f"/{path}")
    if node is None or (node.kind, str(node.size_bytes), node.sha256) != ("file", size, sha256):
        return None
    content: Callable[[], BinaryIO] = functools.partial(tree.open, node.path)
    return [Entry(path, "file", 0o644, size_bytes=node.size_bytes, content=content)]


def _holding_only(place: str, actual: list[str], tree: ImageTree, supplies: Supplies) -> str:
    """The diffID of the layer that holds a folder's plain content, below folders as the base has them, and no more."""
    above = _with_parents({f"{place}/x": Row("file", 0o644)}, supplies.folders)
    for index, diff_id in enumerate(actual):
        nodes = tree.layer_entries(index)
        if nodes and all(_is_plain_part(node, place, above) for node in nodes):
            return diff_id
    return ""


def _is_plain_part(node: Node, place: str, above: Mapping[str, Row]) -> bool:
    path, row = node.path[1:], row_of(node)
    if path in above:
        return row == above[path]
    plain = row.kind in {"file", "folder", "link"} and not row.xattrs and not row.mode & 0o6000
    return plain and path.startswith(f"{place}/") and not path.rpartition("/")[2].startswith(".wh.")


def _layer(planned: PlannedLayer | None, index: int | None, tree: ImageTree, supplies: Supplies) -> Iterator[Finding]:
    wanted = _rows(planned, supplies) if planned is not None else {}
    found = {node.path[1:]: node for node in tree.layer_entries(index)} if index is not None else {}
    layer = f"layer {index + 1}" if index is not None else "no layer"
    title = f"{layer} ({planned.title})" if planned is not None else f"{layer}, which the lock does not plan"
    parents = {} if planned is not None else _folder_rows(supplies)
    count = 0
    for path in sorted(wanted.keys() | found.keys()):
        before = wanted.get(path)
        after = row_of(found[path]) if path in found else None
        if before == after or (after is not None and parents.get(path) == after):
            continue
        count += 1
        change = Change.ADDED if before is None else Change.REMOVED if after is None else Change.CHANGED
        if planned is None and path in supplies.owners:
            change = Change.CHANGED  # a layer on top replaces the file of a layer below
        texts = ("" if before is None else str(before), "" if after is None else str(after))
        yield file_finding(path, change, *texts, title, _owner(path, planned, supplies))
    held = Counter(node.path for node in tree.layer_entries(index)) if index is not None else Counter[str]()
    for path in (path for path, times in held.items() if times > 1):
        count += 1
        reason = "The layer holds this path twice, and engines differ about which one counts."
        yield file_finding(path, Change.CHANGED, "once", "twice", title, _owner(path, planned, supplies), reason)
    if not count:
        only_times = any(node.mtime != 1 for node in found.values())
        note = "times" if only_times else "order or padding"
        difference = Difference(section="files", item=title, field="tar", change=Change.CHANGED, note=note)
        yield Finding(
            difference=difference,
            severity=Severity.LOW if only_times else Severity.MEDIUM,
            effect=Effect.COSMETIC,
            reason=f"The layer's tar is written otherwise ({note}); every file in it is the locked one.",
        )


def _rows(planned: PlannedLayer, supplies: Supplies) -> dict[str, Row]:
    """Every member that the layer must have, with the parents that its writer adds."""
    if planned.step is Step.MODEL:
        rows = {f"{MODELS}/{planned.inputs[0]}": Row("file", 0o644, sha256=planned.inputs[2])}
    else:
        rows = {
            entry.path: Row(entry.kind, entry.mode, entry.uid, entry.gid, entry.target, content_sha256(entry))
            for entry in supplies.entries(planned)
        }
    return rows if planned.step is Step.BASE else _with_parents(rows, supplies.folders)


def _with_parents(rows: Mapping[str, Row], folders: Mapping[str, Entry]) -> dict[str, Row]:
    complete = dict(rows)
    for path in rows:
        while "/" in path:
            path = path.rpartition("/")[0]
            base = folders.get(path, Entry(path, "folder", 0o755))
            complete.setdefault(path, Row(base.kind, base.mode, base.uid, base.gid, base.target))
    return complete


def _folder_rows(supplies: Supplies) -> dict[str, Row]:
    """The folders that the planned layers make: a layer that nobody planned changes nothing by naming one as it is."""
    base = {entry.path: entry for entry in supplies.folders.values() if entry.kind == "folder"}
    rows = {path: Row("folder", entry.mode, entry.uid, entry.gid) for path, entry in base.items()}
    held = (*supplies.owners, *(f"{place}/x" for place in (MODELS, APP, SERVER, PAPERS)))
    below = _with_parents({path: Row("file", 0o644) for path in held}, supplies.folders)
    return {path: row for path, row in below.items() if row.kind == "folder"} | rows


def _owner(path: str, planned: PlannedLayer | None, supplies: Supplies) -> str:
    if planned is not None and planned.step in _OWNERS:
        return _OWNERS[planned.step].format(planned.title)
    return supplies.owners.get(path.lstrip("/"), "nobody")


_OWNERS = {
    Step.MODEL: "model {}",
    Step.APP: "the application",
    Step.SERVER: "the server of envparity",
    Step.PAPERS: "lock and snapshot",
    Step.INTERPRETER: "the interpreter, {}",
}


# The documents


def _document(image: Image, supplies: Supplies, decided: Plan) -> Iterator[Finding]:
    """The whole configuration as it is written, against the one that lock and options give; then the annotations."""
    lock_sha256 = hashlib.sha256(supplies.lock_bytes).hexdigest()
    runtime = configuration.runtime(supplies.lock, supplies.target, decided.options, lock_sha256)
    system, _, architecture = decided.platform.partition("/")
    wanted: dict[str, Any] = {
        "os": system,
        "architecture": architecture,
        "created": CREATED,
        "rootfs": {"type": "layers", "diff_ids": list(image.config.rootfs.diff_ids)},  # compared layer by layer
        "history": [{"created": CREATED, "created_by": history(layer)} for layer in decided.layers],
    }
    found = json.loads(image.config_bytes)
    found_runtime = found.pop("config", None) or {}
    fix = "build the image again from the lock"
    for key, before, after in _unequal_keys(
        {k: v for k, v in runtime.items() if v not in (None, "", [], {})}, found_runtime
    ):
        reason = "The image starts otherwise than the lock and its recorded options say."
        yield configuration_finding(key, before, after, Severity.CRITICAL, reason, fix)
    for key, before, after in _unequal_keys(wanted, found):
        severity = Severity.LOW if key in {"created", "history"} else Severity.CRITICAL
        yield configuration_finding(
            key, before, after, severity, "The image says this of itself, and was not built so.", fix
        )
    identity = configuration.identity(supplies.lock, supplies.target, lock_sha256)
    for name, value in (image.manifest.annotations or {}).items():
        if identity.get(name, value) != value:
            reason = "The image says that it was built from something else."
            yield configuration_finding(name, identity[name], shown(value), Severity.CRITICAL, reason, fix)
    for layer in image.manifest.layers:
        for name, value in (layer.annotations or {}).items():
            reason = "Engines that fetch layers lazily read this in place of the layer that was checked."
            yield configuration_finding(name, "", shown(value), Severity.HIGH, reason, fix)


def _unequal_keys(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    def text(value: Any) -> str:
        return "" if value is None else shown(json.dumps(value))

    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            yield key, text(wanted.get(key)), text(found.get(key))


# What the builder added


def _options(supplies: Supplies, options: Options, expected: Options) -> Iterator[Finding]:
    """The options are the image's own word. What of them decides which code runs must be what the caller expects."""
    locked = {item.name for item in supplies.lock.settings}
    said, meant = ({item.name: item.value for item in side.env} for side in (options, expected))
    for name in sorted(said.keys() | meant.keys()):
        decides = decides_code(name) or name == "PATH" or name in locked
        if said.get(name) != meant.get(name) and (decides or name in meant):
            reason = "This variable was set when the image was built, and decides which code runs or how it counts."
            fix = f"if you built it so, say `--env {name}=...` here too"
            texts = (shown(meant.get(name, "")), shown(said.get(name, "")))
            yield configuration_finding(f"variable {name}", *texts, Severity.HIGH, reason, fix)
    if options.user != expected.user and options.user.partition(":")[0].strip("0") == "":
        reason = "The image runs as root."
        yield configuration_finding(
            "user", expected.user, options.user, Severity.HIGH, reason, "if you built it so, say --user"
        )
    # The server's own layer was assembled again like any other: what its entry point starts is known.
    served = options.serve and options.entrypoint == ENTRYPOINT and expected.entrypoint == Options().entrypoint
    if options.entrypoint != expected.entrypoint and not served:
        meant_text, said_text = (shown(" ".join(side.entrypoint)) for side in (expected, options))
        reason = "The image starts something else; the lock does not know what it should start."
        fix = "if you built it so, say --entrypoint here too"
        yield configuration_finding("entry point", meant_text, said_text, Severity.MEDIUM, reason, fix)
    yield from _models(supplies, options)
    if supplies.app is not None and options.app is None:
        yield file_finding(APP, Change.REMOVED, "a folder", "", "no layer", "the application")


def _models(supplies: Supplies, options: Options) -> Iterator[Finding]:
    known = {model.name: model for model in supplies.lock.models}
    held = {model.name: model for model in options.models}
    for name in sorted(known.keys() | held.keys()):
        promised, found = known.get(name), held.get(name)
        if promised is not None and found is None:
            reason = "The model that the snapshot was taken for is not in the image."
            recorded = f"sha256 {promised.sha256[:16]}"
            yield configuration_finding(f"model {name}", recorded, "", Severity.HIGH, reason, "build with --model")
        elif found is not None and (promised is None or promised.sha256 != found.sha256):
            change = Change.ADDED if promised is None else Change.CHANGED
            before = f"sha256 {promised.sha256[:16]}" if promised else ""
            finding = file_finding(
                f"{MODELS}/{name}", change, before, f"sha256 {found.sha256[:16]}", "model", f"model {name}"
            )
            yield finding if known else _of_no_snapshot(finding)


def _of_no_snapshot(finding: Finding) -> Finding:
    import msgspec

    reason = "The lock's snapshot knew no model, so nothing says which one this should be."
    return msgspec.structs.replace(finding, severity=Severity.MEDIUM, reason=reason)


def _said(options: Options, expected: Options) -> Iterator[str]:
    """What a builder added and no finding speaks of: it is not in the lock, so a reader should see it."""
    harmless = sorted(set(options.env) - set(expected.env))
    if harmless:
        yield "said by the image: " + ", ".join(f"{item.name}={shown(item.value)}" for item in harmless)
    for name in ("user", "workdir"):
        if getattr(options, name) != getattr(Options(), name):
            yield f"said by the image: {name} {shown(getattr(options, name))}"
