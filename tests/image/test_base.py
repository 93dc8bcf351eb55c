"""The base layer: unpacked without dpkg, complete without maintainer scripts, and the same bytes on every machine."""

from __future__ import annotations

import hashlib
import io
import lzma
import os
import random
import re
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import zstandard

from envparity.cache import Cache
from envparity.errors import EnvparityError, IntegrityError, MalformedError, RefusedError, UnreachableError
from envparity.fetch import Fetcher, Wanted
from envparity.image import base
from envparity.network import Client
from envparity.oci.entries import Entry
from envparity.oci.tar import write_layer
from envparity.resolvers import archives, debian, package_lists
from envparity.values import LockedOsPackage
from tests.tools import needs_tool, not_here

Member = tuple[str, str, int, str]
"""Type (`file`, `folder`, `link`, `hard`, `fifo`, `sparse`), path, mode, and content or target."""

KINDS = {
    "file": tarfile.REGTYPE,
    "folder": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "hard": tarfile.LNKTYPE,
    "fifo": tarfile.FIFOTYPE,
    "sparse": tarfile.GNUTYPE_SPARSE,
}


def tar(members: list[Member]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for kind, path, mode, text in members:
            info = tarfile.TarInfo(path)
            info.type, info.mode = KINDS[kind], mode
            if kind == "file":
                info.size = len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))
            else:
                info.linkname = text
                archive.addfile(info)
    return sink.getvalue()


def ar(members: list[tuple[str, bytes]]) -> bytes:
    data = b"!<arch>\n"
    for name, content in members:
        data += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        data += b"\n" if len(content) % 2 else b""
    return data


class Pool:
    """Packages that a test makes, as a lock names them and as files on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.packages: list[LockedOsPackage] = []
        self.paths: dict[str, Path] = {}

    def add(self, name: str, members: list[Member], *, control: str = "", codec: str = "xz") -> LockedOsPackage:
        pack: dict[str, Callable[[bytes], bytes]] = {
            "xz": lzma.compress,
            "zst": zstandard.compress,
            "tar": bytes,
        }
        suffix = "" if codec == "tar" else f".{codec}"
        text = control or f"Package: {name}\nVersion: 1.0-1\nArchitecture: amd64\nDescription: a\n test\n"
        sums = "".join(
            f"{hashlib.md5(m[3].encode()).hexdigest()}  {m[1].removeprefix('./')}\n" for m in members if m[0] == "file"
        )
        description = tar([("file", "./control", 0o644, text), ("file", "./md5sums", 0o644, sums)])
        return self.add_bytes(
            name,
            ar(
                [
                    ("debian-binary", b"2.0\n"),
                    (f"control.tar{suffix}", pack[codec](description)),
                    (f"data.tar{suffix}", pack[codec](tar(members))),
                ]
            ),
        )

    def add_bytes(self, name: str, data: bytes) -> LockedOsPackage:
        sha256 = hashlib.sha256(data).hexdigest()
        package = LockedOsPackage(
            name=name,
            version="1.0-1",
            architecture="amd64",
            archive="debian",
            suite="bookworm",
            pool_path=f"pool/{name}.deb",
            size_bytes=len(data),
            sha256=sha256,
        )
        self.paths[sha256] = self.folder / f"{name}.deb"
        self.paths[sha256].write_bytes(data)
        self.packages.append(package)
        return package

    def entries(self) -> dict[str, Entry]:
        return {entry.path: entry for entry in base.base_entries(self.packages, self.paths)}


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path)


def content(entries: dict[str, Entry], path: str) -> str:
    data = entries[path].content
    assert isinstance(data, bytes)
    return data.decode()


def layer(entries: list[Entry]) -> bytes:
    sink = io.BytesIO()
    write_layer(sink, entries)
    return sink.getvalue()


def test_what_lies_below_bin_and_lib_moves_below_usr(pool: Pool) -> None:
    """In bookworm libc6 ships /lib as a folder, in trixie base-files ships it as a link: both must give one /lib."""
    pool.add(
        "libc6",
        [
            ("folder", "./lib/", 0o755, ""),
            ("file", "./lib/x86_64-linux-gnu/libc.so.6", 0o755, "elf"),
            ("hard", "./lib/x86_64-linux-gnu/libc-2.so", 0o755, "./lib/x86_64-linux-gnu/libc.so.6"),
            ("link", "./lib64/ld-linux-x86-64.so.2", 0o777, "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
        ],
    )
    pool.add("base-files", [("link", "./bin", 0o777, "usr/bin"), ("folder", "./usr/bin/", 0o755, "")])

    entries = pool.entries()

    assert [(entries[path].kind, entries[path].target) for path in ("bin", "lib", "lib64")] == [
        ("link", "usr/bin"),
        ("link", "usr/lib"),
        ("link", "usr/lib64"),
    ]
    assert entries["usr/lib/x86_64-linux-gnu/libc.so.6"].content == b"elf"
    assert entries["usr/lib/x86_64-linux-gnu/libc-2.so"].target == "usr/lib/x86_64-linux-gnu/libc.so.6"
    assert "usr/lib64/ld-linux-x86-64.so.2" in entries
    assert not any(path.startswith(("bin/", "lib/", "lib64/")) for path in entries)


def test_documentation_is_dropped_and_licences_are_kept(pool: Pool) -> None:
    """The binaries may be passed on only with their licence."""
    pool.add(
        "demo",
        [
            ("file", "./usr/share/doc/demo/copyright", 0o644, "GPL"),
            ("file", "./usr/share/doc/demo/changelog.gz", 0o644, "long"),
            ("file", "./usr/share/man/man1/demo.1", 0o644, "long"),
            ("file", "./usr/share/locale/de/LC_MESSAGES/demo.mo", 0o644, "long"),
            ("link", "./usr/share/doc/libdemo", 0o777, "demo"),
            ("file", "./usr/lib/locale/C.utf8/LC_CTYPE", 0o644, "needed"),
        ],
    )

    entries = pool.entries()

    shared = {path for path in entries if path.startswith("usr/share/") and entries[path].kind != "folder"}
    assert shared == {"usr/share/doc/demo/copyright", "usr/share/doc/libdemo"}
    assert "usr/lib/locale/C.utf8/LC_CTYPE" in entries


def test_no_program_gains_rights(pool: Pool) -> None:
    """A setuid `su` is the first thing that somebody looks for who got in through the model's server."""
    pool.add("demo", [("file", "./bin/su", 0o4755, "x"), ("file", "./usr/bin/wall", 0o2755, "x")])

    entries = pool.entries()

    assert entries["usr/bin/su"].mode == 0o755
    assert entries["usr/bin/wall"].mode == 0o755


