"""What the loaded BLAS and OpenMP libraries say of themselves, asked through their own functions."""

from __future__ import annotations

import os
import re
from typing import Any, Callable, Iterator

from envparity.collectors.shapes import Fact
from envparity.collectors.tree import gap

# Builds for 64-bit integers, and those of the scientific wheels, rename every function.
_AFFIXES = [(before, after) for before in ("", "scipy_") for after in ("", "64_", "_64")]
_OPENBLAS_LAYERS = {0: "disabled", 1: "pthreads", 2: "openmp"}
_MKL_LAYERS = {0: "intel", 1: "sequential", 2: "pgi", 3: "gnu", 4: "tbb"}


def numeric_libraries(files: list[Fact]) -> Iterator[Fact]:
    """
    Observe each of these loaded libraries: the kernel that it chose for this processor, its version, threads and layer.

    A library is reached by RTLD_NOLOAD, which never loads one, and asked only by functions that change nothing
    (OpenBLAS's `openblas_get_*`, oneMKL's `MKL_Get_*`, BLIS's `bli_*`, OpenMP's `omp_get_max_threads`).

    Args:
        files: the `native-library` facts of basis `loaded`.

    Yields:
        One `numerics` with all of them in `libraries`; a gap for each that could not be asked.
    """
    try:
        # Only now: it maps libffi, which is none of the process's own libraries. A Python can be built without it.
        import ctypes
    except ImportError as error:
        yield gap("numerics", "unread", "this Python has no ctypes, by which libraries are asked: %s" % error)
        return
    libraries = []
    for file in files:
        fact = {key: file.get(key, "") for key in ("product", "name", "role", "version", "owner")}
        try:
            opened = ctypes.CDLL(file["path"], mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
        except OSError as error:
            yield gap("numerics", "unread", "it cannot be asked: %s" % error, file["path"])
            continue
        told = _ASKED.get(fact["product"], _nothing)(opened, files)
        fact.update((key, value) for key, value in told.items() if value not in ("", None))
        libraries.append(fact)
    yield {"kind": "numerics", "libraries": libraries}


def _openblas(opened: Any, files: list[Fact]) -> Fact:
    config = _said(opened, "openblas_get_config", _AFFIXES).split()
    layer = _OPENBLAS_LAYERS.get(_number(opened, "openblas_get_parallel", _AFFIXES))
    threads = "omp_get_max_threads" if layer == "openmp" else "openblas_get_num_threads"
    return {
        "version": config[1] if len(config) > 1 and config[0] == "OpenBLAS" else "",
        "kernel": _said(opened, "openblas_get_corename", _AFFIXES),
        "layer": layer,
        "threads": _number(opened, threads, [*_AFFIXES, ("", "")]),
    }


def _mkl(opened: Any, files: list[Fact]) -> Fact:
    # libmkl_rt loads its other half when it is first used. Where it has not, a question would be that first use.
    if not any(file["name"].startswith("libmkl_core") for file in files):
        return {}
    version = layer = ""
    get_version = getattr(opened, "MKL_Get_Version_String", None)
    if get_version is not None:
        import ctypes

        buffer = ctypes.create_string_buffer(200)
        get_version(buffer, 200)
        found = re.search("Version ([^ ]+)", buffer.value.decode("ascii", "replace"))
        version = found.group(1) if found else ""
    set_layer = getattr(opened, "MKL_Set_Threading_Layer", None)
    if set_layer is not None:  # with -1 it sets nothing, and answers with the one in use
        layer = _MKL_LAYERS.get(set_layer(-1), "")
    return {"version": version, "layer": layer, "threads": _number(opened, "MKL_Get_Max_Threads", [("", "")])}


def _blis(opened: Any, files: list[Fact]) -> Fact:
    plain = [("", "")]
    kernel = ""
    spell = getattr(opened, "bli_arch_string", None)
    chosen = _number(opened, "bli_arch_query_id", plain)
    if spell is not None and chosen is not None:
        import ctypes

        spell.restype = ctypes.c_char_p
        kernel = (spell(chosen) or b"").decode("ascii", "replace")
    threads = _number(opened, "bli_thread_get_num_threads", plain)
    layers = (("openmp", "bli_info_get_enable_openmp"), ("pthreads", "bli_info_get_enable_pthreads"))
    return {
        "version": _said(opened, "bli_info_get_version_str", plain),
        "kernel": kernel,
        "layer": next((layer for layer, name in layers if _number(opened, name, plain)), "disabled"),
        "threads": 1 if threads == -1 else threads,
    }


def _openmp(opened: Any, files: list[Fact]) -> Fact:
    return {"threads": _number(opened, "omp_get_max_threads", [("", "")])}


def _nothing(opened: Any, files: list[Fact]) -> Fact:
    return {}


_ASKED: dict[str, Callable[[Any, list[Fact]], Fact]] = {
    "openblas": _openblas,
    "mkl": _mkl,
    "blis": _blis,
    "libgomp": _openmp,
    "libiomp": _openmp,
    "libomp": _openmp,
}


def _function(opened: Any, name: str, affixes: list[tuple[str, str]]) -> Any:
    return next(
        (getattr(opened, before + name + after) for before, after in affixes if hasattr(opened, before + name + after)),
        None,
    )


def _number(opened: Any, name: str, affixes: list[tuple[str, str]]) -> Any:
    function = _function(opened, name, affixes)
    return None if function is None else function()


def _said(opened: Any, name: str, affixes: list[tuple[str, str]]) -> str:
    function = _function(opened, name, affixes)
    if function is None:
        return ""
    import ctypes

    function.restype = ctypes.c_char_p
    return (function() or b"").decode("utf-8", "replace")
