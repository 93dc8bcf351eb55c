"""
A base that is an image: of a registry, or of a layout on this disk. It is read once, when it is locked; all that comes
after goes by the digests that the lock holds.

    1  which image      the tag is asked for once, and the manifest of the platform is what the lock names
    2  what it holds    packages, C library, interpreter, libraries, folders: from its layers, as any image is read
    3  what it lacks    is put on top, from the archive of its own release; or refused, with what brings it
"""

from __future__ import annotations

__all__ = ["BaseImage", "artifacts", "decided", "opened", "require_no_cuda_twice"]

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envparity.collectors.variables import OF_DRIVERS, is_listed
from envparity.errors import RefusedError, UnsupportedError
from envparity.fetch import Fetcher
from envparity.files import replacing
from envparity.image import configuration
from envparity.image.base import APP_ID, HOME, ROOT
from envparity.image.plan import PREFIX
from envparity.oci.access import Access
from envparity.oci.entries import shown
from envparity.oci.image import Image
from envparity.oci.layout import copy_blob
from envparity.oci.memory import CachedLayers
from envparity.oci.places import open_image, parse_reference
from envparity.oci.registry import Registry
from envparity.oci.spec import OCI_LAYER
from envparity.oci.tree import ImageTree, merging
from envparity.resolvers import archives, debian, interpreter, package_lists
from envparity.sources import image as image_source
from envparity.values import (
    MACHINES,
    BaseFolder,
    BaseHistory,
    BaseLayer,
    BasePackage,
    Environment,
    LeftOut,
    LockedImage,
    LockedInterpreter,
    OsPackage,
    Python,
    Substituted,
    System,
    Variable,
    glibc_key,
    python_xy,
)

if TYPE_CHECKING:
    from envparity.locking.conda import Conda

_PLAIN = (0o755, 0, 0)
_TRIPLETS = ("x86_64-linux-gnu", "aarch64-linux-gnu")
_LIBRARIES = (
    "/lib",
    "/usr/lib",
    "/lib64",
    "/usr/lib64",
    *(f"{top}/{t}" for top in ("/lib", "/usr/lib") for t in _TRIPLETS),
)
"""Where a loader looks by itself (ld.so(8)), besides what its cache lists."""

_ABOVE = re.compile(r"[^/]+|(?:etc|usr|var)/(?!local/|share/(?:doc|zoneinfo)/).*")
"""The folders that ours, or those of a package, may lie in."""

_OURS = ("/opt/env", "/opt/python", "/opt/model", "/opt/app", "/opt/serve", "/usr/share/envparity")
_WHOLE = ("json/__init__.py", "ctypes/__init__.py", "multiprocessing/__init__.py", "lib-dynload")
"""Parts of the standard library that a minimal installation lacks."""


@dataclass(frozen=True)
class BaseImage:
    """
    What an image brings to the images that stand on it.

    Args:
        reference: as a lock names it, with its digest.
        locked: what a lock keeps of it.
        system: its release and C library.
        python: its own interpreter, where it has a whole one.
        sonames: the file names that its loader finds by itself.
        runtimes: the libraries for GPUs that it brings, with their versions.
        place: what has its layers.
    """

    reference: str
    locked: LockedImage
    system: System
    python: Python | None
    sonames: frozenset[str]
    runtimes: tuple[tuple[str, str], ...]
    image: Image

    @property
    def packages(self) -> dict[str, str]:
        """The versions of its packages by their name."""
        return {item.name: item.version for item in self.locked.packages}