def test_the_effects_of_installation_are_there(pool: Pool) -> None:
    """Without them Python has no user name, no time zone, no certificate and no name service."""
    pool.add("base-files", [("folder", "./tmp/", 0o755, "")])
    pool.add(
        "base-passwd",
        [
            ("file", "./usr/share/base-passwd/passwd.master", 0o644, "root:*:0:0:root:/root:/bin/bash\n"),
            ("file", "./usr/share/base-passwd/group.master", 0o644, "root:*:0:\n"),
        ],
    )
    pool.add("libc-bin", [("file", "./usr/share/libc-bin/nsswitch.conf", 0o644, "hosts: files dns\n")])
    pool.add("tzdata", [("file", "./usr/share/zoneinfo/Etc/UTC", 0o644, "TZif")])
    pool.add(
        "ca-certificates",
        [
            ("file", "./usr/share/ca-certificates/mozilla/b.crt", 0o644, "B"),
            ("file", "./usr/share/ca-certificates/mozilla/a.crt", 0o644, "A\n"),
        ],
    )

    entries = pool.entries()

    assert content(entries, "etc/passwd").splitlines() == [
        "root:*:0:0:root:/root:/bin/sh",
        "app:*:10001:10001:app:/home/app:/usr/sbin/nologin",
    ]
    assert content(entries, "etc/group").splitlines() == ["root:*:0:", "app:*:10001:"]
    assert content(entries, "etc/nsswitch.conf") == "hosts: files dns\n"
    assert content(entries, "etc/ssl/certs/ca-certificates.crt") == "A\nB\n"
    assert entries["etc/localtime"].target == "/usr/share/zoneinfo/Etc/UTC"
    assert entries["usr/lib/ssl/cert.pem"].target == "/etc/ssl/certs/ca-certificates.crt"
    assert {path: entries[path].mode for path in ("tmp", "var/tmp", "root", "var/local")} == {
        "tmp": 0o1777,
        "var/tmp": 0o1777,
        "root": 0o700,
        "var/local": 0o2775,
    }
    assert (entries["home/app"].uid, entries["home/app"].gid, entries["var/local"].gid) == (10001, 10001, 50)


def test_every_parent_has_an_entry(pool: Pool) -> None:
    """Later layers take a parent's header from this table; a generic 0755 would open /root and close /tmp."""
    pool.add("demo", [("file", "./opt/deep/down/file", 0o644, "x")])

    entries = pool.entries()

    for path in entries:
        parent = path.rpartition("/")[0]
        assert not parent or entries[parent].kind == "folder", path


