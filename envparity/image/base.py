"""
The base layer: Debian packages unpacked straight into entries, with the few effects of installation that count.

No dpkg, no root, no maintainer script. A .deb is an `ar` archive of two tars (deb(5)); what is left out, moved and
written besides stands in the tables of this file; nothing depends on machine, user or the order of the packages.
"""

from __future__ import annotations

__all__ = ["APP_ID", "AUTHORITIES", "HOME", "ROOT", "authorities", "base_entries", "entries_on_top", "owners"]

import gzip
import hashlib
import io
import lzma
import re
import tarfile
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from envparity.errors import IntegrityError, MalformedError, RefusedError, UnreachableError
from envparity.oci.entries import Entry, normal
from envparity.values import LockedOsPackage

APP_ID = 10001
"""User and group `app`, which the image runs as."""

HOME = "home/app"
"""The home of that user."""

AUTHORITIES = "ca-certificates"
"""The package that the authorities of a base come with."""

ROOT = "root:*:0:0:root:/root:/usr/sbin/nologin"
"""The first line of `/etc/passwd`, where a base has no such file."""

_UNPACKED_LIMIT = 2 << 30
_AT_ONCE = 4

# Where /bin is a link to usr/bin (https://www.debian.org/releases/bookworm/release-notes, "merged /usr"), every member
# below it moves there, and the four links are written by us: some releases ship them as folders, some as links.
_MERGED = ("bin", "sbin", "lib", "lib64", "lib32", "libx32")

# Documentation that nobody reads in a container. The copyright files stay: redistribution of the binaries asks for
# them, and they are 1 % of the base. The C.UTF-8 locale lives in usr/lib/locale, and stays.
_DROPPED = tuple(
    f"usr/share/{name}/"
    for name in (
        "bug",
        "doc",
        "doc-base",
        "info",
        "lintian",
        "linda",
        "locale",
        "man",
        "menu",
        "pixmaps",
        "applications",
    )
)
_KEPT = re.compile(r"usr/share/doc/[^/]+(/copyright)?")

_FOLDERS: Mapping[str, tuple[int, int, int]] = {
    # path -> mode, uid, gid: as the postinst of base-files leaves them.
    HOME: (0o755, APP_ID, APP_ID),
    "media": (0o755, 0, 0),
    "mnt": (0o755, 0, 0),
    "opt": (0o755, 0, 0),
    "root": (0o700, 0, 0),
    "run/lock": (0o1777, 0, 0),
    "srv": (0o755, 0, 0),
    "tmp": (0o1777, 0, 0),
    "usr/local/bin": (0o755, 0, 0),
    "usr/local/lib": (0o755, 0, 0),
    "usr/local/sbin": (0o755, 0, 0),
    "usr/local/share": (0o755, 0, 0),
    "var/local": (0o2775, 0, 50),
    "var/tmp": (0o1777, 0, 0),
}

_LINKS: Mapping[str, str] = {"var/lock": "/run/lock", "var/run": "/run"}

_IMITATED: Mapping[str, str] = {
    # path -> the package whose installation writes it, and which is named as its owner.
    "etc/group": "base-passwd",
    "etc/localtime": "tzdata",
    "etc/nsswitch.conf": "libc-bin",
    "etc/passwd": "base-passwd",
    "etc/ssl/cert.pem": "ca-certificates",
    "etc/ssl/certs/ca-certificates.crt": "ca-certificates",
    "etc/timezone": "tzdata",
    "usr/lib/ssl/cert.pem": "ca-certificates",
    "var/lib/dpkg/status": "dpkg",
}


@dataclass(frozen=True)
class _Package:
    """One .deb, read. `control` is the text of its control file; `md5sums` the lines of that file."""

    locked: LockedOsPackage
    control: str
    md5sums: tuple[str, ...]
    entries: tuple[Entry, ...]

    @property
    def info_name(self) -> str:
        """As dpkg names its files in `info/`: with the architecture where several may be installed side by side."""
        same = re.search(r"(?m)^Multi-Arch:\s*same\s*$", self.control)
        return f"{self.locked.name}:{self.locked.architecture}" if same else self.locked.name


