"""Native code: which copies of BLAS, OpenMP and GPU libraries there are, and what running code says of its numbers."""

from __future__ import annotations

from collections.abc import Iterator

from envparity.compare.sides import Fact, Sides, joined, listed
from envparity.values import NativeLibrary, NumericLibrary, Numerics


def native_libraries(sides: Sides, left: tuple[NativeLibrary, ...], right: tuple[NativeLibrary, ...]) -> Iterator[Fact]:
    """
    Those with a role, and those that nothing owns, by product and owner: two copies of one product are two. One that a
    package of the system brought is compared as that package.
    """
    yield from listed(sides, _copies(left), _copies(right), "version")


_OF_THE_SYSTEM = frozenset({"dpkg", "rpm", "apk", "interpreter"})


def _copies(libraries: tuple[NativeLibrary, ...]) -> dict[str, str]:
    return joined(
        (
            f"{item.product or item.name} of {item.owner or 'nobody'}",
            item.version or (item.sha256 or item.build_id)[:12] or "present",
        )
        for item in libraries
        if (item.role and item.owner_kind not in _OF_THE_SYSTEM) or not (item.owner or item.owner_kind)
    )


def numerics(sides: Sides, left: Numerics, right: Numerics) -> Iterator[Fact]:
    """The kernel, threads and layer of each loaded copy, the instructions that are used, and the switches."""
    for field in ("version", "kernel", "layer", "threads"):
        have, want = (_said(field, side.libraries) for side in (left, right))
        yield from listed(sides, have, want, field)
    for field in ("baseline", "found", "disabled"):
        have, want = (
            joined((item.library, " ".join(getattr(item, field))) for item in side.dispatch) for side in (left, right)
        )
        yield from listed(sides, have, want, field)
    have, want = (joined((item.name, item.value or "(empty)") for item in side.switches) for side in (left, right))
    yield from listed(sides, have, want, "value")


def _said(field: str, libraries: tuple[NumericLibrary, ...]) -> dict[str, str]:
    return joined(
        (f"{item.product} of {item.owner or item.name}", "" if value is None else str(value))
        for item in libraries
        for value in (getattr(item, field),)
    )
