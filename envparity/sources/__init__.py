"""
Sources: a reference that a user types -> an Environment.

One literal table of schemes, in order; one file a kind. What names no scheme is a path, and is recognised by its name
and its content where only one reading is possible; otherwise the error lists the candidates. Nothing is guessed.
"""

from __future__ import annotations

__all__ = [
    "GRAMMAR",
    "Options",
    "active_reference",
    "beside",
    "on_host",
    "read",
    "read_active",
    "read_sides",
    "recognise",
]

import importlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from envparity.errors import EnvparityError, MalformedError, TargetNeededError, UnsupportedError, UsageError
from envparity.sources import recognise as recognition
from envparity.sources.reading import Options

if TYPE_CHECKING:
    from envparity.values import Environment

Reader = Callable[[str, Options], "Environment"]


def _later(module: str, function: str) -> Reader:
    """A reader whose file is loaded when it is asked for: who reads a live place waits for no reader of images."""

    def reader(reference: str, options: Options) -> Environment:
        found: Environment = getattr(importlib.import_module(f"envparity.sources.{module}"), function)(
            reference, options
        )
        return found

    return reader


SCHEMES: dict[str, Reader] = {
    "python": _later("live", "read_python"),
    "venv": _later("live", "read_venv"),
    "conda": _later("conda", "read_conda"),
    "oci": _later("image_places", "read_oci"),
    "docker-archive": _later("image_places", "read_docker_archive"),
    "registry": _later("image_places", "read_registry"),
    "docker": _later("image_places", "read_docker"),
    "container": _later("container", "read_container"),
    "ssh": _later("remote", "read_ssh"),
    "kube": _later("remote", "read_kube"),
}

GRAMMAR = (
    "model.env.json, a lock or requirements file, an SBOM, python:EXE, venv:DIR, conda:PREFIX, oci:DIR[:TAG], "
    "docker-archive:FILE, registry:HOST/NAME[:TAG], docker:IMAGE, container:NAME, ssh:HOST, "
    "kube:NAMESPACE/POD[/CONTAINER], -"
)

MOST_BYTES = 256 << 20
"""The largest file that is looked at; what its kind is may allow less."""


def read_active(options: Options) -> Environment:
    """The Environment of the active environment (see `live.active`)."""
    from envparity.sources import live

    return live.read_active(options)


def active_reference(options: Options) -> str:
    """The reference of the active environment (see `live.active`)."""
    from envparity.sources import live

    return live.active(options).reference


def on_host(environment: Environment, host: Environment) -> Environment:
    """An environment as it is on a host (see `hosted.on_host`)."""
    from envparity.sources import hosted

    return hosted.on_host(environment, host)


def read(reference: str, *, options: Options | None = None) -> Environment:
    """
    Read whatever a reference names into an Environment.

    Args:
        reference: one of the table in `GRAMMAR`. `-` is standard input: any format that is known by its content.
        options: how to read, and for which target; without it no variables are recorded and `-` is an error.

    Raises:
        UsageError: there is no such thing, or the name could be several; the target is none, or not in the file.
        TargetNeededError: the file holds several environments, and the options do not say which.
        UnsupportedError: it is known, and not read yet.
        MalformedError: it is not what it should be.
        UnreachableError, TimeLimitError: it cannot be reached.
    """
    options = options or Options()
    if options.platform or options.python_version:
        from envparity.sources.target import checked

        options = checked(options)
    environment = _read(reference, options)
    # What selects from files loads the values, which a probe that works meanwhile should not wait for.
    from envparity.sources.target import selected

    return selected(environment, options)


def read_sides(
    left: str, rights: Sequence[str], *, options: Options | None = None
) -> Iterator[tuple[Environment, Environment]]:
    """
    The two sides of each comparison of one source with others.

    What a file declares for several platforms or Pythons is read for those of the other side, where the options state
    none.

    Raises:
        what `read` raises; TargetNeededError where the other side knows no platform either.
    """
    from envparity.sources.target import beside

    options = options or Options()
    before: Environment | None = None
    try:
        before = read(left, options=options)
    except TargetNeededError:
        if not rights:
            raise
    for reference in rights:
        if before is None:
            after = read(reference, options=options)
            yield read(left, options=beside(options, after)), after
        else:
            yield before, read(reference, options=beside(options, before))


def _read(reference: str, options: Options) -> Environment:
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
        from envparity import files

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
        from envparity import files

        data = files.read_bytes(path_or_text)
        kind = recognition.by_content(data) or recognition.by_name(path_or_text)
    return kind.title if kind else ""


