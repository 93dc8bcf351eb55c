"""
A Lock as `pylock.toml` (https://packaging.python.org/specifications/pylock-toml/), and back.

What that standard does not cover stands under `[tool.envparity]`, which other installers ignore. A file cut at a line
boundary is still TOML: so the number of locked things stands at the beginning and in the last line. Before that line
stands the seal of what the file says (`codec/seal.py`), which tells that it was edited, and where.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from envparity.codec.environment import converted, require_schema
from envparity.codec.seal import broken, sealed
from envparity.codec.strict_toml import load_toml
from envparity.errors import MalformedError, UsageError
from envparity.files import decoded
from envparity.values import Counterpart, Lock, LockedDistribution, LockedWheel, Repacked, Target

if TYPE_CHECKING:
    from packaging.pylock import Pylock

LOCK_VERSION = "1.0"

_CREATED_BY = "envparity"
_CUT = "it was cut short; make it again with `envparity lock`"
_SHOWN = 10
_OWN = ("bundled", "bytecode", "packer", "snapshot", "settings", "models", "code", "serve")


class _End(msgspec.Struct, frozen=True):
    count: int


class _Frame(msgspec.Struct, frozen=True):
    """The shape of `[tool.envparity]` around the values: what has to be right before anything is made of them."""

    count: int
    end: _End
    target: dict[str, dict[str, Any]]


class _PackageFrame(msgspec.Struct, frozen=True, rename="kebab"):
    """The shape of `[packages.tool.envparity]`."""

    state: str = ""
    import_names: tuple[str, ...] = ()
    yanked: str | None = None
    repacked: Repacked | None = None
    asked_by: tuple[str, ...] = ()
    before: str = ""
    provenance: tuple[str, ...] = ()
    counterparts: tuple[Counterpart, ...] = ()


class _ToolFrame(msgspec.Struct, frozen=True):
    envparity: dict[str, Any] | None = None


def dump_lock(lock: Lock) -> str:
    """The text of `pylock.toml`: packages by name, one order of keys, so that equal locks are equal bytes."""
    import tomli_w
    from packaging.pylock import Pylock

    own: dict[str, Any] = {"schema": lock.schema, "count": _count(lock)}
    own |= {name: value for name in _OWN if (value := msgspec.to_builtins(getattr(lock, name)))}
    own["target"] = {
        target.platform: {key: value for key, value in msgspec.to_builtins(target).items() if key != "platform"}
        for target in lock.targets
    }
    document: dict[str, Any] = {
        "lock-version": LOCK_VERSION,
        "environments": list(lock.environments),
        "requires-python": lock.requires_python,
        "created-by": _CREATED_BY,
        "packages": [_package(item) for item in sorted(lock.distributions, key=lambda item: item.name)],
        "tool": {"envparity": own},
    }
    _write_as_read(document, Pylock.from_dict(document))
    own["end"] = {**sealed(document), "count": _count(lock)}
    return tomli_w.dumps(document, multiline_strings=False)


def _write_as_read(document: dict[str, Any], read: Pylock) -> None:
    """
    Write versions, ranges and markers of a document as the standard's own reader does: what its `to_dict` gives, which
    takes ten times as long, since it copies all the rest too.
    """
    document["requires-python"] = str(read.requires_python)
    document["environments"] = list(map(str, read.environments or ()))
    for package, found in zip(document["packages"], read.packages, strict=True):
        package["version"] = str(found.version)
        if found.marker is not None:
            package["marker"] = str(found.marker)
        if found.requires_python is not None:
            package["requires-python"] = str(found.requires_python)


def _count(lock: Lock) -> int:
    locked = len(lock.distributions) + len(lock.models) + len(lock.settings)
    return locked + sum(
        len(target.os_packages) + len(target.conda_packages) + len(target.substituted) + len(target.left_out) + 1
        for target in lock.targets
    )


def _package(item: LockedDistribution) -> dict[str, Any]:
    package: dict[str, Any] = {"name": item.name, "version": item.version}
    if item.marker:
        package["marker"] = item.marker
    if item.requires_python:
        package["requires-python"] = item.requires_python
    if item.index:
        package["index"] = item.index
    package["wheels"] = [
        {"name": wheel.name, **_place(wheel), "size": wheel.size_bytes, "hashes": {"sha256": wheel.sha256}}
        for wheel in item.wheels
    ]
    own: dict[str, Any] = {"state": item.state}
    if item.import_names:
        own["import-names"] = list(item.import_names)
    if item.yanked is not None:
        own["yanked"] = item.yanked
    if item.repacked is not None:
        own["repacked"] = msgspec.to_builtins(item.repacked)
    if item.added is not None:
        own["asked-by"] = list(item.added.asked_by)
        own |= {"before": item.added.before} if item.added.before else {}
    if item.provenance:
        own["provenance"] = list(item.provenance)
    if item.counterparts:
        own["counterparts"] = msgspec.to_builtins(item.counterparts)
    package["tool"] = {"envparity": own}
    return package


def _place(wheel: LockedWheel) -> dict[str, str]:
    # "path … relative to the location of the lock file" (pylock.toml, packages.wheels). Where there is an address too,
    # uv and pip take the file that lies beside the lock.
    return {key: place for key, place in (("url", wheel.url), ("path", wheel.path)) if place}


def load_lock(data: bytes, what: str) -> Lock:
    """
    Read what `dump_lock` wrote.

    Raises:
        MalformedError: not TOML, not a pylock, cut short, edited, of a newer schema; the place is named, with its line.
        UsageError: a valid `pylock.toml` of another tool: it has no base, no interpreter and no proof of its origin.
    """
    document = load_pylock(data, what)
    try:
        own = converted(document.get("tool", {}), _ToolFrame, "tool").envparity
        return _lock(document, own, what)
    except MalformedError as error:
        if not error.message.startswith(what):
            error.message = f"{what} is not a valid lock: {error.message}"
        raise _located(error, data, document) from error.__cause__


def _located(error: MalformedError, data: bytes, document: Any) -> MalformedError:
    """The same error with the line of its place, and each of its details with that of its own."""
    from envparity.codec.toml_lines import at_line, lines_of

    lines = lines_of(decoded(data, "lock"))
    if error.details:
        parts = [detail.partition(": ") for detail in error.details]
        error.details = tuple(f"line {at_line(lines, path)}: {words}" for path, _, words in parts)
    error.where = _in_document(error.where, document)
    line = at_line(lines, error.where)
    if line:
        error.where = f"line {line}, {error.where}"
    return error


def _in_document(where: str, document: Any) -> str:
    """A path of the value (`distributions[0].wheels[0].sha256`) as that of the document that it was read from."""
    where = re.sub(r"^distributions(?=\[)", "packages", where)
    where = re.sub(r"(?<=\]\.)size_bytes$", "size", re.sub(r"^(packages.*\.)sha256$", r"\1hashes.sha256", where))
    if found := re.match(r"targets\[(\d+)\]", where):
        platform = list(document["tool"]["envparity"]["target"])[int(found[1])]
        where = f'tool.envparity.target."{platform}"{where[found.end() :]}'
    return where


def _lock(document: dict[str, Any], own: dict[str, Any] | None, what: str) -> Lock:
    if own is None and document.get("created-by") == _CREATED_BY:
        raise MalformedError(f"{what} ends too early: the table [tool.envparity] is missing", hint=_CUT)
    if own is None:
        raise UsageError(
            f"{what} was not made by envparity: it locks distributions, and neither a base nor an interpreter",
            hint="`envparity lock` makes one of it, for a base: `envparity lock FILE -o pylock.image.toml`",
        )
    require_schema(own.get("schema"), what, "tool.envparity.schema")
    if "end" not in own:
        raise MalformedError(f"{what} ends too early: its last table is missing", hint=_CUT, where="tool.envparity")
    frame = converted(own, _Frame, "tool.envparity")
    body = {
        "schema": own["schema"],
        "requires_python": document.get("requires-python", ""),
        "environments": document.get("environments", []),
        "distributions": [_distribution(package, index) for index, package in enumerate(document["packages"])],
        "targets": [{**target, "platform": platform} for platform, target in frame.target.items()],
        "packer": {},  # written only where it is not the plain one
        **{name: own[name] for name in _OWN if name in own},
    }
    try:
        lock: Lock = converted(body, Lock, "")
    except MalformedError as error:
        inside = error.where.partition("[")[0].partition(".")[0] in _OWN
        raise error.inside("tool.envparity" if inside else "") from error.__cause__
    _refuse_twice(lock)
    for target in lock.targets:
        _require_conda(target)
    unknown = sorted(own.keys() - {*_OWN, "schema", "count", "target", "end"})
    if unknown:
        warnings.warn(f"{what} holds keys that are not known and were left out: {', '.join(unknown)}", stacklevel=3)
    edited = broken(document, own["end"])
    if edited:
        raise MalformedError(
            f"{what} was edited by hand (or merged): it is not what was written",
            hint="undo that (a version control shows what it was), or make it again with `envparity lock`",
            details=tuple(f"{path}: {became}" for path, became in edited[:_SHOWN]),
            where=edited[0][0],
        )
    if {frame.count, frame.end.count} != {_count(lock)}:
        said = " and ".join(sorted({str(frame.count), str(frame.end.count)}))
        raise MalformedError(
            f"{what} locks {_count(lock)} things, and says that it locks {said}: it was cut or edited",
            hint="make it again with `envparity lock`",
            where="tool.envparity.count",
        )
    return lock


def _refuse_twice(lock: Lock) -> None:
    names = [item.name for item in lock.distributions]
    for index, name in enumerate(names):
        if name in names[:index]:
            first = f"packages[{names.index(name)}]"
            raise MalformedError(
                f"`{name}` is locked twice",
                details=(f"{first}: the first of them", f"packages[{index}]: the second"),
                where=f"packages[{index}]",
            )
    for index, item in enumerate(lock.distributions):
        files = [wheel.name for wheel in item.wheels]
        if len(set(files)) != len(files):
            raise MalformedError(f"one wheel of `{item.name}` is locked twice", where=f"packages[{index}].wheels")
        _require_marked(item, {target.platform for target in lock.targets}, f"packages[{index}]")


def _require_marked(item: LockedDistribution, platforms: set[str], where: str) -> None:
    """Of several wheels, each but the first is that of another platform, and each platform has one."""
    marked = {mark.platform: mark.wheel for mark in item.counterparts}
    if len(marked) != len(item.counterparts) or not marked.keys() <= platforms:
        raise MalformedError(
            "a platform of the lock is due here, each once", where=f"{where}.tool.envparity.counterparts"
        )
    if {wheel.name for wheel in item.wheels[1:]} != set(marked.values()):
        raise MalformedError(
            f"of the wheels of `{item.name}`, all but the first must be the counterparts of a platform",
            where=f"{where}.wheels",
        )


def _require_conda(target: Target) -> None:
    """A conda package is its channel's own file: the address says no other, and no name stands there twice."""
    where = f"tool.envparity.target.{target.platform}.conda_packages"
    names = [item.name for item in target.conda_packages]
    for index, item in enumerate(target.conda_packages):
        if item.name in names[:index]:
            raise MalformedError(f"`{item.name}` is locked twice", where=f"{where}[{index}]")
        if item.url != f"{item.channel}/{item.subdir}/{item.file_name}":
            raise MalformedError(
                f"the address of `{item.file_name}` in its channel is due here", where=f"{where}[{index}].url"
            )
        if not item.url.startswith(("https://", "http://", "file:///")):
            raise MalformedError("an http, https or file address is due here", where=f"{where}[{index}].url")


