"""
A source that says what should be installed, and was installed nowhere: a lock of another tool, requirements, an SBOM.

    1  the target    platform, base and Python, by what is asked for, else by what the file says
    2  what holds    each condition is decided for that target; extras and groups count where they are asked for

What follows, the wheels, is `locking.stated_wheels`.
"""

from __future__ import annotations

__all__ = ["Settled", "holding", "is_pinned", "platforms", "require_alike", "require_sound", "settled", "with_brought"]

import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from envparity import markers
from envparity.errors import IncompleteError, MalformedError, RefusedError, UnsupportedError, UsageError, plain
from envparity.fetch import Fetcher
from envparity.locking.asked import Asked, is_image
from envparity.resolvers import archives, fitting, package_lists, states
from envparity.resolvers.for_place import Place
from envparity.values import (
    ARCHITECTURES,
    MACHINES,
    Basis,
    CondaPackage,
    Distribution,
    Environment,
    Gap,
    GapKind,
    LeftOut,
    Lock,
    Python,
    Substituted,
    System,
    python_xy,
)

if TYPE_CHECKING:
    from envparity.locking import base_image

DEFAULT_PLATFORM = "linux/amd64"
"""The platform of a file that says none: the same for everybody, whatever machine the lock is made on."""

_SEEN = frozenset({"live", "image", "content"})
_CONDA_S_OWN = frozenset({"python", "pip", "setuptools", "wheel"})
"""Packages of conda that an environment file names for the sake of Python itself."""

_NEWEST_PATCH = 100


@dataclass(frozen=True)
class Settled:
    """
    What a source asks for in one target.

    Args:
        environment: of the source, what holds there.
        python: the interpreter of the image.
        system: what is known of the target's system.
        chosen: the distributions to lock. `left_out` are the others, each with the reason.
        base: its name, and `index` what its archive holds; or `image`, where it is one.
        place: what the wheels have to fit.
        substituted: the Python that the file names, where the image has another patch release.
        conda: the packages of conda, where the Python is one of them; `resolved` are the names of those that nobody
            pins, `brought` the distributions in all of them, with their versions.
    """

    environment: Environment
    python: Python
    system: System
    chosen: list[Distribution]
    left_out: list[LeftOut]
    base: str
    index: package_lists.Index | None
    place: Place
    substituted: tuple[Substituted, ...]
    conda: tuple[CondaPackage, ...] = ()
    brought: Mapping[str, str] = field(default_factory=dict)
    resolved: frozenset[str] = frozenset()
    image: base_image.BaseImage | None = None


def platforms(asked: Asked) -> tuple[str, ...]:
    """
    What a file is locked for, one after the other; one empty name where nobody said any.

    Raises:
        UsageError: a platform is named twice.
    """
    for number, platform in enumerate(asked.platforms):
        if platform in asked.platforms[:number]:
            raise UsageError(f"`--platform {platform}` is named twice", hint="name each platform once")
    return tuple(asked.platforms) or ("",)


def require_alike(locks: Sequence[Lock], name: str) -> None:
    """
    That one file can lock for all of these targets: it has one version of each distribution.

    Raises:
        RefusedError: the source has several; all of them are listed.
    """
    versions: dict[str, dict[str, str]] = {}
    for lock in locks:
        for item in lock.distributions:
            versions.setdefault(item.name, {})[lock.targets[0].platform] = item.version
    several = [
        f"{item}: {', '.join(f'{version} for {platform}' for platform, version in each.items())}"
        for item, each in sorted(versions.items())
        if len(set(each.values())) > 1
    ]
    if several:
        raise RefusedError(
            f"`{name}` has other versions of {states.counted(len(several))} for another platform, and a lock has one",
            hint="lock it for each platform: `--platform linux/arm64 -o pylock.arm64.toml`",
            details=tuple(several),
        )


