"""Installed Python distributions, from what their installers left beside them."""

from __future__ import annotations

import os
import re
from typing import Any, Callable, Iterable, Iterator

from envparity.collectors.halves import Halves
from envparity.collectors.metadata import (
    agrees,
    core_metadata,
    decoded,
    first_line,
    normalised_name,
    optional,
)
from envparity.collectors.native_names import native_rows
from envparity.collectors.records import RECORD_LIMIT, Record, not_in
from envparity.collectors.shadows import Earlier, shadowing
from envparity.collectors.shapes import Fact, Native, Read, Tree
from envparity.collectors.tree import gap, why
from envparity.collectors.vendored import copies_inside, zipped_egg
from envparity.collectors.verification import check_all, verify_files

_FORMS = (".dist-info", ".egg-info", ".egg", ".egg-link")
_NO_METADATA = "it has no METADATA"
_AT_START = (".pth", "sitecustomize.py", "usercustomize.py")
_VIRTUALENV = ("_virtualenv.py", "_virtualenv.pth")


class Reading:
    """
    The metadata in the folders of an import path, each read for itself. Where `halved`, half of what lies in one folder
    is read by a fork, which begins at once (see `Halves`). Of `bare` folders the modules count, and no metadata.
    """

    def __init__(
        self,
        tree: Tree,
        folders: Iterable[str],
        verify: bool = False,
        halved: bool = False,
        bare: Iterable[str] = (),
    ) -> None:
        self.tree, self.verify = tree, verify
        self.path = list(dict.fromkeys(folders))
        self.names: dict[str, list[str]] = {}
        self.metadata: dict[str, list[str]] = {}
        self.errors: dict[str, OSError] = {}
        self.halves: dict[str, Halves] = {}
        for folder in self.path:
            try:
                if tree.kind(folder) != "folder":
                    continue
                names = tree.entries(folder)
            except OSError as error:
                self.errors[folder] = error
                continue
            self.names[folder] = names
            self.metadata[folder] = [] if folder in bare else [name for name in names if name.endswith(_FORMS)]
            if halved and not verify:
                self.halves[folder] = Halves(self.metadata[folder], self._work(folder))

    def _work(self, folder: str) -> Callable[[str], Any]:
        return lambda name: _read(self.tree, folder + "/" + name)[:3]

    def of(self, folder: str) -> Iterator[Read]:
        """What was read of each metadata in a folder, in the order of their names; RECORD itself only to verify."""
        if folder in self.halves:
            yield from ((*read, None) for read in self.halves[folder].results())
        else:
            yield from (_read(self.tree, folder + "/" + name, self.verify) for name in self.metadata[folder])


def _read(tree: Tree, path: str, keep: bool = False) -> Read:
    """One metadata: its distribution and gaps, the native libraries and what else its RECORD lists, and the RECORD."""
    facts: list[Fact] = []
    records: list[Record] = []
    try:
        for fact in _distribution(tree, path, records):
            facts.append(fact)  # noqa: PERF402 (what came before an error stays)
    except (OSError, ValueError) as error:
        facts.append(gap("distributions", "unread", why(error), path))
    if not records:
        return facts, [], None, None
    record = records[0]
    names = [name for fact in facts for name in fact.get("import_names", ())]
    listed = {
        "copies": list(record.inside()),
        "at_start": record.at_top(_AT_START),
        "modules": [name for name in names if name not in record.tops],
    }
    return facts, native_rows(record.paths_with(".so")), listed, record if keep else None


