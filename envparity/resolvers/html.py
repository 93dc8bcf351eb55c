"""The links of an index's HTML page (PEP 503, https://packaging.python.org/specifications/simple-repository-api/)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import unquote

from envparity.errors import MalformedError

_VERSION = "pypi:repository-version"
_FILES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".egg", ".tgz", ".exe", ".tar.xz", ".rpm", ".dmg", ".deb", ".msi")
_EMPTY = re.compile(rb"links for", re.IGNORECASE)
"""What every index that is in use writes above its list, and so over one without a file."""


@dataclass(frozen=True)
class Anchor:
    """One link: what it leads to, its attributes (`""` of one without a value), and the name of the file."""

    href: str
    text: str
    attributes: dict[str, str]


def listed(body: bytes, kind: str, where: str) -> tuple[str, str, list[Anchor]]:
    """
    The version that the page states, the address that its links are relative to, and the links to files.

    Raises:
        MalformedError: it is no page of an index: a sign-in page, or what a captive portal answers in its place.
    """
    reader = _Reader()
    # "the page MUST be … valid HTML5": UTF-8 unless it says otherwise, and a file's name is ASCII in any case.
    reader.feed(body.decode("utf-8", errors="replace"))
    reader.close()
    files = [anchor for anchor in reader.anchors if anchor.text.lower().endswith(_FILES)]
    says_so = bool(reader.version) or kind.endswith("+html") or _EMPTY.search(body)
    if not files and not says_so:
        raise MalformedError(
            f"the answer at {where} is a page of HTML without a link to any file, and not what an index gives",
            hint="a captive portal or a sign-in page may stand in between: open the address in a browser; `--index`"
            " takes the root of a simple index, which often ends with /simple/",
        )
    return reader.version, reader.base, files


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.version = ""
        self.base = ""
        self.anchors: list[Anchor] = []
        self._open: dict[str, str] | None = None
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self._end()
            self._open, self._text = {name: value or "" for name, value in attrs}, []
        elif tag == "base" and not self.base:
            self.base = dict(attrs).get("href") or ""
        elif tag == "meta" and dict(attrs).get("name") == _VERSION:
            self.version = dict(attrs).get("content") or ""

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._end()

    def close(self) -> None:
        super().close()
        self._end()

    def _end(self) -> None:
        given, self._open = self._open, None
        if given is None or not given.get("href"):
            return
        text = "".join(self._text).strip()
        if not text.lower().endswith(_FILES):
            # "The text of the anchor tag MUST match the final path component (the filename) of the URL": where it does
            # not, the address has the name.
            text = unquote(re.split(r"[#?]", given["href"])[0].rpartition("/")[2])
        self.anchors.append(Anchor(given["href"], text, given))
