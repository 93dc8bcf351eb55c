"""`envparity show`: what is known of one environment."""

from __future__ import annotations

import click

from envparity.cli.common import Common, common_options, emit, style


@click.command()
@click.argument("source")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("-o", "--output", metavar="FILE", help="Write it there instead of to standard output.")
@common_options
def command(source: str, form: str, output: str | None, common: Common) -> int:
    """
    Print what is known of SOURCE, for a person; with -v all of it.

    \b
      envparity show model.env.json
      envparity show requirements.txt --format json
    """
    import os
    import sys

    from envparity import sources
    from envparity.codec import dump_environment
    from envparity.report import environment as report

    options = sources.Options(environ=os.environ, stdin=sys.stdin.buffer)
    environment = sources.read(source, options=options)
    if form == "json":
        emit(dump_environment(environment), output)
    else:
        emit(report.text(environment, style(output), verbose=common.verbose), output)
    return 0
