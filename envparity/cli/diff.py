"""`envparity diff`: does production match what the model was trained in?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from envparity.cli.common import (
    Common,
    Target,
    common_options,
    emit,
    fail_on_option,
    insecure_option,
    reports_options,
    style,
    target_options,
)

if TYPE_CHECKING:
    from envparity.cli.wanted import Wanted

_FROM_FILE = {ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP}
"""Where a stated severity is weaker than that of a policy."""


@click.command()
@click.argument("left", required=False)
@click.argument("right", nargs=-1)
@click.option("--policy", metavar="FILE", help="What the team decided of findings: exceptions, what is forbidden.")
@click.option("--baseline", metavar="FILE", help="Accept the findings of this file; fail on what is new.")
@click.option("--write-baseline", metavar="FILE", help="Write what is found now as a baseline, and end with 0.")
@click.option("--many", metavar="FOLDER", help="Compare every *.env.json below it with the one target that is named.")
@click.option("--host", metavar="FILE", help="A snapshot of the host that RIGHT will run on.")
@fail_on_option
@reports_options("diff")
@target_options
@insecure_option
@common_options
def command(
    left: str | None,
    right: tuple[str, ...],
    policy: str | None,
    baseline: str | None,
    write_baseline: str | None,
    many: str | None,
    host: str | None,
    fail_on: str,
    wanted: tuple[Wanted, ...],
    target: Target,
    insecure: bool,
    common: Common,
) -> int:
    """
    Say which difference between LEFT and each RIGHT can hurt the model.

    LEFT is where the model was trained, RIGHT where it is served: a saved snapshot, a requirements file, a lock, an
    image, a virtual environment, or a target that envparity.yaml names. Without RIGHT, its default target is compared;
    without LEFT, that and the active environment. What a file declares for several platforms or Pythons is read for
    those of the other side, unless a flag states another.

    \b
      envparity diff model.env.json requirements.txt
      envparity diff model.env.json oci:image --format json
      envparity diff model.env.json staging prod --policy parity.yaml
      envparity diff model.env.json oci:image --host node.env.json
      envparity diff model.env.json prod.txt --format text -o report.html
    """
    import sys
    from dataclasses import asdict

    from envparity import diff, report, snapshot, sources
    from envparity.cli import configured
    from envparity.errors import UsageError, worst
    from envparity.values import Severity

    options = sources.Options(
        environ=snapshot.started_with(),
        stdin=sys.stdin.buffer,
        offline=common.offline,
        insecure=insecure,
        shared=True,
        **asdict(target),
    )
    rules = configured.own_rules()
    decided = configured.policy_of(policy, baseline)
    chosen = click.get_current_context().get_parameter_source("fail_on")
    if decided.policy is not None and decided.policy.fail_on and chosen in _FROM_FILE:
        fail_on = decided.policy.fail_on
    judging: dict[str, Any] = {
        "fail_on": Severity(fail_on),
        "strict": common.strict,
        "allow_incomplete": common.allow_incomplete,
        "rules": rules,
        "policy": decided.policy,
        "baseline": None if write_baseline else decided.baseline,
    }
    node = sources.read(host, options=options) if host else None
    if many is not None:
        odd = [form for form, _ in wanted if form not in report.FORMATS["many"]]
        if odd:
            raise UsageError(f"`--many` has no report in {odd[0]}", hint=f"it has {', '.join(report.FORMATS['many'])}")
        targets = ([left] if left else []) + list(right) or [configured.default_target()]
        if len(targets) > 1 or write_baseline:
            raise UsageError("`--many` takes one target, and writes no baseline", hint=f"`--many {many} {targets[0]}`")
        after = sources.read(configured.named(targets[0]), options=options)
        after = sources.on_host(after, node) if node is not None else after
        standings = diff.many(_snapshots(many), after, targets[0], **judging)
        _emit("many", standings, wanted, common)
        return int(worst(*(standing.status for standing in standings)))
    left = left or sources.active_reference(options)
    right = right or (configured.default_target(),)
    named = [configured.named(reference) for reference in (left, *right)]
    results = []
    for label, (before, after) in zip(right, sources.read_sides(named[0], named[1:], options=options), strict=True):
        after = sources.on_host(after, node) if node is not None else after
        results.append(diff.between(before, after, labels=(left, label), **judging))
    reports = diff.across(results)
    if any(form in report.LOCATED for form, _ in wanted):
        reports = tuple(diff.placed(each, named[0], after) for each, after in zip(reports, named[1:], strict=True))
    if len(reports) == 1:
        _emit("diff", reports[0], wanted, common)
    else:
        _emit("matrix", reports, wanted, common)
    if write_baseline:
        configured.save_baseline(write_baseline, reports)
        common.say(f"wrote {write_baseline}: what is found now is accepted, by `--baseline {write_baseline}`")
        return int(worst(*(status for status in (result.status for result in reports) if status != 1)))
    return int(worst(*(result.status for result in reports)))


def _emit(kind: str, value: object, wanted: tuple[Wanted, ...], common: Common) -> None:
    """Every report that was asked for, once all of them are made."""
    from envparity import report

    texts = [report.rendered(kind, form, value, style(place), verbose=common.verbose) for form, place in wanted]
    for (_, place), text in zip(wanted, texts, strict=True):
        emit(text, place)


def _snapshots(folder: str) -> list[str]:
    """The saved snapshots below a folder, in the order of their names."""
    from pathlib import Path

    from envparity.errors import UsageError

    found = sorted(str(path) for path in Path(folder).rglob("*.env.json"))
    if not found:
        raise UsageError(f"there is no *.env.json below `{folder}`", hint="`--many FOLDER TARGET`")
    return found
