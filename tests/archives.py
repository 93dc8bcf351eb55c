"""A small signed archive of OS packages on the loopback, made here: every list, signature and package is a real one."""

from __future__ import annotations

import gzip
import hashlib
import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache

from pysequoia import SignatureMode, Tsk, sign

from envparity.resolvers import archives
from envparity.resolvers.signed import Archive
from tests.serving import Answer, plain, serving

_PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "xz": lzma.compress}

MONDAY = datetime(2026, 11, 23, 8, tzinfo=UTC)


@cache
def key(name: str) -> Tsk:
    """A key by its name; the same one each time."""
    return Tsk.generate(f"{name} <archive@example.org>")


def fingerprint(name: str) -> str:
    return key(name).extract_certificate().fingerprint.upper()


@dataclass
class SmallArchive:
    """
    All suites of a base at one address, with the packages of the table and one version of each. `routes` is what is
    served, for a test to damage; `known` what `package_lists.read_index` is told of it.
    """

    base: str
    architecture: str
    url: str
    routes: dict[str, list[Answer]]
    asked: list[str]
    signer: str = "ours"
    forms: tuple[str, ...] = ("xz",)
    packer: dict[str, Callable[[bytes], bytes]] = field(default_factory=lambda: dict(_PACK))
    packages: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def row(self) -> archives.Release:
        return archives.release(self.base).of(self.architecture)

    @property
    def mirrors(self) -> dict[str, str]:
        return {suite.archive: f"{self.url}/{suite.archive}" for suite in self.row.suites}

    @property
    def known(self) -> dict[str, Archive]:
        certificate = str(key("ours").extract_certificate()).encode()
        return {
            name: Archive(name, "http://unused.invalid", certificate, (fingerprint("ours"),)) for name in self.mirrors
        }

    def package(self, suite: str, name: str, version: str, data: bytes = b"", **more: str) -> None:
        """Put a package into a suite; `data` is its file."""
        data = data or f"{name} {version}".encode()
        file = f"pool/main/{name[0]}/{name}/{name}_{version.replace(':', '%3a')}_{self.architecture}.deb"
        fields = {
            "Package": name,
            "Version": version,
            "Architecture": self.architecture,
            "Filename": file,
            "Size": str(len(data)),
            "SHA256": hashlib.sha256(data).hexdigest(),
            **{key.replace("_", "-"): value for key, value in more.items()},
        }
        stanza = "".join(f"{name}: {value}\n" for name, value in fields.items()).encode()
        self.packages.setdefault(suite, {})[f"{name} {version}"] = stanza
        archive = next(each.archive for each in self.row.suites if each.name == suite)
        self.routes[f"/{archive}/{file}"] = [plain(data)]

    def publish(self, date: datetime = MONDAY, valid_until: datetime | None = None) -> None:
        """Sign the lists as they are."""
        for suite in self.row.suites:
            text = b"\n".join(self.packages.get(suite.name, {}).values())
            packed = {f".{form}": self.packer[form](text) for form in self.forms}
            path = f"main/binary-{self.architecture}/Packages"
            lines = [
                f"Suite: {suite.name}",
                f"Codename: {suite.name}",
                f"Date: {format_datetime(date, usegmt=True).replace('GMT', 'UTC')}",
                *([f"Valid-Until: {format_datetime(valid_until, usegmt=True)}"] if valid_until else []),
                "SHA256:",
                *(
                    f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}"
                    for name, data in ((path, text), *((f"{path}{form}", data) for form, data in packed.items()))
                ),
            ]
            signed = sign(key(self.signer).signer(), "\n".join(lines).encode() + b"\n", mode=SignatureMode.CLEAR)
            folder = f"/{suite.archive}/dists/{suite.name}"
            self.routes[f"{folder}/InRelease"] = [plain(signed)]
            for form, data in packed.items():
                self.routes[f"{folder}/{path}{form}"] = [plain(data)]

    def place(self, suite: str, file: str = "InRelease") -> str:
        """Where a file of a suite is served, for `routes`."""
        archive = next(each.archive for each in self.row.suites if each.name == suite)
        return f"/{archive}/dists/{suite}/{file}"


@contextmanager
def small_archive(base: str = "debian:bookworm", architecture: str = "amd64") -> Iterator[SmallArchive]:
    """An archive with every seed of a base, published on a Monday."""
    routes: dict[str, list[Answer]] = {}
    with serving(routes) as served:
        made = SmallArchive(base, architecture, served.url.rstrip("/"), routes, served.asked)
        suite = made.row.suites[0].name
        for name in (*made.row.seeds, *made.row.python):
            made.package(suite, name, f"{made.row.python_version}.2-1" if name.startswith("python") else "1.0-1")
        made.publish()
        yield made
