"""Packages, settings and files: lists of named things."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from envparity.compare.sides import Fact, Sides, joined, listed, unknown
from envparity.compare.versions import Stated, versions
from envparity.values import Artifact, Change, CondaPackage, Difference, OsPackage, Settings, SourceCode


def os_packages(sides: Sides, left: tuple[OsPackage, ...], right: tuple[OsPackage, ...]) -> Iterator[Fact]:
    """Versions by name; by name and architecture where a side has several."""
    if left == right:  # hundreds, of one base
        yield from [None] * len({(package.name, package.architecture) for package in left})
        return
    several: set[str] = set()
    for packages in (left, right):
        architectures: dict[str, set[str]] = {}
        for package in packages:
            architectures.setdefault(package.name, set()).add(package.architecture)
        several |= {name for name, found in architectures.items() if len(found) > 1}

    def by_name(packages: tuple[OsPackage, ...]) -> dict[str, str]:
        found: dict[str, set[str]] = {}
        for package in packages:
            key = f"{package.name}:{package.architecture}" if package.name in several else package.name
            found.setdefault(key, set()).add(package.version or "(no version)")
        return {key: " and ".join(sorted(versions)) for key, versions in found.items()}

    yield from listed(sides, by_name(left), by_name(right), "version")


def settings(sides: Sides, left: Settings, right: Settings) -> Iterator[Fact]:
    """Values by name. One that is set and not recorded is unknown, never absent."""
    have, want = ({item.name: item.value for item in settings.variables} for settings in (left, right))
    for name in sorted(have.keys() | want.keys()):
        if name in have and name in want:
            if have[name] == want[name]:
                yield None
            else:
                yield Difference(
                    section="settings",
                    item=name,
                    field="value",
                    change=Change.CHANGED,
                    before=have[name] or "(empty)",
                    after=want[name] or "(empty)",
                )
            continue
        texts = (have.get(name, ""), want.get(name, "")) if have.get(name) or want.get(name) else ("", "")
        shown = tuple(
            (text or "(empty)") if name in side else "" for text, side in zip(texts, (have, want), strict=True)
        )
        other = right if name in have else left
        if name in other.names_only:
            note = "it is set there, and its value was not recorded"
            yield unknown("settings", name, "value", before=shown[0], after=shown[1], note=note)
        else:
            yield sides.presence(name, "value", shown[0], shown[1])


def artifacts(sides: Sides, left: tuple[Artifact, ...], right: tuple[Artifact, ...]) -> Iterator[Fact]:
    """Digests by kind and name."""
    for kind in sorted({artifact.kind for artifact in left + right}):
        have, want = (
            joined((artifact.name, artifact.sha256) for artifact in side if artifact.kind == kind)
            for side in (left, right)
        )
        if kind == "data" and not (have and want):
            # It is recorded only where somebody names it: where none is, it may still be the same.
            for name in sorted(have.keys() | want.keys()):
                texts = {"before": have.get(name, ""), "after": want.get(name, "")}
                yield unknown("artifacts", name, kind, **texts, note="no data was named there")
            continue
        yield from listed(sides, have, want, kind)


def conda_packages(sides: Sides, left: tuple[CondaPackage, ...], right: tuple[CondaPackage, ...]) -> Iterator[Fact]:
    """Versions, and the builds of equal versions. Virtual packages stand for the machine, and are compared with it."""
    have, want = (_by_name(item for item in side if not item.virtual) for side in (left, right))
    for name in sorted(have.keys() | want.keys()):
        one, other = have.get(name), want.get(name)
        if one is None or other is None:
            yield sides.presence(name, "", *((Stated.of(item).text or "any") if item else "" for item in (one, other)))
            continue
        found = list(versions(sides, name, Stated.of(one), Stated.of(other)))
        yield from found
        if found == [None] and (one.build or other.build):
            yield from sides.texts(name, "build", one.build, other.build)
        if found == [None] and one.build == other.build and one.sha256 and other.sha256:
            # The same words and other bytes: another channel's package of that name.
            yield from sides.texts(name, "sha256", one.sha256, other.sha256)


def _by_name(packages: Iterable[CondaPackage]) -> dict[str, CondaPackage]:
    """Packages by name. Several of one name are one, with all their versions: never "the last one wins"."""
    found: dict[str, list[CondaPackage]] = {}
    for item in packages:
        found.setdefault(item.name, []).append(item)
    return {name: items[0] if len(items) == 1 else _as_one(items) for name, items in found.items()}


def _as_one(items: list[CondaPackage]) -> CondaPackage:
    texts = {
        field: " and ".join(sorted({getattr(item, field) for item in items} - {""}))
        for field in ("version", "specifier", "build")
    }
    return msgspec.structs.replace(items[0], sha256=None, **texts)


def source_code(sides: Sides, left: SourceCode, right: SourceCode) -> Iterator[Fact]:
    """The commit and what was changed on top of it, the script, and the parameters."""
    for field in ("commit", "script_sha256"):
        yield from sides.texts("source_code", field, getattr(left, field) or "", getattr(right, field) or "")
    on_top = (side.diff_sha256 or ("nothing" if side.dirty is False else "") for side in (left, right))
    yield from sides.texts("source_code", "diff_sha256", *on_top)
    have, want = ({item.name: item.value or "(empty)" for item in side.parameters} for side in (left, right))
    if have and want:
        yield from listed(sides, have, want, "value")
