"""What identifies a distribution: the headers of its metadata, and what an installer left beside them."""

from __future__ import annotations

import json
from typing import Dict, Iterator

from envparity.collectors.shapes import Fact, Tree
from envparity.collectors.tree import gap, why
from envparity.collectors.urls import public_url

_HEAD_LIMIT = 8 << 20
_LONGEST_LICENCE = 300
_CLASSIFIER = ("Classifier: License ::", "classifier: License ::")
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ_.", "abcdefghijklmnopqrstuvwxyz--")
_SCRIPTS = ("console_scripts", "gui_scripts")


def normalised_name(name: str) -> str:
    """
    PEP 503: lower case, runs of `-`, `_` and `.` are one `-`. Letters outside ASCII stay as they are, so that a
    look-alike (`K`, the Kelvin sign) is never merged with the name that it imitates.
    """
    name = name.translate(_LOWER)
    while "--" in name:
        name = name.replace("--", "-")
    return name


def core_metadata(tree: Tree, path: str) -> Fact:
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
    # The letters that the wanted keys begin with: most lines are classifiers.
    lines = [line for line in text.split("\n") if line[:1] in ("L", "N", "R", "V", "l", "n", "r", "v")]
    for key, value in headers_of("\n".join(lines)):
        if key == "requires-dist":
            fact["requires"].append(value)
        elif key in ("name", "version") and not fact[key]:
            fact[key] = value
        elif key == "requires-python":
            fact["requires_python"] = fact["requires_python"] or value
    licence = licence_of(text)
    if licence:
        fact["licence"] = licence
    missing = [key.title() for key in ("name", "version") if not fact[key]]
    if missing:
        raise ValueError("its metadata has no " + " and no ".join(missing))
    fact["name"] = normalised_name(fact["name"])
    return fact


def licence_of(text: str) -> str:
    """
    What a block of headers says of the licence: the SPDX expression of `License-Expression` (PEP 639), an older
    `License` that looks like one, the names of its classifiers, or the line of `License`; empty where it says nothing.
    """
    said: Dict[str, str] = {}
    names = []
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line.startswith(_CLASSIFIER):
            names.append(line.rpartition("::")[2].strip()[:_LONGEST_LICENCE])
        elif line[:7] in ("License", "license"):
            key, colon, value = line.partition(":")
            following = lines[number + 1] if number + 1 < len(lines) else ""
            # A whole text is no name: it goes on in the lines that follow.
            if colon and value.strip() and following[:1] not in (" ", "\t"):
                said.setdefault(key.lower(), value.strip())
    expression, older = said.get("license-expression", ""), said.get("license", "")
    if expression:
        return expression[:_LONGEST_LICENCE]
    if older.lower() in ("unknown", "none", "") or len(older) > _LONGEST_LICENCE:
        older = ""
    if older and (not names or all(part in ("AND", "OR", "WITH") or _is_identifier(part) for part in older.split())):
        return older
    return "; ".join(sorted(set(names)))[:_LONGEST_LICENCE]


def _is_identifier(word: str) -> bool:
    word = word.strip("()")
    return word != "" and any(letter in "0123456789-" or letter.isupper() for letter in word[1:] + word[:1])


def _head(tree: Tree, path: str) -> tuple[str, bool]:
    """The text up to the first empty line, and whether it had to be read as Latin-1."""
    data = b""
    with tree.open(path) as file:
        while len(data) < _HEAD_LIMIT:
            chunk = file.read(max(16384, len(data)))
            data += chunk
            end = min((at for at in (data.find(b"\n\n"), data.find(b"\n\r\n")) if at >= 0), default=-1)
            if end >= 0:
                return decoded(data[: end + 1])
            if not chunk:
                return decoded(data)
    raise ValueError("its headers are longer than %d bytes" % _HEAD_LIMIT)


def headers_of(text: str) -> Iterator[tuple[str, str]]:
    """The `Key: value` lines of a block of headers, keys in lower case; continuation lines are passed over."""
    for line in text.split("\n"):
        key, colon, value = line.partition(":")
        if colon and key[:1] not in (" ", "\t", ""):
            yield key.strip().lower(), value.strip()


def decoded(data: bytes) -> tuple[str, bool]:
    """The text, and whether it is no UTF-8 and was read as Latin-1."""
    try:
        return data.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        return data.decode("latin-1"), True


def first_line(tree: Tree, path: str) -> str:
    """The first line of a small file that is not empty, without spaces around it."""
    return decoded(tree.read(path, 1 << 16))[0].strip().partition("\n")[0].strip()[:1000]


def agrees(stem: str, fact: Fact) -> bool:
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


def optional(tree: Tree, path: str, names: set[str], fact: Fact) -> Iterator[Fact]:
    """What an installer may leave: its absence is no error, its damage is a gap."""
    if "INSTALLER" in names:
        fact["installer"] = first_line(tree, path + "/INSTALLER")
    if fact.get("form") == "dist-info":
        fact["requested"] = "REQUESTED" in names
    if "WHEEL" in names:
        tags = []
        for key, value in headers_of(decoded(tree.read(path + "/WHEEL", 1 << 20))[0]):
            if key == "tag":
                tags.append(value)
            elif key == "build":
                fact["wheel_build"] = value
        fact["wheel_tags"] = sorted(set(tags))
    if "entry_points.txt" in names:
        fact["plugins"] = entry_point_groups(decoded(tree.read(path + "/entry_points.txt", 1 << 20))[0])
    if "requires.txt" in names and not fact["requires"]:
        fact["requires"] = _egg_requirements(decoded(tree.read(path + "/requires.txt"))[0])
    if "direct_url.json" in names:
        try:
            fact["direct_url"], fact["editable"] = _direct_url(tree.read(path + "/direct_url.json", 1 << 20))
        except (OSError, ValueError, RecursionError) as error:
            reason = "it cannot be read" if isinstance(error, RecursionError) else why(error)
            yield gap("distributions", "unread", reason, path + "/direct_url.json")


def entry_point_groups(text: str) -> list[str]:
    """
    The groups of entry points that other packages look through and load by themselves; scripts are no such group
    (https://packaging.python.org/specifications/entry-points/).
    """
    lines = (line.strip() for line in text.split("\n"))
    groups = {line[1:-1].strip() for line in lines if line.startswith("[") and line.endswith("]")}
    return sorted(group for group in groups if group and group not in _SCRIPTS)


def _direct_url(data: bytes) -> tuple[str, bool]:
    """
    PEP 610 as one text (`git+https://host/x@COMMIT#subdirectory=DIR`, `https://host/x.whl#sha256=...`), and if it is
    editable.
    """
    value = json.loads(decoded(data)[0])
    if not isinstance(value, dict) or not isinstance(value.get("url"), str):
        raise ValueError("it has no url")
    url = public_url(value["url"])
    vcs, archive, folder = (_table(value.get(key)) for key in ("vcs_info", "archive_info", "dir_info"))
    if isinstance(vcs.get("vcs"), str):
        url = vcs["vcs"] + "+" + url
        if isinstance(vcs.get("commit_id"), str):
            url += "@" + vcs["commit_id"]
        if isinstance(value.get("subdirectory"), str) and value["subdirectory"]:
            url += "#subdirectory=" + value["subdirectory"]
    hashes = _table(archive.get("hashes"))
    if isinstance(hashes.get("sha256"), str):
        url += "#sha256=" + hashes["sha256"]
    elif isinstance(archive.get("hash"), str) and archive["hash"].count("=") == 1:
        url += "#" + archive["hash"]
    return url, folder.get("editable") is True


def _table(value: object) -> Fact:
    return value if isinstance(value, dict) else {}
