"""
An image that `docker build` made of the folder of `envparity dockerfile`, held against its lock.

Its layers are others than the planned ones, so what they add up to is compared: each file, folder and link that lies in
the image with what the planned layers would leave there. pip writes a few files of its own; what they hold is known.
"""

from __future__ import annotations

__all__ = ["against_rebuilt", "is_rebuilt"]

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from envparity.collectors.records import record_digest, record_rows
from envparity.errors import IncompleteError
from envparity.image import authorities, base_layers, configuration, stripping, wheels
from envparity.image.against_lock import option_findings, owner_of, planned_rows, said, unequal_keys
from envparity.image.app import PLACE as APP
from envparity.image.bytecode import source_of
from envparity.image.contents import Supplies
from envparity.image.dockerfile import BUILDER, pip_for
from envparity.image.findings import (
    Evidence,
    Row,
    configuration_finding,
    file_finding,
    no_application,
    not_compiled_again,
    row_of,
)
from envparity.image.plan import PREFIX, plan
from envparity.oci.entries import Entry
from envparity.oci.image import Image
from envparity.oci.tree import ImageTree
from envparity.progress import SILENT, Progress
from envparity.values import Change, Finding, Gap, Options, Plan, PlannedLayer, Severity, Step, python_xy

_FIX = "build the image again from the folder, and find out who changed this one"
_IMPORTED = re.compile(rb"^from (\S+) import (\S+)$.*^    sys\.exit\((\S+)\(\)\)$", re.MULTILINE | re.DOTALL)


def is_rebuilt(image: Image) -> bool:
    """Whether an image says that a Dockerfile of ours made it."""
    return image.labels.get(BUILDER) == "dockerfile"


def against_rebuilt(
    image: Image,
    tree: ImageTree,
    supplies: Supplies,
    expected: Options,
    *,
    brought: bool = False,
    progress: Progress = SILENT,
) -> Evidence:
    """
    Everything in the image that is not what lock and options add up to.

    Args:
        expected: the options that the caller built with, as far as they matter here: entry point, variables, user.
        brought: whether the lock is the one that the image brings, and the caller has nothing else.

    Raises:
        IncompleteError: the image does not say with which options it was built.
        UnreachableError: a layer of the base that it stands on cannot be had any more.
    """
    options = configuration.recorded_options(image.labels)
    if options is None:
        raise IncompleteError(
            f"`{image.reference}` was made of a Dockerfile and does not say how it was asked for, so it cannot be held"
            " against the lock",
            hint="verify it against the snapshot",
        )
    bundle = authorities.in_image(tree, options.ca_bundle)
    supplies = dataclasses.replace(supplies, authorities=bundle, strip=options.strip)
    decided = plan(supplies.lock, supplies.target, options, hashlib.sha256(supplies.lock_bytes).hexdigest())
    base = next((layer for layer in decided.layers if layer.step is Step.IMAGE), None)
    wanted: dict[str, tuple[Row, PlannedLayer]] = {}
    if base is not None and supplies.target.image is not None:
        held = base_layers.nodes(supplies.target.image, supplies.layers)
        wanted |= {node.path[1:]: (row_of(node), base) for node in held if node.path != "/"}
    gaps: list[Gap] = []
    # The builder compiled with the image's own Python, and what came as it is was compiled by who wrote the folder.
    compiler, plain = supplies.bytecode, dataclasses.replace(supplies, bytecode=None)
    by = compiler.compiled_by if compiler is not None else ""
    known = compiler is None or by == supplies.target.interpreter.version
    with progress.task("assemble again", len(decided.layers)) as advance:
        for layer in decided.layers:
            if layer.step is Step.APP and supplies.app is None:
                gaps.append(no_application(brought, APP))
            elif layer.step is not Step.IMAGE:
                told = known or (by and layer.step not in {Step.WHEELS, Step.APP, Step.SERVER})
                rows = planned_rows(layer, supplies if told else plain, tree) or {}
                wanted |= {path: (row, layer) for path, row in rows.items()}
            advance(1)
    by_pip = _by_pip(supplies, tree)
    unknown: list[str] | None = None if known else []
    findings = list(_files(tree, wanted, by_pip, supplies, _passed(options, supplies), unknown))
    if unknown:
        gaps.append(not_compiled_again(len(unknown), supplies.target.interpreter.version))
    findings += _document(image, supplies, decided)
    findings += option_findings(supplies, options, expected)
    checked = (("files and links held against the lock", sum(1 for node in tree.walk() if node.kind != "folder")),)
    declared = (
        "built from a Dockerfile: other layers, and files of pip",
        *said(options, expected),
        *stripping.told(tree, options.strip),
    )
    return Evidence(tuple(findings), tuple(gaps), checked, declared)


def _passed(options: Options, supplies: Supplies) -> re.Pattern[str]:
    """The paths that are not looked at: where the image starts, and an application that is not at hand."""
    places = [re.escape(options.workdir.strip("/"))] if options.workdir.strip("/") else []
    places += [f"{APP}(/.*)?"] if options.app is not None and supplies.app is None else []
    return re.compile("|".join(places) or "(?!)")


