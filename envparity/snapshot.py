"""
Snapshot: the environment that a model was trained in, as a value and as a file.

`take` is for the training process itself; `of` is the thought behind it and behind the command.
"""

from __future__ import annotations

__all__ = ["Recording", "SnapshotWarning", "of", "recording", "take", "unprovided", "write"]

import gc
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envparity import sources
from envparity.errors import EnvparityError, UsageError
from envparity.sources import Options

if TYPE_CHECKING:
    from envparity.sources.reading import Fact
    from envparity.values import Environment


@dataclass(frozen=True)
class Lineage:
    """What somebody names of where a model comes from: data by its paths, parameters by name or as texts."""

    data: Sequence[str | Path] = ()
    params: Mapping[str, Any] | Sequence[str] = ()

    def facts(self, options: Options) -> Iterator[Fact]:
        """
        The facts of what is named.

        Raises:
            what `lineage.data` and `lineage.parameters` raise.
        """
        if self.params:
            from envparity.lineage.parameters import parameters

            yield from parameters(self.params, options.base_dir)
        if self.data:
            from envparity.lineage.data import data

            yield from data(self.data, options.base_dir)


class SnapshotWarning(UserWarning):
    """A snapshot could not be taken, or is not complete; training goes on."""


def take(
    path: str | Path | None = None,
    *,
    source: str | None = None,
    models: str | Path | Sequence[str | Path] = (),
    data: str | Path | Sequence[str | Path] = (),
    params: Mapping[str, Any] | Sequence[str] = (),
    verify_files: bool = False,
    strict: bool = False,
) -> Environment | None:
    """
    Record the environment of the running process, and write it to `path` if one is given.

    Two looks make one snapshot. The interpreter is started once more, isolated, and read from outside: so what is
    installed is told as `envparity snapshot` tells it. And this process says what only it knows: the modules and shared
    libraries that it has loaded, and what its numeric libraries are set to. For that no library is imported or loaded,
    and none is changed. The environment variables are those of this process, as they are now, without what a library
    sets by itself when it is imported.

    Args:
        path: where to write it, by custom `model.env.json`.
        source: another source than this process; any reference that the commands take.
        models: model files, or folders of them. What they need is read from their bytes; they are never loaded.
        data: files and folders that the model was made of; they are hashed.
        params: the parameters of the training, by name. What is named like a secret is left out, but for its name.
        verify_files: hash every installed file, and say which differ from their RECORD.
        strict: raise what goes wrong. Otherwise it is a SnapshotWarning: the end of a long training is no time to fail.
            A model, data or parameters that cannot be read are then a gap of the snapshot, which is not complete; one
            that cannot be written is the answer all the same; where there is none at all, the answer is `None`.
    """
    options = Options(environ=started_with() if source is None else os.environ, verify_files=verify_files)
    lineage = Lineage(_several(data), params)
    try:
        with _without_garbage_collection():
            facts, given, failed = _named(_several(models), lineage, options, strict=strict)
            if source:
                environment = _of(source, facts, given, options, lineage)
            else:
                environment = _of_this_process(facts, given, options, lineage)
    except Exception as error:  # a bug of ours is no reason to lose a training either
        if strict:
            raise
        warnings.warn(f"no snapshot was taken: {_said(error)}", SnapshotWarning, stacklevel=2)
        return None
    try:
        if path is not None:
            write(environment, path)
    except Exception as error:
        if strict:
            raise
        warnings.warn(f"the snapshot was not written: {_said(error)}", SnapshotWarning, stacklevel=2)
    for failure in failed:
        warnings.warn(f"left out of the snapshot: {_said(failure)}", SnapshotWarning, stacklevel=2)
    if not environment.complete:
        unread = sum(gap.kind == "unread" for gap in environment.gaps)
        warnings.warn(f"the snapshot is not complete: {unread} things could not be read", SnapshotWarning, stacklevel=2)
    return environment