def opened(base: str, platform: str, *, fetcher: Fetcher, environ: Mapping[str, str]) -> BaseImage:
    """
    Steps 1 and 2.

    Raises:
        UsageError: it is not there, or not for this platform. UnreachableError: the registry does not answer, or wants
            another login. IntegrityError: it is not what its digest says.
        RefusedError: nothing can stand on it: its C library is not glibc, or layers are not to be had from a registry.
    """
    access = Access(fetcher.client, fetcher.cache, environ)
    # 1
    image = open_image(base, platform=platform, access=access)
    layers = tuple(_layers(image, base))
    scheme = parse_reference(base)
    tag = f":{scheme.tag}" if scheme.tag else ""
    named = f"registry:{scheme.path}{tag}" if scheme.scheme == "registry" else "oci:"
    # 2
    memory = CachedLayers(fetcher.cache, image_source.rule(False)) if isinstance(image.place, Registry) else None
    with merging(
        image, keep=image_source.kept, hashed=image_source.hashed(False), memory=memory, progress=fetcher.progress
    ) as tree:
        found = image_source.environment(image, tree, base)
        sonames = frozenset(_sonames(tree))
        folders = tuple(sorted(_folders(tree)))
        passwd, group = _accounts(tree)
        taken = [path for path in _OURS if tree.kind(path) is not None]
        whole = _is_whole(found, tree)
    if taken:
        raise _taken(image, base, taken)
    system = found.system or System()
    if system.libc != "glibc" or not system.libc_version:
        what = f"its C library is {system.libc}" if system.libc else "it has no C library"
        raise RefusedError(
            f"nothing can stand on the base `{shown(base)}`: {what}, and the wheels that are locked are for glibc",
            hint=f"name a base with glibc: {', '.join(archives.BASES)}, `scratch`, or an image of one of these",
        )
    packages = tuple(sorted(_packages(found.os_packages or ())))
    own_base = archives.own_base(system.id, system.version_id)
    locked = LockedImage(
        digest=image.digest,
        layers=layers,
        glibc=system.libc_version,
        release=own_base if any(item.name == "libc6" for item in packages) else "",
        variables=tuple(_variables(image)),
        labels=tuple(_labels(image)),
        history=tuple(_history(image, base)),
        folders=folders,
        passwd=passwd,
        group=group,
        packages=packages,
    )
    runtimes = found.accelerators.runtimes if found.accelerators is not None else ()
    return BaseImage(
        f"{named}@{image.digest}",
        locked,
        system,
        found.python if whole else None,
        sonames,
        tuple(runtimes or ()),
        image,
    )


def _taken(image: Image, base: str, taken: Iterable[str]) -> RefusedError:
    """Of a base that has something at the places of what is locked, as every image that was built here has."""
    labels = image.labels
    if configuration.OPTIONS not in labels:
        return RefusedError(
            f"the base `{shown(base)}` has {' and '.join(taken)}, where what is locked has its place",
            hint="name a base without that",
        )
    scheme = "registry:" if configuration.BASE_DIGEST in labels else ""
    beneath = f"{scheme}{labels.get(configuration.BASE_NAME, '')}"
    other = f"; else name what it stands on: `--base {shown(beneath)}`" if beneath else ""
    return RefusedError(
        f"the base `{shown(base)}` was built by envparity itself: {' and '.join(taken)} cannot be there twice",
        hint="put more into it by its own lock: `envparity lock pylock.toml --add REQUIREMENT`, or move a pin with"
        f" `--update NAME`, and build again, which makes the changed layers alone{other}",
    )


