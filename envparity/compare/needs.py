"""What is served asks more than its place has: wheels for a newer C library, CUDA for newer devices."""

from __future__ import annotations

from collections.abc import Iterator

from envparity.compare.distributions import effective
from envparity.values import Change, Difference, Distribution, Environment, glibc_floor

_CAPABILITY = {"11": (3, 5), "12": (5, 0), "13": (7, 5)}
"""CUDA's major version -> the oldest compute capability that it makes code for (release notes of CUDA 11, 12, 13)."""


def unmet(environment: Environment, assumed: Environment | None = None) -> tuple[Difference, ...]:
    """
    What the distributions and GPU libraries of an environment need and its own place does not have, as differences of
    the section `needs`; nothing where either is not known.

    Where it only declares a version, the wheel is taken to be the one that `assumed` has of that version.
    """
    return (*_glibc(environment, assumed), *_capability(environment))


def _glibc(environment: Environment, assumed: Environment | None) -> Iterator[Difference]:
    system = environment.system
    if system is None or system.libc not in {"glibc", "musl"} or not system.libc_version:
        return
    here = _numbers(system.libc_version)
    others = effective(assumed, environment) if assumed is not None else {}
    for name, found in sorted(effective(environment, assumed).items()):
        floor = _floor(found) or _floor(_same(found, others.get(name)))
        if floor and (system.libc != "glibc" or here < _numbers(floor)):
            yield Difference(
                section="needs",
                item=name,
                field="glibc",
                change=Change.CHANGED,
                before=f"glibc {floor}",
                after=f"{system.libc} {system.libc_version}",
            )


def _same(found: Distribution, other: Distribution | None) -> Distribution | None:
    same = other is not None and other.version == (found.version or found.specifier.removeprefix("=="))
    return other if same and not found.wheel_tags else None


def _floor(distribution: Distribution | None) -> str:
    """The oldest glibc that its wheel promises to run with; empty where it has a tag that asks for none."""
    platforms = [tag.rpartition("-")[2] for tag in distribution.wheel_tags] if distribution is not None else []
    return "" if "any" in platforms else glibc_floor(platforms)


def _capability(environment: Environment) -> Iterator[Difference]:
    stack = environment.accelerators
    majors = {version.partition(".")[0] for name, version in (stack.runtimes if stack else ()) if name == "cuda"}
    if stack is None or len(majors) != 1:
        return  # none, or several, of which a contradiction tells
    major = majors.pop()
    floor = _CAPABILITY.get(major)
    for device in stack.devices:
        capability = _numbers(device.capability) if device.vendor == "nvidia" else ()
        if floor and capability and capability < floor:
            yield Difference(
                section="needs",
                item=device.title,
                field="capability",
                change=Change.CHANGED,
                before=f"{floor[0]}.{floor[1]} for CUDA {major}",
                after=device.capability,
            )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
