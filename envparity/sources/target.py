"""What a file declares under conditions, selected for the target that was stated; nothing is selected by a guess."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec.structs import replace

from envparity import markers
from envparity.errors import TargetNeededError, UsageError
from envparity.sources.reading import Options
from envparity.values import MACHINES, Basis, Distribution, Environment

BASE_GROUPS = frozenset({"main", "default"})
"""What tools call that which is always installed. Asking for one of these alone asks for no other group."""

_SELECTED_BY_READER = frozenset({"conda-lock", "pixi-lock"})
"""Kinds whose groups are whole lists of packages: their reader has chosen one, or has refused."""

_SYSTEMS = ("linux", "darwin", "windows")
_MACHINES = {"darwin/arm64": "arm64", "windows/amd64": "AMD64", "windows/arm64": "ARM64"}
"""What `platform.machine()` says where it is not what Linux says."""

_SUBDIRS = {
    "linux-64": "linux/amd64",
    "linux-32": "linux/386",
    "linux-aarch64": "linux/arm64",
    "linux-armv7l": "linux/arm",
    "linux-ppc64le": "linux/ppc64le",
    "linux-s390x": "linux/s390x",
    "linux-riscv64": "linux/riscv64",
    "osx-64": "darwin/amd64",
    "osx-arm64": "darwin/arm64",
    "win-64": "windows/amd64",
    "win-32": "windows/386",
    "win-arm64": "windows/arm64",
}


def platform_of(subdir: str) -> str:
    """The platform, as `--platform` names it, of a conda subdirectory (`linux-64`); any other text as it is."""
    return _SUBDIRS.get(subdir, subdir)


def system_and_machine(platform: str) -> tuple[str, str]:
    """`linux/amd64` as the system and what `uname -m` says there."""
    system, _, architecture = platform.partition("/")
    machine = architecture.partition("/")[0]
    return system, _MACHINES.get(f"{system}/{machine}", MACHINES.get(machine, machine))


def checked(options: Options) -> Options:
    """
    The same options, if they state a target that can be.

    Raises:
        UsageError: a platform that is none, or a Python version that is none.
    """
    platform = platform_of(options.platform)
    system, slash, machine = platform.partition("/")
    if platform and not (system in _SYSTEMS and slash and re.fullmatch(r"[a-z0-9_]+(/v\d)?", machine)):
        raise UsageError(
            f"`{options.platform}` is not a platform", hint="name one as `linux/amd64`, `linux/arm64` or `darwin/arm64`"
        )
    if options.python_version and not re.fullmatch(r"\d+\.\d+(\.\d+\w*)?", options.python_version):
        raise UsageError(f"`{options.python_version}` is not a version of Python", hint="name one as 3.11, or 3.11.7")
    return options


def beside(options: Options, other: Environment) -> Options:
    """The options for one side of a comparison: where they state no platform or Python, those of the other side."""
    from dataclasses import replace as with_

    system, python = other.system, other.python
    platform = options.platform
    if not platform and system is not None and system.os and system.machine:
        architectures = {machine: name for name, machine in MACHINES.items()} | {"arm64": "arm64", "AMD64": "amd64"}
        platform = f"{system.os.lower()}/{architectures.get(system.machine, system.machine)}"
    version = options.python_version or (python.version if python is not None else "")
    return with_(
        options,
        platform=platform,
        python_version=version if re.fullmatch(r"\d+\.\d+(\.\d+\w*)?", version) else "",
        implementation=python.implementation if python is not None else "",
        shared=True,
    )


def one_of(present: Iterable[str], stated: str, what: str, flag: str, name: str) -> str:
    """
    Which of several cases that a file holds is meant: the stated one, or the only one.

    Raises:
        UsageError: the stated one is not there; the message names those that are. TargetNeededError: nobody said.
    """
    cases = list(dict.fromkeys(present))
    if stated in cases:
        return stated
    listed = ", ".join(cases) or "none"
    if stated:
        raise UsageError(f"`{name}` holds no {what} `{stated}`; it has: {listed}", hint=f"name one of them: `{flag}`")
    if len(cases) != 1:
        several = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
        raise TargetNeededError(f"`{name}` holds several {several}: {listed}", hint=f"say which: `{flag} {cases[0]}`")
    return cases[0]


def selected(environment: Environment, options: Options) -> Environment:
    """
    The environment without what its conditions exclude for the stated target.

    A condition that holds there is gone from its distribution; one that cannot be decided stays on it.

    Raises:
        UsageError: an extra or a group was asked for that nothing here belongs to, or a Python that it is not for.
    """
    _require_python(options, environment)
    conditional = [item for item in environment.distributions or () if _is_conditional(item)]
    _require_known(conditional, options, environment)
    system, machine = system_and_machine(platform_of(options.platform)) if options.platform else ("", "")
    known = markers.of_place(
        version=options.python_version, implementation=options.implementation, system=system, machine=machine
    )
    asked = options.extras is not None or options.groups is not None
    if not conditional or not (known or asked):
        return environment
    extras = frozenset(map(_name, options.extras or ())) if asked else None
    groups = frozenset(map(_name, options.groups or ())) - BASE_GROUPS if asked else None
    kept = []
    for item in environment.distributions or ():
        holds = markers.holds(item.marker, known, extras=extras, groups=groups) if _is_conditional(item) else None
        if holds is not False:
            kept.append(replace(item, marker="") if holds else item)
    return replace(environment, distributions=tuple(kept))


def _require_python(options: Options, environment: Environment) -> None:
    """
    A lock for Python 3.11 and newer says nothing of 3.9. In a comparison that is a difference like others.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    python = environment.python
    if not options.python_version or options.shared or python is None or python.basis is not Basis.DECLARED:
        return
    try:
        allowed = SpecifierSet(python.specifier)
    except InvalidSpecifier:
        return
    stated = options.python_version
    meant = [stated] if stated.count(".") > 1 else [f"{stated}.{last}" for last in range(100)]
    if not any(allowed.contains(version, prereleases=True) for version in meant):
        name = environment.origin.reference
        raise UsageError(
            f"`{name}` is for Python {python.specifier}, and not for {stated}", hint="name one that it is for"
        )


def _is_conditional(item: Distribution) -> bool:
    return bool(item.marker) and item.basis in {Basis.DECLARED, Basis.LOCKED}


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def _require_known(conditional: list[Distribution], options: Options, environment: Environment) -> None:
    if environment.origin.kind in _SELECTED_BY_READER:
        return
    name = environment.origin.reference
    present = {named for item in conditional for named in markers.named(item.marker)}
    for kind, what, asked, always in (
        ("extras", "extra", options.extras, frozenset[str]()),
        ("dependency_groups", "group", options.groups, BASE_GROUPS),
    ):
        known = {_name(text) for of_kind, text in present if of_kind == kind}
        unknown = sorted({_name(text) for text in asked or ()} - known - always)
        # One set of flags may be meant for the other of two sources, which knows the name.
        if unknown and (known or not options.shared):
            listed = ", ".join(sorted(known)) or "none"
            raise UsageError(
                f"`{name}` knows no {what} `{unknown[0]}`; it has: {listed}", hint="name one of them, or none"
            )
