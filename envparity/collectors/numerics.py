"""What the loaded BLAS and OpenMP libraries say of themselves, asked through their own functions."""

from __future__ import annotations

import os
import re
from types import ModuleType
from typing import Any, Callable, Iterable, Iterator, Mapping

from envparity.collectors.shapes import Fact
from envparity.collectors.tree import gap

# Builds for 64-bit integers, and those of the scientific wheels, rename every function.
_AFFIXES = [(before, after) for before in ("", "scipy_") for after in ("", "64_", "_64")]
_OPENBLAS_LAYERS = {0: "disabled", 1: "pthreads", 2: "openmp"}
# The other half of oneMKL, which the first computation loads: the kernel of this processor, and a threading layer.
_MKL_KERNEL = re.compile(r"/libmkl_(def|mc|mc3|avx|avx2|avx512|avx512_mic|avx10)\.so")
_MKL_LAYER = re.compile(r"/libmkl_(intel|gnu|tbb|pgi)_thread\.so|/libmkl_(sequential)\.so")
_MKL_INTERFACE = re.compile(r"/libmkl_(intel|gf)_i?lp64\.so")
# mkl_types.h: what MKL_CBWR, or a call, makes of conditional numerical reproducibility.
_MKL_CBWR = (
    "off", "off", "auto", "compatible", "sse2", "sse3", "ssse3", "sse4_1", "sse4_2", "avx", "avx2", "avx512_mic",
    "avx512", "avx512_mic_e1", "avx512_e1", "avx10",
)  # fmt: skip
_MKL_STRICT = 0x10000


