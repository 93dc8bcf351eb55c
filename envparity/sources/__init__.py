"""
Sources: a reference that a user types -> an Environment.

One literal table of schemes, in order; one file a kind. What names no scheme is a path, and is recognised by its name
and its content where only one reading is possible; otherwise the error lists the candidates. Nothing is guessed.
"""

from __future__ import annotations

__all__ = ["GRAMMAR", "IMAGES", "Options", "read", "read_active", "recognise"]

import os
import re
from collections.abc import Callable
from pathlib import Path

from envparity import files
from envparity.errors import MalformedError, UnsupportedError, UsageError
from envparity.sources import conda, image, live, pylock, requirements, saved
from envparity.sources import recognise as recognition
from envparity.sources.live import read_active
from envparity.sources.reading import Options
from envparity.sources.requirement_lines import MOST_BYTES
from envparity.values import Environment

Reader = Callable[[str, Options], Environment]

SCHEMES: dict[str, Reader] = {
    "python": live.read_python,
    "venv": live.read_venv,
    "conda": conda.read_conda,
    "oci": image.read_oci,
    "docker-archive": image.read_docker_archive,
}

IMAGES = ("oci", "docker-archive")
"""The schemes that are images."""

LATER = {
    "registry": "copy the image to a layout first (`skopeo copy docker://... oci:DIR`), and read `oci:DIR`",
    "docker": "`docker save -o FILE IMAGE`, then `docker-archive:FILE`",
    "container": "`docker save` its image, then `docker-archive:FILE`",
    "ssh": "run `envparity snapshot` there, and copy its file",
    "kube": "run `envparity snapshot` there, and copy its file",
}
"""Schemes of the contract that are not built yet, and what works instead."""

GRAMMAR = (
    "model.env.json, requirements.txt, pylock.toml, python:EXE, venv:DIR, conda:PREFIX, oci:DIR[:TAG], "
    "docker-archive:FILE, -"
)

_FORMATS: dict[str, Reader] = {
    recognition.SAVED: saved.read,
    recognition.REQUIREMENTS: requirements.read,
    recognition.PYLOCK: pylock.read,
}


def read(reference: str, *, options: Options | None = None) -> Environment:
    """
    Read whatever a reference names into an Environment.

    Args:
        reference: one of the table in `GRAMMAR`. `-` is standard input: a saved environment, a pylock or requirements.
        options: how to read; without it no variables are recorded and `-` is an error.

    Raises:
        UsageError: there is no such thing, or the name could be several.
        UnsupportedError: it is known, and not read yet.
        MalformedError: it is not what it should be.
        UnreachableError, TimeLimitError: it cannot be reached.
    """
    options = options or Options()
    if not reference:
        raise UsageError("the name of a source is empty", hint=f"what can be read: {GRAMMAR}")
    if reference == "-":
        return _standard_input(options)
    scheme, colon, rest = reference.partition(":")
    # A path may hold a colon too; a file of that very name is what the user means.
    if colon and re.fullmatch(r"[a-z][a-z0-9-]+", scheme) and not os.path.lexists(options.base_dir / reference):
        return _of_scheme(scheme, rest, options)
    try:
        return _of_path(reference, options)
    except OSError as error:
        raise files.translated(error, f"read `{reference}`") from error


def recognise(path_or_text: str | bytes) -> str:
    """
    What a file (by its path) or some content (as bytes) looks like, in words; empty where nothing fits.

    Raises:
        UsageError, UnreachableError: the file cannot be read.
    """
    if isinstance(path_or_text, bytes):
        kind = recognition.by_content(path_or_text)
    else:
        data = files.read_bytes(path_or_text)
        kind = recognition.by_content(data) or recognition.by_name(path_or_text)
    return kind.title if kind else ""


def _of_scheme(scheme: str, rest: str, options: Options) -> Environment:
    if scheme in SCHEMES:
        if not rest:
            raise UsageError(f"`{scheme}:` names nothing", hint=f"what can be read: {GRAMMAR}")
        return SCHEMES[scheme](rest, options)
    if scheme in LATER:
        raise UnsupportedError(f"reading `{scheme}:` is not supported yet", hint=LATER[scheme])
    if scheme in {"http", "https", "file", "git+https", "s3"}:
        raise UsageError("a URL cannot be read as an environment", hint="fetch the file, and name it by its path")
    candidates = "" if "/" in rest else f"; an image of that name would be `docker:{scheme}:{rest}`, which comes later"
    raise UsageError(f"`{scheme}:` is not a kind of source{candidates}", hint=f"what can be read: {GRAMMAR}")


