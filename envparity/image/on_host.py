"""
What would fail, or compute otherwise, on the host that an image is for: said before anything is downloaded.

An image brings everything but the kernel, the processor, and the driver of an accelerator.
"""

from __future__ import annotations

__all__ = ["check_host", "library_notes", "openmp_notes"]

from collections.abc import Iterator

from envparity.compare.needs import unmet
from envparity.errors import RefusedError
from envparity.values import MACHINES, Cpu, Environment, Lock, Target

_V2 = ("popcnt", "sse4_1", "sse4_2", "ssse3")
_V3 = ("avx2", "bmi1", "bmi2", "fma", "movbe")

_COMPAT = "polars-runtime-compat"
_INSTRUCTIONS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("numpy", ">=2.4", _V2, "lock an older numpy"),
    ("pyarrow", ">=26", _V2, "lock an older pyarrow"),
    ("polars", ">=0.20", _V3, "lock `polars-lts-cpu` or `polars[rtcompat]`"),
    ("polars-runtime-32", "", _V3, "lock `polars[rtcompat]`"),
    ("polars-runtime-64", "", _V3, "lock `polars[rtcompat]`"),
)
"""
Distribution, its releases, and the instructions that its x86-64 wheels use wherever they run, as the flags of
/proc/cpuinfo; then the way out. Each was imported under an emulated Core 2, Nehalem and Haswell (numpy 2.4.6,
pyarrow 26.0.1, polars 2.1.0): where one is missing the process ends with SIGILL. Of older polars the project says so
(https://github.com/pola-rs/polars/issues/11658).
"""


def check_host(lock: Lock, target: Target, placed: Environment, host: Environment, trained: Environment) -> list[str]:
    """
    Refuse what cannot start on a host, and tell what will compute otherwise there, a sentence each.

    Args:
        lock: of the one `target`.
        placed: what the lock makes, with the processor and the accelerators of the host.
        host: the host as it was recorded.
        trained: the content of the lock's snapshot.

    Raises:
        RefusedError: the processor is another one or too old, the driver or the device is older than what the wheels'
            CUDA starts with; each with the remedy, all at once.
    """
    problems = [*_processor(lock, target, host), *_accelerator(placed)]
    if problems:
        raise RefusedError(
            f"the image of this lock would not run on the host `{host.origin.reference}`",
            hint="serve on another host, or lock what runs on this one; `envparity diff --host` compares the two",
            details=tuple(problems),
        )
    return [*_slower(placed), *_other_digits(trained.cpu, host.cpu)]


def library_notes(target: Target) -> Iterator[str]:
    """The shared objects that something locked needs, and that neither it nor a known package of the base brings."""
    missing = [item for item in target.left_out if item.kind == "library" and item.reason.startswith("no package")]
    if missing:
        listed = ", ".join(f"`{item.name}`" for item in missing)
        yield (
            f"missing in the image: {listed}; what needs it does not load. Look which package of {target.base} has it"
            f" (`apt-file search {missing[0].name}`), and lock again with `--add-os`"
        )


def openmp_notes(trained: Environment, lock: Lock) -> Iterator[str]:
    """
    Two different OpenMP runtimes of what is locked: they hang or crash where both are loaded, as Intel's and LLVM's do
    (https://github.com/joblib/threadpoolctl/blob/master/multiple_openmp.md), and each has threads of its own.
    """
    names = {item.name for item in lock.distributions}
    owners: dict[str, set[str]] = {}
    for item in trained.native_libraries or ():
        if item.role == "openmp" and item.owner in names:
            owners.setdefault(item.product or item.name, set()).add(item.owner)
    if len(owners) > 1:
        listed = "; ".join(f"{product} of {', '.join(sorted(those))}" for product, those in sorted(owners.items()))
        yield (
            f"{len(owners)} OpenMP runtimes lie in the image, as where it was trained: {listed}. A process that loads"
            " both can hang, and has more threads than cores: use builds that share one, or set OMP_NUM_THREADS=1"
        )


def _processor(lock: Lock, target: Target, host: Environment) -> Iterator[str]:
    architecture = target.platform.split("/")[1]
    machine = host.system.machine if host.system is not None else ""
    if machine and machine != MACHINES.get(architecture, architecture):
        yield f"the image is for {target.platform}, and the host is {machine}: lock for it too, with `--platform`"
        return
    flags = set(host.cpu.flags) if host.cpu is not None else set()
    if not flags or architecture != "amd64":
        return
    has_compat = any(item.name == _COMPAT for item in lock.distributions)  # which is then loaded in their place
    for item in lock.distributions:
        if "x86_64" not in item.wheel.name or (has_compat and item.name.startswith("polars-runtime")):
            continue
        for name, releases, needed, remedy in _INSTRUCTIONS:
            missing = sorted(set(needed) - flags)
            if item.name == name and missing and _is_one_of(item.version, releases):
                yield f"{item.name} {item.version}: needs {', '.join(missing)}, which the processor lacks; {remedy}"


def _is_one_of(version: str, releases: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(releases).contains(version, prereleases=True)


def _accelerator(placed: Environment) -> Iterator[str]:
    stack = placed.accelerators
    if stack is not None and stack.driver and stack.driver_floor and _older(stack.driver, stack.driver_floor):
        compatible = [version for name, version in stack.runtimes if name == "cuda-compat"]
        if all(_older(version, stack.driver_floor) for version in compatible):
            yield (
                f"{stack.floor_by}: needs an NVIDIA driver of {stack.driver_floor} or newer, and the host has"
                f" {stack.driver}; update the driver, or lock builds for an older CUDA"
            )
    for each in unmet(placed):
        if each.field == "capability":
            yield (
                f"{each.item}: has compute capability {each.after}, and needs {each.before}; serve on a newer device,"
                " or lock builds for an older CUDA"
            )


def _slower(placed: Environment) -> Iterator[str]:
    stack = placed.accelerators
    if stack is not None and stack.driver_floor and not stack.driver:
        yield (
            f"the host has no NVIDIA driver, and {stack.floor_by} needs {stack.driver_floor}: the model runs on the"
            " processor there, if at all"
        )


def _other_digits(trained: Cpu | None, host: Cpu | None) -> Iterator[str]:
    before, after = (each.isa_level if each is not None else "" for each in (trained, host))
    if before and after and before != after:
        yield (
            f"trained on a processor of the level {before}, and the host has {after}: numeric libraries choose other"
            " code there, and last digits differ; serve on the same level, or compare predictions with a tolerance"
        )


def _older(one: str, other: str) -> bool:
    return _numbers(one) < _numbers(other)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
