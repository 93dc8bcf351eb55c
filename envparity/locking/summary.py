"""What a person should know of a lock."""

from __future__ import annotations

import re
import textwrap

from envparity import platforms
from envparity.locking import used
from envparity.resolvers import repack, states
from envparity.values import Environment, LeftOut, Lock, LockedDistribution, Target


def summary(lock: Lock, *, verbose: bool = False, environment: Environment | None = None) -> list[str]:
    """
    What a person should know of a lock: what it holds, what was substituted and what was left out. `environment` is the
    snapshot, which may know how large that is.
    """
    several = len(lock.targets) > 1
    what, how, chosen = _of_all(lock, verbose)
    how += _unseen(lock, environment)
    targets: list[str] = []
    for target in lock.targets:
        header, replaced, named, left_out = _of_target(lock, target, verbose, environment)
        targets += [*header, *replaced, *named, *left_out]
    if several:
        count = f"{states.counted(len(lock.distributions))} for {len(lock.targets)} platforms"
        lines = [count, *what, *how, *chosen, *targets]
    else:
        lines = [*header, *what, *replaced, *how, *named, *chosen, *left_out]
    lines += _code(lock)
    lines += [f"  images serve by {lock.serve}, unless `build --serve` says otherwise"] if lock.serve else []
    wrapped = textwrap.TextWrapper(80, subsequent_indent="    ", break_on_hyphens=False)
    return [part for line in lines for part in wrapped.wrap(line)]


def _of_all(lock: Lock, verbose: bool) -> tuple[list[str], list[str], list[str]]:
    """Of the distributions: what stands for what trained, how well it is known, and what a resolver chose."""
    lines = [f"  repacked: {repack.made_of(item)}" for item in lock.distributions if item.repacked is not None]
    lines += [
        f"  updated: {item.name} {item.added.before} -> {item.version}"
        for item in lock.distributions
        if item.added is not None and item.added.before
    ]
    lines += _added(lock, verbose)
    lines += [f"  yanked: {item.name} {item.version}: {item.yanked or 'no reason given'}" for item in _yanked(lock)]
    known = []
    matched = [f"{item.name} {item.version}" for item in lock.distributions if item.state == "matched"]
    if matched:
        which = matched[0] if len(matched) == 1 else f"{len(matched)} distributions"
        known.append(f"  matched and not proven: {which}; --prove holds them against their RECORD")
    known += [
        f"  matched and not proven: {item.name} {item.version} (conda)"
        for target in lock.targets
        for item in target.conda_packages
        if item.state == "matched"
    ]
    declared = sum(item.state == "declared" for item in states.of_lock(lock))
    if declared:
        known.append(f"  declared: {declared} as the source pins them; nothing proves that they trained the model")
    resolved = [f"{item.name} {item.version}" for item in lock.distributions if item.state == "resolved"]
    chosen = [f"  resolved: {len(resolved)} that the source does not pin: {', '.join(resolved)}"] if resolved else []
    return lines, known, chosen


def _unseen(lock: Lock, environment: Environment | None) -> list[str]:
    """
    Of how many that are locked as published nobody has looked at the installed files: RECORD says the same of a module
    that was edited by hand.
    """
    if environment is None or environment.origin.kind != "live":
        return []
    nobody = {item.name for item in environment.distributions or () if item.importable and item.modified is None}
    unseen = [it.name for it in lock.distributions if it.state in {"matched", "proven"} and it.name in nobody]
    if not unseen:
        return []
    which = unseen[0] if len(unseen) == 1 else f"{len(unseen)} distributions"
    return [f"  not known: whether files of {which} were edited by hand; `snapshot --verify-files` tells"]


def _code(lock: Lock) -> list[str]:
    """Which code images will name as theirs."""
    code = lock.code
    if code is None:
        return []
    commit = f"commit {code.commit[:12]}" if code.commit else ""
    changed = "with changes on top" if code.dirty else ""
    return [f"  code: {', '.join(filter(None, (code.url, commit, changed)))}"]