def test_the_database_names_packages_and_the_owner_of_each_file(pool: Pool) -> None:
    """Scanners look here for holes, and `verify` for whose file was altered."""
    pool.add("zlib1g", [("file", "./lib/libz.so.1", 0o644, "z"), ("file", "./usr/share/man/z.1", 0o644, "")])
    pool.add(
        "libc6",
        [("file", "./lib/libc.so.6", 0o755, "c")],
        control="Package: libc6\nVersion: 1.0-1\nArchitecture: amd64\nMulti-Arch: same\nDescription: libc\n",
    )

    entries = pool.entries()
    owners = base.owners(entries.values())

    assert re.findall(r"(?m)^(Package|Status): (.*)$", content(entries, "var/lib/dpkg/status")) == [
        ("Package", "libc6"),
        ("Status", "install ok installed"),
        ("Package", "zlib1g"),
        ("Status", "install ok installed"),
    ]
    assert content(entries, "var/lib/dpkg/info/libc6:amd64.list") == "/.\n/usr/lib/libc.so.6\n"
    assert content(entries, "var/lib/dpkg/info/zlib1g.md5sums").splitlines() == [
        f"{hashlib.md5(b'z').hexdigest()}  lib/libz.so.1"
    ]
    assert owners["usr/lib/libz.so.1"] == "zlib1g"
    assert owners["usr/lib/libc.so.6"] == "libc6"
    assert owners["var/lib/dpkg/info/libc6:amd64.list"] == "libc6"
    assert set(owners) == set(entries)


def test_the_layer_does_not_depend_on_the_order_of_the_packages(pool: Pool) -> None:
    """One lock, one digest."""
    for name in ("alpha", "base-files", "beta", "gamma"):
        pool.add(name, [("folder", "./usr/share/", 0o755, ""), ("file", f"./usr/bin/{name}", 0o755, name)])
    before = layer(base.base_entries(pool.packages, pool.paths))
    random.Random(1).shuffle(pool.packages)

    assert layer(base.base_entries(pool.packages, pool.paths)) == before


@pytest.mark.parametrize("codec", ["xz", "zst", "tar"])
def test_every_packing_that_the_archives_use_is_read(pool: Pool, codec: str) -> None:
    """Ubuntu packs with zstd, Debian with xz."""
    pool.add("demo", [("file", "./usr/bin/demo", 0o755, "demo")], codec=codec)

    assert pool.entries()["usr/bin/demo"].content == b"demo"


def test_two_packages_that_differ_in_one_path_are_refused(pool: Pool) -> None:
    """dpkg would refuse as well; whichever won here, the other would be silently broken."""
    pool.add("one", [("file", "./usr/bin/tool", 0o755, "1"), ("file", "./usr/share/same", 0o644, "same")])
    pool.add("two", [("file", "./usr/bin/tool", 0o755, "2"), ("file", "./usr/share/same", 0o644, "same")])

    with pytest.raises(RefusedError, match="one and two both have `/usr/bin/tool`"):
        pool.entries()


def test_a_file_that_is_not_the_locked_one_is_an_integrity_error(pool: Pool) -> None:
    package = pool.add("demo", [("file", "./usr/bin/demo", 0o755, "demo")])
    path = pool.paths[package.sha256]
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    with pytest.raises(IntegrityError, match=r"demo 1\.0-1 is not the one that the lock says"):
        pool.entries()


def test_a_package_that_says_another_name_is_an_integrity_error(pool: Pool) -> None:
    """The right hash of the wrong package: somebody edited the lock."""
    pool.add("demo", [], control="Package: other\nVersion: 1.0-1\nArchitecture: amd64\n")

    with pytest.raises(IntegrityError, match="does not say Package: demo"):
        pool.entries()


def test_a_file_that_is_gone_is_unreachable(pool: Pool) -> None:
    package = pool.add("demo", [])
    pool.paths[package.sha256].unlink()

    with pytest.raises(UnreachableError, match=r"cannot read the package demo 1\.0-1"):
        pool.entries()


