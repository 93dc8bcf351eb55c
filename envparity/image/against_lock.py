"""
An image held against its lock: every layer is assembled again from the locked bytes, and its diffID compared.

Only where a diffID differs are the members compared, one by one, so that a difference names file, layer and owner. The
configuration is written again too, and compared key by key. What the builder added (options) is the image's own word:
it is shown, and what of it decides which code runs is a finding unless the caller expects it.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from envparity.collectors.records import record_rows
from envparity.errors import IncompleteError, UnreachableError
from envparity.image import authorities, base_layers, configuration, model, stripping
from envparity.image.app import PLACE as APP
from envparity.image.bytecode import source_of
from envparity.image.contents import PAPERS, Supplies
from envparity.image.findings import (
    SERVER_OF_OURS,
    Evidence,
    Row,
    configuration_finding,
    file_finding,
    must_be_expected,
    no_application,
    not_compiled_again,
    row_of,
)
from envparity.image.model import PLACE as MODELS
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
    image: Image,
    tree: ImageTree,
    supplies: Supplies,
    expected: Options,
    *,
    brought: bool = False,
    progress: Progress = SILENT,
) -> Evidence:
    """
    Everything in the image that is not what lock and options say.

    Args:
        expected: the options that the caller built with, as far as they matter here: entry point, variables, user.
        brought: whether the lock is the one that the image brings, and the caller has nothing else.

    Raises:
        IncompleteError: the image does not say with which options it was built, so nothing can be assembled again.
    """
    options = configuration.recorded_options(image.labels)
    if options is None:
        raise IncompleteError(
            f"`{image.reference}` does not say with which options it was built, so it cannot be assembled again",
            hint="was it built from this lock by envparity? an image of another builder is verified against a snapshot",
        )
    own = authorities.in_image(tree, options.ca_bundle)
    supplies = dataclasses.replace(supplies, strip=options.strip, authorities=own)
    decided = plan(supplies.lock, supplies.target, options, hashlib.sha256(supplies.lock_bytes).hexdigest())
    whole, compiler = supplies, supplies.bytecode
    if compiler is not None and not compiler.compiled_by:
        supplies = dataclasses.replace(supplies, bytecode=None)
    unknown: list[str] | None = None if supplies is whole else []
    with progress.task("assemble again", len(decided.layers)) as advance:
        pairs, gaps = _unequal(decided, image, tree, supplies, advance, brought)
    findings = [finding for planned, index in pairs for finding in _layer(planned, index, tree, supplies, unknown)]
    if unknown and compiler is not None:
        gaps.append(not_compiled_again(len(unknown), compiler.version))
    findings += _document(image, whole, decided)
    findings += option_findings(supplies, options, expected)
    checked = (
        ("layers assembled again and compared", len(decided.layers)),
        ("files in them", sum(1 for node in tree.walk() if node.kind == "file")),
    )
    declared = (*said(options, expected), *stripping.told(tree, options.strip))
    return Evidence(tuple(findings), tuple(gaps), checked, declared)


# The layers

Pair = tuple[PlannedLayer | None, int | None]
"""A planned layer and the number of the image's layer that should be it; `None` where one of them has no partner."""


def _unequal(
    decided: Plan,
    image: Image,
    tree: ImageTree,
    supplies: Supplies,
    advance: Callable[[int], None],
    brought: bool,
) -> tuple[list[Pair], list[Gap]]:
    """The pairs that do not have one diffID, and gaps for what could not be assembled."""
    actual = list(image.config.rootfs.diff_ids)
    wanted = []
    gaps = []
    for layer in decided.layers:
        if layer.step is Step.APP and supplies.app is None:
            gaps.append(no_application(brought, APP))
            wanted.append(_holding_only(APP, actual, tree, supplies))
        elif layer.step is Step.IMAGE:
            wanted.append(layer.inputs[0])
        else:
            entries = model.entries_in(layer, tree) if layer.step is Step.MODEL else supplies.entries(layer)
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


