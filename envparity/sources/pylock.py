"""A `pylock.toml` of any tool (PEP 751), and what a lock of ours says beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envparity import codec, platforms
from envparity.codec.lock import load_pylock
from envparity.codec.toml_lines import at_line, lines_of
from envparity.collectors.tree import gap
from envparity.collectors.variables import is_listed
from envparity.errors import MalformedError
from envparity.files import decoded
from envparity.sources.documents import repository
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin, without_secrets
from envparity.sources.target import one_of
from envparity.values import MACHINES, BasePackage, Environment, Lock, LockedDistribution, LockedModel, Target


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that a lock fixes: every package, those of other platforms too (each has its marker). A lock of ours
    is read whole for one of its targets.

    Raises:
        MalformedError: not TOML, not a pylock, of an unknown lock-version, cut short. TargetNeededError, UsageError: a
        lock of ours with several targets, and none of them was stated.
    """
    document = load_pylock(data, f"`{name}`")
    if "envparity" in document.get("tool", {}):
        lock = codec.load_lock(data, f"`{name}`")
        locked_for = [target.platform for target in lock.targets]
        stated = options.platform if len(locked_for) > 1 or not options.shared else ""
        platform = one_of(locked_for, stated, "platform", "--platform", name)
        return environment_of_lock(lock, platform, name)
    if document.get("created-by") == "envparity":
        # A file that is cut between two tables is still TOML, and would pass for the shorter lock of another tool.
        raise MalformedError(
            f"`{name}` ends too early: `[tool.envparity]` is missing (cut short?)", hint="make it again"
        )
    facts = [
        {"kind": "section", "section": "distributions"},
        *_python(document),
        *(_distribution(package, index) for index, package in enumerate(document["packages"])),
    ]
    _refuse_twice(document["packages"], data, name)
    known = ("distributions", "python") if "requires-python" in document else ("distributions",)
    unknown = not_recorded(all_but(*known), "a pylock.toml cannot carry it")
    return codec.environment([*facts, *unknown], origin("pylock", name))


def _python(document: dict[str, Any]) -> Iterator[Fact]:
    if "requires-python" in document:
        yield {"kind": "python", "basis": "declared", "specifier": document["requires-python"]}


def _distribution(package: dict[str, Any], index: int) -> Fact:
    from packaging.utils import canonicalize_name

    artifacts = [*package.get("wheels", ()), *(package[key] for key in ("sdist", "archive") if key in package)]
    hashes = sorted(
        {f"{name}:{digest.lower()}" for artifact in artifacts for name, digest in artifact.get("hashes", {}).items()}
    )
    place: dict[str, Any] = next((package[key] for key in ("archive", "vcs", "directory") if key in package), {})
    address = place.get("url") or place.get("path") or ""
    if place is package.get("vcs"):
        address = repository(place["type"], address, place["commit-id"], place.get("subdirectory", ""))
    return {
        "kind": "distribution",
        "name": canonicalize_name(package["name"]),
        "basis": "locked",
        "version": package.get("version", ""),
        "marker": package.get("marker", ""),
        "hashes": hashes,
        "requires_python": package.get("requires-python", ""),
        "direct_url": without_secrets(address),
        "editable": bool(place.get("editable", False)),
    }


def _refuse_twice(packages: list[dict[str, Any]], data: bytes, name: str) -> None:
    """One project may stand there several times, where markers tell which of them holds."""
    seen: dict[tuple[str, str], int] = {}
    for index, package in enumerate(packages):
        key = (package["name"], package.get("marker", ""))
        if key in seen:
            lines = lines_of(decoded(data, f"`{name}`"))
            raise MalformedError(
                f"`{name}` locks `{package['name']}` twice, and no marker tells the two apart "
                f"(packages[{seen[key]}] in line {at_line(lines, f'packages[{seen[key]}]')} is the other)",
                hint="make the lock again",
                where=f"line {at_line(lines, f'packages[{index}]')}, packages[{index}]",
            )
        seen[key] = index


def environment_of_lock(lock: Lock, platform: str, reference: str = "") -> Environment:
    """
    What a lock of ours makes of one platform: its distributions, interpreter, OS packages, settings and models.

    Raises:
        UsageError: the lock has no such target; the message lists those that it has.
    """
    lock = platforms.selected(lock, platform)
    (target,) = lock.targets
    facts: list[Fact] = [
        *({"kind": "section", "section": section} for section in ("distributions", "os_packages", "artifacts")),
        {"kind": "python", "basis": "locked", "version": target.interpreter.version},
        *map(_locked_distribution, lock.distributions),
        *_conda(target),
        *_system(target),
        *_os_packages(target),
        _settings(lock, target),
        *map(_locked_model, lock.models),
        gap("system", "not-recorded", "a lock names its base and its packages; the release is read from the image"),
        *not_recorded(("host", "cpu"), "a lock cannot carry it"),
    ]
    return codec.environment(facts, origin("lock", reference))


def _settings(lock: Lock, target: Target) -> Fact:
    """What the lock sets, and before it what a base sets that is an image."""
    of_base = {item.name: item.value for item in target.variables if is_listed(item.name)}
    variables = of_base | {item.name: item.value for item in lock.settings}
    return {"kind": "settings", "variables": [{"name": name, "value": value} for name, value in variables.items()]}


def _locked_distribution(item: LockedDistribution) -> Fact:
    return {
        "kind": "distribution",
        "name": item.name,
        "basis": "locked",
        "version": item.version,
        "hashes": [f"sha256:{item.wheel.sha256}"],
        "requires_python": item.requires_python,
        "import_names": list(item.import_names),
    }


def _conda(target: Target) -> Iterator[Fact]:
    """The conda packages, and what they bring: that of Python as its own kind of fact, so that it can be compared."""
    if target.conda_packages:
        yield {"kind": "section", "section": "conda_packages"}
    for item in target.conda_packages:
        words = {name: getattr(item, name) for name in ("name", "version", "build", "channel", "subdir", "md5", "url")}
        yield {"kind": "conda-package", "basis": "locked", **words, "sha256": item.sha256, "requested": item.requested}
        for one in item.distributions:
            known = {"version": one.version, "import_names": list(one.import_names)}
            yield {"kind": "distribution", "name": one.name, "basis": "locked", **known}


def _system(target: Target) -> Iterator[Fact]:
    system, _, architecture = target.platform.partition("/")
    machine = architecture.partition("/")[0]
    yield {"kind": "system", "os": system, "machine": MACHINES.get(machine, machine)}


def _os_packages(target: Target) -> Iterator[Fact]:
    for item in target.held_packages:
        manager = {"manager": item.manager} if isinstance(item, BasePackage) else {}
        yield {
            "kind": "os-package",
            "name": item.name,
            "version": item.version,
            "architecture": item.architecture,
            **manager,
        }


def _locked_model(item: LockedModel) -> Fact:
    return {
        "kind": "artifact",
        "name": item.name,
        "size_bytes": item.size_bytes,
        "sha256": item.sha256,
        **({"files": item.files} if item.files else {}),
        "modules": list(item.modules),
    }
