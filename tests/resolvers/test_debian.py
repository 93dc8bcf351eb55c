"""Which packages make a base: the closure on small indexes, the signatures on what the archive really signed."""

from __future__ import annotations

import base64
import dataclasses
import http.server
import re
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pysequoia import Cert

from envparity import resources
from envparity.cache import Cache
from envparity.errors import (
    IntegrityError,
    MalformedError,
    RefusedError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from envparity.fetch import Fetcher
from envparity.network import Client
from envparity.resolvers import archives, debian, package_lists
from envparity.values import LockedOsPackage, OsPackage, System
from tests.tools import needs_tool

BOOKWORM = "debian:bookworm"
SIGNED = Path(__file__).parent.parent / "data" / "debian" / "trixie-updates.InRelease"
SUITE = archives.Suite("debian", "trixie-updates", ("main",))
WHEN_FRESH = datetime(2026, 11, 23, tzinfo=UTC)


def stanza(name: str, version: str, **fields: str) -> bytes:
    pool = f"pool/main/{name[0]}/{name}/{name}_{version.replace(':', '%3a')}_amd64.deb"
    known = {"Package": name, "Version": version, "Architecture": "amd64", "Filename": pool}
    known |= {"Size": "100", "SHA256": "ab" * 32} | {key.replace("_", "-"): value for key, value in fields.items()}
    return "".join(f"{key}: {value}\n" for key, value in known.items()).rstrip("\n").encode()


def index(*suites: list[bytes]) -> package_lists.Index:
    """An index of bookworm's first suites (main, updates, security), with every seed that a test does not bring."""
    found: dict[str, list[tuple[int, bytes]]] = {}
    for order, stanzas in enumerate(suites):
        for text in stanzas:
            found.setdefault(text.split(b"\n", 1)[0][9:].decode(), []).append((order, text))
    row = archives.release(BOOKWORM)
    for name in (*row.seeds, *row.python, *row.python_parts):
        found.setdefault(name, [(0, stanza(name, "1.0-1"))])
    return package_lists.Index(row, "amd64", {name: tuple(texts) for name, texts in found.items()})


def installed(**versions: str) -> list[OsPackage]:
    return [
        OsPackage(name=name.replace("_", "-"), version=version, architecture="amd64")
        for name, version in versions.items()
    ]


def versions(resolved: debian.ResolvedBase) -> dict[str, str]:
    return {package.name: package.version for package in resolved.os_packages}


# The table


def test_every_base_of_the_table_is_offered_and_has_its_keys_and_libraries() -> None:
    """A row without keys would fail at the user's, in the middle of a lock."""
    for base in archives.BASES:
        row = archives.release(base)
        assert {"libc6", "base-files", "base-passwd"} <= set(row.seeds)
        assert f"python{row.python_version}-minimal" in row.python
        assert archives.sonames_of(base)["libc.so.6"] == "libc6"
    assert set(archives._tables()["releases"]) == set(archives.BASES)
    for archive in archives._tables()["archives"].values():
        shipped = {certificate.fingerprint.upper() for certificate in Cert.split_bytes(resources.data(archive["keys"]))}
        assert shipped == set(archive["fingerprints"])


@pytest.mark.parametrize(
    ("system", "base"),
    [
        (System(id="debian", version_id="12"), "debian:bookworm"),
        (System(id="debian", version_id="13"), "debian:trixie"),
        (System(id="ubuntu", version_id="22.04"), "ubuntu:jammy"),
        (System(id="ubuntu", version_id="24.04"), "ubuntu:noble"),
    ],
)
def test_the_default_base_is_the_release_of_the_snapshot(system: System, base: str) -> None:
    """Another libc than the training one computes other numbers."""
    assert archives.own_base(system.id, system.version_id) == base


@pytest.mark.parametrize("system", [System(), System(id="rhel", version_id="9.4", name="Red Hat 9.4")])
def test_another_host_is_the_release_of_no_base(system: System) -> None:
    assert archives.own_base(system.id, system.version_id) == ""


def test_a_base_that_does_not_exist_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="`debian:slink` is not a base"):
        archives.release("debian:slink")


# The signature


def test_what_the_archive_signed_is_read() -> None:
    """Real bytes of the archive, with the keys that ship."""
    signed = package_lists.checked_release(SIGNED.read_bytes(), SUITE, WHEN_FRESH)

    sha256, size_bytes = signed.files["main/binary-amd64/Packages.xz"]
    assert re.fullmatch("[0-9a-f]{64}", sha256)
    assert size_bytes == 1108