def decided(
    python: Python,
    base: BaseImage,
    *,
    architecture: str,
    installed: Iterable[OsPackage],
    sonames: Iterable[str],
    settings: Mapping[str, str],
    workplace: Path,
    fetcher: Fetcher,
    add: Iterable[str] = (),
    bring: Callable[[Python], Python] = lambda python: python,
    of_conda: Conda | None = None,
) -> interpreter.Decided:
    """
    Step 3: the base's interpreter where it is the same release, else the snapshot's own, captured; and what is put on
    top, so that each shared library is there that interpreter and wheels expect.

    Args:
        settings: the variables that the lock sets. The others are as of `interpreter.resolve`.
        of_conda: the packages of conda, whose Python answers then.

    Raises:
        RefusedError: the base is too old for the interpreter, or lacks libraries and has no archive to get them from.
        And what `interpreter.captured` and `debian.resolve_on_top` raise.
    """
    needed, installed = frozenset(sonames), tuple(installed)
    own = base.python
    if of_conda is not None and of_conda.packages:
        if glibc_key(of_conda.glibc_floor) > glibc_key(base.locked.glibc):
            raise RefusedError(
                f"the conda packages need glibc {of_conda.glibc_floor}, and `{base.reference}` has {base.locked.glibc}",
                hint="name a newer base",
            )
        needed = (needed | of_conda.sonames) - of_conda.provided
        program = f"/{PREFIX}/bin/python{python_xy(python.version)}"
        found = LockedInterpreter(kind="conda", version=python.version, executable=program)
    elif own is not None and own.executable is not None and _is_same(own, python):
        found = LockedInterpreter(kind="base", version=python.version, executable=own.executable.path)
    else:
        machine = MACHINES.get(architecture, architecture)
        captured = interpreter.captured(bring(python), workplace, machine=machine, cache=fetcher.cache)
        if glibc_key(captured.glibc_floor) > glibc_key(base.locked.glibc):
            raise RefusedError(
                f"the interpreter needs glibc {captured.glibc_floor}, and `{base.reference}` has {base.locked.glibc}",
                hint="name a newer base",
            )
        needed = (needed | captured.sonames) - captured.provides
        found = LockedInterpreter(
            kind="captured", version=python.version, executable=captured.executable, artifact=captured.artifact
        )
    lacking, add = needed - base.sonames, frozenset(add)
    if base.locked.release and (lacking or add):
        index = package_lists.read_index(base.locked.release, fetcher, architecture=architecture)
        top = debian.resolve_on_top(index, present=base.packages, installed=installed, needed_sonames=lacking, add=add)
        suites = index.suites(top.os_packages)
    else:
        top, suites = _nothing_on_top(base, lacking, add), ()
    had = {item.name: item.version for item in installed if item.architecture in {"", "all", architecture}}
    return interpreter.Decided(
        found,
        top.os_packages,
        (*_substituted(base, had), *top.substituted),
        (*_dropped(base.image, settings), *_left_out(base, had, top), *top.left_out),
        suites,
    )


def _is_same(own: Python, python: Python) -> bool:
    ordinary = own.implementation in {"", "cpython"} and not own.debug and not own.free_threaded
    return ordinary and interpreter.fits_base(python, own.version)


def _nothing_on_top(base: BaseImage, lacking: Iterable[str], add: Iterable[str]) -> debian.ResolvedBase:
    """Of a base that no archive of the table has packages for."""
    if add := sorted(add):
        raise RefusedError(
            f"`{base.reference}` is of no release that packages are known for, so `--add-os {add[0]}` is not possible",
            hint="install it in the base; or name a base of one of these: " + ", ".join(archives.BASES),
        )
    known = {soname: archives.bringers(soname) for soname in sorted(lacking) if not archives.is_of_driver(soname)}
    details = tuple(f"{soname}: Debian and Ubuntu have it in {' or '.join(by)}" for soname, by in known.items() if by)
    if details:
        raise RefusedError(
            f"`{base.reference}` lacks {len(details)} shared librar{'y' if len(details) == 1 else 'ies'} that"
            " interpreter or wheels need",
            hint="install them in the base; or name one of Debian or Ubuntu, which they are put on top of",
            details=details,
        )
    left_out = [
        LeftOut(kind="library", name=soname, reason="no package that envparity knows brings it") for soname in known
    ]
    left_out += [
        LeftOut(kind="library", name=soname, reason="the driver of the machine that runs the image brings it")
        for soname in sorted(lacking)
        if soname not in known
    ]
    return debian.ResolvedBase((), (), tuple(left_out), ())


def _substituted(base: BaseImage, had: Mapping[str, str]) -> Iterator[Substituted]:
    for name, version in base.packages.items():
        if name in had and had[name] != version:
            reason = "the base has this version"
            yield Substituted(kind="os-package", name=name, before=had[name], after=version, reason=reason)


def _left_out(base: BaseImage, had: Mapping[str, str], top: debian.ResolvedBase) -> Iterator[LeftOut]:
    held = {*base.packages, *(item.name for item in top.os_packages)}
    count = len(had.keys() - held)
    if count:
        yield LeftOut(
            kind="os-package",
            name=f"{count} packages that the base does not have",
            reason="nothing that is locked needs them",
            count=count,
        )