def _of_target(
    lock: Lock, target: Target, verbose: bool, environment: Environment | None
) -> tuple[list[str], list[str], list[str], list[str]]:
    """Of one platform: what it holds, what was substituted, what was added by name, and what was left out."""
    interpreter, here = target.interpreter, platforms.selected(lock, target.platform).distributions
    which = f"{target.platform}: " if len(lock.targets) > 1 else ""
    header = [
        f"{which}{states.counted(len(here))}, {_packages(target)},"
        f" Python {interpreter.version} ({_KINDS.get(interpreter.kind, interpreter.kind)})"
    ]
    if target.image is not None:
        size_bytes = sum(layer.size_bytes for layer in target.image.layers)
        header.append(f"  base: {target.image.digest}, {len(target.image.layers)} layers of {size_bytes / 1e6:,.1f} MB")
    if target.conda_packages:
        header.insert(0, f"{len(target.conda_packages)} conda packages of {', '.join(_channels(target))}, and")
    lines = [
        f"  substituted: {'Python ' if item.kind == 'python' else ''}{item.before} -> {item.after}: {item.reason}"
        for item in target.substituted
        if item.kind in {"python", "base"}
    ]
    lines += [
        f"  substituted: {item.name} {item.before} -> {item.after} (conda): {item.reason}"
        for item in target.substituted
        if item.kind == "conda-package"
    ]
    replaced = [item for item in target.substituted if item.kind not in {"python", "base", "conda-package"}]
    if replaced:
        lines.append(f"  substituted: {len(replaced)} OS packages that are not there in the snapshot's version")
    telling = [item for item in replaced if verbose or item.name.startswith(_TELLING)]
    lines += [f"    {item.name} {item.before} -> {item.after}" for item in telling]
    counterparts = [item for item in here if item.state == "counterpart"]
    if counterparts:
        lines.append(
            f"  counterparts: {len(counterparts)} wheels of the same versions for {target.platform}, which are not what"
            " trained the model"
        )
        lines += [f"    {item.name} {item.version}: {item.wheel.name}" for item in counterparts if verbose]
    lines += _of_conda(target, verbose)
    lines += [
        f"  left out: {one.name} {one.version} of the conda package {item.name}: pip replaced or removed it"
        for item in target.conda_packages
        for one in item.replaced
    ]
    named = [f"  added: {name} and what it depends on" for name in target.added_os]
    unused = [item for item in target.left_out if item.reason == used.REASON]
    named += _unused(unused, environment)
    rest = []
    packages = [item for item in target.left_out if item.kind == "os-package"]
    if packages and not verbose:
        rest.append(f"  left out: {sum(item.count for item in packages)} OS packages that the image does not need")
    rest += [
        f"  left out: {item.name} {item.version}".rstrip() + f": {item.reason}"
        for item in target.left_out
        if item not in unused and (verbose or item not in packages)
    ]
    return header, lines, named, rest


def _of_conda(target: Target, verbose: bool) -> list[str]:
    """The conda packages that nobody trained with, or that rattler chose."""
    by_state = {
        state: [item for item in target.conda_packages if item.state == state] for state in ("counterpart", "resolved")
    }
    lines = []
    for state, items in by_state.items():
        told = {
            "counterpart": f"counterparts: {len(items)} conda packages of the same versions for {target.platform},"
            " which are not what trained the model",
            "resolved": f"resolved: {len(items)} conda packages that nobody pins:"
            f" {', '.join(f'{item.name} {item.version}' for item in items)}",
        }
        lines += [f"  {told[state]}"] if items else []
        if state == "counterpart" and verbose:
            lines += [f"    {item.name} {item.version}: {item.file_name}" for item in items]
    return lines


def _packages(target: Target) -> str:
    """How many packages of the operating system there are, and of which base."""
    count = f"{len(target.os_packages)} OS packages"
    if target.image is None:
        return f"{count} of {target.base}"
    name = target.base.partition("@")[0] if target.lies_in_registry else "an image beside the lock"
    on_top = f"{count} on top of the " if target.os_packages else ""
    return f"{on_top}{len(target.image.packages)}{'' if on_top else ' OS packages'} of {name}"


def _unused(items: list[LeftOut], environment: Environment | None) -> list[str]:
    if not items:
        return []
    names = [item.name for item in items]
    lines = [f"  left out, used by neither the model nor its training: {len(items)} distributions: {', '.join(names)}"]
    if environment is not None:
        total, unknown = used.installed_bytes(environment, names)
        size = f"  that is {total / 1e6:,.1f} MB as installed"
        lacking = f"{len(unknown)} of them have no RECORD here, and their size is not known"
        lines.append(size if not unknown else f"{size}; {lacking}" if total else f"  {lacking}")
    return lines


def _added(lock: Lock, verbose: bool) -> list[str]:
    """What goes beside, by what asked for it: each by its name, or only how many."""
    by: dict[str, list[LockedDistribution]] = {}
    for item in lock.distributions:
        if item.added is not None and not item.added.before:
            by.setdefault(", ".join(item.added.asked_by), []).append(item)
    lines = []
    for asked, items in by.items():
        root = re.split(r"[^a-z0-9-]", asked.lower().replace("_", "-").replace(".", "-"), maxsplit=1)[0]
        named = [item for item in items if verbose or item.name == root]
        lines += [f"  added: {item.name} {item.version} (for {asked})" for item in named]
        if len(items) > len(named):
            more = len(items) - len(named)
            lines.append(f"  added: {more} {'more ' if named else ''}{'that it needs' if named else f'for {asked}'}")
    return lines


_KINDS = {"base": "the base’s own", "conda": "conda’s", "captured": "captured"}


def _channels(target: Target) -> list[str]:
    return sorted({item.channel for item in target.conda_packages})


_TELLING = ("libc6", "libstdc++6", "libgomp1", "libgcc-s1", "python3")
"""Packages whose substitution is always shown: numbers are made in them, or they are the interpreter."""


def _yanked(lock: Lock) -> list[LockedDistribution]:
    return [item for item in lock.distributions if item.yanked is not None]