def distributions(
    tree: Tree,
    folders: Iterable[str],
    verify: bool = False,
    natives: list[Native] | None = None,
    reading: Reading | None = None,
) -> Iterator[Fact]:
    """
    Observe every distribution in the folders of an import path, in that order.

    Reads `*.dist-info` (https://packaging.python.org/specifications/recording-installed-packages/), `*.egg-info`,
    `*.egg` and `*.egg-link`; imports and runs nothing. `location` is the path of the metadata itself. `version` is the
    exact text of the file. With `verify`, every file of each RECORD is hashed, and files that no RECORD names are
    looked for. To `natives` are added the libraries that numbers come from, as far as a RECORD lists them: the path,
    and name and version of the distribution. `reading` is the same reading, where it has begun already.

    Yields:
        One `distribution` per set of metadata: two copies of one project give two, of which the one that does not win
        the import is `shadowed`, and so is one whose modules a plain file earlier on the path takes the place of; a gap
        names that file. One more for each copy that lies inside a package (`vendored_in`). One gap for each that cannot
        be read. With `verify`, one `native-library` for each compiled file that no distribution owns. One `section` at
        the end.
    """
    seen: set[str] = set()
    earlier = Earlier(tree)
    reading = reading or Reading(tree, folders, verify)
    for folder in reading.path:
        if folder in reading.errors:
            yield gap("distributions", "unread", why(reading.errors[folder]), folder)
        if folder not in reading.names:
            continue
        names = reading.names[folder]
        listed: dict[str, dict[str, list[str]]] = {}
        records: dict[str, Record] = {}
        facts: list[Fact] = []
        leftovers: list[Fact] = []
        for found, libraries, known, record in reading.of(folder):
            for fact in found:
                if fact["kind"] != "distribution":
                    leftovers.append(fact)
                    continue
                facts.append(fact)
                if known is not None:
                    listed[fact["location"]] = known
                if record is not None:
                    records[fact["location"]] = record
                if natives is not None:
                    places = [os.path.normpath(os.path.join(folder, row)) for row in libraries]
                    natives += [(place, fact["name"], fact["version"]) for place in places]
        here = {fact["name"] for fact in facts}
        yield from _winners_first(tree, facts)
        if verify:
            yield from _verified(tree, folder, facts, records)
        everything = set(names)
        for fact in facts:
            known = listed.get(fact["location"])
            fact["shadowed"] = fact.get("shadowed", False) or fact["name"] in seen
            if not fact["shadowed"]:
                yield from _shadowed(earlier, folder, everything, reading.path, fact, known["modules"] if known else [])
            yield fact
            yield from copies_inside(tree, folder, fact, known["copies"] if known else None)
        for fact in leftovers:
            stem = fact["item"].rsplit("/", 1)[1].rsplit(".", 1)[0]
            if (
                fact["gap"] == "unread"
                and fact["reason"] == _NO_METADATA
                and normalised_name(stem.split("-")[0]) in here
            ):
                fact = dict(fact, gap="not-recorded", reason="leftover: no metadata in it, and the project has another")
            yield fact
        yield from _planted(tree, folder, names, {name for known in listed.values() for name in known["at_start"]})
        seen |= {fact["name"] for fact in facts if not fact["shadowed"]}
        earlier.add(folder, names)
        packages = [] if reading.metadata[folder] else _packages_without_metadata(folder, names)
        if packages:
            reason = "no package metadata found beside %d top-level packages (%s)" % (
                len(packages),
                ", ".join(packages[:3]),
            )
            yield gap("distributions", "unread", reason + ": it is incomplete to inspect", folder)
    yield {"kind": "section", "section": "distributions"}


def _packages_without_metadata(folder: str, names: list[str]) -> list[str]:
    # Only where an installer would have left metadata. Debian's own dist-packages holds modules that dpkg alone knows.
    if not folder.endswith("/site-packages"):
        return []
    packages = []
    for name in names:
        stem = name[:-3] if name.endswith(".py") else name
        if stem.isidentifier() and not stem.startswith("_") and stem not in ("sitecustomize", "usercustomize"):
            packages.append(stem)
    return packages


