"""
What is known of one runtime: an Environment and its sections.

A section that a source cannot know is `None`, never empty; a `Gap` says why.
"""

from __future__ import annotations

from msgspec import Struct

from envparity.values.hardware import Accelerators, Cpu, Host
from envparity.values.lineage import Artifact, SourceCode
from envparity.values.native import NativeLibrary, Numerics
from envparity.values.scalars import Basis, File, GapKind, Sha256, Variable

SCHEMA = 1


class Gap(Struct, frozen=True, order=True, omit_defaults=True):
    """What is not known, of which section (and item of it), and why."""

    section: str
    kind: GapKind
    reason: str
    item: str = ""


class Origin(Struct, frozen=True, omit_defaults=True):
    """
    Where an Environment was read from, when, and by what. Recorded, never a difference. `channels` are those that a
    file of conda names for what it asks for, or that an environment of conda was made from, the first one first.
    """

    kind: str
    reference: str = ""
    taken_at: str = ""
    tool: str = ""
    channels: tuple[str, ...] = ()


class Python(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    The interpreter. A declared one (`requires-python`) has a `specifier` and no `version`.

    `libraries` are pairs of what it is linked to or carries (`openssl`, `sqlite`, `zlib`, `libffi`, `expat`,
    `unicode`) and the version of it. `startup` names, by path, what runs whenever it starts: `.pth` files with code,
    `sitecustomize`, `usercustomize`; named, and never run by reading. `planted` are the names of those that no
    distribution brought. `user_site` is whether the user's own folder counts. `hash_seed`, `optimize`, `utf8_mode`,
    `dev_mode` are those of a running process, or what the variables of its place say; never those of the probe.
    `others` are further Pythons of the same place, by path.
    """

    basis: Basis = Basis.INSTALLED
    version: str = ""
    specifier: str = ""
    implementation: str = ""
    build: str = ""
    compiler: str = ""
    soabi: str = ""
    debug: bool | None = None
    free_threaded: bool | None = None
    jit: bool | None = None
    configure: tuple[str, ...] = ()
    libraries: tuple[tuple[str, str], ...] = ()
    hash_seed: str = ""
    optimize: int | None = None
    utf8_mode: bool | None = None
    dev_mode: bool | None = None
    user_site: bool | None = None
    startup: tuple[str, ...] = ()
    planted: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
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

    `record_sha256` is the digest of the normalised RECORD (what identifies the wheel). `shadowed` means that something
    earlier on the path wins the import, or that no entry leads to it. `tooling` means that only envparity itself needs
    it. `modified`, `missing` and `added` are filled by `--verify-files`; `None` means that nobody looked. A process
    that tells what it has loaded fills `modified` too, with its loaded files whose size is not that of RECORD, if any.
    `vendored_in` is the import name of the package inside which this copy lies. `startup` means that it brings code
    that runs whenever Python starts. `plugins` are the groups of its entry points that other packages load by
    themselves (`pytest11`, …). `licence` is what its metadata says: an SPDX expression (PEP 639), or names of older
    fields; recorded, never a difference. `loaded` is whether the running process had imported a module of it.
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
    added: tuple[str, ...] | None = None
    vendored_in: str = ""
    startup: bool = False
    plugins: tuple[str, ...] = ()
    licence: str = ""
    loaded: bool | None = None

    @property
    def importable(self) -> bool:
        """Whether an import of its modules finds this copy; no other is compared, locked or shipped."""
        return not self.shadowed and not self.vendored_in


class Module(Struct, frozen=True, order=True, omit_defaults=True, kw_only=True):
    """
    One imported module at the top of a package, or one whose owner is not that of its package. `owner` is the
    distribution, `stdlib`, `built-in`, or empty where nothing owns it. `count` is how many modules were imported below.
    """

    name: str
    file: str = ""
    owner: str = ""
    count: int = 1


class CondaPackage(Struct, frozen=True, order=True, omit_defaults=True, kw_only=True):
    """
    One conda package as `conda-meta` records it. `requested` is whether a person asked for it, `pinned` the constraint
    of `conda-meta/pinned`. `virtual` is one that stands for the machine (`__glibc`, `__cuda`). `distributions` are the
    names and versions of the Python distributions whose metadata it lists among its files.
    """

    name: str
    basis: Basis = Basis.INSTALLED
    version: str = ""
    specifier: str = ""
    build: str = ""
    channel: str = ""
    subdir: str = ""
    md5: str = ""
    sha256: Sha256 | None = None
    url: str = ""
    requested: bool | None = None
    pinned: str = ""
    virtual: bool = False
    distributions: tuple[tuple[str, str], ...] = ()


class OsPackage(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One package of the operating system, as its own database names it."""

    name: str
    version: str
    architecture: str = ""
    manager: str = "dpkg"
    source: str = ""


class System(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    What an image carries of the operating system. `machine` is as `uname -m` says it (`x86_64`). `ca_sha256` is the
    digest of the bundle of certificate authorities, `fonts` the families that a plot could use. `own_authorities` says
    how authorities came in that no base has: variables by their names, and programs that add to the system's bundle.
    """

    os: str = ""
    machine: str = ""
    id: str = ""
    version_id: str = ""
    codename: str = ""
    name: str = ""
    libc: str = ""
    libc_version: str = ""
    locale: str = ""
    time_zone: str = ""
    tzdata: str = ""
    ca_sha256: Sha256 | None = None
    fonts: tuple[str, ...] | None = None
    own_authorities: tuple[str, ...] = ()


class Settings(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Environment variables: those on the list with their value, all others by name only."""

    variables: tuple[Variable, ...] = ()
    names_only: tuple[str, ...] = ()


class Environment(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What is known of one runtime. `open` means that what it does not list may still be there (a declared source)."""

    schema: int = SCHEMA
    origin: Origin
    python: Python | None = None
    system: System | None = None
    host: Host | None = None
    cpu: Cpu | None = None
    accelerators: Accelerators | None = None
    distributions: tuple[Distribution, ...] | None = None
    conda_packages: tuple[CondaPackage, ...] | None = None
    os_packages: tuple[OsPackage, ...] | None = None
    native_libraries: tuple[NativeLibrary, ...] | None = None
    numerics: Numerics | None = None
    modules: tuple[Module, ...] | None = None
    settings: Settings | None = None
    source_code: SourceCode | None = None
    artifacts: tuple[Artifact, ...] | None = None
    open: bool = False
    gaps: tuple[Gap, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether everything that should be there could be read. Derived, so that the two cannot disagree."""
        return not any(gap.kind is GapKind.UNREAD for gap in self.gaps)


SECTIONS = (
    "python",
    "system",
    "host",
    "cpu",
    "accelerators",
    "distributions",
    "conda_packages",
    "os_packages",
    "native_libraries",
    "numerics",
    "modules",
    "settings",
    "source_code",
    "artifacts",
)
"""The sections of an Environment, in the order in which a person reads them."""