def require_no_cuda_twice(base: BaseImage, carried: Sequence[str]) -> None:
    """
    Refuse a base with CUDA's libraries for wheels or conda packages that carry them (`image.cuda.carried`).

    Raises:
        RefusedError: naming both.
    """
    brought = sorted({f"{library} {version}" for library, version in base.runtimes if library in _CUDA})
    if carried and brought:
        same = f"`--base {base.locked.release}`, the same release" if base.locked.release else "a base"
        raise RefusedError(
            f"CUDA would lie in the image twice: `{base.reference}` has {', '.join(brought)}, and so do the packages"
            f" {', '.join(carried[:5])}{' …' if len(carried) > 5 else ''}",
            hint=f"name {same} without CUDA: they bring all but the driver, which the host has",
        )


_CUDA = frozenset({"cuda", "cudnn", "nccl", "cublas"})


def artifacts(base: BaseImage, workplace: Path, *, bundle: bool) -> dict[str, Path]:
    """
    The layers as files to lie beside the lock: of one that is bundled, and of a base that no registry has, since the
    folder of a layout is a place of one machine, and no part of a lock.
    """
    if base.reference.startswith("registry:") and not bundle:
        return {}
    found: dict[str, Path] = {}
    for layer, descriptor in zip(base.locked.layers, base.image.manifest.layers, strict=True):
        name = layer.artifact.name
        place = workplace / name
        with base.image.open_blob(layer.digest) as stream, replacing(place) as sink:
            copy_blob(stream, sink, descriptor)
        found[name] = place
    return found


def _layers(image: Image, base: str) -> Iterator[BaseLayer]:
    """
    The layers as a lock names them. A media type of Docker's becomes that of OCI, which names the same bytes
    (https://github.com/opencontainers/image-spec/blob/v1.1.1/media-types.md).
    """
    for layer in image.layers():
        found = layer.descriptor
        if ".foreign." in found.media_type or ".nondistributable." in found.media_type:
            raise RefusedError(
                f"the layer {layer.number} of the base `{shown(base)}` may not be distributed, and lies in no registry"
                f" ({shown(found.media_type)})",
                hint="name a base without such layers",
            )
        if not (found.digest.startswith("sha256:") and layer.diff_id.startswith("sha256:")):
            raise UnsupportedError(f"the base `{shown(base)}` has layers with other digests than sha256")
        kind = re.fullmatch(r".*tar(?:[.+](gzip|zstd))?", found.media_type)
        if kind is None:
            raise UnsupportedError(f"the base `{shown(base)}` has a layer of the type `{shown(found.media_type)}`")
        yield BaseLayer(
            digest=found.digest,
            diff_id=layer.diff_id,
            size_bytes=found.size_bytes,
            media_type=f"{OCI_LAYER}+{kind[1]}" if kind[1] else OCI_LAYER,
        )


def _variables(image: Image) -> Iterator[Variable]:
    """Those that stay. What decides over numbers and code is as the snapshot has it."""
    for name, value in sorted(image.variables.items()):
        if not is_listed(name) or name in OF_DRIVERS:
            yield Variable(name, value)


def _dropped(image: Image, settings: Mapping[str, str]) -> Iterator[LeftOut]:
    """The variables of a base that do not stay as they are, for a lock to say so."""
    for name, value in sorted(image.variables.items()):
        if is_listed(name) and name not in OF_DRIVERS and settings.get(name) != value:
            reason = "the base sets it, and what decides over numbers and code is as the snapshot has it"
            yield LeftOut(kind="variable", name=name, reason=reason)


def _labels(image: Image) -> Iterator[Variable]:
    for name, value in sorted(image.labels.items()):
        if not name.startswith("envparity."):
            yield Variable(name, value)