def _winners_first(tree: Tree, facts: list[Fact]) -> Iterator[Fact]:
    """Of two complete sets of metadata in one folder, RECORD decides which one's files are really there."""
    by_name: dict[str, list[Fact]] = {}
    for fact in facts:
        by_name.setdefault(fact["name"], []).append(fact)
    for name, copies in by_name.items():
        if len(copies) < 2 or len({fact["version"] for fact in copies}) < 2:
            continue
        intact = []
        for fact in copies:
            folder, base = os.path.split(fact["location"])
            modified, missing = verify_files(tree, folder, base) if fact["record_sha256"] else ([""], [""])
            if not modified and not missing:
                intact.append(fact)
        if len(intact) == 1:
            for fact in copies:
                fact["shadowed"] = fact is not intact[0]
        else:
            versions = ", ".join(sorted(fact["version"] for fact in copies))
            yield gap(
                "distributions",
                "unread",
                "two versions in one folder, and RECORD does not tell which is real: " + versions,
                name,
            )


def _shadowed(
    earlier: Earlier, folder: str, names: set[str], path: list[str], fact: Fact, modules: list[str]
) -> Iterator[Fact]:
    """Mark what no import can find, and name what is found in its place."""
    if fact["form"] == "egg" and fact["location"] not in path:
        fact["shadowed"] = True
        yield gap(
            "distributions", "not-recorded", "no entry of the path names it: an import cannot find it", fact["name"]
        )
        return
    found = shadowing(earlier, folder, names, fact, modules)
    if found and fact.get("editable"):
        from urllib.parse import unquote

        own = unquote(fact["direct_url"])[len("file://") :].rstrip("/") + "/"
        found = {name: place for name, place in found.items() if not place.startswith(own)}
    fact["shadowed"] = bool(found) and len(found) == len(fact["import_names"])
    for name, place in sorted(found.items()):
        reason = "an import of `%s` finds %s, and not the one that this distribution brought" % (name, place)
        yield gap("distributions", "not-recorded", reason, fact["name"])


def _distribution(tree: Tree, path: str, records: list[Record]) -> Iterator[Fact]:
    folder, base = os.path.split(path)
    stem, _, form = base.rpartition(".")
    if form == "egg":
        yield from _egg(tree, path, stem)
        return
    if form == "egg-link":
        yield from _egg_link(tree, path, stem)
        return
    names: set[str] = set()
    head = path
    if tree.kind(path) == "folder":
        names = set(tree.entries(path))
        wanted = ("METADATA", "PKG-INFO") if form == "dist-info" else ("PKG-INFO", "METADATA")
        head = next((path + "/" + name for name in wanted if name in names), "")
        if not head:
            yield gap("distributions", "unread", _NO_METADATA, path)
            return
    fact = core_metadata(tree, head)
    fact.update(kind="distribution", form=form, location=path, record_sha256=None)
    if not agrees(stem, fact):
        reason = "its folder's name disagrees with its metadata (%s %s), which is used" % (
            fact["name"],
            fact["version"],
        )
        yield gap("distributions", "not-recorded", reason, path)
    if fact.pop("latin1"):
        yield gap("distributions", "not-recorded", "its metadata is not UTF-8; read as Latin-1", path)
    yield from optional(tree, path, names, fact)
    record = None
    if "RECORD" in names:
        try:
            record = Record(decoded(tree.read(path + "/RECORD", RECORD_LIMIT))[0])
            fact["record_sha256"] = record.digest()
            records.append(record)
        except (OSError, ValueError) as error:
            yield gap("distributions", "unread", why(error), path + "/RECORD")
    fact["import_names"] = _import_names(tree, path, names, record, fact)
    if record is not None and _starts_code(tree, folder, record):
        fact["startup"] = True
    yield fact


