"""`envparity diff`: does production match what the model was trained in?"""

from __future__ import annotations

import click

from envparity.cli.common import Common, common_options, emit, style


@click.command()
@click.argument("left")
@click.argument("right", nargs=-1, required=True)
@click.option(
    "--fail-on",
    type=click.Choice(["critical", "high", "medium", "low", "info"]),
    default="high",
    show_default=True,
    help="The least severity that is a failure (exit status 1).",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("-o", "--output", metavar="FILE", help="Write the report there instead of to standard output.")
@common_options
def command(left: str, right: tuple[str, ...], fail_on: str, form: str, output: str | None, common: Common) -> int:
    """
    Say which difference between LEFT and each RIGHT can hurt the model.

    LEFT is where the model was trained, RIGHT where it is served: a saved snapshot, a requirements file, a lock, an
    image, a virtual environment.

    \b
      envparity diff model.env.json requirements.txt
      envparity diff model.env.json oci:image --format json
    """
    import os
    import sys

    from envparity import diff, sources
    from envparity.errors import worst
    from envparity.report import diff as report
    from envparity.values import Severity

    options = sources.Options(environ=os.environ, stdin=sys.stdin.buffer)
    before = sources.read(left, options=options)
    results = []
    for reference in right:
        after = sources.read(reference, options=options)
        results.append(
            diff.between(
                before,
                after,
                fail_on=Severity(fail_on),
                strict=common.strict,
                allow_incomplete=common.allow_incomplete,
                labels=(left, reference),
            )
        )
    if form == "json":
        texts = [report.json(result) for result in results]
        emit(texts[0] if len(texts) == 1 else f"[\n{','.join(texts)}]\n", output)
    else:
        look = style(output)
        emit("\n".join(report.text(result, look, verbose=common.verbose) for result in results), output)
    return int(worst(*(result.status for result in results)))
