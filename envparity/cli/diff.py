"""`envparity diff`: does production match what the model was trained in?"""

from __future__ import annotations

import click

from envparity.cli.common import (
    Common,
    Target,
    common_options,
    emit,
    fail_on_option,
    later_options,
    report_options,
    style,
    target_options,
)


@click.command()
@click.argument("left")
@click.argument("right", nargs=-1, required=True)
@fail_on_option
@report_options("diff")
@later_options("--policy", "--host")
@target_options
@common_options
def command(
    left: str,
    right: tuple[str, ...],
    fail_on: str,
    format: str,
    output: str | None,
    target: Target,
    common: Common,
) -> int:
    """
    Say which difference between LEFT and each RIGHT can hurt the model.

    LEFT is where the model was trained, RIGHT where it is served: a saved snapshot, a requirements file, a lock, an
    image, a virtual environment. What a file declares for several platforms or Pythons is read for those of the other
    side, unless a flag states another.

    \b
      envparity diff model.env.json requirements.txt
      envparity diff model.env.json oci:image --format json
    """
    import sys
    from dataclasses import asdict

    from envparity import diff, report, snapshot, sources
    from envparity.errors import worst
    from envparity.values import Severity

    options = sources.Options(
        environ=snapshot.started_with(), stdin=sys.stdin.buffer, offline=common.offline, shared=True, **asdict(target)
    )
    results = []
    for reference, (before, after) in zip(right, sources.read_sides(left, right, options=options), strict=True):
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
    texts = [report.rendered("diff", format, result, look, verbose=common.verbose) for result in results]
    # Several reports are one document for a program, and one page for a person.
    whole = f"[\n{','.join(texts)}]\n" if format == "json" and len(texts) > 1 else "\n".join(texts)
    emit(whole, output)
    return int(worst(*(result.status for result in results)))
