"""Native code: the shared libraries that matter, and what running code says of its numerics."""

from __future__ import annotations

from msgspec import Struct

from envparity.values.scalars import Basis, Sha256, Variable


class NativeLibrary(Struct, frozen=True, order=True, omit_defaults=True, kw_only=True):
    """
    One native file that can move a number, or that nothing owns.

    `name` is its file name. `role` is `blas`, `lapack`, `openmp`, `fft`, `cuda`, `rocm`, `extension` or empty;
    `product` what it is a copy of (`openblas`, `mkl`, `libgomp`, …). `owner` is the distribution or package that
    brought it, `owner_kind` which of `wheel`, `conda`, `dpkg`, `rpm`, `apk`, or `interpreter` for what belongs to
    Python itself; both are empty where nothing owns it. `basis` is `loaded` where a running process had it mapped.
    `overridden_by` names the variable (`LD_PRELOAD`, `LD_AUDIT`, `LD_LIBRARY_PATH`) that brought it in.
    """

    name: str
    basis: Basis = Basis.INSTALLED
    path: str = ""
    role: str = ""
    product: str = ""
    version: str = ""
    build_id: str = ""
    sha256: Sha256 | None = None
    owner_kind: str = ""
    owner: str = ""
    overridden_by: str = ""


class NumericLibrary(Struct, frozen=True, order=True, omit_defaults=True, kw_only=True):
    """
    One loaded BLAS, LAPACK or OpenMP copy, as it says itself: the `kernel` that it chose for this processor
    (`SkylakeX`), its `threads`, and its threading `layer`. `owner` is as in `NativeLibrary`. One that a library holds
    in itself (oneMKL and oneDNN in torch) has the `name` of that library's file.
    """

    product: str
    name: str = ""
    role: str = ""
    version: str = ""
    kernel: str = ""
    layer: str = ""
    threads: int | None = None
    owner: str = ""


class Dispatch(Struct, frozen=True, order=True, omit_defaults=True, kw_only=True):
    """Which instructions a library was built for, which more of them it found and uses, and which are switched off."""

    library: str
    baseline: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()


class Numerics(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """
    What only running code knows of its numbers. `switches` are settings of libraries by their dotted names
    (`torch.backends.cuda.matmul.allow_tf32`), default dtypes among them. `seeds` are those of the process's random
    generators at that time, or digests of their states; they belong to how a model came to be, and are never compared.
    """

    libraries: tuple[NumericLibrary, ...] = ()
    dispatch: tuple[Dispatch, ...] = ()
    switches: tuple[Variable, ...] = ()
    seeds: tuple[Variable, ...] = ()
