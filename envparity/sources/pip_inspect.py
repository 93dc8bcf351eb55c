"""The report of `pip inspect` (version 1; https://pip.pypa.io/en/stable/reference/inspect-report/) or of `--report`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from envparity import codec
from envparity.collectors.tree import gap
from envparity.errors import MalformedError, UnsupportedError
from envparity.sources.documents import hashes, shaped
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin, without_secrets
from envparity.values import Environment

TITLE = "the report of `pip inspect`"
_SYSTEMS = {"Linux": "linux", "Darwin": "darwin", "Windows": "windows"}


class _Metadata(Struct, frozen=True):
    name: str
    version: str
    requires_dist: tuple[str, ...] = ()
    requires_python: str = ""


class _Item(Struct, frozen=True):
    metadata: _Metadata
    installer: str = ""
    requested: bool | None = None
    direct_url: dict[str, Any] | None = None
    download_info: dict[str, Any] | None = None
    is_direct: bool = False


class _Report(Struct, frozen=True):
    version: str
    pip_version: str
    installed: tuple[_Item, ...] | None = None
    install: tuple[_Item, ...] | None = None
    environment: dict[str, str] | None = None


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that pip saw (`pip inspect`), or would install (`pip install --dry-run --report`).

    Raises:
        UnsupportedError: a version of the report that is not known. MalformedError: not JSON, another shape.
    """
    report = shaped(codec.load_json(data, f"`{name}`"), _Report, name, TITLE)
    if report.version != "1":
        raise UnsupportedError(
            f"`{name}` has version {report.version[:20]} of the report, and version 1 is known",
            hint="take a snapshot of that Python: `python:EXE`",
        )
    if report.installed is None and report.install is None:
        raise MalformedError(f"`{name}` is not {TITLE}: it has neither `installed` nor `install`")
    facts: list[Fact] = [{"kind": "section", "section": "distributions"}]
    facts += (_installed(item) for item in report.installed or ())
    facts += (_planned(item, f"install[{index}]") for index, item in enumerate(report.install or ()))
    place = list(_place(report.environment)) if report.environment else []
    known = ("distributions", *(fact["kind"] for fact in place if fact["kind"] != "gap"))
    unknown = not_recorded(all_but(*known), "pip does not report it")
    # A report of what pip would install says nothing of what is there already.
    return codec.environment([*facts, *place, *unknown], origin("pip-inspect", name), open=report.installed is None)


def _fields(item: _Item) -> dict[str, Any]:
    from packaging.utils import canonicalize_name

    metadata = item.metadata
    return {
        "kind": "distribution",
        "name": canonicalize_name(metadata.name),
        "version": metadata.version,
        "requires": list(metadata.requires_dist),
        "requires_python": metadata.requires_python,
        "requested": item.requested,
    }


def _installed(item: _Item) -> Fact:
    direct = item.direct_url or {}
    folder = direct.get("dir_info")
    return {
        **_fields(item),
        "basis": "installed",
        "installer": item.installer,
        "direct_url": without_secrets(str(direct.get("url", ""))),
        "editable": bool(folder.get("editable", False)) if isinstance(folder, dict) else False,
    }


def _planned(item: _Item, where: str) -> Fact:
    info = item.download_info or {}
    archive = info.get("archive_info")
    given = archive.get("hashes", {}) if isinstance(archive, dict) else {}
    if not isinstance(given, dict):
        raise MalformedError("the hashes are no table", where=f"{where}.download_info.archive_info.hashes")
    proving, _ = hashes((f"{kind}:{digest}" for kind, digest in given.items()), where)
    place = str(info.get("url", "")) if item.is_direct else ""
    return {**_fields(item), "basis": "locked", "hashes": proving, "direct_url": without_secrets(place)}


def _place(environment: dict[str, str]) -> Iterator[Fact]:
    version = environment.get("python_full_version", "")
    if version:
        implementation = environment.get("implementation_name", "")
        yield {"kind": "python", "version": version, "implementation": implementation}
    system = _SYSTEMS.get(environment.get("platform_system", ""), "")
    if system:
        yield {"kind": "system", "os": system, "machine": environment.get("platform_machine", "")}
        yield gap("system", "not-recorded", "pip does not report the release and libc")
