"""The packages of a conda environment, from the records that conda, mamba and pixi keep in `PREFIX/conda-meta`."""

from __future__ import annotations

import errno
import json
import re
from typing import Iterator, Sequence

from envparity.collectors.conda_channels import channels_in_order, settings_of
from envparity.collectors.metadata import normalised_name
from envparity.collectors.shapes import Fact, Tree
from envparity.collectors.tree import gap, why
from envparity.collectors.urls import public_url

_MOST_RECORDS = 20000
_LARGEST_RECORD = 256 << 20
_LARGEST_SETTINGS = 1 << 20
_ALWAYS = ("name", "version", "build", "channel", "subdir", "url", "md5", "sha256")
_METADATA = re.compile(
    rb'"(?:[^"\n]*/)?([^"/\n-]+)-([^"/\n-]+)(?:-py[0-9.]+)?\.(?:dist-info/METADATA|egg-info(?:/PKG-INFO)?)"'
)
_HEXADECIMAL = frozenset("0123456789abcdef")


def conda_packages(tree: Tree, prefixes: Sequence[str]) -> Iterator[Fact]:
    """
    Observe the packages of the first of these prefixes that is a conda environment; a gap where none is.

    Reads `conda-meta/*.json` (https://docs.conda.io/projects/conda/en/stable/dev-guide/deep-dives/install.html), and
    takes from `history` and `pinned` what was asked for and what is held, and from `history` and the environment's own
    settings which channel comes first. Addresses lose their credentials. What pip
    installed beside conda is no conda package: it is a distribution whose installer is pip.

    Yields:
        One `{"kind": "origin", "channels": [...]}` where anything says their order.
        One `{"kind": "conda-package", ...}` a record. `requested` is None where nothing says what was asked for.
        One gap a record that is no record.
    """
    for prefix in dict.fromkeys(prefixes):
        folder = prefix.rstrip("/") + "/conda-meta"
        try:
            if tree.kind(folder) != "folder":
                continue
            names = [name for name in tree.entries(folder) if name.endswith(".json")]
        except OSError as error:
            yield gap("conda_packages", "unread", why(error), folder)
            return
        yield {"kind": "section", "section": "conda_packages"}
        if len(names) > _MOST_RECORDS:
            yield gap("conda_packages", "unread", "%d records; the limit is %d" % (len(names), _MOST_RECORDS), folder)
        yield from _conda_environment(tree, folder, names[:_MOST_RECORDS])
        return
    yield gap("conda_packages", "not-recorded", "it is no conda environment")


def _conda_environment(tree: Tree, folder: str, names: list[str]) -> Iterator[Fact]:
    gaps: list[Fact] = []
    history = _beside(tree, folder + "/history", gaps)
    asked = _asked_for(history)
    held = dict(_named(line) for line in _beside(tree, folder + "/pinned", gaps).split("\n") if _named(line)[0])
    yield from gaps
    told: list[Fact] = []
    channels = channels_in_order(history, list(_settings(tree, folder, told)))
    yield from told
    if channels:
        yield {"kind": "origin", "channels": channels}
    packages = []
    for name in names:
        path = folder + "/" + name
        try:
            data = _whole(tree, path)
            record = conda_record(data)
            package, brought = _package(record), _brought(data)
            packages.append(({**package, "distributions": brought} if brought else package, _specs(record)))
        except OSError as error:
            yield gap("conda_packages", "unread", why(error), path)
        except RecursionError:
            yield gap("conda_packages", "unread", "it is nested too deep", path)
        except ValueError as error:
            yield gap("conda_packages", "unread", "it is no record of a package: %s" % str(error)[:200], path)
    # Who writes the field at all leaves it out for what was not asked for.
    known = asked is not None or any(specs for _, specs in packages)
    for package, specs in packages:
        if known:
            package["requested"] = bool(specs) or package["name"] in (asked or ())
        package["pinned"] = held.get(package["name"], "")
        yield package


def _settings(tree: Tree, folder: str, gaps: list[Fact]) -> Iterator[str]:
    """What can be read of conda's settings. They are no part of the runtime, which is known as a whole without them."""
    for path in settings_of(folder[: -len("/conda-meta")]):
        try:
            if tree.kind(path) == "file":
                yield tree.read(path, _LARGEST_SETTINGS).decode("utf-8", "replace")
        except OSError as error:
            gaps.append(gap("conda_packages", "not-recorded", why(error), path))


