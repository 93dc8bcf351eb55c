"""
The files of an image held against what they should be, file by file; a difference names file, layer and owner.

Against a lock every layer is assembled again from the locked bytes, and its diffID compared; only where it differs are
the members compared, one by one. Against a snapshot every RECORD is the anchor: its normalised digest is the
snapshot's, and every file that it names has the digest that it gives.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from envparity.collectors import distributions as collector
from envparity.errors import MalformedError
from envparity.image import configuration, layers
from envparity.image.app import PLACE as APP
from envparity.image.contents import MODELS, Supplies
from envparity.image.plan import plan
from envparity.oci.entries import content_sha256, shown
from envparity.oci.image import Image
from envparity.oci.tree import ImageTree, Node
from envparity.progress import SILENT, Progress
from envparity.values import (
    Change,
    Difference,
    Effect,
    Environment,
    Finding,
    Gap,
    GapKind,
    Options,
    PlannedLayer,
    Severity,
    Step,
)

SECTIONS = ("files", "configuration")
"""What the differences found here are of. All of them say that bytes are not what they should be."""


@dataclass(frozen=True)
class Evidence:
    """What looking at the files gave."""

    findings: tuple[Finding, ...]
    gaps: tuple[Gap, ...] = ()
    checked: tuple[tuple[str, int], ...] = ()
    declared: tuple[str, ...] = ()


def is_integrity(finding: Finding) -> bool:
    """Whether a finding says that bytes are not what they should be (exit status 5)."""
    return finding.difference.section in SECTIONS and finding.severity is Severity.CRITICAL


# Against a lock


def against_lock(image: Image, tree: ImageTree, supplies: Supplies, *, progress: Progress = SILENT) -> Evidence:
    """Assemble each layer again and compare it with the image's; then the configuration, field by field."""
    runtime = image.config.config
    try:
        options = configuration.recorded_options(dict((runtime.labels if runtime else None) or {}))
    except MalformedError as error:
        return Evidence((), (_unread(str(error)),))
    if options is None:
        return Evidence((), (_unread("the image does not say with which options it was built"),))
    decided = plan(supplies.lock, supplies.target, options, hashlib.sha256(supplies.lock_bytes).hexdigest())
    with progress.task("assemble again", len(decided.layers)) as advance:
        pairs, gaps = _paired(decided.layers, image, tree, supplies, advance)
    findings: list[Finding] = []
    for planned, index in pairs:
        findings += _layer_findings(planned, index, tree, supplies)
    findings += _configuration_findings(image, supplies, options)
    findings += _model_findings(supplies, options)
    return Evidence(
        tuple(findings),
        tuple(gaps),
        (
            ("layers assembled again and compared", len(decided.layers)),
            ("files in them", sum(1 for node in tree.walk() if node.kind == "file")),
        ),
        tuple(_declared(options)),
    )


Pair = tuple[PlannedLayer | None, int | None]
"""A planned layer and the number of the image's layer that should be it; `None` where one of them has no partner."""


