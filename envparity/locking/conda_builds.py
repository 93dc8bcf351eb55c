"""
Which builds of conda packages are meant, where nobody says it: a file that names versions alone, and a platform that
the model was not trained on. Rattler solves for it; no version moves, and what could not be kept is told.
"""

from __future__ import annotations

__all__ = ["Elsewhere", "channel_order", "chosen", "elsewhere", "require_channel"]

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

import msgspec

from envparity.errors import RefusedError, UnsupportedError
from envparity.files import private_folder
from envparity.locking.asked import Asked
from envparity.resolvers import conda as channels
from envparity.resolvers import conda_solving
from envparity.resolvers.logins import Logins
from envparity.values import CondaPackage, Environment, LeftOut, Substituted
from envparity.words import listed

_REASON = "nothing that is locked requires it on"


def require_channel(environment: Environment, packages: Sequence[CondaPackage]) -> tuple[str, ...]:
    """
    The channels that a file names for what it asks for, in its order.

    Raises:
        UnsupportedError: it names none.
    """
    named = [*environment.origin.channels, *(item.channel for item in packages if item.channel)]
    sources = conda_solving.addresses(named)
    if not sources:
        loose = sorted(item.name for item in packages if not item.url)
        raise UnsupportedError(
            f"`{environment.origin.reference}` does not say which builds of {len(loose)} packages of conda are meant"
            f" ({listed(loose, 5)}), and names no channel to choose them from",
            hint="name its channels in it (`channels: [conda-forge]`); or lock what conda-lock or Pixi makes of it",
        )
    return sources


def chosen(
    environment: Environment, packages: Sequence[CondaPackage], *, machine: str, glibc: str, asked: Asked
) -> tuple[tuple[CondaPackage, ...], frozenset[str]]:
    """
    One build of each of these, with what they require; and the names of those whose version nobody pins.

    Raises:
        UnsupportedError: no channel is named. And what `conda_solving.solved` raises.
    """
    sources = require_channel(environment, packages)
    subdir = channels.SUBDIRS[machine]
    limits = [f"python {asked.python_version}.*"] if asked.python_version.count(".") == 1 else []
    question = conda_solving.Question(
        specs=[_spec(item) for item in packages],
        limits=limits,
        channels=sources,
        subdir=subdir,
        virtual=conda_solving.virtual_packages(subdir, glibc),
    )
    with private_folder() as folder:
        found = conda_solving.solved(question, folder, Logins(asked.environ, asked.indexes.named))
    pinned = {item.name: item for item in packages if item.version}
    exact = {item.name: item for item in packages if item.url}
    answer = tuple(exact.get(item.name, item) for item in found)
    return answer, frozenset(item.name for item in answer if item.name not in pinned)


def _spec(item: CondaPackage) -> str:
    """What is asked for, in conda's words."""
    version = f"=={item.version}" if item.version else re.sub(r"==([^,]*\*)", r"\1", item.specifier)
    (channel,) = conda_solving.addresses([item.channel]) if item.channel else ("",)
    parts = {"version": version, "build": item.build, "channel": channel}
    inside = ", ".join(f"{key}='{value}'" for key, value in parts.items() if value)
    return f"{item.name}[{inside}]" if inside else item.name


@dataclass(frozen=True)
class Elsewhere:
    """
    The packages of a conda environment for a platform that it was not made on: `states` are those of each by its name,
    `substituted` the libraries of which only another version is there, `left_out` what nothing requires there.
    """

    packages: tuple[CondaPackage, ...]
    states: Mapping[str, str]
    virtual: tuple[str, ...]
    substituted: tuple[Substituted, ...]
    left_out: tuple[LeftOut, ...]


def elsewhere(
    environment: Environment, packages: Sequence[CondaPackage], *, platform: str, machine: str, glibc: str, asked: Asked
) -> Elsewhere:
    """
    Of each package the build of the same version for this platform; the very file, where it is for every platform.

    What brings Python distributions, or was asked for by name, has to be there in that version. A library that nobody
    named may be another one, or none: which they are differs from platform to platform.

    Raises:
        RefusedError: one or more that must be there are not; each is named with the nearest versions that are.
        ConflictError: their versions do not go together there. UnreachableError: of channels.
    """
    subdir = channels.SUBDIRS[machine]
    logins = Logins(asked.environ, asked.indexes.named)
    with private_folder() as folder:
        served = channels.channels(_sought(packages, subdir), folder / "known", logins)
        named = {item.name for item in packages if item.requested}
        limits, roots, lacking = [], [], []
        for item in packages:
            records = _records(item, served, subdir)
            is_there = any(_version(record) == item.version for record in records)
            is_needed = item.name in named or bool(item.distributions)
            if is_there:
                spec = f"{item.name} =={item.version}" + (f" {item.build}" if item.subdir == "noarch" else "")
                limits.append(spec)
                if is_needed or not named:
                    roots.append(spec)
            elif is_needed:
                lacking.append(f"{item.name} {item.version} (conda): {_nearest(item, records, subdir)}")
        if lacking:
            raise RefusedError(
                f"{len(lacking)} conda packages are not there for {platform}"
                if len(lacking) > 1
                else f"a conda package is not there for {platform}",
                hint="train with a version that is there, or lock for the training's own platform",
                details=tuple(lacking),
            )
        cuda = next((item.version for item in environment.conda_packages or () if item.name == "__cuda"), "")
        virtual = conda_solving.virtual_packages(subdir, glibc, cuda)
        in_order = channel_order(packages, environment.origin.channels)
        question = conda_solving.Question(
            specs=roots,
            limits=limits,
            channels=in_order,
            subdir=subdir,
            virtual=virtual,
            preferred=_behind(packages, served, subdir, in_order),
        )
        found = conda_solving.solved(question, folder / "solving", logins)
    return _told(packages, found, platform, tuple("=".join(parts) for parts in virtual))


