"""`envparity show`: what is known of one environment."""

from __future__ import annotations

import click

from envparity.cli.common import Common, common_options, emit, platform_option, report_options, style


@click.command()
@click.argument("source")
@platform_option
@report_options("environment")
@common_options
def command(source: str, platform: str, form: str, output: str | None, common: Common) -> int:
    """
    Print what is known of SOURCE, for a person; with -v all of it.

    \b
      envparity show model.env.json
      envparity show requirements.txt --format json
    """
    import os
    import sys

    from envparity import report, sources

    options = sources.Options(environ=os.environ, stdin=sys.stdin.buffer, offline=common.offline, platform=platform)
    environment = sources.read(source, options=options)
    emit(report.rendered("environment", form, environment, style(output), verbose=common.verbose), output)
    return 0
