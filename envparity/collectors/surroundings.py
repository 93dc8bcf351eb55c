"""What texts, times and connections depend on: locale, time zone, authorities, fonts."""

from __future__ import annotations

import os
from typing import Iterator, Mapping

from envparity.collectors.shapes import Fact, Tree

_CATEGORIES = ("LC_CTYPE", "LC_NUMERIC", "LC_TIME", "LC_COLLATE", "LC_MONETARY", "LC_MESSAGES")
_ZONES = "/usr/share/zoneinfo"
_UTC = frozenset(["Etc/UTC", "Etc/UCT", "Etc/Universal", "Etc/Zulu", "UCT", "Universal", "Zulu", "UTC0", "Etc/UTC0"])
# Where the builds of OpenSSL look first (`openssl version -d`): conda, Debian, Alpine and FreeBSD, Fedora, SUSE.
AUTHORITIES = (
    "/usr/lib/ssl/cert.pem",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
)
_OWN_FILES = (
    "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "NODE_EXTRA_CA_CERTS",
)  # fmt: skip
SURROUNDING = ("LANG", "LC_ALL", "TZ", *_CATEGORIES, *_OWN_FILES)
"""The variables that `by_variables` asks for."""
# Of certifi and of conda; every other bundle that a variable names is somebody's own, unless it is the system's.
_OF_PACKAGES = ("/certifi/cacert.pem", "/ssl/cacert.pem", "/ssl/cert.pem")
_ADDED_BY = (
    # What a person put there is in the system's bundle: update-ca-certificates(8), update-ca-trust(8).
    ("/usr/local/share/ca-certificates", "update-ca-certificates"),
    ("/etc/pki/ca-trust/source/anchors", "update-ca-trust"),
)
_PLOTTERS = ("matplotlib", "reportlab", "weasyprint", "fpdf", "wordcloud", "kaleido", "vl_convert", "pygal", "cairosvg")
_FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts")
_MOST_FONTS = 4000


def surroundings(tree: Tree, prefix: str = "") -> Iterator[Fact]:
    """
    Observe the time zone, the version of its tables, and the digest of the authorities that OpenSSL trusts, as files
    have them. A variable may say otherwise: see `by_variables`. `prefix` is where conda has its own OpenSSL.
    """
    fact: Fact = {"kind": "system", "time_zone": _local_zone(tree), "tzdata": _zone_tables(tree)}
    places = [prefix + "/ssl/cert.pem"] if prefix and _is(tree, prefix + "/conda-meta", "folder") else []
    for path in [*places, *AUTHORITIES]:
        if _is(tree, path, "file"):
            fact["ca_sha256"] = tree.sha256(path)
            break
    yield fact


def by_variables(tree: Tree, environ: Mapping[str, str]) -> Iterator[Fact]:
    """Observe what environment variables decide: the locale always, time zone and authorities where one names them."""
    fact: Fact = {"kind": "system", "locale": locale_of(environ)}
    if "TZ" in environ:
        fact["time_zone"] = zone_of(tree, environ["TZ"])
    bundle = environ.get("SSL_CERT_FILE", "")
    if bundle.startswith("/") and _is(tree, bundle, "file"):
        fact["ca_sha256"] = tree.sha256(bundle)
    own = own_authorities(tree, environ)
    if own:
        fact["own_authorities"] = own
    yield fact


def by_files(tree: Tree) -> Iterator[Fact]:
    """Observe what of `by_variables` can be seen of a place whose variables nobody knows."""
    added = own_authorities(tree, {})
    if added:
        yield {"kind": "system", "own_authorities": added}


def own_authorities(tree: Tree, environ: Mapping[str, str]) -> list[str]:
    """
    By what authorities are trusted that neither the system nor a package brings: the names of variables, never what
    they hold, and of the programs that add to the system's bundle.
    """
    stated = {name: environ[name] for name in _OWN_FILES if environ.get(name, "").startswith("/")}
    named = {name: path for name, path in stated.items() if _is(tree, path, "file") and not path.endswith(_OF_PACKAGES)}
    usual = {tree.sha256(path) for path in AUTHORITIES if _is(tree, path, "file")} if named else set()
    found = [name for name, path in named.items() if path not in AUTHORITIES and tree.sha256(path) not in usual]
    return sorted(found) + [program for folder, program in _ADDED_BY if _holds_certificate(tree, folder)]


