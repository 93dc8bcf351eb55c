"""
Which bytes go in which layer, decided from the lock and the options alone: pure, so that two machines decide alike.

From the lowest layer to the highest by how seldom they change: base, interpreter, large wheels one by one, the small
ones in groups, each model, the application, the server, and the papers (lock and snapshot). Which group a small wheel
is in follows from its name alone: so a pin that changes rewrites one small layer, and two images that share most of
their pins share most of their groups.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

import msgspec

from envparity import closure
from envparity.image import model, serving, stripping
from envparity.image.base import AUTHORITIES
from envparity.values import (
    Lock,
    LockedCondaPackage,
    LockedDistribution,
    LockedModel,
    Options,
    Plan,
    PlannedLayer,
    Step,
    Target,
    python_xy,
)
from envparity.words import listed

PREFIX = "opt/env"
"""Where the virtual environment lies in an image, relative to its root."""

MOST_LAYERS = 24
"""
Above the base. An engine can mount 127, and each costs a question at every push and pull. Several models, or many conda
packages, take the places of large wheels.
"""

LARGE_BYTES = 2 << 20
"""A wheel of so many bytes has a layer of its own, while there is room."""

GROUPS = 6
"""Layers that the small wheels are put in. It is a constant, so that one wheel more moves no other."""

_OTHERS = 4
"""Kept free for a model, the application, the server and the papers, so that wheels lie alike with and without them."""

MOST_MODELS = 8
"""Layers of models. Where there are more models than that, the largest have one each, and the others are grouped."""

_LARGEST_MODELS = 2

_MOST_LARGE_CONDA = 4
"""Conda packages of a layer of their own; between two of them lies a layer of others."""


def plan(lock: Lock, target: Target, options: Options, lock_sha256: str) -> Plan:
    """The layers of the image of one target."""
    python = python_xy(target.interpreter.version)
    conda = _conda(target, _way(python, options))
    interpreter = target.interpreter
    layers = [
        *_base(target),
        PlannedLayer(
            step=Step.INTERPRETER,
            title=f"Python {interpreter.version} ({interpreter.kind})",
            inputs=(
                PREFIX,
                interpreter.version,
                interpreter.executable,
                interpreter.artifact.sha256 if interpreter.artifact else "",
            ),
        ),
        *conda,
        *_authorities(target, options),
    ]
    beneath = 1 if target.image is None else len(target.image.layers)
    models = _models(options.models, min(MOST_MODELS, MOST_LAYERS - GROUPS - len(layers) + beneath - _OTHERS + 1))
    above = len(layers) - beneath + len(models[1:]) + _OTHERS
    layers += _wheels(lock.distributions, _way(python, options), MOST_LAYERS - GROUPS - above)
    layers += models
    if options.app is not None:
        layers.append(PlannedLayer(step=Step.APP, title="application", inputs=(options.app,)))
    if options.serve:
        inputs = (options.server or "", serving.settings(lock, target, options))
        layers.append(PlannedLayer(step=Step.SERVER, title=f"server ({options.serve})", inputs=inputs))
    layers.append(PlannedLayer(step=Step.PAPERS, title="lock and snapshot", inputs=(lock_sha256, lock.snapshot.sha256)))
    return Plan(platform=target.platform, options=options, layers=tuple(layers))


def _authorities(target: Target, options: Options) -> list[PlannedLayer]:
    """One's own certificate authorities, with those of the base, whatever brings these."""
    if options.ca_bundle is None:
        return []
    if target.image is not None:
        beneath = [target.image.digest]
    else:
        beneath = sorted(item.sha256 for item in target.os_packages if item.name == AUTHORITIES)
    inputs = (options.ca_bundle, *beneath)
    return [PlannedLayer(step=Step.AUTHORITIES, title="own certificates", inputs=inputs)]


def _way(python: str, options: Options) -> str:
    """What decides the files of a wheel, or of a conda package, beside its own."""
    return f"{python} less {','.join(options.strip)} ({stripping.RULES})" if options.strip else python


def _wheels(distributions: Sequence[LockedDistribution], way: str, room: int) -> list[PlannedLayer]:
    """The large wheels, at most `room`, each in a layer of its own, and the others in their groups."""
    by_size = sorted(distributions, key=lambda item: (-item.wheel.size_bytes, item.name))
    large = [item for item in by_size if item.wheel.size_bytes >= LARGE_BYTES][: max(room, 0)]
    alone = {item.name for item in large}
    groups: dict[int, list[LockedDistribution]] = {}
    for item in sorted(distributions, key=lambda item: item.name):
        if item.name not in alone:
            groups.setdefault(group_of(item.name), []).append(item)
    layers = [_of_wheels(way, [item]) for item in large]
    return layers + [_of_wheels(way, items) for _, items in sorted(groups.items())]


