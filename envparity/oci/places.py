"""References to images, and the places that they name. One row a scheme."""

from __future__ import annotations

__all__ = [
    "SCHEMES",
    "ImageReference",
    "Writer",
    "is_on_disk",
    "open_image",
    "parse_reference",
    "registry_name",
    "require_here",
    "write_image",
    "writing",
]

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from envparity.errors import UsageError
from envparity.oci.access import Access
from envparity.oci.archive import is_name, open_archive, write_archive
from envparity.oci.entries import shown
from envparity.oci.image import BuiltImage, BuiltIndex, Image
from envparity.oci.layout import open_layout, write_index, write_layout
from envparity.oci.pack import Where
from envparity.oci.spec import Descriptor, split_digest

if TYPE_CHECKING:
    from envparity.oci.registry import RegistryName


@dataclass(frozen=True, slots=True)
class ImageReference:
    """`SCHEME:PATH[:TAG][@DIGEST]`, taken apart."""

    scheme: str
    path: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.scheme}:{self.path}{tag}{digest}"


def _open_layout(reference: ImageReference, platform: str, access: Access) -> Image:
    return open_layout(
        reference.path, tag=reference.tag, digest=reference.digest, platform=platform, reference=str(reference)
    )


def _open_archive(reference: ImageReference, platform: str, access: Access) -> Image:
    return open_archive(
        reference.path, tag=reference.tag, digest=reference.digest, platform=platform, reference=str(reference)
    )


def _open_registry(reference: ImageReference, platform: str, access: Access) -> Image:
    from envparity.oci.registry import open_registry, parse_name

    path = f"{reference.path}:{reference.tag}" if reference.tag else reference.path
    return open_registry(parse_name(path, reference.digest), f"registry:{path}", platform, access)


def _open_engine(reference: ImageReference, platform: str, access: Access) -> Image:
    from envparity.oci.engine import open_engine

    digest = f"@{reference.digest}" if reference.digest else ""
    name = f"{reference.path}:{reference.tag}" if reference.tag else reference.path
    return open_engine(name + digest, str(reference), platform, access)


class Writer(Protocol):
    """
    A place that an image is being written to. Layers may be handed over as they are made, so that a place far away can
    take them meanwhile; `finish` writes what is left, and the image has its name after it and not before.
    """

    def tagged(self) -> str:
        """The digest of what has the image's name there for certain; "" where that is not known."""
        ...

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether the place has this blob for certain; then its file is never opened."""
        ...

    def layer(self, descriptor: Descriptor, path: Where) -> None:
        """Take one layer, which lies in a file that stays until the end."""
        ...

    def finish(self, image: BuiltImage) -> str:
        """Write the rest. Returns the digest of the manifest there."""
        ...

    def finish_index(self, index: BuiltIndex) -> str:
        """Write the rest of images for several platforms. Returns the digest of their index there."""
        ...


@dataclass(frozen=True, slots=True)
class _AtOnce:
    """A place that takes an image when it is whole."""

    write: Callable[[BuiltImage], str]
    write_index: Callable[[BuiltIndex], str] | None = None

    def tagged(self) -> str:
        """It is written anew."""
        return ""

    def holds(self, descriptor: Descriptor) -> bool:
        """What lies there is read at the end, and not before."""
        return False

    def layer(self, descriptor: Descriptor, path: Where) -> None:
        """Wait for the rest."""

    def finish(self, image: BuiltImage) -> str:
        """Write all of it."""
        return self.write(image)

    def finish_index(self, index: BuiltIndex) -> str:
        """Write all of them."""
        assert self.write_index is not None  # `check_destination` asks whether a place takes several
        return self.write_index(index)


@contextmanager
def _layout(reference: ImageReference, name: str, access: Access) -> Iterator[Writer]:
    tag = reference.tag or _tag_of(name)
    yield _AtOnce(
        lambda image: write_layout(reference.path, image, tag), lambda index: write_index(reference.path, index, tag)
    )


def _tag_of(name: str) -> str:
    """`1` of `registry:5000/tickets:1`; `latest` where nothing says otherwise, as other tools assume."""
    return name.rpartition("/")[2].partition(":")[2] or "latest"


@contextmanager
def _archive(reference: ImageReference, name: str, access: Access) -> Iterator[Writer]:
    yield _AtOnce(lambda image: write_archive(reference.path, image, reference.tag or name))


@contextmanager
def _registry(reference: ImageReference, name: str, access: Access) -> Iterator[Writer]:
    from envparity.oci.upload import Upload

    with Upload(registry_name(reference, name), access) as upload:
        yield upload


def registry_name(reference: ImageReference, name: str = "") -> RegistryName:
    """What a registry calls an image that is, or will be, there; `name` has the tag where the reference has none."""
    from envparity.oci.registry import parse_name

    return parse_name(f"{reference.path}:{reference.tag or _tag_of(name)}", reference.digest)


@contextmanager
def _engine(reference: ImageReference, name: str, access: Access) -> Iterator[Writer]:
    from envparity.oci.engine import load_image

    tagged = f"{reference.path}:{reference.tag or _tag_of(name)}"
    yield _AtOnce(lambda image: load_image(tagged, image, access))


@dataclass(frozen=True, slots=True)
class Scheme:
    """How images are read from one kind of place, and written to it."""

    open: Callable[[ImageReference, str, Access], Image]
    write: Callable[[ImageReference, str, Access], AbstractContextManager[Writer]]
    on_disk: bool = True
    takes_several: bool = False


SCHEMES: dict[str, Scheme] = {
    "oci": Scheme(_open_layout, _layout, takes_several=True),
    "docker-archive": Scheme(_open_archive, _archive),
    "registry": Scheme(_open_registry, _registry, on_disk=False, takes_several=True),
    "docker": Scheme(_open_engine, _engine, on_disk=False),
}


def parse_reference(text: str) -> ImageReference:
    """
    Take `oci:DIR[:TAG]`, `docker-archive:FILE[:NAME:TAG]`, `registry:HOST/NAME[:TAG]`, each with an optional
    `@sha256:…`, apart.

    A path ends at its first colon, as skopeo has it, so a folder with a colon in its name cannot be written. A host may
    have a port.

    Raises:
        UsageError: no scheme, an unknown one, no path.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in SCHEMES:
        raise UsageError(f"`{shown(text)}` is not a reference to an image", hint=f"begin it with {_schemes()}")
    before, at, digest = rest.rpartition("@")
    if at and digest.startswith(("sha256:", "sha512:")):
        rest = before
    else:
        digest = ""  # a path may hold an `@`
    # The first part of a name may be a host, with a port.
    in_names = scheme in {"registry", "docker"} and "/" in rest
    host, slash, name = rest.partition("/") if in_names else ("", "", rest)
    path, _, tag = name.partition(":")
    path = host + slash + path
    if not path:
        raise UsageError(f"`{shown(text)}` names no {_NAMED.get(scheme, 'image')}")
    if digest:
        split_digest(digest)
    return ImageReference(scheme, path, tag, digest)


