"""How a Python was built and what it is linked to, as far as files and its own modules say it."""

from __future__ import annotations

import importlib
import os
from typing import Iterator

from envparity.collectors.shapes import Tree

_SWITCHES = ("--with-", "--without-", "--enable-", "--disable-")
_DATA_LIMIT = 4 << 20

# Module of the standard library, and where it says the version of what it is linked to. Each loads in under 2 ms.
_SAID_BY = (
    ("openssl", "_ssl", "OPENSSL_VERSION"),
    ("sqlite", "_sqlite3", "sqlite_version"),
    ("zlib", "zlib", "ZLIB_RUNTIME_VERSION"),
    ("expat", "pyexpat", "EXPAT_VERSION"),
    ("unicode", "unicodedata", "unidata_version"),
)


def configure_flags(tree: Tree, stdlib: str) -> list[str]:
    """
    The switches that this Python was configured with (`--enable-shared`, `--with-lto`), from the text of its
    `_sysconfigdata`; nothing where there is none. A value that is a path is left out, and so is all that is no switch.
    """
    try:
        names = [name for name in tree.entries(stdlib) if name.startswith("_sysconfigdata_") and name.endswith(".py")]
        # Debian keeps those of its debug build beside the others; one without flags has two underscores.
        names.sort(key=lambda name: (not name.startswith("_sysconfigdata__"), name))
        text = tree.read(stdlib + "/" + names[0], _DATA_LIMIT).decode("utf-8", "replace") if names else ""
    except OSError:
        return []
    return switches(_build_variable(text, "CONFIG_ARGS"))


def switches(arguments: str) -> list[str]:
    """The switches among the quoted arguments of a `configure`, sorted; paths are cut off."""
    kept = set()
    for argument in arguments.split("'"):
        if argument.startswith(_SWITCHES):
            switch, equals, value = argument.partition("=")
            places = "/" in value or "$" in value or " " in value
            kept.add(switch if places or len(value) > 100 else switch + equals + value)
    return sorted(kept)


def _build_variable(text: str, name: str) -> str:
    """One text of the dictionary in a `_sysconfigdata` file: adjacent literals, one or more to a line."""
    start = text.find("'" + name + "': ")
    if start < 0:
        return ""
    pieces = []
    for line in text[start + len(name) + 4 :].split("\n")[:200]:
        line = line.strip()
        last = line.endswith((",", "}"))
        line = line.rstrip(",}").strip()
        if len(line) > 1 and line[0] in "'\"" and line[-1] == line[0]:
            pieces.append(line[1:-1].replace("\\'", "'").replace('\\"', '"').replace("\\\\", "\\"))
        if last or not line:
            break
    return "".join(pieces)


def has_jit(configure: list[str]) -> bool:
    """Whether this Python was built with a compiler that works while it runs (3.13 and newer, PEP 744)."""
    return any(switch.startswith("--enable-experimental-jit") and not switch.endswith("=no") for switch in configure)


def running_libraries(tree: Tree) -> list[tuple[str, str]]:
    """
    What the running interpreter is linked to or carries, as pairs of name and version. A module that this Python was
    built without is `absent`; one that is there and does not load has no pair.
    """
    found = []
    for name, module, attribute in _SAID_BY:
        try:
            said = str(getattr(importlib.import_module(module), attribute))
        except ModuleNotFoundError:
            said = "absent"
        except (ImportError, AttributeError):
            continue
        for title in ("OpenSSL ", "expat_"):
            said = said[len(title) :] if said.startswith(title) else said
        # `3.0.19 27 Jan 2026`: the date adds nothing. Other libraries with that interface (LibreSSL) keep their name.
        found.append((name, said.split(" ")[0] if said[:1].isdigit() else said))
    version = _libffi(tree)
    found += [("libffi", version)] if version else []
    return sorted(found)


def _libffi(tree: Tree) -> str:
    """The version in the name of the libffi that `_ctypes` mapped; empty where it is part of the interpreter."""
    try:
        importlib.import_module("_ctypes")
    except ImportError:
        return ""
    for path in mapped_files(tree):
        name = os.path.basename(path)
        if name.startswith("libffi"):
            return name.partition(".so.")[2]
    return ""


def mapped_files(tree: Tree) -> Iterator[str]:
    """The files that are mapped into this process, each once, their links followed."""
    try:
        text = tree.read("/proc/self/maps", 64 << 20).decode("utf-8", "surrogateescape")
    except OSError:
        return
    paths = (line.split(None, 5)[5:] for line in text.split("\n"))
    for path in dict.fromkeys(path[0] for path in paths if path and path[0].startswith("/")):
        yield os.path.realpath(path)
