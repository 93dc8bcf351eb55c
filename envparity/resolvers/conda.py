"""
What conda channels serve: the packages that an environment was made of, each found again by the name of its file.

The channels are asked by rattler (https://conda.github.io/rattler/py-rattler/), in this process, with our logins and
those that it knows itself (`rattler auth login`, `RATTLER_AUTH_FILE`). It comes with the extra `conda`, and is imported
only here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from envparity.collectors.urls import public_url
from envparity.errors import IntegrityError, UnreachableError, UnsupportedError
from envparity.resolvers.logins import Logins, channel_hint
from envparity.resolvers.problems import Problem
from envparity.values import BroughtDistribution, CondaPackage, LockedCondaPackage

ALIAS = "https://conda.anaconda.org"
"""Where conda looks for a channel of which it has only the name (`channel_alias`)."""

SUBDIRS = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}
"""What conda calls a processor of ours."""

_TOKEN = re.compile(r"/t/[^/]+(?=/)")
_SHOWN = 160

Channels = Mapping[tuple[str, str], Mapping[str, Sequence[Any]]]
"""The records of each channel's subdir, by the name of the package."""


def channel_of(package: CondaPackage) -> str:
    """The address of the channel that a package came from, without subdir and token; empty where nothing says it."""
    url = public_url(package.url)
    folder = url.rpartition("/")[0]
    subdir = f"/{package.subdir}"
    if package.subdir and folder.endswith(subdir):
        return without_token(folder.removesuffix(subdir))
    channel = package.channel.rstrip("/")
    if "://" in channel:
        return without_token(public_url(channel))
    return f"{ALIAS}/{channel}" if re.fullmatch(r"[\w.-]+(/[\w.-]+)*", channel) and channel != "defaults" else ""


def without_token(address: str) -> str:
    """The address of a channel without the token in it, whether that is hidden already or not."""
    return _TOKEN.sub("", address)


def channels(packages: Iterable[CondaPackage], folder: Path, logins: Logins) -> Channels:
    """
    What the channels of these packages say of them. `folder` is private: rattler notes there what it was told.

    Raises:
        UnreachableError: one or more channels do not answer; all of them are named.
        UnsupportedError: rattler is not installed.
    """
    rattler, exceptions = library("the conda packages of the snapshot are looked up")
    wanted: dict[tuple[str, str], set[str]] = {}
    for item in packages:
        wanted.setdefault((channel_of(item), item.subdir), set()).add(item.name)

    async def ask(gateway: Any, channel: str, subdir: str, names: set[str]) -> Mapping[str, list[Any]] | str:
        place = logins.placed(channel)
        try:
            answers = await gateway.query([rattler.Channel(place)], [subdir], sorted(names), recursive=False)
        except (exceptions.GatewayError, exceptions.FetchRepoDataError, exceptions.InvalidChannelError) as error:
            told = str(error).replace(place, channel)
            return " ".join(public_url(word) for word in told.split())[:_SHOWN]
        found: dict[str, list[Any]] = {}
        for record in (record for answer in answers for record in answer):
            found.setdefault(record.name.normalized, []).append(record)
        return found

    async def ask_all(places: Sequence[tuple[str, str]], *, refused: bool) -> list[Mapping[str, list[Any]] | str]:
        gateway = gateway_of({channel for channel, _ in places}, folder, logins, refused=refused)
        return await asyncio.gather(*(ask(gateway, *place, asked[place]) for place in places))

    import asyncio  # who has nothing of conda does not wait for it

    asked = {place: names for place, names in sorted(wanted.items()) if all(place)}
    answers = dict(zip(asked, asyncio.run(ask_all(list(asked), refused=False)), strict=True))
    again = [place for place, answer in answers.items() if isinstance(answer, str) and _knows_better(place[0], logins)]
    if again:
        answers |= zip(again, asyncio.run(ask_all(again, refused=True)), strict=True)
    silent = {place: answer for place, answer in answers.items() if isinstance(answer, str)}
    if silent:
        host = urlsplit(next(iter(silent))[0]).hostname or "HOST"
        raise UnreachableError(
            f"{len(silent)} of {len(asked)} folders of conda channels do not answer",
            hint=f"is the channel still there? Where it wants a login, {channel_hint(host)}",
            details=tuple(f"{channel}/{subdir}: {reason}" for (channel, subdir), reason in silent.items()),
        )
    return {place: answer for place, answer in answers.items() if not isinstance(answer, str)}


def library(what: str) -> tuple[Any, Any]:
    """
    The library rattler, and its exceptions.

    Raises:
        UnsupportedError: it is not installed; `what` it is for is said.
    """
    try:
        import rattler
        from rattler import exceptions
    except ImportError as error:
        raise UnsupportedError(
            f"{what} by py-rattler, which is not installed", hint="install it: `pip install 'envparity[conda]'`"
        ) from error
    return rattler, exceptions


def gateway_of(channels: Iterable[str], folder: Path, logins: Logins, *, refused: bool = False) -> Any:
    """What asks these channels, each with its own login; where one `refused` before, with that of the keyring."""
    import rattler

    headers = _headers(channels, logins, refused=refused)
    return rattler.Gateway(cache_dir=folder, **({"client": _client(headers)} if headers else {}))


