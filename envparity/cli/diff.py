"""`envparity diff`: does production match what the model was trained in?"""

from __future__ import annotations

import click

from envparity.cli.common import Common, common_options, emit, fail_on_option, report_options, style


@click.command()
@click.argument("left")
@click.argument("right", nargs=-1, required=True)
@fail_on_option
@report_options("diff")
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

    from envparity import diff, report, sources
    from envparity.errors import worst
    from envparity.values import Severity

    options = sources.Options(environ=os.environ, stdin=sys.stdin.buffer, offline=common.offline)
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
    look = style(output)
    texts = [report.rendered("diff", form, result, look, verbose=common.verbose) for result in results]
    # Several reports are one document for a program, and one page for a person.
    whole = f"[\n{','.join(texts)}]\n" if form == "json" and len(texts) > 1 else "\n".join(texts)
    emit(whole, output)
    return int(worst(*(result.status for result in results)))
