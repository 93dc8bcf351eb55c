"""The switches of numeric libraries that can move a prediction: how each is read, by library. A new one is a line."""

from __future__ import annotations

# A line is written as one would type it after the name of the library; `()` calls what is there, with no argument or
# with the text named, and `[]` takes a key of what it answers. Each answers at once, starts no device, and changes
# nothing. Behind it stand the versions that are known to have it, since when or from when until when: where one of them
# has it not, that is worth a gap. The third column names the line that says the same where this one refuses to.
SWITCHES = {
    "numpy": """
        _get_promotion_state()                                            2.0-2.1
    """,
    "torch": """
        get_default_dtype()                                               1.0
        get_float32_matmul_precision()                                    1.12 backends.cuda.matmul.fp32_precision
        are_deterministic_algorithms_enabled()                            1.8
        is_deterministic_algorithms_warn_only_enabled()                   1.11
        utils.deterministic.fill_uninitialized_memory                     2.13
        get_num_threads()                                                 1.0
        get_num_interop_threads()                                         1.2
        backends.fp32_precision                                           2.13
        backends.cuda.matmul.allow_tf32                                   1.7 backends.cuda.matmul.fp32_precision
        backends.cuda.matmul.fp32_precision                               2.13
        backends.cuda.matmul.allow_fp16_reduced_precision_reduction       1.10
        backends.cuda.matmul.allow_bf16_reduced_precision_reduction       1.13
        backends.cuda.matmul.allow_fp16_accumulation                      2.13
        backends.cuda.flash_sdp_enabled()                                 2.0
        backends.cuda.mem_efficient_sdp_enabled()                         2.0
        backends.cuda.math_sdp_enabled()                                  2.0
        backends.cuda.cudnn_sdp_enabled()                                 2.13
        backends.cudnn.enabled                                            1.0
        backends.cudnn.benchmark                                          1.0
        backends.cudnn.deterministic                                      1.0
        backends.cudnn.allow_tf32                                         1.7 backends.cudnn.conv.fp32_precision
        backends.cudnn.conv.fp32_precision                                2.13
        backends.cudnn.rnn.fp32_precision                                 2.13
        backends.mkldnn.enabled                                           2.13
        backends.mkldnn.deterministic                                     2.13
        backends.mkldnn.matmul.fp32_precision                             2.13
        backends.mkldnn.conv.fp32_precision                               2.13
        backends.mkldnn.rnn.fp32_precision                                2.13
        backends.quantized.engine                                         1.3
    """,
    "tensorflow": """
        config.experimental.tensor_float_32_execution_enabled()           2.4
        config.threading.get_intra_op_parallelism_threads()               2.1
        config.threading.get_inter_op_parallelism_threads()               2.1
        config.optimizer.get_jit()                                        2.1
        python.framework.config.is_op_determinism_enabled()               2.9
        python.util._pywrap_util_port.IsMklEnabled()                      2.21
    """,
    "keras": """
        src.backend.config.floatx()                                       3.0
        src.backend.config.epsilon()                                      3.0
        src.backend.config.backend()                                      3.0
        src.backend.config.image_data_format()                            3.0
        src.backend.common.global_state.GLOBAL_STATE_TRACKER.dtype_policy.name
    """,
    "jax": """
        config.jax_enable_x64                                             0.4
        config.jax_default_matmul_precision                               0.4
        config.jax_default_prng_impl                                      0.4
        config.jax_threefry_partitionable                                 0.4.1
        config.jax_numpy_dtype_promotion                                  0.4
        config.jax_disable_jit                                            0.4
        config.jax_platforms                                              0.4
        _src.xla_bridge._default_backend.platform                         0.4
    """,
    "onnxruntime": """
        get_available_providers()                                         1.9
        get_device()                                                      1.9
    """,
    "sklearn": """
        get_config()[assume_finite]                                       0.20
        get_config()[working_memory]                                      0.20
        get_config()[pairwise_dist_chunk_size]                            1.1
        get_config()[enable_cython_pairwise_dist]                         1.1
        get_config()[array_api_dispatch]                                  1.2
        get_config()[transform_output]                                    1.2
    """,
    "pandas": """
        get_option(mode.copy_on_write)                                    1.5-2
        get_option(mode.string_storage)                                   1.3
        get_option(future.infer_string)                                   2.1
        get_option(compute.use_bottleneck)                                0.23
        get_option(compute.use_numexpr)                                   0.23
        get_option(compute.use_numba)                                     1.3
    """,
    "numexpr": "get_num_threads()\n use_vml",
    "numba": "config.THREADING_LAYER\n config.CPU_NAME\n config.CPU_FEATURES\n config.DISABLE_JIT",
    "cv2": "getNumThreads()\n useOptimized()",
    "polars": "thread_pool_size()",
    "pyarrow": "cpu_count()",
    "xgboost": "get_config()[use_rmm]",
    "faiss": "omp_get_max_threads()",
}