_NAMED = {"oci": "folder", "docker-archive": "file"}


def _schemes() -> str:
    names = [f"`{name}:`" for name in SCHEMES]
    return " or ".join(names)


def open_image(reference: str, *, platform: str = "", access: Access | None = None) -> Image:
    """
    Find the one image that a reference names; its manifest and config have been checked.

    Args:
        access: what places beyond this disk need; without it they are asked as nobody, and nothing is cached.

    Raises:
        UsageError: nothing there, or several that fit (it lists them).
        MalformedError, IntegrityError: what is there is damaged.
    """
    parsed = parse_reference(reference)
    return SCHEMES[parsed.scheme].open(parsed, platform, access or Access())


def check_destination(reference: str, name: str = "", *, several: bool = False) -> ImageReference:
    """
    Refuse a place where no image can be written under this name, before the work of making one; or, of `several`
    platforms, no index of them.

    Raises:
        UsageError: a digest, a tag or name that no engine takes, a folder where a file is due or the reverse.
    """
    parsed = parse_reference(reference)
    if several and not SCHEMES[parsed.scheme].takes_several:
        raise UsageError(
            f"`{shown(reference)}` holds the image of one platform, and several are asked for",
            hint="write to `oci:DIR` or `registry:HOST/NAME:TAG`, or name one `--platform`",
        )
    if parsed.digest:
        raise UsageError(f"`{shown(reference)}` names a digest, which only an image that exists has")
    if name and not is_name(name):
        raise UsageError(f"`{shown(name)}` is not a name for an image", hint="write NAME:TAG, the name in lower case")
    if not SCHEMES[parsed.scheme].on_disk:
        _check_name(parsed, reference)
        return parsed
    place = Path(parsed.path)
    if not place.absolute().parent.is_dir():
        raise UsageError(
            f"cannot write `{shown(reference)}`: the folder around it does not exist", hint="make it first"
        )
    if place.exists() and place.is_dir() is not (parsed.scheme == "oci"):
        found, due = ("a folder", "a file") if place.is_dir() else ("a file", "a folder")
        raise UsageError(f"cannot write `{shown(reference)}`: {found} is there, and {due} is due")
    return parsed


def _check_name(parsed: ImageReference, reference: str) -> None:
    if parsed.scheme == "registry":
        from envparity.oci.registry import parse_name

        parse_name(f"{parsed.path}:{parsed.tag}" if parsed.tag else parsed.path)
    elif not is_name(f"{parsed.path}:{parsed.tag or 'latest'}"):
        raise UsageError(f"`{shown(reference)}` is not a name that an engine takes", hint="write docker:NAME:TAG")


def writing(reference: str, name: str = "", access: Access | None = None) -> AbstractContextManager[Writer]:
    """
    A place to write one image to. Left by an exception, it holds no image that is not whole.

    Args:
        name: `NAME:TAG`, for where the reference has none: a layout and a registry take the tag, an archive all of it.
        access: what places beyond this disk need; without it they are asked as nobody.
    """
    parsed = check_destination(reference, name)
    return SCHEMES[parsed.scheme].write(parsed, name, access or Access())


def write_image(reference: str, image: BuiltImage, name: str = "", access: Access | None = None) -> str:
    """Write an image to a place at once (see `writing`), and return the digest of its manifest there."""
    with writing(reference, name, access) as writer:
        return writer.finish(image)


def require_here(reference: str) -> None:
    """
    Refuse a registry that is not on this machine, for whoever asked that no certificate is verified (`--insecure`).

    Raises:
        UsageError: the reference names such a registry.
    """
    from envparity.network import is_loopback

    parsed = parse_reference(reference)
    if parsed.scheme != "registry" or is_loopback(urlsplit(f"//{registry_name(parsed).host}").hostname or ""):
        return
    raise UsageError(
        f"`--insecure` is for a registry on this machine, and `{shown(reference)}` is not: whoever stands in between"
        " could read the password and change the image",
        hint="name the authority of its certificate, in SSL_CERT_FILE or as /etc/docker/certs.d/HOST/ca.crt; or ask"
        " through a tunnel: `ssh -L 5000:localhost:5000 HOST`, and `registry:localhost:5000/…`",
    )


def is_on_disk(reference: str) -> bool:
    """Whether what is written there lies in a file or folder of this machine, and can be read back for nothing."""
    return SCHEMES[parse_reference(reference).scheme].on_disk
