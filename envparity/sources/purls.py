"""Package URLs, as SBOMs and locks name packages by (https://github.com/package-url/purl-spec)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from envparity.collectors.tree import gap
from envparity.sources.reading import Fact

MANAGERS = {"deb": "dpkg", "apk": "apk", "rpm": "rpm", "alpm": "pacman"}
"""The types that are packages of an operating system, and who manages them."""


@dataclass(frozen=True)
class Purl:
    """`pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS`, with everything decoded."""

    kind: str
    name: str
    namespace: str = ""
    version: str = ""
    qualifiers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Purl | None:
        """The purl that a text is; `None` where it is none."""
        bare, _, _ = text.partition("#")
        bare, _, query = bare.partition("?")
        scheme, colon, rest = bare.partition(":")
        if scheme.lower() != "pkg" or not colon:
            return None
        # "@" parts the version; a scope of npm is written as %40.
        path, at, version = rest.strip("/").rpartition("@")
        if not at or "/" in version:
            path, version = rest.strip("/"), ""
        kind, _, place = path.partition("/")
        namespace, _, name = place.rpartition("/")
        if not kind or not name:
            return None
        pairs = (pair.partition("=") for pair in query.split("&") if pair)
        return cls(
            kind=kind.lower(),
            name=unquote(name),
            namespace=unquote(namespace),
            version=unquote(version),
            qualifiers={key.lower(): unquote(value) for key, _, value in pairs},
        )

    @property
    def distribution(self) -> str:
        """The name as PEP 503 normalises it."""
        return re.sub(r"[-_.]+", "-", self.name).lower()


def facts(purls: Iterable[Purl]) -> Iterator[Fact]:
    """What each purl says is there: a distribution, a conda package or one of the operating system; once each."""
    seen = set()
    for purl in purls:
        fact = _fact(purl)
        key = tuple(fact.get(name) for name in ("kind", "name", "version", "build", "architecture")) if fact else ()
        if fact is not None and key not in seen:
            seen.add(key)
            yield fact


def _fact(purl: Purl) -> Fact | None:
    if purl.kind == "pypi":
        return {"kind": "distribution", "basis": "locked", "name": purl.distribution, "version": purl.version}
    if purl.kind == "conda":
        build, subdir = purl.qualifiers.get("build", ""), purl.qualifiers.get("subdir", "")
        channel = purl.qualifiers.get("channel", "")
        fact = {"kind": "conda-package", "basis": "locked", "name": purl.name, "version": purl.version}
        return {**fact, "build": build, "subdir": subdir, "channel": channel}
    if purl.kind in MANAGERS:
        epoch = purl.qualifiers.get("epoch", "")
        version = purl.version
        if epoch not in {"", "0"} and not version.startswith(f"{epoch}:"):
            version = f"{epoch}:{version}"
        return {
            "kind": "os-package",
            "name": purl.name,
            "version": version,
            "architecture": purl.qualifiers.get("arch", ""),
            "manager": MANAGERS[purl.kind],
        }
    return None


def interpreter(purls: Iterable[Purl]) -> list[Fact]:
    """The one Python that is named as such (`pkg:generic/python@3.11.7`); of several nobody knows which one answers."""
    found = {purl.version for purl in purls if (purl.kind, purl.name, purl.namespace) == ("generic", "python", "")}
    return [
        {"kind": "python", "basis": "locked", "version": version} for version in found if version and len(found) == 1
    ]


def unlisted(sections: set[str], kinds: Counter[str], total: int) -> Iterator[Fact]:
    """
    A gap for each section of packages that nothing in an SBOM belongs to: that none is listed does not mean that none
    is there, since most tools look for some kinds only.
    """
    others = ", ".join(sorted(kinds)[:5])
    what = f"its {total:,} components are of other kinds ({others})" if total else "it lists no components at all"
    for section, name in (
        ("distributions", "Python distribution"),
        ("conda_packages", "conda package"),
        ("os_packages", "package of an operating system"),
    ):
        if section not in sections:
            yield gap(section, "not-recorded", f"it names no {name}: {what}" if not sections else f"it names no {name}")
