"""
A `conda-lock.yml` (https://conda.github.io/conda-lock/output/): the exact conda and pip packages of several platforms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from envparity import codec
from envparity.collectors.tree import gap
from envparity.errors import MalformedError
from envparity.sources import target
from envparity.sources.conda_specs import NO_DISTRIBUTIONS, of_url, proven, python_of, system_of
from envparity.sources.documents import locked, require_version, shaped
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin
from envparity.values import Environment

TITLE = "a lock of conda-lock"
VERSIONS = (1, 2)


class _Hash(Struct, frozen=True):
    md5: str | None = None
    sha256: str | None = None


class _Package(Struct, frozen=True):
    """One entry. Version 1 of the format has one `category`, version 2 several `categories`."""

    name: str
    version: str
    manager: str
    platform: str
    url: str
    hash: _Hash
    dependencies: dict[str, str] = field(default_factory=dict)
    category: str = ""
    categories: tuple[str, ...] = ()
    optional: bool | None = None

    @property
    def groups(self) -> tuple[str, ...]:
        return self.categories or (self.category or "main",)


class _Metadata(Struct, frozen=True):
    platforms: tuple[str, ...]


class _Lock(Struct, frozen=True):
    version: int
    metadata: _Metadata
    package: tuple[_Package, ...]


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that a `conda-lock.yml` fixes for one platform, and for the categories that were asked for.

    Raises:
        UnsupportedError: a version of the format that is not known. UsageError: the platform or a category is not in
        it. TargetNeededError: it has several, and nobody said which. MalformedError: not YAML, another shape, cut.
    """
    document = codec.load_yaml(data, f"`{name}`", foreign=True)
    require_version(document, VERSIONS, name, TITLE, "`conda-lock render -k explicit` makes files that are read")
    lock = shaped(document, _Lock, name, TITLE)
    missing = [
        platform for platform in lock.metadata.platforms if not any(p.platform == platform for p in lock.package)
    ]
    if lock.package and missing:
        raise MalformedError(
            f"`{name}` ends too early: it has no package for {missing[0]}",
            hint="it was cut short; `conda-lock` makes it again",
        )
    subdirs = {target.platform_of(subdir): subdir for subdir in lock.metadata.platforms}
    platform = target.one_of(subdirs, target.platform_of(options.platform), "platform", "--platform", name)
    for subdir in lock.metadata.platforms:
        _require_whole([package for package in lock.package if package.platform == subdir], lock.version, name)
    packages = [package for package in lock.package if package.platform == subdirs.get(platform, platform)]
    kept = [package for package in packages if _asked_for(package, packages, options, name)]
    _refuse_twice(kept, name)
    facts = [fact for index, package in enumerate(kept) for fact in _facts(package, f"{package.platform}[{index}]")]
    conda = [fact for fact in facts if fact["kind"] == "conda-package"]
    return codec.environment(
        [
            {"kind": "section", "section": "conda_packages"},
            {"kind": "section", "section": "distributions"},
            *facts,
            *_missing(packages),
            *python_of(conda),
            *system_of(subdirs[platform]),
            gap("distributions", "not-recorded", NO_DISTRIBUTIONS),
            *not_recorded(
                all_but("conda_packages", "distributions", "python", "system"), "a conda-lock cannot carry it"
            ),
        ],
        origin("conda-lock", name),
    )


def _asked_for(package: _Package, packages: Iterable[_Package], options: Options, name: str) -> bool:
    present = sorted({group for item in packages for group in item.groups})
    if options.groups is None and options.extras is None:
        if len(present) > 1:
            target.one_of(present, "", "category", "--group", name)
        return True
    asked = {*(options.groups or ()), *(options.extras or ())}
    unknown = sorted(asked - {*present, *target.BASE_GROUPS})
    if unknown:
        target.one_of(present, unknown[0], "category", "--group", name)
    return bool({*asked, "main"} & set(package.groups))


def _require_whole(packages: list[_Package], version: int, name: str) -> None:
    """
    YAML that is cut between two entries is still YAML. What a conda package requires is in the lock, except for virtual
    packages (`__glibc`); so what is not there was cut off.
    """
    names = {package.name for package in packages}
    for package in packages:
        missing = next((needed for needed in package.dependencies if needed not in names), "")
        incomplete = package.optional is None and version == 1 and not package.name.startswith("__")
        if (missing and package.manager == "conda" and not missing.startswith("__")) or incomplete:
            what = f"`{missing}`, which `{package.name}` requires," if missing else f"the end of `{package.name}`"
            raise MalformedError(
                f"`{name}` ends too early: {what} is not in it",
                hint="it was cut short, or edited; `conda-lock` makes it again",
            )


def _missing(packages: list[_Package]) -> Iterator[Fact]:
    """
    What a pip package requires and nothing in the lock is called: it was cut off, or a conda package of another name
    brings it.
    """
    names = {_pip_name(package.name) for package in packages}
    missing = {
        _pip_name(needed): package.name
        for package in packages
        if package.manager == "pip"
        for needed in package.dependencies
        if _pip_name(needed) not in names
    }
    for needed, by in sorted(missing.items()):
        yield gap("distributions", "unread", f"`{by}` requires it, and nothing in the lock is called so", needed)


def _pip_name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def _refuse_twice(packages: Iterable[_Package], name: str) -> None:
    seen: dict[tuple[str, str], _Package] = {}
    for package in packages:
        key = (package.manager, package.name)
        first = seen.setdefault(key, package)
        if first is not package and (first.url, first.hash) != (package.url, package.hash):
            raise MalformedError(
                f"`{name}` locks `{package.name}` for {package.platform} twice, as {first.version} and as "
                f"{package.version}",
                hint="make the lock again",
            )


def _facts(package: _Package, where: str) -> Iterator[Fact]:
    if package.manager == "pip":
        given = [
            f"{kind}:{digest}"
            for kind, digest in (("sha256", package.hash.sha256), ("md5", package.hash.md5))
            if digest
        ]
        yield from locked(package.name, package.version, where, given=given, place=_place(package.url))
    elif package.manager == "conda" and package.name.startswith("__"):
        # It stands for the machine; what looks like its address is a file of the machine that made the lock.
        yield {
            "kind": "conda-package",
            "basis": "locked",
            "name": package.name,
            "version": package.version,
            "virtual": True,
        }
    elif package.manager == "conda":
        fact = of_url(package.url, where)
        if (fact["name"], fact["version"]) != (package.name, package.version):
            raise MalformedError(
                f"`{package.name}` {package.version} comes from an archive of `{fact['name']}` {fact['version']}",
                where=where,
            )
        if not package.hash.md5 and not package.hash.sha256:
            raise MalformedError(f"`{package.name}` has no hash", where=where)
        yield proven(fact, where, md5_text=package.hash.md5 or "", sha256_text=package.hash.sha256 or "")
    else:
        raise MalformedError(f"`{package.manager[:80]}` is neither conda nor pip", where=f"{where}.manager")


def _place(url: str) -> str:
    """The address of a pip package where that is no file of an index."""
    return "" if re.search(r"\.(whl|tar\.gz|zip)$", url) else url