def _told(
    packages: Sequence[CondaPackage], found: Sequence[CondaPackage], platform: str, virtual: tuple[str, ...]
) -> Elsewhere:
    before, after = ({item.name: item for item in each} for each in (packages, found))
    states = {}
    for item in found:
        trained = before.get(item.name)
        if trained is None or trained.version != item.version:
            states[item.name] = "resolved"
        elif trained.sha256 and trained.sha256 == item.sha256:
            states[item.name] = "proven"
        else:
            states[item.name] = "matched" if item.subdir == trained.subdir == "noarch" else "counterpart"
    requested = {item.name: item.requested for item in packages}
    return Elsewhere(
        packages=tuple(msgspec.structs.replace(item, requested=requested.get(item.name)) for item in found),
        states=states,
        virtual=virtual,
        substituted=tuple(
            Substituted(
                kind="conda-package",
                name=item.name,
                before=item.version,
                after=after[item.name].version,
                reason=f"its version is not there for {platform}",
            )
            for item in packages
            if item.name in after and after[item.name].version != item.version
        ),
        left_out=tuple(
            LeftOut(kind="conda-package", name=item.name, version=item.version, reason=f"{_REASON} {platform}")
            for item in packages
            if item.name not in after
        ),
    )


def channel_order(packages: Iterable[CondaPackage], named: Sequence[str]) -> tuple[str, ...]:
    """
    The channels that something of an environment came from: in the order in which it names them, and of those that it
    does not name, or where it names none, first the one that most of it came from.
    """
    counted: dict[str, int] = {}
    for item in packages:
        channel = channels.channel_of(item)
        counted[channel] = counted.get(channel, 0) + 1
    places = [
        (channels.without_token(place), urlsplit(place).path if "://" not in name and not name.startswith("/") else "")
        for name in named
        for place in conda_solving.addresses([name])
    ]

    def rank(channel: str) -> tuple[int, int, str]:
        exact = (index for index, (place, _) in enumerate(places) if channel == place)
        # A name alone may be that of a mirror, whose address ends as that of the channel itself.
        ends = (index for index, (_, end) in enumerate(places) if end and channel.endswith(end))
        return next(chain(exact, ends), len(places)), -counted[channel], channel

    return tuple(sorted(filter(None, counted), key=rank))


def _behind(
    packages: Iterable[CondaPackage], served: channels.Channels, subdir: str, in_order: Sequence[str]
) -> tuple[Any, ...]:
    """
    The builds of what came from another channel than the first: of its version, in its own channel. Where a channel
    before it has the package too, in whatever version, no other is asked; the training took this one all the same.
    """
    found = [
        record
        for item in packages
        if channels.channel_of(item) not in in_order[:1]
        for record in _records(item, served, subdir)
        if _version(record) == item.version and (item.subdir != "noarch" or str(record.build) == item.build)
    ]
    return tuple(sorted(found, key=lambda record: (record.name.normalized, record.build_number, str(record.build))))


def _sought(packages: Iterable[CondaPackage], subdir: str) -> list[CondaPackage]:
    """What to ask the channels: each package where it came from, for this platform and for all of them."""
    return [
        CondaPackage(name=item.name, channel=channels.channel_of(item), subdir=place)
        for item in packages
        for place in (subdir, "noarch")
    ]


def _records(item: CondaPackage, served: channels.Channels, subdir: str) -> list[Any]:
    channel = channels.channel_of(item)
    return [record for place in (subdir, "noarch") for record in served.get((channel, place), {}).get(item.name, ())]


def _version(record: Any) -> str:
    return str(record.version)


def _nearest(item: CondaPackage, records: Sequence[Any], subdir: str) -> str:
    if not records:
        return f"its channel has no version of it for {subdir}"
    ordered = sorted({record.version for record in records})
    texts = list(map(str, ordered))
    wanted = type(ordered[0])(item.version)
    before = [text for version, text in zip(ordered, texts, strict=True) if version < wanted]
    after = [text for version, text in zip(ordered, texts, strict=True) if version > wanted]
    return f"nearest for {subdir}: {', '.join([*before[-1:], *after[:1]])}"