def _models(models: Sequence[LockedModel], most: int) -> list[PlannedLayer]:
    """
    A layer for each model, and for each part of a large folder, if these are at most `most`; else for the largest of
    them, and for the others in groups, by a hash of their names as with wheels: one model that changes rewrites one
    layer, and one more moves no other.
    """
    units = [unit for item in models for unit in model.units(item)]
    by_size = sorted(units, key=lambda unit: (-unit.held.size_bytes, unit.held.name, unit.held.before))
    largest = [unit for unit in by_size[:_LARGEST_MODELS] if unit.held.size_bytes >= LARGE_BYTES]
    alone = units if len(units) <= most else largest
    groups: dict[int, list[model.Unit]] = {}
    for unit in sorted(by_size[len(alone) :], key=lambda unit: (unit.held.name, unit.held.before)):
        groups.setdefault(group_of(unit.held.name, most - _LARGEST_MODELS), []).append(unit)
    layers = [PlannedLayer(step=Step.MODEL, title=unit.title, inputs=model.inputs([unit])) for unit in alone]
    for _, grouped in sorted(groups.items()):
        titles = [unit.title for unit in grouped]
        layers.append(PlannedLayer(step=Step.MODEL, title=listed(titles, 2), inputs=model.inputs(grouped)))
    return layers


def group_of(name: str, groups: int = GROUPS) -> int:
    """The group of small wheels that a distribution is in, by its name alone; of models likewise."""
    return hashlib.sha256(name.encode()).digest()[0] % groups


def _of_wheels(way: str, items: Sequence[LockedDistribution]) -> PlannedLayer:
    names = [item.name for item in items]
    title = f"{names[0]} {items[0].version}" if len(items) == 1 else listed(names, 2)
    digests = sorted(item.wheel.sha256 for item in items)
    return PlannedLayer(step=Step.WHEELS, title=title, inputs=(PREFIX, way, *digests))


def _name(target: Target) -> str:
    """How people call a base that is an image."""
    return target.base.partition("@")[0].removeprefix("registry:") if target.lies_in_registry else "base"


def _base(target: Target) -> list[PlannedLayer]:
    """The base of packages; or the layers of an image as they are, and on top of them the packages that it lacks."""
    packages = tuple(sorted(item.sha256 for item in target.os_packages))
    image = target.image
    if image is None:
        return [PlannedLayer(step=Step.BASE, title=target.base, inputs=packages)]
    layers = [
        PlannedLayer(
            step=Step.IMAGE,
            title=f"{_name(target)}, {number} of {len(image.layers)}",
            inputs=(layer.diff_id, layer.digest, str(layer.size_bytes), layer.media_type),
        )
        for number, layer in enumerate(image.layers, start=1)
    ]
    if packages or image.passwd:
        beneath = (image.folders, image.passwd, image.group) if image.passwd else image.folders
        folders = hashlib.sha256(msgspec.json.encode(beneath)).hexdigest()
        told = [*([f"{len(packages)} OS packages"] if packages else []), *(["the user"] if image.passwd else [])]
        title = " and ".join(told)
        layers.append(PlannedLayer(step=Step.PACKAGES, title=title, inputs=(folders, *packages)))
    return layers


def _conda(target: Target, way: str) -> list[PlannedLayer]:
    """
    The layers of conda packages, in the order in which conda links them: what a package requires lies below it. So
    where two write one path, the one that conda links later wins, in an image too. A large one has a layer of its own.
    """
    ordered = closure.conda_order(target.conda_packages)
    by_size = sorted(ordered, key=lambda item: (-item.size_bytes, item.name))
    large = {item.name for item in by_size[:_MOST_LARGE_CONDA] if item.size_bytes >= LARGE_BYTES}
    layers = []
    for _, run in itertools.groupby(ordered, key=lambda item: item.name if item.name in large else ""):
        items = list(run)
        title = f"{items[0].name} {items[0].version}" if len(items) == 1 else f"{len(items)} conda packages"
        inputs = (PREFIX, way, *(digest for item in items for digest in (item.sha256, _kept_of(item))))
        layers.append(PlannedLayer(step=Step.CONDA, title=title, inputs=inputs))
    return layers


def _kept_of(item: LockedCondaPackage) -> str:
    """What its record in the image says beyond what its file does."""
    said: list[object] = [item.channel, item.url, item.md5, item.requested, item.depends]
    if item.replaced:
        said.append([one.name for one in item.replaced])
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


def history(layer: PlannedLayer) -> str:
    """The line by which `docker history` shows a layer."""
    return f"envparity {layer.step}: {layer.title}"
