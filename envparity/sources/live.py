"""
A live interpreter: the collectors are sent to it over standard input, run there in one process, and answer once. Our
own interpreter is told to import them from where they lie, since it has compiled them already.

The interpreter that the user named is started with `-I -S`, so that no `.pth` line and no `sitecustomize` runs, with an
environment that holds nothing but `LD_LIBRARY_PATH`. What only running code knows comes from `running.py`.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envparity.collectors import bundle, variables
from envparity.collectors.paths import pyvenv_keys
from envparity.collectors.tree import gap
from envparity.errors import EnvparityError, MalformedError, UnreachableError, UsageError, plain
from envparity.process import Command, Completed, run, started
from envparity.sources.reading import Fact, Options, origin

if TYPE_CHECKING:
    from envparity.values import Environment

OLDEST = (3, 8)

# A shim (pyenv, asdf, mise) is a shell script that looks the interpreter up, and needs these to find it.
_OF_SHIMS = ("PATH", "HOME", "PYENV_ROOT", "PYENV_VERSION", "ASDF_DIR", "ASDF_DATA_DIR", "MISE_DATA_DIR")


@dataclass(frozen=True)
class Interpreter:
    """An executable to start, and the reference that names it."""

    reference: str
    executable: Path


def read_python(reference: str, options: Options) -> Environment:
    """
    The Environment of `python:EXE`.

    Raises:
        UsageError: there is no such executable, or its Python is too old. UnreachableError: it does not start.
        TimeLimitError: it did not answer in time. MalformedError: its answer was cut or forged.
    """
    return probe(Interpreter(f"python:{reference}", _executable(reference, options)), options)


def read_venv(reference: str, options: Options) -> Environment:
    """The Environment of `venv:DIR`. A virtual environment whose own Python is gone is named as such."""
    return probe(Interpreter(f"venv:{reference}", _of_venv(options.base_dir / reference)), options)


def read_active(options: Options) -> Environment:
    """The Environment of the active environment; its reference stands in its origin."""
    return probe(active(options), options)


def active(options: Options) -> Interpreter:
    """
    The interpreter of `VIRTUAL_ENV`, else of `CONDA_PREFIX`, else `python3` on PATH.

    Never the environment that a tool runner (uvx, uv tool, pipx) made to hold envparity: that is not the user's.

    Raises:
        UsageError: there is none. UnreachableError: what the variable names is gone.
    """
    environ = options.environ
    own = options.own_prefix or Path(sys.prefix)
    folder = environ.get("VIRTUAL_ENV", "")
    below = _pyvenv_cfg(Path(folder)).get("extends-environment", "") if folder else ""
    if below:
        return _extended(Path(below))
    if folder and not (_is_same(Path(folder), own) and _of_tool_runner(own)):
        try:
            return Interpreter(f"venv:{folder}", _of_venv(Path(folder)))
        except UsageError as error:
            error.hint = "VIRTUAL_ENV names it; deactivate it, or name a source"
            raise
    prefix = environ.get("CONDA_PREFIX", "")
    if prefix:
        executable = Path(prefix, "bin", "python")
        if executable.exists():
            is_conda = Path(prefix, "conda-meta").is_dir()
            return Interpreter(f"conda:{prefix}" if is_conda else f"python:{executable}", executable)
    found = shutil.which("python3", path=_search_path(environ, own))
    if not found:
        raise UsageError(
            "there is no active environment: neither VIRTUAL_ENV nor CONDA_PREFIX is set, and PATH has no python3",
            hint="name one: `venv:DIR` or `python:EXE`",
        )
    return Interpreter(f"python:{found}", Path(found))


def _extended(prefix: Path) -> Interpreter:
    """What an overlay of `uv run --with` lies over: the project's environment, or an interpreter without one."""
    if _pyvenv_cfg(prefix):
        return Interpreter(f"venv:{prefix}", _of_venv(prefix))
    executable = prefix / "bin" / "python3"
    if not executable.exists():
        raise UnreachableError(f"the Python below the overlay of `uv run` is gone: {executable}", hint="name a source")
    return Interpreter(f"python:{executable}", executable)


def _search_path(environ: Mapping[str, str], own: Path) -> str:
    # An empty PATH would make `which` fall back to the system's own.
    folders = [folder for folder in environ.get("PATH", "").split(os.pathsep) if folder]
    if _of_tool_runner(own):
        folders = [folder for folder in folders if not _is_same(Path(folder).parent, own)]
    return os.pathsep.join(folders) or os.devnull


