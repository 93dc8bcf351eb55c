"""What a writer is given, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from envparity.errors import UsageError
from envparity.values import Lock, LockedWheel, Options, System, Target


@dataclass(frozen=True)
class ImageLayer:
    """One layer of an image: what it was planned for, and its blob."""

    title: str
    step: str
    digest: str
    diff_id: str
    size_bytes: int


@dataclass(frozen=True)
class ImageFacts:
    """What only an image knows, and no lock: its digest, its layers, and what was put in beside what is locked."""

    digest: str
    layers: tuple[ImageLayer, ...]
    options: Options


@dataclass(frozen=True)
class Contents:
    """
    A lock for one of its targets, and what is known of it from elsewhere.

    `name` is how people call it (`prod` of `pylock.prod.toml`), `folder` the one of its artifacts, relative to it.
    `system` is the release that the base is. `required` says of each distribution what it requires, where the snapshot
    beside the lock is there to tell, and `licences` what the metadata of each says of its licence. `written_at` stands
    in the text where somebody said a time, and no clock is asked. With `markers` each line has the condition under
    which the lock holds. `image` is there where an image that was made of the lock is described, and not the lock.
    """

    lock: Lock
    target: Target
    sha256: str
    name: str
    folder: str
    system: System
    required: Mapping[str, tuple[str, ...]] | None = None
    written_at: datetime | None = None
    markers: bool = False
    image: ImageFacts | None = None
    licences: Mapping[str, str] = field(default_factory=dict)

    def beside(self, file_name: str) -> str:
        """Where an artifact lies, from the folder of the lock."""
        return f"./{self.folder}/{file_name}"


@dataclass(frozen=True)
class Exported:
    """
    The text of a format; what the lock holds that the format cannot carry; and what the format can say, and nobody
    knows here.
    """

    text: str
    left_out: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def is_served(wheel: LockedWheel) -> bool:
    """Whether a wheel has an address; any other lies in the folder of artifacts."""
    return urlsplit(wheel.url).scheme in {"http", "https"}


def interpreter(contents: Contents) -> str:
    """The interpreter, as what an installer of distributions cannot bring."""
    found = contents.target.interpreter
    if found.artifact is None:
        return f"Python {found.version} of {contents.target.base}"
    return f"Python {found.version} ({contents.beside(found.artifact.name)})"


def require_conda(contents: Contents, form: str) -> None:
    """Raises UsageError where a format of conda packages is asked of a lock that has none."""
    if not contents.target.conda_packages:
        raise UsageError(
            f"the lock holds no conda package, and {form} is a list of them",
            hint="`--format requirements` is what pip installs; `--format environment` what conda can start from",
        )


def packages(contents: Contents) -> tuple[str, ...]:
    """How many packages of conda and of the operating system there are, if any."""
    return (*counted(len(contents.target.conda_packages), "conda package"), *os_packages(contents))


def os_packages(contents: Contents) -> tuple[str, ...]:
    """How many packages of the operating system there are, if any."""
    return counted(len(contents.target.held_packages), "OS package", f" of {contents.target.base}")


def counted(count: int, noun: str, more: str = "") -> tuple[str, ...]:
    """`2 settings`, `1 model`; nothing of none."""
    return (f"{count:,} {noun}{'s' if count > 1 else ''}{more}",) if count else ()
