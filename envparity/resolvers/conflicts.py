"""Why a resolver found no answer: which requirement of what wants another version, read from what it says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from envparity.errors import plain

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_EXTRAS = r"(?:\[[A-Za-z0-9._,-]+\])?"
_SPEC = r"(?:(?:===|==|!=|~=|<=|>=|<|>)[A-Za-z0-9.*+!_-]*[A-Za-z0-9*](?:,\s?(?===|!|~|<|>))?)*"
_UV = re.compile(rf"({_NAME}){_EXTRAS}({_SPEC}) depends? on ({_NAME}){_EXTRAS}({_SPEC})")
_PIP = re.compile(
    rf"SpecifierRequirement\('({_NAME}){_EXTRAS}\s*([^']*)'\), parent=(?:None|\w+\('([^' ]+)[^']*'\)|<[^>]*>)"
)
_SHOWN = 240
_PIP_TEXT = re.compile(rf"^\s*({_NAME}) (\S+) depends on ({_NAME}){_EXTRAS}\s*([<>=!~][^;\n]*)?", re.MULTILINE)


@dataclass(frozen=True, order=True)
class Want:
    """`who` (a distribution, and which versions of it: `fastapi>=0.115.2`) requires `name` within `specifier`."""

    who: str
    of: str
    name: str
    specifier: str

    def __str__(self) -> str:
        return f"{self.who}{_spaced(self.of)} requires {self.name}{_spaced(self.specifier)}"


def wants(told: str) -> tuple[Want, ...]:
    """What uv or pip says of requirements that it could not satisfy together, in its order and once each."""
    text = " ".join(told.replace("│", " ").replace("╰─▶", " ").replace("×", " ").split())
    found: dict[Want, None] = {}
    for who, of, name, specifier in _UV.findall(text):
        found[Want(_canonical(who), of.strip(" ,"), _canonical(name), specifier.strip(" ,"))] = None
    for name, specifier, parent in _PIP.findall(told):
        who, version = _of_file(parent)
        if who:
            found[Want(who, f"=={version}", _canonical(name), specifier.strip())] = None
    for who, version, name, specifier in _PIP_TEXT.findall(told):
        found[Want(_canonical(who), f"=={version}", _canonical(name), specifier.strip())] = None
    return tuple(found)


def against(found: Sequence[Want], pins: Mapping[str, str], roots: Sequence[str]) -> tuple[str, ...]:
    """
    A line for each pin that something would move, with the chain from what was asked for: of many versions that want
    the same the newest speaks, and the others are counted.
    """
    lines = []
    for name, version in sorted(pins.items()):
        by: dict[str, list[Want]] = {}
        for want in found:
            if want.name == name and want.who != name and not _allows(want.specifier, version):
                by.setdefault(want.who, []).append(want)
        for who, several in by.items():
            newest = max(several, key=lambda want: _newest(want.of))
            chain = _chain(found, roots, who)
            others = len({want.of for want in several}) - 1
            more = f", and others of its versions want others ({others} were tried)" if others else ""
            lines.append(f"{name} {version} would move: {' -> '.join([*chain, str(newest)])}{more}")
    return tuple(lines)


def unsaid(told: str) -> str:
    """What a resolver says where no requirement contradicts a pin: one sentence of it, of bounded length."""
    text = " ".join(told.replace("│", " ").replace("╰─▶", " ").replace("×", " ").split())
    _, found, reason = text.partition("Because ")
    sentences = re.findall(r"(?:^|\n)\s*ERROR:\s*((?:Could not find|No matching|Cannot install).+)", told)
    if found:
        reason = reason.partition(" And because ")[0].partition(", we can conclude")[0]
    elif sentences:
        # pip says the same of an index that has none and of one that it could not reach.
        none = ": the index has none, or gave no answer" if "(from versions: none)" in sentences[0] else ""
        reason = re.sub(r" \(from versions: .*", "", sentences[0]) + none
    else:
        reason = next((line for line in told.splitlines() if line.strip()), "it does not say why")
    return shown if len(shown := plain(reason.strip())) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."


def _chain(found: Sequence[Want], roots: Sequence[str], who: str) -> list[str]:
    """The names between one that was asked for and `who`, as far as the resolver told them; without `who` itself."""
    before: dict[str, str] = {}
    waiting = [root for root in roots if root != who]
    if len(waiting) < len(roots):
        return []
    seen = set(waiting)
    while waiting:
        name = waiting.pop(0)
        for want in found:
            if want.who == name and want.name not in seen:
                seen.add(want.name)
                before[want.name] = name
                waiting.append(want.name)
    chain: list[str] = []
    while who in before:
        who = before[who]
        chain.insert(0, who)
    return chain


def _allows(specifier: str, version: str) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True


def _newest(of: str) -> tuple[bool, object]:
    """A range without an upper end is newer than any other."""
    from packaging.version import InvalidVersion, Version

    highest = []
    for text in re.findall(r"(?:==|<=|<|>=|>)\s*([^,\s*]+)", of):
        try:
            highest.append(Version(text))
        except InvalidVersion:
            continue
    return not re.search(r"==|<", of), max(highest, default=Version("0"))


def _of_file(place: str) -> tuple[str, str]:
    """Name and version of a wheel by its address."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        name, version, _, _ = parse_wheel_filename(unquote(place.partition("#")[0].rpartition("/")[2]))
    except InvalidWheelFilename:
        return "", ""
    return name, str(version)


def _canonical(name: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


def _spaced(specifier: str) -> str:
    return f" {specifier}" if specifier else ""
