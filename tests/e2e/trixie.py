"""Programs of Debian 13 that this machine may not have in that version: unpacked into a folder, and not installed."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from envparity.cache import Cache
from envparity.errors import UnreachableError
from envparity.fetch import Fetcher, Wanted
from envparity.network import Client
from envparity.resolvers import archives, package_lists
from tests.tools import needs_tool, not_here

_PACKAGES = ("cosign", "skopeo", "libc6", "libgpgme11t64", "libgpg-error0", "libassuan9", "libsqlite3-0")
_LIBRARIES = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True)
class Tools:
    """How to start each of them, by the C library that it was built for."""

    folder: Path

    def command(self, name: str) -> list[str]:
        libraries = self.folder / _LIBRARIES
        loader = [str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries)]
        return [*loader, str(self.folder / "usr/bin" / name)]


def unpack(folder: Path) -> None:
    """Fetch them from the archive, by what its signed index says, and unpack them."""
    unpacker = needs_tool("dpkg-deb")
    with Client() as client:
        fetcher = Fetcher(client, Cache())
        try:
            index = package_lists.read_index("debian:trixie", fetcher)
            files = fetcher.blobs([_wanted(index, name) for name in _PACKAGES])
        except UnreachableError as error:
            not_here(f"the archive of debian:trixie cannot be reached ({error})")
    for file in files:
        subprocess.run([unpacker, "-x", str(file), str(folder)], check=True)


def _wanted(index: package_lists.Index, name: str) -> Wanted:
    newest = index.candidates(name)[0]
    fields = newest.fields
    address = f"{archives.mirror_of(newest.suite.archive)}/{fields['Filename']}"
    return Wanted(name, (address,), fields["SHA256"], int(fields["Size"]))
