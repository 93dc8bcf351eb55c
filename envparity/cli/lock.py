"""`envparity lock`"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from click.core import ParameterSource

from envparity.cli.common import (
    Common,
    Target,
    common_options,
    emit,
    insecure_option,
    os_mirror_option,
    output_option,
    style,
    targets_options,
)
from envparity.cli.configured import named
from envparity.errors import plain
from envparity.report import FORMATS, rendered

if TYPE_CHECKING:
    from envparity.resolvers.indexes import Indexes
    from envparity.values import Environment, Lock, Proof, Python


@click.command()
@click.argument("source")
@output_option("The lock: pylock.toml or pylock.NAME.toml.", default="pylock.toml", show_default=True)
@click.option(
    "--base",
    help="What the image begins with: debian:bookworm, registry:HOST/NAME:TAG, oci:DIR, scratch [default: the"
    " snapshot's own release].",
)
@click.option(
    "--index",
    multiple=True,
    metavar="[NAME=]URL",
    help="A package index, repeatable: without NAME in the place of PyPI, with NAME besides; from-config: those of pip"
    " and uv.",
)
@click.option(
    "--index-for",
    multiple=True,
    metavar="NAME=INDEX",
    help="The index of one distribution, by its name or address; repeatable.",
)
@click.option(
    "--repack",
    multiple=True,
    metavar="NAME|all",
    help="Pack this distribution from where it is installed; all: what the index does not serve.",
)
@click.option(
    "--dev-exclude",
    multiple=True,
    metavar="NAME|PYPROJECT[:GROUP]",
    help="Leave this out, or a group of a pyproject.toml, with what nothing else needs; repeatable.",
)
@click.option("--add", "added", multiple=True, metavar="REQUIREMENT", help="Lock this beside what trained; repeatable.")
@click.option(
    "--serve",
    type=click.Choice(["fastapi", "mlserver", "mlflow"]),
    help="Add the server that `build --serve` will start.",
)
@click.option("--update", "updated", multiple=True, metavar="NAME[==VERSION]", help="Move this on purpose; repeatable.")
@click.option(
    "--resolver", type=click.Choice(["uv", "pip-tools"]), default="uv", show_default=True, help="Of --add and --update."
)
@click.option(
    "--prove",
    is_flag=True,
    help="Hold each wheel against the installed RECORD, by its end; none is downloaded whole for it.",
)
@click.option("--require", type=click.Choice(["proven", "matched"]), help="Refuse what is below this state.")
@click.option("--add-os", multiple=True, metavar="PACKAGE", help="Add this package of the base, with what it needs.")
@click.option("--only-used", is_flag=True, help="Leave out what neither model nor training used.")
@click.option("--keep", multiple=True, metavar="NAME", help="Keep this distribution, used or not (--only-used).")
@click.option("--refresh", is_flag=True, help="Ask the indexes again, even for pages of the last ten minutes.")
@click.option("--check", is_flag=True, help="Say whether a lock still matches its snapshot; ask no network.")
@click.option(
    "--bundle", is_flag=True, help="Put every wheel and package beside the lock, for builds without a network."
)
@click.option("--explain", is_flag=True, help="Print the state of each distribution, and what would settle it.")
@click.option("--format", type=click.Choice(list(FORMATS["proofs"])), help="Of --explain. [default: text]")
@os_mirror_option
@click.option(
    "--bytecode",
    type=click.Choice(["none", "unchecked-hash"]),
    default="unchecked-hash",
    show_default=True,
    help="The byte code that images hold beside their sources.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="PATH",
    help="The model, where SOURCE is no snapshot that knows it.",
)
@click.option("--python", metavar="SOURCE", help="Capture this Python: venv:DIR, or the image that it lies in.")
@click.option("--leave-out", "without", multiple=True, metavar="NAME", help="Lock a file without this distribution.")
@targets_options
@insecure_option
@common_options
def command(
    common: Common,
    source: str,
    output: str,
    base: str | None,
    index: tuple[str, ...],
    index_for: tuple[str, ...],
    repack: tuple[str, ...],
    dev_exclude: tuple[str, ...],
    added: tuple[str, ...],
    serve: str | None,
    updated: tuple[str, ...],
    resolver: str,
    prove: bool,
    require: str | None,
    add_os: tuple[str, ...],
    only_used: bool,
    keep: tuple[str, ...],
    refresh: bool,
    check: bool,
    bundle: bool,
    explain: bool,
    format: str | None,
    bytecode: Literal["none", "unchecked-hash"],
    models: tuple[str, ...],
    python: str | None,
    without: tuple[str, ...],
    target: Target,
    platforms: tuple[str, ...],
    os_mirrors: tuple[str, ...],
    insecure: bool,
) -> int | None:
    """
    Recover the exact, hashed contents of the environment that SOURCE recorded.

    Of a snapshot nothing is resolved again: each distribution's own wheel is found on its index by the tags that it was
    installed with (matched), and held against its RECORD where --prove says so (proven). What cannot be locked is
    refused, all of it at once, each with what would settle it. Bytes that no index serves (the snapshot, a captured
    interpreter, repacked wheels) go into the folder pylock.artifacts beside the lock; keep the two together.

    A lock of another tool, a requirements file, an SBOM or an image is locked as it pins: no version is moved, hashes
    are a limit, and what is left open is resolved and named. A lock of ours as SOURCE takes --add and --update: only
    their lines change, and comments stay.

    --platform locks for another platform, or for several in one file: each has its own base packages, and the wheels of
    the same versions (counterpart, a state below matched). What has no wheel there is refused, with the nearest version
    that has one. A snapshot of macOS, Windows or a Linux that no base is made of is locked for the nearest base.

    Credentials come from netrc, the keyring, ENVPARITY_INDEX_NAME_USERNAME and _PASSWORD, or the address, and are never
    written. More: docs/lock.md.

    \b
      envparity lock model.env.json -o pylock.toml
      envparity lock venv:training --model model.joblib --serve fastapi
      envparity lock model.env.json --prove --require proven --explain
      envparity lock pylock.toml --explain
      envparity lock pylock.toml --check
      envparity lock model.env.json --check -o pylock.toml
      envparity lock model.env.json --repack all
      envparity lock model.env.json --bundle
      envparity lock model.env.json --base registry:docker.io/library/python:3.11
      envparity lock uv.lock --base debian:bookworm --group serve
      envparity lock model.env.json --index corp=https://pypi.corp/simple/
      envparity lock model.env.json --only-used --keep gunicorn --add-os tini
      envparity lock model.env.json --platform linux/amd64 --platform linux/arm64
      envparity lock model.env.json --add 'fastapi>=0.115' --add uvicorn
      envparity lock pylock.toml --update joblib==1.4.2
    """
    if check:
        reading = partial(_read, target=target, models=models, offline=common.offline, insecure=insecure)
        return _check(named(source), Path(output), reading)
    import os

    from packaging.utils import canonicalize_name

    from envparity import lock
    from envparity.errors import UsageError
    from envparity.files import private_folder
    from envparity.lockfile import artifacts_folder, check_name, is_lock_name, write
    from envparity.locking import stated
    from envparity.resolvers import states
    from envparity.resolvers.configured import configured
    from envparity.resolvers.indexes import indexes
    from envparity.resolvers.interpreter_of_image import is_image
    from envparity.sources.target import platform_of

    from_caller = click.get_current_context().get_parameter_source("format") is ParameterSource.COMMANDLINE
    if from_caller and not explain:
        raise UsageError(f"`--format {format}` is that of a report", hint="add `--explain`, which prints it")

    def tell(proofs: tuple[Proof, ...]) -> None:
        if explain:
            emit(rendered("proofs", format or "text", proofs, style(None), verbose=common.verbose), None)

    if keep and not only_used:
        raise UsageError("`--keep` is for `--only-used`: without that, nothing is left out", hint="add `--only-used`")
    source = named(source)
    if insecure and (base or "").startswith("registry:"):
        from envparity.oci import places

        places.require_here(str(base))
    changes = is_lock_name(Path(source)) and (added or updated or serve)
    if explain and is_lock_name(Path(source)) and not changes:
        _explain(Path(source), require or "", tell)
        return None
    if output == "-":
        raise UsageError(
            "a lock of a snapshot needs artifacts beside it, so it cannot go to standard output",
            hint="name a file: `-o pylock.toml`",
        )
    if changes:
        _require_for_lock(source, "--add, --serve and --update change what they name", ())
        output = source if _by_default("output") else output
    check_name(Path(output))
    if not changes and Path(source).exists() and Path(output).exists() and Path(source).samefile(output):
        raise UsageError(
            f"the lock would take the place of its source, `{source}`",
            hint="name another with `-o`; or, of a lock that envparity made, say what is to be done with it: `--add`,"
            " `--update`, `--check` or `--explain`",
        )
    sought = indexes(index, index_for, configured(os.environ))
    given = _given(source)
    read = partial(_read, source, given=given, offline=common.offline, insecure=insecure)
    environment = None if changes else read(target, models)
    of_platform = {}
    if len(platforms) > 1 and environment and stated.is_pinned(environment):
        wanted = {platform_of(name): replace(target, platform=name) for name in platforms}
        of_platform = {name: read(each, ()) for name, each in wanted.items()}
    python = named(python) if python else None
    interpreter = _interpreter(python) if python and environment and stated.is_pinned(environment) else None
    if python and interpreter is None and not is_image(python):
        raise UsageError(
            f"`--python {python}` is for a source that has no interpreter, and `{source}` has one",
            hint="leave it out; or name the image that the snapshot was taken in",
        )
    with (
        private_folder() as workplace,
        common.fetcher(sought.named, refresh=refresh, os_mirrors=os_mirrors, insecure=insecure) as fetcher,
    ):
        asked = lock.Asked(
            base=base,
            indexes=sought,
            allow_incomplete=common.allow_incomplete,
            prove=prove,
            require=require or "",
            explain=tell,
            repacked=repack,
            only_used=only_used,
            keep=keep,
            add_os=add_os,
            bundle=bundle,
            bytecode=bytecode,
            environ=os.environ,
            dev_exclude=dev_exclude,
            added=added,
            serve=serve or "",
            updated=updated,
            resolver=resolver,
            platforms=tuple(map(platform_of, platforms)),
            python_version=target.python_version,
            extras=target.extras or (),
            groups=target.groups or (),
            of_platform=of_platform,
            without=without,
            interpreter=interpreter,
            interpreter_in=next((name for name in (python or "", source) if is_image(name)), ""),
        )
        if environment is None:
            from envparity.locking.changed import changed

            recovered, environment = changed(Path(source), asked=asked, fetcher=fetcher, workplace=workplace)
        else:
            recovered = lock.recover(environment, fetcher=fetcher, workplace=workplace, asked=asked)
        write(recovered, Path(output))
    if updated:
        _tell_move(environment, recovered.lock, f"the training of {source}" if changes else source, common)
    for line in lock.summary(recovered.lock, verbose=common.verbose, environment=environment):
        common.say(line)
    if not changes and environment.origin.kind == "requirements" and (unasked := _unasked(source, given, sought)):
        common.say("  not asked, though the source names them (`--index NAME=URL` does):")
        for address in unasked:
            common.say(f"    {address}")
    if index_for and not _by_default("index_for"):  # a team's settings name what only some of its models have
        locked = {item.name for item in recovered.lock.distributions}
        unknown = [text for text in index_for if canonicalize_name(text.partition("=")[0].strip()) not in locked]
        if unknown:
            common.say(f"  not locked, though `--index-for` names it: {', '.join(unknown)}")
    common.say(f"wrote {output} and {artifacts_folder(Path(output)).name}/")
    tell(states.proofs(states.of_lock(recovered.lock)))
    return None


def _given(source: str) -> bytes:
    """What came over standard input, where that is the source: several platforms read it several times."""
    import sys

    from envparity.sources.requirement_lines import MOST_BYTES

    return sys.stdin.buffer.read(MOST_BYTES + 1) if source == "-" else b""


def _unasked(source: str, given: bytes, sought: Indexes) -> list[str]:
    """The indexes that pip would ask for a requirements file, and this lock did not: a name may be another's there."""
    from envparity.network import printable
    from envparity.sources.requirement_lines import indexes

    path = Path(source)
    data = given if source == "-" else path.read_bytes()
    asked = {index.shown.rstrip("/") for index in sought.named}
    shown = [printable(address) for address in indexes(data, path.name, path.parent)]
    return [address for address in shown if address.rstrip("/") not in asked]


