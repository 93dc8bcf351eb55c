"""
The builds of conda packages of which only more or less is said: chosen by rattler for one platform, and never for the
machine that asks (https://conda.github.io/rattler/py-rattler/solver/).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from envparity.collectors.urls import public_url
from envparity.errors import ConflictError, UnreachableError, UsageError
from envparity.resolvers.conda import ALIAS, gateway_of, hexadecimal, library
from envparity.resolvers.logins import Logins, channel_hint
from envparity.values import Basis, CondaPackage

DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
"""What conda means by the channel `defaults`
(https://docs.conda.io/projects/conda/en/stable/user-guide/configuration/settings.html#default-channels)."""

_LINES = 12


@dataclass(frozen=True, kw_only=True)
class Question:
    """
    What to solve for.

    Args:
        specs: what has to be there, as match specifications of conda.
        limits: what else holds of a package, if it is there at all.
        channels: their addresses; of two that have a package the first is asked alone (strict priority).
        subdir: the platform, as `linux-64`.
        virtual: what stands for its machine: name, version and build of each.
        preferred: records of rattler's, of whatever channel, that are taken where they fit; the last of a name first.
    """

    specs: Sequence[str]
    limits: Sequence[str] = ()
    channels: Sequence[str]
    subdir: str
    virtual: Sequence[tuple[str, str, str]]
    preferred: Sequence[Any] = ()


def virtual_packages(subdir: str, glibc: str, cuda: str = "") -> tuple[tuple[str, str, str], ...]:
    """What stands for a machine that an image runs on: Linux, this glibc, the processor's family, a driver for CUDA."""
    family = {"linux-64": "x86_64", "linux-aarch64": "aarch64"}[subdir]
    found = [("__archspec", "1", family), ("__glibc", glibc, "0"), ("__linux", "5.10", "0"), ("__unix", "0", "0")]
    return tuple(sorted([*found, *([("__cuda", cuda, "0")] if cuda else [])]))


def addresses(channels: Sequence[str]) -> tuple[str, ...]:
    """The addresses of channels that have names (`conda-forge`), as conda itself finds them."""
    found: list[str] = []
    for channel in channels:
        if channel == "defaults":
            found += DEFAULTS
        elif channel.startswith("/"):
            found.append(Path(channel).as_uri())
        elif channel != "nodefaults":
            found.append(channel.rstrip("/") if "://" in channel else f"{ALIAS}/{channel}")
    return tuple(dict.fromkeys(found))


def solved(question: Question, folder: Path, logins: Logins) -> tuple[CondaPackage, ...]:
    """
    One build of each package that the answer holds, by name. `folder` is private: rattler notes there what it was told.

    Raises:
        ConflictError: there is no answer; what contradicts what is told.
        UsageError: a specification or a channel is none. UnreachableError: a channel does not answer.
        UnsupportedError: rattler is not installed.
    """
    rattler, exceptions = library("which builds of conda packages fit is decided")
    places = {logins.placed(channel): channel for channel in question.channels}

    def shown(error: Exception) -> str:
        told = str(error)
        for place, channel in places.items():
            told = told.replace(place, channel)
        return "\n".join(" ".join(map(public_url, line.split(" "))) for line in told.splitlines())

    as_build = getattr(rattler, "BuildString", str)  # older releases take the text itself

    async def ask() -> list[Any]:
        answer: list[Any] = await rattler.solve(
            sources=[rattler.Channel(place) for place in places],
            specs=list(question.specs),
            constraints=list(question.limits),
            gateway=gateway_of(question.channels, folder, logins),
            platforms=[question.subdir, "noarch"],
            locked_packages=list(question.preferred),
            virtual_packages=[
                rattler.GenericVirtualPackage(rattler.PackageName(name), rattler.Version(version), as_build(build))
                for name, version, build in question.virtual
            ],
        )
        return answer

    import asyncio

    try:
        records = asyncio.run(ask())
    except exceptions.SolverError as error:
        lines = [line for line in shown(error).splitlines() if line.strip()]
        more = [f"and {len(lines) - _LINES} lines more"] if len(lines) > _LINES else []
        raise ConflictError(
            f"conda's packages cannot be had together on {question.subdir}",
            hint="loosen what is asked for, or name a channel that has it",
            details=(*lines[:_LINES], *more),
        ) from error
    except (exceptions.InvalidMatchSpecError, exceptions.InvalidChannelError, exceptions.InvalidVersionError) as error:
        raise UsageError(f"conda does not understand what is asked for: {shown(error)[:200]}") from error
    except (exceptions.GatewayError, exceptions.FetchRepoDataError) as error:
        host = urlsplit(question.channels[0]).hostname or "HOST"
        raise UnreachableError(
            f"a channel of conda does not answer: {shown(error)[:200]}",
            hint=f"is the channel still there? Where it wants a login, {channel_hint(host)}",
        ) from error
    return tuple(sorted((_package(record, places) for record in records), key=lambda item: item.name))


def _package(record: Any, places: dict[str, str]) -> CondaPackage:
    channel = next((own for place, own in places.items() if str(record.url).startswith(f"{place}/")), "")
    return CondaPackage(
        name=record.name.normalized,
        basis=Basis.LOCKED,
        version=str(record.version),
        build=str(record.build),
        channel=channel or re.sub(r"/[^/]+/[^/]+$", "", public_url(str(record.url))),
        subdir=record.subdir,
        url=f"{channel}/{record.subdir}/{record.file_name}" if channel else public_url(str(record.url)),
        sha256=hexadecimal(record.sha256) or None,
        md5=hexadecimal(record.md5),
    )
