"""
A `uv.lock` (https://docs.astral.sh/uv/concepts/projects/layout/#the-lockfile): every package of every platform, and the
graph that says under which conditions each of them is installed.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from envparity import codec, markers
from envparity.collectors.tree import gap
from envparity.errors import MalformedError
from envparity.sources.documents import locked, once_each, places_of, python, require_version, shaped
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin
from envparity.values import Environment

TITLE = "a lock of uv"
VERSIONS = (1,)

_MOST_CASES = 32
"""How many alternatives the condition of one package may have before only its nearest ones are kept."""

Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _Artifact(Struct, frozen=True):
    url: str = ""
    path: str = ""
    hash: str = ""
    size: Size | None = None


class _Reference(Struct, frozen=True):
    """An edge of the graph. `version` and `source` stand there only where a name has several."""

    name: str
    version: str = ""
    source: dict[str, Any] = {}
    marker: str = ""
    extra: tuple[str, ...] = ()


class _Package(Struct, frozen=True, rename="kebab"):
    name: str
    source: dict[str, Any]
    version: str = ""
    resolution_markers: tuple[str, ...] = ()
    dependencies: tuple[_Reference, ...] = ()
    optional_dependencies: dict[str, tuple[_Reference, ...]] = {}
    dev_dependencies: dict[str, tuple[_Reference, ...]] = {}
    sdist: _Artifact | None = None
    wheels: tuple[_Artifact, ...] = ()
    metadata: dict[str, Any] | None = None


class _Manifest(Struct, frozen=True, rename="kebab"):
    members: tuple[str, ...] = ()
    requirements: tuple[_Reference, ...] = ()
    dependency_groups: dict[str, tuple[_Reference, ...]] = {}


class _Lock(Struct, frozen=True, rename="kebab"):
    version: int
    revision: int = 0
    requires_python: str = ""
    manifest: _Manifest = field(default_factory=_Manifest)
    package: tuple[_Package, ...] = ()


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that a `uv.lock` fixes: each package with the condition under which uv installs it, in the words of
    PEP 751 (`'gpu' in extras`, `'dev' in dependency_groups`). What only another member of a workspace needs has the
    name of that member as its group: `uv sync` leaves it out, unless it is told `--package`.

    Raises:
        UnsupportedError: a version of the format that is not known. MalformedError: not TOML, another shape, cut short:
        a package requires one that is not there.
    """
    document = codec.load_toml(data, f"`{name}`")
    hint = "`uv export --format pylock.toml -o pylock.toml` makes a file that is read"
    require_version(document, VERSIONS, name, TITLE, hint)
    lock = shaped(document, _Lock, name, TITLE)
    if not lock.package and not name.endswith(".py.lock"):
        # The project itself is always a package; the lock of a script that needs nothing has none.
        raise MalformedError(
            f"`{name}` ends too early: it has no packages", hint="it was cut short; `uv lock` makes it again"
        )
    conditions = _Graph(lock, name).conditions()
    found: list[Fact] = [{"kind": "section", "section": "distributions"}]
    for index, package in enumerate(lock.package):
        found += _package(package, f"package[{index}]", conditions.get(index, ""))
    found = once_each(found, name) + list(_lost(lock))
    unknown = not_recorded(all_but("distributions", "python"), "a uv.lock cannot carry it")
    return codec.environment([*found, *python(lock.requires_python), *unknown], origin("uv-lock", name))


def _package(package: _Package, where: str, marker: str) -> list[Fact]:
    source = package.source
    if "virtual" in source:
        return []  # the project itself, which is not installed
    files = [*package.wheels, *([package.sdist] if package.sdist else [])]
    return locked(
        package.name,
        package.version,
        where,
        given=[item.hash for item in files if item.hash],
        marker=marker,
        place=places_of(source),
        editable="editable" in source,
    )


def _lost(lock: _Lock) -> Iterator[Fact]:
    """What uv always writes of a package, and what is not there: the lock was cut within the package."""
    known = {(package.name, extra) for package in lock.package for extra in package.optional_dependencies}
    for package in lock.package:
        if "registry" in package.source and not package.wheels and package.sdist is None:
            yield gap("distributions", "unread", "its files are not in the lock: cut short", package.name)
        lists = (package.optional_dependencies, package.dev_dependencies, {"": package.dependencies})
        for reference in (item for table in lists for references in table.values() for item in references):
            for extra in reference.extra:
                if (reference.name, extra) not in known:
                    reason = f"`{package.name}` requires its extra `{extra}`, which is not in the lock"
                    yield gap("distributions", "unread", reason, reference.name)