def _of_path(reference: str, options: Options) -> Environment:
    path = options.base_dir / reference
    if path.is_dir():
        return _of_folder(reference, path, options)
    if not path.exists():
        raise UsageError(f"`{reference}` does not exist", hint=_candidates(reference))
    named = recognition.by_name(reference)
    if named is not None and named.supported:
        return _FORMATS[named.key](reference, options)
    if reference.endswith((".tar", ".tar.gz", ".tgz")):
        return image.read_docker_archive(reference, options)
    if re.fullmatch(r"python[0-9.]*", path.name) and os.access(path, os.X_OK):
        return live.read_python(str(path), options)
    data = files.read_bytes(path, limit=MOST_BYTES, what="source")
    found = recognition.by_content(data)
    if named is not None:
        raise _not_read(reference, named, found, data)
    return _of_content(data, reference, path.parent, found)


def _not_read(
    reference: str, named: recognition.Kind, found: recognition.Kind | None, data: bytes
) -> UnsupportedError | MalformedError:
    """The name belongs to a format that is not read yet; whether the content does too decides what is said."""
    vague = {"json", "toml", "yaml"}
    if found is None and data.strip():
        return MalformedError(
            f"`{reference}` is named like {named.title}, and does not look like one",
            hint="if it holds requirements, call it requirements.txt",
        )
    if found is not None and found.key != named.key and found.key not in vague:
        return MalformedError(
            f"`{reference}` is named like {named.title}, and looks like {found.title}", hint=found.remedy
        )
    return UnsupportedError(f"`{reference}` is {named.title}, which is not supported yet", hint=named.remedy)


def _of_content(data: bytes, reference: str, folder: Path, kind: recognition.Kind | None) -> Environment:
    """Bytes without a telling name. "Any text that pip's grammar accepts is a requirements source." """
    if kind is None or kind.key == recognition.REQUIREMENTS:
        return requirements.parse(data, reference, folder)
    if kind.key == recognition.SAVED:
        return saved.parse(data, reference)
    if kind.key == recognition.PYLOCK:
        return pylock.parse(data, reference)
    if kind.remedy:
        raise UnsupportedError(f"`{reference}` looks like {kind.title}, which is not supported yet", hint=kind.remedy)
    raise MalformedError(
        f"`{reference}` looks like {kind.title}, and not like an environment", hint=f"what can be read: {GRAMMAR}"
    )


def _of_folder(reference: str, path: Path, options: Options) -> Environment:
    if (path / "oci-layout").is_file():
        return image.read_oci(reference, options)
    if (path / "pyvenv.cfg").is_file():
        return live.read_venv(reference, options)
    if (path / "MLmodel").is_file():
        kind = recognition.KINDS["mlmodel"]
        raise UnsupportedError(f"`{reference}` is {kind.title}, which is not supported yet", hint=kind.remedy)
    if (path / "conda-meta").is_dir():
        return conda.read_conda(reference, options)
    inside = ("requirements.txt", "pylock.toml", "model.env.json", ".venv", "venv")
    candidates = [f"`{Path(reference) / name}`" for name in inside if (path / name).exists()]
    raise UsageError(
        f"`{reference}` is a folder, and no virtual or conda environment and no image layout",
        hint=f"did you mean {' or '.join(candidates)}?" if candidates else f"what can be read: {GRAMMAR}",
    )


def _candidates(reference: str) -> str:
    """What somebody who typed a name that is not there may have meant."""
    if "/" not in reference and re.fullmatch(r"python[0-9.]*", reference):
        return f"did you mean `python:{reference}`?"
    if "/" in reference and re.search(r"python[0-9.]*$", reference):
        return f"there is no such file; an interpreter is named as `python:{reference}`"
    return f"a file, or one of: {GRAMMAR}"


def _standard_input(options: Options) -> Environment:
    if options.stdin is None:
        raise UsageError("`-` reads standard input, and there is none here")
    data = options.stdin.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise MalformedError(f"standard input is larger than the limit of {MOST_BYTES:,} bytes")
    if not data.strip():
        raise UsageError("standard input is empty", hint="pipe a saved environment or requirements into it")
    return _of_content(data, "-", options.base_dir, recognition.by_content(data))
