"""Which shared libraries numbers come from, known by the names of their files."""

from __future__ import annotations

import re
from typing import Iterable

# Product: its role, and how its file is called between `lib` and what follows (`-HASH` of a repaired wheel, `.so`).
# Helpers that lie beside their library (libcublasLt, libcudnn_ops, the kernels of MKL) tell nothing more than it does.
_FILES = {
    "openblas": ("blas", r"(?:scipy_)?openblas\w*"),
    "mkl": ("blas", r"mkl_(?:rt|core)"),
    "blis": ("blas", r"blis"),
    "flexiblas": ("blas", r"flexiblas\w*"),
    "atlas": ("blas", r"[st]?atlas"),
    "armpl": ("blas", r"armpl\w*"),
    "nvpl": ("blas", r"nvpl_blas\w*"),
    "blas": ("blas", r"c?blas(?:64)?"),
    "lapack": ("lapack", r"lapacke?(?:64)?"),
    "libgomp": ("openmp", r"gomp(?!-plugin)"),
    "libiomp": ("openmp", r"iomp5"),
    "libomp": ("openmp", r"omp5?"),
    "fftw": ("fft", r"fftw3[fl]?"),
    "cuda": ("cuda", r"cuda"),
    "cudart": ("cuda", r"cudart"),
    "cublas": ("cuda", r"cublas"),
    "cudnn": ("cuda", r"cudnn"),
    "nccl": ("cuda", r"nccl"),
    "cufft": ("cuda", r"cufft"),
    "curand": ("cuda", r"curand"),
    "cusolver": ("cuda", r"cusolver"),
    "cusparse": ("cuda", r"cusparse"),
    "nvrtc": ("cuda", r"nvrtc(?!-builtins)"),
    "nvjitlink": ("cuda", r"nvJitLink"),
    "hip": ("rocm", r"amdhip64"),
    "rocblas": ("rocm", r"rocblas"),
    "miopen": ("rocm", r"MIOpen"),
    "rccl": ("rocm", r"rccl"),
}
_KNOWN = re.compile(
    "lib(?:%s)(?=[-.]).*?\\.so(?P<so>(?:\\.[0-9]+)*)$"
    % "|".join("(?P<%s>%s)" % (product, pattern) for product, (_, pattern) in _FILES.items())
)
# `libopenblasp-r0.3.21.so`; a repaired wheel puts its hash into the number: `libopenblasp-r0-09e95953.3.13.so`.
_RELEASE = re.compile(r"-r([0-9]+)(?:-[0-9a-f]{8})?((?:\.[0-9]+)+(?:\.dev)?)\.so")


def library(name: str) -> tuple[str, str, str] | None:
    """Role, product and version (empty where the name does not say it) of a file; None where it is none of these."""
    found = _KNOWN.match(name)
    if not found:
        return None
    product = next(key for key, value in found.groupdict().items() if value and key != "so")
    role = _FILES[product][0]
    release = _RELEASE.search(name)
    version = release.group(1) + release.group(2) if release else ""
    # Of CUDA's libraries the number of the file is that of the release; of others it is that of the interface alone.
    if not version and role == "cuda":
        version = found.group("so").lstrip(".")
    return role, product, version


def native_rows(paths: Iterable[str]) -> list[str]:
    """Those of the paths that a RECORD lists which are such libraries."""
    return [path for path in paths if ".so" in path and library(path.rpartition("/")[2])]