def _of_tool_runner(prefix: Path) -> bool:
    """Whether a tool runner made this environment: uv and pipx leave a receipt, or build it in their cache."""
    if any((prefix / receipt).exists() for receipt in ("uv-receipt.toml", "pipx_metadata.json")):
        return True
    cached = any(re.fullmatch(r"(archive|builds|environments)-v\d+", part) for part in prefix.parts)
    return cached or (".cache", "pipx") in pairwise(prefix.parts)


def _is_same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _pyvenv_cfg(folder: Path) -> dict[str, str]:
    """Keys of `pyvenv.cfg` (https://docs.python.org/3/library/site.html); nothing where there is none."""
    try:
        return pyvenv_keys((folder / "pyvenv.cfg").read_bytes())
    except OSError:
        return {}


def _of_venv(folder: Path) -> Path:
    if not folder.is_dir():
        raise UsageError(f"there is no virtual environment at `{folder}`", hint="check the name of the folder")
    settings = _pyvenv_cfg(folder)
    executable = folder / "bin" / "python"
    if not settings:
        raise UsageError(
            f"`{folder}` is not a virtual environment: it has no `pyvenv.cfg`",
            hint=f"for another kind of environment name its Python: `python:{executable}`",
        )
    if executable.exists():
        return executable.absolute()
    gone = os.path.realpath(executable) if executable.is_symlink() else settings.get("home", "its base Python")
    raise UnreachableError(
        f"the Python that `{folder}` was made with is gone: {gone}",
        hint="install that Python again, or make the virtual environment again; its packages alone prove nothing",
    )


def _executable(name: str, options: Options) -> Path:
    if not name:
        raise UsageError("`python:` needs the name or the path of an interpreter", hint="`python:/usr/bin/python3`")
    if "/" not in name:
        found = shutil.which(name, path=_search_path(options.environ, options.own_prefix or Path(sys.prefix)))
        if not found:
            raise UsageError(f"there is no `{name}` on PATH", hint="give its path: `python:/usr/bin/python3`")
        return Path(found)
    path = (options.base_dir / name).absolute()
    if path.is_dir():
        raise UsageError(f"`{path}` is a folder, and an interpreter is due", hint=f"did you mean `venv:{name}`?")
    if not path.exists():
        if path.is_symlink():
            raise UnreachableError(
                f"`{path}` is a link to a Python that is gone: {os.path.realpath(path)}",
                hint="install that Python again, or make the environment again",
            )
        raise UsageError(f"there is no interpreter at `{path}`", hint="check the path")
    if not os.access(path, os.X_OK):
        raise UnreachableError(f"`{path}` may not be executed", hint="check its permissions")
    return path


def probe(
    interpreter: Interpreter, options: Options, inside: Callable[[], Iterable[Fact]] | None = None
) -> Environment:
    """
    Send the collectors to an interpreter and make an Environment of what they answer. `inside` tells what the process
    that asks knows of itself, where the interpreter is its own.
    """
    nonce = os.urandom(16).hex()
    is_ours = _is_same(interpreter.executable, Path(sys.executable))
    is_compiled = is_ours and bundle.is_compiled()
    make = bundle.importing_program if is_compiled else bundle.program
    from envparity.sources import itself, running

    environ = options.environ if inside is None else itself.variables(options.environ)
    command = _command(interpreter, options, make(nonce, _asking(options, environ, inside and itself.path())))

    with started(command) as finish, running.beside(interpreter.executable, options, inside) as known:
        # While it works: what is needed for its answer takes as long to import as the answer to be made.
        from envparity.sources import target  # noqa: F401 (what selects from files is asked last)
        from envparity.sources.observed import observed
        from envparity.sources.virtual import with_virtual_packages

        if is_ours and not is_compiled and bundle.may_be_compiled():
            # Once in the life of an installation: Python keeps the byte code, and the next start is faster.
            importlib.import_module("envparity.collectors.probe")
        completed = finish()
        if completed.status != 0:
            raise _failure(interpreter, completed, command)
        running_facts = known()
    facts = [
        *running.together(_answer(str(interpreter.executable), completed, nonce), running_facts),
        variables.settings(options.environ),
        variables.process_switches(environ),
        *([] if inside is None else [itself.switches()]),
        *_without_models(),
    ]
    facts = with_virtual_packages(facts, options.environ)
    return observed(facts, origin("live", interpreter.reference))


