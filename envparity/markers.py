"""
Conditions of requirements (PEP 508 markers, with the `extras` and `dependency_groups` of PEP 751), asked of a place.

The place is described, and never the machine that asks. What is not known of it stays not known: the answer is yes, no,
or `None`, and `None` only where what is unknown could change it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from envparity.errors import MalformedError, excerpt
from envparity.values import python_xy

if TYPE_CHECKING:
    from packaging.markers import Marker

LONGEST = 64 << 10
"""Characters of one marker. uv writes some of thousands, where extras exclude each other."""

VARIABLES = (
    *("python_version", "python_full_version", "implementation_name", "implementation_version"),
    *("os_name", "sys_platform", "platform_machine", "platform_system", "platform_python_implementation"),
    *("platform_release", "platform_version", "extras", "dependency_groups"),
)
_VARIABLE = re.compile(rf"\b({'|'.join(VARIABLES)})\b")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_TOKEN = re.compile(r"""\s*(?:(?P<quoted>'[^']*'|"[^"]*")|(?P<mark>[()])|(?P<word>[^\s()'"]+))""")
_DEEPEST = 50

_SYSTEMS = {
    "linux": ("posix", "linux", "Linux"),
    "darwin": ("posix", "darwin", "Darwin"),
    "windows": ("nt", "win32", "Windows"),
}


def of_place(*, version: str = "", implementation: str = "", system: str = "", machine: str = "") -> dict[str, str]:
    """
    The variables of markers that are known of a place.

    Args:
        version: of Python: `3.11.7`, or `3.11` where no more is known.
        implementation: `cpython` or `pypy`.
        system: `linux`, `darwin` or `windows`.
        machine: as `platform.machine()` says it.
    """
    implementation = implementation.lower()
    os_name, sys_platform, platform_system = _SYSTEMS.get(system.lower(), ("", "", ""))
    full = version if version.count(".") >= 2 else ""
    values = {
        "python_version": python_xy(version),
        "python_full_version": full,
        "implementation_name": implementation,
        "implementation_version": full if implementation == "cpython" else "",
        "platform_python_implementation": {"cpython": "CPython", "pypy": "PyPy"}.get(implementation, ""),
        "os_name": os_name,
        "sys_platform": sys_platform,
        "platform_system": platform_system,
        "platform_machine": machine,
    }
    return {name: value for name, value in values.items() if value}


def holds(
    marker: str,
    known: Mapping[str, str],
    *,
    extras: Collection[str] | None = None,
    groups: Collection[str] | None = None,
) -> bool | None:
    """
    Whether a marker holds in a place; `None` where that depends on what is not known, or it is no marker.

    `extras` and `groups` are those that were asked for; `None` where nobody said. `extra`, which belongs to the
    metadata of a distribution, is empty.
    """
    if len(marker) > LONGEST:
        return None
    sets = {"extras": extras, "dependency_groups": groups}
    try:
        return _Question(marker, known, {name: frozenset(value) for name, value in sets.items() if value is not None})()
    except (ValueError, RecursionError):
        return None


def valid(marker: str, where: str = "") -> str:
    """
    The marker as it is kept, or an empty text for none.

    Raises:
        MalformedError: it is not one, or longer or deeper than any that a tool writes.
    """
    from packaging.markers import InvalidMarker

    if not marker.strip():
        return ""
    if len(marker) > LONGEST:
        raise MalformedError(f"a marker of {len(marker):,} characters", where=where)
    try:
        _parsed(marker)
    except (InvalidMarker, RecursionError) as error:
        cause = "nested too deep" if isinstance(error, RecursionError) else "no condition that PEP 508 knows"
        raise MalformedError(f"`{excerpt(marker)}` is {cause}", where=where) from error
    return marker.strip()


def both(*markers: str) -> str:
    """The marker that holds where all of these hold."""
    kept = list(dict.fromkeys(marker.strip() for marker in markers if marker.strip()))
    if len(kept) == 1:
        return kept[0]
    return " and ".join(f"({marker})" if _has_word(marker, "or") else marker for marker in kept)


