"""
How conda names packages: match specifications, addresses of archives, and the folders that are platforms
(https://docs.conda.io/projects/conda-build/en/stable/resources/package-spec.html).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from envparity.collectors.tree import gap
from envparity.errors import MalformedError
from envparity.sources.documents import md5, sha256
from envparity.sources.reading import Fact, excerpt, without_secrets
from envparity.sources.target import platform_of, system_and_machine

PLATFORMS = re.compile(r"(linux|osx|win|noarch|emscripten|wasi|freebsd|zos)(-[a-z0-9_]+)?")

_ARCHIVE = re.compile(r"(?P<name>[^/]+)-(?P<version>[^-/]+)-(?P<build>[^-/]+?)(\.conda|\.tar\.bz2)")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_PART = re.compile(r"(?P<operator>===?|~=|!=|>=|<=|>|<|=)?\s*(?P<version>[A-Za-z0-9_.+!-]+?)(?P<any>\.\*|\*)?")


def of_url(url: str, where: str) -> dict[str, Any]:
    """
    The fields of a package that its address tells: name, version, build, channel and subdir.

    Raises:
        MalformedError: it is not the address of a conda package.
    """
    bare = url.partition("#")[0].partition("?")[0]
    bare = f"file://{quote(bare)}" if bare.startswith("/") else bare
    folder, _, file_name = bare.rpartition("/")
    found = _ARCHIVE.fullmatch(file_name)
    if not found:
        raise MalformedError(f"`{without_secrets(url)[:120]}` is not the address of a conda package", where=where)
    channel, _, subdir = folder.rpartition("/")
    known = PLATFORMS.fullmatch(subdir) is not None
    return {
        "kind": "conda-package",
        "basis": "locked",
        "name": found["name"],
        "version": found["version"],
        "build": found["build"],
        "channel": without_secrets(channel if known else folder),
        "subdir": subdir if known else "",
        "url": without_secrets(bare),
    }


def proven(fact: dict[str, Any], where: str, *, md5_text: str = "", sha256_text: str = "") -> Fact:
    """The same package with the digests of its archive."""
    return {**fact, "md5": md5(md5_text, where), "sha256": sha256(sha256_text, where)}


def declared(spec: str, where: str) -> dict[str, Any]:
    """
    The package that a match specification asks for: `numpy`, `numpy=1.26`, `conda-forge::numpy>=1.2,<2`,
    `numpy=1.26.4=py311_0`, `numpy[version='>=1.2',build=x]`.

    One exact version is a `version`; a range is a `specifier`, in the words of PEP 440 where it has them.

    Raises:
        MalformedError: it is none.
    """
    text = spec.partition("#")[0].strip()
    if re.search(r"\.(conda|tar\.bz2)$", text):
        return {**of_url(text, where), "basis": "declared"}
    channel, _, rest = text.rpartition("::")
    # Brackets hold pairs; what is none (`uvicorn[standard]`, an extra of pip) is nothing to conda.
    rest, inside = _without_brackets(rest)
    brackets = dict(re.findall(r"(\w+)\s*=\s*['\"]?([^'\"\],]+(?:,[<>=!~][^'\"\],]+)*)['\"]?", inside))
    name = _NAME.match(rest)
    if not name or not re.match(r"[\s=<>!~]|$", rest[name.end() :]):
        raise MalformedError(f"`{excerpt(spec)}` does not name a conda package", where=where)
    version, build = _version_and_build(rest[name.end() :].strip())
    version, build = brackets.get("version", version), brackets.get("build", build)
    subdir = brackets.get("subdir", "")
    if "/" in channel and PLATFORMS.fullmatch(channel.rpartition("/")[2]):
        channel, _, subdir = channel.rpartition("/")
    fact: dict[str, Any] = {
        "kind": "conda-package",
        "basis": "declared",
        "name": name[0].lower(),
        "build": "" if build == "*" else build,
        "channel": without_secrets(brackets.get("channel", channel)),
        "subdir": subdir,
    }
    exact = re.fullmatch(r"==\s*([A-Za-z0-9_.+!-]+)", version) or (
        build and re.fullmatch(r"=?([A-Za-z0-9_.+!-]+)", version)
    )
    if exact:
        return {**fact, "version": exact[1]}
    return {**fact, "specifier": ranged(version)}


def _without_brackets(text: str) -> tuple[str, str]:
    found = re.search(r"\[(.*)\]", text)
    return (f"{text[: found.start()]} {text[found.end() :]}".strip(), found[1]) if found else (text.strip(), "")


def _version_and_build(text: str) -> tuple[str, str]:
    """What stands behind a name: `=1.26=py_0`, ` 1.26 py_0`, `>=1.2,<2`, `==1.2`."""
    words = re.split(r"\s+", re.sub(r"([<>=!~|,])\s+", r"\1", re.sub(r"\s+([<>=!~|,])", r"\1", text)))
    if len(words) == 2:
        return words[0], words[1]
    exact = re.fullmatch(r"=?=?([^=<>!~|,\s]+)=([^=<>!~|,\s]+)", text)
    return (exact[1], exact[2]) if exact else (text.replace(" ", ""), "")


def ranged(text: str) -> str:
    """A version range of conda in the words of PEP 440; as it is written where those have none for it (`1.2|1.3`)."""
    text = text.strip()
    if text in {"", "*"}:
        return ""
    if "|" in text:
        return text
    clauses = []
    for part in text.split(","):
        found = _PART.fullmatch(part.strip())
        if not found:
            return text
        operator, version = found["operator"] or "", found["version"].rstrip(".")
        if operator in {"", "=", "==", "!="}:
            # `=1.2` and a bare `1.2.*` take any 1.2; a bare `1.2` and `==1.2` only that.
            wild = bool(found["any"]) or operator == "="
            clauses.append(f"{'!=' if operator == '!=' else '=='}{version}{'.*' if wild else ''}")
        else:
            clauses.append(f"{operator}{version}")
    return ",".join(clauses)


def merged(facts: Iterable[dict[str, Any]], where: str) -> list[dict[str, Any]]:
    """
    Several specifications of one package as one; what they ask for together is what conda solves for.

    Raises:
        MalformedError: two exact versions.
    """
    found: dict[str, dict[str, Any]] = {}
    for fact in facts:
        first = found.setdefault(fact["name"], fact)
        if first is fact:
            continue
        if first.get("version") and fact.get("version") and first["version"] != fact["version"]:
            raise MalformedError(
                f"`{fact['name']}` is asked for as {first['version']} and as {fact['version']}", where=where
            )
        ranges = dict.fromkeys(text for text in (first.get("specifier", ""), fact.get("specifier", "")) if text)
        together: dict[str, Any] = {**fact, **{key: value for key, value in first.items() if value}}
        if first.get("version") or fact.get("version"):
            together.pop("specifier", None)
        elif ranges:
            together["specifier"] = ",".join(ranges)
        found[fact["name"]] = together
    return list(found.values())


def python_of(packages: Iterable[Fact]) -> Iterator[Fact]:
    """The interpreter that conda packages bring: that of the package `python`."""
    for package in packages:
        if package["name"] == "python" and (package.get("version") or package.get("specifier")):
            fact = {"kind": "python", "basis": package["basis"]}
            yield {**fact, **{key: package[key] for key in ("version", "specifier") if package.get(key)}}


def system_of(subdir: str) -> Iterator[Fact]:
    """What a conda platform (`linux-64`) says of the system, and that it says no more."""
    system, machine = system_and_machine(platform_of(subdir))
    if machine:
        yield {"kind": "system", "os": system, "machine": machine}
        yield gap("system", "not-recorded", "a lock names the platform; the release and libc are those of the machine")
    else:
        yield gap("system", "not-recorded", f"the platform `{subdir}` says nothing of the system")


NO_DISTRIBUTIONS = "which Python distributions the conda packages bring is not written there"
"""Why a file that lists conda packages does not know all distributions."""
