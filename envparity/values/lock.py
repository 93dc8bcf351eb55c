"""What is locked: the exact, hashed contents of an image."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from envparity.values.environment import SCHEMA
from envparity.values.scalars import Sha256, Size, Variable

_PART = r"(?!\.{1,2}(?:/|\Z))[^/\x00-\x1f\x7f]+"

FileName = Annotated[str, Meta(pattern=rf"\A{_PART}\Z")]
"""The name of a file in some folder: it leads nowhere else."""

AbsolutePath = Annotated[str, Meta(pattern=rf"\A(?:/{_PART})+\Z")]
"""A path from the root, without `..` in it."""

RelativePath = Annotated[str, Meta(pattern=rf"\A(?:{_PART}(?:/{_PART})*)?\Z")]
"""A path without `..` in it, from where the lock lies; empty where there is none."""

PoolPath = Annotated[str, Meta(pattern=rf"\A(?!.*[\s?#\\]){_PART}(?:/{_PART})*\Z")]
"""A path below a mirror: relative, without `..`, and nothing that would end it in a URL."""

PythonVersion = Annotated[str, Meta(pattern=r"\A[0-9]+\.[0-9]+(?:\.[0-9]+)?[A-Za-z0-9.+]*\Z")]
"""As `platform.python_version()` says it: `3.11.7`, `3.14.0rc1`."""

Platform = Annotated[str, Meta(pattern=r"\A[a-z0-9]+/[a-z0-9]+(?:/[a-z0-9]+)?\Z")]
"""`linux/amd64`, as OCI images name it."""

Line = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f]+\Z")]
"""Text on one line."""


STATES = (
    *("modified", "unmatched", "local-build", "resolved", "declared", "repacked", "counterpart", "matched", "proven"),
    *("updated", "added"),
)
"""
How well it is known which file a distribution was installed from, worst first.

`modified`: installed files are not what RECORD says. `unmatched`: no file of the index is the one. `local-build`: it
never came from an index (editable, version control, an sdist built here). `resolved`: nobody pins it, and a resolver
chose it. `declared`: a file pins it, and nothing says that it was ever installed. `repacked`: one of the first three,
locked as a wheel that was made of it here. `counterpart`: the wheel of the same version for another platform or Python
than the training's. `matched`: tags, version and build point to one file. `proven`: that file has the RECORD of the
installed files too. The last two did not train the model, and were asked for: `updated` is one that was moved on
purpose, `added` one that goes beside.
"""


class Proof(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    The state of one distribution. `file` is the wheel that it is locked as; where there is none, `reason` says why,
    `remedy` what settles it, and `command` what to type for that.
    """

    name: str
    version: str
    state: str
    file: str = ""
    reason: str = ""
    remedy: str = ""
    command: str = ""