def _read(
    source: str, target: Target, models: tuple[str, ...], *, given: bytes, offline: bool, insecure: bool
) -> Environment:
    """A source, for the target that was stated; a file that holds several platforms, for the usual one."""
    from envparity import snapshot
    from envparity.errors import TargetNeededError
    from envparity.locking.stated import DEFAULT_PLATFORM
    from envparity.sources import Options, read

    options = Options(
        environ=snapshot.started_with(), stdin=BytesIO(given), offline=offline, insecure=insecure, **asdict(target)
    )
    if models:
        return snapshot.of(source, models=models, options=options)
    try:
        return read(source, options=options)
    except TargetNeededError:
        if target.platform:
            raise
        return read(source, options=replace(options, stdin=BytesIO(given), platform=DEFAULT_PLATFORM))


def _tell_move(environment: Environment, made: Lock, trained: str, common: Common) -> None:
    """What `diff` says of the training environment (by the name `trained`) and of all that was moved in it."""
    from envparity import diff
    from envparity.locking.additions import moved

    report = diff.between(
        environment, moved(environment, made.distributions), labels=(trained, "the lock"), allow_incomplete=True
    )
    told = rendered("diff", "text", report, style(None), verbose=common.verbose)
    # The last line is of the exit status that `diff` would have; the move was asked for.
    emit(told.rstrip().rpartition("\n")[0].rstrip() + "\n\n", None)


