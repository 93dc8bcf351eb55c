"""What a package index says of one project: the simple repository API, read strictly."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import msgspec

from envparity.errors import MalformedError, UnsupportedError
from envparity.network import printable

if TYPE_CHECKING:
    from packaging.version import Version

    from envparity.network import Response
    from envparity.resolvers import html

JSON = "application/vnd.pypi.simple.v1+json"

ACCEPT = f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
"""What to ask for: JSON first, and HTML of an index that has nothing else (PEP 691, content negotiation)."""


class IndexFile(msgspec.Struct, frozen=True, rename="kebab"):
    """
    One file as the index lists it; `yanked` is a reason, true without one, or false. `core_metadata` (PEP 658, under
    the name of PEP 714; `dist_info_metadata` is the older one) has the hashes of the METADATA that lies beside it, or
    says whether there is one; `provenance` is where its attestations are (PEP 740).
    """

    filename: str
    url: str
    hashes: dict[str, str]
    requires_python: str | None = None
    yanked: bool | str = False
    size: int | None = None
    core_metadata: bool | dict[str, str] | None = None
    dist_info_metadata: bool | dict[str, str] | None = None
    provenance: str | None = None

    @property
    def metadata_sha256(self) -> str:
        """Of the METADATA that lies beside the file, at its address with `.metadata` behind it; empty if unknown."""
        # PEP 714: "if the new key is present it MUST be used", and the older one where it is not.
        told = self.dist_info_metadata if self.core_metadata is None else self.core_metadata
        sha256 = told.get("sha256", "").lower() if isinstance(told, dict) else ""
        return sha256 if re.fullmatch("[0-9a-f]{64}", sha256) else ""


class _Meta(msgspec.Struct, frozen=True, rename="kebab"):
    api_version: str = ""


class Page(msgspec.Struct, frozen=True):
    """All that an index lists of one project; the addresses are relative to `base`, and that to the page."""

    name: str
    files: tuple[IndexFile, ...]
    meta: _Meta
    base: str = ""


HTML = frozenset({"text/html", "application/vnd.pypi.simple.v1+html", "application/xhtml+xml"})


class _Name(msgspec.Struct, frozen=True, gc=False):
    filename: str


class _Names(msgspec.Struct, gc=False):
    name: str
    files: list[_Name]  # as a tuple it takes half as long again
    meta: _Meta


class _Raw(msgspec.Struct, gc=False):
    files: list[msgspec.Raw]


def page(response: Response, name: str, version: Version | None = None) -> Page:
    """
    The index's answer: JSON (PEP 691), or HTML (PEP 503). Of a `version`, its files alone, and perhaps some others: a
    page may list thousands, and what it says of the rest is then not looked at.

    Raises:
        MalformedError: it is neither, or of another project. UnsupportedError: of a later version of the interface.
    """
    where = printable(response.url)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in HTML:
        from envparity.resolvers import html

        api, base, files = html.listed(response.body, kind, where)
        _require_version(api or "1.0", where)
        may_be = _spelling(version) if version is not None else bool
        return Page(name, tuple(_file(each) for each in files if may_be(each.text)), _Meta(api), base)
    try:
        found = _whole(response.body) if version is None else _part(response.body, version)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(f"the index's answer at {where} is not what PEP 691 says: {error}") from error
    _require_version(found.meta.api_version, where)
    from packaging.utils import canonicalize_name

    if canonicalize_name(found.name) != name:
        raise MalformedError(f"the index answers at {where} with the files of `{found.name}`, not of `{name}`")
    return found


def _whole(body: bytes) -> Page:
    return msgspec.json.decode(body, type=Page)


def _part(body: bytes, version: Version) -> Page:
    """The same of the files that can be of a version."""
    found = msgspec.json.decode(body, type=_Names)
    may_be = _spelling(version)
    places = [place for place, each in enumerate(found.files) if may_be(each.filename)]
    if not places:
        return Page(found.name, (), found.meta)
    rows = msgspec.json.decode(body, type=_Raw).files
    try:
        files = tuple(msgspec.json.decode(rows[place], type=IndexFile) for place in places)
    except msgspec.ValidationError:
        return _whole(body)  # whose error names the place in the page
    return Page(found.name, files, found.meta)


def _spelling(version: Version) -> Callable[[str], bool]:
    """
    Whether a file may be of a version, by its name, however that spells it: `1.0` may be `v01`, and `1.0.0.post1` be
    `1-1` (PEP 440). So only the numbers of the release are looked at; files of some other versions have them too.
    """
    numbers = [str(number) if number else "" for number in version.release]
    while numbers and not numbers[-1]:
        numbers.pop()
    longest = max(numbers, key=len, default="")
    # Zeros in front of a number say nothing, nor do those behind the last one: `1.02.0` is `1.2`.
    spelled = r"\.".join(f"0*{number}" if number else "0+" for number in numbers) or "0+"
    search = re.compile(rf"-[vV]?(?:[0-9]+!)?{spelled}(?:\.0+)*(?!\.?[0-9])").search

    def may_be(name: str) -> bool:
        return longest in name and search(name) is not None

    return may_be


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
