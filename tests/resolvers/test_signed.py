"""What a mirror can do with the signed lists of an archive, tried on a small archive of our own."""

from __future__ import annotations

import base64
import gzip
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from envparity.cache import Cache
from envparity.errors import EnvparityError, IntegrityError, MalformedError, UnreachableError, UsageError
from envparity.fetch import Fetcher, Wanted
from envparity.network import Client
from envparity.resolvers import archives, debian, package_lists
from envparity.resolvers.signed import moment_in
from envparity.values import LockedInterpreter, LockedOsPackage, LockedSuite, OsPackage, Target
from tests.archives import MONDAY, SmallArchive, fingerprint, key, small_archive
from tests.serving import Answer, plain
from tests.tools import needs_tool

HOUR, WEEK = timedelta(hours=1), timedelta(days=7)
SECURITY = "bookworm-security"


def read(archive: SmallArchive, cache: Path, now: datetime = MONDAY, **mirrors: str) -> package_lists.Index:
    """The index of an archive, asked anew, by somebody with this cache and this clock."""
    with Client(attempts=1) as client:
        fetcher = Fetcher(client, Cache(cache), refresh=True, mirrors=archive.mirrors | mirrors)
        return package_lists.read_index(
            archive.base, fetcher, architecture=archive.architecture, known=archive.known, now=now
        )


def target(index: package_lists.Index, packages: tuple[LockedOsPackage, ...]) -> Target:
    """A target with these packages, as a lock has it."""
    return Target(
        platform="linux/amd64",
        base=index.release.base,
        interpreter=LockedInterpreter(kind="base", version="3.11.2", executable="/usr/bin/python3.11"),
        os_packages=packages,
        suites=index.suites(packages),
    )


def test_a_small_signed_archive_is_read_and_its_dates_are_noted(tmp_path: Path) -> None:
    """In ten years the lock says of which day the archive was that has its packages."""
    with small_archive() as archive:
        archive.package(SECURITY, "tzdata", "2.0-1")
        archive.publish(valid_until=MONDAY + WEEK)
        index = read(archive, tmp_path)
        resolved = debian.resolve_base(archive.base, index=index)

    assert index.suites(resolved.os_packages) == (
        LockedSuite(archive="debian", suite="bookworm", date="2026-11-23T08:00:00Z"),
        LockedSuite(archive="debian-security", suite="bookworm-security", date="2026-11-23T08:00:00Z"),
    )


def test_gpgv_takes_the_small_archive_for_a_signed_one_too(tmp_path: Path) -> None:
    """Or our own tests would prove our own reader by our own writer."""
    program = needs_tool("gpgv")
    armored = str(key("ours").extract_certificate())
    (tmp_path / "keys.gpg").write_bytes(base64.b64decode(armored.partition("\n\n")[2].partition("\n=")[0]))
    with small_archive() as archive, Client() as client:
        (tmp_path / "InRelease").write_bytes(client.get(f"{archive.url}{archive.place('bookworm')}").body)

    done = subprocess.run(
        [program, "--keyring", str(tmp_path / "keys.gpg"), "--status-fd", "1", str(tmp_path / "InRelease")],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )

    assert done.returncode == 0
    assert fingerprint("ours") in done.stdout


def wrong_key(archive: SmallArchive) -> None:
    archive.signer = "somebody else's"
    archive.publish()


def changed_list(archive: SmallArchive) -> None:
    place = archive.place("bookworm", "main/binary-amd64/Packages.xz")
    archive.package("bookworm", "evil", "1")
    before = archive.routes[archive.place("bookworm")]
    archive.publish()
    archive.routes[archive.place("bookworm")] = before
    assert archive.routes[place]


def cut_list(archive: SmallArchive) -> None:
    archive.routes[archive.place("bookworm", "main/binary-amd64/Packages.xz")] = [plain(b"\xfd7zXZ")]


