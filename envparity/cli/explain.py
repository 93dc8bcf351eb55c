"""`envparity explain RULE`: what one rule says, and how it is known."""

from __future__ import annotations

import click

from envparity.cli.common import Common, common_options, emit, report_options, style


@click.command()
@click.argument("rule")
@report_options("rule")
@common_options
def command(rule: str, format: str, output: str | None, common: Common) -> None:
    """
    Print one rule: when it speaks, what then happens to a model, how that is known, and what to do.

    \b
      envparity explain sklearn-tfidf-idf-lost
    """
    import difflib

    from envparity import report
    from envparity.cli.configured import known_rules
    from envparity.errors import UsageError
    from envparity.knowledge import told

    rules = {known.id: known for known in known_rules()}
    if rule not in rules:
        near = difflib.get_close_matches(rule, list(rules), 1)
        raise UsageError(
            f"there is no rule `{rule}`", hint=f"did you mean `{near[0]}`?" if near else "`envparity rules` lists them"
        )
    emit(report.rendered("rule", format, told(rules[rule]), style(output), verbose=common.verbose), output)
