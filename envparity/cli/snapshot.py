"""`envparity snapshot`: read an environment, and write it down."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

import click

from envparity.cli.common import Common, Target, common_options, emit, insecure_option, output_option, target_options
from envparity.cli.configured import named
from envparity.errors import IncompleteError

if TYPE_CHECKING:
    from envparity.values import Distribution, Environment

MOST_LINES = 10


@click.command(epilog="Without -o the snapshot is written to standard output.")
@click.argument("source", required=False)
@output_option("Where to write it, by custom model.env.json.")
@click.option(
    "--model", "models", metavar="PATH", multiple=True, help="A model file or folder; what it needs is read, never run."
)
@click.option("--verify-files", is_flag=True, help="Hash every installed file, and name those that were changed.")
@click.option(
    "--timeout",
    type=click.IntRange(min=1, max=7 * 24 * 3600),
    metavar="SECONDS",
    help="How long the interpreter may take [default: 60, with --verify-files 1800].",
)
@click.option(
    "--data", metavar="PATH", multiple=True, help="A file or folder that the model was made of; it is hashed."
)
@click.option(
    "--param",
    "params",
    metavar="KEY=VALUE",
    multiple=True,
    help="A parameter of the training; @FILE for a YAML or JSON file of them.",
)
@click.option(
    "--deep",
    is_flag=True,
    help="Also start the target (of this machine) with its own site, import its numeric libraries, and ask them.",
)
@target_options
@insecure_option
@common_options
def command(
    source: str | None,
    output: str | None,
    models: tuple[str, ...],
    verify_files: bool,
    timeout: int | None,
    data: tuple[str, ...],
    params: tuple[str, ...],
    deep: bool,
    target: Target,
    insecure: bool,
    common: Common,
) -> None:
    """
    Record the environment that a model was trained in.

    SOURCE is venv:DIR, python:EXE, conda:PREFIX, an image (oci:DIR[:TAG], docker-archive:FILE,
    registry:HOST/NAME[:TAG], docker:IMAGE), another place (container:NAME, ssh:HOST, kube:NAMESPACE/POD), a lock, a
    requirements or environment file, an SBOM, the folder of an MLflow model, or a saved snapshot. Without it, the
    active environment is read: VIRTUAL_ENV, else CONDA_PREFIX, else python3 on PATH.

    \b
      envparity snapshot --model model.joblib -o model.env.json
      envparity snapshot venv:.venv --model model.joblib -o model.env.json
    """
    from dataclasses import asdict

    from envparity import snapshot
    from envparity.sources import Options

    source = named(source) if source is not None else None
    options = Options(
        environ=snapshot.started_with(),
        stdin=sys.stdin.buffer,
        verify_files=verify_files,
        **asdict(target),
        # Hashing every file of a large environment takes minutes on a slow disk.
        timeout_s=timeout or (1800 if verify_files else 60),
        deep=deep,
        offline=common.offline,
        insecure=insecure,
    )
    snapshot.require_deep(source, options)
    if deep:
        common.say_wrapped(
            "--deep: the target is started with its own site and environment; its libraries and code run"
        )
    environment = snapshot.of(source, models=models, options=options, lineage=snapshot.Lineage(data, params))
    if output in {None, "-"}:
        from envparity import codec

        emit(codec.dump_environment(environment), output)
    else:
        snapshot.write(environment, str(output))
    for line in summary(environment, output):
        common.say(line)
    for name, modules in snapshot.unprovided(environment).items():
        common.say_wrapped(
            f"warning: `{name}` refers to {', '.join(modules)}, which nothing in this environment provides: is it the"
            " one that trained it? (your own modules are shipped with `build --app`)"
        )
    if not environment.complete and not common.allow_incomplete:
        raise IncompleteError(
            "the snapshot is written, and not complete"
            + (": see what could not be read above" if not common.quiet else ""),
            hint="make it readable and take it again, or say `--allow-incomplete`",
            details=_unread(environment) if common.quiet else (),
        )
    if common.strict and environment.gaps:
        raise IncompleteError(
            f"the snapshot is written, and --strict does not allow its {len(environment.gaps)} gaps",
            hint="see what is not recorded above, or take it without --strict",
        )


def _unread(environment: Environment) -> tuple[str, ...]:
    from envparity.values import GapKind

    return tuple(f"{gap.section} {gap.item}: {gap.reason}" for gap in environment.gaps if gap.kind is GapKind.UNREAD)


def summary(environment: Environment, output: str | None) -> list[str]:
    """What was read, in a few lines for a person; what could not be read comes last, by name."""

    counted = []
    if environment.python is not None:
        counted.append(f"Python {environment.python.version or environment.python.specifier}")
    if environment.distributions is not None:
        own = [item for item in environment.distributions if not item.vendored_in]
        tooling = sum(item.tooling for item in own)
        tools = f" (and {tooling} of tooling)" if tooling else ""
        counted.append(_counted(len(own) - tooling, "distribution") + tools)
    if environment.conda_packages is not None:
        counted.append(_counted(sum(not item.virtual for item in environment.conda_packages), "conda package"))
    if environment.os_packages is not None:
        counted.append(_counted(len(environment.os_packages), "OS package"))
    if environment.artifacts is not None:
        for kind, noun in (("model", "model file"), ("data", "data set")):
            count = sum(artifact.kind == kind for artifact in environment.artifacts)
            if count or (kind == "model" and not environment.artifacts):
                counted.append(_counted(count, noun))
    if environment.source_code is not None and environment.source_code.commit:
        on_top = " with changes" if environment.source_code.dirty else ""
        counted.append(f"commit {environment.source_code.commit[:12]}{on_top}")
    first = f"{environment.origin.reference}: {', '.join(counted) or 'nothing'}"
    lines = textwrap.wrap(first, 80, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    models = {artifact.name for artifact in environment.artifacts or () if artifact.kind == "model"}
    for gap in environment.gaps:
        if gap.section == "artifacts" and gap.kind == "not-recorded" and gap.item.partition("/")[0] in models:
            lines += _wrapped(f"what `{gap.item}` needs is not known: {gap.reason}")
    changed = [item for item in environment.distributions or () if item.modified or item.missing or item.added]
    lines += [f"  {item.name} {item.version}: {_changes(item)}" for item in changed[:MOST_LINES]]
    if len(changed) > MOST_LINES:
        lines.append(f"  and {len(changed) - MOST_LINES} more that were changed")
    sections = {
        gap.section
        for gap in environment.gaps
        if gap.kind == "not-recorded" and getattr(environment, gap.section) is None
    }
    if sections:
        names = ", ".join(name.replace("_", " ") for name in sorted(sections))
        lines += _wrapped(f"not recorded: {names}")
    unread = [gap for gap in environment.gaps if gap.kind == "unread"]
    for gap in unread[:MOST_LINES]:
        subject = " ".join(filter(None, (gap.section.replace("_", " "), gap.item)))
        lines += _wrapped(f"could not be read: {subject}: {gap.reason}")
    if len(unread) > MOST_LINES:
        lines.append(f"  and {len(unread) - MOST_LINES} more")
    if output not in {None, "-"}:
        lines.append(f"written to {output}")
    return [_printable(line) for line in lines]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)


def _wrapped(text: str) -> list[str]:
    """As many lines of 80 columns as it takes; a path stays in one piece."""
    return textwrap.wrap(
        text, 80, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _changes(item: Distribution) -> str:
    """How many of its files are not what was installed."""
    counts = (
        (len(files), word)
        for files, word in ((item.modified, "changed"), (item.missing, "missing"), (item.added, "added"))
        if files
    )
    number, word = next(counts)
    return ", ".join([f"{_counted(number, 'file')} {word}", *(f"{more} {other}" for more, other in counts)])


def _printable(text: str) -> str:
    """Control characters in names from the outside are shown, never sent to the terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
