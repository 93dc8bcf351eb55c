"""`envparity doctor`: what works on this machine, and what to do about the rest."""

from __future__ import annotations

import json
import os
import textwrap
from dataclasses import asdict

import click

from envparity.cli.common import Common, common_options, emit, the_cache
from envparity.errors import ExitStatus, plain

_WIDTH = 80


@click.command()
@click.argument("host", required=False, default="", metavar="[HOST]")
@click.option("--base", default="", metavar="NAME", help="Ask the archive of this base. [default: of this machine]")
@click.option("--format", type=click.Choice(["text", "json"]), default="text", show_default=True)
@common_options
@click.pass_context
def command(context: click.Context, host: str, base: str, format: str, common: Common) -> None:
    """
    Look at what snapshot, lock, build and verify need here; with HOST, at that registry too.

    Exit status: 0 where the main path works (a `warn` concerns some options only), 3 where something fails.

    \b
      envparity doctor
      envparity doctor registry.example.com:5000
    """
    from envparity.doctor import Machine, State, examine

    checks = examine(Machine(os.environ, the_cache(), host, base, common.offline))
    if format == "json":
        found = [{**asdict(check), "said": plain(check.said), "hint": plain(check.hint)} for check in checks]
        emit(json.dumps({"checks": found}, indent=2) + "\n", None)
    else:
        lines = []
        for check in checks:
            lines += _wrapped(f"{check.state:<5} {check.name:<9} ", check.said)
            if check.hint and check.state is not State.OK:
                lines += _wrapped(" " * 16 + "→ ", check.hint)
        emit("\n".join(lines) + "\n", None)
    if any(check.state is State.FAIL for check in checks):
        context.exit(int(ExitStatus.UNFINISHED))


def _wrapped(before: str, text: str) -> list[str]:
    return textwrap.wrap(
        plain(text),
        _WIDTH,
        initial_indent=before,
        subsequent_indent=" " * len(before),
        break_long_words=False,
        break_on_hyphens=False,
    )
