"""A plan with its reasons: what each layer holds, how large it is as far as that is known, and why it is one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from envparity.cache import Cache
from envparity.errors import EnvparityError
from envparity.image import model, stripping, zips
from envparity.image.plan import LARGE_BYTES, MOST_LAYERS
from envparity.oci.pack import PackedLayer
from envparity.values import LayerTold, Lock, LockedCondaPackage, Plan, PlannedLayer, PlanTold, Step, Target

_REASONS: Mapping[Step, str] = {
    Step.BASE: "changes least",
    Step.IMAGE: "as the base has it",
    Step.PACKAGES: "what the base lacks",
    Step.INTERPRETER: "by its version",
    Step.CONDA: "in conda's order",
    Step.AUTHORITIES: "by --ca-bundle",
    Step.MODEL: "this image alone",
    Step.APP: "this image alone",
    Step.SERVER: "by our release",
    Step.PAPERS: "this image alone",
}


def explained(
    plan: Plan,
    lock: Lock,
    target: Target,
    made: Callable[[PlannedLayer], PackedLayer | None],
    codec: Callable[[PlannedLayer], str],
    at_hand: Callable[[str], Path | None],
    of_conda: Callable[[LockedCondaPackage], Mapping[str, int] | None],
) -> PlanTold:
    """
    The plan, for a person. Nothing is fetched, made or written.

    Args:
        made: what was noted of a layer that was made before.
        codec: what a layer is packed with.
        at_hand: where the file of a sha256 lies, if it is here.
        of_conda: how many bytes of each kind in a conda package serve nobody; `None` where its file is not here.
    """
    files = {item.wheel.sha256: (f"{item.name} {item.version}", item.wheel.size_bytes) for item in lock.distributions}
    files |= {item.sha256: (f"{item.name} {item.version}", item.size_bytes) for item in target.conda_packages}
    files |= {item.sha256: (f"{item.name} {item.version}", item.size_bytes) for item in target.os_packages}
    strip = plan.options.strip
    wheels = {item.wheel.sha256: _members(at_hand(item.wheel.sha256), item.wheel.name) for item in lock.distributions}
    unserved = dict.fromkeys(stripping.KINDS, 0)
    for sha256, members in wheels.items():
        kinds = _kinds(members or ())
        for member in members or ():
            if member.name in kinds:
                unserved[kinds[member.name]] += member.size_bytes
        if members is not None:
            wheels[sha256] = tuple(member for member in members if kinds.get(member.name) not in strip)
    packages = [of_conda(item) for item in target.conda_packages]
    for sizes in packages:
        for kind, size_bytes in (sizes or {}).items():
            unserved[kind] += size_bytes
    return PlanTold(
        platform=plan.platform,
        layers=tuple(_told(layer, codec(layer), files, wheels, made(layer)) for layer in plan.layers),
        most_layers=MOST_LAYERS,
        unserved=tuple(unserved.items()),
        unseen=sum(members is None for members in wheels.values()),
        strip=strip,
        serve=plan.options.serve,
        by_lock=bool(plan.options.serve) and plan.options.serve == lock.serve,
        conda_unseen=sum(sizes is None for sizes in packages),
    )


def conda_unserved(item: LockedCondaPackage, package: Path, python: str, cache: Cache) -> Mapping[str, int]:
    """What of a conda package serves nobody, by kind; noted by what decides it."""
    from envparity.image import conda  # most images have nothing of it

    said = [stripping.RULES, python, item.sha256, *(one.name for one in item.replaced)]
    key = f"conda-unserved-{hashlib.sha256(msgspec.json.encode(said)).hexdigest()}"
    noted = cache.note(key, dict[str, int])
    if noted is None:
        try:
            noted = conda.unserved(item, package, python_xy=python)
        except EnvparityError:  # building says what is wrong with it
            return {}
        cache.write_note(key, noted)
    return noted


Members = tuple[zips.Member, ...]


def _told(
    layer: PlannedLayer,
    codec: str,
    files: Mapping[str, tuple[str, int]],
    wheels: Mapping[str, Members | None],
    made: PackedLayer | None,
) -> LayerTold:
    inputs = [files[digest] for digest in layer.inputs if digest in files]
    unpacked = _unpacked(layer, wheels) if made is None or not made.unpacked_bytes else made.unpacked_bytes
    if made is not None:
        packed: int | None = made.size_bytes
    else:
        packed = unpacked if layer.step is Step.MODEL else sum(size for _, size in inputs) or None
    alone = layer.step is Step.WHEELS and len(inputs) == 1 and inputs[0][1] >= LARGE_BYTES
    grouped = layer.step is Step.WHEELS and not alone
    return LayerTold(
        step=layer.step,
        title=layer.title,
        why="large: alone" if alone else "grouped by name" if grouped else _reason(layer),
        codec=codec,
        unpacked_bytes=unpacked,
        packed_bytes=packed,
        made=made is not None,
        holds=tuple(sorted(title for title, _ in inputs)),
    )


def _reason(layer: PlannedLayer) -> str:
    if layer.step is not Step.MODEL:
        return _REASONS.get(layer.step, "")
    held = model.held(layer)
    if len(held) > 1:
        return "grouped by name"
    if held[0].files and layer.title != held[0].name:
        return "large folder: in parts"
    large = not held[0].files and held[0].size_bytes >= model.PART_BYTES
    return "one file: never split" if large else _REASONS[layer.step]


def _unpacked(layer: PlannedLayer, wheels: Mapping[str, Members | None]) -> int | None:
    if layer.step is Step.MODEL:
        return model.size_bytes(layer)
    held = [wheels[digest] for digest in layer.inputs if digest in wheels]
    if layer.step is not Step.WHEELS or any(members is None for members in held):
        return None
    return sum(member.size_bytes for members in held for member in members or ())


def _members(wheel: Path | None, name: str) -> Members | None:
    if wheel is None:
        return None
    try:
        return zips.members(wheel, name)
    except EnvparityError:  # building says what is wrong with it
        return None


def _kinds(members: Members) -> dict[str, str]:
    try:
        return stripping.found(members)
    except EnvparityError:  # building says what is wrong with it
        return {}
