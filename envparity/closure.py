"""
What needs what: metadata, markers and import names -> the distributions that are needed (pure).

Requirements are read as https://packaging.python.org/specifications/dependency-specifiers/ says, always with the marker
environment of the snapshot, never with that of the interpreter that runs this.
"""

from __future__ import annotations

__all__ = [
    "direct",
    "marker_environment",
    "provider_of",
    "providers_of",
    "provides",
    "required_by",
    "specifiers",
    "tooling",
]

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from typing import TYPE_CHECKING

from envparity.errors import IncompleteError
from envparity.values import python_xy

if TYPE_CHECKING:
    from packaging.markers import Marker

    from envparity.values import Distribution, LockedCondaPackage, Python, System

OURSELVES = "envparity"

_SYSTEMS = {
    "linux": ("posix", "linux", "Linux"),
    "darwin": ("posix", "darwin", "Darwin"),
    "macos": ("posix", "darwin", "Darwin"),
    "windows": ("nt", "win32", "Windows"),
    "win32": ("nt", "win32", "Windows"),
}
"""Operating system -> `os_name`, `sys_platform`, `platform_system`."""

_IMPLEMENTATIONS = {"cpython": "CPython", "pypy": "PyPy", "graalpy": "GraalVM", "ironpython": "IronPython"}
"""`implementation_name` -> `platform_python_implementation`."""

_REQUESTS_ALL = frozenset(["uv"])
"""Installers that write REQUESTED for everything, so that it says nothing (seen: uv 0.13)."""

_NAME = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")


def marker_environment(python: Python, system: System | None) -> dict[str, str]:
    """
    The values of every marker variable in the place that a snapshot describes.

    The kernel's release and version are not part of what an image carries, so `platform_release` and
    `platform_version` are empty. A system that is not known is taken for Linux, the only one that can be built.

    Raises:
        IncompleteError: the snapshot does not know the version of its interpreter.
    """
    if not python.version:
        raise IncompleteError(
            "the exact version of the interpreter is not known, so no marker can be evaluated",
            hint="take the snapshot from the environment itself: `envparity snapshot venv:DIR`",
        )
    os_name, sys_platform, platform_system = _SYSTEMS.get(system.os.lower() if system else "", _SYSTEMS["linux"])
    implementation = python.implementation.lower() or "cpython"
    return {
        "implementation_name": implementation,
        "implementation_version": python.version,
        "os_name": os_name,
        "platform_machine": system.machine if system else "",
        "platform_python_implementation": _IMPLEMENTATIONS.get(implementation, python.implementation),
        "platform_release": "",
        "platform_system": platform_system,
        "platform_version": "",
        "python_full_version": python.version,
        "python_version": python_xy(python.version),
        "sys_platform": sys_platform,
    }


def required_by(
    distributions: Iterable[Distribution], roots: Iterable[str], marker_env: Mapping[str, str]
) -> frozenset[str]:
    """
    The installed distributions that `roots` need, the installed roots themselves included.

    Args:
        distributions: all that are installed; a copy that no import finds (shadowed, vendored) is passed over.
        roots: names, with the extras that were asked for where they are known (`uvicorn[standard]`).
        marker_env: what `marker_environment` gives.

    Returns:
        Normalised names. A requirement that is not installed is not in it: what is missing is another question.
    """
    return _reach(_edges(distributions, marker_env), roots, barred=frozenset())


