"""Which environment variables are recorded with their value, written out; all others are recorded by name alone."""

from __future__ import annotations

from typing import Mapping

from envparity.collectors.shapes import Fact
from envparity.collectors.urls import public_url

# A prefix only where nobody else uses it: TF_VAR_ and TF_TOKEN_ are Terraform's, NVIDIA_API_KEY is a secret.
PREFIXES = (
    "BLIS_", "CUBLAS_", "CUDA_", "CUDNN_", "GOMP_", "GOTO_", "KMP_", "LC_", "MIOPEN_", "MKL_", "NCCL_", "NPY_",
    "NUMBA_", "NUMEXPR_", "OMP_", "OPENBLAS_", "ROCBLAS_", "VECLIB_", "XLA_",
)  # fmt: skip
NAMES = frozenset(
    """
    PYTHONASYNCIODEBUG PYTHONBREAKPOINT PYTHONCASEOK PYTHONCOERCECLOCALE PYTHONDEBUG PYTHONDEVMODE
    PYTHONDONTWRITEBYTECODE PYTHONEXECUTABLE PYTHONFAULTHANDLER PYTHONHASHSEED PYTHONHOME PYTHONINSPECT
    PYTHONINTMAXSTRDIGITS PYTHONIOENCODING PYTHONLEGACYWINDOWSFSENCODING PYTHONMALLOC PYTHONMALLOCSTATS
    PYTHONNODEBUGRANGES PYTHONNOUSERSITE PYTHONOPTIMIZE PYTHONPATH PYTHONPLATLIBDIR PYTHONPROFILEIMPORTTIME
    PYTHONPYCACHEPREFIX PYTHONSAFEPATH PYTHONSTARTUP PYTHONTRACEMALLOC PYTHONUNBUFFERED PYTHONUSERBASE
    PYTHONUTF8 PYTHONVERBOSE PYTHONWARNDEFAULTENCODING PYTHONWARNINGS PYTHON_BASIC_REPL PYTHON_COLORS
    PYTHON_CONTEXT_AWARE_WARNINGS PYTHON_CPU_COUNT PYTHON_FROZEN_MODULES PYTHON_GIL PYTHON_HISTORY PYTHON_JIT
    PYTHON_PERF_JIT_SUPPORT PYTHON_THREAD_INHERIT_CONTEXT PYTHON_TLBC PYTHON_VERSION LANG LANGUAGE TZ
    LD_AUDIT LD_LIBRARY_PATH LD_PRELOAD MALLOC_ARENA_MAX MALLOC_TRIM_THRESHOLD_ GLIBC_TUNABLES NVIDIA_VISIBLE_DEVICES
    NVIDIA_DRIVER_CAPABILITIES NVIDIA_REQUIRE_CUDA
    NVIDIA_DISABLE_REQUIRE NVIDIA_TF32_OVERRIDE NVIDIA_CUDA_VERSION NVIDIA_LIB_VERSION HIP_VISIBLE_DEVICES
    ROCR_VISIBLE_DEVICES HSA_OVERRIDE_GFX_VERSION TF_ENABLE_ONEDNN_OPTS TF_CPP_MIN_LOG_LEVEL
    TF_DETERMINISTIC_OPS TF_CUDNN_DETERMINISTIC TF_CUDNN_USE_AUTOTUNE TF_FORCE_GPU_ALLOW_GROWTH TF_GPU_ALLOCATOR
    TF_GPU_THREAD_MODE TF_NUM_INTEROP_THREADS TF_NUM_INTRAOP_THREADS TF_USE_LEGACY_KERAS TF_XLA_FLAGS
    TF_ENABLE_AUTO_MIXED_PRECISION TF_DISABLE_MKL KERAS_BACKEND JAX_ENABLE_X64 JAX_PLATFORMS JAX_PLATFORM_NAME
    JAX_DEFAULT_MATMUL_PRECISION JAX_DISABLE_JIT JAX_THREEFRY_PARTITIONABLE JAX_DEFAULT_PRNG_IMPL
    PYTORCH_CUDA_ALLOC_CONF PYTORCH_ALLOC_CONF PYTORCH_ENABLE_MPS_FALLBACK PYTORCH_NVFUSER_DISABLE PYTORCH_JIT
    TORCH_ALLOW_TF32_CUBLAS_OVERRIDE TORCH_BLAS_PREFER_CUBLASLT TORCH_CUDNN_V8_API_DISABLED
    TORCH_FORCE_WEIGHTS_ONLY_LOAD TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD TORCH_CUDA_ARCH_LIST TORCHINDUCTOR_FREEZING
    TORCHDYNAMO_DISABLE ATEN_CPU_CAPABILITY DNNL_DEFAULT_FPMATH_MODE ONEDNN_DEFAULT_FPMATH_MODE DNNL_MAX_CPU_ISA
    ONEDNN_MAX_CPU_ISA DNNL_PRIMITIVE_CACHE_CAPACITY SKLEARN_ASSUME_FINITE SKLEARN_WORKING_MEMORY
    SKLEARN_PAIRWISE_DIST_CHUNK_SIZE SKLEARN_ENABLE_METADATA_ROUTING SCIPY_ARRAY_API SCIPY_USE_PROPACK
    PANDAS_COPY_ON_WRITE PANDAS_FUTURE_INFER_STRING TOKENIZERS_PARALLELISM JOBLIB_MULTIPROCESSING
    LOKY_MAX_CPU_COUNT ARROW_DEFAULT_MEMORY_POOL ARROW_USER_SIMD_LEVEL POLARS_MAX_THREADS RAYON_NUM_THREADS
    TBB_NUM_THREADS
    """.split()
)
OF_DRIVERS = frozenset(["NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_REQUIRE_CUDA"])
"""What the runtime of containers asks for when it mounts a driver: no number is made of it, and no code chosen."""

