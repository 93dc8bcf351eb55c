"""
Two Environments -> the facts on which they differ. It reads and judges nothing.

Recorded, and never a difference: who installed a distribution, whether it was asked for, where anything lies, the
prefix, the host (kernel, cores, memory), what was imported, the time of taking and the origin. Tooling is left out, and
so is a copy that an earlier entry of the path shadows. What only one side knows is unknown, never added, removed or
equal.
"""

from __future__ import annotations

__all__ = [
    "FLAG_FAMILIES",
    "compare",
    "compare_all",
    "compared",
    "effective",
    "first_of",
    "overview",
    "place",
    "same",
    "same_version",
    "smallest",
    "unmet",
]

from collections.abc import Callable, Iterator
from typing import Any

from envparity.compare import items, machine, native
from envparity.compare.distributions import distributions, effective, place
from envparity.compare.families import first_of
from envparity.compare.machine import FLAG_FAMILIES
from envparity.compare.needs import unmet
from envparity.compare.overview import overview, same
from envparity.compare.remedy import smallest
from envparity.compare.sides import Fact, Sides, unknown, why
from envparity.compare.versions import Stated, same_version
from envparity.values import SECTIONS, Change, Difference, Environment


def compare(before: Environment, after: Environment) -> tuple[Difference, ...]:
    """
    Every fact that the two do not share, in the order of sections, items and fields.

    `before` and `after` of a difference are texts; the side that does not know is the one whose text is empty.
    """
    return compare_all(before, after)[0]


def compared(before: Environment, after: Environment) -> int:
    """How many facts both sides know, equal or not. Zero means that nothing was compared: no answer, not parity."""
    return compare_all(before, after)[1]


def compare_all(before: Environment, after: Environment) -> tuple[tuple[Difference, ...], int]:
    """What `compare` and `compared` say, by one look."""
    facts = list(_facts(before, after))
    differences = {fact for fact in facts if fact is not None}
    count = sum(fact is None or fact.change is not Change.UNKNOWN for fact in facts)
    return tuple(sorted(differences, key=_order)), count


def _order(difference: Difference) -> tuple[int, str, str, str, str, str]:
    section = SECTIONS.index(difference.section) if difference.section in SECTIONS else len(SECTIONS)
    return (section, difference.item, difference.field, difference.change, difference.before, difference.after)


def _facts(before: Environment, after: Environment) -> Iterator[Fact]:
    for section, (count, look) in _SECTIONS.items():
        left, right = getattr(before, section), getattr(after, section)
        if left is not None and right is not None:
            yield from look(Sides(section, before, after), left, right)
        elif left is not None:
            yield unknown(section, "", "", before=count(left), note=why(after, section))
        elif right is not None:
            yield unknown(section, "", "", after=count(right), note=why(before, section))


def _count(noun: str) -> Callable[[Any], str]:
    return lambda items: f"{len(items)} {noun}"


_SECTIONS: dict[str, tuple[Callable[[Any], str], Callable[[Sides, Any, Any], Iterator[Fact]]]] = {
    "python": (lambda python: Stated.of(python).text or "recorded", machine.python),
    "system": (lambda system: system.name or machine.release(system) or system.os or "recorded", machine.system),
    "cpu": (lambda cpu: cpu.model or cpu.isa_level or "recorded", machine.cpu),
    "accelerators": (machine.devices_in_words, machine.accelerators),
    "distributions": (_count("distributions"), distributions),
    "conda_packages": (_count("packages"), items.conda_packages),
    "os_packages": (_count("packages"), items.os_packages),
    "native_libraries": (_count("files"), native.native_libraries),
    "numerics": (lambda numerics: f"{len(numerics.libraries)} libraries", native.numerics),
    "settings": (lambda settings: f"{len(settings.variables)} variables", items.settings),
    "source_code": (lambda code: code.commit[:12] or code.script or "recorded", items.source_code),
    "artifacts": (_count("files"), items.artifacts),
}
"""The sections that are compared, how one is summed up where the other side lacks it, and how two are compared."""