def test_gpgv_is_of_the_same_opinion(tmp_path: Path) -> None:
    """A second, independent reader of the same signature and the same shipped keys."""
    program = needs_tool("gpgv")
    armored = resources.data("keys/debian.asc").decode()
    body = armored.partition("\n\n")[2].partition("\n=")[0]
    (tmp_path / "keys.gpg").write_bytes(base64.b64decode(body))

    answer = subprocess.run(
        [program, "--keyring", str(tmp_path / "keys.gpg"), "--status-fd", "1", "--output", "/dev/null", str(SIGNED)],
        capture_output=True,
        text=True,
        check=False,
    ).stdout

    signers = set(re.findall(r"VALIDSIG .* ([0-9A-F]{40})$", answer, re.MULTILINE))
    assert signers & set(archives.archive_of("debian").fingerprints)
    assert "BADSIG" not in answer


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b"Codename: trixie-updates", b"Codename: trixie-updatez", id="one letter altered"),
        pytest.param(b"-----BEGIN PGP SIGNATURE-----", b"", id="signature damaged"),
    ],
)
def test_one_altered_byte_is_an_integrity_error_that_names_the_keys(old: bytes, new: bytes) -> None:
    """Somebody who can change an index chooses the libc of the image."""
    data = SIGNED.read_bytes()
    assert old in data

    with pytest.raises(IntegrityError) as caught:
        package_lists.checked_release(data.replace(old, new), SUITE, WHEN_FRESH)

    assert "04B54C3CDCA79751B16BC6B5225629DF75B188BD" in str(caught.value)
    assert "Stack" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"<html>log in to the network</html>", b"Suite: trixie-updates\nSHA256:\n"])
def test_what_is_not_signed_is_an_integrity_error(data: bytes) -> None:
    """A login page answers 200 as well."""
    with pytest.raises(IntegrityError, match="no valid signature"):
        package_lists.checked_release(data, SUITE, WHEN_FRESH)


def test_text_around_the_signed_part_is_not_read() -> None:
    """Anybody can put a line before the signed message; only what was signed counts."""
    data = b"SHA256:\n " + b"00" * 32 + b" 1 main/binary-amd64/Packages.xz\n\n" + SIGNED.read_bytes()

    try:
        signed = package_lists.checked_release(data, SUITE, WHEN_FRESH)
    except IntegrityError:
        return
    assert signed.files["main/binary-amd64/Packages.xz"][0] != "00" * 32


def test_the_signature_of_another_archive_is_not_accepted() -> None:
    """Debian's key does not vouch for Ubuntu, nor for Debian's own security archive."""
    for archive in ("ubuntu", "debian-security"):
        with pytest.raises(IntegrityError, match=f"of {archive} trixie-updates has no valid signature"):
            package_lists.checked_release(
                SIGNED.read_bytes(), archives.Suite(archive, "trixie-updates", ("main",)), WHEN_FRESH
            )


def test_another_suite_of_the_same_archive_is_not_accepted() -> None:
    """All suites are signed by the same keys: a mirror could pass off testing as stable."""
    with pytest.raises(IntegrityError, match="is that of trixie-updates"):
        package_lists.checked_release(SIGNED.read_bytes(), archives.Suite("debian", "bookworm", ("main",)), WHEN_FRESH)


def test_a_release_past_its_date_is_not_accepted() -> None:
    """An old, rightly signed index holds back the fix of a hole in OpenSSL."""
    with pytest.raises(IntegrityError, match="was valid until Sun, 29 Nov 2026"):
        package_lists.checked_release(SIGNED.read_bytes(), SUITE, datetime(2026, 12, 1, tzinfo=UTC))


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server over a folder, on the loopback."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", tmp_path
        server.shutdown()
        thread.join()


def test_a_mirror_without_the_suite_is_unreachable(mirror: tuple[str, Path], tmp_path: Path) -> None:
    address, _ = mirror
    with Client() as client, pytest.raises(UnreachableError, match="dists/bookworm/InRelease does not exist"):
        package_lists.read_index(BOOKWORM, Fetcher(client, Cache(tmp_path / "cache"), mirrors={"debian": address}))


