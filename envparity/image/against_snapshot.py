"""
An image held against a snapshot: what the snapshot recorded of each distribution is the anchor.

It knows the digest of every RECORD, and RECORD the digest of every file; it knows no other file of the image. So what
could run in the place of a recorded file is looked for as well (what comes first on the path, byte-compiled files,
preloaded libraries), and that the rest was not compared is said.
"""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import BinaryIO

from envparity.collectors import records as record_files
from envparity.collectors.verification import verify_files
from envparity.errors import IncompleteError
from envparity.image import serving
from envparity.image.app import PLACE as APP
from envparity.image.bytecode import Bytecode, source_of
from envparity.image.findings import (
    Evidence,
    configuration_finding,
    counterpart_finding,
    decides_code,
    file_finding,
    not_recorded,
    row_of,
    unread,
)
from envparity.image.preflight import stdlib_names
from envparity.oci.entries import shown
from envparity.oci.image import Image
from envparity.oci.tree import ImageTree, Node
from envparity.values import Change, Distribution, Environment, Finding, Gap, Options, Severity

_SITE = ("site-packages", "dist-packages")
_PRELOAD = "/etc/ld.so.preload"
_UNCHECKED = b"\x01\x00\x00\x00"
"""The flags of byte code that is never held against its source (PEP 552)."""


def against_snapshot(
    image: Image,
    tree: ImageTree,
    found: Environment,
    wanted: Environment,
    expected: Options,
    repacked: Mapping[str, str] = {},
    elsewhere: Collection[str] = (),
    unproven: Mapping[str, str] = {},
    known: Collection[str] | None = None,
    bytecode: Bytecode | None = None,
) -> Evidence:
    """
    Every file of a recorded distribution that is not the recorded one, and what could take its place.

    Args:
        found: the image as an Environment. wanted: the snapshot.
        expected: the options that the caller built with, as far as they matter here: entry point, variables, user.
        repacked: the distributions whose RECORD need not be the snapshot's, and what is not known of their files.
        elsewhere: those whose recorded wheel no image of this platform can hold; what it holds in their place is no
            forgery for that, and not what trained the model either.
        unproven: why nothing says what the RECORD of some is; without a reason, the snapshot does not.
        known: of these the ones that a lock of the caller declares, which is held against the image too; `None` where
            there is no such lock.
        bytecode: what compiles the image's sources again, to see that its byte code is made of them.

    Raises:
        IncompleteError: no RECORD could be held against the snapshot, so nothing was verified.
    """
    installed = _installed(found)
    findings: list[Finding] = []
    gaps: list[Gap] = []
    texts: dict[str, list[str]] = {}
    for item in wanted.distributions or ():
        here = installed.get(item.name)
        if here is None or not item.importable or item.tooling:
            continue  # one that is missing is a difference; `verify` says how grave
        counterpart = item.name in elsewhere and here.version == item.version
        if item.name in repacked:
            if known is None:
                gaps.append(not_recorded(f"{item.name} {here.version}: {repacked[item.name]}; verify against the lock"))
            findings += _record(tree, here, here.record_sha256, texts, gaps)
        elif counterpart and here.record_sha256 != item.record_sha256:
            if item.name not in (known or ()):
                findings.append(counterpart_finding(f"{here.location}/RECORD", f"{here.name} {here.version}"))
            findings += _record(tree, here, here.record_sha256, texts, gaps)
        elif item.record_sha256 is None:
            gaps.append(unread(unproven.get(item.name, "the snapshot has no digest of its RECORD"), item.name))
        else:
            findings += _record(tree, here, item.record_sha256, texts, gaps)
    if not any(texts.values()):
        raise IncompleteError(
            f"no file of `{image.reference}` could be compared: it shares no recorded distribution with the snapshot",
            hint="is this the snapshot that the image was made from?",
        )
    folders = _path(found, image, tree)
    for item in installed.values():
        if wanted.distributions is not None and item.form == "dist-info" and _folder(item) not in texts:
            texts.setdefault(_folder(item), [])
    texts.update({folder: [] for folder in folders if posixpath.basename(folder) in _SITE and folder not in texts})
    locations = {here.location for here in installed.values()}
    recorded = {name for item in wanted.distributions or () for name in item.import_names if not item.tooling}
    for folder, records in texts.items():
        findings += _unowned(tree, folder, [*records, *_other_records(tree, folder, locations, records, recorded)])
    findings += _before(tree, folders, found, wanted)
    findings += _in_place_of_stdlib(tree, image, found)
    findings += _compiled(tree, [*folders, f"/{serving.PLACE}"], texts, bytecode, gaps if known is None else [])
    findings += _privileged(tree)
    findings += _settings(image, tree, wanted, expected)
    others = sum(1 for node in tree.walk() if node.kind == "file" and not node.path.startswith(tuple(texts)))
    if known is None:
        gaps.append(
            not_recorded(
                f"{others:,} files outside of the recorded distributions (OS, interpreter, application) were not"
                " compared: neither a snapshot nor another tool's lock knows them; verify against the lock"
            )
        )
    checked = (("RECORDs, every file of them hashed", sum(map(len, texts.values()))),)
    return Evidence(tuple(findings), tuple(gaps), checked)


