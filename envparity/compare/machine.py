"""The interpreter and what it runs on: Python, system, processor, accelerators."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envparity.compare.sides import Fact, Sides, joined, listed, unknown, why, yes_no
from envparity.compare.versions import Stated, versions
from envparity.values import Accelerators, Cpu, Difference, Python, System

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


def devices_in_words(stack: Accelerators) -> str:
    """`NVIDIA A100-SXM4-80GB x 2`, or `no devices`."""
    names = (device.title + (f" x {device.count}" if device.count > 1 else "") for device in stack.devices)
    return ", ".join(names) or "no devices"


def accelerators(sides: Sides, left: Accelerators, right: Accelerators) -> Iterator[Fact]:
    """Driver, libraries, devices, and what contradicts itself; the memory of a device is recorded only."""
    for field in ("driver", "driver_cuda"):
        have, want = getattr(left, field), getattr(right, field)
        if have and want:
            yield from sides.texts("accelerators", field, have, want)
        elif have or want:
            yield _presence(sides, "driver", "accelerators", field, have, want)
    yield from listed(sides, joined(left.runtimes), joined(right.runtimes), "version")
    here, there = ({device.title for device in side.devices} for side in (left, right))
    for title in sorted(here | there):
        (have, count), (want, other) = (_alike(side, title) for side in (left, right))
        if title in here and title in there:
            if bool(have) == bool(want):
                yield from sides.texts(title, "capability", have, want)
            else:
                note = why(sides.after if have else sides.before, "accelerators", title, "capability", "devices")
                yield unknown("accelerators", title, "capability", before=have, after=want, note=note)
            yield from sides.texts(title, "count", str(count), str(other))
            slices, others = (_slices(side, title) for side in (left, right))
            if slices or others:
                yield from sides.texts(title, "mig", slices or "whole", others or "whole")
        else:
            texts = (text or "present" if number else "" for text, number in ((have, count), (want, other)))
            yield _presence(sides, "devices", title, "capability", *texts)
    for sentence in sorted({*left.contradictions} ^ {*right.contradictions}):
        texts = (sentence if sentence in side.contradictions else "" for side in (left, right))
        yield _presence(sides, "driver", "accelerators", "contradiction", *texts)


def _presence(sides: Sides, part: str, item: str, field: str, left: str, right: str) -> Difference:
    """Added or removed, unless a gap says that the other side does not know its `driver`, or its `devices`."""
    silent = sides.after if left else sides.before
    for gap in silent.gaps:
        if gap.section == sides.section and gap.item in {part, ""}:
            return unknown(sides.section, item, field, before=left, after=right, note=gap.reason)
    return sides.presence(item, field, left, right)


def _alike(stack: Accelerators, title: str) -> tuple[str, int]:
    """Of the devices of one name their capability, and how many there are."""
    devices = [device for device in stack.devices if device.title == title]
    return " and ".join(sorted({device.capability for device in devices} - {""})), sum(item.count for item in devices)


def _slices(stack: Accelerators, title: str) -> str:
    return joined((title, device.mig) for device in stack.devices if device.title == title).get(title, "")
