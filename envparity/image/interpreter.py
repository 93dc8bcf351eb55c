"""A captured interpreter, read back from its artifact as entries of a layer."""

from __future__ import annotations

__all__ = ["interpreter_entries"]

import gzip
import io
import posixpath
import zlib
from dataclasses import replace
from pathlib import Path

from envparity.errors import MalformedError, UnreachableError
from envparity.oci.entries import Entry, shown
from envparity.oci.tar import read_layer

_HOME = "opt/python"
_UNPACKED_LIMIT = 4 << 30
_MODES = {"folder": {0o755}, "file": {0o644, 0o755}, "link": {0o777}}


def interpreter_entries(artifact: Path) -> list[Entry]:
    """
    The members of an artifact that `resolvers.interpreter.capture` wrote, without the parents above `opt/python`.

    The lock vouches for the bytes, and not for who wrote the lock: what leads out of `opt/python`, or is not of the
    form that a capture has, is refused.

    Raises:
        MalformedError: not a gzip file or tar, damaged, too large, or with a member that no capture writes.
        UnreachableError: it cannot be read.
    """
    entries: dict[str, Entry] = {}
    try:
        with gzip.open(artifact, "rb") as stream:
            size_bytes = 0
            for raw in read_layer(io.BufferedReader(stream, 1 << 18), layer=artifact.name):
                entry = raw.entry
                size_bytes += entry.size_bytes
                if size_bytes > _UNPACKED_LIMIT:
                    raise MalformedError(f"{artifact.name} unpacks to more than {_UNPACKED_LIMIT:,} bytes")
                if entry.path in {"", "opt"} and entry.kind == "folder":
                    continue
                _require_form(entry, artifact.name)
                if entry.path in entries:
                    raise MalformedError(f"{artifact.name} has two members `{shown(entry.path)}`")
                content = raw.reader.read() if entry.kind == "file" else None
                while content is not None and len(content) < entry.size_bytes:
                    content += raw.reader.read()
                entries[entry.path] = replace(entry, content=content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise MalformedError(f"{artifact.name} is not a sound gzip file: {error}") from error
    except OSError as error:
        raise UnreachableError(f"cannot read `{artifact}`: {error.strerror or error}") from error
    if not any(path.startswith(f"{_HOME}/bin/") for path in entries):
        raise MalformedError(f"{artifact.name} holds no interpreter")
    return [entries[path] for path in sorted(entries)]


def _require_form(entry: Entry, name: str) -> None:
    where = shown(entry.path)
    if entry.path != _HOME and not entry.path.startswith(f"{_HOME}/"):
        raise MalformedError(f"{name} has the member `{where}`, outside of {_HOME}")
    if entry.mode not in _MODES.get(entry.kind, set()) or entry.uid or entry.gid:
        raise MalformedError(f"`{where}` in {name} has a kind, mode or owner that no captured interpreter has")
    if entry.kind == "link":
        target = posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), entry.target))
        if entry.target.startswith("/") or not target.startswith(f"{_HOME}/"):
            raise MalformedError(f"the link `{where}` in {name} leads out of {_HOME}")