def _installed(found: Environment) -> dict[str, Distribution]:
    """By name, the copy that an import finds; else one that something stands before, which is a finding of its own."""
    own = (item for item in found.distributions or () if not item.vendored_in)
    return {item.name: item for item in sorted(own, key=lambda item: item.importable)}


def _record(
    tree: ImageTree, here: Distribution, sha256: str | None, texts: dict[str, list[str]], gaps: list[Gap]
) -> Iterator[Finding]:
    """
    One distribution. RECORD is the image's own word: its normalised digest must be the one that the snapshot took
    where the model was trained, so that no file can be changed together with the line that names it.
    """
    owner = f"{here.name} {here.version}"
    folder, _, dist_info = here.location.rpartition("/")
    record = f"{here.location}/RECORD"
    if here.form != "dist-info" or here.record_sha256 != sha256:
        yield _finding(
            tree, record, Change.CHANGED, owner, "Its list of files is not the one of the training environment."
        )
    if here.form != "dist-info":
        return
    try:
        text = tree.read(record, 64 << 20).decode("utf-8", "surrogateescape")
        modified, missing = verify_files(tree, folder, dist_info)
    except OSError as error:
        gaps.append(unread(f"its RECORD cannot be read: {error.strerror}", here.name))
        return
    texts.setdefault(folder, []).append(text)
    for change, paths in ((Change.CHANGED, modified), (Change.REMOVED, missing)):
        for path in paths:
            yield _finding(tree, posixpath.normpath(f"{folder}/{path}"), change, owner)
    for path, _, _ in record_files.record_rows(text):
        if ".." in path.lstrip("./").split("/"):
            yield _finding(tree, record, Change.CHANGED, owner, f"RECORD names a file by a detour: {shown(path)}")


def _other_records(
    tree: ImageTree, folder: str, known: Iterable[str], records: list[str], recorded: set[str]
) -> Iterator[str]:
    """
    RECORDs of distributions in a folder that the snapshot does not have, which are differences of their own: less what
    could run in the place of a recorded module, or whenever Python starts. Of that their word is no excuse.
    """
    for location in known:
        if location.rpartition("/")[0] == folder and tree.kind(f"{location}/RECORD") == "file":
            text = tree.read(f"{location}/RECORD", 64 << 20).decode("utf-8", "surrogateescape")
            if text not in records:
                paths = [path for path, _, _ in record_files.record_rows(text) if not _takes_over(path, recorded)]
                sink = io.StringIO()
                csv.writer(sink, lineterminator="\n").writerows((path, "", "") for path in paths)
                yield sink.getvalue()


def _takes_over(path: str, recorded: set[str]) -> bool:
    """
    Whether a file in a site-packages folder runs at start, or answers to an import of a recorded module: as that module
    itself, as a part of its package, or as a package above it where there was only a namespace.
    """
    *parents, last = posixpath.normpath(path).split("/")
    stem = last.partition(".")[0]
    if not parents and (last.endswith(".pth") or stem in {"sitecustomize", "usercustomize"}):
        return True
    if not last.endswith((".py", ".pyc", ".so")):
        return False
    module = ".".join(parents if stem == "__init__" else [*parents, stem])
    return any(
        module == name or module.startswith(f"{name}.") or (stem == "__init__" and name.startswith(f"{module}."))
        for name in recorded
    )


