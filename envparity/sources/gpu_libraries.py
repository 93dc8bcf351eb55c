"""What the packages of an Environment say of GPU libraries, the driver that they need, and where two disagree."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from envparity import resources
from envparity.values import Accelerators, CondaPackage, Distribution, Environment
from envparity.words import listed

CUDA = "cuda"

# torch 2.5.1+cu124, jaxlib 0.4.9+cuda12.cudnn88, torch 2.5.1+rocm6.2
_LOCAL = re.compile(r"\+(?:.*\.)?cu(?:da)?(\d{2,3})(?![\d])")
_LOCAL_ROCM = re.compile(r"\+(?:.*\.)?rocm(\d+\.\d[\d.]*)")
# nvidia-cudnn-cu12, cudf-cu12, cupy-cuda12x, jax-cuda12-plugin
_ENDING = re.compile(r"-cu(?:da)?(\d{2,3})x?(?=-|$)")
# py3.12_cuda12.1_cudnn8.9.2_0 of the channel pytorch, cuda126_mkl_py312_0 of conda-forge
_BUILD = re.compile(r"cuda_?(\d+\.\d+|\d{3})")
_BUILD_CUDNN = re.compile(r"cudnn_?(\d+\.[\d.]*\d)")
_NUMBERS = re.compile(r"(?:\d+:)?(\d+(?:\.\d+)*)")
_OF_TORCH = frozenset(["torch", "pytorch", "pytorch-gpu", "libtorch", "pytorch-cuda"])
_CUDA_BY_VERSION = frozenset(["cuda-toolkit", "cuda-bindings", "cuda-python", "nvidia-cuda-runtime"])


class Statement(NamedTuple):
    """What one package says: it holds this version of a library or, with `made_for`, was only made for it."""

    library: str
    version: str
    place: str
    package: str
    name: str
    made_for: bool = False


def with_gpu_libraries(environment: Environment) -> Environment:
    """
    The same environment, its accelerators completed: with the libraries that its distributions, conda and system
    packages hold, the oldest driver that those of Python need, and a sentence for each contradiction.

    Where nobody looked for accelerators nothing is added: what a lock file lists is compared by its distributions.
    """
    stack = environment.accelerators
    if stack is None:
        return environment
    stated = [*statements(environment)]
    floor, by = driver_floor(stated)
    completed = msgspec.structs.replace(
        stack,
        runtimes=_merged([*stack.runtimes, *((item.library, item.version) for item in stated if _is_library(item))]),
        driver_floor=floor,
        floor_by=by,
        contradictions=tuple(sorted({*stack.contradictions, *contradictions(stack, stated, floor, by)})),
    )
    return msgspec.structs.replace(environment, accelerators=completed)


def statements(environment: Environment) -> Iterator[Statement]:
    """What each package says, in the order of the sections."""
    for distribution in environment.distributions or ():
        yield from _of_distribution(distribution)
    for package in environment.conda_packages or ():
        yield from _of_conda(package)
    for item in environment.os_packages or ():
        library = _of_pattern(item.name)
        version = _NUMBERS.match(item.version)
        if library and version:
            yield Statement(library, version[1], item.manager, f"{item.name} {item.version}", item.name)


def driver_floor(stated: Iterable[Statement]) -> tuple[str, str]:
    """The oldest driver that the packages of Python need, and the one that needs it; both empty where none does."""
    needed: tuple[tuple[int, ...], bool, str, str] | None = None
    for item in stated:
        floor = _floor(item.version) if item.library == CUDA and item.place in {"pip", "conda"} else ""
        if floor:
            # Of those that need the same, the runtime itself speaks before what was made for it.
            this = (_numbers(floor), not item.made_for, item.package, floor)
            needed = this if needed is None or this[:2] > needed[:2] else needed
    return (needed[3], needed[2]) if needed else ("", "")


def contradictions(stack: Accelerators, stated: list[Statement], floor: str, by: str) -> Iterator[str]:
    """What cannot be both, as sentences. None is resolved here: nobody knows which one the program will meet."""
    yield from _torch(stated)
    yield from _majors(stated)
    cudnn = [
        Statement("cudnn", version, "files", "the system's folders", "")
        for name, version in stack.runtimes
        if name == "cudnn"
    ]
    by_major = _by_major(item for item in [*cudnn, *stated] if item.library == "cudnn")
    if len(by_major) > 1:
        yield f"cuDNN is there in several major versions: {_listed(by_major)}"
    compatible = [_numbers(version) for name, version in stack.runtimes if name == "cuda-compat"]
    if stack.driver and floor and max([_numbers(stack.driver), *compatible]) < _numbers(floor):
        supports = f"supports CUDA up to {stack.driver_cuda} and " if stack.driver_cuda else ""
        yield f"the driver {stack.driver} {supports}is older than {floor}, the oldest that {by} starts with"


def _torch(stated: list[Statement]) -> Iterator[str]:
    """Two builds of PyTorch for different CUDA versions, whoever installed them."""
    builds: dict[str, list[str]] = {}
    for item in stated:
        if item.library == CUDA and item.made_for and item.name in _OF_TORCH:
            builds.setdefault(item.version, []).append(f"{item.package} by {item.place}")
    if len(builds) > 1:
        said = (f"CUDA {version} ({', '.join(sorted(set(packages)))})" for version, packages in builds.items())
        yield f"PyTorch is made for {' and for '.join(sorted(said))}"


def _majors(stated: list[Statement]) -> Iterator[str]:
    """Packages of one Python for several major versions of CUDA."""
    found = _by_major(item for item in stated if item.library == CUDA and item.place in {"pip", "conda"})
    if len(found) > 1:
        yield f"the packages of Python are of several major versions of CUDA: {_listed(found)}"


def _by_major(stated: Iterable[Statement]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item in stated:
        packages = found.setdefault(item.version.partition(".")[0], [])
        if item.package not in packages:
            packages.append(item.package)
    return found


def _listed(by_major: Mapping[str, list[str]]) -> str:
    parts = []
    for major, packages in sorted(by_major.items(), key=lambda pair: int(pair[0])):
        parts.append(f"{major} ({listed(packages, 3)})")
    return " and ".join(parts)


def _is_library(item: Statement) -> bool:
    # `cudf-cu12` says for which CUDA it was made, and not which one it holds.
    return not item.made_for or "." in item.version


def _of_distribution(item: Distribution) -> Iterator[Statement]:
    if item.tooling or not item.version:
        return
    ending = _ENDING.search(item.name)
    base = item.name[: ending.start()] if ending else item.name
    package = f"{item.name} {item.version}" + (" (shadowed)" if item.shadowed else "")
    say = functools.partial(Statement, place="pip", package=package, name=item.name)
    library = _table()["wheels"].get(base) if base.startswith("nvidia-") else None
    version = _NUMBERS.match(item.version)
    if library and version:
        yield say(library, version[1])
    if library == CUDA:
        return
    local, rocm = _LOCAL.search(item.version), _LOCAL_ROCM.search(item.version)
    if local:
        yield say(CUDA, _spelled(local[1]), made_for=True)
    elif ending:
        yield say(CUDA, _spelled(ending[1]), made_for=True)
    elif base in _CUDA_BY_VERSION and version:
        yield say(CUDA, version[1].partition(".")[0], made_for=True)
    if rocm:
        yield say("rocm", rocm[1], made_for=True)


def _of_conda(item: CondaPackage) -> Iterator[Statement]:
    version = _NUMBERS.match(item.version)
    if item.virtual or item.channel == "pypi" or not version:
        return
    say = functools.partial(Statement, place="conda", package=f"{item.name} {item.version}", name=item.name)
    library = _table()["conda"].get(item.name)
    if library:
        yield say(library, version[1])
    elif item.name == "pytorch-cuda":
        yield say(CUDA, version[1], made_for=True)
    else:
        build, cudnn = _BUILD.search(item.build), _BUILD_CUDNN.search(item.build)
        if build:
            yield say(CUDA, build[1] if "." in build[1] else _spelled(build[1]), made_for=True)
        if cudnn:
            yield say("cudnn", cudnn[1], made_for=True)


def _spelled(digits: str) -> str:
    """`124` is 12.4, `92` is 9.2, `12` is 12."""
    if len(digits) == 3:
        return f"{digits[:2]}.{digits[2]}"
    return digits if int(digits) < 50 else f"{digits[0]}.{digits[1]}"


def _merged(runtimes: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Each version once, and none that only says less of another one (`12.4` beside `12.4.127`)."""
    pairs = set(runtimes)
    return tuple(
        sorted(
            (name, version)
            for name, version in pairs
            if not any(name == other and longer.startswith(f"{version}.") for other, longer in pairs)
        )
    )


def _floor(version: str) -> str:
    """The oldest driver for a CUDA version, by its first two numbers or else by the first."""
    table: Mapping[str, str] = _table()["driver"]
    parts = version.split(".")
    return table.get(".".join(parts[:2])) or table.get(parts[0]) or ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _of_pattern(name: str) -> str:
    # Thousands of names, of which a handful can match.
    if "cud" not in name and "nccl" not in name and "cublas" not in name and "rocm" not in name:
        return ""
    return next((library for pattern, library in _table()["os"].items() if re.fullmatch(pattern, name)), "")


@functools.cache
def _table() -> Any:
    import tomllib

    return tomllib.loads(resources.data("cuda.toml").decode())
