"""
Two Environments -> the facts on which they differ. It reads and judges nothing.

Recorded, and never a difference: who installed a distribution, whether it was asked for, where anything lies, the
prefix, the host (kernel, cores, memory), the time of taking and the origin. Tooling is left out, and so is a copy that
an earlier entry of the path shadows. What only one side knows is unknown, never added, removed or equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from envparity.values import (
    SECTIONS,
    Artifact,
    Basis,
    Change,
    Cpu,
    Difference,
    Distribution,
    Environment,
    GapKind,
    OsPackage,
    Python,
    Settings,
    System,
)

Fact = Difference | None
"""What was looked at: a difference, or `None` where both sides say the same."""

FLAG_FAMILIES: dict[str, re.Pattern[str]] = {
    "avx": re.compile(r"avx|avx2|fma|f16c"),
    "avx512": re.compile(r"avx512(?!.*(vnni|bf16|fp16)).*"),
    "vnni": re.compile(r"avx512_?vnni|avx_?vnni.*"),
    "amx": re.compile(r"amx_.*"),
    "half": re.compile(r"avx512_?(bf16|fp16)"),
    "sve": re.compile(r"sve.*"),
    "arm-int8": re.compile(r"asimddp|i8mm|bf16"),
}
"""The processor's instructions that libraries choose another code path by; other flags are recorded only."""


def compare(before: Environment, after: Environment) -> tuple[Difference, ...]:
    """
    Every fact that the two do not share, in the order of sections, items and fields.

    `before` and `after` of a difference are texts; the side that does not know is the one whose text is empty.
    """
    return tuple(sorted({fact for fact in _facts(before, after) if fact is not None}, key=_order))


def compared(before: Environment, after: Environment) -> int:
    """How many facts both sides know, equal or not. Zero means that nothing was compared: no answer, not parity."""
    return sum(fact is None or fact.change is not Change.UNKNOWN for fact in _facts(before, after))


def _order(difference: Difference) -> tuple[int, str, str, str, str, str]:
    section = SECTIONS.index(difference.section) if difference.section in SECTIONS else len(SECTIONS)
    return (section, difference.item, difference.field, difference.change, difference.before, difference.after)


def _facts(before: Environment, after: Environment) -> Iterator[Fact]:
    for section, (count, look) in _SECTIONS.items():
        left, right = getattr(before, section), getattr(after, section)
        if left is not None and right is not None:
            yield from look(_Sides(section, before, after), left, right)
        elif left is not None:
            yield _unknown(section, "", "", before=count(left), note=_why(after, section))
        elif right is not None:
            yield _unknown(section, "", "", after=count(right), note=_why(before, section))


def _unknown(section: str, item: str, field: str, *, before: str = "", after: str = "", note: str) -> Difference:
    return Difference(
        section=section, item=item, field=field, change=Change.UNKNOWN, before=before, after=after, note=note
    )


def _why(environment: Environment, section: str, *items: str) -> str:
    """The reason that a gap gives for a section, or for one of its items or fields first."""
    gaps = [gap for gap in environment.gaps if gap.section == section]
    named = [gap.reason for gap in gaps if gap.item and gap.item in items]
    whole = [gap.reason for gap in gaps if not gap.item]
    return next(iter(named + whole), "this source does not record it")


class _Sides(NamedTuple):
    """One section of both Environments; says how one field of it compares, and why an item may be absent."""

    section: str
    before: Environment
    after: Environment

    def texts(self, item: str, field: str, left: str, right: str) -> Iterator[Fact]:
        """Compare as text. Nothing where neither side knows."""
        if left == right:
            if left:
                yield None
        elif left and right:
            yield Difference(
                section=self.section, item=item, field=field, change=Change.CHANGED, before=left, after=right
            )
        else:
            silent = self.after if left else self.before
            note = _why(silent, self.section, item, field)
            yield _unknown(self.section, item, field, before=left, after=right, note=note)

    def presence(self, item: str, field: str, left: str, right: str) -> Difference:
        """One side has the item and the other does not name it: added or removed, unless that side cannot know."""
        note = _silence(self.after if left else self.before, self.section, item)
        if note:
            return _unknown(self.section, item, field, before=left, after=right, note=note)
        change = Change.REMOVED if left else Change.ADDED
        return Difference(section=self.section, item=item, field=field, change=change, before=left, after=right)


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:-]*")
_METADATA = (".dist-info", ".egg-info")