def _holding_only(place: str, actual: list[str], tree: ImageTree, supplies: Supplies) -> str:
    """The diffID of the layer that holds a folder's plain content, below folders as the base has them, and no more."""
    above = _with_parents({place: Row("folder", 0o755)}, supplies.folders)
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


def _layer(
    planned: PlannedLayer | None,
    index: int | None,
    tree: ImageTree,
    supplies: Supplies,
    unknown: list[str] | None = None,
) -> Iterator[Finding]:
    """What of a layer is another one; byte code that cannot be compiled again goes to `unknown`, if that is named."""
    wanted = planned_rows(planned, supplies, tree) if planned is not None else {}
    if wanted is None:
        assert planned is not None
        yield _of_base(planned, index, tree, supplies)
        return
    found = {node.path[1:]: node for node in tree.layer_entries(index)} if index is not None else {}
    layer = f"layer {index + 1}" if index is not None else "no layer"
    title = f"{layer} ({planned.title})" if planned is not None else f"{layer}, which the lock does not plan"
    parents = {} if planned is not None else _folder_rows(supplies)
    count, compiled = 0, list[str]()
    records = _records(planned, supplies) if unknown is not None else {}
    for path in sorted(wanted.keys() | found.keys()):
        before = wanted.get(path)
        after = row_of(found[path]) if path in found else None
        if before == after or (after is not None and parents.get(path) == after):
            continue
        if unknown is not None and after is not None and _comes_of_compiling(path, after, wanted, records, tree):
            compiled.append(path)
            continue
        count += 1
        change = Change.ADDED if before is None else Change.REMOVED if after is None else Change.CHANGED
        if planned is None and path in supplies.owners:
            change = Change.CHANGED  # a layer on top replaces the file of a layer below
        texts = ("" if before is None else str(before), "" if after is None else str(after))
        yield file_finding(path, change, *texts, title, owner_of(path, planned, supplies))
    held = Counter(node.path for node in tree.layer_entries(index)) if index is not None else Counter[str]()
    for path in (path for path, times in held.items() if times > 1):
        count += 1
        reason = "The layer holds this path twice, and engines differ about which one counts."
        yield file_finding(path, Change.CHANGED, "once", "twice", title, owner_of(path, planned, supplies), reason)
    if unknown is not None:
        unknown += [path for path in compiled if path.endswith(".pyc")]
    if not count and not compiled:
        only_times = any(node.mtime != 1 for node in found.values())
        note = "times" if only_times else "order or padding"
        difference = Difference(section="files", item=title, field="tar", change=Change.CHANGED, note=note)
        yield Finding(
            difference=difference,
            severity=Severity.LOW if only_times else Severity.MEDIUM,
            effect=Effect.COSMETIC,
            reason=f"The layer's tar is written otherwise ({note}); every file in it is the locked one.",
        )


def _comes_of_compiling(
    path: str, after: Row, wanted: Mapping[str, Row], records: Mapping[str, str], tree: ImageTree
) -> bool:
    """Whether a member of an image is what byte-compiling leaves: byte code of a source, its folder, its rows."""
    if path.endswith("/__pycache__"):
        return after == Row("folder", 0o755)
    if path in records:
        found = tree.read(f"/{path}", _RECORD_LIMIT).decode("utf-8", "surrogateescape")
        alike = dataclasses.replace(after, sha256="") == dataclasses.replace(wanted[path], sha256="")
        return alike and _rows_of(found) == _rows_of(records[path])
    source = source_of(path)
    return source != path and source in wanted and dataclasses.replace(after, sha256="") == Row("file", 0o644)


