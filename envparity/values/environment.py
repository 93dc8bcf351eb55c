"""
What is known of one runtime: an Environment and its sections.

A section that a source cannot know is `None`, never empty; a `Gap` says why.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

SCHEMA = 1

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
"""Lower-case hexadecimal digest of some bytes."""

Digest = Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$", max_length=71)]
"""The same as OCI writes it. `diff_id` is the digest of the uncompressed layer, `digest` that of the stored blob."""

Size = Annotated[int, Meta(ge=0, le=2**53)]
"""A number of bytes; JSON cannot carry more exactly."""


class Basis(StrEnum):
    """How a fact is known. `>=1.26` against `1.26.4` is satisfied, not equal."""

    DECLARED = "declared"
    LOCKED = "locked"
    INSTALLED = "installed"
    LOADED = "loaded"


class GapKind(StrEnum):
    """
    `not recorded`: this kind of source cannot carry the fact. `unread`: it should be there, but could not be read;
    the Environment is then not complete.
    """

    NOT_RECORDED = "not-recorded"
    UNREAD = "unread"


class Gap(Struct, frozen=True, order=True, omit_defaults=True):
    """What is not known, of which section (and item of it), and why."""

    section: str
    kind: GapKind
    reason: str
    item: str = ""


class Origin(Struct, frozen=True, omit_defaults=True):
    """Where an Environment was read from, when, and by what. Recorded, never a difference."""

    kind: str
    reference: str = ""
    taken_at: str = ""
    tool: str = ""


class File(Struct, frozen=True, omit_defaults=True):
    """One file of a live place, named so that `lock` can tell whether it is still the one that was seen."""

    path: str
    sha256: Sha256


class Python(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The interpreter. A declared one (`requires-python`) has a `specifier` and no `version`."""

    basis: Basis = Basis.INSTALLED
    version: str = ""
    specifier: str = ""
    implementation: str = ""
    build: str = ""
    compiler: str = ""
    soabi: str = ""
    debug: bool | None = None
    free_threaded: bool | None = None
    provenance: str = ""
    platform_tags: tuple[str, ...] = ()
    prefix: str = ""
    base_prefix: str = ""
    executable: File | None = None
    libpython: File | None = None
    stdlib: str = ""
    path: tuple[str, ...] = ()


class Distribution(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    One Python distribution: `name` is PEP 503 normalised, `version` the exact string of its metadata.

    `record_sha256` is the digest of the normalised RECORD (what identifies the wheel). `shadowed` means that an earlier
    entry of the path wins the import. `tooling` means that only envparity itself needs it. `modified` and `missing`
    are filled by `--verify-files` alone; `None` means that nobody looked.
    """

    name: str
    basis: Basis = Basis.INSTALLED
    version: str = ""
    specifier: str = ""
    marker: str = ""
    extras: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    form: str = ""
    location: str = ""
    installer: str = ""
    requested: bool | None = None
    direct_url: str = ""
    editable: bool = False
    wheel_tags: tuple[str, ...] = ()
    wheel_build: str = ""
    record_sha256: Sha256 | None = None
    import_names: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    requires_python: str = ""
    shadowed: bool = False
    tooling: bool = False
    modified: tuple[str, ...] | None = None
    missing: tuple[str, ...] | None = None


class OsPackage(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One package of the operating system, as its own database names it."""

    name: str
    version: str
    architecture: str = ""
    manager: str = "dpkg"
    source: str = ""


class System(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an image carries of the operating system. `machine` is as `uname -m` says it (`x86_64`)."""

    os: str = ""
    machine: str = ""
    id: str = ""
    version_id: str = ""
    codename: str = ""
    name: str = ""
    libc: str = ""
    libc_version: str = ""


class Host(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an image does not carry. It is never part of the content digest."""

    kernel: str = ""
    cores: int | None = None
    memory_bytes: Size | None = None


class Cpu(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The processor that the numbers were computed on. `isa_level` is `x86-64-v1` … `x86-64-v4` where it applies."""

    vendor: str = ""
    model: str = ""
    isa_level: str = ""
    flags: tuple[str, ...] = ()


class Variable(Struct, frozen=True, order=True):
    """One environment variable that may be recorded with its value (the list is data: `collectors/variables.py`)."""

    name: str
    value: str


class Settings(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Environment variables: those on the list with their value, all others by name only."""

    variables: tuple[Variable, ...] = ()
    names_only: tuple[str, ...] = ()


class Artifact(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    A file that the environment was made for. Of a model, what its own bytes say it needs, read and never executed.

    `classes` are `module:qualname`; `modules` are the modules they live in; `versions` what the file itself says
    it was written by, as pairs of distribution and version.
    """

    kind: str = "model"
    name: str
    size_bytes: Size
    sha256: Sha256
    format: str = ""
    path: str = ""
    modules: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    versions: tuple[tuple[str, str], ...] = ()


class Environment(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is known of one runtime. `open` means that what it does not list may still be there (a declared source)."""

    schema: int = SCHEMA
    origin: Origin
    python: Python | None = None
    system: System | None = None
    host: Host | None = None
    cpu: Cpu | None = None
    distributions: tuple[Distribution, ...] | None = None
    os_packages: tuple[OsPackage, ...] | None = None
    settings: Settings | None = None
    artifacts: tuple[Artifact, ...] | None = None
    open: bool = False
    gaps: tuple[Gap, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything that should be there could be read. Derived, so that the two cannot disagree."""
        return not any(gap.kind is GapKind.UNREAD for gap in self.gaps)


SECTIONS = ("python", "system", "host", "cpu", "distributions", "os_packages", "settings", "artifacts")
"""The sections of an Environment, in the order in which a person reads them."""

LATER_SECTIONS = ("conda_packages", "native_libraries", "accelerators", "numerics", "source_code")
"""Sections that no collector reads yet: every source has a gap for them, so that silence is never taken for parity."""