def _interpreter(source: str) -> Python:
    """The Python of a live source or an image, which is captured out of it."""
    from envparity import snapshot
    from envparity.errors import UsageError
    from envparity.sources import Options, read
    from envparity.values import Basis

    found = read(source, options=Options(environ=snapshot.started_with())).python
    if found is None or found.basis is not Basis.INSTALLED or not found.version:
        raise UsageError(f"`--python {source}` names no interpreter", hint="name one: `venv:DIR` or `python:EXE`")
    return found


def _check(source: str, output: Path, reading: Callable[..., Environment]) -> int:
    """
    Whether a lock still is what it was made of: SOURCE is that lock, or the snapshot of the one at `output`, which is
    read as it was to be locked.
    """
    from envparity.errors import UsageError
    from envparity.lockfile import is_lock_name
    from envparity.locking.check import check

    options = click.get_current_context()
    alone = is_lock_name(Path(source))
    taken = {"source", "check", *Common.__dataclass_fields__, *(() if alone else ("output", "models"))}
    for option in options.command.params:
        given = options.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
        if given and option.name not in taken:
            raise UsageError(
                f"`{option.opts[-1]}` is for making a lock, and `--check` makes none",
                hint="`envparity lock pylock.toml --check`, or `envparity lock model.env.json --check -o pylock.toml`",
            )
    found = check(Path(source)) if alone else check(output, reading(source, given=_given(source)), source)
    emit("".join(f"{plain(line)}\n" for line in found.lines), None)
    return found.status


