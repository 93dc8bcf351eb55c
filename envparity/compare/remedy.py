"""The smallest change of what is served that clears a verdict."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from envparity.compare.distributions import effective
from envparity.values import Environment, Finding

_MOST_TRIED = 12


class Remedy(NamedTuple):
    """Distributions that are to be as the model had them (`numpy==1.26.4`, `without x`); what fails all the same."""

    pins: tuple[str, ...]
    left: tuple[Finding, ...]


def smallest(before: Environment, after: Environment, failing: Callable[[Environment], Sequence[Finding]]) -> Remedy:
    """
    The fewest distributions of `after` that must be those of `before`, so that only what no such change clears fails.

    Args:
        before: what the model was trained in.
        after: what is served.
        failing: the findings that fail, for `before` against another environment in the place of `after`.
    """
    have, want = effective(before, after), effective(after, before)
    items = [finding.difference.item for finding in failing(after)]
    wanted = [name for name in dict.fromkeys(items) if name in have or name in want]
    left = tuple(failing(_with(before, after, wanted))) if wanted else tuple(failing(after))
    if len(wanted) <= _MOST_TRIED:
        for name in list(wanted):
            fewer = [other for other in wanted if other != name]
            if len(failing(_with(before, after, fewer))) <= len(left):
                wanted = fewer
    pins = []
    for name in sorted(wanted):
        found = have.get(name)
        stated = found and (f"=={found.version}" if found.version else found.specifier)
        pins.append(f"{found.name}{stated}" if found else f"without {name}")
    return Remedy(tuple(pins), left)


def _with(before: Environment, after: Environment, names: Collection[str]) -> Environment:
    """What is served, with some of its distributions as the model had them."""
    have, want = effective(before, after), effective(after, before)
    gone = {want[name].name for name in names if name in want}
    kept = [item for item in after.distributions or () if item.name not in gone]
    return replace(after, distributions=(*kept, *(have[name] for name in names if name in have)))