def _holds_certificate(tree: Tree, folder: str) -> bool:
    """Whether a certificate lies in a folder or, as the program of Debian looks for it too, one below."""
    ahead = [folder]
    for place in ahead:
        try:
            names = tree.entries(place) if _is(tree, place, "folder") else []
        except OSError:
            continue
        if any(name.lower().endswith((".crt", ".pem", ".cer")) for name in names):
            return True
        ahead += [place + "/" + name for name in names] if place == folder else []
    return False


def locale_of(environ: Mapping[str, str]) -> str:
    """
    What `setlocale(LC_ALL, "")` takes from these variables: for each category LC_ALL, else its own, else LANG, else
    `C`; one that is empty counts for nothing (POSIX, 8.2). One name where all agree, else glibc's list of them.
    """
    chosen = [environ.get("LC_ALL") or environ.get(name) or environ.get("LANG") or "C" for name in _CATEGORIES]
    if len(set(chosen)) == 1:
        return chosen[0]
    return ";".join("%s=%s" % pair for pair in zip(_CATEGORIES, chosen))  # noqa: B905 - Python 3.8


def zone_of(tree: Tree, value: str) -> str:
    """The zone that a value of TZ names (tzset(3)): `Europe/Berlin`, a rule of POSIX, or `UTC` for an empty one."""
    value = value[1:] if value.startswith(":") else value
    if value.startswith("/"):
        return _zone_of_file(tree, value)
    return "UTC" if not value or value in _UTC else value


def fonts(tree: Tree, folders: list[str]) -> Iterator[Fact]:
    """
    Observe the font families of the system, where something that draws texts is installed in one of the folders. They
    are named by their files: `DejaVuSans`, without the style.
    """
    if not any(_is(tree, folder + "/" + name, "folder") for folder in folders for name in _PLOTTERS):
        return
    families: set[str] = set()
    ahead = [folder for folder in _FONT_FOLDERS if _is(tree, folder, "folder")]
    seen = 0
    while ahead and seen < _MOST_FONTS:
        folder = ahead.pop()
        try:
            names = tree.entries(folder)
        except OSError:
            continue
        for name in names:
            seen += 1
            if name.lower().endswith((".ttf", ".otf", ".ttc", ".pfb")):
                families.add(name.rpartition(".")[0].partition("-")[0])
            elif folder.count("/") < 8 and "." not in name and _is(tree, folder + "/" + name, "folder"):
                ahead.append(folder + "/" + name)
    yield {"kind": "system", "fonts": sorted(families)}


def _local_zone(tree: Tree) -> str:
    """The zone of `/etc/localtime`, else of `/etc/timezone`; without both the C library takes UTC."""
    if _is(tree, "/etc/localtime", "file"):
        return _zone_of_file(tree, "/etc/localtime")
    try:
        named = tree.read("/etc/timezone", 4096).decode("ascii", "replace").strip()
    except OSError:
        named = ""
    return "UTC" if not named or named in _UTC else named


def _zone_of_file(tree: Tree, path: str) -> str:
    for place in (path, _resolved(tree, path)):
        _, mark, name = place.partition("/zoneinfo/")
        if mark:
            name = name[6:] if name.startswith(("posix/", "right/")) else name
            return "UTC" if name in _UTC else name
    try:
        # A TZif file ends in the rule that holds after its last transition, between two line feeds (RFC 8536, 3.3).
        rule = tree.read(path, 1 << 20).rpartition(b"\n")[0].rpartition(b"\n")[2].decode("ascii", "replace")
    except OSError:
        return ""
    return "UTC" if rule in _UTC else rule[:100]


def _zone_tables(tree: Tree) -> str:
    """The release of the tz database: its first line in `tzdata.zi` (`# version 2025b`), or the file `+VERSION`."""
    for path in (_ZONES + "/tzdata.zi", _ZONES + "/+VERSION"):
        try:
            with tree.open(path) as file:
                words = file.read(100).decode("ascii", "replace").partition("\n")[0].split()
        except OSError:
            continue
        if words and len(words[-1]) == 5 and words[-1][:4].isdigit():
            return words[-1]
    return ""


def _resolved(tree: Tree, path: str) -> str:
    try:
        return os.path.normpath(tree.resolve(path))
    except OSError:
        return path


def _is(tree: Tree, path: str, kind: str) -> bool:
    try:
        return tree.kind(path) == kind
    except OSError:
        return False