def _distribution(package: dict[str, Any], index: int) -> dict[str, Any]:
    where = f"packages[{index}]"
    frame = converted(package.get("tool", {}), _ToolFrame, f"{where}.tool")
    own = converted(frame.envparity or {}, _PackageFrame, f"{where}.tool.envparity")
    wheels = package.get("wheels") or []
    others = sorted({"vcs", "directory", "archive", "sdist"} & package.keys())
    if not wheels or others:
        found = f"`{others[0]}`" if others else "none"
        raise MalformedError(f"wheels are due here, and there is {found}", where=where)
    return {
        "name": package["name"],
        "version": package.get("version", ""),
        "index": package.get("index", ""),
        "requires_python": package.get("requires-python", ""),
        "wheels": [
            _wheel(wheel, own.repacked is not None, f"{where}.wheels[{number}]") for number, wheel in enumerate(wheels)
        ],
        "marker": package.get("marker", ""),
        "state": own.state,
        "import_names": own.import_names,
        "yanked": own.yanked,
        "repacked": msgspec.to_builtins(own.repacked),
        "provenance": own.provenance,
        "added": {"asked_by": own.asked_by, "before": own.before} if own.asked_by else None,
        "counterparts": msgspec.to_builtins(own.counterparts),
    }


def _wheel(wheel: dict[str, Any], beside: bool, where: str) -> dict[str, Any]:
    if beside or "path" in wheel:
        _require_beside(wheel, f"{where}.path")
    if beside and "url" in wheel:
        raise MalformedError("no index serves this wheel, so it has no address", where=f"{where}.url")
    if not beside:
        _require_http(wheel.get("url"), f"{where}.url")
    return {
        "name": wheel.get("name"),
        **{key: wheel[key] for key in ("url", "path") if key in wheel},
        "size_bytes": wheel.get("size"),
        "sha256": wheel.get("hashes", {}).get("sha256"),
    }