def direct(distributions: Iterable[Distribution], marker_env: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """
    What each of some distributions requires itself, of the others among them; `()` where it requires none.

    An extra counts for the distribution that it belongs to, where any of the others asks for it.
    """
    edges = _edges(distributions, marker_env)
    found: dict[str, set[str]] = {name: set() for name in edges}
    for name, extra in _nodes_reached(edges, edges, barred=frozenset()):
        found[name] |= {required for required, _ in edges[name].get(extra, ()) if required in edges}
    return {name: tuple(sorted(required - {name})) for name, required in sorted(found.items())}


def tooling(
    distributions: Iterable[Distribution], marker_env: Mapping[str, str], modules: Iterable[str] = ()
) -> frozenset[str]:
    """
    envparity itself, and what is installed for its sake alone.

    That is what its metadata requires, directly or not, unless the user asked for it by name (`requested`, where the
    installer tells that from what was merely required), or a path of requirements from any distribution outside this
    set reaches it, or a model refers to one of its modules (`modules`, dotted). Which extras of a distribution somebody
    once asked for is recorded nowhere, so only extras that a requirement names are followed: an environment gives the
    same lock whether envparity is installed in it or not.
    """
    installed = tuple(distributions)
    edges = _edges(installed, marker_env)
    if OURSELVES not in edges:
        return frozenset()
    candidates = _reach(edges, [OURSELVES], barred=frozenset())
    wanted = {
        each.name for each in installed if each.requested and each.installer not in _REQUESTS_ALL and each.importable
    }
    wanted |= {name for names in providers_of(modules, installed).values() for name in names}
    others = (edges.keys() - candidates) | wanted
    return candidates - _reach(edges, others, barred=frozenset([OURSELVES]))


def specifiers(requires: Iterable[str], marker_env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What a distribution requires whatever extras it was installed with, as pairs of name and specifier."""
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    for text in requires:
        try:
            found = Requirement(text)
            holds = found.marker is None or found.marker.evaluate({**marker_env, "extra": ""})
        except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName):
            continue
        if holds:
            yield canonicalize_name(found.name), str(found.specifier)


def provides(distributions: Iterable[Distribution]) -> dict[str, tuple[str, ...]]:
    """
    Which distributions bring an import name: `sklearn` -> `("scikit-learn",)`.

    Several share one where it is a namespace (`google`). A shadowed or vendored copy brings nothing.
    """
    owners: dict[str, set[str]] = {}
    for each in distributions:
        if each.importable:
            for name in each.import_names:
                owners.setdefault(name, set()).add(each.name)
    return {name: tuple(sorted(owners[name])) for name in sorted(owners)}


def provider_of(module: str, table: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """
    Which distributions a module can come from, by its longest known prefix in the table of `provides`; `()` if none.

    `sklearn.linear_model._logistic` is found under `sklearn`, `google.cloud.storage.blob` under `google.cloud.storage`
    where that is listed, and only else under `google`.
    """
    return next((table[prefix] for prefix in _prefixes(module) if prefix in table), ())


def providers_of(modules: Iterable[str], distributions: Iterable[Distribution]) -> dict[str, tuple[str, ...]]:
    """Each module that a model refers to, with the distributions that it can come from (`()` where there is none)."""
    table = provides(distributions)
    return {module: provider_of(module, table) for module in sorted(set(modules))}


def _prefixes(module: str) -> Iterator[str]:
    """`a.b.c` -> `a.b.c`, `a.b`, `a`."""
    while module:
        yield module
        module = module.rpartition(".")[0]


_Edges = dict[str, Mapping[str, frozenset[tuple[str, str]]]]
"""Distribution -> extra (`""` for none) -> what that requires, as pairs of name and extra."""


def _edges(distributions: Iterable[Distribution], marker_env: Mapping[str, str]) -> _Edges:
    """Read all requirements once. Extras that no marker mentions need no row: they add nothing."""
    importable = [each for each in distributions if each.importable]
    installed = frozenset(each.name for each in importable)
    place = tuple(marker_env.items())
    return {each.name: _requirements(each.requires, place, installed) for each in importable}


_Place = tuple[tuple[str, str], ...]
"""A marker environment as a value."""


@lru_cache(maxsize=1 << 13)
def _requirements(
    texts: tuple[str, ...], marker_env: _Place, installed: frozenset[str]
) -> Mapping[str, frozenset[tuple[str, str]]]:
    """What is not installed leads nowhere, and its conditions, most of all, need not be read."""
    rows: dict[str, set[tuple[str, str]]] = {"": set()}
    for text in texts:
        named = _NAME.match(text)
        if named is None or _canonical(named[1]) not in installed:
            continue
        extras, marker = _parsed(text) or ((), "")
        name = _canonical(named[1])
        needs = {(name, ""), *((name, extra) for extra in extras)}
        if not marker:
            rows[""] |= needs
            continue
        for extra in {"", *_extras_named(marker)}:
            if _holds(marker, marker_env, extra):
                rows.setdefault(_canonical(extra) if extra else "", set()).update(needs)
    return {extra: frozenset(needs) for extra, needs in rows.items()}


@lru_cache(maxsize=1 << 14)
def _parsed(text: str) -> tuple[tuple[str, ...], str] | None:
    """
    The extras and the marker of a requirement; `None` of what today's grammar refuses (`foo (>=1.*)`). Its name still
    says what is needed.

    What most metadata holds is read by one pattern that admits less than the grammar, since its parser takes a hundred
    times as long; a test holds the two together.
    """
    from packaging.markers import InvalidMarker
    from packaging.requirements import InvalidRequirement, Requirement

    plain = _PLAIN.fullmatch(text)
    try:
        if plain is None:
            found = Requirement(text)
            extras = tuple(map(_canonical, found.extras))
            return extras, str(found.marker) if found.marker is not None else ""
        marker = (plain["marker"] or "").strip()
        if plain["marker"] is not None and not _OF_EXTRA.fullmatch(marker):
            _marker(marker)
    except (InvalidRequirement, InvalidMarker):
        return None
    return (), marker


_RELEASE = r"[0-9]+(?:\.[0-9]+)*"
_LIMIT = rf"(?:(?:[<>]=?|[!=]=)\s*{_RELEASE}|[!=]=\s*{_RELEASE}\.\*|~=\s*{_RELEASE}\.[0-9]+)"
_LIMITS = rf"{_LIMIT}(?:\s*,\s*{_LIMIT})*"
_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_PLAIN = re.compile(rf"{_WORD}\s*(?:{_LIMITS}|\(\s*{_LIMITS}\s*\))?\s*(?:;(?P<marker>.*))?")
_OF_EXTRA = re.compile(rf"""extra\s*==\s*(?P<quote>["'])(?P<extra>{_WORD})(?P=quote)""")


@lru_cache(maxsize=1 << 12)
def _marker(text: str) -> Marker:
    from packaging.markers import Marker

    return Marker(text)


@lru_cache(maxsize=1 << 13)
def _holds(marker: str, marker_env: _Place, extra: str) -> bool:
    """Whether a condition does; a comparison that has no answer is no reason to lose a distribution."""
    only = _OF_EXTRA.fullmatch(marker)
    if only is not None:
        return _canonical(only["extra"]) == _canonical(extra)
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName

    try:
        return _marker(marker).evaluate({**dict(marker_env), "extra": extra})
    except (UndefinedComparison, UndefinedEnvironmentName):
        return True


@lru_cache(maxsize=1 << 12)
def _canonical(name: str) -> str:
    """A name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _extras_named(marker: str) -> set[str]:
    """The extras that a marker's text mentions (`extra == "cli"`, or the other way round)."""
    found = re.findall(r"""\bextra\s*[!=]=+\s*["']([^"']+)["']|["']([^"']+)["']\s*[!=]=+\s*extra\b""", marker)
    return {one or other for one, other in found}


def _reach(edges: _Edges, roots: Iterable[str], *, barred: frozenset[str]) -> frozenset[str]:
    """Everything that can be reached from `roots` without passing through `barred`."""
    return frozenset(name for name, _ in _nodes_reached(edges, roots, barred=barred))


def _nodes_reached(edges: _Edges, roots: Iterable[str], *, barred: frozenset[str]) -> set[tuple[str, str]]:
    """The same as pairs of name and extra."""
    waiting = [node for root in roots for node in _nodes(root)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        node = waiting.pop()
        name, extra = node
        if node in seen or name in barred or name not in edges:
            continue
        seen.add(node)
        waiting.extend(edges[name].get(extra, ()))
    return seen


def _nodes(root: str) -> Iterator[tuple[str, str]]:
    from packaging.utils import canonicalize_name

    name, _, extras = root.partition("[")
    name = canonicalize_name(name.strip())
    yield name, ""
    for extra in filter(None, (each.strip() for each in extras.rstrip("] ").split(","))):
        yield name, canonicalize_name(extra)


def conda_order(packages: Sequence[LockedCondaPackage]) -> tuple[LockedCondaPackage, ...]:
    """The packages, each after what it requires; of a circle, and of equals, by name."""
    by_name = {item.name: item for item in packages}
    done: dict[str, LockedCondaPackage] = {}

    for start in sorted(by_name):
        stack, seen = [(start, iter(conda_required(by_name[start], by_name.keys())))], {start}
        while stack:
            name, left = stack[-1]
            following = next((one for one in left if one not in done and one not in seen), None)
            if following is None:
                done.setdefault(name, by_name[name])
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(conda_required(by_name[following], by_name.keys()))))
    return tuple(done.values())


def conda_required(item: LockedCondaPackage, known: Set[str]) -> list[str]:
    """The names among these of what a conda package requires."""
    names = {re.split(r"[ =<>!~\[]", text.strip(), maxsplit=1)[0] for text in item.depends}
    return sorted(names & known)