def is_pinned(environment: Environment) -> bool:
    """Whether an environment only says what should be installed: no file of it was seen anywhere."""
    if environment.python is not None and environment.python.basis is Basis.INSTALLED:
        return environment.origin.kind not in _SEEN and not any(
            item.wheel_tags or item.record_sha256 for item in environment.distributions or ()
        )
    return environment.origin.kind not in _SEEN or any(
        item.basis is not Basis.INSTALLED for item in environment.distributions or ()
    )


def require_sound(environment: Environment, asked: Asked) -> None:
    """What `settled` refuses of a file before anybody has to be asked, with the same errors."""
    for platform in platforms(asked):
        source = asked.of_platform.get(platform, environment)
        _require_whole(source, asked)
        _conda(source, asked)
        _machine(source, replace(asked, platforms=(platform,) if platform else ()))


def settled(environment: Environment, asked: Asked, fetcher: Fetcher) -> Settled:
    """
    Steps 1 and 2.

    Raises:
        UsageError: the base has another Python than is asked for, or the file is for another platform.
        RefusedError: it is not told which of several things holds; all of them are listed.
        IncompleteError: the source is not whole. UnsupportedError: it has packages of conda, and says neither which
        builds nor a channel; or no Python among them. ConflictError: no builds go together.
    """
    _require_whole(environment, asked)
    packages = _conda(environment, asked)
    resolved = frozenset[str]()
    # 1
    machine, architecture = _machine(environment, asked)
    xy = _xy(environment, asked)
    image, index = None, None
    if asked.base is not None and is_image(asked.base):
        from envparity.locking import base_image

        image = base_image.opened(asked.base, f"linux/{architecture}", fetcher=fetcher, environ=asked.environ)
        base, glibc = image.reference, image.locked.glibc
        python = asked.interpreter or _python_of(image, environment, xy)
    else:
        base = _base(environment, asked, xy, any_python=bool(packages))
        index = package_lists.read_index(base, fetcher, architecture=architecture)
        glibc = index.release.glibc
        if any(map(_is_loose, packages)):
            from envparity.locking import conda_builds

            packages, resolved = conda_builds.chosen(environment, packages, machine=machine, glibc=glibc, asked=asked)
            _require_python(environment, packages)
        own = next((item.version for item in packages if item.name == "python"), "")
        python = asked.interpreter or Python(
            basis=Basis.LOCKED, version=own or package_lists.offered_python(index), implementation="cpython"
        )
    version = python.version
    place = Place(version, machine, glibc, base)
    python = msgspec.structs.replace(python, platform_tags=fitting.platforms(machine, glibc))
    system = environment.system or System(os="linux", machine=machine)
    system = msgspec.structs.replace(system, os="linux", machine=machine)
    # 2
    here = holding(environment, place, extras=asked.extras, groups=asked.groups)
    chosen, left_out = _chosen(here, {*asked.without} - {gap.item for gap in _nameless(environment)})
    if not chosen and not packages:
        raise UsageError(
            f"`{environment.origin.reference}` holds no distribution for {place}, so there is nothing to lock",
            hint="`--extra` and `--group` ask for parts that are not always installed",
        )
    return Settled(
        msgspec.structs.replace(environment, distributions=tuple(here)),
        python,
        system,
        chosen,
        left_out,
        base,
        index,
        place,
        _substituted(environment, version),
        packages,
        resolved=resolved,
        image=image,
    )


def with_brought(stated: Settled, names: Mapping[str, str], *, asked: Asked) -> Settled:
    """
    The same, where packages of conda bring these distributions, each in its version: what the file names of them is no
    wheel of an index. What an environment file asks pip for is, unless conda's version will do.

    Raises:
        IncompleteError: the file says that something belongs there, and nothing in it is or brings that.
    """
    if not stated.conda:
        return stated
    missing = [gap for gap in stated.environment.gaps if _is_of_distribution(gap) and gap.item not in names]
    if missing and not asked.allow_incomplete:
        raise _incomplete(stated.environment.origin.reference, missing)
    environment = stated.environment
    unproven = {gap.item for gap in environment.gaps if gap.section == "distributions"}

    def is_of_pip(item: Distribution) -> bool:
        if item.hashes or item.direct_url or f"{item.name} hashes" in unproven:
            return True
        if environment.origin.kind == "environment-yml":
            return item.name not in names or not _will_do(item, names[item.name])
        # Pixi names what conda packages bring too (`purls`), by name and version alone.
        return item.name not in names and environment.origin.kind != "pixi-lock"

    chosen = [item for item in stated.chosen if is_of_pip(item)]
    return replace(stated, chosen=chosen, brought=dict(names))