def _unowned(tree: ImageTree, folder: str, records: Iterable[str]) -> Iterator[Finding]:
    if tree.kind(folder) == "folder":
        for path in record_files.unowned(tree, folder, records):
            yield _finding(tree, f"{folder}/{path}", Change.ADDED, "nobody")


def _before(tree: ImageTree, folders: list[str], found: Environment, wanted: Environment) -> Iterator[Finding]:
    """What has a recorded distribution's name and stands before it on the path: it is imported in its place."""
    standard = stdlib_names(found.python.version if found.python else "")
    names = {
        name.partition(".")[0]: item
        for item in wanted.distributions or ()
        if not item.tooling and item.importable
        for name in item.import_names
        if name.partition(".")[0] not in standard
    }
    homes = {name: _folder(item) for name, item in _installed(found).items()}
    for position, folder in enumerate(folders):
        for entry in tree.entries(folder):
            name = entry.partition(".")[0]
            item = names.get(name)
            if item is None or entry.endswith((".dist-info", ".egg-info", ".libs")):
                continue
            home = homes.get(item.name)
            if home in folders and position < folders.index(home):
                reason = f"It is imported in the place of {item.name}, which stands later on the path."
                yield _finding(tree, f"{folder}/{entry}", Change.ADDED, "nobody", reason)


def _in_place_of_stdlib(tree: ImageTree, image: Image, found: Environment) -> Iterator[Finding]:
    """
    What stands where Python starts, or on PYTHONPATH, under the name of a module of the standard library. The
    application's own folder is the user's code, and not recorded.
    """
    standard = stdlib_names(found.python.version if found.python else "")
    for folder in _first(image):
        if folder == f"/{APP}" or tree.kind(folder) != "folder":
            continue
        for entry in tree.entries(folder):
            name, _, ending = entry.partition(".")
            is_module = ending.endswith(("py", "pyc", "so")) or tree.kind(f"{folder}/{entry}/__init__.py") is not None
            if name in standard and is_module:
                reason = f"It is imported in the place of the standard library's `{name}`."
                yield _finding(tree, f"{folder.rstrip('/')}/{entry}", Change.ADDED, "nobody", reason)


def _compiled(
    tree: ImageTree,
    folders: list[str],
    texts: Mapping[str, list[str]],
    bytecode: Bytecode | None,
    gaps: list[Gap],
) -> Iterator[Finding]:
    """
    Byte-compiled files run in the place of their source. One without a source is code that nothing recorded. One that
    is never checked against its source (PEP 552) must be what that compiles to; of all others it is not known what
    they hold.
    """
    sources: dict[str, str] = {}
    compiled: list[str] = []
    unknown = 0
    for node in _below(tree, [folder for folder in folders if folder != "/"]):
        path = node.path.lstrip("/")
        if node.kind == "file" and path.endswith(".py"):
            sources[path] = tree.sha256(node.path)
        elif node.kind == "file" and path.endswith(".pyc"):
            source = source_of(path)
            if source == path or tree.kind(f"/{source}") != "file":
                unknown += 1
                yield _finding(tree, node.path, Change.ADDED, "nobody", "It is byte-compiled code without a source.")
            else:
                compiled.append(path)
    flags = {path.lstrip("/"): stream.read(8)[4:] for path, stream in tree.contents(f"/{path}" for path in compiled)}
    unchecked = [path for path in compiled if flags[path] == _UNCHECKED]
    unknown += len(compiled) - len(unchecked)
    if unknown:
        gaps.append(unread(f"{unknown:,} byte-compiled files: what they hold is not known"))
    if not unchecked:
        return
    records = [(folder.lstrip("/"), text) for folder, held in texts.items() for text in held]

    def contents(paths: Iterable[str]) -> Iterator[tuple[str, BinaryIO]]:
        return ((path.lstrip("/"), stream) for path, stream in tree.contents(f"/{path}" for path in paths))

    wanted = bytecode.of_image(sources, records, contents) if bytecode is not None else None
    if wanted is None:
        gaps.append(
            unread(
                f"{len(unchecked):,} byte-compiled files run in the place of their sources, and no Python of the"
                " version that made them is on the PATH to compile these again: verify against the lock"
            )
        )
        return
    for path in unchecked:
        if wanted.get(path) != tree.sha256(f"/{path}"):
            reason = "It runs in the place of its source, unchecked, and is not what that compiles to."
            yield _finding(tree, f"/{path}", Change.ADDED, "nobody", reason)