def numeric_libraries(files: list[Fact], mapped: Iterable[str] = ()) -> Iterator[Fact]:
    """
    Observe each of these loaded libraries: the kernel that it chose for this processor, its version, threads and layer.

    A library is reached by RTLD_NOLOAD, which never loads one, and asked only by functions that change nothing
    (OpenBLAS's `openblas_get_*`, oneMKL's `MKL_Get_*`, BLIS's `bli_*`, OpenMP's `omp_get_max_threads`). Of oneMKL they
    are asked in C's spelling: under the other one they are Fortran's, and end the process.

    Args:
        files: the `native-library` facts of basis `loaded` that are BLAS, LAPACK or OpenMP.
        mapped: the paths of everything that this process has mapped.

    Yields:
        One `numerics` with all of them in `libraries`; a gap for each that could not be asked.
    """
    try:
        # Only now: it maps libffi, which is none of the process's own libraries. A Python can be built without it.
        import ctypes
    except ImportError as error:
        yield gap("numerics", "unread", "this Python has no ctypes, by which libraries are asked: %s" % error)
        return
    libraries, switches = [], []
    mapped = list(mapped)
    called_mkl = {os.path.dirname(file["path"]) for file in files if file["name"].startswith("libmkl_rt.")}
    for file in files:
        if file["name"].startswith("libmkl_core.") and os.path.dirname(file["path"]) in called_mkl:
            continue  # it is the other half of libmkl_rt
        fact = {key: file.get(key, "") for key in ("product", "name", "role", "version", "owner")}
        try:
            opened = ctypes.CDLL(_asked_at(file, mapped), mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
        except OSError as error:
            yield gap("numerics", "unread", "it cannot be asked: %s" % error, file["path"])
            continue
        if fact["product"] == "mkl":
            told, cbwr = _mkl(opened, fact["version"], _beside(file["path"], mapped))
            switches += [{"name": "mkl.cbwr", "value": cbwr}] if cbwr else []
        else:
            told = _ASKED.get(fact["product"], _nothing)(opened)
        fact.update((key, value) for key, value in told.items() if value not in ("", None))
        libraries.append(fact)
    yield {"kind": "numerics", "libraries": libraries, "switches": switches}


def _openblas(opened: Any) -> Fact:
    config = _said(opened, "openblas_get_config", _AFFIXES).split()
    layer = _OPENBLAS_LAYERS.get(_number(opened, "openblas_get_parallel", _AFFIXES))
    threads = "omp_get_max_threads" if layer == "openmp" else "openblas_get_num_threads"
    return {
        "version": config[1] if len(config) > 1 and config[0] == "OpenBLAS" else "",
        "kernel": _said(opened, "openblas_get_corename", _AFFIXES),
        "layer": layer,
        "threads": _number(opened, threads, [*_AFFIXES, ("", "")]),
    }


def _beside(path: str, mapped: list[str]) -> list[str]:
    return [other for other in mapped if os.path.dirname(other) == os.path.dirname(path)]


def _asked_at(file: Fact, mapped: list[str]) -> str:
    """The path of the library that holds the functions of this one: whoever links oneMKL directly has an interface."""
    if not file["name"].startswith("libmkl_core."):
        return str(file["path"])
    return next((path for path in _beside(file["path"], mapped) if _MKL_INTERFACE.search(path)), str(file["path"]))


def _mkl(opened: Any, known: str, here: list[str]) -> tuple[Fact, str]:
    """
    What a oneMKL says, and its conditional numerical reproducibility. Before its first computation nothing: a question
    would be that computation, and where its threading layer is missing, oneMKL ends the process.
    """
    kernel, layer = (_part(pattern, here) for pattern in (_MKL_KERNEL, _MKL_LAYER))
    if not kernel:
        return {}, ""
    version = ""
    get_version = getattr(opened, "MKL_Get_Version_String", None)
    if get_version is not None:
        import ctypes

        buffer = ctypes.create_string_buffer(200)
        get_version(buffer, 200)
        version = _mkl_version(buffer.value.decode("ascii", "replace"))
    get_cbwr = getattr(opened, "MKL_CBWR_Get", None)
    told = {
        "version": known or version,  # that of the package counts the patches too
        "kernel": kernel,
        "layer": layer,
        "threads": _number(opened, "MKL_Get_Max_Threads", [("", "")]),
    }
    return told, _cbwr(get_cbwr(-1)) if get_cbwr is not None else ""  # -1 asks for branch and strictness


def _mkl_version(text: str) -> str:
    """`2026.2` of `Intel(R) oneAPI Math Kernel Library Version 2026.2-Product Build …`; else empty."""
    found = re.search(r"Math Kernel Library Version ([0-9.]+)", text)
    return found.group(1) if found else ""


def built_in_libraries(modules: Mapping[str, object], files: list[Fact]) -> Iterator[Fact]:
    """
    Observe the oneMKL and oneDNN that torch's own library was linked with, which no file of theirs shows.

    Args:
        modules: `sys.modules`.
        files: as in `numeric_libraries`: an oneMKL that is mapped is told there.
    """
    config = modules.get("torch.__config__")
    show = vars(config).get("show") if isinstance(config, ModuleType) else None
    if show is None:
        return
    text = str(show())
    inside: Fact = {"name": "libtorch_cpu.so", "owner": "torch"}
    libraries = []
    if _mkl_version(text) and not any(file["product"] == "mkl" for file in files):
        libraries.append({"product": "mkl", "role": "blas", "version": _mkl_version(text), **inside})
    onednn = re.search(r"MKL-DNN v([0-9.]+)", text)
    if onednn:
        libraries.append({"product": "onednn", "role": "dnn", "version": onednn.group(1), **inside})
    yield {"kind": "numerics", "libraries": libraries}


def _cbwr(told: int) -> str:
    if told < 0:
        return ""
    branch = told & ~_MKL_STRICT
    name = _MKL_CBWR[branch] if branch < len(_MKL_CBWR) else str(branch)
    return name + ",strict" if told & _MKL_STRICT else name


def _part(pattern: re.Pattern[str], paths: list[str]) -> str:
    found = (pattern.search(path) for path in paths)
    return next((match.group(match.lastindex or 0) for match in found if match), "")


def _blis(opened: Any) -> Fact:
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


def _openmp(opened: Any) -> Fact:
    return {"threads": _number(opened, "omp_get_max_threads", [("", "")])}


def _nothing(opened: Any) -> Fact:
    return {}


_ASKED: dict[str, Callable[[Any], Fact]] = {
    "openblas": _openblas,
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
