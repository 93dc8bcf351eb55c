"""The interpreter and what it runs on: Python, system, processor, accelerators."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envparity.compare.sides import Fact, Sides, joined, listed, yes_no
from envparity.compare.versions import Stated, versions
from envparity.values import Accelerators, Cpu, Python, System

FLAG_FAMILIES: dict[str, re.Pattern[str]] = {
    "avx": re.compile(r"avx|avx2|fma|f16c"),
    "avx512": re.compile(r"avx512(?!.*(vnni|bf16|fp16)).*"),
    "vnni": re.compile(r"avx512_?vnni|avx_?vnni.*"),
    "amx": re.compile(r"amx_.*"),
    "half": re.compile(r"avx512_?(bf16|fp16)"),
    "sve": re.compile(r"sve.*"),
    "arm-int8": re.compile(r"asimddp|i8mm|bf16"),
}
"""The processor's instructions that libraries choose another code path by; other flags are recorded only."""


def python(sides: Sides, left: Python, right: Python) -> Iterator[Fact]:
    """Version, build, ABI, and what of its switches moves numbers or texts."""
    yield from versions(sides, "python", Stated.of(left), Stated.of(right))
    for field in ("implementation", "soabi", "build", "compiler"):
        yield from sides.texts("python", field, getattr(left, field), getattr(right, field))
    for field in ("debug", "free_threaded", "jit", "utf8_mode", "user_site"):
        yield from sides.texts("python", field, yes_no(getattr(left, field)), yes_no(getattr(right, field)))
    optimize = ("" if side.optimize is None else str(side.optimize) for side in (left, right))
    yield from sides.texts("python", "optimize", *optimize)
    if left.path and right.path:  # elsewhere nobody looked
        have, want = (dict.fromkeys(side.planted, "present") for side in (left, right))
        yield from listed(sides, have, want, "planted")
    if left.libraries and right.libraries:
        yield from listed(sides, dict(left.libraries), dict(right.libraries), "library")
    elif left.libraries or right.libraries:
        known = (f"{len(side.libraries)} libraries" if side.libraries else "" for side in (left, right))
        yield from sides.texts("python", "libraries", *known)


def release(system: System) -> str:
    """`debian 12`."""
    return " ".join(filter(None, (system.id, system.version_id or system.codename)))


def system(sides: Sides, left: System, right: System) -> Iterator[Fact]:
    """Kernel family, machine, libc, release, and what formats and parses texts."""
    for field in ("os", "machine", "libc", "libc_version", "locale", "time_zone", "tzdata"):
        yield from sides.texts("system", field, getattr(left, field), getattr(right, field))
    yield from sides.texts("system", "release", release(left), release(right))
    yield from sides.texts("system", "ca_sha256", left.ca_sha256 or "", right.ca_sha256 or "")
    if left.fonts is not None and right.fonts is not None:
        yield from listed(sides, dict.fromkeys(left.fonts, "present"), dict.fromkeys(right.fonts, "present"), "font")


def cpu(sides: Sides, left: Cpu, right: Cpu) -> Iterator[Fact]:
    """Maker, model, ISA level, and the instructions that libraries choose a code path by."""
    for field in ("vendor", "model", "isa_level"):
        yield from sides.texts("cpu", field, getattr(left, field), getattr(right, field))
    if bool(left.flags) != bool(right.flags):
        count = {True: f"{len(left.flags or right.flags)} flags", False: ""}
        yield from sides.texts("cpu", "flags", count[bool(left.flags)], count[bool(right.flags)])
        return
    for family, pattern in FLAG_FAMILIES.items():
        have, want = (" ".join(sorted(filter(pattern.fullmatch, cpu.flags))) for cpu in (left, right))
        if have == want:
            if have:
                yield None
        elif have and want:
            yield from sides.texts("cpu", family, have, want)
        else:
            yield sides.presence("cpu", family, have, want)


def accelerators(sides: Sides, left: Accelerators, right: Accelerators) -> Iterator[Fact]:
    """Driver, libraries and devices; memory and the slices of a device are recorded only."""
    for field in ("driver", "driver_cuda"):
        yield from sides.texts("accelerators", field, getattr(left, field), getattr(right, field))
    have, want = (joined(side.runtimes) for side in (left, right))
    yield from listed(sides, have, want, "version")
    have, want = (
        joined((f"{device.vendor} {device.name}", device.capability or "present") for device in side.devices)
        for side in (left, right)
    )
    yield from listed(sides, have, want, "capability")