def elsewhere(reference: str, answer: list[Fact], environ: Mapping[str, str] | None) -> Environment:
    """
    An Environment of what the collectors answered from another place than this process's own machine. `environ` are the
    variables of that place, where they are known.

    It is read while it lives: what is being installed meanwhile may be half there, which no later reader could tell.
    """
    from envparity.sources import running
    from envparity.sources.observed import observed
    from envparity.sources.virtual import with_virtual_packages

    atomic = gap("distributions", "not-recorded", "it was read live, not atomically: it may have changed meanwhile")
    facts = [*answer, *running.not_asked(), atomic, *_without_models()]
    if environ is None:
        reason = "a command that is started there has other variables than a training or a server has"
        facts.append(gap("settings", "not-recorded", reason))
    else:
        facts += [variables.settings(environ), variables.process_switches(environ)]
    facts = with_virtual_packages(facts, {}, here=False)
    return observed(facts, origin("live", reference))


def _without_models() -> tuple[Fact, ...]:
    return (gap("artifacts", "not-recorded", NO_MODEL),)


NO_MODEL = "no model was named"


def _command(interpreter: Interpreter, options: Options, program: bytes) -> Command:
    return Command(
        (str(interpreter.executable), *PROBING),
        stdin=program,
        env=_clean(interpreter.executable, options.environ),
        timeout_s=options.timeout_s,
        slower="`envparity snapshot --timeout` raises the limit",
    )


def _asking(options: Options, environ: Mapping[str, str] | None, path: Sequence[str] | None = None) -> dict[str, Any]:
    chosen: dict[str, Any] = {"verify_files": options.verify_files}
    if environ is not None:
        chosen["variables"] = {name: environ[name] for name in bundle.VARIABLES if name in environ}
    if path is not None:
        chosen["path"] = path
    return chosen


PROBING = ("-I", "-S", "-")
"""How any interpreter is started to run the collectors: isolated, without `site`, the program on standard input."""


def asked(
    name: str,
    start: Callable[[bytes], Completed],
    failure: Callable[[Completed], EnvparityError],
    options: Options,
    environ: Mapping[str, str] | None = None,
) -> list[Fact]:
    """
    Send the collectors to wherever `start` leads, and take their answer out of what comes back.

    Args:
        name: the interpreter or its place, as errors call it.
        start: starts an interpreter with `PROBING`, gives it this standard input, and waits for its end.
        failure: what an end with another status than 0 means.
        environ: the variables of that place, where they are known.

    Raises:
        MalformedError: the answer was cut or forged. And what `start` raises, and what `failure` makes.
    """
    nonce = os.urandom(16).hex()
    completed = start(bundle.program(nonce, _asking(options, environ)))
    if completed.status != 0:
        raise failure(completed)
    return _answer(name, completed, nonce)


def _answer(name: str, completed: Completed, nonce: str) -> list[Fact]:
    try:
        return list(bundle.parse_answer(completed.stdout, nonce, completed.stderr))
    except ValueError as error:
        raise MalformedError(
            f"`{name}` did not answer as the probe does: {error}",
            hint="is it a Python interpreter? something in it may print or stop before the probe is done",
        ) from error


def last_line(completed: Completed) -> str:
    """The last thing that a process said on standard error, as it may be shown."""
    lines = completed.stderr.decode("utf-8", "replace").strip().splitlines()
    return plain(lines[-1])[:200] if lines else ""


def _clean(executable: Path, environ: Mapping[str, str]) -> dict[str, str]:
    names = ["LD_LIBRARY_PATH"]
    try:
        with executable.open("rb") as stream:
            if stream.read(2) == b"#!":
                names.extend(_OF_SHIMS)
    except OSError:
        pass  # what may be executed and not read is no script
    return {name: environ[name] for name in names if name in environ}


def _failure(interpreter: Interpreter, completed: Completed, command: Command) -> UsageError | UnreachableError:
    version = _version(command)
    oldest = ".".join(map(str, OLDEST))
    if version and tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        return UsageError(
            f"`{interpreter.executable}` is Python {version}, and {oldest} is the oldest that can be read",
            hint="read its requirements file instead",
        )
    said = last_line(completed)
    ended = f"signal {-completed.status}" if completed.status < 0 else f"status {completed.status}"
    return UnreachableError(
        f"`{interpreter.executable}` ended with {ended} before it answered" + (f": {said}" if said else ""),
        hint="try it: `" + " ".join(command.argv[:-1]) + ' -c "import sys; print(sys.version)"`',
    )


def _version(command: Command) -> str:
    """What `-V` says (to standard error before Python 3.4)."""
    completed = run(Command((command.argv[0], "-V"), env=command.env, timeout_s=10))
    words = (completed.stdout + completed.stderr).decode("utf-8", "replace").split()
    if len(words) < 2 or words[0] not in {"Python", "PyPy"}:
        return ""
    parts = words[1].split(".")
    return words[1] if len(parts) >= 2 and all(part.isdigit() for part in parts[:2]) else ""
