"""
Which bytes go in which layer, decided from the lock and the options alone: pure, so that two machines decide alike.

From the lowest layer to the highest by how seldom they change: base, interpreter, large wheels one by one, the small
ones together, each model, the application, and the papers (lock and snapshot).
"""

from __future__ import annotations

from envparity.values import Lock, Options, Plan, PlannedLayer, Step, Target

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
    layers.append(PlannedLayer(step=Step.PAPERS, title="lock and snapshot", inputs=(lock_sha256, lock.snapshot.sha256)))
    return Plan(platform=target.platform, options=options, layers=tuple(layers))


def history(layer: PlannedLayer) -> str:
    """The line by which `docker history` shows a layer."""
    return f"envparity {layer.step}: {layer.title}"