def base_entries(os_packages: Iterable[LockedOsPackage], paths: Mapping[str, Path]) -> list[Entry]:
    """
    The entries of the base layer, sorted by path.

    Setuid and setgid bits of files are dropped: nothing in an image that serves a model gains rights by running a
    program, and a hardened engine (`no-new-privileges`) ignores the bits anyway. Owners and modes of folders are kept.

    Args:
        os_packages: what the lock says.
        paths: the .deb files by their sha256.

    Raises:
        IntegrityError: a file is not the package that the lock says.
        MalformedError: it is not a .deb, or a member leads out of the image.
        RefusedError: two packages have one path with different content.
    """
    packages = _all(os_packages, paths)
    merged = _laid_together(packages)
    _add_parents(merged)
    _imitate_installation(merged, {package.locked.name for package in packages})
    _write_database(merged, packages)
    _add_parents(merged)
    return [merged[path] for path in sorted(merged)]


def entries_on_top(
    os_packages: Iterable[LockedOsPackage],
    paths: Mapping[str, Path],
    folders: Mapping[str, Entry],
    accounts: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[Entry]:
    """
    The entries of packages that are put on top of an image, sorted by path, by the same rules as those of a base.

    The image's own files stay as they are: its database of packages too, beside which each package has a file of its
    own in `status.d`, as images without dpkg do, where scanners look as well.

    Args:
        folders: the folders of the image that are not plain; they keep their headers.
        accounts: the lines of `passwd` and `group`, as `LockedImage` has them.

    Raises:
        As `base_entries`.
    """
    packages = _all(os_packages, paths)
    merged = {
        path: entry
        for path, entry in _laid_together(packages).items()
        if entry.kind != "folder" or (path not in folders and (entry.mode, entry.uid, entry.gid) != (0o755, 0, 0))
    }
    _configure(merged, {package.locked.name for package in packages} - {"base-passwd"})
    for package in packages:
        for suffix, text in (
            ("", package.control),
            (".md5sums", "".join(f"{line}\n" for line in _sums(package, merged))),
        ):
            path = f"{_PIECES}/{package.locked.name}{suffix}"
            content = text.encode("utf-8", "surrogateescape")
            merged[path] = Entry(path, "file", 0o644, size_bytes=len(content), content=content)
    for name, lines in accounts.items():
        if lines:
            content = "".join(f"{line}\n" for line in lines).encode()
            merged[f"etc/{name}"] = Entry(f"etc/{name}", "file", 0o644, size_bytes=len(content), content=content)
    if any(f":/{HOME}:" in line for line in accounts.get("passwd", ())):
        merged[HOME] = Entry(HOME, "folder", *_FOLDERS[HOME])
    return [merged[path] for path in sorted(merged)]


_PIECES = "var/lib/dpkg/status.d"


def _all(os_packages: Iterable[LockedOsPackage], paths: Mapping[str, Path]) -> list[_Package]:
    ordered = sorted(os_packages, key=lambda package: (package.name != "base-files", package.name))
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # the unpackers of xz and zstd work without holding the interpreter
        return list(pool.map(lambda package: _read(package, paths[package.sha256]), ordered))


def _laid_together(packages: Iterable[_Package]) -> dict[str, Entry]:
    """Every entry of these packages by its path; two that have one path with different content are refused."""
    merged: dict[str, Entry] = {}
    owner: dict[str, str] = {}
    for package in packages:
        for entry in package.entries:
            seen = merged.get(entry.path)
            if seen is None:
                merged[entry.path], owner[entry.path] = entry, package.locked.name
            elif not (seen.kind == entry.kind == "folder") and replace(seen, mode=0) != replace(entry, mode=0):
                raise RefusedError(
                    f"{owner[entry.path]} and {package.locked.name} both have `/{entry.path}`, and differ there",
                    hint="only one of the two can be in an image",
                )
    return merged


def owners(entries: Iterable[Entry]) -> Mapping[str, str]:
    """
    Which package each path of a base belongs to, by the lists that `base_entries` wrote into it.

    Paths are relative to the root. Files that an installation writes belong to the package whose installation does;
    a folder belongs to the first package that has it. What has no owner is not in the answer.
    """
    entries = sorted(entries, key=lambda entry: entry.path)
    found: dict[str, str] = {}
    folders = [*_FOLDERS, *_LINKS, *_MERGED]
    for entry in entries:
        folders += [entry.path] if entry.kind == "folder" else []
        piece = re.fullmatch(rf"{_PIECES}/([^/]+?)(\.md5sums)?", entry.path)
        if piece is not None:
            found[entry.path] = piece[1]
            if piece[2] and isinstance(entry.content, bytes):
                for line in entry.content.decode("utf-8", "surrogateescape").splitlines():
                    found.setdefault(_merged_path(line.partition("  ")[2]), piece[1])
        match = re.fullmatch(r"var/lib/dpkg/info/([^/:]+)(?::[^/]+)?\.(list|md5sums)", entry.path)
        if match is None:
            continue
        found[entry.path] = match[1]
        if match[2] == "list" and isinstance(entry.content, bytes):
            for line in entry.content.decode("utf-8", "surrogateescape").splitlines():
                found.setdefault(line.lstrip("/"), match[1])
    for path, package in _IMITATED.items():
        found.setdefault(path, package)
    for path in folders:
        found.setdefault(path, "base-files")
    present = {entry.path for entry in entries}
    return {path: package for path, package in found.items() if path in present}


# --- One .deb -----------------------------------------------------------------------------------------------------


def _read(package: LockedOsPackage, path: Path) -> _Package:
    what = f"{package.name} {package.version}"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreachableError(f"cannot read the package {what}: {error.strerror or error}") from error
    if len(data) != package.size_bytes or hashlib.sha256(data).hexdigest() != package.sha256:
        raise IntegrityError(f"the file of {what} is not the one that the lock says (sha256 {package.sha256})")
    members = dict(_ar_members(data, what))
    if members.get("debian-binary", b"")[:2] != b"2.":
        raise MalformedError(f"the file of {what} is not a Debian package of format 2")
    control = ""
    md5sums: tuple[str, ...] = ()
    for member, content in _tar_members(_part(members, "control.tar", what), what):
        if member.path == "control":
            control = content.decode("utf-8", "replace").rstrip("\n") + "\n"
        elif member.path == "md5sums":
            md5sums = tuple(content.decode("utf-8", "surrogateescape").splitlines())
    for name, value in (
        ("Package", package.name),
        ("Version", package.version),
        ("Architecture", package.architecture),
    ):
        if not re.search(rf"(?m)^{name}:\s*{re.escape(value)}\s*$", control):
            raise IntegrityError(f"the file of {what} does not say {name}: {value}")
    entries = tuple(
        entry
        for member, content in _tar_members(_part(members, "data.tar", what), what)
        if (entry := _placed(member, content)) is not None
    )
    return _Package(package, control, md5sums, entries)


def _ar_members(data: bytes, what: str) -> Iterator[tuple[str, bytes]]:
    """ar(5) in the form that deb(5) allows: short names, no symbol table."""
    if not data.startswith(b"!<arch>\n"):
        raise MalformedError(f"the file of {what} is not an ar archive")
    at = 8
    while at + 60 <= len(data):
        header = data[at : at + 60]
        size_text = header[48:58].strip()
        if header[58:] != b"`\n" or not size_text.isdigit():
            raise MalformedError(f"the file of {what} has a damaged ar header")
        size = int(size_text)
        if at + 60 + size > len(data):
            raise MalformedError(f"the file of {what} is cut short")
        yield header[:16].decode("ascii", "replace").strip().rstrip("/"), data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2


def _part(members: Mapping[str, bytes], stem: str, what: str) -> bytes:
    for name, data in members.items():
        if name.partition(".tar")[0] + ".tar" == stem:
            return _decompressed(name, data, what)
    raise MalformedError(f"the file of {what} has no {stem}")


def _decompressed(name: str, data: bytes, what: str) -> bytes:
    import zstandard

    suffix = name.rpartition(".")[2]
    try:
        if suffix == "xz":
            text = lzma.LZMADecompressor().decompress(data, max_length=_UNPACKED_LIMIT)
        elif suffix == "zst":
            with zstandard.ZstdDecompressor().stream_reader(data) as reader:
                text = reader.read(_UNPACKED_LIMIT)
        elif suffix == "gz":
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
                text = stream.read(_UNPACKED_LIMIT)
        elif suffix == "tar":
            text = data
        else:
            raise MalformedError(f"the file of {what} is packed in a way that is not known: {name}")
    except (lzma.LZMAError, zstandard.ZstdError, OSError, EOFError) as error:
        raise MalformedError(f"{name} of {what} cannot be unpacked: {error}") from error
    if len(text) >= _UNPACKED_LIMIT:
        raise MalformedError(f"{name} of {what} is larger than the limit of {_UNPACKED_LIMIT:,} bytes")
    return text


def _tar_members(data: bytes, what: str) -> Iterator[tuple[Entry, bytes]]:
    """The members of a tar as entries with normal paths, the root left out."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:", errorlevel=2) as tar:
            for member in tar:
                path = normal(member.name)
                if not path:
                    continue
                mode, uid, gid = member.mode & 0o7777, member.uid, member.gid
                if member.isdir():
                    yield Entry(path, "folder", mode, uid, gid), b""
                elif member.issym():
                    yield Entry(path, "link", 0o777, uid, gid, target=member.linkname), b""
                elif member.islnk():
                    yield Entry(path, "hardlink", mode & 0o777, uid, gid, target=normal(member.linkname)), b""
                elif member.isreg() and not member.issparse():
                    content = data[member.offset_data : member.offset_data + member.size]
                    if len(content) < member.size:
                        raise MalformedError(f"the package {what} holds a damaged tar: it ends inside `{path}`")
                    yield Entry(path, "file", mode & 0o1777, uid, gid, len(content), content=content), content
                else:
                    raise MalformedError(f"the package {what} has a device, FIFO or sparse file at `{path}`")
    except tarfile.TarError as error:
        raise MalformedError(f"the package {what} holds a damaged tar: {error}") from error


def _placed(entry: Entry, content: bytes) -> Entry | None:
    """The entry at its place in a merged /usr, or `None` for what an image does not get."""
    if entry.path in _MERGED:
        return None
    path = _merged_path(entry.path)
    if path.startswith(_DROPPED) and not _KEPT.fullmatch(path):
        return None
    target = _merged_path(entry.target) if entry.kind == "hardlink" else entry.target
    if path == entry.path and target == entry.target:
        return entry
    return replace(entry, path=path, target=target)


def _merged_path(path: str) -> str:
    return f"usr/{path}" if path.partition("/")[0] in _MERGED else path


# --- What installation would have done ----------------------------------------------------------------------------


def _imitate_installation(merged: dict[str, Entry], names: set[str]) -> None:
    for path, (mode, uid, gid) in _FOLDERS.items():
        merged[path] = Entry(path, "folder", mode, uid, gid)
    for path, target in _LINKS.items():
        merged[path] = Entry(path, "link", 0o777, target=target)
    for path in _MERGED:
        if f"usr/{path}" in merged:
            merged[path] = Entry(path, "link", 0o777, target=f"usr/{path}")
    _configure(merged, names)


def _configure(merged: dict[str, Entry], names: set[str]) -> None:
    """What the installation of some packages writes."""

    def put(path: str, content: bytes) -> None:
        merged[path] = Entry(path, "file", 0o644, size_bytes=len(content), content=content)

    if "base-passwd" in names:
        users = _text(merged, "usr/share/base-passwd/passwd.master")
        if "bash" not in names:
            users = users.replace(b":/bin/bash\n", b":/bin/sh\n")
        put("etc/passwd", users + f"app:*:{APP_ID}:{APP_ID}:app:/{HOME}:/usr/sbin/nologin\n".encode())
        put("etc/group", _text(merged, "usr/share/base-passwd/group.master") + f"app:*:{APP_ID}:\n".encode())
    if "libc-bin" in names and "usr/share/libc-bin/nsswitch.conf" in merged:
        put("etc/nsswitch.conf", _text(merged, "usr/share/libc-bin/nsswitch.conf"))
    if "tzdata" in names:
        merged["etc/localtime"] = Entry("etc/localtime", "link", 0o777, target="/usr/share/zoneinfo/Etc/UTC")
        put("etc/timezone", b"Etc/UTC\n")
    if AUTHORITIES in names:
        put("etc/ssl/certs/ca-certificates.crt", _bundle(merged))
        # OpenSSL looks for `cert.pem` in the folder that it was built with: Debian's in /usr/lib/ssl, interpreters that
        # carry their own in /etc/ssl. With it the thousand hash links of an installed system are not needed.
        for path in ("usr/lib/ssl/cert.pem", "etc/ssl/cert.pem"):
            merged[path] = Entry(path, "link", 0o777, target="/etc/ssl/certs/ca-certificates.crt")


def _bundle(merged: Mapping[str, Entry]) -> bytes:
    found = [p for p in sorted(merged) if re.fullmatch(r"usr/share/ca-certificates/mozilla/[^/]+\.crt", p)]
    return b"".join(_text(merged, path).rstrip(b"\n") + b"\n" for path in found)


def authorities(os_packages: Iterable[LockedOsPackage], paths: Mapping[str, Path]) -> bytes:
    """The bundle of certificate authorities that a base of these packages has, empty where it has none of them."""
    bringing = [item for item in os_packages if item.name == AUTHORITIES]
    return _bundle(_laid_together(_all(bringing, paths)))


def _text(merged: Mapping[str, Entry], path: str) -> bytes:
    entry = merged.get(path)
    if entry is None or not isinstance(entry.content, bytes):
        raise MalformedError(f"the base lacks `/{path}`, from which a part of its configuration is made")
    return entry.content


def _write_database(merged: dict[str, Entry], packages: Iterable[_Package]) -> None:
    """dpkg's own database, so that scanners, `dpkg -l` and `verify` can tell what is installed and whose a file is."""
    by_name = sorted(packages, key=lambda package: package.locked.name)
    status = []
    for package in by_name:
        first, _, rest = package.control.partition("\n")
        status.append(f"{first}\nStatus: install ok installed\n{rest}")
        paths = sorted({entry.path for entry in package.entries if entry.path in merged})
        lines = "".join(f"/{path}\n" for path in paths)
        sums = _sums(package, set(paths))
        stem = f"var/lib/dpkg/info/{package.info_name}"
        for suffix, text in (("list", f"/.\n{lines}"), ("md5sums", "".join(f"{line}\n" for line in sums))):
            content = text.encode("utf-8", "surrogateescape")
            merged[f"{stem}.{suffix}"] = Entry(
                f"{stem}.{suffix}", "file", 0o644, size_bytes=len(content), content=content
            )
    content = "\n".join(status).encode()
    merged["var/lib/dpkg/status"] = Entry(
        "var/lib/dpkg/status", "file", 0o644, size_bytes=len(content), content=content
    )


def _sums(package: _Package, paths: Container[str]) -> list[str]:
    """The lines of its digests of what an image gets."""
    return [line for line in package.md5sums if _merged_path(line.partition("  ")[2]) in paths]


def _add_parents(merged: dict[str, Entry]) -> None:
    """Every parent gets an entry: together they are the table that later layers take a parent's header from."""
    for path in sorted(merged):
        parent = path.rpartition("/")[0]
        while parent and parent not in merged:
            merged[parent] = Entry(parent, "folder", 0o755)
            parent = parent.rpartition("/")[0]