def either(markers: Iterable[str]) -> str:
    """The marker that holds where one of these holds; empty where one of them always does, or there is none."""
    kept = list(dict.fromkeys(marker.strip() for marker in markers))
    if "" in kept:
        return ""
    if len(kept) == 1:
        return kept[0]
    return " or ".join(f"({marker})" if _has_word(marker, "and") else marker for marker in kept)


def in_extras(extra: str) -> str:
    """The condition of what belongs to an extra of the project itself (PEP 751)."""
    return f"'{extra}' in extras"


def in_groups(group: str) -> str:
    """The condition of what belongs to a group of the project itself (PEP 751)."""
    return f"'{group}' in dependency_groups"


_NAMED = re.compile(r"""['"]([^'"]*)['"]\s+(?:not\s+)?in\s+(extras|dependency_groups)\b""")


def named(marker: str) -> Iterator[tuple[str, str]]:
    """The extras and groups that a marker asks for, as pairs of `extras` or `dependency_groups` and the name."""
    return ((kind, name) for name, kind in _NAMED.findall(marker))


def _has_word(marker: str, word: str) -> bool:
    return re.search(rf"\b{word}\b", _QUOTED.sub("''", marker)) is not None


@lru_cache(maxsize=4096)
def _parsed(marker: str) -> Marker:
    from packaging.markers import Marker

    return Marker(marker)


class _Question:
    """One marker, read as `or` of `and` of comparisons, in a logic that knows a third answer (Kleene's)."""

    def __init__(self, marker: str, known: Mapping[str, str], sets: Mapping[str, frozenset[str]]) -> None:
        self._tokens = list(_tokens(marker))
        self._position = 0
        self._depth = 0
        self._known = known
        self._sets = sets

    def __call__(self) -> bool | None:
        result = self._or()
        if self._position != len(self._tokens):
            raise ValueError("something stands behind the marker")
        return result

    def _next(self) -> str:
        return self._tokens[self._position] if self._position < len(self._tokens) else ""

    def _or(self) -> bool | None:
        answers = [self._and()]
        while self._next() == "or":
            self._position += 1
            answers.append(self._and())
        return True if True in answers else None if None in answers else False

    def _and(self) -> bool | None:
        answers = [self._one()]
        while self._next() == "and":
            self._position += 1
            answers.append(self._one())
        return False if False in answers else None if None in answers else True

    def _one(self) -> bool | None:
        if self._next() == "(":
            self._depth += 1
            if self._depth > _DEEPEST:
                raise ValueError("nested too deep")
            self._position += 1
            answer = self._or()
            if self._next() != ")":
                raise ValueError("a parenthesis is not closed")
            self._position += 1
            self._depth -= 1
            return answer
        start = self._position
        while self._next() not in {"", "and", "or", "(", ")"}:
            self._position += 1
        return self._compared(" ".join(self._tokens[start : self._position]))

    def _compared(self, comparison: str) -> bool | None:
        needed = set(_VARIABLE.findall(_QUOTED.sub("", comparison)))
        missing = needed - self._known.keys() - self._sets.keys()
        if missing == {"python_full_version"} and "python_version" in self._known:
            # Where the last number of the version is not known, the first and a late one may agree.
            minor = self._known["python_version"]
            answers = {self._evaluated(comparison, python_full_version=f"{minor}.{last}") for last in (0, 1, 99)}
            return answers.pop() if len(answers) == 1 else None
        return None if missing else self._evaluated(comparison)

    def _evaluated(self, comparison: str, **more: str) -> bool | None:
        from packaging.markers import InvalidMarker, UndefinedComparison, UndefinedEnvironmentName

        # packaging fills what is missing from the running interpreter, which is not the place that is asked about.
        blank: dict[str, Any] = dict.fromkeys(VARIABLES, "") | {"extras": frozenset(), "dependency_groups": frozenset()}
        try:
            return _parsed(comparison).evaluate({**blank, **self._known, **self._sets, **more, "extra": ""})
        except InvalidMarker as error:
            raise ValueError("not a marker") from error
        except (UndefinedComparison, UndefinedEnvironmentName):
            return None


def _tokens(marker: str) -> Iterator[str]:
    position = 0
    end = len(marker.rstrip())
    while position < end:
        found = _TOKEN.match(marker, position)
        if not found:
            raise ValueError("not a marker")
        position = found.end()
        yield found[0].strip()