def _of_scheme(scheme: str, rest: str, options: Options) -> Environment:
    if scheme in SCHEMES:
        if not rest:
            raise UsageError(f"`{scheme}:` names nothing", hint=f"what can be read: {GRAMMAR}")
        return SCHEMES[scheme](rest, options)
    if scheme in {"http", "https", "file", "git+https", "s3"}:
        raise UsageError("a URL cannot be read as an environment", hint="fetch the file, and name it by its path")
    candidates = "" if "/" in rest else f"; an image of that name would be `docker:{scheme}:{rest}`"
    raise UsageError(f"`{scheme}:` is not a kind of source{candidates}", hint=f"what can be read: {GRAMMAR}")


def _of_path(reference: str, options: Options) -> Environment:
    path = options.base_dir / reference
    if path.is_dir():
        return _of_folder(reference, path, options)
    if not path.exists():
        raise UsageError(f"`{reference}` does not exist", hint=_candidates(reference))
    named = recognition.by_name(reference)
    if named is None and reference.endswith((".tar", ".tar.gz", ".tgz")):
        return SCHEMES["docker-archive"](reference, options)
    if named is None and re.fullmatch(r"python[0-9.]*", path.name) and os.access(path, os.X_OK):
        return SCHEMES["python"](str(path), options)
    from envparity import files

    data = files.read_bytes(path, limit=named.limit if named else MOST_BYTES, what=_what(named))
    if named is None:
        return _of_content(data, reference, options)
    try:
        return _parsed(named, data, reference, options)
    except (MalformedError, UnsupportedError) as error:
        raise _misnamed(error, named, data, reference) from error


def _what(named: recognition.Kind | None) -> str:
    return named.title.partition(" (")[0].removeprefix("a ").removeprefix("an ") if named else "source"


def _parsed(kind: recognition.Kind, data: bytes, name: str, options: Options) -> Environment:
    """What the reader of a kind makes of some bytes; its module is imported only now."""
    if len(data) > kind.limit:
        raise MalformedError(f"`{name}` is larger than the limit of {kind.limit:,} bytes for {kind.title}")
    parse: Callable[[bytes, str, Options], Environment]
    parse = importlib.import_module(f"envparity.sources.{kind.reader}").parse
    try:
        return parse(data, name, options)
    except MalformedError as error:
        if Path(name).name not in f"{error.message} {error.where}":  # a file is named, whatever reads it
            error.where = f"{name}, {error.where}" if error.where else name
        raise


def _misnamed(error: EnvparityError, named: recognition.Kind, data: bytes, name: str) -> EnvparityError:
    """The error of a reader, or what is behind it: the file is another format than its name says."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return error  # its encoding comes first
    found = recognition.by_content(data)
    if found is None and named.key != recognition.REQUIREMENTS and _is_requirements(data, name):
        found = recognition.KINDS[recognition.REQUIREMENTS]
    if found is None or found.vague or found.key == named.key or "merge conflict" in error.message:
        return error
    return MalformedError(
        f"`{name}` is named like {named.title}, and looks like {found.title}",
        hint=found.remedy or f"give it the name that belongs to its format{_usual(found)}",
        where=error.where,
    )


def _usual(kind: recognition.Kind) -> str:
    return ": requirements.txt" if kind.key == recognition.REQUIREMENTS else ""


def _is_requirements(data: bytes, name: str) -> bool:
    from envparity.sources import requirements

    if not data.strip():
        return False
    try:
        return bool(requirements.parse(data, name, Options()).distributions)
    except EnvparityError:
        return False


def _of_content(data: bytes, reference: str, options: Options) -> Environment:
    """Bytes without a telling name. "Any text that pip's grammar accepts is a requirements source." """
    kind = recognition.by_content(data) or recognition.KINDS[recognition.REQUIREMENTS]
    if kind.supported:
        return _parsed(kind, data, reference, options)
    if kind.remedy:
        raise UnsupportedError(f"`{reference}` looks like {kind.title}, which is not supported yet", hint=kind.remedy)
    raise MalformedError(
        f"`{reference}` looks like {kind.title}, and not like an environment", hint=f"what can be read: {GRAMMAR}"
    )


def _of_folder(reference: str, path: Path, options: Options) -> Environment:
    if (path / "oci-layout").is_file():
        return SCHEMES["oci"](reference, options)
    if (path / "pyvenv.cfg").is_file():
        return SCHEMES["venv"](reference, options)
    if (path / "MLmodel").is_file():
        return _of_path(str(Path(reference) / "MLmodel"), options)
    if (path / "conda-meta").is_dir():
        return SCHEMES["conda"](reference, options)
    inside = sorted(entry.name for entry in path.iterdir())
    names = [name for name in inside if recognition.by_name(name) or name in {".venv", "venv"}]
    candidates = [f"`{Path(reference) / name}`" for name in names[:5]]
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
    from envparity.sources.requirement_lines import MOST_BYTES

    data = options.stdin.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise MalformedError(f"standard input is larger than the limit of {MOST_BYTES:,} bytes")
    if not data.strip():
        raise UsageError("standard input is empty", hint="pipe a saved environment or requirements into it")
    return _of_content(data, "-", options)
