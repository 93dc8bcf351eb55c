"""
`InRelease` of a suite: signed by a key that ships with envparity, of the suite that was asked for, and of these days.

What an attacker (or a mirror that stands still) could do with an old, rightly signed file, and what is done about it:

    freeze      the same file for ever: it is refused after its `Valid-Until`, where it has one; Debian's stable
                release and Ubuntu's suites have none, so a lock says of which day the lists were that it was made of
    rollback    an older file than before: the newest one that a place has served is kept in the cache and goes before
                it; where that has run out, the older one is refused
    clock       a file of the future, since then this machine's clock is wrong and no `Valid-Until` means anything

Format: https://wiki.debian.org/DebianRepository/Format#A.22Release.22_files
"""

from __future__ import annotations

__all__ = ["Archive", "Signed", "checked", "fields", "moment_in", "newest"]

import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from msgspec import Struct

from envparity.cache import Cache
from envparity.errors import DiskFullError, IntegrityError, MalformedError

_SLOW_CLOCK = timedelta(days=1)
"""How far a file may be ahead of this machine's clock: as far as one that shows the time of another zone."""


@dataclass(frozen=True)
class Archive:
    """
    An archive of packages.

    Args:
        mirror: where it is served.
        keys: certificates (OpenPGP, armored), and the `fingerprints` of those that sign its suites.
        past: the archive as it was at `{moment}` (`20261125T022230Z`); empty where nobody keeps it.
    """

    name: str
    mirror: str
    keys: bytes = field(repr=False)
    fingerprints: tuple[str, ...]
    past: str = ""

    def at(self, moment: datetime) -> str:
        """The address of the archive as it was then; empty where nobody keeps that."""
        return self.past.format(moment=moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ"))


@dataclass(frozen=True)
class Signed:
    """What a signed `InRelease` says: the sha256 and size in bytes of each list by its path, and when it was signed."""

    date: datetime
    files: Mapping[str, tuple[str, int]] = field(repr=False)


def checked(data: bytes, suite: str, archive: Archive, now: datetime) -> Signed:
    """
    What a suite's `InRelease` says.

    Raises:
        IntegrityError: no valid signature by a key of the archive, another suite, or not of these days.
        MalformedError: signed, and without what has to stand in it.
    """
    what = f"InRelease of {archive.name} {suite}"
    found = fields(_signed_text(data, archive, what))
    if suite not in {found.get("Suite"), found.get("Codename")}:
        raise IntegrityError(f"{what} is signed, but is that of {found.get('Codename', 'no suite')}")
    date = _moment(found, "Date", what)
    if date is None:
        raise MalformedError(f"{what} does not say when it was signed: it has no Date")
    if date > now + _SLOW_CLOCK:
        raise IntegrityError(
            f"{what} is of {found['Date']}, and this machine's clock says {now:%a, %d %b %Y %H:%M:%S} UTC",
            hint="set the clock: with a wrong one nobody can tell whether a list is out of date",
        )
    until = _moment(found, "Valid-Until", what)
    if until is not None and until < now:
        raise IntegrityError(
            f"{what} was valid until {found['Valid-Until']}",
            hint="the mirror is out of date (or this machine's clock is wrong): use another mirror with `--os-mirror`;"
            " an archive of a past day is named with that day, as `.../20261125T000000Z`",
        )
    files: dict[str, tuple[str, int]] = {}
    for line in found.get("SHA256", "").splitlines():
        parts = line.split()
        if len(parts) == 3 and re.fullmatch("[0-9a-f]{64}", parts[0]) and parts[1].isdecimal():
            files[parts[2]] = (parts[0], int(parts[1]))
    if not files:
        raise MalformedError(f"{what} lists no SHA256")
    return Signed(date, files)


def _moment(found: Mapping[str, str], name: str, what: str) -> datetime | None:
    if name not in found:
        return None
    try:
        moment = parsedate_to_datetime(found[name])
    except ValueError as error:
        raise MalformedError(f"{what} has no readable {name}: {error}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _signed_text(data: bytes, archive: Archive, what: str) -> bytes:
    from pysequoia import Cert, verify

    fingerprints = {fingerprint.lower() for fingerprint in archive.fingerprints}
    certificates = [
        certificate for certificate in Cert.split_bytes(archive.keys) if certificate.fingerprint in fingerprints
    ]
    problem = f"{what} has no valid signature by any of {', '.join(archive.fingerprints)}"
    hint = "the mirror altered or replaced it (a login page of the network does so too): use another mirror"
    try:
        message = verify(bytes=data, store=lambda _: certificates)
    except (RuntimeError, OSError, ValueError) as error:
        # Its text carries a stack trace of the library from the second line on.
        raise IntegrityError(f"{problem}: {str(error).partition(chr(10))[0]}", hint=hint) from error
    if not any(signature.certificate in fingerprints for signature in message.valid_sigs):
        raise IntegrityError(problem, hint=hint)
    return message.bytes or b""


class _Seen(Struct, frozen=True):
    """The newest file that a place has served, and when it was signed (seconds of the epoch)."""

    date_s: float
    data: bytes


def newest(data: bytes, address: str, check: Callable[[bytes], Signed], cache: Cache) -> Signed:
    """
    What `check` reads in a suite's `InRelease`, or in the newer one that the same address has served before.

    Raises:
        IntegrityError: a newer one was served before, and cannot be used any more. And what `check` raises.
    """
    found = check(data)
    key = f"release-1-{hashlib.sha256(address.encode()).hexdigest()}"
    seen = cache.note(key, _Seen)
    if seen is None or found.date.timestamp() >= seen.date_s:
        if seen is None or found.date.timestamp() > seen.date_s:
            with suppress(DiskFullError):
                cache.write_note(key, _Seen(found.date.timestamp(), data))
        return found
    with suppress(IntegrityError, MalformedError):  # where it has run out meanwhile, what is older is no better
        return check(seen.data)
    when = datetime.fromtimestamp(seen.date_s, UTC)
    raise IntegrityError(
        f"{address} is of {found.date:%Y-%m-%d %H:%M} UTC, and was of {when:%Y-%m-%d %H:%M} UTC before: an older list"
        " holds back what was mended since",
        hint="the mirror lags behind, or somebody put it back: try again later, or use another with `--os-mirror`",
    )


def moment_in(address: str) -> datetime | None:
    """The past day that an address names (`…/debian/20261125T022230Z`), as the archives of the past have it."""
    match = re.search(r"/([0-9]{8}T[0-9]{6}Z)(?:/|$)", address)
    try:
        return datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) if match else None
    except ValueError:
        return None


def fields(stanza: bytes) -> dict[str, str]:
    """The fields of one stanza (Policy, 5.1); the lines of a long one are kept as lines."""
    found: dict[str, str] = {}
    name = ""
    for line in stanza.decode("utf-8", "replace").splitlines():
        if line[:1] in {" ", "\t"} and name:
            found[name] += "\n" + line.strip()
        else:
            name, colon, value = line.partition(":")
            if colon:
                found[name] = value.strip()
    return found