def _headers(channels: Iterable[str], logins: Logins, *, refused: bool) -> dict[tuple[str, str], str]:
    """What a channel is told of us, by its host and the beginning of its path."""
    found = {}
    for channel in channels:
        header = logins.header(channel, refused=refused)
        if header:
            parts = urlsplit(channel)
            found[parts.hostname or "", parts.path] = header
    return found


def _knows_better(channel: str, logins: Logins) -> bool:
    """Whether the keyring has a login that was not tried yet; it is asked only where a channel did not answer."""
    return bool(logins.header(channel, refused=True)) and logins.header(channel, refused=True) != logins.header(
        channel, refused=False
    )


def _client(headers: Mapping[tuple[str, str], str]) -> Any:
    """As rattler's own, and with these headers for addresses below their paths alone."""
    from rattler import networking

    def of(host: str, path: str) -> dict[str, str] | None:
        for (its_host, beginning), header in headers.items():
            if host == its_host and path.startswith(f"{beginning.rstrip('/')}/"):
                return {"Authorization": header}
        return None

    return networking.Client(
        [
            networking.RetryMiddleware(3),
            networking.AuthenticationMiddleware(),
            networking.OciMiddleware(),
            networking.GCSMiddleware(),
            networking.S3Middleware(),
            networking.AddHeadersMiddleware(of),
        ]
    )


def locked(packages: Sequence[CondaPackage], served: Channels) -> list[LockedCondaPackage | Problem]:
    """
    Each package as the file of its channel that was installed, or why there is none.

    It is `proven` where the channel has the file with the sha256 that was installed; `matched` where no sha256 is
    recorded, and its md5, or name, version and build alone, point to one file.

    Raises:
        IntegrityError: a channel has other bytes under the name of a file that was installed.
    """
    found = [_locked(item, served.get((channel_of(item), item.subdir), {}).get(item.name, ())) for item in packages]
    changed = [text for text in found if isinstance(text, str)]
    if changed:
        raise IntegrityError(
            f"{len(changed)} conda {'packages are' if len(changed) > 1 else 'package is'} not what the channel serves"
            " under the same name now",
            hint="ask who keeps the channel; conda's cache (`pkgs`) may still hold the file that was installed",
            details=tuple(changed),
        )
    return [item for item in found if not isinstance(item, str)]


def _locked(package: CondaPackage, records: Sequence[Any]) -> LockedCondaPackage | Problem | str:
    channel = channel_of(package)
    if not channel or not package.subdir:
        return _problem(package, "its record does not say which channel it came from", "unmatched")
    file_name = public_url(package.url).rpartition("/")[2]
    fitting = [
        record for record in records if (record.file_name == file_name if file_name else _same_build(record, package))
    ]
    if not fitting:
        is_local = channel.startswith("file:")
        reason = f"`{file_name or package.name}` is not in the channel {channel}"
        return _problem(package, reason, "local-build" if is_local else "unmatched")
    if len(fitting) > 1:
        by_hash = [record for record in fitting if package.sha256 and hexadecimal(record.sha256) == package.sha256]
        if len(by_hash) != 1:
            names = ", ".join(sorted(record.file_name for record in fitting))
            return _problem(package, f"its record does not say which file it was: {names}", "unmatched")
        fitting = by_hash
    (record,) = fitting
    sha256, md5 = hexadecimal(record.sha256), hexadecimal(record.md5)
    if (package.sha256 and sha256 and package.sha256 != sha256) or (package.md5 and md5 and package.md5 != md5):
        return (
            f"{record.file_name}: sha256 {package.sha256 or '?'} (md5 {package.md5 or '?'}) was installed, and the"
            f" channel {channel} has {sha256 or '?'} (md5 {md5 or '?'})"
        )
    if not (package.sha256 or sha256) or record.size is None:
        return _problem(package, f"the channel {channel} gives no sha256 of it", "unmatched")
    kind = record.noarch
    return LockedCondaPackage(
        name=package.name,
        version=package.version,
        build=package.build,
        channel=channel,
        subdir=package.subdir,
        file_name=record.file_name,
        url=f"{channel}/{package.subdir}/{record.file_name}",
        size_bytes=record.size,
        sha256=package.sha256 or sha256,
        md5=md5 or package.md5,
        state="proven" if package.sha256 and sha256 else "matched",
        requested=package.requested,
        noarch="python" if kind.python else "generic" if kind.generic else "",
        depends=tuple(sorted(record.depends)),
        distributions=tuple(BroughtDistribution(name=name, version=version) for name, version in package.distributions),
    )


def _same_build(record: Any, package: CondaPackage) -> bool:
    return (str(record.version), str(record.build)) == (package.version, package.build)


def hexadecimal(digest: bytes | None) -> str:
    """A digest as it is written; empty where there is none."""
    return digest.hex() if digest else ""


def _problem(package: CondaPackage, reason: str, state: str) -> Problem:
    return Problem(
        f"{package.name} (conda)",
        package.version,
        reason,
        "put its file back into that channel, or install the build that a channel has, train again, and take a new"
        " snapshot",
        state,
    )
