"""
An explicit package list of conda: addresses of archives, from `conda list --explicit` or conda-lock
(https://docs.conda.io/projects/conda/en/latest/user-guide/tasks/manage-environments.html#building-identical-conda-environments).
"""

from __future__ import annotations

import re

from envparity import codec
from envparity.codec.trusted import trusted_text
from envparity.collectors.tree import gap
from envparity.errors import MalformedError
from envparity.sources.conda_specs import NO_DISTRIBUTIONS, of_url, proven, python_of, system_of
from envparity.sources.documents import locked
from envparity.sources.reading import Fact, Options, all_but, not_recorded, origin
from envparity.values import Environment

TITLE = "an explicit package list of conda"


def parse(data: bytes, name: str, options: Options) -> Environment:
    """
    The Environment that an explicit list fixes. Lines of conda-lock for pip (`# pip NAME @ URL --hash=…`) count too.

    Raises:
        MalformedError: not UTF-8, no `@EXPLICIT`, a line that is no address of a conda package, one package twice.
    """
    facts: list[Fact] = []
    explicit = False
    subdir = ""
    seen: dict[str, int] = {}
    for number, line in enumerate(re.split(r"\r\n|\n|\r", trusted_text(data, f"`{name}`")), start=1):
        text = line.strip()
        where = f"{name}:{number}"
        platform = re.fullmatch(r"#\s*platform:\s*(\S+)", text)
        pip = re.fullmatch(r"#\s*pip\s+(\S+)\s*@\s*(\S+?)(?:\s+--hash=(\S+)|#(sha256=\S+))?", text)
        if platform:
            subdir = platform[1]
        elif pip:
            facts += _pip(pip, where)
        elif text == "@EXPLICIT":
            explicit = True
        elif text and not text.startswith("#"):
            if not explicit:
                raise MalformedError(f"`{name}` is not {TITLE}: a package stands before `@EXPLICIT`", where=where)
            fact = _package(text, where)
            if fact["name"] in seen:
                raise MalformedError(f"`{fact['name']}` is listed twice: in line {seen[fact['name']]} too", where=where)
            seen[fact["name"]] = number
            facts.append(fact)
    if not explicit:
        raise MalformedError(f"`{name}` is not {TITLE}: it has no line `@EXPLICIT`")
    conda = [fact for fact in facts if fact["kind"] == "conda-package"]
    subdirs = {fact["subdir"] for fact in conda} - {"noarch", ""}
    subdir = subdir or (subdirs.pop() if len(subdirs) == 1 else "")
    return codec.environment(
        [
            {"kind": "section", "section": "conda_packages"},
            {"kind": "section", "section": "distributions"},
            *facts,
            *python_of(conda),
            *(system_of(subdir) if subdir else ()),
            gap("distributions", "not-recorded", NO_DISTRIBUTIONS),
            *not_recorded(
                all_but(
                    "conda_packages",
                    "distributions",
                    *(["python"] if "python" in seen else []),
                    *(["system"] if subdir else []),
                ),
                "an explicit list cannot carry it",
            ),
        ],
        origin("conda-explicit", name),
    )


def _package(text: str, where: str) -> Fact:
    url, _, digest = text.partition("#")
    if "://" not in url and not url.startswith("/"):
        raise MalformedError(f"`{text[:80]}` is not an address", where=where)
    kind, colon, value = digest.partition(":")
    if not colon:
        kind, value = ("sha256", digest) if len(digest) == 64 else ("md5", digest)
    if kind not in {"md5", "sha256"}:
        raise MalformedError(f"`{kind[:80]}` is not a hash that conda knows", where=where)
    fact = of_url(url, where)
    return proven(fact, where, **{f"{kind}_text": value})


def _pip(found: re.Match[str], where: str) -> list[Fact]:
    name, url, option, fragment = found.groups()
    wheel = re.search(r"/[A-Za-z0-9_.]+-([^-/]+)(?:-[^/]+)?\.whl$", url)
    source = re.search(rf"/{re.escape(name)}-([^/]+?)\.(?:tar\.gz|zip)$", url, re.IGNORECASE)
    version = (wheel or source or ["", ""])[1]
    digest = option or (fragment or "").replace("=", ":", 1)
    return locked(name, version, where, given=[digest] if digest else [], place="" if version else url)