def cut_release(archive: SmallArchive) -> None:
    archive.routes[archive.place(SECURITY)] = [plain(b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nSuite: x\n")]


def run_out(archive: SmallArchive) -> None:
    archive.publish(MONDAY - 2 * WEEK, valid_until=MONDAY - WEEK)


def of_the_future(archive: SmallArchive) -> None:
    archive.publish(MONDAY + WEEK, valid_until=MONDAY + 2 * WEEK)


@pytest.mark.parametrize(
    ("fault", "message", "hint"),
    [
        (wrong_key, "no valid signature by any of FINGERPRINT", "another mirror"),
        (changed_list, "package index of bookworm from", "changed it"),
        (cut_list, "has 5 bytes, and", ""),
        (cut_release, "bookworm-security has no valid signature", "another mirror"),
        (run_out, "was valid until Mon, 16 Nov 2026", "--os-mirror"),
        (of_the_future, "this machine's clock says Mon, 23 Nov 2026", "set the clock"),
    ],
)
def test_what_is_not_what_the_archive_signed_is_an_integrity_error(
    fault: Callable[[SmallArchive], None], message: str, hint: str, tmp_path: Path
) -> None:
    """Whoever can change a list, or hold back a new one, chooses the libc of the image."""
    with small_archive() as archive:
        fault(archive)
        with pytest.raises(IntegrityError) as caught:
            read(archive, tmp_path)

    assert message in str(caught.value).replace(fingerprint("ours"), "FINGERPRINT")
    assert hint in caught.value.hint


def test_of_two_forms_of_a_list_the_faster_one_is_read_and_both_say_the_same(tmp_path: Path) -> None:
    with small_archive() as archive:
        before = read(archive, tmp_path / "xz")
        archive.forms = ("xz", "gz")
        archive.publish()
        index = read(archive, tmp_path / "gz")

    assert dict(index.stanzas) == dict(before.stanzas)
    assert sum("Packages.gz" in path or "by-hash" in path for path in archive.asked) >= len(archive.row.suites)
    assert index.sha256s != before.sha256s


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x1f\x8b\x08 and no more", "is not a sound gzip file"),
        (gzip.compress(b"Package: other\n", mtime=0), "does not unpack to the"),
        (gzip.compress(bytes(1 << 20), mtime=0), "does not unpack to the"),
    ],
)
def test_a_list_that_was_signed_and_is_no_sound_gzip_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    """Of what was signed once, by whoever packs the lists, no more is unpacked than its own size."""
    with small_archive() as archive:
        archive.forms = ("gz",)
        archive.packer = {"gz": lambda text: data}
        archive.publish()

        with pytest.raises(EnvparityError, match=message):
            read(archive, tmp_path)


def test_a_release_without_an_end_holds_for_ever(tmp_path: Path) -> None:
    """Debian's stable release and Ubuntu have none: they are changed a few times a year."""
    with small_archive() as archive:
        index = read(archive, tmp_path, MONDAY + 52 * WEEK)

    assert index.candidates("libc6")


def test_a_clock_of_another_zone_is_no_wrong_clock(tmp_path: Path) -> None:
    with small_archive() as archive:
        assert read(archive, tmp_path, MONDAY - 14 * HOUR).candidates("libc6")


@pytest.mark.parametrize("line", ["Date: some day\n", ""])
def test_a_release_that_does_not_say_when_it_was_signed_is_malformed(line: str, tmp_path: Path) -> None:
    """Without a date nobody could tell an old list from a new one."""
    from pysequoia import SignatureMode, sign

    text = f"Suite: bookworm\n{line}SHA256:\n {'0' * 64} 1 main/binary-amd64/Packages\n"
    with small_archive() as archive:
        signed = sign(key("ours").signer(), text.encode(), mode=SignatureMode.CLEAR)
        archive.routes[archive.place("bookworm")] = [plain(signed)]

        with pytest.raises(MalformedError, match="Date"):
            read(archive, tmp_path)


def test_a_mirror_that_lags_behind_does_not_bring_the_old_list_back(tmp_path: Path) -> None:
    """Two servers of one mirror differ for minutes after each publication: that is no error, and no step back."""
    with small_archive() as archive:
        older = dict(archive.routes)
        archive.package(SECURITY, "libc6", "1.0-2")
        archive.publish(MONDAY + HOUR)
        first = read(archive, tmp_path, MONDAY + HOUR)
        archive.routes.update({place: answer for place, answer in older.items() if place.endswith("InRelease")})
        again = read(archive, tmp_path, MONDAY + HOUR)

    assert [item.version for item in first.candidates("libc6")] == ["1.0-2", "1.0-1"]
    assert again.candidates("libc6") == first.candidates("libc6")
    assert again.dates == first.dates


def test_an_older_list_than_before_is_refused_where_the_newer_one_is_of_no_use(tmp_path: Path) -> None:
    """A rightly signed list of last month holds back what was mended since."""
    with small_archive() as archive:
        archive.publish(MONDAY, valid_until=MONDAY + WEEK)
        read(archive, tmp_path)
        archive.publish(MONDAY - HOUR)
        with pytest.raises(IntegrityError) as caught:
            read(archive, tmp_path, MONDAY + 2 * WEEK)

    assert "is of 2026-11-23 07:00 UTC, and was of 2026-11-23 08:00 UTC before" in str(caught.value)
    assert "--os-mirror" in caught.value.hint


