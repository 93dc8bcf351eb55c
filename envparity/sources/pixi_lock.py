"""
A `pixi.lock` (https://pixi.sh/latest/workspace/lockfile/): conda and PyPI packages by environment and platform.

Versions 1 to 3 have one list with a platform in each entry; from 4 on environments refer to packages by their address,
and from 6 on that address is the key of the package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct, field

from envparity import codec
from envparity.collectors.tree import gap
from envparity.errors import MalformedError
from envparity.sources import target
from envparity.sources.conda_specs import NO_DISTRIBUTIONS, PLATFORMS, of_url, proven, python_of, system_of
from envparity.sources.documents import locked, require_version, shaped
from envparity.sources.purls import Purl
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin
from envparity.values import Environment

TITLE = "a lock of Pixi"
VERSIONS = range(1, 8)


class _Hash(Struct, frozen=True):
    md5: str = ""
    sha256: str = ""


class _Package(Struct, frozen=True):
    """An entry of `packages`, in the words of any version. `platform`, `manager` and `hash` are those of 1 to 3."""

    kind: str = ""
    manager: str = ""
    platform: str = ""
    conda: str = ""
    conda_source: str = ""
    pypi: str = ""
    url: str = ""
    path: str = ""
    name: str = ""
    version: str = ""
    build: str = ""
    subdir: str = ""
    channel: str | None = None
    md5: str = ""
    sha256: str = ""
    hash: _Hash | None = None
    requires_python: str | None = None
    editable: bool = False
    purls: tuple[str, ...] | None = None

    @property
    def address(self) -> str:
        return self.conda or self.pypi or self.conda_source or self.url or self.path

    @property
    def is_conda(self) -> bool:
        return bool(self.conda or self.conda_source) or "conda" in (self.kind, self.manager)


class _Environment(Struct, frozen=True):
    packages: dict[str, tuple[dict[str, Any], ...]]


class _Metadata(Struct, frozen=True):
    platforms: tuple[str, ...]


class _Lock(Struct, frozen=True):
    version: int
    environments: dict[str, _Environment] = field(default_factory=dict)
    packages: tuple[dict[str, Any], ...] = ()
    metadata: _Metadata | None = None
    package: tuple[dict[str, Any], ...] = ()


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that a `pixi.lock` fixes for one of its environments (`--group`) and one platform.

    The distributions that conda packages bring are known where the lock names them (`purls`).

    Raises:
        UnsupportedError: a version of the format that is not known. UsageError: the environment or the platform is not
        in it. TargetNeededError: it has several, and nobody said which. MalformedError: not YAML, another shape, cut
        short: an environment refers to a package that is not there.
    """
    document = codec.load_yaml(data, f"`{name}`", foreign=True)
    hint = "take a snapshot of the environment itself: `python:PREFIX/bin/python`"
    require_version(document, VERSIONS, name, TITLE, hint)
    lock = shaped(document, _Lock, name, TITLE)
    if lock.environments:
        subdir, packages = _of_environment(lock, name, options)
    else:
        subdir, packages = _of_platform(lock, name, options)
    facts = [fact for where, package in packages for fact in _facts(package, where)]
    known = {fact["name"]: fact for fact in facts if fact["kind"] == "distribution"}
    for package in (package for _, package in packages if package.is_conda):
        facts += [fact for fact in _brought(package) if known.setdefault(fact["name"], fact) is fact]
    without = [package for _, package in packages if package.is_conda and package.purls is None]
    return codec.environment(
        [
            {"kind": "section", "section": "conda_packages"},
            {"kind": "section", "section": "distributions"},
            *facts,
            *python_of(fact for fact in facts if fact["kind"] == "conda-package"),
            *system_of(subdir),
            *([gap("distributions", "not-recorded", NO_DISTRIBUTIONS)] if without else []),
            *not_recorded(
                all_but("conda_packages", "distributions", "python", "system"), "a pixi.lock cannot carry it"
            ),
        ],
        origin("pixi-lock", name),
    )


