"""Installed Python distributions, from what their installers left beside them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from typing import Iterable, Iterator

from envparity.collectors.native_names import native_rows
from envparity.collectors.shapes import Fact, Native, Tree
from envparity.collectors.tree import gap, why
from envparity.collectors.urls import public_url

_HEAD_LIMIT = 8 << 20
_RECORD_LIMIT = 64 << 20
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ_.", "abcdefghijklmnopqrstuvwxyz--")
_WRITTEN_LATER = ("RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json")
_STRONG = ("sha256", "sha384", "sha512")


def normalised_name(name: str) -> str:
    """
    PEP 503: lower case, runs of `-`, `_` and `.` are one `-`. Letters outside ASCII stay as they are, so that a
    look-alike (`K`, the Kelvin sign) is never merged with the name that it imitates.
    """
    name = name.translate(_LOWER)
    while "--" in name:
        name = name.replace("--", "-")
    return name


def distributions(
    tree: Tree, folders: Iterable[str], verify: bool = False, natives: list[Native] | None = None
) -> Iterator[Fact]:
    """
    Observe every distribution in the folders of an import path, in that order.

    Reads `*.dist-info` (https://packaging.python.org/specifications/recording-installed-packages/), `*.egg-info`,
    `*.egg` and `*.egg-link`; imports and runs nothing. `location` is the path of the metadata itself. `version` is the
    exact text of the file. With `verify`, every file of each RECORD is hashed. To `natives` are added the libraries
    that numbers come from, as far as a RECORD lists them: the path, and name and version of the distribution.

    Yields:
        One `distribution` per set of metadata: two copies of one project give two, of which the one that does not win
        the import is `shadowed`. One gap for each that cannot be read. One `section` at the end.
    """
    seen: set[str] = set()
    for folder in dict.fromkeys(folders):
        try:
            if tree.kind(folder) != "folder":
                continue
            names = tree.entries(folder)
        except OSError as error:
            yield gap("distributions", "unread", why(error), folder)
            continue
        metadata = [name for name in names if name.endswith((".dist-info", ".egg-info", ".egg", ".egg-link"))]
        facts: list[Fact] = []
        leftovers: list[Fact] = []
        for name in metadata:
            try:
                for fact in _distribution(tree, folder + "/" + name, verify, natives):
                    (facts if fact["kind"] == "distribution" else leftovers).append(fact)
            except (OSError, ValueError) as error:
                leftovers.append(gap("distributions", "unread", why(error), folder + "/" + name))
        here = {fact["name"] for fact in facts}
        yield from _winners_first(tree, facts)
        for fact in facts:
            fact["shadowed"] = fact.get("shadowed", False) or fact["name"] in seen
            yield fact
        for fact in leftovers:
            stem = fact["item"].rsplit("/", 1)[1].rsplit(".", 1)[0]
            if (
                fact["gap"] == "unread"
                and fact["reason"] == _NO_METADATA
                and normalised_name(stem.split("-")[0]) in here
            ):
                fact = dict(fact, gap="not-recorded", reason="leftover: no metadata in it, and the project has another")
            yield fact
        seen |= here
        packages = [] if metadata else _packages_without_metadata(folder, names)
        if packages:
            reason = "no package metadata found beside %d top-level packages (%s)" % (
                len(packages),
                ", ".join(packages[:3]),
            )
            yield gap("distributions", "unread", reason + ": it is incomplete to inspect", folder)
    yield {"kind": "section", "section": "distributions"}


_NO_METADATA = "it has no METADATA"


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


def _distribution(tree: Tree, path: str, verify: bool, natives: list[Native] | None) -> Iterator[Fact]:
    folder, base = os.path.split(path)
    stem, _, form = base.rpartition(".")
    if form == "egg":
        yield _egg(tree, path, stem)
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
    fact = _core_metadata(tree, head)
    fact.update(kind="distribution", form=form, location=path, record_sha256=None)
    if not _agrees(stem, fact):
        reason = "its folder's name disagrees with its metadata (%s %s), which is used" % (
            fact["name"],
            fact["version"],
        )
        yield gap("distributions", "not-recorded", reason, path)
    if fact.pop("latin1"):
        yield gap("distributions", "not-recorded", "its metadata is not UTF-8; read as Latin-1", path)
    yield from _optional(tree, path, names, fact)
    rows: list[tuple[str, str, str]] = []
    if "RECORD" in names:
        try:
            rows = record_rows(_decoded(tree.read(path + "/RECORD", _RECORD_LIMIT))[0])
            fact["record_sha256"] = hashlib.sha256(_normalised(rows)).hexdigest()
        except (OSError, ValueError) as error:
            yield gap("distributions", "unread", why(error), path + "/RECORD")
    if natives is not None:
        libraries = native_rows(row[0] for row in rows)
        natives += [(os.path.normpath(os.path.join(folder, row)), fact["name"], fact["version"]) for row in libraries]
    fact["import_names"] = _import_names(tree, path, names, rows, fact)
    if verify and fact["record_sha256"]:
        result = check_files(tree, folder, rows, base)
        fact["modified"], fact["missing"] = result["modified"], result["missing"]
        for key, reason in _UNVERIFIED:
            if result[key]:
                reason %= len(result[key])
                kind = "unread" if key in ("unread", "linked") else "not-recorded"
                yield gap("distributions", kind, reason, path)
    elif verify:
        yield gap("distributions", "not-recorded", "it has no RECORD: its files cannot be verified", path)
    yield fact


_UNVERIFIED = (
    ("outside", "%d rows of its RECORD lead out of the environment and were not opened"),
    ("linked", "%d of its files are links out of the environment and were not opened"),
    ("unhashed", "%d rows of its RECORD have no hash, or a weak one"),
    ("unread", "%d of its files could not be read"),
)


def _optional(tree: Tree, path: str, names: set[str], fact: Fact) -> Iterator[Fact]:
    """What an installer may leave: its absence is no error, its damage is a gap."""
    if "INSTALLER" in names:
        fact["installer"] = _first_line(tree, path + "/INSTALLER")
    if fact["form"] == "dist-info":
        fact["requested"] = "REQUESTED" in names
    if "WHEEL" in names:
        tags = []
        for key, value in _headers(_head(tree, path + "/WHEEL")[0]):
            if key == "tag":
                tags.append(value)
            elif key == "build":
                fact["wheel_build"] = value
        fact["wheel_tags"] = sorted(set(tags))
    if "requires.txt" in names and not fact["requires"]:
        fact["requires"] = _egg_requirements(_decoded(tree.read(path + "/requires.txt"))[0])
    if "direct_url.json" in names:
        try:
            fact["direct_url"], fact["editable"] = _direct_url(tree.read(path + "/direct_url.json", 1 << 20))
        except (OSError, ValueError, RecursionError) as error:
            reason = "it cannot be read" if isinstance(error, RecursionError) else why(error)
            yield gap("distributions", "unread", reason, path + "/direct_url.json")


def _direct_url(data: bytes) -> tuple[str, bool]:
    """PEP 610 as one text (`git+https://host/x@COMMIT`, `https://host/x.whl#sha256=...`), and if it is editable."""
    value = json.loads(_decoded(data)[0])
    if not isinstance(value, dict) or not isinstance(value.get("url"), str):
        raise ValueError("it has no url")
    url = public_url(value["url"])
    vcs, archive, folder = (_table(value.get(key)) for key in ("vcs_info", "archive_info", "dir_info"))
    if isinstance(vcs.get("vcs"), str):
        url = vcs["vcs"] + "+" + url
        if isinstance(vcs.get("commit_id"), str):
            url += "@" + vcs["commit_id"]
    hashes = _table(archive.get("hashes"))
    if isinstance(hashes.get("sha256"), str):
        url += "#sha256=" + hashes["sha256"]
    elif isinstance(archive.get("hash"), str) and archive["hash"].count("=") == 1:
        url += "#" + archive["hash"]
    return url, folder.get("editable") is True


def _table(value: object) -> Fact:
    return value if isinstance(value, dict) else {}


def _egg(tree: Tree, path: str, stem: str) -> Fact:
    # The name of an .egg says project, version and Python; a zipped one is not opened.
    # https://setuptools.pypa.io/en/latest/deprecated/python_eggs.html
    info = path + "/EGG-INFO/PKG-INFO"
    if tree.kind(path) == "folder" and tree.kind(info) == "file":
        fact = _core_metadata(tree, info)
        fact.pop("latin1")
    else:
        name, _, rest = stem.partition("-")
        fact = {
            "name": normalised_name(name),
            "version": rest.partition("-py")[0],
            "requires": [],
            "requires_python": "",
        }
    if not fact["version"]:
        raise ValueError("its name does not say a version")
    fact.update(kind="distribution", form="egg", location=path, record_sha256=None)
    return fact


def _egg_link(tree: Tree, path: str, stem: str) -> Iterator[Fact]:
    source = _first_line(tree, path)
    head = source + "/" + stem + ".egg-info/PKG-INFO"
    if not source.startswith("/") or tree.kind(head) != "file":
        raise ValueError("it links to a folder without metadata")
    fact = _core_metadata(tree, head)
    fact.pop("latin1")
    fact.update(kind="distribution", form="egg-info", location=path, record_sha256=None)
    fact.update(editable=True, direct_url="file://" + source)
    yield fact


def _core_metadata(tree: Tree, path: str) -> Fact:
    """
    The headers of METADATA or PKG-INFO (https://packaging.python.org/specifications/core-metadata/) that identify it.

    Raises:
        ValueError: they cannot be read as headers, or have no Name or no Version.
        OSError: the file cannot be read.
    """
    text, latin1 = _head(tree, path)
    if not text.strip():
        raise ValueError("its metadata is empty")
    if text[0] in " \t\r\n":
        raise ValueError("its metadata does not start with a header")
    fact: Fact = {"name": "", "version": "", "requires": [], "requires_python": "", "latin1": latin1}
    for key, value in _headers(text):
        if key == "requires-dist":
            fact["requires"].append(value)
        elif key in ("name", "version") and not fact[key]:
            fact[key] = value
        elif key == "requires-python":
            fact["requires_python"] = fact["requires_python"] or value
    missing = [key.title() for key in ("name", "version") if not fact[key]]
    if missing:
        raise ValueError("its metadata has no " + " and no ".join(missing))
    fact["name"] = normalised_name(fact["name"])
    return fact


def _head(tree: Tree, path: str) -> tuple[str, bool]:
    """The text up to the first empty line, and whether it had to be read as Latin-1."""
    data = b""
    with tree.open(path) as file:
        while len(data) < _HEAD_LIMIT:
            chunk = file.read(max(16384, len(data)))
            data += chunk
            end = min((at for at in (data.find(b"\n\n"), data.find(b"\n\r\n")) if at >= 0), default=-1)
            if end >= 0:
                return _decoded(data[: end + 1])
            if not chunk:
                return _decoded(data)
    raise ValueError("its headers are longer than %d bytes" % _HEAD_LIMIT)


def _headers(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):
        key, colon, value = line.partition(":")
        if colon and key[:1] not in (" ", "\t", ""):
            yield key.strip().lower(), value.strip()


def _decoded(data: bytes) -> tuple[str, bool]:
    try:
        return data.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        return data.decode("latin-1"), True


def _first_line(tree: Tree, path: str) -> str:
    return _decoded(tree.read(path, 1 << 16))[0].strip().partition("\n")[0].strip()[:1000]


def _agrees(stem: str, fact: Fact) -> bool:
    """Whether `Foo_Bar-1.0` names the same project and numbers as the metadata; spellings of a version may differ."""
    name, _, version = stem.partition("-")
    if not version:
        return bool(normalised_name(stem) == fact["name"])
    if not normalised_name(stem).startswith(fact["name"] + "-"):
        return False
    return normalised_name(name) != fact["name"] or _numbers(version.partition("-py")[0]) == _numbers(fact["version"])


def _numbers(version: str) -> list[int]:
    spaced = "".join(letter if letter in "0123456789" else " " for letter in version)
    return [int(number) for number in spaced.split() if len(number) < 20]


def _egg_requirements(text: str) -> list[str]:
    """setuptools' `requires.txt` as Requires-Dist texts: a section is `[extra:marker]`."""
    requirements, extra, marker = [], "", ""
    for line in text.split("\n"):
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            extra, _, marker = line[1:-1].partition(":")
        elif line and not line.startswith("#"):
            conditions = ["(%s)" % marker] if marker and extra else [marker] if marker else []
            conditions += ['extra == "%s"' % extra] if extra else []
            requirements.append(line + (" ; " + " and ".join(conditions) if conditions else ""))
    return requirements


def record_rows(text: str) -> list[tuple[str, str, str]]:
    """
    The rows of a RECORD as `(path, hash, size)`; a row with fewer fields has empty ones, one with more is cut.

    Raises:
        ValueError: its quoting is broken.
    """
    if '"' in text:
        import csv
        import io

        try:
            lines = [fields[:3] for fields in csv.reader(io.StringIO(text, newline=""))]
        except csv.Error as error:
            raise ValueError("its RECORD cannot be read: %s" % error) from None
    else:
        lines = [line.rstrip("\r").rsplit(",", 2) for line in text.split("\n")]
    padded = ([*fields, "", "", ""] for fields in lines)
    return [(fields[0], fields[1], fields[2]) for fields in padded if fields[0]]


def normalised_record(text: str) -> bytes:
    """
    What a wheel's RECORD and the one that an installer made of it have in common, as bytes to compare or to hash.

    Rows `path,hash,size`, sorted, LF; without RECORD itself and its signatures, INSTALLER, REQUESTED, direct_url.json,
    `*.pyc` and whatever lies outside site-packages (scripts, headers, data); `.data/purelib` and `.data/platlib` are
    mapped to the root.
    """
    return _normalised(record_rows(text))


def record_digest(text: str) -> str:
    """The sha256 of `normalised_record`, in lower-case hexadecimal."""
    return hashlib.sha256(normalised_record(text)).hexdigest()


def _normalised(rows: list[tuple[str, str, str]]) -> bytes:
    kept = set()
    for path, digest, size in rows:
        if path.endswith(".pyc") or path.startswith(("../", "/")):
            continue
        first, _, rest = path.partition("/")
        if first.endswith(".dist-info") and rest in _WRITTEN_LATER:
            continue
        if first.endswith(".data") and rest:
            scheme, _, inside = rest.partition("/")
            if scheme not in ("purelib", "platlib"):
                continue
            path = inside
        if "/../" in path:
            continue
        if "," in path or '"' in path or "\n" in path:
            path = '"' + path.replace('"', '""') + '"'
        kept.add(path + "," + digest + "," + size + "\n")
    return "".join(sorted(kept)).encode("utf-8", "surrogateescape")


def _import_names(tree: Tree, path: str, names: set[str], rows: list[tuple[str, str, str]], fact: Fact) -> list[str]:
    found = [] if fact.get("editable") else import_names(rows)
    if not found and "top_level.txt" in names:
        lines = _decoded(tree.read(path + "/top_level.txt", 1 << 20))[0].split()
        found = sorted(
            {line.replace("/", ".") for line in lines if line.replace("/", ".").replace(".", "").isidentifier()}
        )
    return found


def import_names(rows: Iterable[tuple[str, str, str]]) -> list[str]:
    """
    The modules and packages that RECORD rows provide at the top: `numpy`, `threadpoolctl`, `_cffi_backend`. Under a
    namespace package, which several distributions share, the name goes one level deeper: `google.protobuf`.
    """
    packages: dict[tuple[str, ...], str] = {}
    modules: list[tuple[tuple[str, ...], str]] = []
    for path, _, size in rows:
        if not path.endswith((".py", ".so", ".pyd")) or path.startswith(("../", "/")):
            continue
        *parents, last = path.split("/")
        stem = _module_name(last)
        if not stem or (parents and parents[0].endswith((".dist-info", ".data", ".egg-info", ".libs"))):
            continue
        folder = tuple(parents)
        if stem == "__init__":
            packages[folder] = size
        else:
            modules.append((folder, stem))
    found: set[str] = set()
    for folder in list(packages) + [folder for folder, _ in modules]:
        for depth in range(1, len(folder) + 1):
            if folder[:depth] in packages:
                found.add(".".join(folder[:depth]))
                break
    for folder, stem in modules:
        if not folder or folder[:1] not in packages:
            if not any(folder[:depth] in packages for depth in range(1, len(folder) + 1)):
                found.add(".".join((*folder, stem)))
    for name in list(found):
        # An __init__ of a line or two that many distributions repeat (pkgutil, pkg_resources): nvidia/, backports/.
        size = packages.get((name,), "")
        children = {folder[1] for folder in packages if len(folder) > 1 and folder[0] == name}
        alone = all(folder != (name,) for folder, _ in modules)
        if size.isdigit() and int(size) <= 256 and alone and 0 < len(children) <= 8:
            found.update(name + "." + child for child in children)
    return sorted(name for name in found if all(part.isidentifier() for part in name.split(".")))


def _module_name(name: str) -> str:
    if name.endswith(".py"):
        return name[:-3]
    stem, _, tag = name.partition(".")
    # `x.cpython-311-x86_64-linux-gnu.so`, `x.abi3.so`, `x.cp311-win_amd64.pyd`; a plain `libx.so` is no module.
    return "" if tag == "so" and stem.startswith("lib") else stem


def verify_files(tree: Tree, site_packages: str, dist_info: str) -> tuple[list[str], list[str]]:
    """
    The files of one distribution that were changed after it was installed, and those that are gone, as RECORD spells
    them. A file that cannot be read, or that has become a link out of the environment, counts as changed.

    Raises:
        OSError: its RECORD cannot be read.
    """
    text = _decoded(tree.read(site_packages + "/" + dist_info + "/RECORD", _RECORD_LIMIT))[0]
    result = check_files(tree, site_packages, record_rows(text), dist_info)
    return sorted(result["modified"] + result["linked"] + result["unread"]), result["missing"]


def check_files(
    tree: Tree, site_packages: str, rows: Iterable[tuple[str, str, str]], dist_info: str
) -> dict[str, list[str]]:
    """
    Hash what RECORD rows name, and sort the paths into `modified`, `missing`, `outside` (the row leads out of the
    prefix), `linked` (a link there does), `unhashed` (no hash, or none of sha256, sha384, sha512) and `unread`.
    What leads out is never opened.

    `*.pyc` and what an installer writes itself are passed over. A FIFO, socket or device is `modified`, never opened.
    """
    result: dict[str, list[str]] = {
        key: [] for key in ("modified", "missing", "outside", "linked", "unhashed", "unread")
    }
    prefix = site_packages
    if prefix.endswith("-packages") and prefix.count("/") > 2:
        prefix = os.path.dirname(os.path.dirname(os.path.dirname(prefix)))
    inside = {prefix.rstrip("/") + "/", tree.resolve(prefix).rstrip("/") + "/", tree.resolve(site_packages) + "/"}
    for path, digest, size in rows:
        first, _, rest = path.partition("/")
        if path.endswith(".pyc") or (first == dist_info and rest in _WRITTEN_LATER):
            continue
        place = os.path.normpath(os.path.join(site_packages, path))
        verdict = "outside"
        if "\0" not in place and place.startswith(tuple(inside)):
            try:
                verdict = _checked(tree, place, digest, size, tuple(inside))
            except OSError:
                verdict = "unread"
        if verdict:
            result[verdict].append(path)
    return result


def _checked(tree: Tree, place: str, digest: str, size: str, inside: tuple[str, ...]) -> str:
    kind = tree.kind(place)
    if kind is None:
        return "missing"
    if not tree.resolve(place).startswith(inside):
        return "linked"
    if kind != "file":
        return "modified"
    algorithm, equals, expected = digest.partition("=")
    if algorithm not in _STRONG or not equals:
        return "unhashed"
    if size.isdigit() and tree.size(place) != int(size):
        return "modified"
    if algorithm == "sha256":
        actual = bytes.fromhex(tree.sha256(place))
    else:
        hasher = hashlib.new(algorithm)
        with tree.open(place) as file:
            for chunk in iter(lambda: file.read(1 << 20), b""):
                hasher.update(chunk)
        actual = hasher.digest()
    try:
        return "" if base64.urlsafe_b64decode(expected + "=" * (-len(expected) % 4)) == actual else "modified"
    except (binascii.Error, ValueError):
        return "modified"


def unowned(tree: Tree, folder: str, records: Iterable[str]) -> Iterator[str]:
    """
    The files below a site-packages folder that none of these RECORD texts lists, as relative paths.

    `*.pyc` and `__pycache__` are passed over; links are named and not followed.

    Raises:
        OSError: a folder cannot be read.
    """
    owned: set[str] = set()
    for text in records:
        # A detour (`x/../sitecustomize.py`) owns nothing: the digest of RECORD leaves such rows out.
        owned.update(os.path.normpath(path) for path, _, _ in record_rows(text) if "/../" not in path.lstrip("./"))
    ahead = [""]
    while ahead:
        below = ahead.pop()
        for name in tree.entries(folder + "/" + below if below else folder):
            path = below + "/" + name if below else name
            if name == "__pycache__" or name.endswith(".pyc") or path in owned:
                continue
            if not tree.is_link(folder + "/" + path) and tree.kind(folder + "/" + path) == "folder":
                ahead.append(path)
            else:
                yield path