def _paired(
    planned: tuple[PlannedLayer, ...], image: Image, tree: ImageTree, supplies: Supplies, advance: Callable[[int], None]
) -> tuple[list[Pair], list[Gap]]:
    """The pairs that are not the same, by diffID, and gaps for what could not be assembled."""
    actual = list(image.config.rootfs.diff_ids)
    expected: list[str] = []
    gaps = []
    for layer in planned:
        if layer.step is Step.APP and supplies.app is None:
            gaps.append(_unread("the application is not at hand: name it with --app", item=APP))
            expected.append(_only_below(actual, tree, APP))
        elif layer.step is Step.MODEL and layer.inputs[0] not in supplies.models:
            expected.append(_holding_model(actual, tree, layer))
        else:
            expected.append(layers.diff_id(layer, supplies))
        advance(1)
    pairs: list[Pair] = []
    for kind, i, j, k, m in difflib.SequenceMatcher(a=expected, b=actual, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        wanted: list[PlannedLayer | None] = list(planned[i:j])
        found: list[int | None] = list(range(k, m))
        length = max(len(wanted), len(found))
        pairs += zip(wanted + [None] * (length - len(wanted)), found + [None] * (length - len(found)), strict=True)
    return pairs, gaps


def _only_below(actual: list[str], tree: ImageTree, place: str) -> str:
    """The diffID of the layer that holds nothing but a folder's content and the way to it."""
    for index, diff_id in enumerate(actual):
        paths = [node.path[1:] for node in tree.layer_entries(index)]
        if paths and all(path == place or path.startswith(f"{place}/") or place.startswith(path) for path in paths):
            return diff_id
    return ""


def _holding_model(actual: list[str], tree: ImageTree, layer: PlannedLayer) -> str:
    """The diffID of the layer that is exactly the model: its bytes are known by their digest alone."""
    name, _, sha256 = layer.inputs
    for index, diff_id in enumerate(actual):
        nodes = tree.layer_entries(index)
        files = [node for node in nodes if node.kind != "folder"]
        if [(node.path, node.kind, node.sha256, node.mode, node.uid, node.gid) for node in files] == [
            (f"/{MODELS}/{name}", "file", sha256, 0o644, 0, 0)
        ]:
            return diff_id
    return ""


def _layer_findings(
    planned: PlannedLayer | None, index: int | None, tree: ImageTree, supplies: Supplies
) -> Iterator[Finding]:
    wanted = _expected(planned, supplies) if planned is not None else {}
    found = {node.path[1:]: node for node in tree.layer_entries(index)} if index is not None else {}
    layer = f"layer {index + 1}" if index is not None else "no layer"
    title = f"{layer} ({planned.title})" if planned is not None else f"{layer}, which the lock does not plan"
    count = 0
    for path in sorted(wanted.keys() | found.keys()):
        before, after = wanted.get(path), found.get(path)
        if before is None and after is not None and _is_parent(after, supplies, planned):
            continue
        change, left, right = _changed(before, _row(after) if after is not None else None)
        if change is not None:
            count += 1
            yield _file_finding(path, change, left, right, title, _owner(path, planned, supplies))
    if not count:
        difference = Difference(
            section="files", item=title, field="tar", change=Change.CHANGED, note="order, times or padding"
        )
        yield Finding(
            difference=difference,
            severity=Severity.LOW,
            effect=Effect.COSMETIC,
            reason="The layer's tar is written otherwise; every file in it is the locked one.",
        )


Row = tuple[str, int, int, int, str, str]
"""kind, mode, uid, gid, target, sha256"""


def _expected(planned: PlannedLayer, supplies: Supplies) -> dict[str, Row]:
    if planned.step is Step.MODEL and planned.inputs[0] not in supplies.models:
        return {f"{MODELS}/{planned.inputs[0]}": ("file", 0o644, 0, 0, "", planned.inputs[2])}
    return {
        entry.path: (entry.kind, entry.mode, entry.uid, entry.gid, entry.target, content_sha256(entry))
        for entry in supplies.entries(planned)
    }


def _row(node: Node) -> Row:
    return (node.kind, node.mode, node.uid, node.gid, node.target, node.sha256)


def _is_parent(node: Node, supplies: Supplies, planned: PlannedLayer | None) -> bool:
    """A folder that the writer adds above what it writes, with the base's header or the plain one."""
    base = supplies.folders.get(node.path[1:])
    if node.kind != "folder" or (planned is None and base is None):
        return False
    return (node.mode, node.uid, node.gid) == ((base.mode, base.uid, base.gid) if base else (0o755, 0, 0))


def _changed(before: Row | None, after: Row | None) -> tuple[Change | None, str, str]:
    if before == after:
        return None, "", ""
    if before is None:
        return Change.ADDED, "", _described(after)
    if after is None:
        return Change.REMOVED, _described(before), ""
    return Change.CHANGED, _described(before), _described(after)


def _described(row: Row | None) -> str:
    if row is None:
        return ""
    kind, mode, uid, gid, target, sha256 = row
    owner = "" if uid == gid == 0 else f" of {uid}:{gid}"
    what = f" sha256 {sha256[:16]}" if sha256 else f" to {shown(target)}" if target else ""
    return f"{kind} {mode:04o}{owner}{what}"


def _owner(path: str, planned: PlannedLayer | None, supplies: Supplies) -> str:
    if planned is not None and planned.step in {Step.MODEL, Step.APP, Step.PAPERS, Step.INTERPRETER}:
        return {
            Step.MODEL: f"model {planned.title}",
            Step.APP: "the application",
            Step.PAPERS: "lock and snapshot",
            Step.INTERPRETER: f"the interpreter, {planned.title}",
        }[planned.step]
    return supplies.owners.get(path, "nobody")


_REASONS = {
    Change.ADDED: "This file is not among the locked ones: it can be imported, loaded or started.",
    Change.REMOVED: "A locked file is missing.",
    Change.CHANGED: "This file is not the locked one.",
}


def _file_finding(path: str, change: Change, before: str, after: str, layer: str, owner: str) -> Finding:
    difference = Difference(
        section="files",
        item=f"/{shown(path)}",
        change=change,
        before=before,
        after=after,
        note=f"{layer}, owner: {owner}",
    )
    return Finding(
        difference=difference,
        severity=Severity.CRITICAL,
        effect=Effect.UNKNOWN,
        reason=_REASONS[change],
        fix="build the image again from the lock, and find out who changed this one",
    )


def _configuration_findings(image: Image, supplies: Supplies, options: Options) -> Iterator[Finding]:
    """ "configuration" as it is written, against the one that lock and options give."""
    lock_sha256 = hashlib.sha256(supplies.lock_bytes).hexdigest()
    wanted = configuration.runtime(supplies.lock, supplies.target, options, lock_sha256)
    wanted = {key: value for key, value in wanted.items() if value not in (None, "", [], {})}
    found = json.loads(image.config_bytes).get("config") or {}
    for key in sorted(wanted.keys() | found.keys()):
        before, after = wanted.get(key), found.get(key)
        if before != after:
            difference = Difference(
                section="configuration",
                item=shown(key),
                change=Change.ADDED if before is None else Change.REMOVED if after is None else Change.CHANGED,
                before=shown(json.dumps(before)) if before is not None else "",
                after=shown(json.dumps(after)) if after is not None else "",
            )
            yield Finding(
                difference=difference,
                severity=Severity.CRITICAL,
                effect=Effect.BEHAVIOUR,
                reason="The image starts otherwise than lock and recorded options say.",
                fix="build the image again from the lock",
            )


def _model_findings(supplies: Supplies, options: Options) -> Iterator[Finding]:
    """The options are the image's own word: a model that the lock knows must be the one in it."""
    known = {model.name: model for model in supplies.lock.models}
    for model in options.models:
        promised = known.get(model.name)
        if known and (promised is None or promised.sha256 != model.sha256):
            change = Change.ADDED if promised is None else Change.CHANGED
            before = f"sha256 {promised.sha256[:16]}" if promised else ""
            yield _file_finding(
                f"{MODELS}/{model.name}", change, before, f"sha256 {model.sha256[:16]}", "model", f"model {model.name}"
            )


def _declared(options: Options) -> Iterator[str]:
    """What a builder added to the lock: it is not in the lock, so a reader should see it."""
    plain = Options()
    if options.entrypoint != plain.entrypoint:
        yield f"entry point: {' '.join(options.entrypoint)}"
    if options.env:
        yield f"variables set at build: {', '.join(item.name for item in options.env)}"
    if options.user != plain.user:
        yield f"user: {options.user}"


def _unread(reason: str, item: str = "") -> Gap:
    return Gap(section="files", kind=GapKind.UNREAD, reason=reason, item=item)


# Against a snapshot


def against_records(tree: ImageTree, found: Environment, wanted: Environment) -> Evidence:
    """
    Hash what every RECORD names, and list what no RECORD does.

    A RECORD is the image's own word: its normalised digest must be the one that the snapshot took where the model was
    trained, so that no file can be changed together with the line that names it.
    """
    promised = {item.name: item.record_sha256 for item in wanted.distributions or () if not item.shadowed}
    findings: list[Finding] = []
    gaps: list[Gap] = []
    texts: dict[str, list[str]] = {}
    for item in found.distributions or ():
        folder, _, dist_info = item.location.rpartition("/")
        if item.form != "dist-info":
            continue
        try:
            text = tree.read(f"{item.location}/RECORD").decode("utf-8", "replace")
            modified, missing = collector.verify_files(tree, folder, dist_info)
        except OSError as error:
            gaps.append(_unread(f"its RECORD cannot be read: {error.strerror}", item=item.name))
            continue
        texts.setdefault(folder, []).append(text)
        if item.record_sha256 != promised.get(item.name, item.record_sha256):
            modified = [f"{dist_info}/RECORD", *modified]
        for change, paths in ((Change.CHANGED, modified), (Change.REMOVED, missing)):
            owner = f"{item.name} {item.version}"
            findings += (_record_finding(tree, f"{folder}/{path}", change, owner) for path in paths)
    for folder, records in texts.items():
        for path in collector.unowned(tree, folder, records):
            findings.append(_record_finding(tree, f"{folder}/{path}", Change.ADDED, "nobody"))
    return Evidence(
        tuple(findings), tuple(gaps), (("RECORDs, every file of them hashed", sum(map(len, texts.values()))),)
    )


def _record_finding(tree: ImageTree, path: str, change: Change, owner: str) -> Finding:
    node = tree.entry(path)
    layer = f"layer {node.layer + 1}" if node is not None else "no layer"
    after = _described(_row(node)) if node is not None else ""
    return _file_finding(
        path.lstrip("/"), change, "" if change is Change.ADDED else "as in RECORD", after, layer, owner
    )