def test_a_login_page_in_the_place_of_the_index_is_an_integrity_error(mirror: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = mirror
    (folder / "dists" / "bookworm").mkdir(parents=True)
    (folder / "dists" / "bookworm" / "InRelease").write_text("<html>please log in</html>")

    with Client() as client, pytest.raises(IntegrityError, match="bookworm has no valid signature"):
        package_lists.read_index(BOOKWORM, Fetcher(client, Cache(tmp_path / "cache"), mirrors={"debian": address}))


def test_an_architecture_that_no_base_is_made_for_is_not_supported(tmp_path: Path) -> None:
    with Client(offline=True) as client, pytest.raises(UnsupportedError, match="s390x") as caught:
        package_lists.read_index(BOOKWORM, Fetcher(client, Cache(tmp_path)), architecture="s390x")

    assert "amd64 and arm64" in caught.value.hint


def test_offline_the_error_names_the_option(tmp_path: Path) -> None:
    with Client(offline=True) as client, pytest.raises(UnreachableError) as caught:
        package_lists.read_index(BOOKWORM, Fetcher(client, Cache(tmp_path)))

    assert "--offline" in str(caught.value) + caught.value.hint


# The closure


def test_the_version_of_the_snapshot_is_taken_from_whatever_suite_has_it() -> None:
    """A newer libc than the training one is a silent change, even where it is an update."""
    archive = index(
        [stanza("libc6", "2.36-9+deb12u14")], [], [stanza("libc6", "2.36-9+deb12u15"), stanza("tzdata", "2")]
    )

    resolved = debian.resolve_base(BOOKWORM, index=archive, installed=installed(libc6="2.36-9+deb12u14"))

    assert versions(resolved)["libc6"] == "2.36-9+deb12u14"
    assert resolved.substituted == ()
    (libc,) = (package for package in resolved.os_packages if package.name == "libc6")
    assert (libc.suite, libc.archive) == ("bookworm", "debian")


def test_a_version_that_is_gone_is_substituted_and_declared() -> None:
    """Archives drop old versions within days: the lock says from what to what, or `verify` would call it drift."""
    archive = index([stanza("libssl3", "3.0.9-1")], [], [stanza("libssl3", "3.0.22-1")])

    resolved = debian.resolve_base(
        BOOKWORM, index=archive, installed=installed(libssl3="3.0.19-1"), needed_sonames=["libssl.so.3"]
    )

    (line,) = resolved.substituted
    assert (line.kind, line.name, line.before, line.after) == ("os-package", "libssl3", "3.0.19-1", "3.0.22-1")
    assert line.reason == "no suite of debian:bookworm has this version"
    (package,) = (package for package in resolved.os_packages if package.name == "libssl3")
    assert package.archive == "debian-security"


def test_a_version_that_is_too_old_for_its_neighbour_is_substituted_too() -> None:
    """The pieces of one source belong together: an old libpython with a new interpreter does not start."""
    archive = index(
        [stanza("libssl3", "2"), stanza("zlib1g", "1"), stanza("zlib1g", "2"), stanza("libssl3", "1")],
        [stanza("libssl3", "3", Depends="zlib1g (>= 2)")],
    )

    resolved = debian.resolve_base(
        BOOKWORM,
        index=archive,
        installed=installed(libssl3="2.5", zlib1g="1"),
        needed_sonames=["libssl.so.3"],
    )

    assert versions(resolved)["libssl3"] == "3"
    assert versions(resolved)["zlib1g"] == "2"
    assert [line.reason for line in resolved.substituted] == [
        "no suite of debian:bookworm has this version",
        "another package of debian:bookworm needs a newer version of it",
    ]


def test_versions_are_ordered_as_debian_orders_them() -> None:
    """`~` comes before everything and an epoch beats all: ordered as text, another version would win."""
    names = ["1.0~rc1-1", "1.0-1", "1.0-1+b1", "1.0-10", "1:0.1-1"]
    archive = index([stanza("libssl3", version) for version in reversed(names)])

    assert [candidate.version for candidate in archive.candidates("libssl3")] == names[::-1]


def test_dependencies_are_followed_and_installation_tools_are_not() -> None:
    """A base with dpkg, perl and debconf is twice as large, and nothing in it calls them."""
    archive = index(
        [
            stanza("tzdata", "1", Depends="debconf (>= 0.5) | debconf-2.0"),
            stanza("coreutils", "9", Pre_Depends="libacl1 (>= 2.2), libc6:any (>= 0.1) [amd64]"),
            stanza("libacl1", "2.3"),
            stanza("debconf", "1.5", Depends="perl-base"),
            stanza("perl-base", "5"),
        ]
    )

    resolved = debian.resolve_base(BOOKWORM, index=archive, installed=installed(debconf="1.5", perl_base="5"))

    assert "libacl1" in versions(resolved)
    assert {"debconf", "perl-base"} & set(versions(resolved)) == set()
    assert [(line.name, line.version, line.count) for line in resolved.left_out] == [
        ("debconf", "1.5", 1),
        ("1 packages that no seed or library needs", "", 1),
    ]
    assert "(of tzdata)" in resolved.left_out[0].reason


def test_what_is_asked_for_by_name_comes_in_even_from_the_list_of_tools() -> None:
    """`--add-os perl-base` means it."""
    archive = index([stanza("perl-base", "5"), stanza("libssl3", "3", Depends="perl-base")])

    resolved = debian.resolve_base(BOOKWORM, index=archive, add=["perl-base"])

    assert versions(resolved)["perl-base"] == "5"


def test_what_is_excluded_does_not_come_in() -> None:
    """A captured interpreter brings its own libpython; Debian's would have the same soname."""
    archive = index([stanza("libfoo1", "1", Depends="libpython3.11"), stanza("libpython3.11", "3.11.2-6")])

    resolved = debian.resolve_base(BOOKWORM, index=archive, add=["libfoo1"], exclude=["libpython3.11"])

    assert "libpython3.11" not in versions(resolved)


def test_of_alternatives_what_the_snapshot_has_is_taken() -> None:
    """The training machine ran with this one."""
    stanzas = [stanza("mta", "1", Depends="exim | postfix"), stanza("exim", "1"), stanza("postfix", "1")]

    bare = debian.resolve_base(BOOKWORM, index=index(stanzas), add=["mta"])
    as_had = debian.resolve_base(BOOKWORM, index=index(stanzas), add=["mta"], installed=installed(postfix="0.9"))

    assert {"exim", "postfix"} & set(versions(bare)) == {"exim"}
    assert {"exim", "postfix"} & set(versions(as_had)) == {"postfix"}


def test_a_virtual_package_is_satisfied_by_a_provider_of_the_right_version() -> None:
    """trixie's libssl3t64 provides libssl3 in a version; a provider without one satisfies no versioned dependency."""
    archive = index(
        [
            stanza("app", "1", Depends="libold (>= 3), virtual"),
            stanza("libnew", "3.5", Provides="libold (= 3.5)"),
            stanza("libfake", "9", Provides="libold, virtual"),
        ]
    )

    resolved = debian.resolve_base(BOOKWORM, index=archive, add=["app"])

    assert {"libnew", "libfake"} <= set(versions(resolved))
    with pytest.raises(RefusedError, match=r"cannot satisfy `libold \(>= 4\)`, which `app` depends on"):
        debian.resolve_base(
            BOOKWORM,
            index=index([stanza("app", "1", Depends="libold (>= 4)"), stanza("x", "1", Provides="libold (= 3)")]),
            add=["app"],
        )


def test_packages_that_do_not_exist_are_refused_by_name_with_the_near_ones() -> None:
    archive = index([stanza("graphviz", "2"), stanza("postfix", "1", Provides="mail-transport-agent")])

    with pytest.raises(RefusedError, match="--add-os") as caught:
        debian.resolve_base(BOOKWORM, index=archive, add=["graphvis", "zzzzzz", "mail-transport-agent", "graphviz"])

    assert caught.value.details == (
        "`graphvis` is none; near it: graphviz",
        "`mail-transport-agent` is virtual; name one of those that provide it: postfix",
        "`zzzzzz` is none",
    )


def test_a_package_that_a_dependency_names_and_nobody_has_is_refused() -> None:
    with pytest.raises(RefusedError, match="cannot satisfy `libfrobnicate1`, which `app` depends on"):
        debian.resolve_base(BOOKWORM, index=index([stanza("app", "1", Depends="libfrobnicate1")]), add=["app"])


def test_versions_that_contradict_each_other_are_refused() -> None:
    archive = index(
        [
            stanza("aa", "1", Depends="cc (= 1)"),
            stanza("bb", "1", Depends="cc (= 2)"),
            stanza("cc", "1"),
            stanza("cc", "2"),
        ]
    )

    with pytest.raises(RefusedError, match=r"no version of `cc` .*: aa needs cc \(= 1\); bb needs cc \(= 2\)"):
        debian.resolve_base(BOOKWORM, index=archive, add=["aa", "bb"])


def test_libraries_become_packages_and_what_is_not_known_is_said() -> None:
    """A driver's library must never come from the image; one that nobody brings must not be passed over in silence."""
    archive = index([stanza("zlib1g", "1:1.2.13"), stanza("libgl1", "1.6")])

    resolved = debian.resolve_base(
        BOOKWORM, index=archive, needed_sonames=["libz.so.1", "libcuda.so.1", "libfoo.so.9", "libGL.so.1"]
    )

    assert {"zlib1g", "libgl1"} <= set(versions(resolved))
    assert resolved.unknown_sonames == ("libfoo.so.9",)
    assert [(line.kind, line.name) for line in resolved.left_out] == [
        ("library", "libcuda.so.1"),
        ("library", "libfoo.so.9"),
    ]


def test_the_bases_own_python_comes_in_where_it_is_wanted() -> None:
    archive = index([stanza("python3.11-minimal", "3.11.2-6+deb12u9")])

    with_python = debian.resolve_base(
        BOOKWORM, index=archive, with_python="3.11", installed=installed(python3_distutils="1.0-1")
    )
    without = debian.resolve_base(BOOKWORM, index=archive)

    assert package_lists.base_python_version(with_python.os_packages) == "3.11.2"
    assert "python3-distutils" in versions(with_python)
    assert package_lists.base_python_version(without.os_packages) == ""
    with pytest.raises(UnsupportedError, match=r"has Python 3\.11, not 3\.12"):
        debian.resolve_base(BOOKWORM, index=archive, with_python="3.12")


@pytest.mark.parametrize(
    ("version", "python"),
    [("3.11.2-6+deb12u9", "3.11.2"), ("3.10.12-1~22.04.11", "3.10.12"), ("3.13.0~rc1-1", "3.13.0rc1")],
)
def test_the_version_of_the_interpreter_is_that_of_its_program(version: str, python: str) -> None:
    """The metapackage lies: Ubuntu's `python3` says 3.10.6 over an interpreter 3.10.12."""

    def package(name: str, version: str) -> LockedOsPackage:
        return LockedOsPackage(
            name=name,
            version=version,
            architecture="amd64",
            archive="debian",
            suite="x",
            pool_path="pool/x.deb",
            size_bytes=1,
            sha256="0" * 64,
        )

    packages = [package("python3", "3.10.6-1"), package(f"python{python[:4]}-minimal", version)]

    assert package_lists.base_python_version(packages) == python


@given(st.randoms(use_true_random=False), st.sets(st.sampled_from(["libz.so.1", "libssl.so.3", "libfoo.so.1"])))
def test_the_answer_does_not_depend_on_the_order_of_anything(random: object, sonames: set[str]) -> None:
    """The same input and archive have to give the same lock, byte for byte."""
    stanzas = [
        stanza("zlib1g", "1"),
        stanza("libssl3", "3", Depends="zlib1g, liba | libb"),
        stanza("liba", "1", Depends="libssl3"),
        stanza("libb", "1"),
        stanza("libssl3", "2"),
    ]
    had = installed(libssl3="2", zlib1g="0", other="1", another="2")
    mixed, mixed_had, mixed_sonames = list(stanzas), list(had), sorted(sonames)
    for items in (mixed, mixed_had, mixed_sonames):
        random.shuffle(items)  # type: ignore[attr-defined]

    first = debian.resolve_base(BOOKWORM, index=index(stanzas), installed=had, needed_sonames=sorted(sonames))
    second = debian.resolve_base(BOOKWORM, index=index(mixed), installed=mixed_had, needed_sonames=mixed_sonames)

    assert first == second
    assert [package.name for package in first.os_packages] == sorted(package.name for package in first.os_packages)


def test_packages_of_another_architecture_or_manager_are_not_the_snapshots() -> None:
    """A multi-arch host has libc6 twice; the i386 one says nothing of what trained."""
    had = [
        OsPackage(name="libc6", version="9", architecture="i386"),
        OsPackage(name="tzdata", version="9", architecture="x86_64", manager="rpm"),
    ]

    resolved = debian.resolve_base(BOOKWORM, index=index(), installed=had)

    assert resolved.substituted == ()
    assert resolved.left_out == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"Filename": "../../etc/passwd"},
        {"Filename": "pool/main/../../../x.deb"},
        {"SHA256": "short"},
        {"Size": "-1"},
        {"Depends": "$(id)"},
        {"Version": "1 (two)"},
    ],
)
def test_a_damaged_stanza_is_malformed(fields: dict[str, str]) -> None:
    """Signed is not the same as right: a mirror's own archive may be signed by its own key one day."""
    with pytest.raises(MalformedError):
        debian.resolve_base(BOOKWORM, index=index([stanza("tzdata", **{"version": "1", **fields})]))


