"""Alpine packages, from apk's own database."""

from __future__ import annotations

from typing import Iterator

from envparity.collectors.shapes import Fact, Tree
from envparity.collectors.tree import gap, why

APK_DATABASES = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")
_APK_LIMIT = 64 << 20


def apk_packages(tree: Tree) -> Iterator[Fact]:
    """
    Observe the installed packages of Alpine: one stanza each, `P:` name, `V:` version, `A:` architecture, `o:` origin
    (https://wiki.alpinelinux.org/wiki/Apk_spec). A stanza without name or version, as a cut file ends with, is a gap.
    """
    seen = set()
    for path in APK_DATABASES:
        try:
            if tree.kind(path) is None or tree.resolve(path) in seen:
                continue
            seen.add(tree.resolve(path))
            text = tree.read(path, _APK_LIMIT).decode("utf-8", "replace").replace("\r\n", "\n")
        except OSError as error:
            yield gap("os_packages", "unread", why(error), path)
            continue
        for stanza in text.split("\n\n"):
            fields = {line[0]: line[2:] for line in stanza.split("\n") if line[:2] in ("P:", "V:", "A:", "o:")}
            name = fields.get("P", "")
            if not stanza.strip():
                continue
            if not name or not fields.get("V"):
                reason = "a stanza without %s: %r" % ("version" if name else "name", stanza.strip()[:60])
                yield gap("os_packages", "unread", reason, name or path)
                continue
            yield {
                "kind": "os-package",
                "name": name,
                "version": fields["V"],
                "architecture": fields.get("A", ""),
                "manager": "apk",
                "source": fields.get("o", ""),
            }
