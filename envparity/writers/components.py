"""What both kinds of SBOM list: every part of a runtime, by one reference each."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from envparity.closure import conda_required
from envparity.collectors.urls import public_url
from envparity.writers.contents import Contents, is_served
from envparity.writers.licences import NOT_SAID, Licence, licence
from envparity.writers.purls import purl


class Kind(StrEnum):
    """What a component is."""

    DISTRIBUTION = "distribution"
    INTERPRETER = "interpreter"
    CONDA_PACKAGE = "conda-package"
    OS_PACKAGE = "os-package"
    SYSTEM = "operating-system"
    MODEL = "model"
    APPLICATION = "application"
    LAYER = "layer"


@dataclass(frozen=True)
class Component:
    """
    One part. `ref` is unique in the document. `required` are the references of what it requires; `None` where that is
    not known. `properties` are pairs of what only envparity says of it.
    """

    ref: str
    kind: Kind
    name: str
    version: str = ""
    purl: str = ""
    sha256: str = ""
    url: str = ""
    file_name: str = ""
    required: tuple[str, ...] | None = None
    properties: tuple[tuple[str, str], ...] = ()
    licence: Licence = NOT_SAID


def components(contents: Contents) -> tuple[Component, ...]:
    """
    Every part of a lock: distributions, conda packages, interpreter, the release and its packages, the models; and, of
    an image, its application, its server and its layers.
    """
    return (
        *_distributions(contents),
        *_conda_packages(contents),
        _interpreter(contents),
        *_system(contents),
        *_os_packages(contents),
        *_models(contents),
        *_own(contents),
        *_layers(contents),
    )


def root(contents: Contents) -> str:
    """The reference of what is described as a whole: the lock, or the image."""
    return f"image:{contents.image.digest}" if contents.image else f"lock:sha256:{contents.sha256}"


def said_of_root(contents: Contents) -> list[tuple[str, str]]:
    """What envparity says of it, as pairs."""
    lock, target = contents.lock, contents.target
    said = [("platform", target.platform), ("base", target.base), ("snapshot", f"sha256:{lock.snapshot.sha256}")]
    return said + ([("lock", f"sha256:{contents.sha256}")] if contents.image else [])


def direct(parts: tuple[Component, ...]) -> tuple[str, ...]:
    """What nothing else in the document requires, and what only a circle does: together they lead to every part."""
    required = {ref for part in parts for ref in part.required or ()}
    roots = [part.ref for part in parts if part.ref not in required]
    edges = {part.ref: part.required or () for part in parts}
    reached = _reached(edges, roots)
    for part in parts:
        if part.ref not in reached:
            roots.append(part.ref)
            reached |= _reached(edges, [part.ref])
    return tuple(roots)


def identity(text: str) -> uuid.UUID:
    """The number of a document that says this: equal documents have one number."""
    return uuid.uuid5(uuid.NAMESPACE_OID, text)


def _reached(edges: dict[str, tuple[str, ...]], roots: list[str]) -> set[str]:
    waiting, seen = list(roots), set[str]()
    while waiting:
        ref = waiting.pop()
        if ref not in seen:
            seen.add(ref)
            waiting += edges[ref]
    return seen


def _distributions(contents: Contents) -> Iterator[Component]:
    locked = sorted(contents.lock.distributions, key=lambda item: item.name)
    refs = {item.name: purl("pypi", item.name, version=item.version) for item in locked}
    for item in locked:
        known = None if contents.required is None else contents.required.get(item.name)
        served = is_served(item.wheel)
        said = [("state", item.state), ("index", public_url(item.index))]
        said += [("yanked", item.yanked or "no reason given")] if item.yanked is not None else []
        said += [] if served else [("beside-the-lock", contents.beside(item.wheel.name))]
        yield Component(
            ref=refs[item.name],
            kind=Kind.DISTRIBUTION,
            name=item.name,
            version=item.version,
            purl=refs[item.name],
            sha256=item.wheel.sha256,
            url=public_url(item.wheel.url) if served else "",
            file_name=item.wheel.name,
            required=None if known is None else tuple(refs[name] for name in known if name in refs),
            properties=tuple((name, value) for name, value in said if value),
            licence=licence(contents.licences.get(item.name, "")),
        )


def _conda_packages(contents: Contents) -> Iterator[Component]:
    locked = sorted(contents.target.conda_packages, key=lambda item: item.name)
    refs = {
        item.name: purl(
            *("conda", item.name),
            version=item.version,
            build=item.build,
            channel=public_url(item.channel).rstrip("/").rpartition("/")[2],
            subdir=item.subdir,
            type="tar.bz2" if item.file_name.endswith(".tar.bz2") else "conda",
        )
        for item in locked
    }
    for item in locked:
        yield Component(
            ref=refs[item.name],
            kind=Kind.CONDA_PACKAGE,
            name=item.name,
            version=item.version,
            purl=refs[item.name],
            sha256=item.sha256,
            url="" if item.url.startswith("file:") else public_url(item.url),
            file_name=item.file_name,
            required=tuple(refs[name] for name in conda_required(item, refs.keys())),
            properties=(("state", item.state), ("channel", public_url(item.channel)), ("build", item.build)),
        )


def _interpreter(contents: Contents) -> Component:
    found = contents.target.interpreter
    name = purl("generic", "python", version=found.version)
    beside = [("beside-the-lock", contents.beside(found.artifact.name))] if found.artifact else []
    return Component(
        ref=name,
        kind=Kind.INTERPRETER,
        name="python",
        version=found.version,
        purl=name,
        sha256=found.artifact.sha256 if found.artifact else "",
        file_name=found.artifact.name if found.artifact else "",
        properties=(("interpreter", found.kind), ("executable", found.executable), *beside),
    )


def _system(contents: Contents) -> Iterator[Component]:
    system = contents.system
    if system.id:
        yield Component(
            ref=f"os:{system.id}@{system.version_id}", kind=Kind.SYSTEM, name=system.id, version=system.version_id
        )


def _os_packages(contents: Contents) -> Iterator[Component]:
    system = contents.system
    image = contents.target.image
    for found in image.packages if image is not None else ():
        kind = "deb" if found.manager == "dpkg" else found.manager
        name = purl(kind, system.id, found.name, version=found.version, arch=found.architecture, distro=system.codename)
        yield Component(
            ref=name,
            kind=Kind.OS_PACKAGE,
            name=found.name,
            version=found.version,
            purl=name,
            properties=(("base", contents.target.base),),
        )
    for item in sorted(contents.target.os_packages, key=lambda item: (item.name, item.architecture)):
        name = purl(
            *("deb", system.id or item.archive, item.name),
            version=item.version,
            arch=item.architecture,
            distro=system.codename,
        )
        yield Component(
            ref=name,
            kind=Kind.OS_PACKAGE,
            name=item.name,
            version=item.version,
            purl=name,
            sha256=item.sha256,
            file_name=item.pool_path.rpartition("/")[2],
            properties=(("archive", item.archive), ("suite", item.suite), ("pool-path", item.pool_path)),
        )


def _models(contents: Contents) -> Iterator[Component]:
    for item in contents.image.options.models if contents.image else contents.lock.models:
        # The digest of a folder is that of no file.
        said = (("content", f"sha256:{item.sha256}"), ("files", str(item.files))) if item.files else ()
        yield Component(
            ref=f"model:{item.name}",
            kind=Kind.MODEL,
            name=item.name,
            sha256="" if item.files else item.sha256,
            file_name="" if item.files else item.name,
            properties=said,
        )


def _own(contents: Contents) -> Iterator[Component]:
    """What a builder put into an image: the folder of an application, and a server of envparity's."""
    options = contents.image.options if contents.image else None
    if options is not None and options.app is not None:
        # Of many files: no digest of one.
        content = ("content", f"sha256:{options.app}")
        yield Component(ref="app", kind=Kind.APPLICATION, name="application", properties=(content,))
    if options is not None and options.serve:
        content = ("content", f"sha256:{options.server or ''}")
        yield Component(ref="server", kind=Kind.APPLICATION, name=f"server-{options.serve}", properties=(content,))


def _layers(contents: Contents) -> Iterator[Component]:
    for number, layer in enumerate(contents.image.layers if contents.image else (), start=1):
        said = (("layer", str(number)), ("step", layer.step), ("diff-id", layer.diff_id))
        yield Component(
            ref=f"layer:{number}:{layer.digest}",
            kind=Kind.LAYER,
            name=layer.title,
            sha256=layer.digest.removeprefix("sha256:"),
            properties=(*said, ("size", str(layer.size_bytes))),
        )