def _of_environment(lock: _Lock, name: str, options: Options) -> tuple[str, list[tuple[str, _Package]]]:
    asked = [*(options.groups or ()), *(options.extras or ())]
    stated = next(iter(asked), "")
    if stated in target.BASE_GROUPS and stated not in lock.environments:
        stated = "default"
    chosen = target.one_of(lock.environments, stated, "environment", "--group", name)
    lists = lock.environments[chosen].packages
    subdirs = {target.platform_of(subdir): subdir for subdir in lists}
    platform = target.one_of(subdirs, target.platform_of(options.platform), "platform", "--platform", name)
    subdir = subdirs[platform]
    known: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for index, body in enumerate(lock.packages):
        known.setdefault(_address(body), []).append((index, body))
    found = []
    for position, reference in enumerate(lists[subdir]):
        address = _address(reference)
        fitting = known.get(address, [])
        if len(fitting) > 1:  # an address with several builds or variants, told apart by further keys
            fitting = [item for item in fitting if all(item[1].get(key) == value for key, value in reference.items())]
        if not fitting:
            raise MalformedError(
                f"`{name}` ends too early: `{address[:120]}` belongs to `{chosen}`, and is not among its packages",
                hint="it was cut short, or edited; `pixi lock` makes it again",
                where=f"environments.{chosen}.packages.{subdir}[{position}]",
            )
        index, body = fitting[0]
        found.append((f"packages[{index}]", shaped(body, _Package, name, f"{TITLE}, packages[{index}]")))
    return subdir, found


def _address(body: dict[str, Any]) -> str:
    keys = ("conda", "pypi", "conda_source", "source", "url", "path")
    return next((value for key in keys if isinstance(value := body.get(key), str)), "")


def _of_platform(lock: _Lock, name: str, options: Options) -> tuple[str, list[tuple[str, _Package]]]:
    if lock.metadata is None:
        raise MalformedError(f"`{name}` is not {TITLE}: it has neither environments nor platforms")
    subdirs = {target.platform_of(subdir): subdir for subdir in lock.metadata.platforms}
    platform = target.one_of(subdirs, target.platform_of(options.platform), "platform", "--platform", name)
    packages = [
        (f"package[{index}]", shaped(body, _Package, name, f"{TITLE}, package[{index}]"))
        for index, body in enumerate(lock.package)
        if body.get("platform") == subdirs[platform]
    ]
    if not packages and lock.package:
        raise MalformedError(f"`{name}` ends too early: it has no package for {subdirs[platform]}")
    return subdirs[platform], packages


def _facts(package: _Package, where: str) -> Iterator[Fact]:
    digests = package.hash or _Hash(package.md5, package.sha256)
    if package.is_conda:
        yield _conda(package, digests, where)
        return
    address = package.address
    of_index = re.search(r"\.(whl|tar\.gz|zip)$", address.partition("#")[0]) and "://" in address
    given = [f"{kind}:{digest}" for kind, digest in (("sha256", digests.sha256), ("md5", digests.md5)) if digest]
    name, version = package.name, package.version
    if not name:
        raise MalformedError("a PyPI package without a name", where=where)
    yield from locked(
        name,
        version,
        where,
        given=given,
        place="" if of_index else address,
        editable=package.editable,
        requires_python=package.requires_python or "",
    )


def _conda(package: _Package, digests: _Hash, where: str) -> Fact:
    if package.address.endswith((".conda", ".tar.bz2")):
        fact = of_url(package.address, where)
    else:  # built from a source tree, when the environment is installed
        if not package.name:
            raise MalformedError("a conda package without a name", where=where)
        fact = {
            "kind": "conda-package",
            "basis": "locked",
            "name": package.name,
            "version": package.version,
            "build": package.build,
            "subdir": package.subdir if PLATFORMS.fullmatch(package.subdir) else "",
        }
    return proven(fact, where, md5_text=digests.md5, sha256_text=digests.sha256)


def _brought(package: _Package) -> Iterator[Fact]:
    """The distributions that a conda package brings, as the lock itself names them, with its version."""
    version = package.version
    if not version and package.address.endswith((".conda", ".tar.bz2")):
        version = of_url(package.address, "")["version"]
    for text in package.purls or ():
        purl = Purl.of(text)
        if purl is not None and purl.kind == "pypi":
            yield {
                "kind": "distribution",
                "name": purl.distribution,
                "basis": "locked",
                "version": purl.version or version,
            }