def test_a_package_is_fetched_from_the_configured_mirror() -> None:
    """Behind a company's wall only its own mirror can be reached; the hash does not care."""
    (package, *_) = debian.resolve_base(BOOKWORM, index=index()).os_packages

    assert archives.package_urls(package) == (f"https://deb.debian.org/debian/{package.pool_path}",)
    assert archives.package_urls(package, {"debian": "http://mirror.example/debian/"}) == (
        f"http://mirror.example/debian/{package.pool_path}",
    )


def test_without_index_and_fetcher_the_call_makes_no_sense() -> None:
    with pytest.raises(UsageError, match="fetcher or an index"):
        debian.resolve_base(BOOKWORM)


# From scratch, and on top of an image


def test_from_scratch_there_is_what_libraries_need_and_no_shell() -> None:
    """Of what packages depend on only libraries come in: ca-certificates would bring OpenSSL's program."""
    row = archives.release("scratch:debian:bookworm")
    assert (row.id, row.version_id, row.python_version, row.glibc) == ("debian", "12", "", "2.36")
    seeds = [stanza(name, "1") for name in row.seeds if name != "ca-certificates"]
    archive = index(
        [
            *seeds,
            stanza("ca-certificates", "1", Depends="openssl (>= 1.1.1), debconf"),
            stanza("openssl", "3", Depends="libc6, libssl3"),
            stanza("libssl3", "3", Depends="libc6, libzstd1 | dash"),
            stanza("libzstd1", "1"),
            stanza("dash", "1"),
        ]
    )
    archive = dataclasses.replace(archive, release=row)

    found = debian.resolve_base(
        row.base, index=archive, installed=installed(openssl="3", dash="1"), needed_sonames=["libssl.so.3"]
    )

    assert set(versions(found)) == {*row.seeds, "libssl3", "libzstd1"}
    assert [(item.name, item.reason) for item in found.left_out if item.name == "openssl"] == [
        ("openssl", "of what ca-certificates depends on, a base from scratch has the libraries alone")
    ]