class LockedWheel(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    One wheel file: its name, where it is served, its size and digest. One that lies in the folder of artifacts has a
    `path`, relative to the lock; one that no index serves has nothing else.
    """

    name: FileName
    url: Line = ""
    path: RelativePath = ""
    size_bytes: Size
    sha256: Sha256


class RecordRow(Struct, frozen=True, order=True, omit_defaults=True, kw_only=True):
    """One row of an installed RECORD, as it stood there."""

    path: Line
    hash: str = ""
    size: str = ""


class Repacked(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    What a wheel was made of that no index serves. `origin` is `installed` (the files that lay where the model was
    trained), `vcs` (the same, of what was installed from the commit `commit` of `url`) or `editable` (built from the
    project's folder: `url` is that of its repository, and `dirty` whether the folder differed from `commit`).

    `changed` are the rows of the installed RECORD that its files had not kept. With these in the place of its own, the
    RECORD of the wheel normalises to the one that the snapshot knows.
    """

    origin: str
    url: str = ""
    commit: str = ""
    dirty: bool | None = None
    changed: tuple[RecordRow, ...] = ()


class Added(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    Why something is locked that did not train the model: the requirements that led to it, and the version `before` that
    did, where it was moved on purpose.
    """

    asked_by: tuple[Line, ...]
    before: str = ""


class Counterpart(Struct, frozen=True, order=True, omit_defaults=True, kw_only=True):
    """The file of a wheel that a platform has in the place of the one that trained the model."""

    platform: Platform
    wheel: FileName


class LockedDistribution(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    One distribution and its exact wheels, one or more: a file serves each platform whose tags it carries. `marker` is
    the condition under which it is installed at all; empty: always. `state` says how we know that it is this one, as
    `STATES` has it; `repacked`, of what a wheel was made that was made here. `provenance` is where the index has
    the attestations of these files (PEP 740), one address for each file that has any. `added` says why it is there,
    where it did not train the model.

    The first wheel is the one that the state speaks of. `counterparts` say which of the others another platform gets;
    one that is not named there gets the first.
    """

    name: str
    version: str
    wheels: Annotated[tuple[LockedWheel, ...], Meta(min_length=1)]
    state: str
    marker: str = ""
    index: str = ""
    requires_python: str = ""
    import_names: tuple[str, ...] = ()
    yanked: str | None = None
    repacked: Repacked | None = None
    provenance: tuple[Line, ...] = ()
    added: Added | None = None
    counterparts: tuple[Counterpart, ...] = ()

    @property
    def wheel(self) -> LockedWheel:
        """The one wheel of a distribution that was selected for one platform (`platforms.selected`)."""
        (only,) = self.wheels
        return only


class LockedOsPackage(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One package file of a distribution's archive. `pool_path` is relative to any mirror of `archive`."""

    name: str
    version: str
    architecture: str
    archive: str
    suite: str
    pool_path: PoolPath
    size_bytes: Size
    sha256: Sha256

    @property
    def beside(self) -> str:
        """The name under which it lies in the folder of artifacts of a lock that is `bundled`."""
        return self.pool_path.rpartition("/")[2]


class BroughtDistribution(Struct, frozen=True, order=True, omit_defaults=True, kw_only=True):
    """A Python distribution that a conda package brings, and what may be imported of it."""

    name: str
    version: str
    import_names: tuple[str, ...] = ()


class LockedCondaPackage(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    One conda package file. `channel` is the address of the channel without `subdir`, `url` that of the file; neither
    holds credentials. `state` says how we know that it is this one: `proven` where the channel has the file with the
    sha256 that was installed, `matched` where its md5, or name, version and build alone, point to it.

    `noarch` is `python` or `generic` where the file is for every platform; `depends` are its match specifications.
    """

    name: str
    version: str
    build: str
    channel: Line
    subdir: FileName
    file_name: FileName
    url: Line
    size_bytes: Size
    sha256: Sha256
    md5: str = ""
    state: str
    requested: bool | None = None
    noarch: str = ""
    depends: tuple[str, ...] = ()
    distributions: tuple[BroughtDistribution, ...] = ()

    @property
    def beside(self) -> str:
        """
        The name under which it lies in the folder of artifacts of a lock that is `bundled`: with its platform, since
        the files of two platforms have one name.
        """
        return f"{self.subdir}_{self.file_name}"


class Substituted(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Something that could not be had as the snapshot has it, and what stands in its place."""

    kind: str
    name: str
    before: str
    after: str
    reason: str


class LeftOut(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Something that the snapshot has and the image does not. `count` where one line stands for many packages."""

    kind: str
    name: str
    reason: str
    version: str = ""
    count: int = 1


class LockedArtifact(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Bytes that no index serves; they lie in the folder of artifacts beside the lock."""

    name: FileName
    size_bytes: Size
    sha256: Sha256


class LockedInterpreter(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    The Python that answers in the image. `kind` is `base` (from the base's packages), `captured` (the snapshot's own,
    which then lies in `artifact`) or `conda` (a conda package of the target). `executable` is its path in the image.
    """

    kind: str
    version: PythonVersion
    executable: AbsolutePath
    artifact: LockedArtifact | None = None


class Target(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    What is locked for one platform (`linux/amd64`).

    `conda_packages` are those of a conda environment, by name. `virtual_packages` stood for the machine where it was
    made (`__glibc=2.36=0`): said of the training, and nothing that an image holds. `added_os` are the names of the OS
    packages that somebody asked for, with whatever they depend on.
    """

    platform: Platform
    base: Line
    interpreter: LockedInterpreter
    conda_packages: tuple[LockedCondaPackage, ...] = ()
    virtual_packages: tuple[Line, ...] = ()
    os_packages: tuple[LockedOsPackage, ...] = ()
    substituted: tuple[Substituted, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    added_os: tuple[Line, ...] = ()


class LockedModel(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A model file that the snapshot knew."""

    name: FileName
    size_bytes: Size
    sha256: Sha256
    modules: tuple[str, ...] = ()


class Packer(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    What turns locked files into blobs: another library or level gives other bytes for the same layer.

    `layout` is the number of the rules that make entries of packages, wheels and interpreters; it is raised whenever
    those rules change, so that no kept layer is taken for one made by other rules.
    """

    codec: str = "gzip"
    library: str = "libdeflate"
    library_version: str = ""
    level: int = 1
    member_bytes: int = 1 << 20
    layout: int = 1


class Lock(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    The exact, hashed contents of an image: `pylock.toml` (PEP 751) with the rest under `[tool.envparity]`.

    `snapshot` is the canonical content of the snapshot that was locked, so its sha256 is the snapshot's content digest.
    Of one that is `bundled` every wheel and package lies in the folder of artifacts, and nothing has to be fetched.
    """

    schema: int = SCHEMA
    requires_python: str
    environments: tuple[str, ...] = ()
    distributions: tuple[LockedDistribution, ...]
    targets: tuple[Target, ...]
    snapshot: LockedArtifact
    packer: Packer
    bundled: bool = False
    bytecode: str = "none"
    models: tuple[LockedModel, ...] = ()
    settings: tuple[Variable, ...] = ()