_OF_SNAPSHOTS = (
    "base",
    "prove",
    "repack",
    "add_os",
    "only_used",
    "keep",
    "dev_exclude",
    "python",
    "without",
    "bytecode",
    "models",
)


def _require_for_lock(path: str, what: str, also: tuple[str, ...]) -> None:
    """Refuse what makes no sense of a lock, of which only `what` is done."""
    from envparity.errors import UsageError

    options = click.get_current_context()
    for name in (*_OF_SNAPSHOTS, *also):
        if not _by_default(name):
            flag = next(item.opts[-1] for item in options.command.params if item.name == name and item.opts)
            raise UsageError(
                f"`{path}` is a lock, of which {what}, and `{flag}` is for a snapshot",
                hint=f"name the snapshot, or leave `{flag}` out",
            )


def _by_default(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is not ParameterSource.COMMANDLINE


def _explain(path: Path, require: str, tell: Callable[[tuple[Proof, ...]], None]) -> None:
    """The states that a lock keeps; nothing is asked or written."""
    from envparity.lockfile import read
    from envparity.resolvers import states

    _require_for_lock(str(path), "--explain prints what it holds", ("output", "index", "index_for", "bundle"))
    proofs = states.proofs(states.of_lock(read(path)[0]))
    tell(proofs)
    states.require(proofs, require)
