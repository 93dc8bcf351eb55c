"""Wheels of metadata alone, for a resolver: what a snapshot knows of a distribution that no index may have."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from envparity.values import Distribution


def write(folder: Path, installed: Sequence[Distribution]) -> None:
    """
    A wheel of each below `folder`, with METADATA alone. They are read by a resolver and never installed.

    A requirement that the environment itself does not meet is left out: it worked without, and what is added is no
    reason to ask more of it. Those of extras stay, since what is added may ask for an extra.
    """
    folder.mkdir()
    versions = {item.name: item.version for item in installed}
    for item in installed:
        if not _nameable(item):
            continue
        requires = tuple(_met(item.requires, versions))
        stem = f"{item.name.replace('-', '_')}-{item.version}"
        extras = sorted({extra for text in requires for extra in _extras(text)})
        lines = ["Metadata-Version: 2.1", f"Name: {item.name}", f"Version: {item.version}"]
        lines += [f"Provides-Extra: {extra}" for extra in extras]
        lines += [f"Requires-Dist: {text}" for text in requires]
        with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
            archive.writestr(f"{stem}.dist-info/METADATA", "\n".join(lines) + "\n")
            archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr(f"{stem}.dist-info/RECORD", "")


def _nameable(item: Distribution) -> bool:
    """Whether a wheel can carry this name and version, and leads to no other folder by them."""
    from packaging.utils import InvalidName, canonicalize_name
    from packaging.version import InvalidVersion, Version

    try:
        canonicalize_name(item.name, validate=True)
        return str(Version(item.version)) == item.version or "/" not in item.version
    except (InvalidName, InvalidVersion):
        return False


def _met(requires: Iterable[str], versions: Mapping[str, str]) -> Iterable[str]:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    for text in requires:
        try:
            found = Requirement(text)
        except InvalidRequirement:
            continue
        version = versions.get(canonicalize_name(found.name))
        optional = found.marker is not None and "extra" in str(found.marker)
        if optional or (version is not None and found.specifier.contains(version, prereleases=True)):
            if found.url:
                found.url = None
            yield str(found)


def _extras(text: str) -> list[str]:
    """The extras that a requirement belongs to."""
    return re.findall(r"""\bextra\s*==\s*["']([^"']+)["']""", text)