def _whole(tree: Tree, path: str) -> bytes:
    # `tree.read` makes room for its limit, which takes longer than to read a usual record.
    if tree.size(path) > _LARGEST_RECORD:
        raise OSError(errno.EFBIG, "larger than %d bytes" % _LARGEST_RECORD, path)
    with tree.open(path) as file:
        return file.read()


def conda_record(data: bytes) -> Fact:
    """
    What is read of one record. Its lists of files can be nearly all of it, and are cut out before it is parsed.

    It is written with one key a line, and no text of JSON holds a line feed: so a line that begins as deep as the first
    key is no part of a list. Where another order of keys lost something by that, the whole is parsed.

    Raises:
        ValueError: it is no JSON object.
    """
    first = data.find(b'"')
    edge = data[1:first]
    files = data.find(edge + b'"files": [\n') if data[:2] == b"{\n" else -1
    paths = data.find(edge + b'"paths_data": {\n', files) if files >= 0 else -1
    if paths >= 0:
        start, end = data.find(b"[", files) + 1, data.rfind(edge + b"]", files, paths)
        beyond = data.rfind(edge + b"}", paths)
        short = data[:start] + data[end:paths] + edge + b'"paths_data": {' + data[beyond:]
        try:
            record = json.loads(short.decode("utf-8"))
            if all(record.get(key) for key in _ALWAYS):
                return dict(record)
        except (ValueError, RecursionError):
            pass
    record = json.loads(data.decode("utf-8"))
    if not isinstance(record, dict):
        raise ValueError("a JSON object is due")
    return record


def _package(record: Fact) -> Fact:
    name, version = _word(record, "name"), _word(record, "version")
    if not name or not version:
        raise ValueError("it has no name or no version")
    subdir = _word(record, "subdir")
    channel = public_url(_word(record, "channel")).rstrip("/")
    if subdir and channel.endswith("/" + subdir):
        channel = channel[: -len(subdir) - 1]
    return {
        "kind": "conda-package",
        "name": name,
        "version": version,
        "build": _word(record, "build"),
        "channel": channel,
        "subdir": subdir,
        "md5": _digest(record, "md5", 32),
        "sha256": _digest(record, "sha256", 64) or None,
        "url": public_url(_word(record, "url")),
    }


def _brought(data: bytes) -> list[list[str]]:
    """The distributions whose metadata a record lists: the names of their folders, of which `-` parts the version."""
    found = {(normalised_name(name.decode()), version.decode()) for name, version in _METADATA.findall(data)}
    return [list(pair) for pair in sorted(found)]


def _word(record: Fact, key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) and len(value) < 4096 else ""


def _digest(record: Fact, key: str, length: int) -> str:
    text = _word(record, key).lower()
    return text if len(text) == length and _HEXADECIMAL.issuperset(text) else ""


def _specs(record: Fact) -> list[str]:
    """What was asked for that brought this package in; conda writes "None" where nothing was."""
    specs = record.get("requested_specs") or [record.get("requested_spec")]
    return [spec for spec in specs if spec and spec != "None"] if isinstance(specs, list) else []


def _beside(tree: Tree, path: str, gaps: list[Fact]) -> str:
    try:
        return tree.read(path).decode("utf-8", "replace") if tree.kind(path) == "file" else ""
    except OSError as error:
        gaps.append(gap("conda_packages", "unread", why(error), path))
        return ""


def _asked_for(history: str) -> set[str] | None:
    """
    The names of what a person asked for and did not remove again; None without a history.

    It holds lines like `# update specs: ['python=3.11', 'numpy']` and `# remove specs: [...]`; older ones have no
    brackets.
    """
    names: set[str] = set()
    for line in history.split("\n"):
        action, mark, text = line.lstrip("# ").partition(" specs:")
        if not line.startswith("#") or not mark:
            continue
        found = {_named(spec)[0] for spec in _quoted(text)} - {""}
        if action in ("remove", "uninstall"):
            names -= found
        elif action in ("install", "update", "create"):
            names |= found
    return names if history.strip() else None


def _quoted(text: str) -> list[str]:
    text = text.strip()
    if not text.startswith("["):
        return text.split(",")
    found, mark, start = [], "", 0
    for position, character in enumerate(text):
        if mark and character == mark:
            found.append(text[start:position])
            mark = ""
        elif not mark and character in "'\"":
            mark, start = character, position + 1
    return found


def _named(spec: str) -> tuple[str, str]:
    """The package that a match specification names, and what it says of it: `conda-forge::numpy >=1.26`."""
    text = spec.partition("#")[0].strip().rpartition("::")[2].strip()
    end = next((place for place, character in enumerate(text) if character in " =<>!~["), len(text))
    return text[:end].lower(), text[end:].strip()
