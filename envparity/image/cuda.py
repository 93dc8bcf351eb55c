"""
Who brings CUDA's own libraries into an image: wheels, conda packages, packages of the base. Twice they are gigabytes
for nothing, and which of the two is loaded depends on search paths. The driver's (`libcuda.so.1`) is the host's.
"""

from __future__ import annotations

__all__ = ["carried", "in_packages", "notes"]

import functools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping

from envparity import resources
from envparity.values import Lock, NativeLibrary, Target

_WHEELS = re.compile(
    r"nvidia-(?:cuda-(?:runtime|nvrtc|cupti)|cublas|cudnn|cufft|curand|cusolver|cusparse|nccl|nvjitlink)\S*"
)
_CONDA = re.compile(
    r"cudatoolkit|cuda-(?:cudart|nvrtc|libraries|runtime)|(?:lib)?cudnn|nccl|lib(?:cublas|cufft|curand|cusolver|cusparse)"
)
_DRIVER = "cuda"


def carried(distributions: Iterable[str], conda: Iterable[str] = (), native: Iterable[NativeLibrary] = ()) -> list[str]:
    """
    What of a lock has libraries of CUDA in it, by name: by what it is called, or since the training has seen such files
    in it (torch of PyTorch's own index, up to 2.0).
    """
    names = frozenset(distributions)
    found = {name for name in names if _WHEELS.fullmatch(name)} | {name for name in conda if _CONDA.fullmatch(name)}
    inside: dict[str, set[str]] = {}
    for item in native:
        if (
            item.role == "cuda"
            and item.product != _DRIVER
            and item.owner_kind == "wheel"
            and item.owner in names - found
        ):
            inside.setdefault(item.owner, set()).add(item.product)
    return sorted({*found, *(f"{owner} ({', '.join(sorted(held))})" for owner, held in inside.items())})


def in_packages(target: Target) -> list[str]:
    """The packages of the operating system of an image that hold libraries of CUDA, with their versions."""
    return sorted(f"{item.name} {item.version}" for item in target.held_packages if _is_of_cuda(item.name))


def notes(lock: Lock, target: Target, native: Iterable[NativeLibrary] = ()) -> Iterator[str]:
    """That CUDA lies in an image twice, where it does."""
    conda = (item.name for item in target.conda_packages)
    both = carried((item.name for item in lock.distributions), conda, native), in_packages(target)
    if all(both):
        inside, below = (", ".join(names[:_FEW]) + (" …" if len(names) > _FEW else "") for names in both)
        yield (
            f"CUDA lies in the image twice, in {inside} and in the packages {below}: which is loaded depends on search"
            " paths. Lock with a base that has none: the driver is the host's, and the wheels bring all else"
        )


_FEW = 3


def _is_of_cuda(name: str) -> bool:
    return any(library != "rocm" and re.fullmatch(pattern, name) for pattern, library in _patterns().items())


@functools.cache
def _patterns() -> Mapping[str, str]:
    found: Mapping[str, str] = tomllib.loads(resources.data("cuda.toml").decode())["os"]
    return found