class _Graph:
    """
    Who requires whom. A node is a package, or an extra of one; a root is a project of the workspace.

    The condition of a node is a set of alternatives, each a set of markers that hold together: what stands on one way
    from a root. A way whose markers another way needs too adds nothing.
    """

    def __init__(self, lock: _Lock, name: str) -> None:
        self._lock = lock
        self._name = name
        self._by_name: dict[str, list[int]] = {}
        for index, package in enumerate(lock.package):
            self._by_name.setdefault(package.name, []).append(index)
        self._shortened = False
        self._roots = [index for index, package in enumerate(lock.package) if self._is_root(package)]
        self._require_roots()

    def _is_root(self, package: _Package) -> bool:
        if self._lock.manifest.members:
            return package.name in self._lock.manifest.members
        return "virtual" in package.source or "." in (package.source.get("editable"), package.source.get("directory"))

    def _require_roots(self) -> None:
        manifest = self._lock.manifest
        missing = [
            f"`{member}`, a member of the workspace," for member in manifest.members if member not in self._by_name
        ]
        if not self._roots and not manifest.requirements and not manifest.dependency_groups and self._lock.package:
            missing.append("the project itself")
        for root in self._roots:
            package = self._lock.package[root]
            needs = package.dependencies or package.optional_dependencies or package.dev_dependencies
            if needs and package.metadata is None and self._lock.revision:
                missing.append(f"the end of `{package.name}`")
        if missing:
            raise self._cut(f"{missing[0]} is not in it")

    def _cut(self, what: str, where: str = "") -> MalformedError:
        hint = "it was cut short, or edited; `uv lock` makes it again"
        return MalformedError(f"`{self._name}` ends too early: {what}", hint=hint, where=where)

    def conditions(self) -> dict[int, str]:
        """The marker of each package by its place in the lock."""
        reached: dict[tuple[int, str], set[frozenset[str]]] = {}
        queue: deque[tuple[int, str]] = deque()

        def reach(reference: _Reference, ways: set[frozenset[str]], where: str) -> None:
            for index in self._targets(reference, where):
                for extra in ("", *reference.extra):
                    marker = _standard(reference.marker)
                    more = {way | {marker} if marker else way for way in ways}
                    if self._add(reached, (index, extra), more):
                        queue.append((index, extra))

        always = {frozenset[str]()}
        for number, reference in enumerate(self._lock.manifest.requirements):
            reach(reference, always, f"manifest.requirements[{number}]")
        tops = [root for root in self._roots if "." in self._lock.package[root].source.values()] or self._roots
        for root in self._roots:
            package = self._lock.package[root]
            way = frozenset[str]() if root in tops else frozenset({markers.in_groups(package.name)})
            self._add(reached, (root, ""), {way})
            queue.append((root, ""))
            for extra in package.optional_dependencies:
                self._add(reached, (root, extra), {way | {markers.in_extras(extra)}})
                queue.append((root, extra))
            for group, references in package.dev_dependencies.items():
                for reference in references:
                    where = f"package[{root}].dev-dependencies.{group}"
                    reach(reference, {way | {markers.in_groups(group)}}, where)
        while queue:
            index, extra = queue.popleft()
            package = self._lock.package[index]
            references = package.optional_dependencies.get(extra, ()) if extra else package.dependencies
            for reference in references:
                reach(reference, reached[index, extra], f"package[{index}]")
        for index, package in enumerate(self._lock.package):
            if (index, "") not in reached:
                # uv keeps nothing that nothing requires: what required it is gone.
                raise self._cut(f"what requires `{package.name}` is not in it", f"package[{index}]")
        return {
            index: markers.both(_written(ways), self._range(index))
            for (index, extra), ways in reached.items()
            if not extra
        }

    def _range(self, index: int) -> str:
        """
        Where uv resolved to this version of several. The ways to a package say so too, unless they were too many to be
        kept.
        """
        package = self._lock.package[index]
        if not self._shortened or len(self._by_name[package.name]) == 1:
            return ""
        return markers.either(_standard(marker) for marker in package.resolution_markers)

    def _add(
        self, reached: dict[tuple[int, str], set[frozenset[str]]], node: tuple[int, str], more: set[frozenset[str]]
    ) -> bool:
        """Add ways to a node; whether that told anything new."""
        ways = reached.get(node, set())
        added = {way for way in more if not any(known <= way for known in ways)}
        if not added:
            return False
        joined = {way for way in ways | added if not any(other < way for other in ways | added)}
        if len(joined) > _MOST_CASES:
            # More ways than anybody reads: of each only the markers that all ways share are kept.
            joined = {frozenset.intersection(*joined)}
            self._shortened = True
        changed = joined != ways
        reached[node] = joined
        return changed

    def _targets(self, reference: _Reference, where: str) -> list[int]:
        candidates = self._by_name.get(reference.name, [])
        fitting = [
            index
            for index in candidates
            if (not reference.version or self._lock.package[index].version == reference.version)
            and (not reference.source or self._lock.package[index].source == reference.source)
        ]
        if not fitting:
            raise self._cut(f"`{reference.name}` is required, and not in it", where)
        return fitting


_CONFLICT = re.compile(r"""extra\s*(==|!=)\s*(?:'|")(extra|group)-(\d+)-([^'"]*)(?:'|")""")


def _standard(marker: str) -> str:
    """
    A marker of uv in the words of PEP 751. Where extras exclude each other, uv writes `extra == 'extra-7-project-cpu'`
    for the extra `cpu` of `project`; the number is the length of the project's name.
    """

    def written(found: re.Match[str]) -> str:
        operator, kind, length, rest = found.groups()
        name = rest[int(length) + 1 :] if int(length) < len(rest) else rest
        condition = markers.in_extras(name) if kind == "extra" else markers.in_groups(name)
        return condition if operator == "==" else condition.replace(" in ", " not in ", 1)

    return _CONFLICT.sub(written, marker)


def _written(ways: set[frozenset[str]]) -> str:
    def alternatives() -> Iterator[str]:
        for way in sorted(ways, key=sorted):
            yield markers.both(*sorted(way))

    return markers.either(alternatives())