def _records(planned: PlannedLayer | None, supplies: Supplies) -> dict[str, str]:
    """The text of each RECORD in a planned layer, by its path."""
    entries = supplies.entries(planned) if planned is not None and planned.step is Step.WHEELS else []
    return {
        entry.path: entry.content.decode("utf-8", "surrogateescape")
        for entry in entries
        if entry.path.endswith(".dist-info/RECORD") and isinstance(entry.content, bytes)
    }


_RECORD_LIMIT = 64 << 20


def _rows_of(text: str) -> list[tuple[str, str, str]]:
    """The rows of a RECORD, but for those of byte code."""
    return sorted(row for row in record_rows(text) if not row[0].endswith(".pyc"))


def _of_base(planned: PlannedLayer, index: int | None, tree: ImageTree, supplies: Supplies) -> Finding:
    """A layer of the base that is another one, where it is not to be had: the lock knows it as a whole alone."""
    change = Change.REMOVED if index is None else Change.CHANGED
    after = "" if index is None else tree.image.config.rootfs.diff_ids[index]
    where = "no layer" if index is None else f"layer {index + 1}"
    reason = "The image does not stand on the layer that the base has."
    return file_finding(
        "", change, planned.inputs[0], after, f"{where} ({planned.title})", f"the base {supplies.target.base}", reason
    )


def planned_rows(planned: PlannedLayer, supplies: Supplies, tree: ImageTree) -> dict[str, Row] | None:
    """Every member that the layer must have, with the parents that its writer adds; `None` where that is not known."""
    if planned.step is Step.IMAGE:
        try:
            nodes = base_layers.members(planned, supplies.layers[planned.inputs[1]])
        except (KeyError, UnreachableError):
            return None
        return {node.path[1:]: row_of(node) for node in nodes}
    if planned.step is Step.MODEL:
        rows = model.rows(planned, tree)
    else:
        rows = {
            entry.path: Row(entry.kind, entry.mode, entry.uid, entry.gid, entry.target, content_sha256(entry))
            for entry in supplies.entries(planned)
        }
    return _with_parents(rows, supplies.folders)


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
    held = (*supplies.owners, *(f"{place}/x" for place in (MODELS, APP, SERVER, PAPERS, authorities.PLACE)))
    below = _with_parents({path: Row("file", 0o644) for path in held}, supplies.folders)
    return {path: row for path, row in below.items() if row.kind == "folder"} | rows


def owner_of(path: str, planned: PlannedLayer | None, supplies: Supplies) -> str:
    """Which locked thing a path comes from, for a message."""
    if planned is not None and planned.step is Step.MODEL:
        return f"model {path.lstrip('/').removeprefix(f'{MODELS}/').partition('/')[0]}"
    if planned is not None and planned.step in _OWNERS:
        return _OWNERS[planned.step].format(planned.title)
    return supplies.owners.get(source_of(path.lstrip("/")), "nobody")


_OWNERS = {
    Step.IMAGE: "the base, {}",
    Step.APP: "the application",
    Step.AUTHORITIES: "the authorities of --ca-bundle",
    Step.SERVER: SERVER_OF_OURS,
    Step.PAPERS: "lock and snapshot",
    Step.INTERPRETER: "the interpreter, {}",
}


# The documents