def test_scratch_of_no_release_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="`slink` is not a base"):
        archives.release("scratch:slink")


def test_on_top_of_an_image_comes_what_it_lacks_and_nothing_that_it_has() -> None:
    """Whatever provides it there is enough; a package twice would lie over the base's own files."""
    archive = index(
        [
            stanza("libssl3", "3.0.2", Depends="libc6 (>= 2.34), virtual, libnew (= 1)"),
            stanza("libnew", "1", Depends="libc6"),
            stanza("libc6", "2.36-9"),
            stanza("provider", "1", Provides="virtual"),
            stanza("tini", "0.19", Depends="libc6"),
        ]
    )
    present = {"libc6": "2.36-8", "provider": "1", "curl": "8"}

    found = debian.resolve_on_top(
        archive, present=present, needed_sonames=["libssl.so.3", "libcuda.so.1"], add=["tini", "curl"]
    )

    assert versions(found) == {"libssl3": "3.0.2", "libnew": "1", "tini": "0.19"}
    assert [item.name for item in found.left_out] == ["libcuda.so.1"]
    assert debian.resolve_on_top(archive, present=present).os_packages == ()


def test_an_image_whose_packages_are_too_old_for_what_goes_on_top_is_refused() -> None:
    archive = index([stanza("libssl3", "3.0.2", Depends="libc6 (>= 2.36-9)"), stanza("libc6", "2.36-9")])

    with pytest.raises(RefusedError, match=r"has libc6 2\.36-8, .* libssl3 needs libc6 \(>= 2\.36-9\)") as told:
        debian.resolve_on_top(archive, present={"libc6": "2.36-8"}, needed_sonames=["libssl.so.3"])
    assert "newer image" in told.value.hint
