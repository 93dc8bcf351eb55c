"""
The indexes that pip and uv are configured with here: variables, `pip.conf`, `uv.toml` and `pyproject.toml`.

A lock does not ask them unless it is told to (`--index from-config`): what trained the model is known from its
snapshot, and a lock that depends on the machine that makes it is not the same for two people. They are named where
something is missing. Passwords in these files are left alone; those in variables are the user's word for this run
(`logins`).

pip: https://pip.pypa.io/en/stable/topics/configuration/. uv: https://docs.astral.sh/uv/concepts/indexes/.
"""

from __future__ import annotations

import configparser
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from envparity.errors import EnvparityError
from envparity.files import read_text
from envparity.resolvers.indexes import Index, Indexes
from envparity.resolvers.problems import PYPI

_LIMIT = 1 << 20


def configured(environ: Mapping[str, str], folder: Path | None = None) -> Indexes:
    """
    What pip and uv would ask in this folder; of several defaults, the one that is stated nearest to the command.

    A file that cannot be read, and an entry that is no address, is passed over: another program may read it.
    """
    defaults: list[Index] = []
    extra: list[Index] = []
    pinned: dict[str, Index] = {}
    for default, index in _of_variables(environ):
        (defaults if default else extra).append(index)
    for settings in _uv_settings(environ, folder or Path()):
        for default, index in _of_uv(settings):
            (defaults if default else extra).append(index)
        pinned |= {name: index for name, index in _sources(settings) if name not in pinned}
    for default, index in _of_pip(environ):
        (defaults if default else extra).append(index)
    first = defaults[0] if defaults else Index("pypi", PYPI)
    order: dict[str, Index] = {}
    for index in (first, *extra):
        order.setdefault(index.shown, index)
    return Indexes(tuple(order.values()), pinned)


Found = Iterator[tuple[bool, Index]]
"""Whether it is to be the default index, and the index."""


def _index(url: object, name: str = "", *, bare: bool = True) -> Iterator[Index]:
    try:
        text = str(url)
        parts = urlsplit(text)
        if bare and parts.hostname:
            text = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        yield Index.of(text, name)
    except (EnvparityError, ValueError):
        return


def _of_variables(environ: Mapping[str, str]) -> Found:
    for variable, default in (
        ("UV_DEFAULT_INDEX", True), ("UV_INDEX_URL", True), ("PIP_INDEX_URL", True),
        ("UV_INDEX", False), ("UV_EXTRA_INDEX_URL", False), ("PIP_EXTRA_INDEX_URL", False),
    ):  # fmt: skip
        for word in environ.get(variable, "").split():
            name, mark, url = word.partition("=")
            named = mark and "/" not in name
            for index in _index(url if named else word, name if named else "", bare=False):
                yield default, index


def _uv_settings(environ: Mapping[str, str], folder: Path) -> Iterator[dict[str, Any]]:
    """The nearest project's, the user's and the system's, in uv's order."""
    if environ.get("UV_NO_CONFIG"):
        return
    if environ.get("UV_CONFIG_FILE"):
        yield _toml(Path(environ["UV_CONFIG_FILE"]))
        return
    for place in (folder.absolute(), *folder.absolute().parents):
        if (place / "uv.toml").is_file():
            yield _toml(place / "uv.toml")
            break
        table = _toml(place / "pyproject.toml").get("tool", {})
        if isinstance(table, dict) and isinstance(table.get("uv"), dict):
            yield table["uv"]
            break
        if (place / ".git").exists():
            break
    yield from (_toml(home / "uv" / "uv.toml") for home in _config_homes(environ))
    yield _toml(Path("/etc/uv/uv.toml"))


def _config_homes(environ: Mapping[str, str]) -> list[Path]:
    home = environ.get("HOME", "")
    places = [environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")]
    return [Path(place) for place in places if place]


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path, limit=_LIMIT)) if path.is_file() else {}
    except (EnvparityError, OSError, tomllib.TOMLDecodeError, RecursionError):
        return {}


def _of_uv(settings: Mapping[str, Any]) -> Found:
    tables = settings.get("index")
    for table in tables if isinstance(tables, list) else []:
        # "explicit = true": only packages that `tool.uv.sources` pins to it come from there.
        if isinstance(table, dict) and table.get("explicit") is not True:
            for index in _index(table.get("url"), str(table.get("name", ""))):
                yield table.get("default") is True, index
    for index in _index(settings.get("index-url", "")):
        yield True, index
    extra = settings.get("extra-index-url")
    for url in extra if isinstance(extra, list) else []:
        for index in _index(url):
            yield False, index


def _sources(settings: Mapping[str, Any]) -> Iterator[tuple[str, Index]]:
    """`[tool.uv.sources] demo = {index = "corp"}`"""
    from packaging.utils import canonicalize_name

    tables, sources = settings.get("index"), settings.get("sources")
    known = {
        str(table["name"]): table.get("url")
        for table in (tables if isinstance(tables, list) else [])
        if isinstance(table, dict) and "name" in table
    }
    for name, source in (sources if isinstance(sources, dict) else {}).items():
        wanted = source.get("index") if isinstance(source, dict) else None
        if wanted in known:
            for index in _index(known[wanted], str(wanted)):
                yield canonicalize_name(name), index


def _of_pip(environ: Mapping[str, str]) -> Found:
    """The files in pip's order, the nearest first: of a key, the nearest file's value is the one that holds."""
    named = environ.get("PIP_CONFIG_FILE", "")
    home = environ.get("HOME", "")
    prefix = environ.get("VIRTUAL_ENV", "")
    places = [
        *([Path(named)] if named and named != "/dev/null" else []),
        *([Path(prefix, "pip.conf")] if prefix else []),
        *(place / "pip" / "pip.conf" for place in _config_homes(environ)),
        *([Path(home, ".pip", "pip.conf")] if home else []),
        Path("/etc/pip.conf"),
    ]
    seen: set[str] = set()
    for place in places if named != "/dev/null" else []:
        settings = configparser.RawConfigParser(strict=False)
        try:
            if place.is_file():
                settings.read_string(read_text(place, limit=_LIMIT))
        except (EnvparityError, OSError, configparser.Error):
            continue
        for section in ("install", "global"):
            for key in ("index-url", "extra-index-url"):
                value = settings.get(section, key, fallback="") or settings.get(
                    section, key.replace("-", "_"), fallback=""
                )
                if value and key not in seen:
                    seen.add(key)
                    for word in value.split():
                        for index in _index(word):
                            yield key == "index-url", index
