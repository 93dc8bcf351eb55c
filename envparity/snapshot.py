"""
Snapshot: the environment that a model was trained in, as a value and as a file.

`take` is for the training process itself; `of` is the thought behind it and behind the command.
"""

from __future__ import annotations

__all__ = ["SnapshotWarning", "of", "take", "write"]

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from envparity import sources
from envparity.errors import EnvparityError, UsageError
from envparity.sources import Options

if TYPE_CHECKING:
    from envparity.values import Environment


class SnapshotWarning(UserWarning):
    """A snapshot could not be taken, or is not complete; training goes on."""


def take(
    path: str | Path | None = None,
    *,
    source: str | None = None,
    models: str | Path | Sequence[str | Path] = (),
    verify_files: bool = False,
    strict: bool = False,
) -> Environment | None:
    """
    Record the environment of the running process, and write it to `path` if one is given.

    The interpreter is started once more, isolated, and read from outside: so the facts are those that
    `envparity snapshot` finds, and nothing that training has imported is touched. The environment variables are those
    of this process, as they are now, without what a library sets by itself when it is imported.

    Args:
        path: where to write it, by custom `model.env.json`.
        source: another source than this process; any reference that the commands take.
        models: model files. What they need is read from their bytes; they are never loaded.
        verify_files: hash every installed file, and say which differ from their RECORD.
        strict: raise what goes wrong. Otherwise it is a SnapshotWarning, and the answer is `None`: the end of a long
            training is no time to fail.
    """
    options = Options(environ=started_with() if source is None else os.environ, verify_files=verify_files)
    models = [models] if isinstance(models, str | Path) else models
    try:
        environment = of(source, models=models, options=options) if source else _of_this_process(models, options)
        if path is not None:
            write(environment, path)
    except EnvparityError as error:
        if strict:
            raise
        hint = f"; {error.hint}" if error.hint else ""
        warnings.warn(f"no snapshot was taken: {error}{hint}", SnapshotWarning, stacklevel=2)
        return None
    if not environment.complete:
        unread = sum(gap.kind == "unread" for gap in environment.gaps)
        warnings.warn(f"the snapshot is not complete: {unread} things could not be read", SnapshotWarning, stacklevel=2)
    return environment


def of(source: str | None, *, models: Sequence[str | Path] = (), options: Options | None = None) -> Environment:
    """
    The Environment of a source, made for these models. Without a source, the active environment's.

    Raises:
        EnvparityError: whatever `sources.read` raises; UsageError for a model that is not there, or two of one name.
    """
    options = options or Options()
    environment = sources.read(source, options=options) if source else sources.read_active(options)
    return _with_models(environment, models, options)


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


def _of_this_process(models: Sequence[str | Path], options: Options) -> Environment:
    if not sys.executable:
        raise UsageError(
            "this process does not know its own interpreter (`sys.executable` is empty)",
            hint="name it: `source='python:/usr/bin/python3'`",
        )
    from envparity.sources import live

    interpreter = live.Interpreter(f"python:{sys.executable}", Path(sys.executable))
    return _with_models(live.probe(interpreter, options), models, options)


def _with_models(environment: Environment, models: Sequence[str | Path], options: Options) -> Environment:
    if not models:
        return environment
    import msgspec

    from envparity import codec

    names = [Path(model).name for model in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two models are called `{twice}`", hint="give them different file names")
    facts = [fact for model in models for fact in _facts(options.base_dir / model)]
    found = codec.environment(facts, environment.origin)
    kept = (gap for gap in environment.gaps if gap.section != "artifacts" or gap.kind == "unread")
    merged = codec.with_artifacts(environment, found.artifacts or ())
    return msgspec.structs.replace(merged, gaps=tuple(sorted({*kept, *found.gaps})))


def _facts(path: Path) -> list[dict[str, object]]:
    if path.is_dir():
        raise UsageError(f"the model `{path}` is a folder, which is not supported yet", hint="name the file in it")
    if not path.exists():
        raise UsageError(f"there is no model file `{path}`", hint="check the path given to `--model`")
    if not path.is_file():
        raise UsageError(f"the model `{path}` is not a regular file")
    from envparity import files
    from envparity.collectors import models as model_files

    try:
        return list(model_files.model(str(path.absolute()), path.name))
    except OSError as error:
        raise files.translated(error, f"read the model `{path}`") from error