def test_a_mirror_of_a_past_day_is_judged_by_that_day(tmp_path: Path) -> None:
    """Who names the day wants that day: its lists have run out long ago, and that is no attack."""
    with small_archive() as archive:
        archive.publish(MONDAY, valid_until=MONDAY + WEEK)
        for place, answer in list(archive.routes.items()):
            _, name, rest = place.split("/", 2)
            archive.routes[f"/{name}/20261124T000000Z/{rest}"] = answer
        past = {name: f"{address}/20261124T000000Z" for name, address in archive.mirrors.items()}

        assert read(archive, tmp_path, MONDAY + 52 * WEEK, **past).candidates("libc6")
        with pytest.raises(IntegrityError, match="was valid until"):
            read(archive, tmp_path, MONDAY + 52 * WEEK)


@pytest.mark.parametrize(
    ("address", "day"),
    [
        ("https://past.example/archive/debian/20261125T022230Z/", "2026-11-25"),
        ("https://past.example/ubuntu/20240301T030400Z", "2024-03-01"),
        ("https://past.example/ubuntu/20249901T030400Z", None),
        ("https://deb.example/debian", None),
    ],
)
def test_the_day_of_an_address(address: str, day: str | None) -> None:
    moment = moment_in(address)

    assert (f"{moment:%Y-%m-%d}" if moment else None) == day


# The package itself


def locked(archive: SmallArchive, cache: Path) -> Target:
    """A target with the packages of an archive that has a libc6 in its security suite, as a lock has it."""
    archive.package(SECURITY, "libc6", "1.0-2", b"the C library")
    archive.publish()
    index = read(archive, cache)
    return target(index, debian.resolve_base(archive.base, index=index).os_packages)


def wanted_of(whole: Target, archive: SmallArchive) -> Wanted:
    (package,) = (item for item in whole.os_packages if item.name == "libc6")
    return archives.wanted(whole, package, archive.mirrors)


def got(wanted: Wanted, cache: Path) -> bytes:
    with Client(attempts=1) as client:
        (place,) = Fetcher(client, Cache(cache)).blobs([wanted])
    return place.read_bytes()


def dropped(archive: SmallArchive) -> list[Answer]:
    """Take the file of libc6 out of the archive."""
    (place,) = (place for place in archive.routes if place.endswith("libc6_1.0-2_amd64.deb"))
    return archive.routes.pop(place)


def test_a_package_that_the_archive_dropped_is_fetched_from_its_past(tmp_path: Path) -> None:
    """A security suite drops a version within days; the image that trained on it is to be built in a year."""
    with small_archive() as archive:
        wanted = wanted_of(locked(archive, tmp_path), archive)
        archive.routes["/past/libc6.deb"] = dropped(archive)
        here = replace(wanted, past=(f"{archive.url}/nothing", f"{archive.url}/past/libc6.deb"))

        assert got(here, tmp_path) == b"the C library"
    assert [place.partition("/pool/")[0] for place in wanted.past] == [
        "https://snapshot.debian.org/archive/debian-security/20261124T080000Z",
        "https://snapshot.debian.org/archive/debian-security/20261123T080000Z",
    ]


def test_a_package_that_nobody_has_is_named_with_the_day_and_the_place_of_its_past(tmp_path: Path) -> None:
    with small_archive() as archive:
        wanted = wanted_of(locked(archive, tmp_path), archive)
        dropped(archive)
        with pytest.raises(
            UnreachableError, match=r"libc6 1\.0-2 is gone from 127.* does not help: .*/nothing/"
        ) as caught:
            got(replace(wanted, past=(f"{archive.url}/nothing/libc6.deb",)), tmp_path)

    assert "had it on 2026-11-23" in caught.value.hint
    assert "--os-mirror debian-security=URL" in caught.value.hint


def test_the_past_is_not_asked_where_the_archive_does_not_answer(tmp_path: Path) -> None:
    """A machine without a network would wait for one more place, for each of a hundred packages."""
    with small_archive() as archive:
        wanted = wanted_of(locked(archive, tmp_path), archive)
        archive.routes["/past/libc6.deb"] = dropped(archive)
        archive.routes["/down"] = [plain(b"", 503)]
        here = replace(wanted, urls=(f"{archive.url}/down",), past=(f"{archive.url}/past/libc6.deb",))
        with pytest.raises(UnreachableError, match="answers 503"):
            got(here, tmp_path)

    assert "/past/libc6.deb" not in archive.asked


@pytest.mark.parametrize(("data", "message"), [(b"the C librarz", "promised content"), (b"the C", "has 5 bytes")])
def test_a_package_that_is_not_the_locked_one_is_an_integrity_error(data: bytes, message: str, tmp_path: Path) -> None:
    with small_archive() as archive:
        wanted = wanted_of(locked(archive, tmp_path), archive)
        dropped(archive)
        archive.routes[wanted.urls[0].removeprefix(archive.url)] = [plain(data)]
        with pytest.raises(IntegrityError, match=message):
            got(wanted, tmp_path)


