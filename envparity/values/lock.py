"""What is locked: the exact, hashed contents of an image."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from envparity.values.environment import SCHEMA
from envparity.values.scalars import Digest, Sha256, Size, Variable

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

UtcSecond = Annotated[str, Meta(pattern=r"\A[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]Z\Z")]
"""A moment, as `2026-11-25T02:22:30Z`."""

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
    `remedy` what settles it, and `command` what to type for that. `yanked` is why its author took it back, and
    `attested` where the index has attestations of it (PEP 740), which nobody has checked here.
    """

    name: str
    version: str
    state: str
    file: str = ""
    reason: str = ""
    remedy: str = ""
    command: str = ""
    yanked: str = ""
    attested: str = ""


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
    `replaced` are distributions of it that are not installed: pip put another in their place, or removed them.
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
    replaced: tuple[BroughtDistribution, ...] = ()

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


class LockedSuite(Struct, frozen=True, order=True, omit_defaults=True, kw_only=True):
    """
    A suite that packages were taken from, and when its list was signed (`Date` of its Release): of which day the
    archives of the past have these packages.
    """

    archive: str
    suite: str
    date: UtcSecond


class BaseLayer(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One layer of a base that is an image, as its manifest and its config name it; it goes into images unchanged."""

    digest: Digest
    diff_id: Digest
    size_bytes: Size
    media_type: Line

    @property
    def artifact(self) -> LockedArtifact:
        """As a file of the folder of artifacts: of a base that no registry has, or of a lock that is `bundled`."""
        sha256 = self.digest.removeprefix("sha256:")
        return LockedArtifact(name=f"layer-{sha256[:12]}.tar", size_bytes=self.size_bytes, sha256=sha256)


class BaseFolder(Struct, frozen=True, order=True, omit_defaults=True, kw_only=True):
    """A folder of a base that is not plain (0755, of root), or a link to one: layers above it keep to that."""

    path: RelativePath
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    target: str = ""


class BaseHistory(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A line of the history of a base, as it stands in its config."""

    created: str = ""
    author: str = ""
    created_by: str = ""
    comment: str = ""
    empty_layer: bool = False


class BasePackage(Struct, frozen=True, order=True, omit_defaults=True, kw_only=True):
    """A package of the operating system that a base brings."""

    name: str
    version: str
    architecture: str = ""
    manager: str = "dpkg"


class LockedImage(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    A base that is an image: its manifest by `digest`, its layers from the lowest to the highest, and what of its config
    and its content decides how another image stands on it.

    `release` is the base of the table (`debian:bookworm`) whose archive has packages for it; empty where none has.
    `variables` are those of its config that stay; `history` has as many lines that are not empty as there are layers.
    `passwd` and `group` are the lines of these files in `/etc` as an image has them: those of the base, and one for the
    user that images run as. Without lines such a file stays as it is.
    """

    digest: Digest
    layers: Annotated[tuple[BaseLayer, ...], Meta(min_length=1)]
    glibc: str
    release: str = ""
    variables: tuple[Variable, ...] = ()
    labels: tuple[Variable, ...] = ()
    history: tuple[BaseHistory, ...] = ()
    folders: tuple[BaseFolder, ...] = ()
    passwd: tuple[Line, ...] = ()
    group: tuple[Line, ...] = ()
    packages: tuple[BasePackage, ...] = ()


class Target(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    What is locked for one platform (`linux/amd64`). A `base` that is an image is described by `image`; `os_packages`
    are then those that are put on top of it.

    `conda_packages` are those of a conda environment, by name. `virtual_packages` stood for the machine where it was
    made (`__glibc=2.36=0`): said of the training, and nothing that an image holds. `added_os` are the names of the OS
    packages that somebody asked for, with whatever they depend on.
    """

    platform: Platform
    base: Line
    image: LockedImage | None = None
    interpreter: LockedInterpreter
    conda_packages: tuple[LockedCondaPackage, ...] = ()
    virtual_packages: tuple[Line, ...] = ()
    os_packages: tuple[LockedOsPackage, ...] = ()
    suites: tuple[LockedSuite, ...] = ()
    substituted: tuple[Substituted, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    added_os: tuple[Line, ...] = ()

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The environment variables that an image has of its base, which is one."""
        return self.image.variables if self.image is not None else ()

    @property
    def lies_in_registry(self) -> bool:
        """Whether the layers of its base are fetched from a registry, as long as they do not lie beside the lock."""
        return self.base.startswith("registry:")

    @property
    def held_packages(self) -> tuple[LockedOsPackage | BasePackage, ...]:
        """Every OS package of the image: those that the base brings by itself, and those that are locked."""
        return (*(self.image.packages if self.image is not None else ()), *self.os_packages)


NUMERIC_SETTINGS = ("BLIS_", "GOTO_", "KMP_", "MKL_", "NPY_", "NUMEXPR_", "OMP_", "OPENBLAS_", "PYTHONHASHSEED")
"""
Variables that move numbers, by prefix: an image sets them as the training environment had them. One that names a path
is not among them, since that path is of the training host.
"""


class ModelPart(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Files of a model that is a folder, which share a layer of an image: how many, and their digest as a folder."""

    files: int
    size_bytes: Size
    sha256: Sha256


class LockedModel(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    A model that the snapshot knew: a file, or a folder of `files` files by the digest of `Artifact`. One that goes into
    an image, and is large, has its files in `parts`, in the order of `image.model`.
    """

    name: FileName
    size_bytes: Size
    sha256: Sha256
    files: int = 0
    modules: tuple[str, ...] = ()
    parts: tuple[ModelPart, ...] = ()


class LockedCode(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    The code that trained: the address of its repository, without credentials and for others to reach, and the commit.
    `dirty` is whether the work tree differed from it; `None` where nobody knows.
    """

    url: Line | Literal[""] = ""
    commit: Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{40}|[0-9a-f]{64})?\Z")] = ""
    dirty: bool | None = None

    @property
    def revision(self) -> str:
        """The commit as consumers take it: with `-dirty` where the work tree differed, as `git describe` has it."""
        return f"{self.commit}-dirty" if self.commit and self.dirty else self.commit


class Packer(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    What turns locked files into blobs: another library or level gives other bytes for the same layer.

    `layout` is the number of the rules that make entries of packages, wheels and interpreters; it is raised whenever
    those rules change, so that no kept layer is taken for one made by other rules. A file of `reused_bytes` or more
    that a wheel holds deflated is stored as that very stream (gzip alone); 0 is for none.
    """

    codec: str = "gzip"
    library: str = "libdeflate"
    library_version: str = ""
    level: int = 1
    member_bytes: int = 1 << 20
    reused_bytes: int = 0
    layout: int = 1


class Lock(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    The exact, hashed contents of an image: `pylock.toml` (PEP 751) with the rest under `[tool.envparity]`.

    `snapshot` is the canonical content of the snapshot that was locked, so its sha256 is the snapshot's content digest.
    Of one that is `bundled` every wheel and package lies in the folder of artifacts, and nothing has to be fetched.
    `bytecode` says which byte code an image has beside its sources: none, or a `.pyc` that is not held against its
    source when it is imported (PEP 552). `serve` names the server that its images start, unless a build says otherwise.
    """

    schema: int = SCHEMA
    requires_python: str
    environments: tuple[str, ...] = ()
    distributions: tuple[LockedDistribution, ...]
    targets: tuple[Target, ...]
    snapshot: LockedArtifact
    packer: Packer
    bundled: bool = False
    bytecode: Literal["none", "unchecked-hash"] = "none"
    models: tuple[LockedModel, ...] = ()
    settings: tuple[Variable, ...] = ()
    code: LockedCode | None = None
    serve: str = ""
