"""Two Environments layer by layer, from the model down to the processor: what each side is, in few words."""

from __future__ import annotations

from collections.abc import Iterable

from envparity.compare import machine
from envparity.compare.distributions import effective
from envparity.compare.versions import Stated
from envparity.values import Basis, Difference, Environment, Layer
from envparity.words import counted, listed

_FIRST = 3


def overview(before: Environment, after: Environment) -> tuple[Layer, ...]:
    """The layers that at least one side knows. It sums up and compares nothing: `1.0` and `1.0.0` are two texts."""
    left, right = _layers(before, after), _layers(after, before)
    return tuple(Layer(name=name, before=left[name], after=right[name]) for name in left if left[name] or right[name])


def same(before: Environment, after: Environment, differences: Iterable[Difference]) -> tuple[str, ...]:
    """The libraries of both sides of which none of the differences speaks, each with its version: `numpy 1.26.4`."""
    have, want = effective(before, after), effective(after, before)
    told = {difference.item for difference in differences if difference.section == "distributions"}
    return tuple(f"{name} {Stated.of(have[name]).text}".strip() for name in sorted((have.keys() & want.keys()) - told))


def _layers(environment: Environment, other: Environment) -> dict[str, str]:
    return {
        "Model": _first([item.name for item in environment.artifacts or () if item.kind == "model"]),
        "Python libraries": _libraries(environment, other),
        "Python": _python(environment),
        "Native libraries": _native(environment),
        "C library": _c_library(environment),
        "Operating system": _system(environment),
        "Processor": _processor(environment),
        "Accelerators": machine.devices_in_words(environment.accelerators) if environment.accelerators else "",
    }


def _libraries(environment: Environment, other: Environment) -> str:
    words = []
    if environment.distributions is not None:
        found = effective(environment, other)
        declared = any(item.basis is Basis.DECLARED for item in found.values())
        words.append(counted(len(found), "library", "libraries") + (", declared" if declared else ""))
    if environment.conda_packages is not None:
        words.append(counted(sum(not item.virtual for item in environment.conda_packages), "conda package"))
    return ", ".join(words)


def _python(environment: Environment) -> str:
    python = environment.python
    return " ".join(filter(None, (Stated.of(python).text, python.implementation))) if python else ""


def _native(environment: Environment) -> str:
    items = environment.native_libraries or ()
    return _first([f"{item.product} {item.version}".strip() for item in items if item.role and item.product])


def _c_library(environment: Environment) -> str:
    system = environment.system
    return f"{system.libc} {system.libc_version}".strip() if system else ""


def _system(environment: Environment) -> str:
    system = environment.system
    words = [" ".join(filter(None, (machine.release(system) or system.os, system.machine)))] if system else []
    if environment.os_packages is not None:
        words.append(counted(len(environment.os_packages), "package"))
    return ", ".join(filter(None, words))


def _processor(environment: Environment) -> str:
    cpu = environment.cpu
    return ", ".join(filter(None, (cpu.model or cpu.vendor, cpu.isa_level))) if cpu else ""


def _first(names: list[str]) -> str:
    return listed(dict.fromkeys(names), _FIRST)