def _said(error: Exception) -> str:
    if not isinstance(error, EnvparityError):
        return f"{type(error).__name__}: {error}"
    return f"{error}; {error.hint}" if error.hint else str(error)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """
    What is made here is small, and what a training holds is large: to search that for garbage, because this made a few
    thousand objects, takes longer than the snapshot.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass
class Recording:
    """
    A snapshot that will be taken: models, data and parameters may be named while the training goes on. `environment` is
    the answer.
    """

    models: list[str | Path] = field(default_factory=list)
    data: list[str | Path] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    environment: Environment | None = None


@contextmanager
def recording(
    path: str | Path | None = None,
    *,
    models: str | Path | Sequence[str | Path] = (),
    data: str | Path | Sequence[str | Path] = (),
    params: Mapping[str, Any] | None = None,
    verify_files: bool = False,
    strict: bool = False,
) -> Iterator[Recording]:
    """
    Take a snapshot at the end of a block, as `take` does, with the same arguments:

        with snapshot.recording("model.env.json") as record:
            ...
            record.models.append("model.joblib")

    Where the block raises, nothing is taken, and its error goes on.
    """
    record = Recording(list(_several(models)), list(_several(data)))
    if isinstance(params, Mapping):
        record.params.update(params)
    given = None if params is None or isinstance(params, Mapping) else params
    yield record
    record.environment = take(
        path,
        models=record.models,
        data=record.data,
        params=record.params or given or {},  # what is no mapping is refused at the end, and not before the training
        verify_files=verify_files,
        strict=strict,
    )


def _several(paths: str | Path | Sequence[str | Path]) -> Sequence[str | Path]:
    return [paths] if isinstance(paths, str | Path) else paths


def of(
    source: str | None,
    *,
    models: Sequence[str | Path] = (),
    options: Options | None = None,
    lineage: Lineage | None = None,
) -> Environment:
    """
    The Environment of a source, made for these models. Without a source, the active environment's.

    Of an interpreter of this machine the lineage holds the repository of the folder that relative paths start at, and
    the active run, as variables tell it; of any other source only what is named.

    Raises:
        EnvparityError: whatever `sources.read` raises; UsageError for a model that is not there, or two of one name,
            and for `deep` where the source is no live interpreter.
    """
    options = options or Options()
    lineage = lineage or Lineage()
    given = list(lineage.facts(options))
    return _of(source, _model_facts(models, options), given, options, lineage)


def _of(
    source: str | None, facts: Sequence[Fact], given: Sequence[Fact], options: Options, lineage: Lineage
) -> Environment:
    """An Environment with these facts of models, and these of its lineage."""
    require_deep(source, options)
    if options.deep:
        from envparity.sources import running

        options = replace(options, wanted=running.importable(name for fact in facts for name in _modules(fact)))
    environment = sources.read(source, options=options) if source else sources.read_active(options)
    is_live = environment.origin.kind == "live" and not _is_saved(source, options)
    if options.deep and (not is_live or environment.python is None):
        raise UsageError(
            f"`--deep` starts an interpreter of this machine, and `{source}` is none",
            hint="name one: `venv:DIR` or `python:EXE`; or take the snapshot without it",
        )
    if is_live and environment.origin.reference.partition(":")[0] in _HERE:
        given = [*given, *_around(options, lineage)]
    return _with_lineage(_with_models(environment, facts), given)


def require_deep(source: str | None, options: Options) -> None:
    """Refuse `--deep` for what starts no interpreter of this machine, before anything is said or done."""
    scheme, colon, _ = (source or "").partition(":")
    elsewhere = bool(colon) and scheme in sources.SCHEMES and scheme not in _HERE
    if options.deep and (elsewhere or _is_saved(source, options)):
        raise UsageError(
            f"`--deep` starts an interpreter of this machine, and `{source}` is none",
            hint="name one: `venv:DIR` or `python:EXE`; or take the snapshot without it",
        )


def unprovided(environment: Environment) -> dict[str, tuple[str, ...]]:
    """
    By model, the top-level modules that it refers to and that nothing in its environment provides, as far as the
    installed files say what they provide. Somebody's own modules are among them; they are shipped with `--app`.
    """
    if environment.distributions is None or environment.python is None:
        return {}
    if not environment.artifacts:
        return {}
    from envparity.image.preflight import stdlib_names

    standard = stdlib_names(environment.python.version)
    provided = {
        name.partition(".")[0] for item in environment.distributions if item.importable for name in item.import_names
    }
    provided |= {item.name.replace("-", "_") for item in environment.distributions if item.importable}
    found = {
        artifact.name: tuple(
            sorted({module.partition(".")[0] for module in artifact.modules} - provided - standard - {"__main__"})
        )
        for artifact in environment.artifacts or ()
    }
    # Cython's short names (`_loss`) belong to an extension module somewhere below.
    return {name: missing for name, modules in found.items() if (missing := tuple(m for m in modules if m[:1] != "_"))}


def write(environment: Environment, path: str | Path) -> None:
    """
    Write a snapshot, whole or not at all.

    One that holds values of environment variables is for its owner alone (mode 0600), like what it was read from.
    """
    from envparity import codec, files

    values = environment.settings is not None and environment.settings.variables
    files.write_bytes(path, codec.dump_environment(environment), mode=0o600 if values else 0o644)


_NOT_BY_THE_USER = {"KMP_DUPLICATE_LIB_OK": "True", "KMP_INIT_AT_FORK": "FALSE", "LC_CTYPE": "C.UTF-8"}
"""
What scikit-learn, joblib and threadpoolctl put into the environment of whoever imports them, and Python itself into its
own where there is no locale (PEP 538).
"""


def started_with() -> dict[str, str]:
    """
    The variables of this process as its user set them: one place has one content digest, whoever asks.
    """
    try:
        started = Path("/proc/self/environ").read_bytes().decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        started = []
    by_user = {line.partition("=")[0] for line in started}
    return {
        name: value
        for name, value in os.environ.items()
        if name in by_user or not started or _NOT_BY_THE_USER.get(name) != value
    }


def _named(
    models: Sequence[str | Path], lineage: Lineage, options: Options, *, strict: bool
) -> tuple[list[Fact], list[Fact], list[EnvparityError]]:
    """
    The facts of models, those of data and parameters, and what went wrong, which is a gap of them too.

    Raises:
        EnvparityError: it is strict, and something went wrong.
    """
    if strict:
        return _model_facts(models, options), list(lineage.facts(options)), []
    from envparity.collectors.tree import gap

    failed: list[EnvparityError] = []

    def attempted(read: Callable[[], Iterable[Fact]], section: str, item: str) -> list[Fact]:
        try:
            return list(read())
        except EnvparityError as error:
            failed.append(error)
            return [gap(section, "unread", str(error), item)]

    facts: list[Fact] = []
    for number, model in enumerate(models):
        name = _name(options.base_dir / model)
        same = [other for other in models[:number] if _name(options.base_dir / other) == name]
        facts += attempted(partial(_model_facts, [*same, model], options), "artifacts", name)
    there = [path for path in lineage.data if (options.base_dir / path).exists()]
    parts = [Lineage([path]) for path in lineage.data if path not in there]
    given = attempted(partial(Lineage(there).facts, options), "artifacts", "data")
    for part in parts:
        given += attempted(partial(part.facts, options), "artifacts", Path(part.data[0]).name)
    given += attempted(partial(Lineage((), lineage.params).facts, options), "source_code", "parameters")
    return facts, given, failed


def _of_this_process(facts: Sequence[Fact], given: Sequence[Fact], options: Options, lineage: Lineage) -> Environment:
    if not sys.executable:
        raise UsageError(
            "this process does not know its own interpreter (`sys.executable` is empty)",
            hint="name it: `source='python:/usr/bin/python3'`",
        )
    from envparity.sources import live, running

    interpreter = live.Interpreter(f"python:{sys.executable}", Path(sys.executable))
    given = [*given, *_around(options, lineage, inside=True)]
    return _with_lineage(_with_models(live.probe(interpreter, options, running.inside), facts), given)


def _model_facts(models: Sequence[str | Path], options: Options) -> list[Fact]:
    names = [_name(options.base_dir / model) for model in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two models are called `{twice}`", hint="give them different file names")
    return [fact for model in models for fact in _facts(options.base_dir / model)]


def _modules(fact: Fact) -> Sequence[str]:
    modules: Sequence[str] = fact.get("modules") or ()
    return modules


def _with_models(environment: Environment, facts: Sequence[Fact]) -> Environment:
    if not facts:
        return environment
    import msgspec

    from envparity import codec
    from envparity.sources.live import NO_MODEL
    from envparity.sources.tooling import marked

    found = codec.environment(facts, environment.origin)
    kept = (gap for gap in environment.gaps if (gap.section, gap.reason) != ("artifacts", NO_MODEL))
    of_models = (gap for gap in found.gaps if gap.section == "artifacts")
    merged = codec.with_artifacts(environment, found.artifacts or ())
    return marked(msgspec.structs.replace(merged, gaps=tuple(sorted({*kept, *of_models}))))


def _name(path: Path) -> str:
    return path.name if path.name not in {"", ".."} else path.resolve().name


def _facts(path: Path) -> list[Fact]:
    # A dozen readers, which a snapshot without a model need not wait for.
    from envparity import files
    from envparity.collectors import model_folders
    from envparity.collectors import models as model_files
    from envparity.collectors.tree import LocalTree

    if not path.exists():
        raise UsageError(f"there is no model file `{path}`", hint="check the path given to `--model`")
    if not path.is_file() and not path.is_dir():
        raise UsageError(f"the model `{path}` is neither a regular file nor a folder")
    try:
        if path.is_dir():
            fact, *gaps = model_folders.folder(LocalTree(), str(path.absolute()), _name(path))
            if not fact["files"]:
                raise UsageError(f"the model `{path}` is a folder without a file")
            return [fact, *gaps]
        return list(model_files.model(str(path.absolute()), path.name))
    except OSError as error:
        raise files.translated(error, f"read the model `{path}`") from error


_HERE = frozenset({"python", "venv", "conda"})
"""Schemes of interpreters of this machine, so that our own folder and variables belong to what is read from them."""


def _is_saved(source: str | None, options: Options) -> bool:
    """Whether a source is a file or standard input: what it holds may say of itself that it was read live, once."""
    if source is None or source == "-":
        return source is not None
    path = options.base_dir / source
    return path.is_file() and not re.fullmatch(r"python[0-9.]*", path.name)


def _around(options: Options, lineage: Lineage, *, inside: bool = False) -> Iterator[Fact]:
    """
    Where the code lies, and which run it is: of our own folder, or, from `inside` the training, of its script. And that
    no data was named, where none was.
    """
    from envparity.collectors.tree import gap

    if not lineage.data:
        yield gap("artifacts", "not-recorded", "no data was named", "data")
    from envparity.lineage.repository import repository
    from envparity.lineage.runs import runs
    from envparity.lineage.script import script

    folder = options.base_dir
    if inside:
        path, told = script(sys.modules.get("__main__"), options.environ)
        yield told
        folder = path.parent if path else folder
    yield from repository(folder, options.environ)
    yield from runs(options.environ, sys.modules if inside else None)


def _with_lineage(environment: Environment, facts: Sequence[Fact]) -> Environment:
    if not facts:
        return environment
    import msgspec

    from envparity import codec

    found = codec.environment(facts, environment.origin)
    spoken_of = {fact["section"] for fact in facts if fact["kind"] == "gap"}
    told = {gap for gap in found.gaps if gap.section in spoken_of}
    code = found.source_code
    if code is not None and environment.source_code is not None:
        known = {name: value for name in code.__struct_fields__ if (value := getattr(code, name))}
        code = msgspec.structs.replace(environment.source_code, **known)
    # A section that is there now, or has a better reason, is not silent any more.
    better = {"source_code"} if code is not None or "source_code" in spoken_of else set()
    kept = {gap for gap in environment.gaps if gap.section not in better or gap.item or gap.kind == "unread"}
    merged = codec.with_artifacts(environment, found.artifacts or ())
    return msgspec.structs.replace(
        merged, source_code=code or environment.source_code, gaps=tuple(sorted({*kept, *told}))
    )
