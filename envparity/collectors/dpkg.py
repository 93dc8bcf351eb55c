"""Packages of the operating system: Debian's, from dpkg's own database, and those of the other package managers."""

from __future__ import annotations

from typing import Iterator

from envparity.collectors.apk import APK_DATABASES, apk_packages
from envparity.collectors.rpm import RPM_FOLDERS, rpm_other_form, rpm_packages
from envparity.collectors.shapes import Fact, Tree
from envparity.collectors.tree import gap, why

_STATUS = "/var/lib/dpkg/status"
_PIECES = "/var/lib/dpkg/status.d"
_PACMAN = "/var/lib/pacman/local"
_LIMIT = 64 << 20
_FIELDS = ("Package", "Status", "Version", "Architecture", "Source")


def os_packages(tree: Tree) -> Iterator[Fact]:
    """
    Observe the installed packages: of Debian (`/var/lib/dpkg/status`, and the `status.d/` of images without dpkg), of
    Alpine and of rpm. Each database is read by itself, so that one that is damaged does not hide the others.

    Only `Status: ... ok installed` counts. A stanza that is broken or half installed is named in a gap, and so is a
    database in a form that is not read, where no other one has the packages.
    """
    installed = gaps = 0
    for read in (_database, apk_packages, rpm_packages):
        for fact in read(tree):
            installed += fact["kind"] == "os-package"
            gaps += fact["kind"] == "gap"
            yield fact
    if installed:
        yield {"kind": "section", "section": "os_packages"}
        return
    other = rpm_other_form(tree)
    if other:
        yield gap(
            "os_packages", "unread", "the database of rpm is in the form of %s, which is not read" % other[1], other[0]
        )
    elif _there(tree, _PACMAN):
        yield gap("os_packages", "unread", "the database of pacman is not read", _PACMAN)
    elif any(_there(tree, path) for path in (_STATUS, _PIECES, *APK_DATABASES, *_RPM_FILES)):
        if not gaps:
            yield {"kind": "section", "section": "os_packages"}
    else:
        yield gap("os_packages", "not-recorded", "there is no package database")


_RPM_FILES = tuple(folder + "/rpmdb.sqlite" for folder in RPM_FOLDERS)


def _database(tree: Tree) -> Iterator[Fact]:
    if _there(tree, _STATUS):
        try:
            yield from _stanzas(tree.read(_STATUS, _LIMIT), _STATUS, needs_status=True)
        except OSError as error:
            yield gap("os_packages", "unread", why(error), _STATUS)
    if not _there(tree, _PIECES):
        return
    try:
        names = [name for name in tree.entries(_PIECES) if not name.endswith(".md5sums")]
    except OSError as error:
        names = []
        yield gap("os_packages", "unread", why(error), _PIECES)
    for name in names:
        path = _PIECES + "/" + name
        try:
            yield from _stanzas(tree.read(path, _LIMIT), path, needs_status=False)
        except OSError as error:
            yield gap("os_packages", "unread", why(error), path)


def _there(tree: Tree, path: str) -> bool:
    try:
        return tree.kind(path) is not None
    except OSError:
        return True


def _stanzas(data: bytes, path: str, needs_status: bool) -> Iterator[Fact]:
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    for stanza in text.split("\n\n"):
        if not stanza.strip():
            continue
        fields = _fields(stanza)
        name = fields.get("Package", "")
        if not name:
            yield gap("os_packages", "unread", "a stanza without Package: %r" % stanza.strip()[:60], path)
            continue
        status = fields.get("Status", "").split()
        if needs_status and len(status) != 3:
            yield gap("os_packages", "unread", "its Status is broken: %r" % fields.get("Status", "")[:60], name)
            continue
        if needs_status and status[2] in ("config-files", "not-installed"):
            continue
        if needs_status and status[1:] != ["ok", "installed"]:
            yield gap("os_packages", "unread", "it is %s (%s)" % (status[2], status[1]), name)
            continue
        if not fields.get("Version"):
            yield gap("os_packages", "unread", "it has no Version", name)
            continue
        yield {
            "kind": "os-package",
            "name": name,
            "version": fields["Version"],
            "architecture": fields.get("Architecture", ""),
            "manager": "dpkg",
            "source": fields.get("Source", ""),
        }


def _fields(stanza: str) -> dict[str, str]:
    lines = "\n" + stanza + "\n"
    fields: dict[str, str] = {}
    for key in _FIELDS:
        at = lines.find("\n" + key + ":") + len(key) + 2
        if at > len(key) + 1:
            fields[key] = lines[at : lines.index("\n", at)].strip()
    if not all(key in fields for key in _FIELDS[:-1]):
        # "Field names are not case-sensitive" (Debian Policy 5.1); dpkg itself writes them as they stand above.
        for line in stanza.split("\n"):
            name, colon, value = line.partition(":")
            if colon and name[:1] not in (" ", "\t") and name.rstrip().capitalize() in _FIELDS:
                fields.setdefault(name.rstrip().capitalize(), value.strip())
    return fields
