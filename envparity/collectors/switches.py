"""The switches of numeric libraries that are already imported: what they are set to now. None is imported for it."""

from __future__ import annotations

import os
import warnings
from types import ModuleType
from typing import Any, Iterator, Mapping

from envparity.collectors.shapes import Fact
from envparity.collectors.tree import gap

# As one would type them; `()` calls what is there, with no argument or with the text named. Each answers at once,
# starts no device and changes nothing.
_SWITCHES = """
numpy._get_promotion_state()
torch.get_default_dtype() torch.get_float32_matmul_precision() torch.are_deterministic_algorithms_enabled()
torch.is_deterministic_algorithms_warn_only_enabled() torch.initial_seed() torch.get_num_threads()
torch.get_num_interop_threads() torch.backends.cuda.matmul.allow_tf32
torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction
torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
torch.backends.cudnn.allow_tf32 torch.backends.cudnn.benchmark torch.backends.cudnn.deterministic
torch.backends.cudnn.enabled torch.backends.mkldnn.enabled torch.backends.mkldnn.deterministic
tensorflow.config.experimental.tensor_float_32_execution_enabled()
tensorflow.config.threading.get_intra_op_parallelism_threads()
tensorflow.config.threading.get_inter_op_parallelism_threads() tensorflow.config.optimizer.get_jit()
tensorflow.python.framework.config.is_op_determinism_enabled() tensorflow.python.eager.context.global_seed()
keras.src.backend.config.floatx() keras.src.backend.config.epsilon() keras.src.backend.config.backend()
jax.config.jax_enable_x64 jax.config.jax_default_matmul_precision jax.config.jax_default_prng_impl
jax.config.jax_threefry_partitionable jax.config.jax_numpy_dtype_promotion jax.config.jax_disable_jit
jax.config.jax_platforms
onnxruntime.get_available_providers()
sklearn.get_config()[assume_finite] sklearn.get_config()[working_memory]
sklearn.get_config()[pairwise_dist_chunk_size] sklearn.get_config()[enable_cython_pairwise_dist]
sklearn.get_config()[array_api_dispatch] sklearn.get_config()[transform_output]
pandas.get_option(mode.copy_on_write) pandas.get_option(mode.string_storage)
pandas.get_option(future.infer_string) pandas.get_option(compute.use_bottleneck)
pandas.get_option(compute.use_numexpr) pandas.get_option(compute.use_numba)
numexpr.get_num_threads() numba.config.THREADING_LAYER numba.config.CPU_NAME numba.config.CPU_FEATURES
numba.config.DISABLE_JIT cv2.getNumThreads() cv2.useOptimized() polars.thread_pool_size() pyarrow.cpu_count()
xgboost.get_config()[use_rmm] faiss.omp_get_max_threads()
""".split()
_LONGEST_VALUE = 300


def switches(modules: Mapping[str, object], environ: Mapping[str, str]) -> Iterator[Fact]:
    """
    Observe the switches of libraries that stand in `modules` (`sys.modules`), numpy's choice of instructions, and
    torch's. A switch that this version of a library does not have is passed over.

    Yields:
        One `numerics` with `switches` and `dispatch`; a gap for a switch that is there and fails.
    """
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a switch that is deprecated is still the one that counts
        for text in _SWITCHES:
            if text.partition(".")[0] not in modules:
                continue
            try:
                found.append({"name": _named(text), "value": _spelt(_evaluated(text, modules))})
            except (AttributeError, LookupError):
                continue
            except Exception as error:  # noqa: BLE001 - the code of a library, which may raise anything
                reason = "%s: %s" % (type(error).__name__, str(error)[:200])
                yield gap("numerics", "unread", reason, _named(text))
        dispatch = [*_numpy(modules, environ), *_torch(modules)]
    yield {"kind": "numerics", "switches": found, "dispatch": dispatch}


def _named(text: str) -> str:
    """`sklearn.assume_finite` for `sklearn.get_config()[assume_finite]`; else the name of the call."""
    name, _, rest = text.partition("(")
    option = rest.strip("()[]")
    return name.partition(".")[0] + "." + option if option else name


def _evaluated(text: str, modules: Mapping[str, object]) -> Any:
    """Follow the dots without importing: in a module only what stands in it, or what is imported below it, is taken."""
    path, call, rest = text.partition("(")
    argument, _, key = rest.partition(")")
    at, so_far = modules[path.partition(".")[0]], path.partition(".")[0]
    for part in path.split(".")[1:]:
        so_far += "." + part
        if so_far in modules:
            at = modules[so_far]
        elif type(at) is ModuleType:
            at = vars(at)[part]
        else:
            at = getattr(at, part)
    if call:
        at = at(argument) if argument else at()  # type: ignore[operator]
    return at[key.strip("[]")] if key else at  # type: ignore[index]


def _spelt(value: Any) -> str:
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(str(item) for item in value)[:_LONGEST_VALUE]
    return str(value)[:_LONGEST_VALUE]


def _numpy(modules: Mapping[str, object], environ: Mapping[str, str]) -> Iterator[Fact]:
    """
    Which instructions numpy was built for, and of those that it can choose at run time, which it found and uses; which
    of them NPY_DISABLE_CPU_FEATURES, or its opposite, switched off (https://numpy.org/doc/stable/reference/simd/build-options.html).
    """
    for name in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        inside = vars(modules[name]) if isinstance(modules.get(name), ModuleType) else {}
        has, dispatch = inside.get("__cpu_features__"), inside.get("__cpu_dispatch__")
        if not isinstance(has, dict) or not isinstance(dispatch, (list, tuple)):
            continue
        off = environ.get("NPY_DISABLE_CPU_FEATURES", "").replace(",", " ").split()
        only = environ.get("NPY_ENABLE_CPU_FEATURES", "").replace(",", " ").split()
        yield {
            "library": "numpy",
            "baseline": list(inside.get("__cpu_baseline__", ())),
            "found": [feature for feature in dispatch if has.get(feature)],
            "disabled": [
                feature
                for feature in dispatch
                if not has.get(feature) and (feature in off or (only and feature not in only))
            ],
        }
        return


def _torch(modules: Mapping[str, object]) -> Iterator[Fact]:
    ask = getattr(modules.get("torch.backends.cpu"), "get_cpu_capability", None)
    if ask is None:
        return
    try:
        yield {"library": "torch", "baseline": [], "found": [str(ask())], "disabled": []}
    except Exception:  # noqa: BLE001 - the code of a library, which may raise anything
        return


def started_environment() -> dict[str, str]:
    """The variables with which this process was started, which its loader and its libraries have read."""
    try:
        with open("/proc/self/environ", "rb") as file:
            lines = file.read().decode("utf-8", "surrogateescape").split("\0")
    except OSError:
        return dict(os.environ)
    return {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}