def _verified(tree: Tree, folder: str, facts: list[Fact], records: dict[str, Record]) -> Iterator[Fact]:
    """Hash the files of the distributions in one folder, and look for files that none of them owns."""
    checked = {os.path.basename(path): record.rows() for path, record in records.items()}
    results = check_all(tree, folder, dict(checked))
    for fact in facts:
        result = results.get(os.path.basename(fact["location"])) if fact["record_sha256"] else None
        if result is None:
            if fact["form"] in ("dist-info", "egg-info") and not fact.get("editable"):
                reason = "it has no RECORD: its files cannot be verified"
                yield gap("distributions", "not-recorded", reason, fact["location"])
            continue
        fact["modified"], fact["missing"], fact["added"] = result["modified"], result["missing"], []
        for key, reason in _UNVERIFIED:
            if result[key]:
                kind = "unread" if key in ("unread", "linked") else "not-recorded"
                yield gap("distributions", kind, reason % len(result[key]), fact["location"])
    if checked:
        yield from _added(tree, folder, facts, list(checked.values()))


_UNVERIFIED = (
    ("outside", "%d rows of its RECORD lead out of the environment and were not opened"),
    ("linked", "%d of its files are links out of the environment and were not opened"),
    ("unhashed", "%d rows of its RECORD have no hash, or a weak one"),
    ("unread", "%d of its files could not be read"),
)


def _added(tree: Tree, folder: str, facts: list[Fact], records: list[list[tuple[str, str, str]]]) -> Iterator[Fact]:
    """
    Files that no RECORD names: those in a distribution's own packages are `added` to it; what is compiled and lies
    elsewhere is a fact of its own, and of the rest a gap says how many there are.
    """
    owned = {path for rows in records for path, _, _ in rows if "/../" not in path}
    owners = {name.replace(".", "/"): fact for fact in facts for name in fact["import_names"]}
    unknown = []
    try:
        for path in not_in(tree, folder, owned):
            parts = path.split("/")
            if parts[0].endswith(_FORMS) or path in _VIRTUALENV:
                continue  # metadata is read for itself; `_virtualenv` is what the environment was made with
            above = ("/".join(parts[:depth]) for depth in range(len(parts) - 1, 0, -1))
            fact = next((owners[name] for name in above if name in owners), None)
            if fact is None:
                unknown.append(path)
            elif "added" in fact:
                fact["added"].append(path)
    except OSError as error:
        yield gap("distributions", "unread", why(error), folder)
    for fact in facts:
        if "added" in fact:
            fact["added"].sort()
    compiled = [path for path in unknown if path.endswith((".so", ".pyd")) or ".so." in path]
    for path in compiled:
        place = folder + "/" + path
        found = {"kind": "native-library", "name": os.path.basename(path), "path": place, "owner": ""}
        try:
            found["sha256"] = tree.sha256(place)
        except OSError as error:
            yield gap("native_libraries", "unread", why(error), place)
        yield found
    if unknown:
        first = ", ".join(sorted(unknown)[:5]) + (", ..." if len(unknown) > 5 else "")
        yield gap(
            "distributions",
            "not-recorded",
            "%d file%s that no distribution owns: %s" % (len(unknown), "s" if len(unknown) > 1 else "", first),
            folder,
        )


def _egg(tree: Tree, path: str, stem: str) -> Iterator[Fact]:
    # The name of an .egg says project, version and Python
    # (https://setuptools.pypa.io/en/latest/deprecated/python_eggs.html).
    info = path + "/EGG-INFO"
    if tree.kind(path) == "folder" and tree.kind(info + "/PKG-INFO") == "file":
        fact = core_metadata(tree, info + "/PKG-INFO")
        fact.pop("latin1")
        yield from optional(tree, info, set(tree.entries(info)) - {"direct_url.json", "RECORD"}, fact)
        if tree.kind(info + "/top_level.txt") == "file":
            fact["import_names"] = _top_level(decoded(tree.read(info + "/top_level.txt", 1 << 20))[0])
    else:
        fact = zipped_egg(tree, path, stem)
    if not fact["version"]:
        raise ValueError("its name does not say a version")
    fact.update(kind="distribution", form="egg", location=path, record_sha256=None)
    fact.setdefault("import_names", [])
    yield fact