def _require_http(url: object, where: str) -> None:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port over 65535, or of a bracket that is not closed
        fits = False
    if not fits:
        raise MalformedError("an http or https address is due here", where=where)


def _require_beside(wheel: dict[str, Any], where: str) -> None:
    """A wheel that lies beside the lock does so in the folder of artifacts, under its own name, and nowhere else."""
    folder, _, name = str(wheel.get("path", "")).rpartition("/")
    if not folder.endswith(".artifacts") or "/" in folder or name != wheel.get("name"):
        raise MalformedError("the path of the wheel in the folder of artifacts is due here", where=where)


def load_pylock(data: bytes, what: str) -> dict[str, Any]:
    """
    Any tool's `pylock.toml`, validated by the standard's own reader.

    Raises:
        MalformedError: not UTF-8, not TOML, not a valid pylock of a known version, or one package twice.
    """
    from packaging.pylock import Pylock, PylockUnsupportedVersionError, PylockValidationError

    document = load_toml(data, what)
    if not document:
        raise MalformedError(f"{what} is empty: it does not even say that it locks nothing", hint=_CUT)
    log = logging.getLogger("packaging.pylock")
    log.addFilter(_unheard)  # of a newer minor version it writes a line of its own; ours names the file
    try:
        Pylock.from_dict(document)  # which checks; `validate` would write it and read that again
    except PylockUnsupportedVersionError as error:
        unknown = MalformedError(f"{what} has a lock-version that is not known: {error}", where="lock-version")
        raise _located(unknown, data, document) from error
    except PylockValidationError as error:
        reason = error.message.partition("\n")[0]  # of a marker it shows the whole, with an arrow below
        invalid = MalformedError(f"{what} is not a valid pylock: {reason}", where=error.context or "")
        raise _located(invalid, data, document) from error
    except RecursionError as error:
        raise MalformedError(f"{what} is nested too deeply") from error
    finally:
        log.removeFilter(_unheard)
    for where in _bad_sizes(document):
        negative = MalformedError(f"{what} is not a valid pylock: a size from 0 to 2**63 - 1 is due", where=where)
        raise _located(negative, data, document)
    if document["lock-version"] != LOCK_VERSION:
        warnings.warn(
            f"{what} has the lock-version {document['lock-version']}, and {LOCK_VERSION} is known: what it says in new"
            " ways is left out",
            stacklevel=2,
        )
    return document


def _bad_sizes(document: dict[str, Any]) -> Iterator[str]:
    """Where a file has a size that none can have; the standard's reader takes any integer."""
    for index, package in enumerate(document["packages"]):
        places = [(f"wheels[{number}]", wheel) for number, wheel in enumerate(package.get("wheels") or ())]
        places += [(key, package[key]) for key in ("sdist", "archive") if key in package]
        yield from (
            f"packages[{index}].{place}.size" for place, file in places if not 0 <= file.get("size", 0) < 1 << 63
        )


def _unheard(record: logging.LogRecord) -> bool:
    return False
