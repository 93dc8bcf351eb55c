"""What `envparity.yaml` means to a command: its defaults, and the names of its targets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from envparity.errors import EnvparityError, MalformedError, UsageError, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envparity.knowledge import Rule
    from envparity.policy import Baseline, Policy
    from envparity.settings import Settings
    from envparity.values import Report

NAME = "envparity.yaml"


def settings_here() -> Settings | None:
    """The settings of the folder in which the command runs, or of those above it within the same repository."""
    try:
        folder = Path.cwd()
    except FileNotFoundError:
        return None  # it was removed under our feet: nothing is in it
    while not (folder / NAME).is_file():
        if folder == folder.parent or (folder / ".git").exists():
            return None
        folder = folder.parent
    from envparity import settings  # most folders have none, and should not wait for its readers

    return settings.load(folder / NAME)


def active() -> Settings | None:
    """The settings that this run found when it began."""
    context = click.get_current_context(silent=True)
    found: Settings | None = context.obj if context is not None else None
    return found


def named(reference: str) -> str:
    """The source that a name of a target stands for; anything else as it is."""
    found = active()
    return found.reference(reference) if found is not None else reference


def known_rules() -> tuple[Rule, ...]:
    """The rules that ship, and those that `knowledge:` names."""
    from envparity import files
    from envparity.knowledge import load_rules, with_own

    found = active()
    names = found.knowledge if found is not None else ()
    return with_own(load_rules(), ((name, files.read_bytes(name)) for name in names))


def default_target() -> str:
    """
    The target of a comparison that names none.

    Raises:
        UsageError: no settings name one.
    """
    found = active()
    if found is None or not found.default:
        said = f"{found.path} has no default target" if found is not None else f"there is no {NAME} here"
        raise UsageError(
            f"nothing to compare with: no RIGHT is named, and {said}",
            hint="name it, or write the settings: `envparity init --target prod=SOURCE`",
        )
    return found.default


class Decided(NamedTuple):
    """A policy and a baseline, where they are asked for."""

    policy: Policy | None
    baseline: Baseline | None


def own_rules() -> tuple[Rule, ...] | None:
    """All rules, where the team has some of its own; else none, and those that ship are read as they are needed."""
    found = active()
    return known_rules() if found is not None and found.knowledge else None


def policy_of(policy: str | None, baseline: str | None) -> Decided:
    """
    What a team decided: a policy from a file, and a baseline, which the policy may name.

    Raises:
        MalformedError: one of them is not valid. UsageError, UnreachableError: it cannot be read.
    """
    if policy is None and baseline is None:
        return Decided(None, None)
    from envparity import files
    from envparity.policy import load_baseline, parse_policy

    parsed = None
    if policy is not None:
        parsed = parse_policy(files.read_bytes(policy, what="policy"), policy, {rule.id for rule in known_rules()})
        if baseline is None and parsed.baseline:
            baseline = str(Path(policy).parent / parsed.baseline)
    accepted = None if baseline is None else load_baseline(files.read_bytes(baseline, what="baseline"), baseline)
    return Decided(parsed, accepted)


def save_baseline(path: str, reports: Iterable[Report]) -> None:
    """Write what these reports found as a baseline, each for its own target."""
    import datetime

    from envparity import files
    from envparity.policy import write_baseline

    found = {report.after: report.findings for report in reports}
    files.write_bytes(path, write_baseline(found, datetime.date.today()))


def defaults(found: Settings, verb: str, command: click.Command, verbs: list[str]) -> dict[str, Any]:
    """
    The defaults of a verb's options, as click takes them.

    Raises:
        MalformedError: the file names a verb or an option that there is not.
    """
    options = {
        name.lstrip("-"): parameter.name
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for name in parameter.opts
    }
    several = {
        name.lstrip("-")
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.multiple
        for name in parameter.opts
    }
    for other in found.options:
        if other not in verbs:
            raise _unknown(found, f"options.{other}", f"there is no command `{other}`", other, verbs)
    values: dict[str, Any] = {}
    for name, value in found.options.get(verb, {}).items():
        if name not in options:
            where = f"options.{verb}.{name}"
            raise _unknown(found, where, f"`{verb}` has no option `--{name}`", name, list(options))
        if isinstance(value, list) and name not in several:
            raise MalformedError(
                f"{found.path} is not valid: `--{name}` takes one value, and a list is there",
                where=f"options.{verb}.{name}",
                hint="write the value itself",
            )
        repeatable = name in several and not isinstance(value, list)
        values[str(options[name])] = [value] if repeatable else value
    if found.policy and "policy" in options:
        values.setdefault("policy", found.policy)
    return values


def refused(error: click.ClickException) -> EnvparityError:
    """What click refuses, as an error that says where it stands: whoever reads it may have typed no such option."""
    said = " ".join(error.format_message().split())
    context: click.Context | None = getattr(error, "ctx", None)
    if context is None:
        return UsageError(said)
    hint = f"see `{context.command_path} --help`"
    option = error.param if isinstance(error, click.BadParameter) else None
    source = context.get_parameter_source(str(option.name)) if option is not None else None
    if isinstance(option, click.Option) and source is ParameterSource.DEFAULT_MAP and context.obj is not None:
        name = max(option.opts, key=len).lstrip("-")
        problem = plain(" ".join(error.message.split()))
        return MalformedError(
            f"{context.obj.path} is not valid: {problem}", where=f"options.{context.info_name}.{name}", hint=hint
        )
    if isinstance(option, click.Option) and source is ParameterSource.ENVIRONMENT:
        hint = f"it is the value of the variable {option.envvar}; {hint}"
    return UsageError(said, hint=hint)


def _unknown(found: Settings, where: str, problem: str, name: str, known: list[str]) -> MalformedError:
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean `{near[0]}`?" if near else f"there is: {', '.join(known)}"
    return MalformedError(f"{found.path} is not valid: {problem}", where=where, hint=hint)