def _document(image: Image, supplies: Supplies, decided: Plan) -> Iterator[Finding]:
    """The whole configuration as it is written, against the one that lock and options give; then the annotations."""
    lock_sha256 = hashlib.sha256(supplies.lock_bytes).hexdigest()
    by = supplies.compiled_by
    runtime = configuration.runtime(supplies.lock, supplies.target, decided.options, lock_sha256, by)
    system, _, architecture = decided.platform.partition("/")
    wanted: dict[str, Any] = {
        "os": system,
        "architecture": architecture,
        "created": CREATED,
        "rootfs": {"type": "layers", "diff_ids": list(image.config.rootfs.diff_ids)},  # compared layer by layer
        "history": [
            *configuration.beneath(supplies.target),
            *(
                {"created": CREATED, "created_by": history(layer)}
                for layer in decided.layers
                if layer.step is not Step.IMAGE
            ),
        ],
    }
    found = json.loads(image.config_bytes)
    found_runtime = found.pop("config", None) or {}
    fix = "build the image again from the lock"
    for key, before, after in unequal_keys(
        {k: v for k, v in runtime.items() if v not in (None, "", [], {})}, found_runtime
    ):
        reason = "The image starts otherwise than the lock and its recorded options say."
        yield configuration_finding(key, before, after, Severity.CRITICAL, reason, fix)
    for key, before, after in unequal_keys(wanted, found):
        severity = Severity.LOW if key in {"created", "history"} else Severity.CRITICAL
        yield configuration_finding(
            key, before, after, severity, "The image says this of itself, and was not built so.", fix
        )
    announced = configuration.announced(supplies.lock, supplies.target, decided.options, lock_sha256)
    annotations = dict(image.manifest.annotations or {})
    annotations.pop(configuration.PACKER, None)  # what a layer was packed with is the builder's, and no file shows it
    for name, value in annotations.items():
        meant = announced.get(name, "" if name.startswith("envparity.") else value)
        if meant != value:
            reason = "The image says that it was built from something else."
            yield configuration_finding(name, meant, shown(value), Severity.CRITICAL, reason, fix)
    for layer in image.manifest.layers:
        for name, value in (layer.annotations or {}).items():
            reason = "Engines that fetch layers lazily read this in place of the layer that was checked."
            yield configuration_finding(name, "", shown(value), Severity.HIGH, reason, fix)


def unequal_keys(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The keys in which two documents differ, with both texts."""

    def text(value: Any) -> str:
        return "" if value is None else shown(json.dumps(value))

    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            yield key, text(wanted.get(key)), text(found.get(key))


# What the builder added


def option_findings(supplies: Supplies, options: Options, expected: Options) -> Iterator[Finding]:
    """The options are the image's own word. What of them decides which code runs must be what the caller expects."""
    said, meant = ({item.name: item.value for item in side.env} for side in (options, expected))
    for name in sorted(said.keys() | meant.keys()):
        decides = must_be_expected(name, supplies.lock)
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
    if options.health != expected.health:
        meant_text, said_text = (shown(" ".join(side.health)) for side in (expected, options))
        reason = "An engine starts something else in the image to ask whether it is well."
        fix = "if you built it so, say --health here too"
        yield configuration_finding("health check", meant_text, said_text, Severity.MEDIUM, reason, fix)
    if expected.ca_bundle is not None and options.ca_bundle != expected.ca_bundle:
        reason = "The image trusts other certificate authorities than those that you named."
        before, after = (f"sha256 {side.ca_bundle[:16]}" if side.ca_bundle else "" for side in (expected, options))
        yield configuration_finding("authorities", before, after, Severity.HIGH, reason, "build with --ca-bundle")
    yield from _models(supplies, options)
    if supplies.app is not None and options.app is None:
        yield file_finding(APP, Change.REMOVED, "a folder", "", "no layer", "the application")


def _models(supplies: Supplies, options: Options) -> Iterator[Finding]:
    known = {item.name: item for item in supplies.lock.models}
    held = {item.name: item for item in options.models}
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


def said(options: Options, expected: Options) -> Iterator[str]:
    """What a builder added and no finding speaks of: it is not in the lock, so a reader should see it."""
    harmless = sorted(set(options.env) - set(expected.env))
    if harmless:
        yield "said by the image: " + ", ".join(f"{item.name}={shown(item.value)}" for item in harmless)
    if options.ca_bundle is not None and expected.ca_bundle is None:
        yield f"said by the image: it trusts certificate authorities of its builder (sha256 {options.ca_bundle[:16]})"
    for name in ("user", "workdir"):
        if getattr(options, name) != getattr(Options(), name):
            yield f"said by the image: {name} {shown(getattr(options, name))}"