def test_a_lock_that_knows_no_day_still_says_what_to_do(tmp_path: Path) -> None:
    """Locks of earlier versions have none."""
    with small_archive() as archive:
        whole = msgspec.structs.replace(locked(archive, tmp_path), suites=())
        dropped(archive)
        with pytest.raises(UnreachableError, match="answers 404") as caught:
            got(wanted_of(whole, archive), tmp_path)

    assert "lock again" in caught.value.hint


# Other architectures


@pytest.mark.parametrize("base", ["ubuntu:jammy", "ubuntu:noble"])
def test_ubuntu_for_arm64_comes_from_the_archive_of_the_ports(base: str, tmp_path: Path) -> None:
    """archive.ubuntu.com lists arm64 in what it signs, and does not serve it."""
    with small_archive(base, "arm64") as archive:
        resolved = debian.resolve_base(base, index=read(archive, tmp_path), needed_sonames=["ld-linux-aarch64.so.1"])

    assert {item.archive for item in resolved.os_packages} == {"ubuntu-ports"}
    assert all(item.pool_path.endswith("_arm64.deb") for item in resolved.os_packages)
    assert resolved.unknown_sonames == ()
    assert all("/ubuntu-ports/" in place for place in archive.asked)
    (libc,) = (item for item in resolved.os_packages if item.name == "libc6")
    assert archives.package_urls(libc)[0].startswith("http://ports.ubuntu.com/ubuntu-ports/pool/")


# The option


def test_mirrors_are_named_by_their_archive() -> None:
    found = archives.mirrors_of(["debian=https://mirror.example/debian/", "ubuntu=http://10.0.0.1/u"])

    assert found == {"debian": "https://mirror.example/debian", "ubuntu": "http://10.0.0.1/u"}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["https://mirror.example/debian"], "names no archive"),
        (["fedora=https://mirror.example"], "`fedora=https://mirror.example` names no archive"),
        (["debian=mirror.example"], "is no mirror of debian"),
        (["debian=http://a.example", "debian=http://b.example"], "there is one already"),
    ],
)
def test_what_is_no_mirror_is_a_usage_error(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        archives.mirrors_of(texts)

    assert "debian" in caught.value.hint


# The nearest


def test_of_what_is_left_the_nearest_newer_version_is_taken(tmp_path: Path) -> None:
    """Each release in between is a chance of another number: the fewer, the nearer to what trained."""
    with small_archive() as archive:
        for suite, version in (("bookworm", "2.0-1+deb12u3"), (SECURITY, "2.0-1+deb12u5")):
            archive.package(suite, "zlib1g", version)
        archive.publish()
        index = read(archive, tmp_path)

        def taken(version: str) -> str:
            had = [OsPackage(name="zlib1g", version=version, architecture="amd64")]
            made = debian.resolve_base(archive.base, index=index, installed=had, needed_sonames=["libz.so.1"])
            return next(item.version for item in made.os_packages if item.name == "zlib1g")

        assert taken("2.0-1+deb12u1") == "2.0-1+deb12u3"
        assert taken("2.0-1+deb12u4") == "2.0-1+deb12u5"
        assert taken("2.0-1+deb12u5") == "2.0-1+deb12u5"
        assert taken("2.0-1+deb12u6") == "2.0-1+deb12u5"


def test_packages_of_one_source_stay_together(tmp_path: Path) -> None:
    """What the snapshot has nothing of goes with its sibling, and not with the newest."""
    with small_archive() as archive:
        for suite, version in (("bookworm", "3"), (SECURITY, "5")):
            archive.package(suite, "libssl3", version, Source="openssl")
            archive.package(suite, "openssl", version, Depends="libssl3")
        archive.publish()
        had = [OsPackage(name="libssl3", version="2", architecture="amd64")]

        made = debian.resolve_base(archive.base, index=read(archive, tmp_path), installed=had, add=["openssl"])

    assert {item.name: item.version for item in made.os_packages if "ssl" in item.name} == {
        "libssl3": "3",
        "openssl": "3",
    }


def test_where_the_nearest_contradict_each_other_the_highest_are_taken(tmp_path: Path) -> None:
    """The nearest of one package may be of no use to the newest of another."""
    with small_archive() as archive:
        archive.package("bookworm", "liba", "3")
        archive.package(SECURITY, "liba", "5")
        archive.package("bookworm", "libb", "3", Depends="liba (= 3)")
        archive.package(SECURITY, "libb", "5", Depends="liba (= 5)")
        archive.package(SECURITY, "libc", "5", Depends="liba (= 5)")
        archive.publish()
        had = [OsPackage(name=name, version="2", architecture="amd64") for name in ("liba", "libb")]

        made = debian.resolve_base(archive.base, index=read(archive, tmp_path), installed=had, add=["libb", "libc"])

    assert {item.name: item.version for item in made.os_packages if item.name in {"liba", "libb", "libc"}} == {
        "liba": "5",
        "libb": "5",
        "libc": "5",
    }
