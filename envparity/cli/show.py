"""`envparity show`: what is known of one environment."""

from __future__ import annotations

import click

from envparity.cli.common import (
    Common,
    Target,
    common_options,
    emit,
    insecure_option,
    report_options,
    style,
    target_options,
)
from envparity.cli.configured import named


@click.command()
@click.argument("source")
@click.option("--attached", is_flag=True, help="List what lies beside an image: SBOM, provenance, lock, snapshot.")
@click.option("--attachment", metavar="NAME", help="Write one of these, as it is: lock, sbom.spdx.json, …")
@report_options("environment")
@target_options
@insecure_option
@common_options
def command(
    source: str,
    attached: bool,
    attachment: str | None,
    format: str,
    output: str | None,
    target: Target,
    insecure: bool,
    common: Common,
) -> int:
    """
    Print what is known of SOURCE, for a person; with -v all of it.

    \b
      envparity show model.env.json
      envparity show requirements.txt --format json
      envparity show conda-lock.yml --platform linux/amd64
      envparity show registry:ghcr.io/team/model:1 --attached
    """
    import sys
    from dataclasses import asdict

    from envparity import report, snapshot, sources
    from envparity.errors import IncompleteError

    source = named(source)
    if attached or attachment:
        from envparity.attached import found
        from envparity.oci import places
        from envparity.oci.access import Access

        if insecure:
            places.require_here(source)
        with common.fetcher(insecure=insecure) as fetcher:
            reach = Access(fetcher.client, fetcher.cache, snapshot.started_with())
            if attachment:
                emit(found.content(source, attachment, reach, target.platform), output)
                return 0
            there = found.attached(source, reach, target.platform)
        emit(report.rendered("attached", format, there, style(output), verbose=common.verbose), output)
        return 0
    options = sources.Options(
        environ=snapshot.started_with(),
        stdin=sys.stdin.buffer,
        offline=common.offline,
        insecure=insecure,
        **asdict(target),
    )
    environment = sources.read(source, options=options)
    emit(report.rendered("environment", format, environment, style(output), verbose=common.verbose), output)
    if not environment.complete and not common.allow_incomplete:
        raise IncompleteError(
            f"`{source}` could not be read completely: what is missing stands above",
            hint="make it readable, or say `--allow-incomplete`",
        )
    return 0
