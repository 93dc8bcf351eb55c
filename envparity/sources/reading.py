"""What every reader of a source is given, and the facts that all of them state alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from envparity import __version__, errors
from envparity.collectors.tree import gap
from envparity.collectors.urls import public_url

if TYPE_CHECKING:
    from envparity.values import Origin

Fact = Mapping[str, Any]


@dataclass(frozen=True)
class Options:
    """
    How to read. `environ` is the environment of envparity's own process, which only its caller may look up; `stdin`
    is what `-` reads; relative paths start at `base_dir`. `own_prefix` is where envparity itself is installed, so that
    it never takes a tool runner's environment for the user's. With `deep` a live target is started once more, with its
    own site and `environ`, and imports its numeric libraries and the modules `wanted`. `offline` asks nobody on the
    network; `insecure` believes a registry on this machine whatever its certificate says.

    What a file declares for several cases is selected for the stated target: `platform` (`linux/amd64`),
    `python_version`, and the `extras` and `groups` that were asked for. An empty text, or `None`, is a target that
    nobody stated; an empty tuple asks for no extras at all. `shared` means that the same target is stated for several
    sources, so that one of them may know nothing of its extras.
    """

    environ: Mapping[str, str] = field(default_factory=dict)
    stdin: BinaryIO | None = None
    base_dir: Path = Path()
    own_prefix: Path | None = None
    verify_files: bool = False
    timeout_s: float = 60.0
    deep: bool = False
    wanted: tuple[str, ...] = ()
    platform: str = ""
    python_version: str = ""
    implementation: str = ""
    extras: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    shared: bool = False
    offline: bool = False
    insecure: bool = False


_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]+")


def without_secrets(text: str) -> str:
    """A text in which every address is as it may be recorded and shown."""
    return _ADDRESS.sub(lambda found: public_url(found[0]), text)


def excerpt(text: str) -> str:
    """The beginning of a text of a source, as an error may show it: no secrets, and nothing that a terminal obeys."""
    return errors.excerpt(without_secrets(errors.plain(text)))


def origin(kind: str, reference: str) -> Origin:
    """Where an Environment comes from, as of now (UTC, ISO 8601)."""
    from envparity.values import Origin

    now = datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    return Origin(kind=kind, reference=reference, taken_at=now, tool=f"envparity {__version__}")


def image_origin(digest: str, reference: str) -> Origin:
    """The same of an image: the reference without its own digest, and the digest that was found."""
    return origin("image", f"{reference.partition('@sha256:')[0]}@{digest}")


def not_recorded(sections: Iterable[str], reason: str) -> Iterator[Fact]:
    """One gap a section that this kind of source cannot carry."""
    return (gap(section, "not-recorded", reason) for section in sections)


def all_but(*known: str) -> tuple[str, ...]:
    """The sections of this schema that a reader does not fill."""
    from envparity.values import SECTIONS

    return tuple(section for section in SECTIONS if section not in known)