def _will_do(item: Distribution, version: str) -> bool:
    return item.version == version if item.version else _allows(item.specifier, version)


def _is_of_distribution(gap: Gap) -> bool:
    return gap.kind is GapKind.UNREAD and gap.section == "distributions" and bool(gap.item)


def _incomplete(name: str, gaps: Iterable[Gap]) -> IncompleteError:
    return IncompleteError(
        f"`{name}` is not whole, so a lock of it would lack something",
        hint="make it again with the tool that it comes from, or pass --allow-incomplete",
        details=tuple(f"{gap.section} {gap.item}: {gap.reason}" for gap in gaps),
    )


def _conda(environment: Environment, asked: Asked) -> tuple[CondaPackage, ...]:
    """
    The packages of conda that the Python lies among; none where a file names only what Python itself needs of conda.

    Raises:
        UnsupportedError: no Python is among them; or it is not said of all which build they are, and the base is an
        image. UsageError: another Python was asked for.
    """
    name = environment.origin.reference
    packages = tuple(item for item in environment.conda_packages or () if not item.virtual)
    loose = [item for item in packages if _is_loose(item)]
    if loose == list(packages) and {item.name for item in packages} <= _CONDA_S_OWN:
        return ()
    if loose:
        from envparity.locking import conda_builds

        conda_builds.require_channel(environment, packages)
    else:
        _require_python(environment, packages)
    python = next((item.version for item in packages if item.name == "python"), "")
    if asked.interpreter is not None or (
        python and asked.python_version and not f"{python}.".startswith(f"{asked.python_version}.")
    ):
        raise UsageError(f"`{name}` has its own Python, {python}", hint="leave `--python` and `--python-version` out")
    return packages


def _is_loose(item: CondaPackage) -> bool:
    """Whether it is not said which file is meant."""
    return not item.url and not (item.version and item.build and item.channel)


def _require_python(environment: Environment, packages: Iterable[CondaPackage]) -> None:
    if not any(item.name == "python" and item.version for item in packages):
        raise UnsupportedError(
            f"`{environment.origin.reference}` has packages of conda and no Python among them",
            hint="add `python` to it, and make it again",
        )


def _python_of(image: base_image.BaseImage, environment: Environment, xy: str) -> Python:
    """The interpreter of a base that is an image, if the file allows it."""
    own, name = image.python, environment.origin.reference
    specifier = "" if xy or environment.python is None else environment.python.specifier
    has = "no whole Python" if own is None else f"Python {own.version}"
    if own is None or not (own.version.startswith(f"{xy}.") if xy else _allows(specifier, own.version)):
        raise UsageError(
            f"`{image.reference}` has {has}, and `{name}` is to be locked for {xy or specifier or 'some Python'}",
            hint="name a base that has it, or one to be captured with `--python venv:DIR`",
        )
    return msgspec.structs.replace(own, basis=Basis.LOCKED)


