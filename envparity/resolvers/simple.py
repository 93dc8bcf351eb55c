"""What a package index says of one project: the simple repository API, read strictly."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin

import msgspec

from envparity.errors import MalformedError, UnsupportedError
from envparity.network import printable
from envparity.resolvers import html

if TYPE_CHECKING:
    from envparity.network import Response

JSON = "application/vnd.pypi.simple.v1+json"

ACCEPT = f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
"""What to ask for: JSON first, and HTML of an index that has nothing else (PEP 691, content negotiation)."""


class IndexFile(msgspec.Struct, frozen=True, rename="kebab"):
    """
    One file as the index lists it; `yanked` is a reason, true without one, or false. `core_metadata` (PEP 658, under
    the name of PEP 714) has the hashes of the METADATA that lies beside it, or says whether there is one; `provenance`
    is where its attestations are (PEP 740).
    """

    filename: str
    url: str
    hashes: dict[str, str]
    requires_python: str | None = None
    yanked: bool | str = False
    size: int | None = None
    core_metadata: bool | dict[str, str] = False
    provenance: str | None = None


class _Meta(msgspec.Struct, frozen=True, rename="kebab"):
    api_version: str = ""


class Page(msgspec.Struct, frozen=True):
    """All that an index lists of one project; the addresses are relative to `base`, and that to the page."""

    name: str
    files: tuple[IndexFile, ...]
    meta: _Meta
    base: str = ""


HTML = frozenset({"text/html", "application/vnd.pypi.simple.v1+html", "application/xhtml+xml"})


def page(response: Response, name: str) -> Page:
    """
    The index's answer: JSON (PEP 691), or HTML (PEP 503).

    Raises:
        MalformedError: it is neither, or of another project. UnsupportedError: of a later version of the interface.
    """
    where = printable(response.url)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in HTML:
        version, base, files = html.listed(response.body, kind, where)
        _require_version(version or "1.0", where)
        return Page(name, tuple(map(_file, files)), _Meta(version), base)
    try:
        found = msgspec.json.decode(response.body, type=Page)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(f"the index's answer at {where} is not what PEP 691 says: {error}") from error
    _require_version(found.meta.api_version, where)
    from packaging.utils import canonicalize_name

    if canonicalize_name(found.name) != name:
        raise MalformedError(f"the index answers at {where} with the files of `{found.name}`, not of `{name}`")
    return found


def _require_version(version: str, where: str) -> None:
    # "clients … MUST fail … if the major version is not one that is understood" (simple repository API, versioning)
    if version.partition(".")[0] != "1":
        raise UnsupportedError(
            f"the index at {where} speaks version {version or 'unknown'} of its interface; known is 1.x",
            hint="a newer envparity may know it; `--index` names another index",
        )


def _file(anchor: html.Anchor) -> IndexFile:
    """A link of the HTML page as the JSON has it. Of an attribute without a value, what it says is true."""
    given = anchor.attributes
    url, _, fragment = anchor.href.partition("#")
    algorithm, _, digest = fragment.partition("=")
    # PEP 714: "clients … MUST use data-core-metadata if it is present", and the older name where it is not.
    beside = given.get("data-core-metadata", given.get("data-dist-info-metadata"))
    metadata: bool | dict[str, str] = beside is not None and beside != "false"
    if beside and "=" in beside:
        metadata = dict([beside.split("=", 1)])
    return IndexFile(
        filename=anchor.text,
        url=url,
        hashes={algorithm: digest} if digest else {},
        requires_python=given.get("data-requires-python") or None,
        yanked=given.get("data-yanked", False),
        core_metadata=metadata,
        provenance=given.get("data-provenance") or None,
    )


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
