"""Python distributions: what an import can find on each side, and whether it is the same wheel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType

from envparity import markers
from envparity.compare import families
from envparity.compare.sides import Fact, Sides, normalised, told_apart, unknown, why, yes_no
from envparity.compare.versions import Stated, versions
from envparity.values import Basis, Change, Difference, Distribution, Environment


def place(environment: Environment, other: Environment | None) -> dict[str, str]:
    """What is known of a side that markers ask for; what it does not know itself is asked of the other one."""
    python = environment.python
    if (python is None or not python.version) and other is not None:
        python = other.python
    system = environment.system or (other.system if other is not None else None)
    return markers.of_place(
        version=python.version if python else "",
        implementation=python.implementation if python else "",
        system=system.os if system else "",
        machine=system.machine if system else "",
    )


@lru_cache(maxsize=16)
def effective(environment: Environment, other: Environment | None = None) -> Mapping[str, Distribution]:
    """
    What an import can find, by normalised name: no tooling, no copy out of reach, no line that its marker excludes.

    A declared source knows no interpreter; its markers are then asked of the `other` side. Several entries that remain
    for one name are one, with all their versions: never "the last one wins". What the `other` side has under another
    name of the same family (`opencv-python-headless`) has one name on both sides.
    """
    return MappingProxyType({name: _one(entries) for name, entries in _entries(environment, other)[0].items()})


def _entries(
    environment: Environment, other: Environment | None
) -> tuple[dict[str, list[Distribution]], dict[str, str]]:
    """The effective entries by name, and the names whose markers cannot be decided, with the reason."""
    known: dict[str, str] | None = None
    found: dict[str, list[Distribution]] = {}
    undecided: dict[str, str] = {}
    here, there = (_names(side) for side in (environment, other or environment))
    for distribution in environment.distributions or ():
        if distribution.tooling or not distribution.importable:
            continue
        name = families.called(normalised(distribution.name), here, there)
        if distribution.marker and distribution.basis in {Basis.DECLARED, Basis.LOCKED}:
            known = place(environment, other) if known is None else known
            applies = markers.holds(distribution.marker, known)
            if applies is False:
                continue
            if applies is None:
                undecided[name] = f"it is declared under a condition that cannot be decided: {distribution.marker}"
        found.setdefault(name, []).append(distribution)
    return found, undecided


def _names(environment: Environment) -> frozenset[str]:
    return frozenset(
        normalised(item.name) for item in environment.distributions or () if item.importable and not item.tooling
    )


def _one(entries: list[Distribution]) -> Distribution:
    if len(entries) == 1:
        return entries[0]
    from msgspec.structs import replace

    versions = sorted({entry.version for entry in entries if entry.version})
    specifiers = sorted({entry.specifier for entry in entries if entry.specifier})
    first = min(entries, key=lambda entry: (entry.version, entry.specifier, entry.marker, entry.location))
    records = {entry.record_sha256 for entry in entries}
    return replace(
        first,
        version=" and ".join(versions),
        specifier=",".join(specifiers),
        record_sha256=records.pop() if len(records) == 1 else None,
    )


def distributions(sides: Sides, left: tuple[Distribution, ...], right: tuple[Distribution, ...]) -> Iterator[Fact]:
    """What an import can find on each side, by name."""
    befores, undecided_before = _entries(sides.before, sides.after)
    afters, undecided_after = _entries(sides.after, sides.before)
    hidden_before, hidden_after = _hidden(sides.before, befores), _hidden(sides.after, afters)
    for name in sorted(befores.keys() | afters.keys()):
        have, want = befores.get(name, []), afters.get(name, [])
        if (name in undecided_before or name in undecided_after) and not _same_text(have, want):
            # The side that can be decided is what is known; where none can be, each declaration stands alone.
            if name in undecided_before and (want or name not in undecided_after):
                known = {"after": _shown(want)} if want else {"before": _shown(have)}
                yield unknown("distributions", name, "", **known, note=undecided_before[name])
            if name in undecided_after and (have or name not in undecided_before):
                known = {"before": _shown(have)} if have else {"after": _shown(want)}
                yield unknown("distributions", name, "", **known, note=undecided_after[name])
        elif have and want:
            yield from _distribution(sides, name, _one(have), _one(want))
        elif name in (hidden_after if have else hidden_before):
            # It lies there, and something else answers to its name: known, and worse than another version.
            texts = {"before": _shown(have) or "shadowed", "after": _shown(want) or "shadowed"}
            yield Difference(
                section="distributions", item=name, field="shadowed", change=Change.CHANGED, **texts, note=_SHADOWED
            )
        else:
            yield _beside_conda(sides, sides.presence(name, "", _shown(have), _shown(want)), _one(have or want))


def _beside_conda(sides: Sides, difference: Difference, known: Distribution) -> Difference:
    """
    The same, with the pin of the other side's conda package of that name where it contradicts.

    It stays unknown: conda's `graphviz` is the program and PyPI's is not, while a pin of `numpy` that is not kept is
    the likely cause of what somebody looks for.
    """
    from msgspec.structs import replace

    silent = sides.after if difference.before else sides.before
    if difference.change is not Change.UNKNOWN:
        return difference
    for package in silent.conda_packages or ():
        if package.virtual or normalised(package.name) != difference.item:
            continue
        pin = Stated.of(package)
        facts = versions(sides, difference.item, Stated.of(known), pin)
        if any(fact is not None and fact.change is Change.CHANGED for fact in facts):
            note = f"its conda package of that name is {pin.text}; whether it brings this distribution is not written"
            return replace(difference, note=note)
    return difference


_SHADOWED = "an import finds something else under its name"


def _hidden(environment: Environment, found: dict[str, list[Distribution]]) -> frozenset[str]:
    """The names of what is installed and cannot be imported, since something earlier on the path has the name."""
    shadowed = {normalised(item.name) for item in environment.distributions or () if item.shadowed}
    # A namespace has no file of its own, and no owner either.
    planted = {module.name for module in environment.modules or () if module.file and not module.owner}
    loaded = {
        normalised(item.name)
        for item in environment.distributions or ()
        if item.importable and item.loaded is False and any(name in planted for name in item.import_names)
    }
    for name in loaded:
        found.pop(name, None)  # the running process imported another module of that name
    return frozenset((shadowed - found.keys()) | loaded)


def _same_text(left: list[Distribution], right: list[Distribution]) -> bool:
    def texts(entries: list[Distribution]) -> list[tuple[str, str, str]]:
        return sorted((entry.version, entry.specifier, entry.marker) for entry in entries)

    return texts(left) == texts(right)


def _shown(entries: list[Distribution]) -> str:
    return (Stated.of(_one(entries)).text or "any version") if entries else ""


def _distribution(sides: Sides, name: str, left: Distribution, right: Distribution) -> Iterator[Fact]:
    found = list(versions(sides, name, Stated.of(left), Stated.of(right)))
    names = normalised(left.name), normalised(right.name)
    if names[0] != names[1]:
        found += sides.texts(name, "name", *names)
    elif found == [None] and Basis.DECLARED not in {left.basis, right.basis}:
        found += _contents(sides, name, left, right)
    gaps = [told_apart(side, "distributions", name) for side in (sides.before, sides.after)]
    if bool(gaps[0]) != bool(gaps[1]) and not any(found):
        # Something of it could not be read on one side: what was read is equal, and that is not enough to say equal.
        text = Stated.of(left).text or "present"
        known = {"after": text} if gaps[0] else {"before": text}
        found.append(unknown("distributions", name, "", **known, note=gaps[0] or gaps[1]))
    yield from found


def _wheel(distribution: Distribution) -> str:
    tags = " ".join(distribution.wheel_tags) or distribution.form
    record = f"RECORD {distribution.record_sha256[:12]}" if distribution.record_sha256 else ""
    return ", ".join(filter(None, (tags, distribution.wheel_build, record)))


def _contents(sides: Sides, name: str, left: Distribution, right: Distribution) -> Iterator[Fact]:
    """The same version: is it the same wheel, and are the files still those of that wheel?"""
    if left.record_sha256 and right.record_sha256:
        if left.record_sha256 == right.record_sha256:
            yield None
        else:
            yield from sides.texts(name, "wheel", _wheel(left), _wheel(right))
    elif left.record_sha256 or right.record_sha256:
        silent = sides.after if left.record_sha256 else sides.before
        yield unknown(
            "distributions",
            name,
            "wheel",
            before=_wheel(left) if left.record_sha256 else "",
            after=_wheel(right) if right.record_sha256 else "",
            note=why(silent, "distributions", name, "record_sha256"),
        )
    else:
        yield from sides.texts(name, "wheel", _wheel(left), _wheel(right))
    if left.editable != right.editable:
        yield from sides.texts(name, "editable", yes_no(left.editable), yes_no(right.editable))
    for field in ("modified", "missing", "added"):
        have, want = getattr(left, field), getattr(right, field)
        if have or want:
            # One side looked and found something: a fact, whether or not the other side looked.
            yield from sides.texts(name, field, _files(have), _files(want))
        elif (have is None) != (want is None):
            yield unknown(
                "distributions",
                name,
                field,
                before="" if have is None else "none",
                after="" if want is None else "none",
                note="the files were checked on one side only",
            )
        elif have is not None:
            yield None


def _files(paths: tuple[str, ...] | None) -> str:
    if paths is None:
        return "not checked"
    return " ".join(sorted(paths)) or "none"
