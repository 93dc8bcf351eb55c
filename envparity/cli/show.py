"""`envparity show`: what is known of one environment."""

from __future__ import annotations

import click

from envparity.cli.common import Common, Target, common_options, emit, report_options, style, target_options
from envparity.cli.configured import named


@click.command()
@click.argument("source")
@report_options("environment")
@target_options
@common_options
def command(source: str, format: str, output: str | None, target: Target, common: Common) -> int:
    """
    Print what is known of SOURCE, for a person; with -v all of it.

    \b
      envparity show model.env.json
      envparity show requirements.txt --format json
      envparity show conda-lock.yml --platform linux/amd64
    """
    import sys
    from dataclasses import asdict

    from envparity import report, snapshot, sources
    from envparity.errors import IncompleteError

    source = named(source)
    options = sources.Options(
        environ=snapshot.started_with(), stdin=sys.stdin.buffer, offline=common.offline, **asdict(target)
    )
    environment = sources.read(source, options=options)
    emit(report.rendered("environment", format, environment, style(output), verbose=common.verbose), output)
    if not environment.complete and not common.allow_incomplete:
        raise IncompleteError(
            f"`{source}` could not be read completely: what is missing stands above",
            hint="make it readable, or say `--allow-incomplete`",
        )
    return 0