def _egg_link(tree: Tree, path: str, stem: str) -> Iterator[Fact]:
    source = first_line(tree, path)
    info = source + "/" + stem + ".egg-info"
    if not source.startswith("/") or tree.kind(info + "/PKG-INFO") != "file":
        raise ValueError("it links to a folder without metadata")
    fact = core_metadata(tree, info + "/PKG-INFO")
    fact.pop("latin1")
    fact.update(kind="distribution", form="egg-info", location=path, record_sha256=None, import_names=[])
    fact.update(editable=True, direct_url="file://" + source)
    if tree.kind(info + "/top_level.txt") == "file":
        fact["import_names"] = _top_level(decoded(tree.read(info + "/top_level.txt", 1 << 20))[0])
    yield fact


def _import_names(tree: Tree, path: str, names: set[str], record: Record | None, fact: Fact) -> list[str]:
    found = record.import_names() if record is not None and not fact.get("editable") else []
    if not found and "top_level.txt" in names:
        found = _top_level(decoded(tree.read(path + "/top_level.txt", 1 << 20))[0])
    if not found and fact.get("editable") and record is not None:
        found = sorted(set(_editable_names(tree, os.path.dirname(path), record)))
    return found


def _top_level(text: str) -> list[str]:
    dotted = {line.replace("/", ".") for line in text.split()}
    return sorted(name for name in dotted if name.replace(".", "").isidentifier())


def _editable_names(tree: Tree, folder: str, record: Record) -> Iterator[str]:
    """
    What an editable installation (PEP 660) makes importable: the packages in the folders that its `.pth` names, or the
    names that setuptools' finder maps. Read as text; neither is run.
    """
    for name in record.at_top((".pth", "_finder.py")):
        try:
            text = decoded(tree.read(folder + "/" + name, 1 << 20))[0]
            if name.endswith(".py"):
                mapping = re.search(r"^MAPPING\b[^={\n]*=\s*\{([^}]*)\}", text, re.MULTILINE)
                yield from re.findall(r"""['"]([A-Za-z_][\w.]*)['"]\s*:""", mapping.group(1) if mapping else "")
                continue
            for line in text.splitlines():
                source = line.strip()
                if source.startswith("/") and tree.kind(source) == "folder":
                    inside = [entry for entry in tree.entries(source) if entry.isidentifier()]
                    yield from (entry for entry in inside if tree.kind(source + "/" + entry + "/__init__.py") == "file")
        except OSError:
            continue  # the file is missing, which --verify-files says


def _starts_code(tree: Tree, folder: str, record: Record) -> bool:
    """Whether it brought something that runs at every start: a `.pth` with code, `sitecustomize`, `usercustomize`."""
    return any(_runs(tree, folder, name) for name in record.at_top(_AT_START))


def _runs(tree: Tree, folder: str, name: str) -> bool:
    if name.endswith("customize.py"):
        return True
    try:
        text = decoded(tree.read(folder + "/" + name, 1 << 20))[0]
    except OSError:
        return False
    code = [line for line in text.splitlines() if line.startswith(("import ", "import\t"))]
    return bool(code) and (name not in _VIRTUALENV or code != ["import _virtualenv"])


def _planted(tree: Tree, folder: str, names: list[str], owned: set[str]) -> Iterator[Fact]:
    """
    What runs at every start and no distribution brought: it is a fact of this Python, by name. The standard library and
    Debian's own folder belong to the system.
    """
    at_start = [name for name in names if name.endswith(_AT_START)]
    if not at_start or "os.py" in names or folder.startswith("/usr/lib/python3"):
        return
    planted = [name for name in at_start if name not in owned and _runs(tree, folder, name)]
    if planted:
        yield {"kind": "python", "planted": planted}