def _history(image: Image, base: str) -> Iterator[BaseHistory]:
    """Its own lines, where they tell of each layer; else one for each layer."""
    lines = image.config.history or ()
    if sum(not line.empty_layer for line in lines) == len(image.manifest.layers):
        for line in lines:
            yield BaseHistory(
                created=line.created or "",
                author=line.author or "",
                created_by=line.created_by or "",
                comment=line.comment or "",
                empty_layer=bool(line.empty_layer),
            )
        return
    for layer in image.layers():
        yield BaseHistory(created_by=f"base {image.digest[:19]}, layer {layer.number} of {layer.total}")


def _packages(found: Iterable[OsPackage]) -> Iterator[BasePackage]:
    for item in found:
        yield BasePackage(name=item.name, version=item.version, architecture=item.architecture, manager=item.manager)


def _folders(tree: ImageTree) -> Iterator[BaseFolder]:
    for node in tree.walk():
        path = node.path[1:]
        if not path or not _ABOVE.fullmatch(path):
            continue
        if node.kind == "folder" and (node.mode, node.uid, node.gid) != _PLAIN:
            yield BaseFolder(path=path, mode=node.mode, uid=node.uid, gid=node.gid)
        elif node.kind == "link" and tree.kind(node.path) == "folder":
            yield BaseFolder(path=path, mode=0o777, target=node.target)


def _accounts(tree: ImageTree) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """
    The lines of `/etc/passwd` and `/etc/group` with a user of the number that images run as: without one Python does
    not know who it is (`getpass.getuser`), nor where its home is. None where a file has one, or is no plain text.
    """
    users, groups = (_lines(tree, f"/etc/{name}") for name in ("passwd", "group"))
    if users is None or any(line.split(":")[2:3] == [str(APP_ID)] for line in users):
        return (), ()
    name = _free(users)
    above, own = tree.entry("/home"), tree.entry(f"/{HOME}")
    fits = (above is None or above.kind == "folder") and (own is None or (own.kind, own.uid) == ("folder", APP_ID))
    home = HOME if fits else ""
    passwd = (*(users or [ROOT]), f"{name}:*:{APP_ID}:{APP_ID}:{name}:/{home}:/usr/sbin/nologin")
    if groups is None or any(line.split(":")[2:3] == [str(APP_ID)] for line in groups):
        return passwd, ()
    return passwd, (*(groups or ["root:*:0:"]), f"{_free(groups)}:*:{APP_ID}:")


def _free(lines: Iterable[str]) -> str:
    taken = {line.partition(":")[0] for line in lines}
    return next(name for name in ("app", "envparity", f"app{APP_ID}") if name not in taken)


def _lines(tree: ImageTree, path: str) -> list[str] | None:
    """Of a small file of text, which need not be there; `None` where it is something else."""
    if tree.kind(path) is None:
        return []
    node = tree.entry(path)
    if node is None or node.kind != "file" or node.size_bytes > 1 << 20:
        return None
    try:
        lines = tree.read(path).decode().removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return lines if all(line and line.isprintable() for line in lines) else None


def _sonames(tree: ImageTree) -> Iterator[str]:
    """The names of the files that a loader finds by itself, whether or not they are libraries."""
    folders = list(_LIBRARIES)
    if tree.kind("/etc/ld.so.cache") == "file":
        texts = tree.read("/etc/ld.so.cache", 16 << 20).split(b"\0")
        listed = {text.rpartition(b"/")[0].decode("utf-8", "replace") for text in texts if text.startswith(b"/")}
        folders += sorted(listed)
    for folder in dict.fromkeys(folders):
        if tree.kind(folder) == "folder":
            for name in tree.entries(folder):
                if ".so" in name and tree.kind(f"{folder}/{name}") == "file":
                    yield name


def _is_whole(found: Environment, tree: ImageTree) -> bool:
    """Whether it has an interpreter of its own with all of its standard library."""
    python = found.python
    if python is None or python.executable is None or not python.version or not python.base_prefix:
        return False
    xy = python_xy(python.version)
    stdlib = python.stdlib or f"{python.base_prefix.rstrip('/')}/lib/python{xy}"
    return all(tree.kind(f"{stdlib}/{name}") is not None for name in _WHOLE)