def _require_whole(environment: Environment, asked: Asked) -> None:
    name = environment.origin.reference
    if environment.origin.kind == "lock":
        raise UsageError(
            f"`{name}` is a lock of envparity already",
            hint="build it, or lock the snapshot that it was made of again; `--add` and `--update` change it",
        )
    if not environment.distributions and not environment.conda_packages:
        raise UsageError(f"`{name}` names no distribution, so there is nothing to lock", hint="is it the right file?")
    _require_own_hashes(environment)
    unread = [gap for gap in environment.gaps if gap.kind is GapKind.UNREAD]
    if environment.conda_packages:  # a package of conda may bring it under another name: `with_brought` tells
        unread = [gap for gap in unread if not _is_of_distribution(gap)]
    if unread and not asked.allow_incomplete:
        raise _incomplete(name, unread)
    nameless = [gap for gap in _nameless(environment) if gap.item not in asked.without]
    if nameless:
        is_named = "is named only by its place" if len(nameless) == 1 else "are named only by their places"
        raise RefusedError(
            f"{states.counted(len(nameless))} of `{name}` {is_named}, and would not be in the lock",
            hint="name a wheel of it: `NAME @ ADDRESS`, with its hash; or settle each as it says",
            details=tuple(
                f"{plain(gap.item)}: {gap.reason}; leave it out, and ship your own code with `build --app`:"
                f" `{shlex.join(['--leave-out', plain(gap.item)])}`"
                for gap in nameless
            ),
        )
    for options, what in ((asked.repacked, "--repack"), (asked.prove, "--prove")):
        if options:
            raise UsageError(
                f"`{what}` is for what was installed, and `{name}` only says what should be",
                hint="take a snapshot where it is installed, and lock that",
            )


def _nameless(environment: Environment) -> list[Gap]:
    """What a requirements file names only by its place."""
    from envparity.sources.requirements import NAMELESS

    return [gap for gap in environment.gaps if gap.section == "distributions" and gap.reason.startswith(NAMELESS)]


def _require_own_hashes(environment: Environment) -> None:
    """That no file is stated of two distributions: one file is one of them at the most."""
    owners: dict[str, str] = {}
    for item in environment.distributions or ():
        for digest in item.hashes:
            other = owners.setdefault(digest, item.name)
            if other != item.name:
                raise MalformedError(
                    f"`{environment.origin.reference}` states one hash of `{other}` and of `{item.name}`: {digest}",
                    hint="one file is one of them at the most: make it again with the tool that it comes from",
                )


def _machine(environment: Environment, asked: Asked) -> tuple[str, str]:
    """The processor, as `uname -m` and as Debian says it."""
    system, name = environment.system, environment.origin.reference
    platform = asked.platforms[0] if asked.platforms else ""
    if not platform and system is not None and system.machine in ARCHITECTURES:
        platform = f"linux/{ARCHITECTURES[system.machine]}"
    platform = platform or DEFAULT_PLATFORM
    if system is not None and system.os not in {"", "linux"}:
        raise UsageError(
            f"`{name}` is for {system.os} {system.machine}".rstrip() + f", and the image is for {platform}",
            hint="make it again for Linux with the tool that it comes from",
        )
    kind, _, architecture = platform.partition("/")
    if kind != "linux" or architecture not in {"amd64", "arm64"}:
        raise UnsupportedError(
            f"locking for {platform} is not supported yet", hint="lock for linux/amd64 with `--platform`"
        )
    machine = MACHINES[architecture]
    if system is not None and system.machine not in {"", machine}:
        raise UsageError(
            f"`{name}` is for {system.machine}, and the image is for {platform}", hint="name its own with `--platform`"
        )
    return machine, architecture


def _xy(environment: Environment, asked: Asked) -> str:
    """The Python that is meant, as `3.11`; empty where nobody says more than a range, or nothing."""
    if asked.python_version:
        return python_xy(asked.python_version)
    if asked.interpreter is not None:
        return python_xy(asked.interpreter.version)
    if environment.python is not None and environment.python.version:
        return python_xy(environment.python.version)
    return ""