_SECRET_WORDS = ("TOKEN", "SECRET", "PASSW", "PWD", "CREDENTIAL", "AUTH", "API_KEY", "APIKEY", "PRIVATE", "SIGNATURE")
_LONGEST = 4096


def settings(environ: Mapping[str, str]) -> Fact:
    """
    The one `settings` fact of these environment variables: `variables` with their values, `names_only` without.

    A value that holds an address loses its credentials; one longer than 4096 characters is recorded by name alone, and
    so is any name that speaks of a secret, even under a listed prefix.
    """
    variables, names_only = [], []
    for name in sorted(environ):
        value = environ[name]
        if is_listed(name) and len(value) <= _LONGEST:
            variables.append({"name": name, "value": _public(value)})
        else:
            names_only.append(name)
    return {"kind": "settings", "variables": variables, "names_only": names_only}


def is_listed(name: str) -> bool:
    """Whether the variable of this name is recorded with its value."""
    if any(word in name.upper() for word in _SECRET_WORDS):
        return False
    return name in NAMES or name.startswith(PREFIXES)


def _public(value: str) -> str:
    if "://" not in value:
        return value
    words = value.replace("\t", " ").replace("\n", " ").split(" ")
    return " ".join(public_url(word) for word in words)


def process_switches(environ: Mapping[str, str]) -> Fact:
    """
    What the variables of a place say of a Python that starts there: hash seed, `-O`, UTF-8 mode, development mode.

    An option on its command line can say otherwise, and without a variable what decides is not known: then no field.
    """
    fact: Fact = {"kind": "python"}
    if environ.get("PYTHONHASHSEED"):
        fact["hash_seed"] = environ["PYTHONHASHSEED"][:20]
    if environ.get("PYTHONOPTIMIZE"):
        text = environ["PYTHONOPTIMIZE"]
        fact["optimize"] = int(text) if text.isdigit() and len(text) < 4 else 1
    if environ.get("PYTHONUTF8") in ("0", "1"):
        fact["utf8_mode"] = environ["PYTHONUTF8"] == "1"
    if environ.get("PYTHONDEVMODE"):
        fact["dev_mode"] = True
    return fact
