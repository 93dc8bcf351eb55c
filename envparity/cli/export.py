"""`envparity export`"""

from __future__ import annotations

from pathlib import Path

import click

from envparity import writers
from envparity.cli.common import Common, common_options, emit, output_option, stated_time


@click.command()
@click.argument("lock")
@click.option(
    "--format",
    type=click.Choice(list(writers.FORMATS)),
    metavar="FORMAT",
    help=f"What to write: {', '.join(writers.FORMATS)}.",
)
@output_option("Write it there; - is standard output.")
@click.option(
    "--markers",
    is_flag=True,
    help="In requirements and constraints: the platform as a condition on each line. "
    "Where it does not hold pip installs nothing, and says so only in passing.",
)
@click.option("--platform", default="", metavar="OS/ARCH", help="Of a lock for several [default: this machine's].")
@common_options
def command(common: Common, lock: str, format: str | None, output: str | None, markers: bool, platform: str) -> int:
    """
    Write LOCK in the format of another tool.

    What the format cannot carry is named on standard error. The same lock gives the same bytes; the time in an SBOM is
    that of SOURCE_DATE_EPOCH, if it is set.

    \b
      envparity export pylock.toml --format requirements -o requirements.txt
      envparity export pylock.toml --format cyclonedx -o sbom.cdx.json
    """
    from envparity import export
    from envparity.errors import UsageError

    if format is None:
        raise UsageError("no format is named", hint=f"name one with --format: {', '.join(writers.FORMATS)}")
    exported = export.rendered(Path(lock), format, written_at=stated_time(), markers=markers, platform=platform)
    emit(exported.text, output)
    if exported.left_out:
        common.say_wrapped(f"warning: left out, since {format} cannot carry it: {'; '.join(exported.left_out)}")
    for fact in exported.unknown:
        common.say_wrapped(f"warning: not known: {fact}")
    return 0