def _files(
    tree: ImageTree,
    wanted: Mapping[str, tuple[Row, PlannedLayer]],
    by_pip: Mapping[str, tuple[Row | None, ...]],
    supplies: Supplies,
    passed: re.Pattern[str],
    unknown: list[str] | None,
) -> Iterator[Finding]:
    """`unknown` takes the byte code of locked modules that nothing here can compile again."""
    found = {node.path[1:]: node for node in tree.walk() if node.path != "/"}
    for path in sorted(wanted.keys() | found.keys()):
        before, layer = wanted.get(path, (None, None))
        after = row_of(found[path]) if path in found else None
        if before == after and path not in by_pip:
            continue
        if path in by_pip and after in by_pip[path]:
            continue
        plain = after is not None and after == _plain_file(after.sha256)
        if unknown is not None and before is None and plain and source_of(path) != path and source_of(path) in wanted:
            unknown.append(path)
            continue
        if unknown is not None and before is None and after == Row("folder", 0o755) and path.endswith("/__pycache__"):
            continue
        rights = after is not None and bool(after.mode & 0o6000 or after.xattrs)
        if before is None and passed.fullmatch(path) and not rights:
            continue
        change = Change.ADDED if before is None else Change.REMOVED if after is None else Change.CHANGED
        texts = ("" if before is None else str(before), "" if after is None else str(after))
        where = f"layer {found[path].layer + 1}" if path in found else "no layer"
        yield file_finding(path, change, *texts, where, owner_of(path, layer, supplies))


def _by_pip(supplies: Supplies, tree: ImageTree) -> dict[str, tuple[Row | None, ...]]:
    """What may lie at the paths that pip writes by itself, `None` for nothing."""
    found: dict[str, tuple[Row | None, ...]] = {}
    site = f"{PREFIX}/lib/python{python_xy(supplies.target.interpreter.version)}/site-packages"
    scripts = {script for pip in pip_for(supplies) for script in (pip.script,)}
    for item in supplies.lock.distributions:
        entries = supplies.wheels[item.wheel.sha256]
        left = next((it.content for it in entries if it.path.startswith(f"{stripping.PLACE}/")), b"")
        for entry in entries:
            folder, _, name = entry.path.rpartition("/")
            # What a distribution carries of another one (setuptools has a dozen) was written by no installer.
            own_info = folder.endswith(".dist-info") and folder.rpartition("/")[0] == site
            if folder == f"{PREFIX}/bin" and isinstance(entry.content, bytes):
                found[entry.path] = tuple(_file(_script(entry, text), 0o755) for text in scripts)
            elif name == "INSTALLER" and own_info:
                found[entry.path] = (_file(b"pip\n"),)
                found[f"{folder}/REQUESTED"] = (_file(b""), None)
            elif name == "RECORD" and own_info:
                own = wheels.record_sha256(supplies.files[item.wheel.sha256], file_name=item.wheel.name)
                found[entry.path] = _record(tree, entry.path, left, own)
    return found


def _script(entry: Entry, text: str) -> bytes:
    """The program that pip writes where `installer` writes this one; a script of the wheel itself stays what it is."""
    assert isinstance(entry.content, bytes)
    called = _IMPORTED.search(entry.content)
    if called is None:
        return entry.content
    module, name, function = (part.decode() for part in called.groups())
    if entry.content != wheels.script_text("", module, function, f"/{PREFIX}/bin/python"):
        return entry.content
    return text.format(module=module, name=name, function=function).encode()


def _record(tree: ImageTree, path: str, left: object, own: str) -> tuple[Row | None, ...]:
    """
    The list of files that lies there, where it is that of the wheel but for what installers write into one, and the
    rows of what was left out.
    """
    assert isinstance(left, bytes)
    node = tree.entry(f"/{path}")
    if node is None or node.kind != "file":
        return ()
    text = tree.read(node.path, 64 << 20).decode("utf-8", "surrogateescape")
    kept = {row[0] for row in record_rows(text)}
    rows = left.decode("utf-8", "surrogateescape")
    if any(row[0] in kept for row in record_rows(rows)) or record_digest(text + rows) != own:
        return ()
    return (Row("file", 0o644, sha256=node.sha256),)


def _file(data: bytes, mode: int = 0o644) -> Row:
    return dataclasses.replace(_plain_file(hashlib.sha256(data).hexdigest()), mode=mode)


def _plain_file(sha256: str) -> Row:
    return Row("file", 0o644, sha256=sha256)


def _document(image: Image, supplies: Supplies, decided: Plan) -> Iterator[Finding]:
    """What of the configuration decides how the image starts; times, history and names are the builder's."""
    lock_sha256 = hashlib.sha256(supplies.lock_bytes).hexdigest()
    by = supplies.compiled_by
    wanted: dict[str, Any] = dict(
        configuration.runtime(supplies.lock, supplies.target, decided.options, lock_sha256, by)
    )
    found = json.loads(image.config_bytes)
    runtime = dict(found.get("config") or {})
    runtime["Labels"] = {key: value for key, value in (runtime.get("Labels") or {}).items() if key != BUILDER}
    runtime.pop("Image", None)
    if runtime.get("Healthcheck") == {"Test": ["NONE"]}:  # how a Dockerfile says that it has not that of its base
        del runtime["Healthcheck"]
    system, _, architecture = decided.platform.partition("/")
    sides = ({**wanted, "os": system, "architecture": architecture}, {**runtime, **_machine(found)})
    said_of_both = [{key: value for key, value in side.items() if value} for side in sides]
    for key, before, after in unequal_keys(*said_of_both):
        reason = "The image starts otherwise than the lock and its recorded options say."
        yield configuration_finding(key, before, after, Severity.CRITICAL, reason, _FIX)


def _machine(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: found.get(key) for key in ("os", "architecture")}