def _below(tree: ImageTree, folders: list[str]) -> Iterator[Node]:
    prefixes = tuple(f"{folder}/" for folder in folders)
    return (node for node in tree.walk() if node.path.startswith(prefixes))


def _privileged(tree: ImageTree) -> Iterator[Finding]:
    if tree.kind(_PRELOAD) is not None:
        yield _finding(tree, _PRELOAD, Change.ADDED, "nobody", "It loads a library into every program of the image.")
    for node in tree.walk():
        if node.kind == "file" and (node.mode & 0o6000 or node.xattrs):
            yield _finding(tree, node.path, Change.ADDED, "nobody", "It gives rights to whoever runs it.")


def _settings(image: Image, tree: ImageTree, wanted: Environment, expected: Options) -> Iterator[Finding]:
    runtime = image.config.config
    said = image.variables
    if said.get("PYTHONPATH") == f"/{APP}":
        del said["PYTHONPATH"]  # what it brings before the distributions is looked for in `_before`
    meant = {item.name: item.value for item in wanted.settings.variables} if wanted.settings else {}
    meant |= {item.name: item.value for item in expected.env}
    for name, value in sorted(said.items()):
        if decides_code(name) and meant.get(name) != value:
            reason = "This variable decides which code runs, and the training environment did not have it so."
            fix = f"if you built it so, say `--env {name}=...` here too"
            texts = (shown(meant.get(name, "")), shown(value))
            yield configuration_finding(f"variable {name}", *texts, Severity.HIGH, reason, fix)
    served = image.starts == serving.ENTRYPOINT and expected.entrypoint == Options().entrypoint
    if image.starts != expected.entrypoint and not (served and serving.is_ours(tree)):
        texts = (shown(" ".join(expected.entrypoint)), shown(" ".join(image.starts)) or "(nothing)")
        reason = "The image starts something else than its Python; a snapshot does not know what it should start."
        fix = "if you built it so, say --entrypoint here too"
        yield configuration_finding("entry point", *texts, Severity.MEDIUM, reason, fix)
    user = (runtime.user if runtime else "") or "0"
    if user != expected.user and user.partition(":")[0] in {"0", "root"}:
        reason = "The image runs as root."
        yield configuration_finding("user", "", user, Severity.MEDIUM, reason, "build it with a user that is not root")


def _path(found: Environment, image: Image, tree: ImageTree) -> list[str]:
    """The folders that Python looks into, in its order: where it starts, PYTHONPATH, and its own."""
    path = [*_first(image), *(found.python.path if found.python else ())]
    return [folder for folder in dict.fromkeys(path) if folder and tree.kind(folder) == "folder"]


def _first(image: Image) -> list[str]:
    """Where Python starts, and PYTHONPATH."""
    runtime = image.config.config
    folders = [(runtime.working_dir if runtime else "") or "/", *image.variables.get("PYTHONPATH", "").split(":")]
    return [folder for folder in dict.fromkeys(folders) if folder]


def _folder(item: Distribution) -> str:
    return item.location.rpartition("/")[0]


def _finding(tree: ImageTree, path: str, change: Change, owner: str, reason: str = "") -> Finding:
    node = tree.entry(path)
    layer = f"layer {node.layer + 1}" if node is not None else "no layer"
    before = "" if change is Change.ADDED else "as recorded"
    after = str(row_of(node)) if node is not None and change is not Change.REMOVED else ""
    return file_finding(path, change, before, after, layer, owner, reason)
