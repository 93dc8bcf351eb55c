"""`envparity init`: the settings that a team shares."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from envparity.cli.common import Common, common_options
from envparity.cli.configured import NAME
from envparity.errors import UsageError


def _pairs(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, equals, reference = value.partition("=")
        if not (name and equals and reference):
            raise UsageError(f"`{value}` is no target", hint="such as `--target prod=requirements.txt`")
        pairs[name] = reference
    return pairs


@click.command()
@click.option(
    "--target", "targets", multiple=True, metavar="NAME=SOURCE", callback=_pairs, help="A named target; repeatable."
)
@click.option("--default", metavar="NAME", help="The target of a bare `envparity diff`; else the first one.")
@click.option("--policy", metavar="FILE", help="The policy; it is begun where it is not there yet.")
@click.option("--force", is_flag=True, help=f"Write over a {NAME} that is there.")
@common_options
def command(targets: dict[str, str], default: str | None, policy: str | None, force: bool, common: Common) -> None:
    """
    Write envparity.yaml: the targets that are compared with, the policy, defaults of options.

    On a terminal, what no flag says is asked for.

    \b
      envparity init --target prod=registry:registry.example.com/model:latest
      envparity init --target prod=requirements.txt --policy parity.yaml
    """
    from envparity import files, settings

    path = Path(NAME)
    if path.exists() and not force:
        raise UsageError(f"there is a {NAME} here already", hint="edit it, or say `--force`")
    if not targets and not policy and sys.stdin.isatty():
        reference = click.prompt("What does production run (a file, an image; empty: later)", default="", err=True)
        targets = {"prod": reference} if reference else {}
        policy = click.prompt("A file for your policy (empty: none)", default="", err=True) or None
    if default and default not in targets:
        raise UsageError(f"the default `{default}` is none of the targets", hint=f"say `--target {default}=SOURCE` too")
    text = settings.written(targets, default or next(iter(targets), ""), policy or "")
    settings.check(text.encode(), NAME)
    begun = policy is not None and not Path(policy).exists()
    if begun:
        files.write_bytes(str(policy), settings.POLICY.encode())
    files.write_bytes(path, text.encode())
    common.say(f"wrote {NAME}" + (f" and {policy}" if begun else ""))
    common.say("compare with it: `envparity diff`" if targets else "name your targets in it, then: `envparity diff`")
