"""
The application folder as entries: what a person meant to ship, and neither their secrets nor their history.

A container image is readable by everyone who can pull it, for ever: so a private key is refused, and what commonly
holds secrets is left out by name.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from envparity.codec import canonical
from envparity.errors import RefusedError, UsageError
from envparity.files import translated
from envparity.image.ignored import NAME as IGNORE_FILE
from envparity.image.ignored import ignored
from envparity.oci.entries import Entry, content_sha256, shown

PLACE = "opt/app"

SECRETS = frozenset(
    {
        ".env",
        ".envrc",
        ".netrc",
        ".pypirc",
        ".npmrc",
        ".pgpass",
        ".git-credentials",
        ".dockercfg",
        ".s3cfg",
        ".boto",
        "kaggle.json",
        "application_default_credentials.json",
        ".aws",
        ".azure",
        ".docker",
        ".gnupg",
        ".huggingface",
        ".kaggle",
        ".kube",
        ".ssh",
    }
)
"""Names of files and folders that tools keep logins and keys in."""

HISTORIES = frozenset({".git", ".hg", ".svn"})

LEFT_OUT = frozenset(
    {
        *SECRETS,
        *HISTORIES,
        ".venv",
        "venv",
        "__pycache__",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".tox",
        ".nox",
        ".ipynb_checkpoints",
        "node_modules",
        ".DS_Store",
    }
)
"""Names that never go into an image, wherever they lie in the folder."""

OWN = ("pylock.toml", "pylock.*.toml", "pylock.artifacts", "pylock.*.artifacts", ".pylock.*", "*.env.json")
"""What envparity itself writes: an image has its lock and the content of its snapshot, and names no training host."""

DOCKERFILE_MARKER = ".envparity-dockerfile.json"
"""The file by which a folder says that `envparity dockerfile` wrote it; it holds the application itself."""

MOST_FILES = 50_000

_STAGES = ".env.*"
"""What tools read beside `.env`, for one stage each."""

# RFC 7468 and what OpenSSH, GnuPG and cosign (two words before) make of it; PuTTY's and age's own.
PRIVATE_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-[0-9]: |AGE-SECRET-KEY-1"
)


def app_entries(folder: Path) -> list[Entry]:
    """
    The files of a folder below `/opt/app`, modes normalised, in order of their paths.

    Raises:
        UsageError: it is not a folder, or holds more files than anybody means to ship.
        UnreachableError: something in it may not be read.
        RefusedError: it holds a private key, a link that leads out of it, a name that is no UTF-8, or something that is
            no file; all are named.
    """
    try:
        if not folder.is_dir():
            raise UsageError(f"the application `{folder}` is not a folder")
        return _entries(folder)
    except OSError as error:
        raise translated(error, f"read the application `{error.filename or folder}`") from error


def _entries(folder: Path) -> list[Entry]:
    entries = [Entry(PLACE, "folder", 0o755)]
    problems = []
    root = folder.resolve()
    for place in _walk(folder)[0]:
        name = place.relative_to(folder).as_posix()
        if not _is_text(name):
            problems.append(f"{shown(name)}: a name that is not UTF-8")
            continue
        path = f"{PLACE}/{name}"
        if place.is_symlink():
            target = str(place.readlink())
            if not _is_text(target):
                problems.append(f"{name}: a link to a name that is not UTF-8")
                continue
            real = Path(os.path.realpath(place))  # `resolve` raises what is no OSError for a link to itself
            if real.is_symlink():
                problems.append(f"{name}: a link to `{target}`, which leads in a circle")
            elif not real.is_relative_to(root) or target.startswith("/"):
                problems.append(f"{name}: a link to `{target}`, which is not in the image")
            entries.append(Entry(path, "link", 0o777, target=target))
        elif place.is_dir():
            entries.append(Entry(path, "folder", 0o755))
        elif place.is_file():
            if holds_private_key(place):
                problems.append(f"{name}: a private key")
            mode = 0o755 if place.stat().st_mode & 0o100 else 0o644
            opened = functools.partial(_opened, place)
            entries.append(Entry(path, "file", mode, size_bytes=place.stat().st_size, content=opened))
        else:
            problems.append(f"{name}: not a regular file")
        if len(entries) > MOST_FILES:
            raise UsageError(f"the application `{folder}` holds more than {MOST_FILES:,} files")
    if problems:
        raise RefusedError(
            f"the application `{folder}` holds what must not be shipped",
            hint=f"move it out of the folder, or keep it out by a line in its `{IGNORE_FILE}`",
            details=tuple(problems),
        )
    return entries


def app_digest(folder: Path) -> str:
    """What identifies the content of an application folder: the sha256 over paths, kinds, modes and contents."""
    entries = app_entries(folder)
    try:
        return digest_of(entries, {entry.path: content_sha256(entry) for entry in entries})
    except OSError as error:
        raise translated(error, f"read the application `{error.filename or folder}`") from error


def digest_of(entries: Iterable[Entry], contents: Mapping[str, str]) -> str:
    """The same of entries, and the sha256 of their contents by path."""
    rows = [[entry.path, entry.kind, entry.mode, entry.target, contents.get(entry.path, "")] for entry in entries]
    return hashlib.sha256(canonical(rows)).hexdigest()


def left_out(folder: Path) -> str:
    """What of an application folder does not go into an image, as one line; "" where everything does."""
    places: dict[str, list[str]] = {}
    _, dropped, unwanted = _walk(folder)
    for place in dropped:
        places.setdefault(place.name, []).append(place.relative_to(folder).as_posix())
    listed = [
        f"`{shown(found[0])}`" if len(found) == 1 else f"`{shown(name)}` ({len(found)} places)"
        for name, found in sorted(places.items())
    ]
    if unwanted:
        listed.append(f"{unwanted:,} by `{IGNORE_FILE}`")
    return ", ".join(listed)


def _walk(folder: Path) -> tuple[list[Path], list[Path], int]:
    """
    What goes in, what never does, and how much `.dockerignore` keeps out; compiled modules (`*.pyc`) are of no
    interest and in neither.
    """
    ignore = ignored(folder)
    found, dropped, unwanted = [], [], 0
    kept_out: set[Path] = set()
    for parent, folders, names in os.walk(folder, onerror=_fail):
        out = {name for name in (*folders, *names) if _stays_out(Path(parent, name))}
        dropped += [Path(parent, name) for name in out]
        rest = [Path(parent, name) for name in (*folders, *names) if name not in out and not name.endswith(".pyc")]
        held = {place for place in rest if ignore.holds(place.relative_to(folder).as_posix())}
        unwanted += len(held)
        kept_out |= held
        passed = out if ignore.has_exceptions else out | {place.name for place in held}
        folders[:] = sorted(set(folders) - passed)
        found += [place for place in rest if place not in held]
    # Of a folder that stays out, an exception brings back what it names, and the folders above that.
    above = {parent for place in found for parent in place.parents} & kept_out
    return sorted({*found, *above}), sorted(dropped), unwanted - len(above)


def holds_secrets(name: str) -> bool:
    """Whether a file or folder of this name commonly holds logins or keys."""
    return name in SECRETS or fnmatch.fnmatchcase(name, _STAGES)


def _stays_out(place: Path) -> bool:
    name = place.name
    named = name in LEFT_OUT or holds_secrets(name) or any(fnmatch.fnmatchcase(name, pattern) for pattern in OWN)
    # An image that was built into this folder would make each build larger, and another one.
    written = (place / "oci-layout").is_file() or (place / DOCKERFILE_MARKER).is_file()
    # By this file Python knows a virtual environment (PEP 405): one of this machine, whatever its folder is called.
    environment = (place / "pyvenv.cfg").is_file()
    return named or written or environment or _is_archive_of_an_image(place) or _is_lock_of_ours(place)


def _is_archive_of_an_image(place: Path) -> bool:
    """Whether a file is a tar that begins as `docker save` and its like write one, whatever it is called."""
    if place.suffix != ".tar" or place.is_symlink() or not place.is_file():
        return False
    with place.open("rb") as stream:
        head = stream.read(512)
    first = head[:100].rstrip(b"\0").decode("ascii", "replace")
    return head[257:262] == b"ustar" and _OF_AN_IMAGE.match(first) is not None


_OF_AN_IMAGE = re.compile(r"(\./)?(blobs(/.*)?|oci-layout|index\.json|manifest\.json|[0-9a-f]{64}(/.*|\.json))$")


def _is_lock_of_ours(place: Path) -> bool:
    """`.image.lock`, by which two builds into `image` wait for each other."""
    return fnmatch.fnmatchcase(place.name, ".*.lock") and place.is_file() and place.stat().st_size == 0


def _fail(error: OSError) -> None:
    # Without this a folder that may not be read is passed over, and the image lacks it in silence.
    raise error


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def holds_private_key(place: Path) -> bool:
    """Whether a file has a private key in it."""
    # Keys are small; a model or a data set is not read for this.
    with place.open("rb") as stream:
        return place.stat().st_size < 1 << 20 and PRIVATE_KEY.search(stream.read()) is not None


def _opened(place: Path) -> BinaryIO:
    return place.open("rb")