def _base(environment: Environment, asked: Asked, xy: str, *, any_python: bool) -> str:
    """The base that is asked for, or the first that has a Python which the file allows, if the base's is needed."""
    name = environment.origin.reference
    pythons = {base: archives.release(base).python_version for base in archives.BASES}
    listed = ", ".join(f"{base} has {version}" for base, version in pythons.items())
    specifier = "" if xy or environment.python is None else environment.python.specifier
    brings = any_python or asked.interpreter is not None

    def fits(base: str) -> bool:
        return brings or (_allows(specifier, pythons[base]) if not xy else pythons[base] == xy)

    there = environment.system or System()
    own = archives.own_base(there.id, there.version_id)
    if asked.base == "scratch" or (asked.base is not None and asked.base.startswith(archives.SCRATCH)):
        if not brings:
            raise UsageError(
                f"`{asked.base}` has no Python of its own, and `{name}` none that could be captured",
                hint="name one: `--python venv:DIR`",
            )
        named = f"{archives.SCRATCH}{own or archives.BASES[0]}" if asked.base == "scratch" else asked.base
        return archives.release(named).base
    if asked.base is not None:
        release = archives.release(asked.base)
        if not fits(release.base):
            wanted = xy or specifier
            having = [base for base in archives.BASES if fits(base)]
            raise UsageError(
                f"{asked.base} has Python {release.python_version}, and `{name}` is to be locked for {wanted}",
                hint=f"take a base that has it: {', '.join(having)}" if having else f"{listed}; {_OTHER_PYTHON}",
            )
        return release.base
    found = next((base for base in (own, *archives.BASES) if base and fits(base)), None)
    if found is None:
        raise UsageError(
            f"no base has the Python that `{name}` is to be locked for, {xy or specifier}: {listed}",
            hint=_OTHER_PYTHON,
        )
    return found


_OTHER_PYTHON = "name the Python of a base with `--python-version`, or one to be captured with `--python venv:DIR`"


def _allows(specifier: str, xy: str) -> bool:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        allowed = SpecifierSet(specifier)
    except InvalidSpecifier:
        return True
    patches = [xy] if xy.count(".") > 1 else [f"{xy}.{patch}" for patch in range(_NEWEST_PATCH)]
    return any(map(allowed.contains, patches))


def _substituted(environment: Environment, version: str) -> tuple[Substituted, ...]:
    named = environment.python.version if environment.python is not None else ""
    if not re.fullmatch(r"\d+\.\d+\.\d+\w*", named) or named == version:
        return ()
    reason = "the base has this release of the same Python"
    return (Substituted(kind="python", name="python", before=named, after=version, reason=reason),)


def holding(
    environment: Environment, place: Place, *, extras: Collection[str] = (), groups: Collection[str] = ()
) -> list[Distribution]:
    """
    What is to be installed in the target, without the conditions that hold there.

    Raises:
        RefusedError: of one or more it is not told, or one stands there more than once; all of them are listed.
    """
    known = markers.of_place(
        version=place.python_version, implementation="cpython", system="linux", machine=place.machine
    )
    kept, doubtful = [], []
    for item in environment.distributions or ():
        holds = not item.marker or markers.holds(item.marker, known, extras=extras, groups=groups)
        if holds is None:
            doubtful.append(f"{item.name} {item.version or item.specifier}: {item.marker[:200]}")
        elif holds:
            kept.append(msgspec.structs.replace(item, marker=""))
    names = [item.name for item in kept]
    doubtful += sorted(
        f"{item.name} {item.version or item.specifier}: stands there more than once for this target"
        for item in kept
        if names.count(item.name) > 1
    )
    if doubtful:
        raise RefusedError(
            f"`{environment.origin.reference}` does not say whether {states.counted(len(doubtful))} belong"
            f"{'s' if len(doubtful) == 1 else ''} to {place}",
            hint="make it again with a newer version of the tool that it comes from, or export requirements from it",
            details=tuple(doubtful),
        )
    return kept


def _chosen(found: Iterable[Distribution], without: Iterable[str]) -> tuple[list[Distribution], list[LeftOut]]:
    left = {re.sub(r"[-_.]+", "-", name).lower(): name for name in without}
    chosen, left_out = [], []
    for item in found:
        if item.name in left:
            reason = "`--leave-out` asks for it"
        elif item.name == "pip":
            reason = "it installs, and an image is not installed into"
        else:
            chosen.append(item)
            continue
        left_out.append(LeftOut(kind="distribution", name=item.name, version=item.version, reason=reason))
    unknown = sorted(left.keys() - {item.name for item in left_out})
    if unknown:
        raise UsageError(
            f"`--leave-out {plain(left[unknown[0]])}` names nothing that would be locked", hint="look at its spelling"
        )
    return chosen, left_out
