"""
Which bytes go in which layer, decided from the lock and the options alone: pure, so that two machines decide alike.

From the lowest layer to the highest by how seldom they change: base, interpreter, large wheels one by one, the small
ones together, each model, the application, the server, and the papers (lock and snapshot).
"""

from __future__ import annotations

import hashlib
import itertools

import msgspec

from envparity import closure
from envparity.image import serving
from envparity.values import Lock, LockedCondaPackage, Options, Plan, PlannedLayer, Step, Target

PREFIX = "opt/env"
"""Where the virtual environment lies in an image, relative to its root."""

LARGE_BYTES = 8 << 20
MOST_LARGE = 16
"""A wheel of its own layer is shared between images; more layers than an engine can mount (127) help nobody."""


def plan(lock: Lock, target: Target, options: Options, lock_sha256: str) -> Plan:
    """The layers of the image of one target."""
    by_size = sorted(lock.distributions, key=lambda item: (-item.wheel.size_bytes, item.name))
    large = [item for item in by_size if item.wheel.size_bytes >= LARGE_BYTES][:MOST_LARGE]
    small = [item for item in lock.distributions if item not in large]
    python = ".".join(target.interpreter.version.split(".")[:2])

    def wheels(title: str, *digests: str) -> PlannedLayer:
        return PlannedLayer(step=Step.WHEELS, title=title, inputs=(PREFIX, python, *digests))

    interpreter = target.interpreter
    layers = [
        PlannedLayer(
            step=Step.BASE, title=target.base, inputs=tuple(sorted(item.sha256 for item in target.os_packages))
        ),
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
        *_conda(target, python),
        *(wheels(f"{item.name} {item.version}", item.wheel.sha256) for item in large),
    ]
    if small:
        title = f"{len(small)} small wheels" if len(small) > 1 else f"{small[0].name} {small[0].version}"
        layers.append(wheels(title, *sorted(item.wheel.sha256 for item in small)))
    layers += [
        PlannedLayer(step=Step.MODEL, title=model.name, inputs=(model.name, str(model.size_bytes), model.sha256))
        for model in options.models
    ]
    if options.app is not None:
        layers.append(PlannedLayer(step=Step.APP, title="application", inputs=(options.app,)))
    if options.serve:
        inputs = (options.server or "", serving.settings(options))
        layers.append(PlannedLayer(step=Step.SERVER, title=f"server ({options.serve})", inputs=inputs))
    layers.append(PlannedLayer(step=Step.PAPERS, title="lock and snapshot", inputs=(lock_sha256, lock.snapshot.sha256)))
    return Plan(platform=target.platform, options=options, layers=tuple(layers))


def _conda(target: Target, python: str) -> list[PlannedLayer]:
    """
    The layers of conda packages, in the order in which conda links them: what a package requires lies below it. So
    where two write one path, the one that conda links later wins, in an image too. A large one has a layer of its own.
    """
    ordered = closure.conda_order(target.conda_packages)
    by_size = sorted(ordered, key=lambda item: (-item.size_bytes, item.name))
    large = {item.name for item in by_size[:MOST_LARGE] if item.size_bytes >= LARGE_BYTES}
    layers = []
    for _, run in itertools.groupby(ordered, key=lambda item: item.name if item.name in large else ""):
        items = list(run)
        title = f"{items[0].name} {items[0].version}" if len(items) == 1 else f"{len(items)} conda packages"
        inputs = (PREFIX, python, *(digest for item in items for digest in (item.sha256, _kept_of(item))))
        layers.append(PlannedLayer(step=Step.CONDA, title=title, inputs=inputs))
    return layers


def _kept_of(item: LockedCondaPackage) -> str:
    """What its record in the image says beyond what its file does."""
    said = [item.channel, item.url, item.md5, item.requested, item.depends]
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


def history(layer: PlannedLayer) -> str:
    """The line by which `docker history` shows a layer."""
    return f"envparity {layer.step}: {layer.title}"
