"""`envparity rules`: what is known of differences."""

from __future__ import annotations

import click

from envparity.cli.common import Common, common_options, emit, report_options, style


@click.command()
@click.argument("query", nargs=-1)
@report_options("rules")
@common_options
def command(query: tuple[str, ...], format: str, output: str | None, common: Common) -> None:
    """
    List the rules, or those in which every word of QUERY stands: an id, a library, a class, a severity.

    \b
      envparity rules
      envparity rules scikit-learn critical
    """
    from envparity import report
    from envparity.cli.configured import known_rules
    from envparity.knowledge import search

    emit(report.rendered("rules", format, search(known_rules(), query), style(output), verbose=common.verbose), output)
