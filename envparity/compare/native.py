"""Native code: which copies of BLAS, OpenMP and GPU libraries there are, and what running code says of its numbers."""

from __future__ import annotations

from collections.abc import Iterator

from envparity.compare.sides import Fact, Sides, joined, unknown
from envparity.values import Basis, NativeLibrary, NumericLibrary, Numerics


def native_libraries(sides: Sides, left: tuple[NativeLibrary, ...], right: tuple[NativeLibrary, ...]) -> Iterator[Fact]:
    """
    Those with a role, and those that nothing owns, by product and owner: two copies of one product are two. One that a
    package of the system brought is compared as that package.
    """
    have, want = _copies(left), _copies(right)
    for item in sorted(have.keys() | want.keys()):
        if item in have and item in want and _of_one_wheel(sides, have[item] + want[item]):
            yield None  # the wheel is compared by its RECORD, which names the bytes of this file
        elif item in have and item in want:
            yield from _same_copies(sides, item, have[item], want[item])
        else:
            before, after = (_text(side.get(item, [])) for side in (have, want))
            if all(map(_is_seen_by_chance, have.get(item, []) + want.get(item, []))):
                known = {"before": before} if before else {"after": after}
                yield unknown("native_libraries", item, "version", **known, note=_BY_CHANCE)
            else:
                yield sides.presence(item, "version", before, after)


_BY_CHANCE = "what nothing owns is seen only where a process had loaded it, or where files were verified"


def _is_seen_by_chance(copy: NativeLibrary) -> bool:
    """Whether another look at the same place need not have found this one."""
    return not copy.owner and not copy.overridden_by and (copy.basis is Basis.LOADED or copy.role in {"", "extension"})


def _of_one_wheel(sides: Sides, copies: list[NativeLibrary]) -> bool:
    """Whether all of these come from a wheel that both sides have with one RECORD."""
    if {copy.owner_kind for copy in copies} != {"wheel"}:
        return False
    owners = {copy.owner for copy in copies}
    records = {
        item.record_sha256
        for side in (sides.before, sides.after)
        for item in side.distributions or ()
        if item.name in owners and not item.shadowed
    }
    return len(records) == 1 and None not in records


_OF_THE_SYSTEM = frozenset({"dpkg", "rpm", "apk", "interpreter"})


def _copies(libraries: tuple[NativeLibrary, ...]) -> dict[str, list[NativeLibrary]]:
    copies: dict[str, list[NativeLibrary]] = {}
    for item in libraries:
        if (item.role and item.owner_kind not in _OF_THE_SYSTEM) or not (item.owner or item.owner_kind):
            copies.setdefault(f"{item.product or item.name} of {item.owner or 'nobody'}", []).append(item)
    return copies


def _same_copies(sides: Sides, item: str, left: list[NativeLibrary], right: list[NativeLibrary]) -> Iterator[Fact]:
    """Like is compared with like: versions, else what was linked, else the bytes. What one side lacks is unknown."""
    known = [("", "")]
    for field in ("version", "build_id", "sha256"):
        have, want = (
            " and ".join(sorted({str(getattr(copy, field) or "") for copy in side} - {""})) for side in (left, right)
        )
        if have and want:
            yield from sides.texts(item, field, have, want)
            return
        known.append((have, want))
    have, want = next((pair for pair in known if any(pair)), ("", ""))
    if have or want:
        yield from sides.texts(item, "version", have, want)
    else:
        yield None


def _text(copies: list[NativeLibrary]) -> str:
    return " and ".join(sorted({copy.version or copy.build_id[:12] or "present" for copy in copies}))


def numerics(sides: Sides, left: Numerics, right: Numerics) -> Iterator[Fact]:
    """
    The kernel, threads and layer of each loaded copy, the instructions that are used, and the switches. Seeds are left
    out: they tell how a model came to be, and no prediction is made from the state of another process.
    """
    for field in ("version", "kernel", "layer", "threads"):
        have, want = (_said(field, side.libraries) for side in (left, right))
        yield from _of_both(sides, have, want, field)
    for field in ("baseline", "found", "disabled"):
        have, want = (
            joined((item.library, " ".join(getattr(item, field))) for item in side.dispatch) for side in (left, right)
        )
        yield from _of_both(sides, have, want, field)
    have, want = (joined((item.name, item.value or "(empty)") for item in side.switches) for side in (left, right))
    yield from _of_both(sides, have, want, "value")


def _of_both(sides: Sides, left: dict[str, str], right: dict[str, str], field: str) -> Iterator[Fact]:
    """
    Compare what both say. What one of them does not say is not known there: its version of the library does not have
    it, where a gap says so; else the library was not loaded.
    """
    for item in sorted(left.keys() | right.keys()):
        if item in left and item in right:
            yield from sides.texts(item, field, left[item], right[item])
        else:
            known = {"before": left[item]} if item in left else {"after": right[item]}
            silent = sides.after if item in left else sides.before
            said = (gap.reason for gap in silent.gaps if (gap.section, gap.item) == ("numerics", item))
            yield unknown("numerics", item, field, **known, note=next(said, "that library was not loaded there"))


def _said(field: str, libraries: tuple[NumericLibrary, ...]) -> dict[str, str]:
    return joined(
        (f"{item.product} of {item.owner or item.name}", "" if value is None else str(value))
        for item in libraries
        for value in (getattr(item, field),)
    )