def _normalised(name: str) -> str:
    """PEP 503: `Foo.Bar_baz` is `foo-bar-baz`. Letters that only look alike stay different."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _speaks_of(item: str, name: str) -> bool:
    """Whether the item of a gap, a name or a path of metadata, is this one."""
    return _normalised(_metadata_name(item) or item) == _normalised(name)


def _metadata_name(path: str) -> str:
    """`lib/foo_bar-1.0.dist-info/RECORD` names foo_bar; empty where the path is none of a distribution's metadata."""
    parts = (part for part in path.split("/") if part.endswith(_METADATA))
    return next((part.rpartition(".")[0].split("-")[0] for part in parts), "")


def _silence(environment: Environment, section: str, name: str) -> str:
    """Why the absence of an item does not mean that it is not there; empty where it does mean that."""
    for gap in environment.gaps:
        if gap.section != section:
            continue
        if gap.item and _speaks_of(gap.item, name):
            return gap.reason
        of_another = bool(gap.item) and bool(_NAME.fullmatch(gap.item) or _metadata_name(gap.item))
        if gap.kind is GapKind.UNREAD and not of_another:
            # Part of the section could not be read, and nobody knows which items lay there.
            return gap.reason
    return "this source lists only what was asked for" if environment.open else ""


def _told_apart(environment: Environment, section: str, name: str) -> str:
    """The reason of an unread gap that names this very item."""
    reasons = (
        gap.reason
        for gap in environment.gaps
        if gap.section == section and gap.kind is GapKind.UNREAD and gap.item and _speaks_of(gap.item, name)
    )
    return next(reasons, "")


