"""What a package index says of one project: the simple repository API, read strictly."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin

import msgspec

from envparity.errors import MalformedError, UnsupportedError
from envparity.network import printable

if TYPE_CHECKING:
    from envparity.network import Response

JSON = "application/vnd.pypi.simple.v1+json"


class IndexFile(msgspec.Struct, frozen=True, rename="kebab"):
    """One file as the index lists it; `yanked` is a reason, true without one, or false."""

    filename: str
    url: str
    hashes: dict[str, str]
    requires_python: str | None = None
    yanked: bool | str = False
    size: int | None = None


class _Meta(msgspec.Struct, frozen=True, rename="kebab"):
    api_version: str = ""


class Page(msgspec.Struct, frozen=True):
    """All that an index lists of one project."""

    name: str
    files: tuple[IndexFile, ...]
    meta: _Meta


def page(response: Response, name: str) -> Page:
    """The index's answer, read strictly."""
    where = printable(response.url)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in {"text/html", "application/vnd.pypi.simple.v1+html"}:
        raise UnsupportedError(
            f"the index answers with HTML at {where}, and only its JSON interface (PEP 691) is supported so far",
            hint="put an index with a JSON interface before it (devpi, Artifactory and Nexus of 2024 on have one)",
        )
    try:
        found = msgspec.json.decode(response.body, type=Page)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(f"the index's answer at {where} is not what PEP 691 says: {error}") from error
    # "clients … MUST fail … if the major version is not one that is understood" (simple repository API, versioning)
    if found.meta.api_version.partition(".")[0] != "1":
        raise UnsupportedError(
            f"the index at {where} speaks version {found.meta.api_version or 'unknown'} of its interface; known is 1.x",
            hint="a newer envparity may know it; `--index` names another index",
        )
    from packaging.utils import canonicalize_name

    if canonicalize_name(found.name) != name:
        raise MalformedError(f"the index answers at {where} with the files of `{found.name}`, not of `{name}`")
    return found


def joined(page_url: str, url: str) -> str:
    """A file's address, which may be relative to that of its page; one that is no address stays as it is."""
    try:
        return urljoin(page_url, url)
    except ValueError:  # a bracket that is not closed
        return url


def yanked(value: bool | str) -> str | None:
    """PEP 592: "a non-empty string … the reason"; true, or an empty string in HTML's tradition, gives none."""
    if value is False:
        return None
    return value if isinstance(value, str) and value.strip() else "no reason given"
