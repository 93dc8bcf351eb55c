"""The processor, from `/proc/cpuinfo`."""

from __future__ import annotations

from typing import Iterator, Mapping

from envparity.collectors.shapes import Fact, Tree
from envparity.collectors.tree import gap, why

# The micro-architecture levels of the x86-64 psABI (https://gitlab.com/x86-psABIs/x86-64-ABI), in the kernel's names:
# LZCNT is `abm`, SSE3 is `pni`, CMPXCHG16B is `cx16`, OSXSAVE shows as `xsave`.
_LEVELS = (
    ("x86-64-v1", "cmov cx8 fpu fxsr mmx syscall sse sse2"),
    ("x86-64-v2", "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"),
    ("x86-64-v3", "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"),
    ("x86-64-v4", "avx512f avx512bw avx512cd avx512dq avx512vl"),
)
_ARM_VENDORS = {"0x41": "ARM", "0x43": "Cavium", "0x46": "Fujitsu", "0x48": "HiSilicon", "0x4e": "NVIDIA",
                "0x51": "Qualcomm", "0x53": "Samsung", "0x61": "Apple", "0xc0": "Ampere"}  # fmt: skip
# The server cores by the numbers of their makers (MIDR_EL1), in the names of Linux's `cputype.h`.
_ARM_PARTS = {
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x46", "0x001"): "A64FX",
    ("0xc0", "0xac3"): "Ampere-1",
}


def cpu(tree: Tree) -> Iterator[Fact]:
    """Observe the first processor that the kernel lists; a gap where there is no `/proc/cpuinfo`."""
    try:
        text = tree.read("/proc/cpuinfo").decode("utf-8", "replace")
    except OSError as error:
        yield gap("cpu", "not-recorded", "/proc/cpuinfo: " + why(error))
        return
    yield cpu_of(text)


def cpu_of(text: str) -> Fact:
    """
    The fact that one `/proc/cpuinfo` text says of its first processor; `isa_level` is empty on anything but x86-64.
    What the kernel says `unknown` of (the microcode, in some guests) is empty.
    """
    first: dict[str, str] = {}
    for line in text.split("\n"):
        key, colon, value = line.partition(":")
        if colon:
            value = value.strip()
            first.setdefault(key.strip(), "" if value == "unknown" else value)
    listed = first.get("flags") or first.get("Features") or first.get("features") or first.get("isa") or ""
    flags = sorted(set(listed.split()))
    implementer, part = first.get("CPU implementer", ""), first.get("CPU part", "")
    return {
        "kind": "cpu",
        "vendor": first.get("vendor_id") or _ARM_VENDORS.get(implementer, implementer),
        "model": first.get("model name") or _ARM_PARTS.get((implementer, part)) or _other_model(first, part),
        # Of x86 the family and the model number in it; of ARM the architecture, with variant and revision of a part.
        "family": _pair(first.get("cpu family", ""), first.get("model", "")) or first.get("CPU architecture", ""),
        "stepping": first.get("stepping") or _pair(first.get("CPU variant", ""), first.get("CPU revision", "")),
        "microcode": first.get("microcode", ""),
        "isa_level": isa_level(flags) if "flags" in first else "",
        "flags": flags,
    }


def _other_model(first: Mapping[str, str], part: str) -> str:
    return "part " + part if part else first.get("cpu") or first.get("uarch") or ""


def _pair(one: str, other: str) -> str:
    """Two numbers as one text (`6.167`, `0x1.3`); empty unless both are there."""
    return one + "." + other if one and other else ""


def isa_level(flags: list[str]) -> str:
    """The highest psABI level of which every flag is there, with all levels below it."""
    known, level = set(flags), ""
    for name, needed in _LEVELS:
        if not known.issuperset(needed.split()):
            break
        level = name
    return level