def _yes_no(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"


def _python(sides: _Sides, left: Python, right: Python) -> Iterator[Fact]:
    yield from _versions(sides, "python", _Stated.of(left), _Stated.of(right))
    for field in ("implementation", "soabi", "build", "compiler"):
        yield from sides.texts("python", field, getattr(left, field), getattr(right, field))
    for field in ("debug", "free_threaded"):
        yield from sides.texts("python", field, _yes_no(getattr(left, field)), _yes_no(getattr(right, field)))


def _release(system: System) -> str:
    return " ".join(filter(None, (system.id, system.version_id or system.codename)))


def _system(sides: _Sides, left: System, right: System) -> Iterator[Fact]:
    for field in ("os", "machine", "libc", "libc_version"):
        yield from sides.texts("system", field, getattr(left, field), getattr(right, field))
    yield from sides.texts("system", "release", _release(left), _release(right))


def _cpu(sides: _Sides, left: Cpu, right: Cpu) -> Iterator[Fact]:
    for field in ("vendor", "model", "isa_level"):
        yield from sides.texts("cpu", field, getattr(left, field), getattr(right, field))
    if bool(left.flags) != bool(right.flags):
        count = {True: f"{len(left.flags or right.flags)} flags", False: ""}
        yield from sides.texts("cpu", "flags", count[bool(left.flags)], count[bool(right.flags)])
        return
    for family, pattern in FLAG_FAMILIES.items():
        have, want = (" ".join(sorted(filter(pattern.fullmatch, cpu.flags))) for cpu in (left, right))
        if have == want:
            if have:
                yield None
        elif have and want:
            yield from sides.texts("cpu", family, have, want)
        else:
            yield sides.presence("cpu", family, have, want)


class _Stated(NamedTuple):
    """What one side says of a version: an exact one, or a range, or neither. `pinned` marks `==1.2` for `1.2`."""

    exact: str
    specifier: str
    pinned: bool

    @classmethod
    def of(cls, stated: Python | Distribution) -> _Stated:
        pin = re.fullmatch(r"\s*===?\s*([^\s*,;]+)\s*", stated.specifier)
        if stated.version:
            return cls(stated.version, "", stated.basis is Basis.DECLARED)
        return cls(pin[1], "", True) if pin else cls("", stated.specifier.strip(), False)

    @property
    def text(self) -> str:
        return self.exact or self.specifier


def _within(version: str, specifier: str) -> bool | None:
    """Whether a version lies in a range (PEP 440); `None` where one of them is not of that grammar."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        return SpecifierSet(specifier).contains(Version(version), prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return None


def same_version(left: str, right: str) -> bool:
    """`1.0` is `1.0.0` (PEP 440). What is not of that grammar (`2004d`, `unknown`) is compared as text."""
    if left == right:
        return True
    from packaging.version import InvalidVersion, Version

    try:
        return Version(left) == Version(right)
    except InvalidVersion:
        return False


def _is_version(text: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _same_range(left: str, right: str) -> bool:
    if left == right:
        return True
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(left) == SpecifierSet(right)
    except InvalidSpecifier:
        return False


def _versions(sides: _Sides, item: str, left: _Stated, right: _Stated) -> Iterator[Fact]:
    """One fact: the same version, another one, one inside a range, or a side that does not say."""

    def fact(change: Change, note: str = "") -> Difference:
        return Difference(
            section=sides.section,
            item=item,
            field="version",
            change=change,
            before=left.text,
            after=right.text,
            note=note,
        )

    if not left.text and not right.text:
        if item != "python":
            yield None
    elif not left.text or not right.text:
        silent = sides.after if left.text else sides.before
        note = "it is named without a version" if item != "python" else _why(silent, "python", "version")
        yield fact(Change.UNKNOWN, note)
    elif left.exact and right.exact:
        if same_version(left.exact, right.exact):
            yield None
        elif (right.pinned and _within(left.exact, f"=={right.exact}")) or (
            left.pinned and _within(right.exact, f"=={left.exact}")
        ):
            # PEP 440: `==2.1` accepts `2.1+cu121`, which is another build of it.
            yield fact(Change.SATISFIED, "the pin accepts any local build of that version")
        else:
            odd = [text for text in (left.exact, right.exact) if not _is_version(text)]
            yield fact(Change.CHANGED, f"compared as text: `{odd[0]}` is not a PEP 440 version" if odd else "")
    elif left.exact or right.exact:
        exact, specifier = (left.exact, right.specifier) if left.exact else (right.exact, left.specifier)
        match _within(exact, specifier):
            case None:
                # The side of the range is not known, so its text goes into the note.
                note = f"`{exact}` cannot be checked against `{specifier}`"
                known = {"before": exact} if left.exact else {"after": exact}
                yield _unknown(sides.section, item, "version", **known, note=note)
            case True:
                yield fact(Change.SATISFIED, "a range was declared; which version it gives is not known")
            case False:
                yield fact(Change.CHANGED)
    elif _same_range(left.specifier, right.specifier):
        yield None
    else:
        yield fact(Change.CHANGED, "both sides declare a range")


_VARIABLE = re.compile(
    r"\b(python_version|python_full_version|os_name|sys_platform|platform_machine|platform_python_implementation"
    r"|platform_release|platform_system|platform_version|implementation_name|implementation_version)\b"
)
_PLATFORMS = {"linux": ("posix", "linux", "Linux"), "darwin": ("posix", "darwin", "Darwin")}
_PLATFORMS |= {"windows": ("nt", "win32", "Windows")}


def _marker_variables(python: Python | None, system: System | None) -> dict[str, str]:
    """The variables of PEP 508 markers that are known of a place; never those of the machine that compares."""
    version = python.version if python else ""
    implementation = python.implementation.lower() if python else ""
    os_name, sys_platform, platform_system = _PLATFORMS.get(system.os.lower() if system else "", ("", "", ""))
    values = {
        "python_version": ".".join(version.split(".")[:2]),
        "python_full_version": version,
        "implementation_name": implementation,
        "implementation_version": version if implementation == "cpython" else "",
        "platform_python_implementation": {"cpython": "CPython", "pypy": "PyPy"}.get(implementation, ""),
        "os_name": os_name,
        "sys_platform": sys_platform,
        "platform_system": platform_system,
        "platform_machine": system.machine if system else "",
    }
    return {name: value for name, value in values.items() if value}


def _applies(marker: str, known: dict[str, str]) -> bool | None:
    """Whether a requirement with this marker holds for a place; `None` where it asks for something not known."""
    from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName

    needed = set(_VARIABLE.findall(re.sub(r"'[^']*'|\"[^\"]*\"", "", marker)))
    if not needed <= known.keys():
        return None
    # packaging fills what is missing from the running interpreter, which is not the place that is asked about.
    blank = dict.fromkeys(_VARIABLE.pattern.replace(r"\b", "").strip("()").split("|"), "")
    try:
        return Marker(marker).evaluate({**blank, **known, "extra": ""})
    except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName):
        return None


def effective(environment: Environment, other: Environment | None = None) -> dict[str, Distribution]:
    """
    What an import can find, by normalised name: no tooling, no shadowed copy, no line that its marker excludes.

    A declared source knows no interpreter; its markers are then asked of the `other` side. Several entries that remain
    for one name are one, with all their versions: never "the last one wins".
    """
    return {name: _one(entries) for name, entries in _entries(environment, other)[0].items()}


def _entries(
    environment: Environment, other: Environment | None
) -> tuple[dict[str, list[Distribution]], dict[str, str]]:
    """The effective entries by name, and the names whose markers cannot be decided, with the reason."""
    python = environment.python
    if (python is None or not python.version) and other is not None:
        python = other.python
    system = environment.system or (other.system if other is not None else None)
    known: dict[str, str] | None = None
    found: dict[str, list[Distribution]] = {}
    undecided: dict[str, str] = {}
    for distribution in environment.distributions or ():
        if distribution.tooling or distribution.shadowed:
            continue
        name = _normalised(distribution.name)
        if distribution.marker and distribution.basis in {Basis.DECLARED, Basis.LOCKED}:
            known = _marker_variables(python, system) if known is None else known
            applies = _applies(distribution.marker, known)
            if applies is False:
                continue
            if applies is None:
                undecided[name] = f"it is declared under a condition that cannot be decided: {distribution.marker}"
        found.setdefault(name, []).append(distribution)
    return found, undecided


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


def _distributions(sides: _Sides, left: tuple[Distribution, ...], right: tuple[Distribution, ...]) -> Iterator[Fact]:
    befores, undecided_before = _entries(sides.before, sides.after)
    afters, undecided_after = _entries(sides.after, sides.before)
    for name in sorted(befores.keys() | afters.keys()):
        have, want = befores.get(name, []), afters.get(name, [])
        if (name in undecided_before or name in undecided_after) and not _same_text(have, want):
            # The side that can be decided is what is known; where none can be, each declaration stands alone.
            if name in undecided_before and (want or name not in undecided_after):
                known = {"after": _shown(want)} if want else {"before": _shown(have)}
                yield _unknown("distributions", name, "", **known, note=undecided_before[name])
            if name in undecided_after and (have or name not in undecided_before):
                known = {"before": _shown(have)} if have else {"after": _shown(want)}
                yield _unknown("distributions", name, "", **known, note=undecided_after[name])
        elif have and want:
            yield from _distribution(sides, name, _one(have), _one(want))
        else:
            yield sides.presence(name, "", _shown(have), _shown(want))


def _same_text(left: list[Distribution], right: list[Distribution]) -> bool:
    def texts(entries: list[Distribution]) -> list[tuple[str, str, str]]:
        return sorted((entry.version, entry.specifier, entry.marker) for entry in entries)

    return texts(left) == texts(right)


def _shown(entries: list[Distribution]) -> str:
    return (_Stated.of(_one(entries)).text or "any version") if entries else ""


def _distribution(sides: _Sides, name: str, left: Distribution, right: Distribution) -> Iterator[Fact]:
    found = list(_versions(sides, name, _Stated.of(left), _Stated.of(right)))
    if found == [None] and Basis.DECLARED not in {left.basis, right.basis}:
        found += _contents(sides, name, left, right)
    gaps = [_told_apart(side, "distributions", name) for side in (sides.before, sides.after)]
    if bool(gaps[0]) != bool(gaps[1]) and not any(found):
        # Something of it could not be read on one side: what was read is equal, and that is not enough to say equal.
        text = _Stated.of(left).text or "present"
        known = {"after": text} if gaps[0] else {"before": text}
        found.append(_unknown("distributions", name, "", **known, note=gaps[0] or gaps[1]))
    yield from found


def _wheel(distribution: Distribution) -> str:
    tags = " ".join(distribution.wheel_tags) or distribution.form
    record = f"RECORD {distribution.record_sha256[:12]}" if distribution.record_sha256 else ""
    return ", ".join(filter(None, (tags, distribution.wheel_build, record)))


def _contents(sides: _Sides, name: str, left: Distribution, right: Distribution) -> Iterator[Fact]:
    """The same version: is it the same wheel, and are the files still those of that wheel?"""
    if left.record_sha256 and right.record_sha256:
        if left.record_sha256 == right.record_sha256:
            yield None
        else:
            yield from sides.texts(name, "wheel", _wheel(left), _wheel(right))
    elif left.record_sha256 or right.record_sha256:
        silent = sides.after if left.record_sha256 else sides.before
        yield _unknown(
            "distributions",
            name,
            "wheel",
            before=_wheel(left) if left.record_sha256 else "",
            after=_wheel(right) if right.record_sha256 else "",
            note=_why(silent, "distributions", name, "record_sha256"),
        )
    else:
        yield from sides.texts(name, "wheel", _wheel(left), _wheel(right))
    if left.editable != right.editable:
        yield from sides.texts(name, "editable", _yes_no(left.editable), _yes_no(right.editable))
    for field in ("modified", "missing"):
        have, want = getattr(left, field), getattr(right, field)
        if have or want:
            # One side looked and found something: a fact, whether or not the other side looked.
            yield from sides.texts(name, field, _files(have), _files(want))
        elif (have is None) != (want is None):
            yield _unknown(
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


def _listed(sides: _Sides, left: dict[str, str], right: dict[str, str], field: str) -> Iterator[Fact]:
    for item in sorted(left.keys() | right.keys()):
        if item in left and item in right:
            yield from sides.texts(item, field, left[item], right[item])
        else:
            yield sides.presence(item, field, left.get(item, ""), right.get(item, ""))


def _os_packages(sides: _Sides, left: tuple[OsPackage, ...], right: tuple[OsPackage, ...]) -> Iterator[Fact]:
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

    yield from _listed(sides, by_name(left), by_name(right), "version")


def _settings(sides: _Sides, left: Settings, right: Settings) -> Iterator[Fact]:
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
            yield _unknown("settings", name, "value", before=shown[0], after=shown[1], note=note)
        else:
            yield sides.presence(name, "value", shown[0], shown[1])


def _artifacts(sides: _Sides, left: tuple[Artifact, ...], right: tuple[Artifact, ...]) -> Iterator[Fact]:
    for kind in sorted({artifact.kind for artifact in left + right}):
        have, want = (_digests(kind, artifacts) for artifacts in (left, right))
        yield from _listed(sides, have, want, kind)


def _digests(kind: str, artifacts: Iterable[Artifact]) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for artifact in artifacts:
        if artifact.kind == kind:
            found.setdefault(artifact.name, set()).add(artifact.sha256)
    return {name: " and ".join(sorted(digests)) for name, digests in found.items()}


def _count(noun: str) -> Callable[[Any], str]:
    return lambda items: f"{len(items)} {noun}"


_SECTIONS: dict[str, tuple[Callable[[Any], str], Callable[[_Sides, Any, Any], Iterator[Fact]]]] = {
    "python": (lambda python: _Stated.of(python).text or "recorded", _python),
    "system": (lambda system: system.name or _release(system) or system.os or "recorded", _system),
    "cpu": (lambda cpu: cpu.model or cpu.isa_level or "recorded", _cpu),
    "distributions": (_count("distributions"), _distributions),
    "os_packages": (_count("packages"), _os_packages),
    "settings": (lambda settings: f"{len(settings.variables)} variables", _settings),
    "artifacts": (_count("files"), _artifacts),
}
"""The sections that are compared, how one is summed up where the other side lacks it, and how two are compared."""