@pytest.mark.parametrize(
    "member",
    [
        pytest.param(("file", "../../etc/passwd", 0o644, "x"), id="leads out"),
        pytest.param(("fifo", "./run/pipe", 0o644, ""), id="a FIFO"),
        pytest.param(("hard", "./usr/a", 0o644, "../../../etc/shadow"), id="a hard link that leads out"),
        pytest.param(("sparse", "./usr/a", 0o644, ""), id="a sparse file, which dpkg does not know"),
    ],
)
def test_a_hostile_member_is_malformed(pool: Pool, member: Member) -> None:
    pool.add("demo", [member])

    with pytest.raises(MalformedError):
        pool.entries()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>", id="a web page"),
        pytest.param(ar([("debian-binary", b"2.0\n")]), id="no parts"),
        pytest.param(ar([("debian-binary", b"9.0\n")]), id="another format"),
        pytest.param(ar([("debian-binary", b"2.0\n"), ("control.tar.xz", b"no xz")]), id="damaged xz"),
        pytest.param(ar([("debian-binary", b"2.0\n"), ("control.tar.zst", b"no zstd")]), id="damaged zstd"),
        pytest.param(ar([("debian-binary", b"2.0\n"), ("control.tar.gz", b"no gzip")]), id="damaged gzip"),
        pytest.param(ar([("debian-binary", b"2.0\n"), ("control.tar.lz9", b"")]), id="unknown packing"),
        pytest.param(ar([("debian-binary", b"2.0\n"), ("control.tar", b"x" * 1024)]), id="damaged tar"),
        pytest.param(
            ar([("debian-binary", b"2.0\n"), ("control.tar", tar([("file", "control", 0o644, "x" * 999)])[:1200])]),
            id="a member cut short",
        ),
        pytest.param(ar([("debian-binary", b"2.0\n"), ("control.tar", b"x" * 100)])[:-50], id="cut short"),
        pytest.param(b"!<arch>\n" + b"x" * 60, id="damaged header"),
    ],
)
def test_what_is_no_package_is_malformed(pool: Pool, data: bytes) -> None:
    """Its hash was right, so it is the lock that is hostile; still one line and no traceback."""
    pool.add_bytes("demo", data)

    with pytest.raises(MalformedError, match=r"demo 1\.0-1"):
        pool.entries()


def real_base(name: str, folder: Path) -> tuple[list[Entry], str]:
    """The entries of a base with its own Python, from the archive itself, and that Python's version."""
    with Client() as client:
        fetcher = Fetcher(client, Cache(folder / "cache"))
        try:
            index = package_lists.read_index(name, fetcher)
            found = debian.resolve_base(name, index=index, with_python=index.release.python_version)
            paths = fetcher.blobs(
                [
                    Wanted(package.name, archives.package_urls(package), package.sha256, package.size_bytes)
                    for package in found.os_packages
                ]
            )
        except UnreachableError as error:
            not_here(f"the archive of {name} cannot be reached ({error})")
        files = {package.sha256: path for package, path in zip(found.os_packages, paths, strict=True)}
        return base.base_entries(found.os_packages, files), package_lists.base_python_version(found.os_packages)


@pytest.mark.parametrize("name", ["debian:bookworm", "debian:trixie"])
def test_a_base_of_the_real_archive_runs_its_python(name: str, tmp_path: Path) -> None:
    """The whole point: no dpkg and no script ran, and still everything imports, for root and for the image's user."""
    entries, version = real_base(name, tmp_path)
    assert set(base.owners(entries)) == {entry.path for entry in entries}
    if os.geteuid() != 0:
        not_here("entering a root folder by chroot takes root")
    root = tmp_path / "root"
    root.mkdir(mode=0o755)
    subprocess.run([needs_tool("tar"), "-xf", "-", "-C", str(root)], input=layer(entries), check=True)
    for folder in (root, *root.parents):  # the image's user has to get there
        if folder.is_relative_to(tmp_path.parent.parent):
            folder.chmod(folder.stat().st_mode | 0o011)
    code = (
        "import bz2, ctypes, curses, dbm, decimal, lzma, platform, pwd, pyexpat\n"
        "import readline, sqlite3, ssl, uuid, zlib, zoneinfo\n"
        "ctypes.CDLL('libgomp.so.1'), ctypes.CDLL('libstdc++.so.6'), zoneinfo.ZoneInfo('Europe/Berlin')\n"
        "assert ssl.create_default_context().cert_store_stats()['x509_ca'] > 100\n"
        "assert pwd.getpwuid(10001).pw_name == 'app'\n"
        "print(platform.python_version(), platform.freedesktop_os_release()['VERSION_CODENAME'])\n"
    )

    for user in ("0", "10001"):
        python = f"/usr/bin/python{'.'.join(version.split('.')[:2])}"
        argv = [needs_tool("chroot"), f"--userspec={user}:{user}", str(root), python, "-c", code]
        done = subprocess.run(argv, env={"PATH": "/usr/bin:/usr/sbin"}, capture_output=True, text=True, check=False)
        assert (done.stdout.split(), done.stderr) == ([version, name.partition(":")[2]], "")


def test_every_error_of_a_base_is_one_of_ours(pool: Pool) -> None:
    """Whatever byte of a package is damaged, the user sees a line and not a traceback."""
    package = pool.add("demo", [("file", "./usr/bin/demo", 0o755, "demo")], codec="tar")
    whole = pool.paths[package.sha256].read_bytes()
    chance = random.Random(7)
    for _ in range(150):
        data = bytearray(whole)
        data[chance.randrange(len(data))] = chance.randrange(256)
        pool.packages.clear()
        pool.add_bytes("demo", bytes(data))
        with suppress(EnvparityError):
            pool.entries()
